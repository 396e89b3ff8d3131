package import Base
internal import Crypto
internal import Foundation
internal import GRDB
internal import Synchronization

/// Functions, versions, aliases, code and concurrency settings, in SQLite.
///
/// A call that changes something returns when its transaction is on disk (`synchronous=FULL`): what it has acknowledged
/// survives `kill -9`. It then swaps the snapshot that requests are resolved against and tells `onChange`.
///
/// Thread rule: any thread but the loop's (calls wait for the disk); `snapshot` may be read anywhere.
package final class Catalog: Sendable {
    private let database: DatabaseQueue
    private let lock: FileLock
    private let current: Mutex<CatalogSnapshot>
    private let listener = Mutex<(@Sendable (CatalogSnapshot) -> Void)?>(nil)

    /// Opens or makes `catalog.sqlite` in `directory`, which must exist and be writable.
    package init(directory: String) throws(CatalogError) {
        let path = directory + "/lock"
        do { lock = try FileLock(path: path) } catch {
            switch error {
            case .unwritable(let reason): throw .storage("the data directory cannot be written (\(path): \(reason))")
            case .held:
                throw .storage("another Hearth uses this data directory (\(path) is locked): stop it, or choose another with --data")
            }
        }
        do {
            var configuration = Configuration()
            configuration.journalMode = .wal
            configuration.busyMode = .timeout(5)
            // A small page cache: what is asked often is in the snapshot, and packages only pass through.
            configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA cache_size = -256") }
            database = try DatabaseQueue(path: directory + "/catalog.sqlite", configuration: configuration)
            try Schema.migrator.migrate(database)
            if try database.read({ try Schema.migrator.hasBeenSuperseded($0) }) {
                throw CatalogError.storage("\(directory)/catalog.sqlite was written by a newer Hearth: use that one")
            }
            current = Mutex(CatalogSnapshot(functions: try database.read { try Self.load($0) }))
        } catch let error as CatalogError {
            throw error
        } catch {
            throw .storage("cannot open \(directory)/catalog.sqlite: \(error)")
        }
    }

    package var snapshot: CatalogSnapshot { current.withLock { $0 } }

    /// `listener` hears of each committed change, on the thread that made it.
    package func onChange(_ listener: @escaping @Sendable (CatalogSnapshot) -> Void) {
        self.listener.withLock { $0 = listener }
    }

    // MARK: Functions

    /// Makes a function whose `$LATEST` is this code with these settings; `publish` makes it version 1 too.
    package func createFunction(
        _ name: String, settings: FunctionSettings, zip: [UInt8], publish: Bool = false, reserved: Int? = nil,
        at time: Int64
    ) throws(CatalogError) -> (FunctionEntry, VersionEntry) {
        try change(name) { db in
            guard try Int64.fetchOne(db, sql: "SELECT id FROM functions WHERE name = ?", arguments: [name]) == nil else {
                throw CatalogError.functionExists(name)
            }
            try db.execute(
                sql: "INSERT INTO functions (name, latest_revision, reserved, created) VALUES (?, ?, ?, ?)",
                arguments: [name, UUID().uuidString.lowercased(), reserved, time])
            let function = db.lastInsertedRowID
            let digest = try Self.store(zip, db)
            try Self.insertVersion(db, function, digest: digest, size: zip.count, settings: settings, at: time)
            if publish { _ = try Self.publish(db, function, description: nil) }
            return function
        } then: { snapshot, _ in
            guard let entry = snapshot.function(named: name) else { throw CatalogError.functionNotFound(name) }
            return (entry, entry.latest)
        }
    }

    /// Changes the code or the settings of `$LATEST`. What is equal to what is there changes nothing.
    package func update(
        _ name: String, zip: [UInt8]? = nil, settings edit: (@Sendable (inout FunctionSettings) -> Void)? = nil,
        publish: Bool = false, revision: String? = nil, at time: Int64
    ) throws(CatalogError) -> (FunctionEntry, VersionEntry) {
        try change(name) { db in
            let function = try Self.function(db, name)
            if let revision { try Self.check(revision, of: function) }
            guard let latest = try Self.version(db, row: function["latest"]) else {
                throw CatalogError.storage("function \(name) has lost its latest version")
            }
            var settings = latest.settings
            edit?(&settings)
            let digest = try zip.map { try Self.store($0, db) } ?? latest.codeDigest
            if digest != latest.codeDigest || settings != latest.settings {
                try Self.insertVersion(
                    db, function["id"], digest: digest, size: zip?.count ?? latest.codeSize, settings: settings, at: time)
            }
            if publish { _ = try Self.publish(db, function["id"], description: nil) }
            try Self.collectGarbage(db)
        } then: { snapshot, _ in
            guard let entry = snapshot.function(named: name) else { throw CatalogError.functionNotFound(name) }
            return (entry, entry.latest)
        }
    }

    package func deleteFunction(_ name: String) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            try db.execute(sql: "DELETE FROM functions WHERE id = ?", arguments: [id])
            try Self.collectGarbage(db)
        } then: { _, _ in
        }
    }

    package func deleteVersion(_ name: String, number: Int) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            let text = String(number)
            let aliases = try Int.fetchOne(
                db, sql: "SELECT count(*) FROM aliases WHERE function = ? AND version = ?", arguments: [id, number])
            guard aliases == 0 else { throw CatalogError.versionInUse(function: name, version: text) }
            let latest: Int64 = function["latest"]
            guard
                let row = try Int64.fetchOne(
                    db, sql: "SELECT id FROM versions WHERE function = ? AND number = ?", arguments: [id, number])
            else { throw CatalogError.versionNotFound(function: name, version: text) }
            if row == latest {
                try db.execute(sql: "UPDATE versions SET number = NULL WHERE id = ?", arguments: [row])
            } else {
                try db.execute(sql: "DELETE FROM versions WHERE id = ?", arguments: [row])
            }
            try Self.forget(qualifier: text, of: id, db)
            try db.execute(
                sql: "UPDATE aliases SET previous = NULL WHERE function = ? AND previous = ?", arguments: [id, number])
            try Self.collectGarbage(db)
        } then: { _, _ in
        }
    }

    /// Gives `$LATEST` a number; if it has one already, that one is returned (Lambda: unchanged since the last
    /// publication means the same version).
    package func publishVersion(
        _ name: String, codeSha256: String? = nil, description: String? = nil, revision: String? = nil
    ) throws(CatalogError) -> (FunctionEntry, VersionEntry) {
        try change(name) { db in
            let function = try Self.function(db, name)
            if let revision { try Self.check(revision, of: function) }
            if let codeSha256, let latest = try Self.version(db, row: function["latest"]), latest.codeDigest != codeSha256 {
                throw CatalogError.codeShaMismatch(given: codeSha256, current: latest.codeDigest)
            }
            return try Self.publish(db, function["id"], description: description)
        } then: { snapshot, number in
            guard let entry = snapshot.function(named: name), let version = entry.versions[number] else {
                throw CatalogError.functionNotFound(name)
            }
            return (entry, version)
        }
    }

    /// The zip of a package, or nil.
    package func code(digest: String) throws(CatalogError) -> [UInt8]? {
        try run { db in
            try Data.fetchOne(db, sql: "SELECT zip FROM code WHERE digest = ?", arguments: [digest]).map(Array.init)
        }
    }

    // MARK: Aliases

    /// Makes an alias or points it to another version, and sets its provisioned concurrency, in one transaction.
    ///
    /// - Parameter provisioned: nil leaves it as it is, 0 removes it.
    package func moveAlias(
        _ alias: String, of name: String, to number: Int, provisioned: Int? = nil, mustExist: Bool? = nil,
        description: String? = nil, revision: String? = nil
    ) throws(CatalogError) -> (FunctionEntry, AliasEntry) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            let known = try Row.fetchOne(
                db, sql: "SELECT * FROM aliases WHERE function = ? AND name = ?", arguments: [id, alias])
            if mustExist == true, known == nil { throw CatalogError.aliasNotFound(function: name, alias: alias) }
            if mustExist == false, known != nil { throw CatalogError.aliasExists(function: name, alias: alias) }
            if let revision, let known, known["revision"] != revision { throw CatalogError.revisionMismatch }
            let exists = try Int64.fetchOne(
                db, sql: "SELECT id FROM versions WHERE function = ? AND number = ?", arguments: [id, number])
            guard exists != nil else { throw CatalogError.versionNotFound(function: name, version: String(number)) }
            let before: Int? = known?["version"]
            let previous: Int? = before == number ? known?["previous"] : before
            let text: String = description ?? known?["description"] ?? ""
            try db.execute(
                sql: """
                    INSERT INTO aliases (function, name, version, previous, description, revision)
                    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version,
                    previous = excluded.previous, description = excluded.description, revision = excluded.revision
                    """,
                arguments: [id, alias, number, previous, text, UUID().uuidString.lowercased()])
            if let provisioned { try Self.provision(db, id, alias, provisioned) }
        } then: { snapshot, _ in
            guard let entry = snapshot.function(named: name), let moved = entry.aliases[alias] else {
                throw CatalogError.aliasNotFound(function: name, alias: alias)
            }
            return (entry, moved)
        }
    }

    /// Deletes an alias and what is set for it; one that is not there is no error (as in Lambda).
    package func deleteAlias(_ alias: String, of name: String) throws(CatalogError) {
        try change(name) { db in
            let id: Int64 = try Self.function(db, name)["id"]
            try db.execute(sql: "DELETE FROM aliases WHERE function = ? AND name = ?", arguments: [id, alias])
            try Self.forget(qualifier: alias, of: id, db)
        } then: { _, _ in
        }
    }

    // MARK: Concurrency

    /// Sets or (nil) removes reserved concurrency.
    package func setReserved(_ reserved: Int?, of name: String) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            if let reserved {
                let provisioned =
                    try Int.fetchOne(
                        db, sql: "SELECT coalesce(sum(requested), 0) FROM provisioned WHERE function = ?", arguments: [id])
                    ?? 0
                guard reserved >= provisioned else {
                    // The leading space is Lambda's.
                    throw CatalogError.invalid(
                        " ReservedConcurrentExecutions  \(reserved) should not be lower than function's total provisioned concurrency [\(provisioned)]."
                    )
                }
            }
            try db.execute(sql: "UPDATE functions SET reserved = ? WHERE id = ?", arguments: [reserved, id])
        } then: { _, _ in
        }
    }

    /// Sets (or, with 0, removes) provisioned concurrency of a version or alias.
    package func setProvisioned(_ requested: Int, of name: String, qualifier: String) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            try Self.provision(db, function["id"], qualifier, requested)
        } then: { _, _ in
        }
    }

    // MARK: Asynchronous invocation

    /// Sets or (nil) removes how asynchronous invocations of this version, alias or `$LATEST` are treated. Throws `eventInvokeNotFound`
    /// when there is nothing to remove.
    package func setEventInvoke(_ settings: EventInvokeSettings?, of name: String, qualifier: String) throws(CatalogError) {
        try change(name) { db in
            let id: Int64 = try Self.function(db, name)["id"]
            guard let settings else {
                try db.execute(sql: "DELETE FROM event_invoke WHERE function = ? AND qualifier = ?", arguments: [id, qualifier])
                guard db.changesCount == 1 else { throw CatalogError.eventInvokeNotFound(function: name, qualifier: qualifier) }
                return
            }
            try db.execute(
                sql: "INSERT OR REPLACE INTO event_invoke (function, qualifier, settings) VALUES (?, ?, ?)",
                arguments: [id, qualifier, String(decoding: try JSONEncoder().encode(settings), as: UTF8.self)])
        } then: { _, _ in
        }
    }

    // MARK: Memoization

    /// Records that an audit has found a function impure, in code and configuration that `scope` stands for: it is not memoized any more.
    /// Of one function the newest `impureScopesMax` are kept. Throws `functionNotFound`.
    package func setImpure(_ scope: [UInt8], of name: String) throws(CatalogError) {
        try change(name) { db in
            let id: Int64 = try Self.function(db, name)["id"]
            try db.execute(sql: "INSERT OR IGNORE INTO impure (function, scope) VALUES (?, ?)", arguments: [id, Data(scope)])
            try db.execute(
                sql: """
                    DELETE FROM impure WHERE function = ?1
                    AND id NOT IN (SELECT id FROM impure WHERE function = ?1 ORDER BY id DESC LIMIT ?2)
                    """,
                arguments: [id, Limits.impureScopesMax])
        } then: { _, _ in
        }
    }
}

