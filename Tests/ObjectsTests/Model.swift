import Base
import Foundation
import Objects
import Testing

/// What the store must hold, as dictionaries; the store is asked the same questions.
struct Model {
    struct Version: Equatable {
        var id: VersionID
        /// nil: a delete marker.
        var body: [UInt8]?
        var etag: ETag?
        var user: String
    }
    struct BucketModel {
        var versioning = Versioning.off
        /// Newest first.
        var keys: [String: [Version]] = [:]
    }
    struct UploadModel {
        var name: UploadName
        var parts: [Int: [UInt8]] = [:]
    }

    var buckets: [BucketName: BucketModel] = [:]
    var uploads: [UploadModel] = []

    mutating func put(_ bucket: BucketName, _ key: String, _ version: Version) {
        var versions = buckets[bucket]?.keys[key] ?? []
        if buckets[bucket]?.versioning != .enabled { versions.removeAll { $0.id == .null } }
        versions.insert(version, at: 0)
        buckets[bucket]?.keys[key] = versions
    }

    mutating func delete(_ bucket: BucketName, _ key: String, result: DeleteResult) {
        guard buckets[bucket]?.versioning != .off else {
            buckets[bucket]?.keys[key] = nil
            return
        }
        put(bucket, key, Version(id: result.version ?? .null, body: nil, etag: nil, user: ""))
    }

    mutating func delete(_ bucket: BucketName, _ key: String, version: VersionID) {
        buckets[bucket]?.keys[key]?.removeAll { $0.id == version }
        if buckets[bucket]?.keys[key]?.isEmpty ?? false { buckets[bucket]?.keys[key] = nil }
    }

    /// Keys that readers see, in the order of bytes.
    func current(_ bucket: BucketName) -> [String] {
        (buckets[bucket]?.keys ?? [:]).filter { $0.value.first?.body != nil }.keys.sorted {
            Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8))
        }
    }
}

/// A seeded run of everything that clients do, against the model.
final class Simulation {
    private var dice: Random
    private var model = Model()
    private var opened: Opened
    private let directory: Directory
    private let seed: UInt64
    private let clock = Clock()
    private var restarts = 0
    private var last = 0
    private let names = (0..<12).map { "k\($0 % 4)/\($0)" } + ["k1", "k1/", "z", "ü/\u{1}", "k1/5/deep"]

    init(seed: UInt64) throws {
        self.seed = seed
        dice = Random(seed: seed)
        directory = try Directory()
        opened = try Self.open(directory.path + "/store", clock, seed)
        for (name, versioning) in [("off", Versioning.off), ("enabled", .enabled), ("mixed", .off)] {
            let bucket = try opened.bucket(name)
            model.buckets[bucket] = Model.BucketModel()
            if versioning != .off { try set(versioning, bucket) }
        }
    }

    func close() { opened.store.close() }

    private static func open(_ path: String, _ clock: Clock, _ seed: UInt64) throws -> Opened {
        try Opened(path, clock: clock, seed: seed) { $0.segmentBytes = 1 << 20 }
    }

    private func pick<T>(_ all: [T]) -> T { all[Int.random(in: 0..<all.count, using: &dice)] }
    private func bucket() -> BucketName { pick(model.buckets.keys.sorted { $0.text < $1.text }) }
    private func body() -> [UInt8] { random(pick([0, 1, 40, 5_000, 16_384, 16_385, 100_000, 262_144, 400_000]), &dice) }

    private func set(_ versioning: Versioning, _ bucket: BucketName) throws {
        try wait { opened.store.setVersioning(versioning, of: bucket, done: $0) }
        model.buckets[bucket]?.versioning = versioning
    }

