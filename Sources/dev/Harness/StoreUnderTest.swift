import Dispatch
import Foundation
import Objects
import Synchronization

/// A store that is called as a door calls it: each connection begins its next call when the last has been answered.
final class StoreUnderTest: Sendable {
    let store: ObjectStore
    private let bucket: BucketName

    init(_ directory: String) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        store = try ObjectStore(.init(directory: directory, seed: 1) { Int64(Date().timeIntervalSince1970 * 1000) })
        bucket = try BucketName("bench")
        let isMade = DispatchSemaphore(value: 0)
        store.createBucket(bucket, owner: "bench") { _ in isMade.signal() }
        isMade.wait()
    }

    static func key(_ prefix: String, _ n: Int, directories: Int) -> [UInt8] {
        Array("\(prefix)/\(String(format: "%05d", n % directories))/\(String(format: "%07d", n))".utf8)
    }

    /// Calls `one` with 0, 1, 2 …, so many at a time; returns the seconds that all took.
    private func run(
        count: Int, connections: Int, _ one: @escaping @Sendable (Int, @escaping @Sendable (ObjectsError?) -> Void) -> Void
    ) throws -> Double {
        let group = DispatchGroup()
        let run = Run(count: count, one: one, group: group)
        let time = seconds {
            for _ in 0..<connections {
                group.enter()
                run.step()
            }
            group.wait()
        }
        if let error = run.failure { throw error }
        return time
    }

    private final class Run: Sendable {
        /// The door's loop: what a client does is not done on the store's threads.
        private let loop = DispatchQueue(label: "loop")
        private let next = Atomic<Int>(0)
        private let failed = Mutex<ObjectsError?>(nil)
        private let count: Int
        private let one: @Sendable (Int, @escaping @Sendable (ObjectsError?) -> Void) -> Void
        private let group: DispatchGroup

        init(count: Int, one: @escaping @Sendable (Int, @escaping @Sendable (ObjectsError?) -> Void) -> Void, group: DispatchGroup) {
            self.count = count
            self.one = one
            self.group = group
        }

        var failure: ObjectsError? { failed.withLock { $0 } }

        func step() {
            let n = next.add(1, ordering: .relaxed).oldValue
            guard n < count, failure == nil else {
                group.leave()
                return
            }
            one(n) { [self] error in
                if let error { failed.withLock { $0 = error } }
                loop.async { self.step() }
            }
        }
    }

    func put(count: Int, connections: Int, body: [UInt8], prefix: String, directories: Int = 1) throws -> Double {
        try run(count: count, connections: connections) { [self] n, done in
            guard let key = try? ObjectKey(Self.key(prefix, n, directories: directories)) else { return done(.invalidKey) }
            let writer = store.put(PutRequest(bucket: bucket, key: key, body: BodyChecks(size: Int64(body.count))))
            Self.fill(writer, body, from: 0, done: done)
        }
    }

    /// 64 KiB at a time, as a socket is read.
    private static func fill(
        _ writer: ObjectWriter, _ body: [UInt8], from start: Int, done: @escaping @Sendable (ObjectsError?) -> Void
    ) {
        var at = start
        while at < body.count {
            let end = min(body.count, at + 65_536)
            let hasRoom = body.withUnsafeBytes { bytes in
                writer.write(UnsafeRawBufferPointer(rebasing: bytes[at..<end])) { fill(writer, body, from: end, done: done) }
            }
            guard hasRoom else { return }
            at = end
        }
        writer.finish { result in
            if case .failure(let error) = result { done(error) } else { done(nil) }
        }
    }
}
