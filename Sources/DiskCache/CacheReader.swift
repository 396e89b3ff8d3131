internal import Base
internal import Cache
internal import GRDB
internal import GRDBSQLite

/// A second connection to `cache.sqlite`, which only reads: lookups do not wait for transactions. It never checkpoints.
///
/// Thread rule: one queue's.
final class CacheReader: @unchecked Sendable {
    private let database: DatabaseQueue
    private let connection: OpaquePointer
    private var find: Statement?

    init(path: String) throws(DiskError) {
        do {
            database = try DatabaseQueue(path: path, configuration: CacheFile.configuration(readonly: true))
            connection = try database.unsafeRead { db in
                guard let connection = db.sqliteConnection else { throw DiskError(code: SQLITE_CANTOPEN, description: "it does not open") }
                return connection
            }
        } catch { throw CacheFile.diskError(error) }
        find = try Statement(
            connection,
            """
            SELECT sequence, namespace, stored, fresh, stale_while, stale_error, keep, weight, frequency, tags, checksum, key, value
            FROM entries JOIN contents USING (hash) WHERE hash = ?
            """)
    }

    /// The rows of these hashes, in one read transaction (its begin and end are 60 % of a single read: performance reference, 4d).
    /// Those that are there, in the same order; none after `bytesMax` of values.
    func rows(_ hashes: [UInt64], bytesMax: Int) throws(DiskError) -> [FoundRow] {
        guard let find else { return [] }
        do {
            return try database.unsafeRead { [self] _ in
                try Statement.execute(connection, "BEGIN")
                defer { try? Statement.execute(connection, "COMMIT") }
                var left = bytesMax
                var rows: [FoundRow] = []
                for hash in hashes where left > 0 {
                    guard let row = try self.row(hash, find) else { continue }
                    left -= row.value.count
                    rows.append(row)
                }
                return rows
            }
        } catch { throw CacheFile.diskError(error) }
    }

    private func row(_ hash: UInt64, _ find: Statement) throws(DiskError) -> FoundRow? {
        find.bind(Int64(bitPattern: hash))
        defer { find.reset() }
        guard try find.step() else { return nil }
        let row = Row(hash: hash, columns: find)
        let value = find.bytes(12)
        let isIntact = Row.checksum(tags: row.tags, value: value, hash: hash) == UInt64(bitPattern: find.integer(10))
        return FoundRow(row: row, key: Array(find.bytes(11)), value: Array(value), isCorrupt: !isIntact)
    }

    func close() {
        find = nil
        try? database.close()
    }
}