    func run(steps: Int) throws {
        for step in 0..<steps {
            clock.advance(Int64.random(in: 1..<5_000, using: &dice))
            do {
                let die = Int.random(in: 0..<100, using: &dice)
                last = die
                switch die {
                case 0..<30: try put()
                case 30..<42: try delete()
                case 42..<48: try deleteVersion()
                case 48..<58: try copy()
                case 58..<64: try createUpload()
                case 64..<78: try part()
                case 78..<84: try complete()
                case 84..<86: try abort()
                case 86..<88:
                    if let mixed = model.buckets.keys.first(where: { $0.text == "mixed" }) {
                        try set(pick([.enabled, .suspended]), mixed)
                    }
                case 88..<91: try restart()
                case 91..<93: _ = try wait { opened.store.compact(liveFraction: pick([0.5, 0.9, 1]), done: $0) }
                case 93..<95: _ = try wait { opened.store.upkeep(done: $0) }
                default: try compareSome()
                }
            } catch {
                Issue.record("seed \(seed), step \(step), die \(last): \(error)")
                return
            }
        }
        try compareAll()
    }

    // MARK: What clients do

    private func version(_ id: VersionID?, _ body: [UInt8], _ etag: ETag, _ user: String) -> Model.Version {
        Model.Version(id: id ?? .null, body: body, etag: etag, user: user)
    }

    private func put() throws {
        let (bucket, key, body, user) = (bucket(), pick(names), body(), "\(dice.next())")
        let condition: WriteConditions = pick([.none, .none, .none, .mustNotExist, WriteConditions(ifMatch: .any)])
        let exists = model.buckets[bucket]?.keys[key]?.first?.body != nil
        let isRefused = condition == .mustNotExist ? exists : condition != .none && !exists
        var result: PutResult?
        let refused = refusal {
            result = try opened.put(bucket, key, body, steps: pick([1000, 65_536, 1 << 20])) {
                $0.conditions = condition
                $0.metadata = Metadata(user: [Field("u", user)])
            }
        }
        #expect((refused != nil) == isRefused, "seed \(seed): \(String(describing: refused))")
        guard let result else { return }
        #expect(result.etag == md5(body))
        model.put(bucket, key, version(result.version, body, result.etag, user))
    }

    private func delete() throws {
        let (bucket, key) = (bucket(), pick(names))
        model.delete(bucket, key, result: try opened.delete(bucket, key))
    }

    private func deleteVersion() throws {
        let (bucket, key) = (bucket(), pick(names))
        guard let versions = model.buckets[bucket]?.keys[key] else { return }
        let version = pick(versions)
        #expect(try opened.delete(bucket, key, version: version.id).isDeleteMarker == (version.body == nil))
        model.delete(bucket, key, version: version.id)
    }

    private func source() -> (bucket: BucketName, key: String, version: Model.Version)? {
        let all = model.buckets.keys.sorted { $0.text < $1.text }.flatMap { bucket in
            (model.buckets[bucket]?.keys ?? [:]).sorted { $0.key < $1.key }.flatMap { key, versions in
                versions.filter { $0.body != nil }.map { (bucket, key, $0) }
            }
        }
        return all.isEmpty ? nil : pick(all)
    }

    private func copy() throws {
        guard let (from, key, version) = source(), let body = version.body else { return }
        let (bucket, target) = (bucket(), pick(names))
        let checksum: ChecksumAlgorithm? = pick([nil, nil, .sha256])
        let request = CopyRequest(
            source: CopySource(bucket: from, key: try ObjectKey(key), version: version.id), bucket: bucket, key: try ObjectKey(target),
            checksum: checksum)
        let copied = try wait { opened.store.copy(request, done: $0) }
        #expect(checksum == nil ? copied.result.etag == version.etag : copied.result.etag == md5(body))
        model.put(bucket, target, self.version(copied.result.version, body, copied.result.etag, version.user))
    }

    private func createUpload() throws {
        guard model.uploads.count < 5 else { return }
        let request = UploadRequest(bucket: bucket(), key: try ObjectKey(pick(names)), metadata: Metadata(user: [Field("u", "upload")]))
        let upload = try wait { opened.store.createUpload(request, done: $0) }
        model.uploads.append(.init(name: UploadName(bucket: request.bucket, key: request.key, id: upload.id)))
    }

