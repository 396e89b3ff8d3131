internal import Base
internal import Foundation
internal import GRDB
internal import GRDBSQLite

/// `cache.sqlite`, as the one connection that writes and checkpoints sees it. (SQLite 3.40.1 can damage a log that two checkpoint.)
///
///     namespaces   row ─ name                                  found again by name
///     entries      hash ─ what is known of an entry, ~80 B      walked by the sweep, by eviction and at the start
///     contents     hash ─ key, tags, value, checksum            read by lookups only
///     purges       what the sweep has not finished               state: one row, with the clock and the sequence
///
/// `hash` is the INTEGER PRIMARY KEY: as the key of a table WITHOUT ROWID it took five times as long to read (performance reference, 4d).
/// Hashes are spread evenly, so rows in their order are a random sample.
///
/// Invariants:
///  1. A hash is in `entries` exactly if it is in `contents`.
///  2. `rowBytes` is the sum of `entries.bytes`.
///  3. No row of a batch is on disk without all purges and removals that were ordered before it.
///
/// Thread rule: one queue's, that of `SQLiteSecondLevel`'s writer.
final class CacheFile: @unchecked Sendable {
    /// "HrtC"
    private static let applicationID = 0x4872_7443
    private static let format = 1

    let path: String
    let limitBytes: Int
    private let database: DatabaseQueue
    let connection: OpaquePointer
    var statements: Statements?
    var rowBytes = 0
    /// Where the sweep goes on.
    var hand = Int64.min
    /// The newest purge when the hand set out; 0: it has set out without any.
    var roundSequence: UInt64 = 0
    var bytesSinceCheckpoint = 0

    /// Opens the file or makes it. An error with `isDamage`: it is not a whole file of this format.
    init(path: String, limitBytes: Int, seed: UInt64) throws(DiskError) {
        self.path = path
        self.limitBytes = limitBytes
        do {
            database = try DatabaseQueue(path: path, configuration: Self.configuration(readonly: false))
            connection = try database.unsafeRead { db in
                guard let connection = db.sqliteConnection else { throw DiskError(code: SQLITE_CANTOPEN, description: "it does not open") }
                return connection
            }
        } catch { throw Self.diskError(error) }
        try within {
            let statement = try Statement(connection, "PRAGMA application_id")
            let id = try statement.step() ? Int(statement.integer(0)) : 0
            statement.reset()
            if id == 0 { try make(seed: seed) } else { try check(id) }
            statements = try Statements(connection)
        }
    }

    /// Where GRDB allows its handle to be used.
    func within<T>(_ body: () throws -> T) throws(DiskError) -> T {
        do { return try database.writeWithoutTransaction { _ in try body() } } catch { throw Self.diskError(error) }
    }

    static func configuration(readonly: Bool) -> Configuration {
        var configuration = Configuration()
        configuration.readonly = readonly
        configuration.busyMode = .timeout(1)
        configuration.prepareDatabase { db in
            if !readonly {
                try db.execute(
                    sql: """
                        PRAGMA page_size = \(Limits.diskPageBytes); PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
                        PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = OFF
                        """)
            }
            try db.execute(sql: "PRAGMA cache_size = -2048")
        }
        return configuration
    }

    private func check(_ id: Int) throws(DiskError) {
        let version = try Statement(connection, "PRAGMA user_version")
        guard id == Self.applicationID else { throw DiskError(code: SQLITE_NOTADB, description: "it belongs to another program") }
        guard try version.step(), version.integer(0) == Self.format else {
            throw DiskError(code: SQLITE_NOTADB, description: "it was written by another version of Hearth")
        }
    }

    private func make(seed: UInt64) throws(DiskError) {
        let tables = try Statement(connection, "SELECT count(*) FROM sqlite_schema")
        guard try tables.step(), tables.integer(0) == 0 else {
            throw DiskError(code: SQLITE_NOTADB, description: "it belongs to another program")
        }
        tables.reset()
        try Statement.execute(
            connection,
            """
            BEGIN IMMEDIATE;
            CREATE TABLE state (
                id INTEGER PRIMARY KEY, seed INTEGER, sequence INTEGER, run INTEGER, life INTEGER, uptime INTEGER, machine_run TEXT);
            CREATE TABLE namespaces (row INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, run INTEGER NOT NULL);
            CREATE TABLE purges (kind INTEGER, namespace INTEGER, name BLOB, sequence INTEGER);
            CREATE TABLE entries (
                hash INTEGER PRIMARY KEY, sequence INTEGER, namespace INTEGER, stored INTEGER, fresh INTEGER, stale_while INTEGER,
                stale_error INTEGER, keep INTEGER, weight REAL, frequency INTEGER, bytes INTEGER, tagged INTEGER);
            CREATE TABLE contents (hash INTEGER PRIMARY KEY, checksum INTEGER, tags BLOB, key BLOB, value BLOB);
            INSERT INTO state VALUES (1, \(Int64(bitPattern: seed)), 0, 0, 0, 0, '');
            PRAGMA application_id = \(Self.applicationID); PRAGMA user_version = \(Self.format);
            COMMIT
            """)
    }

