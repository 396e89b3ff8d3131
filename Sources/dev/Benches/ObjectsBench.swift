import Base
import Crypto
import Dispatch
import Foundation
import GRDBSQLite
import Objects
import Synchronization

/// The object store without HTTP: what it adds to files and to bare SQLite, and pages of a large bucket.
struct ObjectsBench: Bench {
    let name = "objects"
    let purpose = "durable puts beside fsynced files and bare SQLite, reads beside files, list pages of a million objects"
    private let largeBytes = 8 << 20

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let directory = try setting.makeDirectory("objects")
        let store = try StoreUnderTest(directory + "/store")
        defer { store.store.close() }
        var figures: [Figure] = []
        setting.waitForQuiet()
        figures += try large(setting, store, directory)
        figures += try small(setting, store, directory)
        figures += try reads(setting, store, directory)
        figures += try lists(setting, store)
        return figures
    }

    /// The median of both sides over the rounds, each side first in turn.
    private func compare(
        _ setting: BenchSetting, _ own: () throws -> Double, _ peer: () throws -> Double
    ) rethrows -> (own: Double, peer: Double) {
        var values: (own: [Double], peer: [Double]) = ([], [])
        for round in 0..<setting.rounds {
            if round % 2 == 0 { values.own.append(try own()) }
            values.peer.append(try peer())
            if round % 2 == 1 { values.own.append(try own()) }
        }
        return (values.own.sorted()[setting.rounds / 2], values.peer.sorted()[setting.rounds / 2])
    }

    // MARK: Puts

    private func large(_ setting: BenchSetting, _ store: StoreUnderTest, _ directory: String) throws -> [Figure] {
        let body = [UInt8](randomOf: largeBytes)
        let count = 48
        let files = FilesUnderTest(directory + "/large")
        let (own, hashed) = try compare(setting) {
            Double(count * largeBytes) / 1e6 / (try store.put(count: count, connections: 4, body: body, prefix: "large"))
        } _: {
            Double(count * largeBytes) / 1e6 / (try files.put(count: count, threads: 4, body: body, isHashed: true))
        }
        let (_, plain) = try compare(setting) {
            0
        } _: {
            Double(count * largeBytes) / 1e6 / (try files.put(count: count, threads: 4, body: body, isHashed: false))
        }
        return [
            Figure(
                name: "objects: PUT 8 MiB, 4 at a time", unit: "MB/s", hearth: own, peer: ("fsynced files, hashed", hashed),
                goal: .atLeastTimes(0.7)),
            Figure(name: "objects: PUT 8 MiB, 4 at a time", unit: "MB/s", hearth: own, peer: ("fsynced files", plain), goal: .none),
        ]
    }

    private func small(_ setting: BenchSetting, _ store: StoreUnderTest, _ directory: String) throws -> [Figure] {
        let (kilobyte, page) = ([UInt8](randomOf: 1024), [UInt8](randomOf: 4096))
        let files = FilesUnderTest(directory + "/small")
        let one = try compare(setting) {
            6000 / (try store.put(count: 6000, connections: 64, body: kilobyte, prefix: "small"))
        } _: {
            1500 / (try files.put(count: 1500, threads: 64, body: kilobyte, isHashed: true))
        }
        let raw = try RawRows(directory + "/raw.sqlite")
        let four = try compare(setting) {
            6000 / (try store.put(count: 6000, connections: 64, body: page, prefix: "page"))
        } _: {
            6000 / (try raw.insert(count: 6000, group: 64, body: page))
        }
        let alone = try store.put(count: 500, connections: 1, body: page, prefix: "alone")
        return [
            Figure(
                name: "objects: PUT 1 KiB, 64 at a time", unit: "1/s", hearth: one.own, peer: ("fsynced files", one.peer),
                goal: .atLeastTimes(5)),
            Figure(
                name: "objects: PUT 4 KiB, 64 at a time", unit: "1/s", hearth: four.own, peer: ("bare SQLite", four.peer),
                goal: .atLeastTimes(0.7)),
            Figure(name: "objects: PUT 4 KiB, one at a time", unit: "1/s", hearth: 500 / alone, goal: .none),
        ]
    }

    // MARK: Reads

    private func reads(_ setting: BenchSetting, _ store: StoreUnderTest, _ directory: String) throws -> [Figure] {
        let files = FilesUnderTest(directory + "/large")
        let large = try compare(setting) {
            Double(48 * largeBytes) / 1e6 / (try store.get(count: 48, connections: 4, prefix: "large"))
        } _: {
            Double(48 * largeBytes) / 1e6 / (try files.get(count: 48, threads: 4))
        }
        let small = try store.get(count: 6000, connections: 16, prefix: "page")
        return [
            Figure(name: "objects: GET 8 MiB, 4 at a time", unit: "MB/s", hearth: large.own, peer: ("files", large.peer), goal: .none),
            Figure(name: "objects: GET 4 KiB, 16 at a time", unit: "1/s", hearth: 6000 / small, goal: .none),
        ]
    }

    private func lists(_ setting: BenchSetting, _ store: StoreUnderTest) throws -> [Figure] {
        let count = 1_000_000
        note("  putting \(count) objects")
        let seconds = try store.put(count: count, connections: 512, body: [1], prefix: "many", directories: 1000)
        let before = residentBytes()
        var pages: [Double] = []
        var delimited: [Double] = []
        for _ in 0..<400 {
            let after = StoreUnderTest.key("many", Int.random(in: 0..<count), directories: 1000)
            pages.append(try store.page(after: after, delimiter: []))
            delimited.append(try store.page(after: Array(after.prefix(8)), delimiter: [UInt8(ascii: "/")]))
        }
        func quantile(_ values: [Double], _ share: Double) -> Double { values.sorted()[Int(Double(values.count - 1) * share)] * 1000 }
        return [
            Figure(name: "objects: PUT of 1,000,000 objects, 512 at a time", unit: "1/s", hearth: Double(count) / seconds, goal: .none),
            Figure(name: "objects: page of 1,000 keys of 1,000,000, p50", unit: "ms", hearth: quantile(pages, 0.5), goal: .none),
            Figure(name: "objects: page of 1,000 keys of 1,000,000, p99", unit: "ms", hearth: quantile(pages, 0.99), goal: .atMost(20)),
            Figure(name: "objects: page of common prefixes, p99", unit: "ms", hearth: quantile(delimited, 0.99), goal: .atMost(20)),
            Figure(
                name: "objects: memory that 800 pages added", unit: "MiB", hearth: Double(residentBytes() - before) / 1_048_576,
                goal: .none),
        ]
    }
}

