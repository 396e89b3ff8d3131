package import Base
internal import Foundation
internal import GRDB
internal import Synchronization

/// Functions, versions, aliases, code, concurrency settings and access keys, in SQLite. (Function URLs, policies and tags:
/// CatalogAccess.swift; layers: CatalogLayers.swift.)
///
/// A call that changes something returns when its transaction is on disk (`synchronous=FULL`): what it has acknowledged
/// survives `kill -9`. It then swaps the snapshot that requests are resolved against and tells `onChange`.
///
/// Thread rule: any thread but the loop's (calls wait for the disk); `snapshot` may be read anywhere.
package final class Catalog: Sendable {
    let database: DatabaseQueue
    private let lock: FileLock
    let current: Mutex<CatalogSnapshot>
    let listener = Mutex<(@Sendable (CatalogSnapshot) -> Void)?>(nil)
    let keys: Mutex<AccessKeys>

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
            configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA cache_size = -256") }
            // Its owner's alone: there are secrets in it. (SQLite gives the log beside it the same mode.)
            close(open(directory + "/catalog.sqlite", O_CREAT | O_CLOEXEC, 0o600))
            chmod(directory + "/catalog.sqlite", 0o600)
            database = try DatabaseQueue(path: directory + "/catalog.sqlite", configuration: configuration)
            // Not in `prepareDatabase`: GRDB sets NORMAL behind it when it turns to WAL, and then no commit is synced.
            try database.inDatabase { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
            try Schema.migrator.migrate(database)
            if try database.read({ try Schema.migrator.hasBeenSuperseded($0) }) {
                throw CatalogError.storage("\(directory)/catalog.sqlite was written by a newer Hearth: use that one")
            }
            current = Mutex(CatalogSnapshot(functions: try database.read { try Self.load($0) }))
            keys = Mutex(AccessKeys(all: try database.read { try Self.loadKeys($0) }))
        } catch let error as CatalogError {
            throw error
        } catch {
            throw .storage("cannot open \(directory)/catalog.sqlite: \(error)")
        }
    }

    /// A commit is on disk when it has returned.
    package var isSynced: Bool { (try? database.inDatabase { db in try Int.fetchOne(db, sql: "PRAGMA synchronous") }) == 2 }

    package var snapshot: CatalogSnapshot { current.withLock { $0 } }

    /// `listener` hears of each committed change, on the thread that made it.
    package func onChange(_ listener: @escaping @Sendable (CatalogSnapshot) -> Void) {
        self.listener.withLock { $0 = listener }
    }

    // MARK: Functions

    /// Makes a function whose `$LATEST` is this code with these settings; `publish` makes it version 1 too.
    ///
    /// - Parameter opensURL: its function URL answers everybody from the first.
    package func createFunction(
        _ name: String, settings: FunctionSettings, zip: [UInt8], publish: Bool = false, reserved: Int? = nil,
        tags: [String: String] = [:], opensURL: Bool = false, at time: Int64
    ) throws(CatalogError) -> (FunctionEntry, VersionEntry) {
        try change(name) { db in
            guard try Int64.fetchOne(db, sql: "SELECT id FROM functions WHERE name = ?", arguments: [name]) == nil else {
                throw CatalogError.functionExists(name)
            }
            try db.execute(
                sql: "INSERT INTO functions (name, latest_revision, reserved, created, tags) VALUES (?, ?, ?, ?, ?)",
                arguments: [name, Self.newRevision(), reserved, time, try Self.text(of: tags)])
            let function = db.lastInsertedRowID
            if opensURL { try Self.openURL(db, function, at: time) }
            let digest = try Self.store(zip, db)
            try Self.insertVersion(db, function, digest: digest, size: zip.count, settings: settings, at: time)
            if publish { _ = try Self.publish(db, function, description: nil) }
            return function
        } then: { snapshot, _ in
            guard let entry = snapshot.function(named: name) else { throw CatalogError.functionNotFound(name) }
            return (entry, entry.latest)
        }
    }

    /// Changes the code or the settings of `$LATEST`. What is equal to what is there changes nothing but the revision.
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
            } else {
                try Self.touch(db, function["id"])
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
                db, sql: "SELECT count(*) FROM aliases WHERE function = ? AND ? IN (version, extra)", arguments: [id, number])
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
    /// - Parameters:
    ///   - number: `AliasEntry.latest` is `$LATEST`.
    ///   - weight: what becomes of the share that another version gets.
    ///   - provisioned: nil leaves it as it is, 0 removes it.
    package func moveAlias(
        _ alias: String, of name: String, to number: Int, weight: AliasWeight = .none, provisioned: Int? = nil,
        mustExist: Bool? = nil, description: String? = nil, revision: String? = nil
    ) throws(CatalogError) -> (FunctionEntry, AliasEntry) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            let known = try Row.fetchOne(
                db, sql: "SELECT * FROM aliases WHERE function = ? AND name = ?", arguments: [id, alias])
            if mustExist == true, known == nil { throw CatalogError.aliasNotFound(function: name, alias: alias) }
            if mustExist == false, known != nil { throw CatalogError.aliasExists(function: name, alias: alias) }
            if let revision, let known, known["revision"] != revision { throw CatalogError.revisionMismatch }
            let extra: VersionWeight? =
                switch weight {
                case .none: nil
                case .keep: known.flatMap(Self.weight)
                case .share(let share): share
                }
            for wanted in [number, extra?.version].compactMap({ $0 }) where wanted != AliasEntry.latest {
                let exists = try Int64.fetchOne(
                    db, sql: "SELECT id FROM versions WHERE function = ? AND number = ?", arguments: [id, wanted])
                guard exists != nil else { throw CatalogError.versionNotFound(function: name, version: String(wanted)) }
            }
            let before: Int? = known?["version"]
            let previous: Int? = before == number ? known?["previous"] : before
            let text: String = description ?? known?["description"] ?? ""
            try db.execute(
                sql: """
                    INSERT INTO aliases (function, name, version, previous, description, revision, extra, share)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version,
                    previous = excluded.previous, description = excluded.description, revision = excluded.revision,
                    extra = excluded.extra, share = excluded.share
                    """,
                arguments: [id, alias, number, previous, text, Self.newRevision(), extra?.version, extra?.share])
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
                arguments: [id, qualifier, try Self.encode(settings)])
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
