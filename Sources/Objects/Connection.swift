internal import GRDB
internal import GRDBSQLite

/// A value bound to a statement.
enum SQLValue {
    case null
    case int(Int64)
    case blob([UInt8])
    case text(String)

    static func int(_ value: Int) -> SQLValue { .int(Int64(value)) }
    static func optional(_ value: Int64?) -> SQLValue { value.map { .int($0) } ?? .null }
    /// Empty: NULL.
    static func bytes(_ bytes: [UInt8]) -> SQLValue { bytes.isEmpty ? .null : .blob(bytes) }
}

/// The row that a statement stands on; valid until its next step.
struct SQLRow {
    let statement: OpaquePointer

    func int(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
    func optionalInt(_ column: Int32) -> Int64? { isNull(column) ? nil : int(column) }

    /// Valid until the next step.
    func raw(_ column: Int32) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: sqlite3_column_blob(statement, column), count: Int(sqlite3_column_bytes(statement, column)))
    }

    func bytes(_ column: Int32) -> [UInt8] { [UInt8](raw(column)) }
    func text(_ column: Int32) -> String { String(decoding: raw(column), as: UTF8.self) }
}

/// A connection with its statements, each prepared once.
///
/// Opened through GRDB where there is a schema to migrate; statements run on the C handle that GRDB hands out, which costs a quarter.
///
/// Thread rule: one thread at a time, by the owner's queue or lock.
final class Connection: @unchecked Sendable {
    let path: String
    /// Keeps the handle open when GRDB has made it.
    private let database: DatabaseQueue?
    private let handle: OpaquePointer
    private var statements: [String: OpaquePointer] = [:]
    /// Pages in the write-ahead log after the last commit.
    private(set) var logPages = 0

    /// GRDB's handle.
    init(path: String, _ database: DatabaseQueue) throws {
        self.path = path
        self.database = database
        do {
            handle = try database.unsafeRead { db in
                guard let handle = db.sqliteConnection else { throw ObjectsError.storage("\(path) does not open") }
                return handle
            }
        } catch let error as ObjectsError { throw error } catch { throw ObjectsError.storage("\(path): \(error)") }
        // GRDB observes transactions that it has begun itself; these are not.
        sqlite3_commit_hook(handle, nil, nil)
        sqlite3_rollback_hook(handle, nil, nil)
        sqlite3_update_hook(handle, nil, nil)
    }

    /// A handle of its own: files of bodies have one table, and no migrations. `options`: a URI's query.
    init(path: String, readonly: Bool, options: String = "") throws {
        self.path = path
        database = nil
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE
        // In a URI only plain characters stand for themselves.
        let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-_.".utf8)
        let escaped = path.utf8.map { plain.contains($0) ? String(decoding: [$0], as: UTF8.self) : "%" + hexadecimal([$0]) }.joined()
        let status = sqlite3_open_v2(
            "file:" + escaped + options, &opened,
            flags | (readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE), nil)
        guard status == SQLITE_OK, let opened else {
            sqlite3_close_v2(opened)
            throw Self.error(status, "it does not open", path)
        }
        handle = opened
        sqlite3_busy_timeout(handle, 10_000)
    }

    deinit { close() }

    private var isClosed = false