extension Limits {
    /// Verdicts of audits that are kept of one function.
    package static let impureScopesMax = 100
}

extension Catalog {
    // MARK: Transactions

    private func run<T>(_ body: @Sendable (Database) throws -> T) throws(CatalogError) -> T where T: Sendable {
        do { return try database.read(body) } catch let error as CatalogError { throw error } catch {
            throw .storage("the catalogue cannot be read: \(error)")
        }
    }

    /// Runs `body`, which may change this function alone, in a transaction; after its commit swaps the snapshot, tells the listener and
    /// returns `then`'s value.
    private func change<Step: Sendable, Result>(
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

    private static func function(_ db: Database, _ name: String) throws -> Row {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM functions WHERE name = ?", arguments: [name]) else {
            throw CatalogError.functionNotFound(name)
        }
        return row
    }

    private static func check(_ revision: String, of function: Row) throws {
        guard function["latest_revision"] == revision else { throw CatalogError.revisionMismatch }
    }

    private static func store(_ zip: [UInt8], _ db: Database) throws -> String {
        let digest = Data(zip.withUnsafeBytes { Digest.sha256($0) }).base64EncodedString()
        try db.execute(
            sql: "INSERT INTO code (digest, zip) VALUES (?, ?) ON CONFLICT DO NOTHING", arguments: [digest, Data(zip)])
        return digest
    }

