import Base
import Crypto
import Foundation
import Objects
import Testing

/// Buckets, uploads, locks, lifecycle and tiers: what is allowed, and what time does.
@Suite final class RulesTests {
    private let directory: Directory
    private let opened: Opened
    private let bucket: BucketName
    private let day: Int64 = 100_000
    private var store: ObjectStore { opened.store }

    init() throws {
        directory = try Directory()
        let directory = directory
        opened = try Opened(directory.path + "/store") { [day] options in
            options.day = day
            options.coldDirectory = directory.path + "/other-disk"
        }
        try FileManager.default.createDirectory(atPath: directory.path + "/other-disk", withIntermediateDirectories: true)
        bucket = try opened.bucket("first")
    }

    deinit { opened.store.close() }

    private func head(_ key: String, version: VersionID? = nil) throws -> Head {
        try wait { store.head(GetRequest(bucket: bucket, key: ObjectKey(unchecked: key), version: version), done: $0) }
    }

    /// Steps of the background work until a round has ended.
    private func upkeep(rowsMax: Int = 3) throws -> UpkeepReport {
        var all = UpkeepReport()
        repeat {
            let step = try wait { store.upkeep(rowsMax: rowsMax, done: $0) }
            all.expired += step.expired
            all.markersMade += step.markersMade
            all.aborted += step.aborted
            all.transitioned += step.transitioned
            all.demoted += step.demoted
            all.promoted += step.promoted
            all.archived += step.archived
            all.restored += step.restored
            all.isRoundComplete = step.isRoundComplete
        } while !all.isRoundComplete
        return all
    }