    // MARK: Reading it at the start

    /// `run` is this run of the server's; its first batch writes it.
    func contents() throws(DiskError) -> FileContents { try within { try readContents() } }

    private func readContents() throws(DiskError) -> FileContents {
        let state = try Statement(connection, "SELECT seed, sequence, run, life, uptime, machine_run FROM state")
        guard try state.step() else { throw DiskError(code: SQLITE_CORRUPT, description: "it has lost its state") }
        var contents = FileContents(
            seed: UInt64(bitPattern: state.integer(0)), sequence: UInt64(bitPattern: state.integer(1)), run: state.integer(2) + 1)
        if state.integer(3) > 0 {
            contents.stamp = LifeClock.Stamp(
                life: UInt64(state.integer(3)), uptime: UInt64(state.integer(4)),
                machineRun: String(decoding: state.bytes(5), as: UTF8.self))
        }
        let namespaces = try Statement(connection, "SELECT row, name, run FROM namespaces")
        while try namespaces.step() {
            contents.namespaces.append(
                .init(row: namespaces.integer(0), name: String(decoding: namespaces.bytes(1), as: UTF8.self), run: namespaces.integer(2)))
        }
        let purges = try Statement(connection, "SELECT kind, namespace, name, sequence FROM purges")
        while try purges.step() {
            guard let kind = PurgeLedger.Entry.Kind(rawValue: purges.integer(0)) else { continue }
            let sequence = UInt64(bitPattern: purges.integer(3))
            contents.purges.append(.init(kind: kind, namespace: purges.integer(1), name: Array(purges.bytes(2)), sequence: sequence))
        }
        return contents
    }

    /// Walks over all entries, without their contents. `warmBytes`: how much of the most worthwhile to name.
    func inventory(warmBytes: Int, at life: UInt64) throws(DiskError) -> Inventory {
        try within { try walk(warmBytes: warmBytes, at: life) }
    }

    private func walk(warmBytes: Int, at life: UInt64) throws(DiskError) -> Inventory {
        var inventory = Inventory()
        var worths: [(hash: UInt64, bytes: Int32, rank: Int8)] = []
        var bytesOfRank = [Int](repeating: 0, count: 128)
        let walk = try Statement(connection, "SELECT hash, bytes, weight, frequency, fresh FROM entries")
        rowBytes = 0
        while try walk.step() {
            let hash = UInt64(bitPattern: walk.integer(0))
            let bytes = Int(walk.integer(1))
            inventory.members.insert(hash)
            rowBytes += bytes
            guard warmBytes > 0, UInt64(bitPattern: walk.integer(4)) > life else { continue }
            let worth = Self.worth(weight: walk.real(2), frequency: walk.integer(3), bytes: bytes)
            let rank = min(max(Int(worth.exponent) + 64, 0), 127)
            bytesOfRank[rank] += bytes
            worths.append((hash, Int32(clamping: bytes), Int8(rank)))
        }
        var left = warmBytes
        var least = 127
        while least > 0, bytesOfRank[least] <= left {
            left -= bytesOfRank[least]
            least -= 1
        }
        for entry in worths where Int(entry.rank) == least {
            left -= Int(entry.bytes)
            if left >= 0 { inventory.best.append(entry.hash) }
        }
        inventory.best += worths.filter { $0.rank > least }.sorted { $0.rank < $1.rank }.map(\.hash)
        inventory.rowBytes = rowBytes
        return inventory
    }

    /// What a miss would cost for each byte that is kept. Never 0, so that it has an exponent.
    static func worth(weight: Double, frequency: Int64, bytes: Int) -> Double {
        max(weight * Double(1 + frequency) / Double(max(1, bytes)), 1e-12)
    }

    // MARK: Ending

    func close() {
        statements = nil
        try? database.close()
    }

    static func remove(_ path: String) {
        for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
    }

    /// Puts a file that cannot be read out of the way, under a name with the time, instead of the one before it.
    static func setAside(_ path: String, at wall: UInt64) -> String {
        let directory = (path as NSString).deletingLastPathComponent
        let prefix = (path as NSString).lastPathComponent + ".damaged-"
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where name.hasPrefix(prefix) {
            unlink(directory + "/" + name)
        }
        let aside = directory + "/" + prefix + Self.stamp(wall)
        rename(path, aside)
        remove(path)
        return aside
    }

    private static func stamp(_ wall: UInt64) -> String {
        let time = UTCTime(epochSeconds: wall / 1000)
        return "\(time.date)T\(time.time.replacing(":", with: "-"))"
    }

    static func diskError(_ error: any Error) -> DiskError {
        switch error {
        case let error as DiskError: error
        case let error as DatabaseError: DiskError(code: error.extendedResultCode.rawValue, description: error.message ?? "\(error)")
        default: DiskError(code: SQLITE_IOERR, description: "\(error)")
        }
    }
}