    private static func insertVersion(
        _ db: Database, _ function: Int64, digest: String, size: Int, settings: FunctionSettings, at time: Int64
    ) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let revision = UUID().uuidString.lowercased()
        try db.execute(
            sql: """
                INSERT INTO versions (function, digest, code_size, settings, revision, modified)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                function, digest, size, String(decoding: try encoder.encode(settings), as: UTF8.self), revision, time,
            ])
        try db.execute(
            sql: "UPDATE functions SET latest = ?, latest_revision = ? WHERE id = ?",
            arguments: [db.lastInsertedRowID, revision, function])
    }

    private static func publish(_ db: Database, _ function: Int64, description: String?) throws -> Int {
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
        return last + 1
    }

    private static func provision(_ db: Database, _ function: Int64, _ qualifier: String, _ requested: Int) throws {
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

    /// What is set for a version or alias that is gone.
    private static func forget(qualifier: String, of function: Int64, _ db: Database) throws {
        for table in ["provisioned", "event_invoke"] {
            try db.execute(sql: "DELETE FROM \(table) WHERE function = ? AND qualifier = ?", arguments: [function, qualifier])
        }
    }

    private static func collectGarbage(_ db: Database) throws {
        try db.execute(
            sql: """
                DELETE FROM versions WHERE number IS NULL AND id NOT IN (SELECT latest FROM functions);
                DELETE FROM code WHERE digest NOT IN (SELECT digest FROM versions);
                """)
    }

    // MARK: Snapshots

    private static func version(_ row: Row) throws -> VersionEntry {
        let settings: String = row["settings"]
        return VersionEntry(
            rowID: row["id"], number: row["number"], codeDigest: row["digest"], codeSize: row["code_size"],
            settings: try JSONDecoder().decode(FunctionSettings.self, from: Data(settings.utf8)),
            revisionID: row["revision"], lastModifiedMilliseconds: row["modified"],
            publishedDescription: row["description"])
    }

    private static func version(_ db: Database, row id: Int64) throws -> VersionEntry? {
        try Row.fetchOne(db, sql: "SELECT * FROM versions WHERE id = ?", arguments: [id]).map(version)
    }

    /// The functions as they are on disk; one of them, or all.
    private static func load(_ db: Database, only name: String? = nil) throws -> [FunctionEntry] {
        func rows(_ table: String) throws -> [Row] {
            guard let name else { return try Row.fetchAll(db, sql: "SELECT * FROM \(table)") }
            return try Row.fetchAll(
                db, sql: "SELECT * FROM \(table) WHERE function = (SELECT id FROM functions WHERE name = ?)", arguments: [name])
        }
        var versions: [Int64: [VersionEntry]] = [:]
        for row in try rows("versions") { versions[row["function"], default: []].append(try version(row)) }
        var aliases: [Int64: [String: AliasEntry]] = [:]
        for row in try rows("aliases") {
            let alias = AliasEntry(
                name: row["name"], version: row["version"], description: row["description"], revisionID: row["revision"],
                previous: row["previous"])
            aliases[row["function"], default: [:]][alias.name] = alias
        }
        var provisioned: [Int64: [String: Int]] = [:]
        for row in try rows("provisioned") { provisioned[row["function"], default: [:]][row["qualifier"]] = row["requested"] }
        var eventInvoke: [Int64: [String: EventInvokeSettings]] = [:]
        for row in try rows("event_invoke") {
            let text: String = row["settings"]
            eventInvoke[row["function"], default: [:]][row["qualifier"]] = try JSONDecoder().decode(
                EventInvokeSettings.self, from: Data(text.utf8))
        }
        var impure: [Int64: Set<[UInt8]>] = [:]
        for row in try rows("impure") {
            let scope: Data = row["scope"]
            impure[row["function"], default: []].insert(Array(scope))
        }
        let functions =
            try name.map { try Row.fetchAll(db, sql: "SELECT * FROM functions WHERE name = ?", arguments: [$0]) }
            ?? Row.fetchAll(db, sql: "SELECT * FROM functions")
        return functions.compactMap { row in
            let id: Int64 = row["id"]
            let latest: Int64 = row["latest"]
            guard let entry = versions[id]?.first(where: { $0.rowID == latest }) else { return nil }
            let numbered = (versions[id] ?? []).compactMap { version in version.number.map { ($0, version) } }
            return FunctionEntry(
                name: row["name"], latest: entry, latestRevisionID: row["latest_revision"],
                versions: Dictionary(numbered) { first, _ in first }, aliases: aliases[id] ?? [:],
                reserved: row["reserved"], provisioned: provisioned[id] ?? [:], createdMilliseconds: row["created"],
                eventInvoke: eventInvoke[id] ?? [:], impureScopes: impure[id] ?? [])
        }
    }
}
