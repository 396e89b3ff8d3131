internal import Base
internal import Dispatch
internal import Foundation
internal import Synchronization

/// All files of bodies, by id.
///
/// Thread rule: any thread.
final class Segments: Sendable {
    let hotDirectory: String
    let coldDirectory: String
    let bytesMax: Int64
    private let table = Mutex<(files: [Int64: Segment], last: Int64)>(([:], 0))

    init(hotDirectory: String, coldDirectory: String, bytesMax: Int64) {
        self.hotDirectory = hotDirectory
        self.coldDirectory = coldDirectory
        self.bytesMax = bytesMax
    }

    func path(_ id: Int64, _ tier: Tier) -> String {
        "\(tier == .hot ? hotDirectory : coldDirectory)/\(tier.name)-\(id).sqlite"
    }

    /// Takes over what `meta.sqlite` names; files it does not name were made right before a crash, and go.
    func load(_ db: Connection) throws {
        let known = try db.rows("SELECT id, tier, is_sealed, live_size, live_stored, is_away FROM segments") { [self] row in
            let id = row.int(0)
            let tier = Tier(rawValue: Int(row.int(1))) ?? .hot
            let path = path(id, tier)
            let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64) ?? 0
            let isAway = row.int(5) == 1
            // A restore had fetched it when the store ended.
            if isAway { unlink(path) }
            return Segment(
                id: id, tier: tier, path: path, isSealed: row.int(2) == 1, isAway: isAway, stored: size, liveSize: row.int(3),
                liveStored: row.int(4))
        }
        // Ids are AUTOINCREMENT: those of removed files do not come again.
        let last = try db.first("SELECT seq FROM sqlite_sequence WHERE name = 'segments'") { $0.int(0) } ?? 0
        table.withLock { $0 = (Dictionary(known.map { ($0.id, $0) }) { first, _ in first }, last) }
        let paths = Set(known.map(\.path))
        for directory in Set([hotDirectory, coldDirectory]) {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] {
                guard name.wholeMatch(of: #/(hot|cold|archive)-\d+\.sqlite(-journal)?/#) != nil else { continue }
                let path = directory + "/" + name
                if !paths.contains(path.hasSuffix("-journal") ? String(path.dropLast(8)) : path) { unlink(path) }
            }
        }
    }

    subscript(id: Int64) -> Segment? { table.withLock { $0.files[id] } }
    var all: [Segment] { table.withLock { Array($0.files.values) }.sorted { $0.id < $1.id } }

    /// Makes an empty file with a new id; to be inserted into `meta.sqlite` before anything in it counts.
    func make(_ tier: Tier) throws -> Segment {
        let id = table.withLock { table in
            table.last += 1
            return table.last
        }
        let segment = Segment(id: id, tier: tier, path: path(id, tier), isSealed: false)
        segment.remove()
        try segment.openForWriting(bytesMax: bytesMax)
        return segment
    }

    func insert(_ segment: Segment) { table.withLock { $0.files[segment.id] = segment } }

    /// Forgets the file; it is unlinked when nobody reads it any more.
    func remove(_ id: Int64) {
        guard let segment = table.withLock({ $0.files.removeValue(forKey: id) }) else { return }
        segment.whenUnused { segment.remove() }
    }

    /// Keeps at most so many readers of files open.
    func closeIdleReaders(keeping count: Int) {
        let sealed = all.filter { $0.numbers.isSealed && $0.numbers.readers == 0 }
        for segment in sealed.dropLast(count) { segment.closeReader() }
    }

    func close() { for segment in all { segment.close() } }
}

/// Appends rows to the open file of one tier: rows that arrive while a commit is on its way to the disk share the next one.
///
///     begin ─▶ append … append        of each blob; all its rows go into one file
///
/// Thread rule: any thread; files are written on `queue`.
final class SegmentWriter: @unchecked Sendable {
    /// Goes from its writer to `queue`, and is nobody's between.
    private struct Order: @unchecked Sendable {
        let segment: Segment
        let row: Segment.Row
        /// Keeps the row's bytes alive.
        let owner: AnyObject
        let done: @Sendable (ObjectsError?) -> Void
    }

    let tier: Tier
    private let queue: DispatchQueue
    private let segments: Segments
    private let meta: MetaWriter
    private let bytesMax: Int64
    private let pending = Mutex<(orders: [Order], isScheduled: Bool)>(([], false))
    private let active: Mutex<Segment?>