    /// Nothing may follow.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        for statement in statements.values { sqlite3_finalize(statement) }
        statements = [:]
        if let database { try? database.close() } else { sqlite3_close_v2(handle) }
    }

    /// Counts the pages of the write-ahead log at each commit, instead of checkpointing inside one.
    func watchLog() {
        sqlite3_wal_hook(
            handle,
            { context, _, _, pages in
                guard let context else { return SQLITE_OK }
                Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue().logPages = Int(pages)
                return SQLITE_OK
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    /// Moves the log into the file as far as no reader holds it.
    func checkpoint(truncate: Bool = false) {
        guard
            sqlite3_wal_checkpoint_v2(handle, nil, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, nil, nil)
                == SQLITE_OK
        else { return }
        logPages = 0
    }

    var lastRowID: Int64 { sqlite3_last_insert_rowid(handle) }
    var changes: Int { Int(sqlite3_changes(handle)) }
    /// A commit is on disk when it has returned.
    var isSynced: Bool { (try? first("PRAGMA synchronous") { $0.int(0) == 2 }) == true }
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Runs statements without values or results.
    func execute(_ sql: String) throws {
        let status = sqlite3_exec(handle, sql, nil, nil, nil)
        guard status == SQLITE_OK else { throw error(status) }
    }

    func run(_ sql: String, _ values: SQLValue...) throws {
        let statement = try prepare(sql, values)
        defer { sqlite3_reset(statement) }
        while try step(statement) {}
    }

    /// The first row as `body` reads it.
    func first<T>(_ sql: String, _ values: SQLValue..., body: (SQLRow) throws -> T) throws -> T? {
        let statement = try prepare(sql, values)
        defer { sqlite3_reset(statement) }
        return try step(statement) ? try body(SQLRow(statement: statement)) : nil
    }

    /// Each row until `body` answers false.
    func each(_ sql: String, _ values: SQLValue..., body: (SQLRow) throws -> Bool) throws {
        let statement = try prepare(sql, values)
        defer { sqlite3_reset(statement) }
        while try step(statement) {
            guard try body(SQLRow(statement: statement)) else { return }
        }
    }

    func rows<T>(_ sql: String, _ values: SQLValue..., body: (SQLRow) throws -> T) throws -> [T] {
        let statement = try prepare(sql, values)
        defer { sqlite3_reset(statement) }
        var all: [T] = []
        while try step(statement) { all.append(try body(SQLRow(statement: statement))) }
        return all
    }

    /// Runs a statement whose last value is a large blob, which is not copied.
    func run(_ sql: String, _ values: SQLValue..., bytes: UnsafeRawBufferPointer) throws {
        let statement = try prepare(sql, values)
        defer { sqlite3_reset(statement) }
        let status = sqlite3_bind_blob(statement, Int32(values.count + 1), bytes.baseAddress, Int32(bytes.count), nil)
        guard status == SQLITE_OK else { throw error(status) }
        while try step(statement) {}
        sqlite3_bind_null(statement, Int32(values.count + 1))
    }

    private func prepare(_ sql: String, _ values: [SQLValue]) throws -> OpaquePointer {
        guard !isClosed else { throw ObjectsError.aborted }
        let statement: OpaquePointer
        if let known = statements[sql] {
            statement = known
        } else {
            var made: OpaquePointer?
            let status = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
            guard status == SQLITE_OK, let made else { throw error(status) }
            statements[sql] = made
            statement = made
        }
        for (index, value) in values.enumerated() {
            let column = Int32(index + 1)
            let status =
                switch value {
                case .null: sqlite3_bind_null(statement, column)
                case .int(let value): sqlite3_bind_int64(statement, column, value)
                case .blob(let bytes): bytes.withUnsafeBytes { Self.bind($0, to: statement, column) }
                case .text(let text): sqlite3_bind_text(statement, column, text, -1, Self.transient)
                }
            guard status == SQLITE_OK else { throw error(status) }
        }
        return statement
    }

    /// SQLITE_TRANSIENT: SQLite copies.
    private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    private static func bind(_ bytes: UnsafeRawBufferPointer, to statement: OpaquePointer, _ column: Int32) -> Int32 {
        // The address of no bytes would be NULL to SQLite.
        guard bytes.count > 0 else { return sqlite3_bind_zeroblob(statement, column, 0) }
        return sqlite3_bind_blob(statement, column, bytes.baseAddress, Int32(bytes.count), transient)
    }

    private func step(_ statement: OpaquePointer) throws -> Bool {
        switch sqlite3_step(statement) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let status: throw error(status)
        }
    }

    private func error(_ status: Int32) -> ObjectsError { Self.error(status, String(cString: sqlite3_errmsg(handle)), path) }

    private static func error(_ status: Int32, _ message: String, _ path: String) -> ObjectsError {
        switch status & 0xFF {
        case SQLITE_FULL: .insufficientStorage
        case SQLITE_CORRUPT, SQLITE_NOTADB: .damaged("\(path) is damaged: \(message)")
        default: .storage("\(path): \(message) (SQLite \(status))")
        }
    }

    /// Copies the whole database, with what is in its log, into a new file.
    func copy(to path: String) throws { try run("VACUUM INTO ?", .text(path)) }
}

extension Connection {
    /// Opens `meta.sqlite`; the one that is not read-only migrates it.
    static func meta(_ path: String, readonly: Bool, pagesMax: Int64 = 0) throws -> Connection {
        do {
            var configuration = Configuration()
            configuration.readonly = readonly
            configuration.busyMode = .timeout(10)
            if !readonly { configuration.journalMode = .wal }
            configuration.prepareDatabase { db in
                // Only this connection checkpoints (SQLite 3.40.1 can damage a log that two checkpoint), and between commits.
                try db.execute(
                    sql: readonly
                        ? "PRAGMA query_only = 1; PRAGMA cache_size = -4096; PRAGMA wal_autocheckpoint = 0"
                        : "PRAGMA secure_delete = OFF; PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 0"
                )
            }
            let database = try DatabaseQueue(path: path, configuration: configuration)
            if !readonly {
                // Not before: GRDB goes to NORMAL when it turns the log on, and then a commit is synced at the next checkpoint only.
                try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
                try Schema.migrator.migrate(database)
                if try database.read({ try Schema.migrator.hasBeenSuperseded($0) }) {
                    throw ObjectsError.storage("\(path) was written by a newer Hearth: use that one")
                }
            }
            let connection = try Connection(path: path, database)
            if !readonly {
                connection.watchLog()
                // Not in `prepareDatabase`: GRDB sets NORMAL behind it when it turns to WAL, and then no commit is synced.
                try connection.execute("PRAGMA synchronous = FULL")
                if pagesMax > 0 { try connection.execute("PRAGMA max_page_count = \(pagesMax)") }
            }
            return connection
        } catch let error as ObjectsError {
            throw error
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CORRUPT || error.resultCode == .SQLITE_NOTADB {
            throw ObjectsError.damaged("\(path) is damaged: \(error.message ?? "")")
        } catch {
            throw ObjectsError.storage("cannot open \(path): \(error)")
        }
    }
}