    @Test func bucketsAndTheirDocumentsOutliveTheProcess() throws {
        #expect(refusal { try wait { store.createBucket(bucket, owner: "you", done: $0) } } == .bucketAlreadyExists(owner: "me"))
        #expect(refusal { try store.document(.cors, of: bucket) }?.code == "NoSuchCORSConfiguration")
        try wait { store.setDocument(.cors, [1, 2], of: bucket, done: $0) }
        try wait { store.setDocument(.policy, [3], of: bucket, done: $0) }
        try wait { store.setDocument(.policy, nil, of: bucket, done: $0) }
        try wait { store.setVersioning(.enabled, of: bucket, done: $0) }
        try opened.put(bucket, "k", [1])
        #expect(refusal { try wait { store.deleteBucket(bucket, done: $0) } } == .bucketNotEmpty)
        store.close()
        #expect(refusal { try opened.put(bucket, "k", [1]) } == .aborted, "closed")
        let again = try Opened(opened.path)
        defer { again.store.close() }
        #expect(again.store.buckets().map(\.versioning) == [.enabled] && again.store.buckets(owner: "you").isEmpty)
        #expect(
            try again.store.document(.cors, of: bucket) == [1, 2] && refusal { try again.store.document(.policy, of: bucket) } != nil)
        let version = try again.put(bucket, "k", [2]).version
        for id in try wait({ again.store.listVersions(VersionsRequest(bucket: bucket), done: $0) }).versions.map(\.id) {
            try again.delete(bucket, "k", version: id)
        }
        #expect(version != nil && refusal { try again.get(bucket, "k", version: version) } == .noSuchVersion)
        let upload = try wait { again.store.createUpload(UploadRequest(bucket: bucket, key: ObjectKey(unchecked: "u")), done: $0) }
        try wait { again.store.deleteBucket(bucket, done: $0) }
        let name = UploadName(bucket: bucket, key: upload.key, id: upload.id)
        #expect(
            again.store.bucket(bucket) == nil && refusal { try wait { again.store.abort(name, done: $0) } } == .noSuchBucket("first"))
        #expect(refusal { try again.put(bucket, "k", [1]) } == .noSuchBucket("first"))
    }

    @Test func completeHoldsThePartsToWhatTheClientSaw() throws {
        let key = ObjectKey(unchecked: "k")
        let plan = ChecksumPlan(.sha256, .composite)
        let upload = try wait { store.createUpload(UploadRequest(bucket: bucket, key: key, checksum: plan), done: $0) }
        let name = UploadName(bucket: bucket, key: key, id: upload.id)
        let bodies = [[UInt8](repeating: 1, count: 2000), [UInt8](repeating: 2, count: 500), [UInt8](repeating: 3, count: 7)]
        let parts = try bodies.enumerated().map { index, body in
            let result = try opened.fill(store.putPart(name, number: 2 * index + 1, body: BodyChecks()), body)
            return CompletedPart(number: 2 * index + 1, etag: result.etag, checksum: result.checksum?.value)
        }
        #expect(parts[0].checksum == bodies[0].withUnsafeBytes { Digest.sha256($0) })
        func complete(_ parts: [CompletedPart], _ change: (inout CompleteRequest) -> Void = { _ in }) -> ObjectsError? {
            var request = CompleteRequest(upload: name, parts: parts)
            change(&request)
            return refusal { try wait { store.complete(request, done: $0) } }
        }
        var wrong = parts[0]
        wrong.etag = md5([9])
        #expect(complete([parts[1], parts[0]]) == .invalidPartOrder && complete([parts[0], parts[0]]) == .invalidPartOrder)
        #expect(
            complete([wrong]) == .invalidPart(number: 1)
                && complete([CompletedPart(number: 2, etag: wrong.etag)]) == .invalidPart(number: 2))
        #expect(complete(parts) == .entityTooSmall(number: 3, bytes: 500))
        #expect(complete([parts[0], parts[2]]) { $0.size = 1 }?.code == "InvalidRequest")
        #expect(complete([parts[0], parts[2]]) { $0.checksumType = .fullObject }?.code == "InvalidRequest")
        #expect(complete([parts[0], parts[2]]) { $0.checksum = Checksum(.sha256, [1]) } == .badDigest("SHA256"))
        #expect(refusal { try opened.fill(store.putPart(name, number: 0, body: BodyChecks()), [1]) } == .invalidPartNumber)
        #expect(
            refusal { try opened.fill(store.putPart(name, number: 9, body: BodyChecks(checksum: .crc32)), [1]) }?.code
                == "InvalidRequest")
        let elsewhere = UploadName(bucket: bucket, key: ObjectKey(unchecked: "other"), id: upload.id)
        #expect(refusal { try opened.fill(store.putPart(elsewhere, number: 1, body: BodyChecks()), [1]) } == .noSuchUpload)
        let page = try wait { store.parts(ofUpload: name, partsMax: 2, done: $0) }.1
        #expect(page.parts.map(\.number) == [1, 3] && page.next == 3 && page.total == 3)
        #expect(complete([parts[0], parts[2]]) == nil && complete([parts[0], parts[2]]) == nil, "twice the same")
        let result = try head("k")
        let digests = (parts[0].checksum ?? []) + (parts[2].checksum ?? [])
        #expect(result.version.checksum == Checksum(.sha256, digests.withUnsafeBytes { Digest.sha256($0) }, type: .composite))
        #expect(result.version.etag.parts == 2 && result.version.size == 2007)
        #expect(try opened.get(bucket, "k") { $0.partNumber = 2 } == bodies[2])
        #expect(refusal { try opened.get(bucket, "k") { $0.partNumber = 3 } } == .noSuchPart)
        let stored = try wait { store.parts(of: GetRequest(bucket: bucket, key: key), done: $0) }.1
        #expect(stored.parts.map(\.number) == [1, 5] && stored.total == 2)
    }

    @Test func heldVersionsStay() throws {
        let locked = try BucketName("locked")
        _ = try wait { store.createBucket(locked, owner: "me", objectLock: true, done: $0) }
        let until = opened.clock.now + 1000
        let id = try #require(try opened.put(locked, "k", [1]) { $0.lock = ObjectLock(mode: .governance, retainUntil: until) }.version)
        let key = ObjectKey(unchecked: "k")
        #expect(refusal { try opened.delete(locked, "k", version: id) }?.code == "AccessDenied")
        #expect(try opened.delete(locked, "k").isDeleteMarker, "a marker may be put on top")
        func change(_ change: ObjectStore.Change) -> ObjectsError? {
            refusal { try wait { store.change(key, version: id, in: locked, change, done: $0) } }
        }
        #expect(change(.retention(nil, until: 0, bypassGovernance: false))?.code == "AccessDenied")
        #expect(change(.retention(.compliance, until: until + 1000, bypassGovernance: false)) == nil, "stronger")
        #expect(change(.retention(nil, until: 0, bypassGovernance: true))?.code == "AccessDenied", "compliance has no bypass")
        opened.clock.advance(2001)
        #expect(change(.legalHold(true)) == nil && refusal { try opened.delete(locked, "k", version: id) }?.code == "AccessDenied")
        #expect(change(.legalHold(false)) == nil && refusal { try opened.delete(locked, "k", version: id) } == nil)
        #expect(refusal { try wait { store.setVersioning(.suspended, of: locked, done: $0) } }?.code == "InvalidRequest")
        try opened.put(bucket, "k", [1])
        #expect(refusal { try wait { store.change(key, in: bucket, .legalHold(true), done: $0) } }?.code == "InvalidRequest")
        let tagged = try wait { store.change(key, in: bucket, .tags([Field("a", "b")]), done: $0) }
        #expect(tagged.tags == [Field("a", "b")] && tagged.isLatest)
    }

    @Test func objectsExpireToTheSecondAndAreThenRemoved() throws {
        store.setLifecycle(
            [LifecycleRule(id: "logs", prefix: Array("logs/".utf8), expiration: .days(1), abortUploadsDays: 2)], of: bucket)
        for n in 0..<10 { try opened.put(bucket, "logs/\(n)", [1]) }
        try opened.put(bucket, "kept", [1])
        let expiry = try #require(try head("logs/0").version.expiry)
        #expect(expiry.rule == "logs" && expiry.time % day == 0 && expiry.time >= opened.clock.now + day)
        _ = try wait { store.createUpload(UploadRequest(bucket: bucket, key: ObjectKey(unchecked: "logs/u")), done: $0) }
        opened.clock.advance(expiry.time - opened.clock.now - 1)
        #expect(try opened.list(ListRequest(bucket: bucket)).objects.count == 11 && upkeep().expired == 0)
        opened.clock.advance(1)
        #expect(refusal { try opened.get(bucket, "logs/0") } == .noSuchKey(deleteMarker: nil))
        #expect(try opened.list(ListRequest(bucket: bucket)).objects.map(\.key.description) == ["kept"], "before anything is removed")
        try opened.put(bucket, "logs/0", [2]) { $0.conditions = .mustNotExist }
        opened.clock.advance(day / 10)
        let report = try upkeep()
        #expect(report.expired == 9 && report.aborted == 0)
        #expect(try wait { store.usage(of: bucket, done: $0) }.versions.objects == 2 && opened.get(bucket, "logs/0") == [2])
        opened.clock.advance(2 * day)
        let later = try upkeep()
        #expect(later.aborted == 1 && later.expired == 1)
    }

    @Test func versionsGoByTheirOwnRules() throws {
        try wait { store.setVersioning(.enabled, of: bucket, done: $0) }
        for n in 0..<5 { try opened.put(bucket, "k", [UInt8(n)]) }
        store.setLifecycle(
            [LifecycleRule(id: "r", expiration: .days(3), expiresDeleteMarkers: true, noncurrentDays: 1, noncurrentKept: 2)], of: bucket
        )
        opened.clock.advance(2 * day)
        #expect(try upkeep(rowsMax: 1).expired == 2, "the newest and two noncurrent ones are kept")
        opened.clock.advance(2 * day)
        let report = try upkeep(rowsMax: 1)
        #expect(report.expired == 1 && report.markersMade == 1)
        if case .noSuchKey(.some)? = refusal({ try opened.get(bucket, "k") }) {} else { Issue.record("no marker") }
        // The last ones become noncurrent too far down the list only when newer ones are there: without, they stay as kept.
        store.setLifecycle([LifecycleRule(id: "r", expiresDeleteMarkers: true, noncurrentDays: 1)], of: bucket)
        opened.clock.advance(3 * day)
        #expect(try upkeep().expired == 3, "now without any that are kept")
        opened.clock.advance(day)
        #expect(try upkeep().expired == 1, "the marker that nothing lies under")
        #expect(try wait { store.listVersions(VersionsRequest(bucket: bucket), done: $0) }.versions.isEmpty)
    }

    @Test func storageClassesChangeAndArchivesMustBeRestored() throws {
        var dice = Random(seed: 5)
        let body = random(200_000, &dice)
        try opened.put(bucket, "k", body)
        store.setLifecycle([LifecycleRule(id: "r", transitions: [.init(.days(1), to: StorageClass("GLACIER"))])], of: bucket)
        opened.clock.advance(2 * day)
        #expect(try upkeep().transitioned == 1)
        #expect(try head("k").version.storageClass.name == "GLACIER" && refusal { try opened.get(bucket, "k") } == .invalidObjectState)
        opened.clock.advance(day)
        #expect(try upkeep().demoted == 1)
        #expect(try wait { store.statistics(done: $0) }.cold.bytes == 200_000)
        _ = try wait { store.change(ObjectKey(unchecked: "k"), in: bucket, .restored(until: opened.clock.now + day), done: $0) }
        #expect(try opened.get(bucket, "k") == body)
        opened.clock.advance(day)
        #expect(refusal { try opened.get(bucket, "k") } == .invalidObjectState)
    }

    /// Without any rule of the bucket.
    @Test func objectsPutIntoAColdClassGoToTheirTierByThemselves() throws {
        var dice = Random(seed: 8)
        let body = random(200_000, &dice)
        try opened.put(bucket, "ia", body) { $0.storageClass = StorageClass("STANDARD_IA") }
        try opened.put(bucket, "small", [1]) { $0.storageClass = StorageClass("STANDARD_IA") }
        opened.clock.advance(day)
        #expect(try upkeep().demoted == 1)
        #expect(try head("ia").version.tier == .cold && opened.get(bucket, "ia") == body && head("small").version.tier == .hot)
    }

    @Test func objectsThatNobodyReadsBecomeColdAndComeBack() throws {
        var dice = Random(seed: 6)
        let text = Array(String(repeating: "the quick brown fox jumps over the lazy dog ", count: 20_000).utf8)
        let noise = random(300_000, &dice)
        func put(_ key: String, _ body: [UInt8]) throws { try opened.put(bucket, key, body) { $0.storageClass = .intelligentTiering } }
        try put("text", text)
        try put("noise", noise)
        try put("read", text)
        try put("small", Array(text[..<131_071]))
        try opened.put(bucket, "standard", text)
        store.setTiering([TieringRule(days: 30, promoteAfter: 2)], of: bucket)
        for _ in 0..<365 {
            // A year, with one object read each day.
            opened.clock.advance(day)
            #expect(try opened.get(bucket, "read") { $0.range = .from(0, through: 9) } == Array(text[..<10]))
            _ = try upkeep(rowsMax: 100)
        }
        let statistics = try wait { store.statistics(done: $0) }
        #expect(statistics.demoted == 2 && statistics.cold.bytes == Int64(text.count + noise.count))
        #expect(statistics.cold.storedBytes < 320_000 && statistics.savedBytes > 800_000)
        #expect(try head("text").version.tier == .cold && head("read").version.tier == .hot && head("small").version.tier == .hot)
        for _ in 0..<20 {
            let from = Int.random(in: 0..<text.count, using: &dice)
            let to = Int.random(in: from..<text.count, using: &dice)
            #expect(try opened.get(bucket, "noise") == noise)
            let part = try wait {
                store.get(
                    GetRequest(bucket: bucket, key: ObjectKey(unchecked: "text"), range: .from(Int64(from), through: Int64(to))),
                    done: $0)
            }
            #expect(try opened.bytes(part) == Array(text[from...to]))
        }
        // They have been read more than twice: both come back, and the space of the cold file is given back.
        #expect(try upkeep(rowsMax: 100).promoted == 2)
        _ = try wait { store.compact(liveFraction: 0.9, done: $0) }
        let after = try wait { store.statistics(done: $0) }
        #expect(after.cold.bytes == 0 && after.cold.files <= 1 && after.hot.bytes == Int64(3 * text.count + noise.count + 131_071))
        #expect(try opened.get(bucket, "text") == text && head("text").version.tier == .hot)
        #expect(try wait { store.check(done: $0) }.faults == [])
    }
}
