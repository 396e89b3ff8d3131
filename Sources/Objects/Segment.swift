internal import Base
internal import Crypto
internal import Foundation
internal import Glibc
internal import Synchronization
internal import Zstd

/// One file of bodies: `hot-N.sqlite`, `cold-N.sqlite` or `archive-N.sqlite`, a table of chunks that is only ever appended to.
///
///     open ── grows beyond its bound, and its last writer is gone ──▶ sealed ── nothing in it is needed ──▶ removed
///
/// Invariants:
///  1. A row never changes. What no blob needs any more goes with the whole file.
///  2. `id = base << 20 | n` for the n-th chunk of the blob at `base`; all but the last have 256 KiB.
///  3. `crc` is the CRC-32C of the row's bytes as stored. `raw`: 0, or the size that a compressed row has unpacked.
///  4. An open file has one connection that writes. Its commits and the steps of readers exclude each other by `gate`, so that neither
///     ever finds the file locked. (Rollback journal: appended pages are written once.) A sealed file is read as immutable: no locks.
///  5. A file with pins is not removed.
///
/// Thread rule: `append` by its writer's queue; everything else by any thread.
final class Segment: @unchecked Sendable {
    let id: Int64
    let tier: Tier
    let path: String
    private let gate = Gate()
    /// Guarded by `gate`, exclusively.
    private var writer: Connection?
    /// Guarded by `lock`.
    private var reader: Connection?
    private let lock = Mutex<Void>(())
    /// nil: not asked for yet; else what reads rows without SQLite, if the file allows it.
    private let pages = Mutex<SegmentPages??>(nil)
    private let state: Mutex<State>
    private let bases = Atomic<Int64>(1)

    struct State {
        var isSealed = false
        /// It lies in the archive, whatever is here of it.
        var isAway = false
        /// Bytes of rows, and what of it is still needed, before and after compression.
        var stored: Int64 = 0
        var liveSize: Int64 = 0
        var liveStored: Int64 = 0
        /// Pins.
        var readers = 0
        var writers = 0
        var whenWritten: (@Sendable () -> Void)?
        var whenUnused: (@Sendable () -> Void)?

        mutating func dueActs() -> [@Sendable () -> Void] {
            guard writers == 0 else { return [] }
            var acts = [whenWritten].compactMap(\.self)
            whenWritten = nil
            if readers == 0, let act = whenUnused {
                acts.append(act)
                whenUnused = nil
            }
            return acts
        }
    }

    /// Numbers that may be read at any time.
    var numbers: State { state.withLock { $0 } }

    init(
        id: Int64, tier: Tier, path: String, isSealed: Bool, isAway: Bool = false, stored: Int64 = 0, liveSize: Int64 = 0,
        liveStored: Int64 = 0
    ) {
        self.id = id
        self.tier = tier
        self.path = path
        state = Mutex(State(isSealed: isSealed, isAway: isAway, stored: stored, liveSize: liveSize, liveStored: liveStored))
    }

    /// Makes the file, or opens it for writing again; a commit that was torn is rolled back here.
    func openForWriting(bytesMax: Int64) throws {
        let connection = try Connection(path: path, readonly: false)
        try connection.execute(
            """
            PRAGMA page_size = 65536; PRAGMA journal_mode = PERSIST; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF;
            PRAGMA auto_vacuum = NONE; PRAGMA cache_spill = OFF; PRAGMA cache_size = -12288; PRAGMA temp_store = MEMORY;
            CREATE TABLE IF NOT EXISTS chunks (id INTEGER PRIMARY KEY, crc INTEGER NOT NULL, raw INTEGER NOT NULL, data BLOB NOT NULL);
            """)
        if bytesMax > 0 { try connection.execute("PRAGMA max_page_count = \(max(2, bytesMax / 65536))") }
        // The new file's name must be on disk before what is said to be in it.
        Self.syncDirectory(of: path)
        // Rows of uploads that never ended count too: no id is used twice.
        let last = try connection.first("SELECT max(id) FROM chunks") { $0.int(0) } ?? 0
        bases.store(last >> 20 + 1, ordering: .relaxed)
        gate.exclusively { writer = connection }
    }