private func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    let span = (ContinuousClock.now - start).components
    return Double(span.seconds) + Double(span.attoseconds) / 1e18
}

private func residentBytes() -> Int {
    let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
}

extension [UInt8] {
    fileprivate init(randomOf count: Int) {
        var random = Random(seed: UInt64(count))
        self = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
}

/// A store that is called as a door calls it: each connection begins its next call when the last has been answered.
private final class StoreUnderTest: Sendable {
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
                step()
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

    func get(count: Int, connections: Int, prefix: String) throws -> Double {
        try run(count: count, connections: connections) { [self] n, done in
            guard let key = try? ObjectKey(Self.key(prefix, n, directories: 1)) else { return done(.invalidKey) }
            store.get(GetRequest(bucket: bucket, key: key)) { result in
                switch result {
                case .failure(let error): done(error)
                case .success(let reader): if reader.whole != nil { done(nil) } else { Self.drain(reader, done: done) }
                }
            }
        }
    }

    private static func drain(_ reader: ObjectReader, done: @escaping @Sendable (ObjectsError?) -> Void) {
        reader.next { result in
            switch result {
            case .failure(let error): done(error)
            case .success(let bytes): if bytes.isEmpty { done(nil) } else { drain(reader, done: done) }
            }
        }
    }

    /// Seconds of one page.
    func page(after: [UInt8], delimiter: [UInt8]) throws -> Double {
        let isDone = DispatchSemaphore(value: 0)
        let failure = Mutex<ObjectsError?>(nil)
        let prefix = delimiter.isEmpty ? [] : Array("many/".utf8)
        let time = seconds {
            store.list(ListRequest(bucket: bucket, prefix: prefix, delimiter: delimiter, after: after)) { result in
                if case .failure(let error) = result { failure.withLock { $0 = error } }
                isDone.signal()
            }
            isDone.wait()
        }
        if let error = failure.withLock({ $0 }) { throw error }
        return time
    }
}

/// One file per object: written under another name, synced, renamed, its directory synced.
private struct FilesUnderTest {
    private let directory: String

