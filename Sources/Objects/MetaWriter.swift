internal import Base
internal import Dispatch
internal import Synchronization

/// One group of orders on `meta.sqlite`, and what is to happen when it is on disk.
///
/// Thread rule: the writer's queue.
final class Transaction {
    let db: Connection
    let now: Int64
    private let writer: MetaWriter
    /// Bytes that came to, or went from, each segment: before and after compression.
    private(set) var accounts: [Int64: (size: Int64, stored: Int64)] = [:]
    /// Buckets that an order of this group has deleted: memory still knows them.
    private var deletedBuckets: Set<Int64> = []
    /// Run after the commit, in order, on the writer's queue.
    private(set) var effects: [@Sendable () -> Void] = []
    /// An order of this group has put events into the outbox.
    var hasEvents = false
    /// The transaction is gone: SQLite has rolled it back.
    private(set) var failure: ObjectsError?

    init(_ db: Connection, now: Int64, writer: MetaWriter) {
        self.db = db
        self.now = now
        self.writer = writer
    }

    func nextSequence() -> Int64 { writer.nextSequence() }
    func nextBody() -> Int64 { writer.nextBody() }
    func nextBlob() -> Int64 { writer.nextBlob() }
    func nextNonce() -> UInt64 { writer.random.next() }

    func account(_ segment: Int64, size: Int64, stored: Int64) {
        accounts[segment, default: (0, 0)].size += size
        accounts[segment, default: (0, 0)].stored += stored
    }

    /// The bucket has a version whose class belongs into another tier: told after the commit.
    func holdsCold(_ bucket: BucketName) {
        afterCommit { [onCold = writer.onCold] in onCold(bucket) }
    }

    func didDelete(bucket: Int64) { deletedBuckets.insert(bucket) }

    /// The bucket, if it is there as of this order.
    func bucket(_ name: BucketName, in table: BucketTable) throws -> BucketEntry {
        let entry = try table.get(name)
        guard !deletedBuckets.contains(entry.id) else { throw ObjectsError.noSuchBucket(name.text) }
        return entry
    }

    func afterCommit(_ effect: @escaping @Sendable () -> Void) { effects.append(effect) }

    /// One order: all of it or nothing.
    func attempt<T>(_ work: (Transaction) throws -> T) -> Result<T, ObjectsError> {
        if let failure { return .failure(failure) }
        let before = (accounts, effects.count)
        do {
            try db.run("SAVEPOINT one")
            let value = try work(self)
            try db.run("RELEASE one")
            return .success(value)
        } catch {
            let error = error as? ObjectsError ?? .storage("\(error)")
            accounts = before.0
            effects.removeSubrange(before.1...)
            do {
                guard db.isInTransaction else { throw error }
                try db.run("ROLLBACK TO one")
                try db.run("RELEASE one")
            } catch { failure = error as? ObjectsError ?? .storage("\(error)") }
            return .failure(error)
        }
    }
}

/// Writes `meta.sqlite`: requests that arrive while a commit is on its way to the disk share the next one.
///
///     submit ─▶ pending ─▶ one transaction of up to 128 ─▶ COMMIT (synced) ─▶ effects ─▶ every `done`
///
/// Invariants:
///  1. No `done` succeeds before the commit of its transaction.
///  2. Orders take effect in the order of `submit`.
///  3. Only this connection writes and checkpoints the file.
///
/// Thread rule: `submit` from any thread; the rest on `queue`.
final class MetaWriter: @unchecked Sendable {
    /// Runs on the writer's queue only.
    private struct Order: @unchecked Sendable { let run: (Transaction) -> @Sendable (ObjectsError?) -> Void }

    /// The log is moved into the file when so many pages wait and nobody does; and always beyond the second number.
    private static let idlePages = 1_000
    private static let pagesMax = 4_000

    let queue = DispatchQueue(label: "hearth.objects.meta")
    private let db: Connection
    private let clock: @Sendable () -> Int64
    private let pending = Mutex<(orders: [Order], isScheduled: Bool)>(([], false))
    private var sequence: Int64 = 0
    private var bodies: Int64 = 0
    private var blobs: Int64 = 0
    private var isClosed = false
    fileprivate(set) var random: Random
    /// Told after each commit what came to and went from each segment.
    var onAccount: (Int64, _ size: Int64, _ stored: Int64) -> Void = { _, _, _ in }
    /// Told after each commit that has put events into the outbox.
    var onEvents: () -> Void = {}

    /// Told after each commit that put a version of a cold class into a bucket.
    var onCold: @Sendable (BucketName) -> Void = { _ in }

    init(_ db: Connection, seed: UInt64, clock: @escaping @Sendable () -> Int64) throws {
        self.db = db
        self.clock = clock
        random = Random(seed: seed)
        sequence = try db.first("SELECT sequence FROM state") { $0.int(0) } ?? 0
        bodies = try db.first("SELECT max(id) FROM bodies") { $0.int(0) } ?? 0
        blobs = try db.first("SELECT max(id) FROM blobs") { $0.int(0) } ?? 0
    }

