import Base
import Foundation
import Objects
import Synchronization
import Testing

/// Changes that somebody is to be told of.
@Suite struct OutboxTests {
    private let directory: Directory

    init() throws { directory = try Directory() }

    private func rule(_ id: String, _ kinds: String..., prefix: String = "", suffix: String = "") -> NotificationRule {
        NotificationRule(
            id: id, target: "arn:\(id)", kinds: kinds.reduce(into: []) { $0.formUnion(ObjectEventKind.named($1)) }, prefix: Array(prefix.utf8),
            suffix: Array(suffix.utf8))
    }

    private func events(_ opened: Opened) throws -> [ObjectEvent] { try wait { opened.store.events(after: 0, limit: 1000, done: $0) } }

    private func text(_ event: ObjectEvent) -> String {
        "\(event.rule) \(event.kind.rawValue) \(String(decoding: event.key, as: UTF8.self)) \(event.size) \(event.version.map { $0 == "null" ? "null" : "v" } ?? "-")"
    }

    @Test func eachWayToMakeAndRemoveAnObjectIsToldOnceToEachRuleThatCoversIt() throws {
        let opened = try Opened("\(directory.path)/store")
        let plain = try opened.bucket("plain"), kept = try opened.bucket("kept"), silent = try opened.bucket("silent")
        try wait { opened.store.setVersioning(.enabled, of: kept, done: $0) }
        opened.store.setNotifications(
            [rule("all", "ObjectCreated:*", "ObjectRemoved:*"), rule("text", "ObjectCreated:Put", prefix: "in/", suffix: ".txt")], of: plain)
        opened.store.setNotifications([rule("kept", "ObjectCreated:*", "ObjectRemoved:*")], of: kept)
        let heard = Mutex(0)
        opened.store.onEvents { heard.withLock { $0 += 1 } }

        try opened.put(plain, "in/a.txt", Array("hello".utf8)) { $0.requester = Requester(account: "1", address: "::1", requestID: "R") }
        try opened.put(plain, "in/a.bin", [1])
        try opened.put(plain, ".txt", [1]) { $0.kind = .post }
        try opened.put(silent, "in/a.txt", [1])
        let source = CopySource(bucket: plain, key: try ObjectKey("in/a.txt"))
        _ = try wait { opened.store.copy(CopyRequest(source: source, bucket: kept, key: source.key), done: $0) }
        let upload = try wait { opened.store.createUpload(UploadRequest(bucket: kept, key: ObjectKey(unchecked: "big")), done: $0) }
        let name = UploadName(bucket: kept, key: upload.key, id: upload.id)
        let part = try opened.fill(opened.store.putPart(name, number: 1, body: BodyChecks()), [UInt8](repeating: 7, count: 3000))
        let complete = CompleteRequest(upload: name, parts: [CompletedPart(number: 1, etag: part.etag)])
        // The second answer is that of the first, which is told already.
        for _ in 1...2 { _ = try wait { opened.store.complete(complete, done: $0) } }
        // What is refused is not told.
        let refused = refusal { try opened.put(plain, "in/a.txt", [2]) { $0.conditions.ifNoneMatch = .any } }
        #expect(refused != nil)
        try opened.delete(plain, "in/a.txt")
        try opened.delete(plain, "never there")
        let marker = try opened.delete(kept, "big")
        try opened.delete(kept, "big", version: marker.version)

        let told = try events(opened)
        #expect(
            told.map(text) == [
                "all ObjectCreated:Put in/a.txt 5 -", "text ObjectCreated:Put in/a.txt 5 -", "all ObjectCreated:Put in/a.bin 1 -",
                "all ObjectCreated:Post .txt 1 -", "kept ObjectCreated:Copy in/a.txt 5 v", "kept ObjectCreated:CompleteMultipartUpload big 3000 v",
                "all ObjectRemoved:Delete in/a.txt 5 -", "kept ObjectRemoved:DeleteMarkerCreated big 0 v", "kept ObjectRemoved:Delete big 0 v",
            ])
        #expect(told[0].requester == Requester(account: "1", address: "::1", requestID: "R") && told[0].bucket == "plain" && told[0].owner == "me")
        #expect(told[0].target == "arn:all" && told[0].etag.description == "5d41402abc4b2a76b9719d911017c592" && told[0].time == opened.clock.now)
        #expect(zip(told, told.dropFirst()).allSatisfy { $0.sequencer < $1.sequencer && $0.number < $1.number })
        #expect(told[7].version == marker.version?.description && heard.withLock { $0 } >= 8)

