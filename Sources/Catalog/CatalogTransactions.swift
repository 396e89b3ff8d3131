internal import Crypto
internal import Foundation
internal import GRDB
internal import Synchronization

/// Transactions, and the steps that several calls share.
extension Catalog {
    // MARK: Transactions

    func run<T>(_ body: @Sendable (Database) throws -> T) throws(CatalogError) -> T where T: Sendable {
        do { return try database.read(body) } catch let error as CatalogError { throw error } catch {
            throw .storage("the catalogue cannot be read: \(error)")
        }
    }

    /// Runs `body`, which may change this function alone, in a transaction; after its commit swaps the snapshot, tells the listener and
    /// returns `then`'s value.
    func change<Step: Sendable, Result>(
        _ name: String, _ body: @Sendable (Database) throws -> Step, then: (CatalogSnapshot, Step) throws -> Result
    ) throws(CatalogError) -> Result {
        do {
            // Snapshots are swapped in the order of their commits: both happen on the database's queue.
            let (step, snapshot) = try database.writeWithoutTransaction { db in
                var step: Step?
                try db.inTransaction(.immediate) {
                    step = try body(db)
                    return .commit
                }
                let changed = try Self.load(db, only: name).first
                let snapshot = current.withLock { current in
                    current = current.replacing(name, with: changed)
                    return current
                }
                listener.withLock { $0 }?(snapshot)
                guard let step else { throw CatalogError.storage("a transaction ended without a result") }
                return (step, snapshot)
            }
            return try then(snapshot, step)
        } catch let error as CatalogError {
            throw error
        } catch {
            throw .storage("the catalogue cannot be written: \(error)")
        }
    }

    static func function(_ db: Database, _ name: String) throws -> Row {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM functions WHERE name = ?", arguments: [name]) else {
            throw CatalogError.functionNotFound(name)
        }
        return row
    }

    static func check(_ revision: String, of function: Row) throws {
        guard function["latest_revision"] == revision else { throw CatalogError.revisionMismatch }
    }

    static func store(_ zip: [UInt8], _ db: Database) throws -> String {
        let digest = Data(zip.withUnsafeBytes { Digest.sha256($0) }).base64EncodedString()
        try db.execute(
            sql: "INSERT INTO code (digest, zip) VALUES (?, ?) ON CONFLICT DO NOTHING", arguments: [digest, Data(zip)])
        return digest
    }

    static func insertVersion(
        _ db: Database, _ function: Int64, digest: String, size: Int, settings: FunctionSettings, at time: Int64
    ) throws {
        let revision = newRevision()
        try db.execute(
            sql: """
                INSERT INTO versions (function, digest, code_size, settings, revision, modified)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                function, digest, size, try encode(settings), revision, time,
            ])
        let row = db.lastInsertedRowID
        try db.execute(
            sql: "UPDATE functions SET latest = ?, latest_revision = ? WHERE id = ?", arguments: [row, revision, function])
        for digest in Set((settings.layers ?? []).map(\.digest)) {
            try db.execute(sql: "INSERT INTO version_layers (version, digest) VALUES (?, ?)", arguments: [row, digest])
        }
    }

    /// Something of `$LATEST` has changed, or a version was made of it: who read it before must read it again.
    static func touch(_ db: Database, _ function: Int64) throws {
        try db.execute(sql: "UPDATE functions SET latest_revision = ? WHERE id = ?", arguments: [newRevision(), function])
    }

    static func newRevision() -> String { UUID().uuidString.lowercased() }

    static func publish(_ db: Database, _ function: Int64, description: String?) throws -> Int {
        let row = try Row.fetchOne(
            db,
            sql: """
                SELECT versions.id, versions.number, functions.last_number FROM functions
                JOIN versions ON versions.id = functions.latest WHERE functions.id = ?
                """, arguments: [function])
        guard let row else { throw CatalogError.storage("a function has lost its latest version") }
        if let number: Int = row["number"] { return number }
        let last: Int = row["last_number"]
        let version: Int64 = row["id"]
        try db.execute(sql: "UPDATE functions SET last_number = ? WHERE id = ?", arguments: [last + 1, function])
        try db.execute(
            sql: "UPDATE versions SET number = ?, description = ? WHERE id = ?", arguments: [last + 1, description, version])
        try touch(db, function)
        return last + 1
    }

    static func provision(_ db: Database, _ function: Int64, _ qualifier: String, _ requested: Int) throws {
        guard requested > 0 else {
            return try db.execute(
                sql: "DELETE FROM provisioned WHERE function = ? AND qualifier = ?", arguments: [function, qualifier])
        }
        if let reserved = try Int.fetchOne(db, sql: "SELECT reserved FROM functions WHERE id = ?", arguments: [function]) {
            let others =
                try Int.fetchOne(
                    db, sql: "SELECT coalesce(sum(requested), 0) FROM provisioned WHERE function = ? AND qualifier <> ?",
                    arguments: [function, qualifier]) ?? 0
            guard others + requested <= reserved else {
                throw CatalogError.invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
                )
            }
        }
        try db.execute(
            sql: """
                INSERT INTO provisioned (function, qualifier, requested) VALUES (?, ?, ?)
                ON CONFLICT DO UPDATE SET requested = excluded.requested
                """, arguments: [function, qualifier, requested])
    }

    /// What is set for a version or alias that is gone. (Its function URL stays, and is answered 403: as in Lambda.)
    static func forget(qualifier: String, of function: Int64, _ db: Database) throws {
        for table in ["provisioned", "event_invoke", "policies"] {
            try db.execute(sql: "DELETE FROM \(table) WHERE function = ? AND qualifier = ?", arguments: [function, qualifier])
        }
    }

    static func collectGarbage(_ db: Database) throws {
        try db.execute(
            sql: """
                DELETE FROM versions WHERE number IS NULL AND id NOT IN (SELECT latest FROM functions);
                DELETE FROM code WHERE digest NOT IN (SELECT digest FROM versions)
                    AND digest NOT IN (SELECT digest FROM layer_versions) AND digest NOT IN (SELECT digest FROM version_layers);
                """)
    }
}
