internal import Base
internal import Dispatch
internal import Foundation
internal import Synchronization

/// Buckets, objects, multipart uploads, lifecycle and tiers, in SQLite files under one directory.
///
///     meta.sqlite           what a request decides on: versions, uploads, small bodies     WAL, synced at each commit
///     hot-N.sqlite          bodies in rows of 256 KiB, only ever appended                  rollback journal: written once
///     COLD/cold-N.sqlite    the same, each row compressed on its own
///
/// Style: calls that may touch the disk return at once and call `done` exactly once, on a thread of the store's, never on the
/// caller's; who needs the loop posts to it. A call whose `done` has succeeded is on disk: it survives `kill -9`. A call that failed
/// has changed nothing.
///
/// Thread rule: any thread, the loop's too.
package final class ObjectStore: Sendable {
    package typealias Done<Value> = @Sendable (Result<Value, ObjectsError>) -> Void

    /// Where and how.
    package struct Options: Sendable {
        /// Must exist and be writable.
        package var directory: String
        /// nil: `directory`.
        package var coldDirectory: String?
        /// Milliseconds since 1970.
        package var clock: @Sendable () -> Int64
        package var seed: UInt64
        /// The length of a day to lifecycle and tiers, in milliseconds.
        package var day = Lifecycle.dayMilliseconds
        /// A file of bodies is closed for writing when it has grown to this.
        package var segmentBytes: Int64 = 1 << 30
        /// Bodies of at most this many bytes lie in `meta.sqlite`.
        package var inlineBytesMax = Limits.objectInlineBytes
        /// Parts but the last have at least so many bytes (S3: 5 MiB; smaller for tests).
        package var partBytesMin = Limits.objectPartBytesMin
        /// Uploads that nobody completes are aborted after so many days, even without a rule.
        package var abortUploadsDays = 7
        /// Where the archive tier's files lie; nil: archived objects stay in the cold tier.
        package var archive: (any ArchivePlace)?
        /// No file grows beyond; for tests of a full disk. 0: none.
        package var fileBytesMax: Int64 = 0

        package init(directory: String, seed: UInt64, clock: @escaping @Sendable () -> Int64) {
            self.directory = directory
            self.seed = seed
            self.clock = clock
        }
    }

    let options: Options
    private let lock: Mutex<FileLock?>
    let meta: MetaWriter
    let reads: ReadLanes
    let table = BucketTable()
    let segments: Segments
    let pool = ChunkPool()
    /// Of readers: what they hold must not hold up writers.
    let readPool = ChunkPool(idleBytesMax: Limits.objectReadIdleBytes)
    /// Two, so that one commit's wait for the disk is another's time to fill.
    let hot: [SegmentWriter]
    let cold: SegmentWriter
    let archive: SegmentWriter
    let digestLanes: [DispatchQueue]
    let bodyLanes: [DispatchQueue]
    /// Background work and whole-store reads: one at a time.
    let careQueue = DispatchQueue(label: "hearth.objects.care")
    let care = Mutex(CareState())
    let accesses = AccessLog()
    /// The checksum algorithm of each upload under way that has chosen one.
    let plans = Mutex<[Int64: ChecksumAlgorithm?]>([:])
    private let turn = Atomic<Int>(0)
    let backups = Atomic<Int>(0)

    package init(_ options: Options) throws(ObjectsError) {
        self.options = options
        do {
            lock = Mutex(try Self.lock(options.directory))
            Self.removeScratch(options.directory)
            let path = options.directory + "/meta.sqlite"
            let db = try Connection.meta(path, readonly: false, pagesMax: options.fileBytesMax / 4096)
            meta = try MetaWriter(db, seed: options.seed, clock: options.clock)
            segments = Segments(
                hotDirectory: options.directory, coldDirectory: options.coldDirectory ?? options.directory,
                bytesMax: options.fileBytesMax)
            try segments.load(db)
            try table.load(db, day: options.day)
            let chosen = try db.rows("SELECT id, plan FROM uploads WHERE plan IS NOT NULL") {
                ($0.int(0), ChecksumPlan(packed: $0.bytes(1))?.algorithm)
            }
            plans.withLock { $0 = Dictionary(chosen) { first, _ in first } }
            reads = try ReadLanes(path: path, count: 2)
            (hot, cold, archive) = Self.writers(segments, meta, options)
            digestLanes = Self.queues("digest", 2)
            bodyLanes = Self.queues("body", 2)
        } catch { throw error as? ObjectsError ?? .storage("cannot open \(options.directory): \(error)") }
        meta.onCold = { [table] name in table.change(name) { $0.holdsCold = true } }
        meta.onAccount = { [segments] id, size, stored in segments[id]?.account(size: size, stored: stored) }
    }

    private static func lock(_ directory: String) throws -> FileLock {
        let path = directory + "/objects.lock"
        do { return try FileLock(path: path) } catch {
            switch error {
            case .unwritable(let reason): throw ObjectsError.storage("the directory of objects cannot be written (\(path): \(reason))")
            case .held:
                throw ObjectsError.storage("another Hearth uses these objects (\(path) is locked): stop it, or use another directory")
            }
        }
    }

    /// Goes on with files that were open when the store was last closed; what is left of them is sealed.
    private static func writers(_ segments: Segments, _ meta: MetaWriter, _ options: Options) -> (
        [SegmentWriter], SegmentWriter, SegmentWriter
    ) {
        var open = segments.all.filter { !$0.numbers.isSealed && FileManager.default.fileExists(atPath: $0.path) }
        for segment in open {
            // A damaged file keeps nobody out of the others: what reads it is told.
            do { try segment.openForWriting(bytesMax: options.fileBytesMax) } catch { segment.seal() }
        }
        open.removeAll { $0.numbers.isSealed }
        func next(_ tier: Tier) -> SegmentWriter {
            let index = open.lastIndex { $0.tier == tier }
            return SegmentWriter(
                tier: tier, segments: segments, meta: meta, bytesMax: options.segmentBytes, segment: index.map { open.remove(at: $0) })
        }
        let all = ((0..<hotWriterCount).map { _ in next(.hot) }, next(.cold), next(.archive))
        for segment in open {
            segment.seal()
            let id = segment.id
            meta.submit { _ in
            } _: {
                try $0.db.run("UPDATE segments SET is_sealed = 1 WHERE id = ?", .int(id))
            }
        }
        return all
    }

    private static let hotWriterCount = 2

    private static func queues(_ name: String, _ count: Int) -> [DispatchQueue] {
        (0..<count).map { DispatchQueue(label: "hearth.objects.\(name)-\($0)") }
    }

    var writers: [SegmentWriter] { hot + [cold, archive] }

    /// Each in turn.
    func pick<T>(_ all: [T]) -> T { all[(turn.add(1, ordering: .relaxed).newValue & .max) % all.count] }

    /// Commits of metadata, and of bodies in files that are open now, are on disk when they have returned. Waits.
    package var isSynced: Bool { meta.isSynced }

    /// Ends background work, waits for what is under way and closes the files. What comes after it fails with `aborted`. A store that
    /// goes without it leaves what `kill -9` would.
    package func close() {
        careQueue.sync {
            var report = UpkeepReport()
            try? flushAccesses(&report)
        }
        for lane in digestLanes { lane.sync {} }
        for writer in writers { writer.close() }
        reads.close()
        meta.close()
        segments.close()
        lock.withLock { $0 = nil }
    }

    /// What can be changed of a version without a new one.
    package enum Change: Sendable {
        case tags([Field])
        case acl([UInt8])
        /// Refused (`accessDenied`) where it would weaken what holds.
        case retention(ObjectLock.Mode?, until: Int64, bypassGovernance: Bool)
        case legalHold(Bool)
        /// Of an archived object: readable until then.
        case restored(until: Int64)
        /// Of an object that lies in the archive: to be fetched for so many days.
        case restore(days: Int)
    }
}
