import Base
import Crypto
import Dispatch
import Foundation
import Objects
import Synchronization
import Testing

/// A directory that goes with the test.
final class Directory: Sendable {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-objects-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// What `kill -9` would leave now: metadata first, for what it names is on disk already; each file with the journal that belongs to it,
    /// though commits go on.
    func copy(to name: String, of source: String? = nil) throws -> String {
        let target = "\(path)/\(name)"
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        let source = source ?? "\(path)/store"
        try copy("meta.sqlite", source, target, log: "-wal") { $0?.prefix(32) }
        for file in try FileManager.default.contentsOfDirectory(atPath: source)
        where file.hasPrefix("hot-") && file.hasSuffix(".sqlite") {
            try copy(file, source, target, log: "-journal") { $0 }
        }
        return target
    }

    /// Until `mark` of the log is the same before and after: then no checkpoint, and no other commit, has come between.
    private func copy(_ file: String, _ source: String, _ target: String, log: String, mark: (Data?) -> Data?) throws {
        func read(_ suffix: String) -> Data? { FileManager.default.contents(atPath: "\(source)/\(file)\(suffix)") }
        while true {
            let before = read(log)
            let bytes = try #require(read(""))
            let after = read(log)
            guard mark(before) == mark(after) else { continue }
            try bytes.write(to: URL(fileURLWithPath: "\(target)/\(file)"))
            try after?.write(to: URL(fileURLWithPath: "\(target)/\(file)\(log)"))
            return
        }
    }
}

/// Time that tests move.
final class Clock: Sendable {
    private let time = Mutex<Int64>(1_000_000_000_000)
    var now: Int64 { time.withLock { $0 } }
    func advance(_ milliseconds: Int64) { time.withLock { $0 += milliseconds } }
}

/// A store with calls that wait, for tests only.
struct Opened {
    let store: ObjectStore
    let clock: Clock
    let path: String

    init(_ path: String, clock: Clock = Clock(), seed: UInt64 = 1, change: (inout ObjectStore.Options) -> Void = { _ in }) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var options = ObjectStore.Options(directory: path, seed: seed) { clock.now }
        options.partBytesMin = 1000
        change(&options)
        store = try ObjectStore(options)
        self.clock = clock
        self.path = path
    }

    @discardableResult
    func put(
        _ bucket: BucketName, _ key: String, _ body: [UInt8], steps: Int = 1 << 20, _ change: (inout PutRequest) -> Void = { _ in }
    ) throws -> PutResult {
        var request = PutRequest(bucket: bucket, key: try ObjectKey(key))
        change(&request)
        return try fill(store.put(request), body, steps: steps)
    }

    @discardableResult
    func fill(_ writer: ObjectWriter, _ body: [UInt8], steps: Int = 1 << 20, trailer: [UInt8]? = nil) throws -> PutResult {
        try body.withUnsafeBytes { bytes in
            var at = 0
            while at < bytes.count {
                let end = min(bytes.count, at + steps)
                let room = DispatchSemaphore(value: 0)
                if !writer.write(UnsafeRawBufferPointer(rebasing: bytes[at..<end]), resume: { room.signal() }) { room.wait() }
                at = end
            }
            return try wait { writer.finish(checksum: trailer, done: $0) }
        }
    }

    func get(
        _ bucket: BucketName, _ key: String, version: VersionID? = nil, _ change: (inout GetRequest) -> Void = { _ in }
    ) throws -> [UInt8] {
        var request = GetRequest(bucket: bucket, key: try ObjectKey(key), version: version)
        change(&request)
        return try bytes(try wait { store.get(request, done: $0) })
    }

    func bytes(_ reader: ObjectReader) throws -> [UInt8] {
        if let whole = reader.whole { return whole }
        var all: [UInt8] = []
        while let next = try wait({ reader.next(done: $0) }) { all += next.bytes }
        return all
    }

    func bucket(_ name: String) throws -> BucketName {
        let name = try BucketName(name)
        if store.bucket(name) == nil { _ = try wait { store.createBucket(name, owner: "me", done: $0) } }
        return name
    }

    @discardableResult
    func delete(
        _ bucket: BucketName, _ key: String, version: VersionID? = nil, conditions: WriteConditions = .none
    ) throws -> DeleteResult {
        let request = DeleteRequest(key: try ObjectKey(key), version: version, conditions: conditions)
        return try wait { store.delete(request, in: bucket, done: $0) }
    }

    func list(_ request: ListRequest) throws -> ListPage { try wait { store.list(request, done: $0) } }
}

/// Calls and waits for the answer.
func wait<T: Sendable>(_ call: (@escaping ObjectStore.Done<T>) -> Void) throws -> T {
    let answer = Mutex<Result<T, ObjectsError>?>(nil)
    let isDone = DispatchSemaphore(value: 0)
    call { result in
        let isSecond = answer.withLock { answer in
            defer { answer = result }
            return answer != nil
        }
        if isSecond { Issue.record("answered twice") }
        isDone.signal()
    }
    isDone.wait()
    guard let result = answer.withLock({ $0 }) else { throw ObjectsError.aborted }
    return try result.get()
}

/// What `body` is refused with; nil: it succeeded.
func refusal<T>(_ body: () throws -> T) -> ObjectsError? {
    do { _ = try body() } catch { return error as? ObjectsError }
    return nil
}

func random(_ count: Int, _ random: inout Random) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { out, length in
        for index in 0..<count { out[index] = UInt8(truncatingIfNeeded: random.next() >> 11) }
        length = count
    }
}

func md5(_ bytes: [UInt8]) -> ETag { ETag(digest: bytes.withUnsafeBytes { Digest.md5($0) }) }