    private func part() throws {
        guard !model.uploads.isEmpty else { return }
        let index = Int.random(in: 0..<model.uploads.count, using: &dice)
        let (name, number) = (model.uploads[index].name, Int.random(in: 1...6, using: &dice))
        if Bool.random(using: &dice), let (from, key, version) = source(), let bytes = version.body, !bytes.isEmpty {
            let first = Int.random(in: 0..<bytes.count, using: &dice)
            let last = Int.random(in: first..<bytes.count, using: &dice)
            let source = CopySource(bucket: from, key: try ObjectKey(key), version: version.id, range: Int64(first)...Int64(last))
            let part = try wait { opened.store.copyPart(name, number: number, from: source, done: $0) }.part
            model.uploads[index].parts[number] = Array(bytes[first...last])
            #expect(part.etag == md5(Array(bytes[first...last])))
        } else {
            let body = body()
            try opened.fill(opened.store.putPart(name, number: number, body: BodyChecks()), body)
            model.uploads[index].parts[number] = body
        }
    }

    private func complete() throws {
        guard !model.uploads.isEmpty else { return }
        let upload = model.uploads[Int.random(in: 0..<model.uploads.count, using: &dice)]
        let chosen = upload.parts.sorted { $0.key < $1.key }.filter { _ in Int.random(in: 0..<5, using: &dice) > 0 }
        let request = CompleteRequest(upload: upload.name, parts: chosen.map { CompletedPart(number: $0.key, etag: md5($0.value)) })
        let isTooSmall = chosen.dropLast().contains { $0.value.count < 1000 }
        var result: PutResult?
        let refused = refusal { result = try wait { opened.store.complete(request, done: $0) } }
        #expect((refused == nil) == (!chosen.isEmpty && !isTooSmall), "seed \(seed): \(String(describing: refused))")
        guard let result else { return }
        let body = chosen.flatMap(\.value)
        #expect(result.checksum?.value == crc64(body), "combined from the parts")
        let again = try wait { opened.store.complete(request, done: $0) }
        #expect(again.etag == result.etag && again.version == result.version, "asked again")
        model.uploads.removeAll { $0.name == upload.name }
        model.put(upload.name.bucket, upload.name.key.description, version(result.version, body, result.etag, "upload"))
    }

    private func abort() throws {
        guard let upload = model.uploads.popLast() else { return }
        try wait { opened.store.abort(upload.name, done: $0) }
        #expect(refusal { try wait { opened.store.abort(upload.name, done: $0) } } == .noSuchUpload)
    }

    /// Now and then the store is closed; otherwise it goes on with what `kill -9` would have left, at a moment with a broken upload.
    private func restart() throws {
        restarts += 1
        let writer = opened.store.put(PutRequest(bucket: bucket(), key: try ObjectKey("broken")))
        let bytes = random(600_000, &dice)
        _ = bytes.withUnsafeBytes { writer.write($0) {} }
        let isKilled = Bool.random(using: &dice)
        var path = opened.path
        if isKilled { path = try directory.copy(to: "after-\(restarts)", of: path) }
        writer.abort()
        opened.store.close()
        opened = try Self.open(path, clock, seed &+ UInt64(restarts))
    }

    // MARK: Comparison

