internal import Base
internal import Dispatch
internal import Foundation
internal import GRDB
internal import Synchronization

/// The events of asynchronous invocations in SQLite: what was acknowledged survives `kill -9`.
///
///     change ──▶ waiting ──▶ one transaction of all that wait ──commit (FULL)──▶ each one's `done`
///                   ▲ while one is written, the next gathers
///
/// Invariants:
///  1. `done` is called once for each change, in the order of the calls, and with no error only after its transaction is on disk.
///  2. A transaction that fails changes nothing; each of its changes is then tried alone, so that one that cannot be written takes no other
///     with it.
///
/// Thread rule: any thread; `done` runs on the store's queue and must not wait.
package final class EventStore: Sendable {
    /// What follows from an event when it leaves the queue.
    package enum Change: Sendable {
        case add(NewEvent)
        /// Tried, and to be tried again.
        case postpone(Int64, EventProgress)
        /// Done; with what its destinations get.
        case finish(Int64, then: [NewEvent])
        /// Given up; with what its destinations get.
        case fail(Int64, EventProgress, FailureCondition, message: String, at: Int64, then: [NewEvent])
        /// A failed one is to be tried again from its beginning.
        case redrive(Int64, at: Int64)
        /// Forgotten, waiting or failed.
        case drop(Int64)
        /// These are the schedules of a function.
        case schedule([ScheduleRow], of: String)
        /// A schedule has ticked: its event, if it tells of it, and what it has become.
        case tick(ScheduleRow, NewEvent?)
    }

    /// What a change has changed.
    package struct Applied: Sendable {
        /// The events that it has put into the queue.
        package var added: [QueuedEvent] = []
        /// Rows more or less.
        package var waiting = 0
        package var failed = 0

        package init() {}
    }

    package typealias Done = @Sendable (Result<Applied, EventQueueError>) -> Void

    private let database: DatabaseQueue
    private let queue = DispatchQueue(label: "hearth.events")
    private let waiting = Mutex<[(change: Change, done: Done)]>([])
    private let path: String

    /// Opens or makes `events.sqlite` in `directory`.
    package init(directory: String) throws(EventQueueError) {
        path = directory + "/events.sqlite"
        do {
            var configuration = Configuration()
            configuration.journalMode = .wal
            configuration.prepareDatabase { db in
                try db.execute(sql: "PRAGMA secure_delete = OFF; PRAGMA cache_size = -1024")
            }
            database = try DatabaseQueue(path: path, configuration: configuration)
            // Not before: GRDB goes to NORMAL when it turns the log on, and then a commit is synced at the next checkpoint only.
            try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try EventSchema.migrator.migrate(database)
            if try database.read({ try EventSchema.migrator.hasBeenSuperseded($0) }) {
                throw EventQueueError.storage("\(path) was written by a newer Hearth: use that one")
            }
        } catch let error as EventQueueError { throw error } catch {
            throw .storage("cannot open \(path): \(error)")
        }
    }

    package func apply(_ change: Change, done: @escaping Done) {
        let isFirst = waiting.withLock { waiting in
            waiting.append((change, done))
            return waiting.count == 1
        }
        if isFirst { queue.async { [self] in write() } }
    }

    /// Waits until all changes so far are written. For the end of the server: what has ended is not run again.
    package func flush() { queue.sync {} }

    private func write() {
        while true {
            let batch = waiting.withLock { waiting in
                let batch = Array(waiting.prefix(Limits.eventBatchMax))
                waiting.removeFirst(batch.count)
                return batch
            }
            guard !batch.isEmpty else { return }
            if let applied = try? write(batch.map(\.change)) {
                for (index, (_, done)) in batch.enumerated() { done(.success(applied[index])) }
                continue
            }
            for (change, done) in batch {
                do { done(.success(try write([change])[0])) } catch {
                    done(.failure(.storage("the queue of asynchronous events cannot be written: \(error)")))
                }
            }
        }
    }

    private func write(_ changes: [Change]) throws -> [Applied] {
        try database.writeWithoutTransaction { db in
            var applied: [Applied] = []
            try db.inTransaction(.immediate) {
                for change in changes { applied.append(try Self.apply(change, db)) }
                return .commit
            }
            return applied
        }
    }

    private static func apply(_ change: Change, _ db: Database) throws -> Applied {
        var applied = Applied()
        switch change {
        case .add(let event): try insert([event], db, &applied)
        case .postpone(let sequence, let progress):
            try db.cachedStatement(sql: "UPDATE events SET due = ?, attempts = ?, refusals = ? WHERE sequence = ?").execute(
                arguments: [progress.due, progress.attempts, progress.refusals, sequence])
        case .finish(let sequence, let then):
            applied.waiting -= try delete(sequence, "events", db)
            try insert(then, db, &applied)
        case .fail(let sequence, let progress, let condition, let message, let time, let then):
            try db.execute(
                sql: """
                    INSERT INTO failed SELECT sequence, id_high, id_low, function, qualifier, accepted, due, ?, refusals, source, payload, ?, ?, ?
                    FROM events WHERE sequence = ?
                    """, arguments: [progress.attempts, time, condition.rawValue, message, sequence])
            applied.failed += db.changesCount
            applied.waiting -= try delete(sequence, "events", db)
            try db.execute(
                sql: """
                    DELETE FROM failed WHERE failed_at < ?
                    OR sequence <= (SELECT sequence FROM failed ORDER BY sequence DESC LIMIT 1 OFFSET ?)
                    """, arguments: [time - Int64(Limits.failedEventDaysMax) * 86_400_000, Limits.failedEventsMax])
            applied.failed -= db.changesCount
            try insert(then, db, &applied)
        case .redrive(let sequence, let time):
            // A new sequence: nobody who reads on from where he was misses it.
            try db.execute(
                sql: """
                    INSERT INTO events (id_high, id_low, function, qualifier, accepted, due, source, payload)
                    SELECT id_high, id_low, function, qualifier, ?, ?, source, payload FROM failed WHERE sequence = ?
                    """, arguments: [time, time, sequence])
            guard db.changesCount == 1 else { return applied }
            let row = db.lastInsertedRowID
            applied.waiting += 1
            applied.failed -= try delete(sequence, "failed", db)
            applied.added = try Row.fetchAll(db, sql: "SELECT * FROM events WHERE sequence = ?", arguments: [row]).map(event)
        case .drop(let sequence):
            applied.waiting -= try delete(sequence, "events", db)
            applied.failed -= try delete(sequence, "failed", db)
        case .schedule(let rows, let function): try ScheduleTable.replace(of: function, with: rows, db)
        case .tick(let row, let event):
            // It may have been set anew, or be gone, since it was due.
            guard try ScheduleTable.advance(row, db), let event else { return applied }
            try insert([event], db, &applied)
        }
        return applied
    }

    private static func insert(_ events: [NewEvent], _ db: Database, _ applied: inout Applied) throws {
        for event in events { applied.added.append(try insert(event, db)) }
        applied.waiting += events.count
    }

    private static func insert(_ event: NewEvent, _ db: Database) throws -> QueuedEvent {
        try db.cachedStatement(
            sql: """
                INSERT INTO events (id_high, id_low, function, qualifier, accepted, due, source, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            Int64(bitPattern: event.id.high), Int64(bitPattern: event.id.low), event.function, event.qualifier, event.accepted, event.due,
            event.source, Data(event.payload),
        ])
        return QueuedEvent(
            sequence: db.lastInsertedRowID, id: event.id, function: event.function, qualifier: event.qualifier, accepted: event.accepted,
            progress: EventProgress(due: event.due), source: event.source)
    }

    private static func delete(_ sequence: Int64, _ table: String, _ db: Database) throws -> Int {
        try db.cachedStatement(sql: "DELETE FROM \(table) WHERE sequence = ?").execute(arguments: [sequence])
        return db.changesCount
    }

    private static func event(_ row: Row) -> QueuedEvent {
        let high: Int64 = row["id_high"]
        let low: Int64 = row["id_low"]
        return QueuedEvent(
            sequence: row["sequence"], id: RequestID(high: UInt64(bitPattern: high), low: UInt64(bitPattern: low)), function: row["function"],
            qualifier: row["qualifier"], accepted: row["accepted"],
            progress: EventProgress(due: row["due"], attempts: row["attempts"], refusals: row["refusals"]), source: row["source"])
    }

    // MARK: Reading

    /// Which events to read.
    package struct Filter: Sendable {
        package var function: String?
        /// Only those behind this sequence.
        package var after: Int64 = 0
        package var limit = 100

        package init(function: String? = nil, after: Int64 = 0, limit: Int = 100) {
            self.function = function
            self.after = after
            self.limit = limit
        }
    }

    private func read<T: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> T, _ done: @escaping @Sendable (Result<T, EventQueueError>) -> Void
    ) {
        // On the store's queue, so that what is read is not older than what was acknowledged before it.
        queue.async { [self] in
            do { done(.success(try database.read(body))) } catch {
                done(.failure(.storage("the queue of asynchronous events cannot be read: \(error)")))
            }
        }
    }

    /// Waiting events in the order of their acceptance.
    package func waiting(_ filter: Filter, done: @escaping @Sendable (Result<[QueuedEvent], EventQueueError>) -> Void) {
        read({ db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT sequence, id_high, id_low, function, qualifier, accepted, due, attempts, refusals, source FROM events
                    WHERE sequence > ? AND (?2 IS NULL OR function = ?2) ORDER BY sequence LIMIT ?
                    """, arguments: [filter.after, filter.function, filter.limit]
            ).map(Self.event)
        }, done)
    }

    package func failed(_ filter: Filter, done: @escaping @Sendable (Result<[FailedEvent], EventQueueError>) -> Void) {
        read({ db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM failed WHERE sequence > ? AND (?2 IS NULL OR function = ?2) ORDER BY sequence LIMIT ?",
                arguments: [filter.after, filter.function, filter.limit]
            ).map { row in
                FailedEvent(
                    event: Self.event(row), failed: row["failed_at"],
                    condition: FailureCondition(rawValue: row["condition"]) ?? .retriesExhausted, message: row["message"])
            }
        }, done)
    }

    /// The payload of an event, waiting or failed; nil: there is none of this sequence.
    package func payload(of sequence: Int64, done: @escaping @Sendable (Result<[UInt8]?, EventQueueError>) -> Void) {
        read({ db in
            let data =
                try Data.fetchOne(db, sql: "SELECT payload FROM events WHERE sequence = ?", arguments: [sequence])
                ?? Data.fetchOne(db, sql: "SELECT payload FROM failed WHERE sequence = ?", arguments: [sequence])
            return data.map(Array.init)
        }, done)
    }

    package func schedules(done: @escaping @Sendable (Result<[ScheduleRow], EventQueueError>) -> Void) { read(ScheduleTable.all, done) }

    /// How many wait, and how many have failed.
    package func counts(done: @escaping @Sendable (Result<(waiting: Int, failed: Int), EventQueueError>) -> Void) {
        read({ db in
            (
                waiting: try Int.fetchOne(db, sql: "SELECT count(*) FROM events") ?? 0,
                failed: try Int.fetchOne(db, sql: "SELECT count(*) FROM failed") ?? 0
            )
        }, done)
    }
}