    static func syncDirectory(of path: String) {
        let directory = String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
        let descriptor = open(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        Glibc.close(descriptor)
    }

    // MARK: Rows

    /// Where the next blob begins.
    func nextBase() -> Int64 { bases.add(1, ordering: .relaxed).oldValue }

    struct Row {
        let id: Int64
        let crc: UInt64
        let raw: Int
        let bytes: UnsafeRawBufferPointer
    }

    static func rowID(base: Int64, chunk: Int64) -> Int64 { base << 20 | chunk }

    /// Puts all rows on disk or none. By the writer's queue.
    func append(_ rows: [Row]) throws {
        guard let writer else { throw ObjectsError.storage("\(path) is not open for writing") }
        do {
            try writer.execute("BEGIN IMMEDIATE")
            for row in rows {
                try writer.run(
                    "INSERT INTO chunks (id, crc, raw, data) VALUES (?, ?, ?, ?)", .int(row.id), .int(Int64(row.crc)), .int(row.raw),
                    bytes: row.bytes)
            }
            try gate.exclusively { try writer.execute("COMMIT") }
        } catch {
            gate.exclusively { if writer.isInTransaction { try? writer.execute("ROLLBACK") } }
            throw error
        }
        let bytes = rows.reduce(0) { $0 + Int64($1.bytes.count) }
        state.withLock { $0.stored += bytes }
    }

    /// The bytes of a chunk, unpacked, whose checksum has been verified, as `body` reads them.
    func read<T>(base: Int64, chunk: Int64, _ body: (UnsafeRawBufferPointer) -> T) throws -> T {
        let id = Self.rowID(base: base, chunk: chunk)
        let found = try withReader { connection in
            try connection.first("SELECT crc, raw, data FROM chunks WHERE id = ?", .int(id)) { row -> T in
                let bytes = row.raw(2)
                guard checksumOfRow(bytes) == UInt64(row.int(0)) else {
                    throw ObjectsError.damaged("\(path) is damaged: chunk \(chunk) of blob \(base) has another checksum")
                }
                let raw = Int(row.int(1))
                guard raw > 0 else { return body(bytes) }
                guard raw <= Limits.objectChunkBytes, let unpacked = Zstd.shared.decompress(bytes, bytesMax: raw) else {
                    throw ObjectsError.damaged("\(path) is damaged: chunk \(chunk) of blob \(base) cannot be unpacked")
                }
                return unpacked.withUnsafeBytes { body($0) }
            }
        }
        guard let found else { throw ObjectsError.damaged("\(path) is damaged: chunk \(chunk) of blob \(base) is missing") }
        return found
    }

    /// The same in a chunk of its own, without SQLite where that can be.
    func read(base: Int64, chunk: Int64, into pool: ChunkPool) throws -> Chunk {
        let found = try gate.shared {
            try directPages()?.read(Self.rowID(base: base, chunk: chunk), version: state.withLock { $0.stored }, pool)
        }
        if let found, checksumOfRow(found.chunk.bytes) == found.crc { return found.chunk }
        return try read(base: base, chunk: chunk) { Chunk($0, of: pool) }
    }

    private func directPages() throws -> SegmentPages? {
        if let known = pages.withLock({ $0 }) { return known }
        // SQLite's connection is there first, and outlives the descriptor's use.
        let root = try unguardedReader { try $0.first("SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'") { $0.int(0) } }
        let made = SegmentPages(path: path, root: Int(root ?? 0))
        pages.withLock { $0 = .some(made) }
        return made
    }

    /// Sizes of the rows of one blob as stored; for moving it as it is. nil beyond the last.
    func readStored<T>(base: Int64, chunk: Int64, _ body: (Row) throws -> T) throws -> T? {
        let id = Self.rowID(base: base, chunk: chunk)
        return try withReader { connection in
            try connection.first("SELECT crc, raw, data FROM chunks WHERE id = ?", .int(id)) { row -> T in
                try body(Row(id: id, crc: UInt64(row.int(0)), raw: Int(row.int(1)), bytes: row.raw(2)))
            }
        }
    }

    /// The base of each blob in the file, with the bytes of its rows.
    func blobs() throws -> [(base: Int64, stored: Int64)] {
        try withReader { connection in
            try connection.rows("SELECT id >> 20, sum(length(data)) FROM chunks GROUP BY id >> 20") { row in (row.int(0), row.int(1)) }
        }
    }

    /// SQLite's own check of the file; nil: it is whole.
    func damage() throws -> String? {
        let found = try withReader { connection in
            try connection.first("PRAGMA quick_check(1)") { row in row.text(0) }
        }
        return found == "ok" ? nil : found
    }

    private func withReader<T>(_ body: (Connection) throws -> T) throws -> T { try gate.shared { try unguardedReader(body) } }

    /// The caller holds the gate.
    private func unguardedReader<T>(_ body: (Connection) throws -> T) throws -> T {
        try lock.withLock { _ in
            if reader == nil {
                let isSealed = state.withLock { $0.isSealed }
                reader = try Connection(path: path, readonly: true, options: isSealed ? "?immutable=1" : "")
                try reader?.execute("PRAGMA cache_size = -1024")
            }
            guard let reader else { throw ObjectsError.aborted }
            return try body(reader)
        }
    }

    /// Copies the file between two commits.
    func copy(to target: String) throws {
        try gate.shared {
            do { try FileManager.default.copyItem(atPath: path, toPath: target) } catch {
                throw ObjectsError.storage("\(path) cannot be copied to \(target): \(error)")
            }
        }
        let descriptor = Glibc.open(target, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ObjectsError.storage("\(target) cannot be opened") }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw ObjectsError.storage("\(target) cannot be synced") }
    }