    private func compareSome() throws {
        let bucket = bucket()
        let delimiter = pick([[], Array("/".utf8), Array("k1".utf8)])
        let prefix = pick([[], Array("k1".utf8), Array("k1/".utf8), Array("x".utf8)])
        let max = Int.random(in: 1...5, using: &dice)
        var keys: [String] = []
        var prefixes: [String] = []
        var after: [UInt8] = []
        repeat {
            let page = try opened.list(ListRequest(bucket: bucket, prefix: prefix, delimiter: delimiter, after: after, keysMax: max))
            #expect(page.objects.count + page.prefixes.count <= max)
            keys += page.objects.map(\.key.description)
            prefixes += page.prefixes.map { String(decoding: $0, as: UTF8.self) }
            after = page.next ?? []
        } while !after.isEmpty
        let matching = model.current(bucket).filter { $0.utf8.starts(with: prefix) }
        var expected: (keys: [String], prefixes: [String]) = ([], [])
        for key in matching {
            let rest = Array(key.utf8.dropFirst(prefix.count))
            let cut = delimiter.isEmpty ? nil : (0..<rest.count).first { rest[$0...].starts(with: delimiter) }
            if let cut {
                let common = String(decoding: prefix + rest[..<(cut + delimiter.count)], as: UTF8.self)
                if expected.prefixes.last != common { expected.prefixes.append(common) }
            } else {
                expected.keys.append(key)
            }
        }
        #expect(keys == expected.keys && prefixes == expected.prefixes, "seed \(seed)")
        guard let (bucket, key, version) = source(), let body = version.body, !body.isEmpty else { return }
        let from = Int.random(in: 0..<body.count, using: &dice)
        #expect(
            try opened.get(bucket, key, version: version.id) { $0.range = .from(Int64(from), through: nil) } == Array(body[from...]))
    }

    func compareAll() throws {
        for (bucket, expected) in model.buckets {
            var listed: [String: [VersionID]] = [:]
            var request = VersionsRequest(bucket: bucket, keysMax: 3)
            while true {
                let page = try wait { opened.store.listVersions(request, done: $0) }
                for version in page.versions {
                    #expect(version.isLatest == (listed[version.object.key.description] == nil))
                    listed[version.object.key.description, default: []].append(version.id)
                }
                guard let next = page.next else { break }
                (request.afterKey, request.afterVersion) = (next.key, next.version)
            }
            #expect(listed == expected.keys.mapValues { $0.map(\.id) }, "seed \(seed), \(bucket)")
            for (key, versions) in expected.keys {
                for version in versions {
                    guard let body = version.body else {
                        if case .methodNotAllowed? = refusal({ try opened.get(bucket, key, version: version.id) }) {
                        } else {
                            Issue.record("a marker was read")
                        }
                        continue
                    }
                    #expect(try opened.get(bucket, key, version: version.id) == body, "seed \(seed), \(bucket)/\(key)")
                    let head = try wait {
                        opened.store.head(GetRequest(bucket: bucket, key: ObjectKey(unchecked: key), version: version.id), done: $0)
                    }
                    #expect(head.version.metadata.user.first?.value == version.user && head.version.etag == version.etag)
                }
                if versions.first?.body == nil {
                    #expect(refusal { try opened.get(bucket, key) } == .noSuchKey(deleteMarker: versions.first?.id))
                }
            }
        }
        var listed: [UploadID] = []
        for bucket in model.buckets.keys {
            listed += try wait { opened.store.listUploads(UploadsRequest(bucket: bucket), done: $0) }.uploads.map(\.id)
        }
        #expect(listed.sorted() == model.uploads.map(\.name.id).sorted())
        let report = try wait { opened.store.check(done: $0) }
        #expect(report.faults == [], "seed \(seed)")
    }
}

extension ObjectKey {
    /// One that is known to be valid.
    init(unchecked text: String) {
        do { try self.init(text) } catch { preconditionFailure("\(text) is no key") }
    }
}

func crc64(_ bytes: [UInt8]) -> [UInt8] {
    // Bit by bit, from the polynomial alone.
    var crc = ~UInt64(0)
    for byte in bytes {
        crc ^= UInt64(byte)
        for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x9A6C_9329_AC4B_C9B5 : crc >> 1 }
    }
    return (0..<8).map { UInt8(truncatingIfNeeded: ~crc >> UInt64(56 - 8 * $0)) }
}

@Suite struct SimulationTests {
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func aSeededRunAgreesWithDictionaries(seed: UInt64) throws {
        let simulation = try Simulation(seed: seed)
        try simulation.run(steps: 250)
        simulation.close()
    }
}