    /// `segment`: one that is open for writing, to go on with.
    init(tier: Tier, segments: Segments, meta: MetaWriter, bytesMax: Int64, segment: Segment?) {
        self.tier = tier
        self.segments = segments
        self.meta = meta
        self.bytesMax = bytesMax
        queue = DispatchQueue(label: "hearth.objects.\(tier)")
        active = Mutex(segment)
    }

    /// Opens a blob: its file stays open as long as the pin lives.
    func begin() throws -> (pin: SegmentPin, base: Int64) {
        // A file is made when it is first needed: most stores have nothing cold.
        if active.withLock({ $0 == nil }) { try queue.sync { if active.withLock({ $0 == nil }) { try roll() } } }
        return try active.withLock { active in
            guard let active else { throw ObjectsError.aborted }
            return (SegmentPin(active, .writing), active.nextBase())
        }
    }

    /// `owner` holds the row's bytes until `done`.
    func append(_ row: Segment.Row, to segment: Segment, owner: AnyObject, done: @escaping @Sendable (ObjectsError?) -> Void) {
        let mustSchedule = pending.withLock { pending in
            pending.orders.append(Order(segment: segment, row: row, owner: owner, done: done))
            defer { pending.isScheduled = true }
            return !pending.isScheduled
        }
        if mustSchedule { queue.async { self.drain() } }
    }

    private func drain() {
        let batch: [Order] = pending.withLock { pending in
            var bytes = 0
            var count = 0
            while count < pending.orders.count, count == 0 || bytes + pending.orders[count].row.bytes.count <= Limits.objectBatchBytes,
                pending.orders[count].segment === pending.orders[0].segment
            {
                bytes += pending.orders[count].row.bytes.count
                count += 1
            }
            let batch = Array(pending.orders.prefix(count))
            pending.orders.removeFirst(count)
            if batch.isEmpty { pending.isScheduled = false }
            return batch
        }
        guard let segment = batch.first?.segment else { return }
        var failure: ObjectsError?
        do { try segment.append(batch.map(\.row)) } catch { failure = error as? ObjectsError ?? .storage("\(error)") }
        for order in batch { order.done(failure) }
        if segment.numbers.stored >= bytesMax { try? roll(from: segment) }
        queue.async { self.drain() }
    }

    /// Begins a new file; the old one is sealed when its last writer has gone. On `queue`.
    private func roll(from old: Segment? = nil) throws {
        guard old == nil || active.withLock({ $0 === old }) else { return }
        let made = try segments.make(tier)
        let isKnown = DispatchSemaphore(value: 0)
        let result = Mutex<Result<Void, ObjectsError>>(.success(()))
        let (id, tier) = (made.id, tier)
        meta.submit { answer in
            result.withLock { $0 = answer }
            isKnown.signal()
        } _: { transaction in
            try transaction.db.run(
                "INSERT INTO segments (id, tier, is_sealed, live_size, live_stored) VALUES (?, ?, 0, 0, 0)", .int(id),
                .int(tier.rawValue))
        }
        isKnown.wait()
        do { try result.withLock { $0 }.get() } catch {
            made.remove()
            throw error
        }
        segments.insert(made)
        active.withLock { $0 = made }
        if let old { old.whenWritten { [self] in queue.async { self.seal(old) } } }
    }

    private func seal(_ segment: Segment) {
        segment.seal()
        let id = segment.id
        meta.submit { _ in
        } _: { transaction in
            try transaction.db.run("UPDATE segments SET is_sealed = 1 WHERE id = ?", .int(id))
        }
    }

    /// Seals the open file, whatever its size, so that it can be copied or compacted; without a file it does nothing.
    func rollNow() throws {
        try queue.sync {
            guard let old = active.withLock({ $0 }), old.numbers.stored > 0 else { return }
            try roll(from: old)
        }
        // A file that nobody writes to any more is sealed by the next work of the queue: when this returns, it is.
        queue.sync {}
    }

    var activeID: Int64? { active.withLock { $0?.id } }

    /// Waits for what was ordered.
    func close() {
        while pending.withLock({ $0.isScheduled }) { queue.sync {} }
        queue.sync { active.withLock { $0 = nil } }
    }
}