    // MARK: Life

    fileprivate func pin(_ use: SegmentPin.Use) {
        state.withLock { if use == .writing { $0.writers += 1 } else { $0.readers += 1 } }
    }

    fileprivate func unpin(_ use: SegmentPin.Use) {
        let act: [@Sendable () -> Void] = state.withLock { state in
            if use == .writing { state.writers -= 1 } else { state.readers -= 1 }
            return state.dueActs()
        }
        for act in act { act() }
    }

    /// Runs `body` when the last writer has gone, at once if there is none.
    func whenWritten(_ body: @escaping @Sendable () -> Void) {
        for act in state.withLock({ state in
            state.whenWritten = body
            return state.dueActs()
        }) { act() }
    }

    /// Runs `body` when nobody uses the file, at once if nobody does.
    func whenUnused(_ body: @escaping @Sendable () -> Void) {
        for act in state.withLock({ state in
            state.whenUnused = body
            return state.dueActs()
        }) { act() }
    }

    func setAway() { state.withLock { $0.isAway = true } }

    func account(size: Int64, stored: Int64) {
        state.withLock { state in
            state.liveSize += size
            state.liveStored += stored
        }
    }

    /// No row is appended any more. By the writer's queue.
    func seal() {
        gate.exclusively {
            writer?.close()
            writer = nil
            closeReader()
            pages.withLock { $0 = nil }
            state.withLock { $0.isSealed = true }
        }
        unlink(path + "-journal")
    }

    /// Closes a reader that idles.
    func closeReader() {
        lock.withLock { _ in
            reader?.close()
            reader = nil
        }
    }

    func close() {
        gate.exclusively {
            writer?.close()
            writer = nil
            closeReader()
            pages.withLock { $0 = nil }
        }
    }

    func remove() {
        close()
        unlink(path)
        unlink(path + "-journal")
    }
}

/// Keeps a file from being sealed (writing) and removed, as long as it lives.
final class SegmentPin: Sendable {
    enum Use: Sendable {
        case reading, writing
    }
    let segment: Segment
    private let use: Use

    init(_ segment: Segment, _ use: Use) {
        self.segment = segment
        self.use = use
        segment.pin(use)
    }

    deinit { segment.unpin(use) }
}

extension Zstd {
    /// One a thread would be more than is needed: cold reads are rare.
    static let shared = Locked()

    final class Locked: Sendable {
        private let zstd = Mutex(Zstd())

        func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) -> [UInt8]? { zstd.withLock { $0.compress(bytes, level: level) } }
        func decompress(_ frame: UnsafeRawBufferPointer, bytesMax: Int) -> [UInt8]? {
            zstd.withLock { $0.decompress(frame, bytesMax: bytesMax) }
        }
    }
}

/// A lock of many readers or one writer, who goes first.
final class Gate: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)

    init() {
        var attributes = pthread_rwlockattr_t()
        pthread_rwlockattr_init(&attributes)
        pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
        pthread_rwlock_init(lock, &attributes)
        pthread_rwlockattr_destroy(&attributes)
    }

    deinit {
        pthread_rwlock_destroy(lock)
        lock.deallocate()
    }

    func shared<T, Failure: Error>(_ body: () throws(Failure) -> T) throws(Failure) -> T {
        pthread_rwlock_rdlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }

    func exclusively<T, Failure: Error>(_ body: () throws(Failure) -> T) throws(Failure) -> T {
        pthread_rwlock_wrlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }
}

/// What a row's `crc` column holds.
func checksumOfRow(_ bytes: UnsafeRawBufferPointer) -> UInt64 { CRC.of(bytes, .crc32c) }