    fileprivate func nextSequence() -> Int64 {
        sequence += 1
        return sequence
    }

    fileprivate func nextBody() -> Int64 {
        bodies += 1
        return bodies
    }

    fileprivate func nextBlob() -> Int64 {
        blobs += 1
        return blobs
    }

    /// Runs `work` in the next transaction and calls `done` when it is on disk.
    func submit<T: Sendable>(_ done: @escaping ObjectStore.Done<T>, _ work: @escaping (Transaction) throws -> T) {
        let order = Order { transaction in
            let result = transaction.attempt(work)
            return { failure in
                if case .success = result, let failure { done(.failure(failure)) } else { done(result) }
            }
        }
        let mustSchedule = pending.withLock { pending in
            pending.orders.append(order)
            defer { pending.isScheduled = true }
            return !pending.isScheduled
        }
        if mustSchedule { queue.async { self.drain() } }
    }

    private func drain() {
        let orders = pending.withLock { pending in
            let group = Array(pending.orders.prefix(Limits.objectGroupMax))
            pending.orders.removeFirst(group.count)
            if group.isEmpty { pending.isScheduled = false }
            return group
        }
        guard !orders.isEmpty else {
            if !isClosed, db.logPages > Self.idlePages { db.checkpoint() }
            return
        }
        commit(orders)
        if db.logPages > Self.pagesMax { db.checkpoint() }
        queue.async { self.drain() }
    }

    private func commit(_ orders: [Order]) {
        let transaction = Transaction(db, now: clock(), writer: self)
        let before = sequence
        do {
            guard !isClosed else { throw ObjectsError.aborted }
            try db.run("BEGIN IMMEDIATE")
        } catch {
            let failure = error as? ObjectsError ?? .storage("\(error)")
            for order in orders { order.run(FailedTransaction.make(db, failure, self))(failure) }
            return
        }
        let answers = orders.map { $0.run(transaction) }
        var failure = transaction.failure
        do {
            if let failure { throw failure }
            for (segment, change) in transaction.accounts where change != (0, 0) {
                try db.run(
                    "UPDATE segments SET live_size = live_size + ?, live_stored = live_stored + ? WHERE id = ?", .int(change.size),
                    .int(change.stored), .int(segment))
            }
            if sequence != before { try db.run("UPDATE state SET sequence = ?", .int(sequence)) }
            try db.run("COMMIT")
        } catch {
            failure = error as? ObjectsError ?? .storage("\(error)")
            if db.isInTransaction { try? db.run("ROLLBACK") }
        }
        if failure == nil {
            for (segment, change) in transaction.accounts { onAccount(segment, change.size, change.stored) }
            for effect in transaction.effects { effect() }
            if transaction.hasEvents { onEvents() }
        }
        for answer in answers { answer(failure) }
    }

    var isSynced: Bool { queue.sync { db.isSynced } }

    /// Moves the whole log into the file and closes it; later orders fail.
    func close() {
        queue.sync {
            isClosed = true
            db.checkpoint(truncate: true)
            db.close()
        }
    }
}

/// A transaction that could not begin: every attempt in it fails.
private enum FailedTransaction {
    static func make(_ db: Connection, _ failure: ObjectsError, _ writer: MetaWriter) -> Transaction {
        let transaction = Transaction(db, now: 0, writer: writer)
        transaction.fail(failure)
        return transaction
    }
}

extension Transaction {
    fileprivate func fail(_ error: ObjectsError) { failure = error }
}

/// Connections that only read, each on a queue of its own; a read is one transaction, short, and never waits for its caller.
///
/// Thread rule: any thread.
final class ReadLanes: Sendable {
    private struct Lane: @unchecked Sendable {
        let queue: DispatchQueue
        let db: Connection
    }

    private let lanes: [Lane]
    private let turn = Atomic<Int>(0)

    init(path: String, count: Int) throws {
        lanes = try (0..<count).map {
            Lane(queue: DispatchQueue(label: "hearth.objects.read-\($0)"), db: try Connection.meta(path, readonly: true))
        }
    }

    func read<T: Sendable>(_ done: @escaping ObjectStore.Done<T>, _ work: @escaping @Sendable (Connection) throws -> T) {
        let lane = lanes[(turn.add(1, ordering: .relaxed).newValue & .max) % lanes.count]
        lane.queue.async { done(Self.run(lane.db, work)) }
    }

    /// On the caller's thread, which may wait: for the store's own background work.
    func readNow<T>(_ work: (Connection) throws -> T) throws -> T {
        let lane = lanes[0]
        return try lane.queue.sync { try Self.run(lane.db, work).get() }
    }

    private static func run<T>(_ db: Connection, _ work: (Connection) throws -> T) -> Result<T, ObjectsError> {
        do {
            try db.run("BEGIN")
            defer { try? db.run("COMMIT") }
            return .success(try work(db))
        } catch { return .failure(error as? ObjectsError ?? .storage("\(error)")) }
    }

    func close() { for lane in lanes { lane.queue.sync { lane.db.close() } } }
}
