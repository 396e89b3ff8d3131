internal import GRDBSQLite

/// What SQLite answered instead of doing it.
struct DiskError: Error, CustomStringConvertible {
    let code: Int32
    let description: String

    /// The file is not what it should be, as opposed to: the disk does not take or give it now.
    var isDamage: Bool { [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT, SQLITE_SCHEMA, SQLITE_ERROR].contains(code & 0xFF) }
}

/// A prepared statement on the C handle that GRDB gives out: its per-call reads cost four times as much (performance reference, 4f).
///
/// Thread rule: its connection's thread. Bytes that are bound must stay until `reset`; bytes of a row are valid until the next `step`.
final class Statement {
    private let raw: OpaquePointer
    private let connection: OpaquePointer

    init(_ connection: OpaquePointer, _ sql: String) throws(DiskError) {
        var raw: OpaquePointer?
        let code = sqlite3_prepare_v3(connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &raw, nil)
        guard code == SQLITE_OK, let raw else { throw Self.error(connection, code) }
        self.raw = raw
        self.connection = connection
    }

    deinit { sqlite3_finalize(raw) }

    /// True: there is a row.
    func step() throws(DiskError) -> Bool {
        switch sqlite3_step(raw) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code:
            let error = Self.error(connection, code)
            reset()
            throw error
        }
    }

    /// Runs a statement without rows.
    func run() throws(DiskError) {
        while try step() {}
        reset()
    }

    func reset() { sqlite3_reset(raw) }

    func bind(_ values: Int64...) { for (at, value) in values.enumerated() { sqlite3_bind_int64(raw, Int32(at + 1), value) } }
    func bind(_ place: Int32, _ value: Double) { sqlite3_bind_double(raw, place, value) }

    /// Without copying.
    func bind(_ place: Int32, bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return _ = sqlite3_bind_zeroblob(raw, place, 0) }
        sqlite3_bind_blob64(raw, place, base, UInt64(bytes.count), nil)
    }

    func bind(_ place: Int32, text: UnsafeRawBufferPointer) {
        sqlite3_bind_text(raw, place, text.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(text.count), nil)
    }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(raw, column) }
    func real(_ column: Int32) -> Double { sqlite3_column_double(raw, column) }

    func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        let base = sqlite3_column_blob(raw, column)
        return UnsafeRawBufferPointer(start: base, count: base == nil ? 0 : Int(sqlite3_column_bytes(raw, column)))
    }

    static func error(_ connection: OpaquePointer, _ code: Int32) -> DiskError {
        DiskError(code: code, description: String(cString: sqlite3_errmsg(connection)))
    }

    static func execute(_ connection: OpaquePointer, _ sql: String) throws(DiskError) {
        let code = sqlite3_exec(connection, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(connection, code) }
    }
}