    init(_ directory: String) {
        self.directory = directory
        mkdir(directory, 0o755)
    }

    func put(count: Int, threads: Int, body: [UInt8], isHashed: Bool) throws -> Double {
        let next = Atomic<Int>(0)
        return seconds {
            DispatchQueue.concurrentPerformThreads(threads) {
                while true {
                    let n = next.add(1, ordering: .relaxed).oldValue
                    guard n < count else { return }
                    write(body, "\(directory)/\(n)", isHashed)
                }
            }
        }
    }

    private func write(_ body: [UInt8], _ path: String, _ isHashed: Bool) {
        let descriptor = open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        let digest = DigestStream(.md5)
        var crc = CRC(.crc64nvme)
        body.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
                let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(bytes.count, start + 1 << 20)])
                if isHashed {
                    digest.update(part)
                    crc.update(part)
                }
                _ = Glibc.write(descriptor, part.baseAddress, part.count)
            }
        }
        fdatasync(descriptor)
        close(descriptor)
        rename(path + ".new", path)
        let parent = open(directory, O_RDONLY)
        fsync(parent)
        close(parent)
    }

    func get(count: Int, threads: Int) throws -> Double {
        let next = Atomic<Int>(0)
        return seconds {
            DispatchQueue.concurrentPerformThreads(threads) {
                let buffer = UnsafeMutableRawPointer.allocate(byteCount: 262_144, alignment: 64)
                defer { buffer.deallocate() }
                while true {
                    let n = next.add(1, ordering: .relaxed).oldValue
                    guard n < count else { return }
                    let descriptor = open("\(directory)/\(n)", O_RDONLY)
                    while read(descriptor, buffer, 262_144) > 0 {}
                    close(descriptor)
                }
            }
        }
    }
}

extension DispatchQueue {
    /// Runs `body` on so many threads at once, more than there are processors too, and waits.
    fileprivate static func concurrentPerformThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        let group = DispatchGroup()
        for _ in 0..<count {
            group.enter()
            let thread = Thread {
                body()
                group.leave()
            }
            thread.start()
        }
        group.wait()
    }
}

/// The rows of a put and nothing else: one connection, prepared statements, groups.
private final class RawRows {
    private var db: OpaquePointer?
    private var version: OpaquePointer?
    private var body: OpaquePointer?
    private var id: Int64 = 0

    init(_ path: String) throws {
        guard sqlite3_open(path, &db) == SQLITE_OK else { throw Failure("\(path) does not open") }
        sqlite3_exec(
            db,
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; PRAGMA wal_autocheckpoint = 4000;
            CREATE TABLE versions (bucket INTEGER, key BLOB, seq INTEGER, etag BLOB, modified INTEGER, body INTEGER, PRIMARY KEY (bucket, key, seq))
            WITHOUT ROWID;
            CREATE TABLE bodies (id INTEGER PRIMARY KEY, size INTEGER, data BLOB);
            """, nil, nil, nil)
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO versions VALUES (1, ?, 1, ?, 1, ?)", -1, &version, nil)
        sqlite3_prepare_v2(db, "INSERT INTO bodies VALUES (?, 4096, ?)", -1, &body, nil)
    }

    deinit {
        sqlite3_finalize(version)
        sqlite3_finalize(body)
        sqlite3_close(db)
    }

    func insert(count: Int, group: Int, body bytes: [UInt8]) throws -> Double {
        let etag = [UInt8](repeating: 1, count: 16)
        return seconds {
            for start in stride(from: 0, to: count, by: group) {
                sqlite3_exec(db, "BEGIN IMMEDIATE", nil, nil, nil)
                for n in start..<min(count, start + group) {
                    id += 1
                    let key = Array("page/00000/\(String(format: "%07d", n))-\(id)".utf8)
                    sqlite3_bind_blob(version, 1, key, Int32(key.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_bind_blob(version, 2, etag, 16, unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_bind_int64(version, 3, id)
                    sqlite3_step(version)
                    sqlite3_reset(version)
                    sqlite3_bind_int64(body, 1, id)
                    sqlite3_bind_blob(body, 2, bytes, Int32(bytes.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                    sqlite3_step(body)
                    sqlite3_reset(body)
                }
                sqlite3_exec(db, "COMMIT", nil, nil, nil)
            }
        }
    }
}