        // Forgotten up to a number, which is not used again even when all are gone.
        try wait { opened.store.forgetEvents(through: told[7].number, done: $0) }
        #expect(try events(opened).map(\.number) == [told[8].number])
        try wait { opened.store.forgetEvents(through: told[8].number, done: $0) }
        opened.store.close()
        let again = try Opened("\(directory.path)/store")
        #expect(try events(again).isEmpty)
        try again.put(plain, "x", [1])
        #expect(try events(again).isEmpty, "rules are kept in memory only")
        again.store.setNotifications([rule("all", "ObjectCreated:*")], of: plain)
        try again.put(plain, "x", [1])
        #expect(try events(again).first.map { $0.number > told[8].number && $0.sequencer > told[8].sequencer } == true)
    }

    /// At any moment a copy of the files, which is what `kill -9` leaves, has an event for each object that was acknowledged, for no other.
    @Test func whatIsAcknowledgedHasItsEventAfterAKillAtAnyMoment() throws {
        let opened = try Opened("\(directory.path)/store")
        let bucket = try opened.bucket("inbox")
        opened.store.setNotifications([rule("all", "ObjectCreated:*")], of: bucket)
        let acknowledged = Mutex<Set<String>>([])
        let group = DispatchGroup()
        for lane in 0..<4 {
            group.enter()
            Thread.detachNewThread {
                for number in 0..<60 {
                    let key = "\(lane)/\(number)"
                    if (try? opened.put(bucket, key, [UInt8](repeating: 1, count: number % 3 == 0 ? 200_000 : 10))) != nil {
                        acknowledged.withLock { _ = $0.insert(key) }
                    }
                }
                group.leave()
            }
        }
        var looks = 0
        while group.wait(timeout: .now()) == .timedOut || looks == 0 {
            looks += 1
            let before = acknowledged.withLock { $0 }
            let copy = try Opened(try directory.copy(to: "copy-\(looks)"), clock: opened.clock)
            let told = Set(try events(copy).map { String(decoding: $0.key, as: UTF8.self) })
            let there = Set(try copy.list(ListRequest(bucket: bucket)).objects.map { String(decoding: $0.key.bytes, as: UTF8.self) })
            #expect(before.isSubset(of: told) && told == there, "look \(looks): \(before.subtracting(told)), \(told.symmetricDifference(there))")
            copy.store.close()
        }
        #expect(acknowledged.withLock { $0.count } == 240)
    }

    @Test func rulesOverlapWhenOneChangeCouldBeToldByBoth() {
        let base = rule("a", "ObjectCreated:*", prefix: "in/", suffix: ".txt")
        let cases: [(NotificationRule, Bool)] = [
            (rule("b", "ObjectCreated:Put"), true), (rule("b", "ObjectRemoved:*"), false), (rule("b", "ObjectCreated:Copy", prefix: "in/deep/"), true),
            (rule("b", "ObjectCreated:*", prefix: "out/"), false), (rule("b", "ObjectCreated:*", suffix: ".gz"), false),
            (rule("b", "ObjectCreated:*", prefix: "i", suffix: "t"), true), (rule("b", "ObjectCreated:*", prefix: "in/", suffix: "x.txt"), true),
        ]
        for (other, overlap) in cases { #expect(base.overlaps(other) == overlap && other.overlaps(base) == overlap, "\(other)") }
        #expect(ObjectEventKind.named("ObjectCreated:*").count == 4 && ObjectEventKind.named("ObjectRemoved:Delete") == [.delete])
        for bad in ["", ":*", "*", "ObjectCreated", "Object:*", "ObjectCreated:put", "ObjectRestore:*"] {
            #expect(ObjectEventKind.named(bad).isEmpty, "\(bad)")
        }
    }
}
