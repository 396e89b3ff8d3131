internal import Foundation
internal import GRDB
internal import Synchronization

/// An access key that `hearth keys` has made.
package struct AccessKeyEntry: Equatable, Sendable {
    /// Its user: one name, one key.
    package let name: String
    package let id: String
    package let secret: String
    /// JSON; nil: it may do nothing.
    package var policy: String?
    package var isEnabled = true
    /// Milliseconds since 1970.
    package let created: Int64

    package init(name: String, id: String, secret: String, policy: String?, created: Int64) {
        self.name = name
        self.id = id
        self.secret = secret
        self.policy = policy
        self.created = created
    }

    /// A user's name in IAM: 1 to 64 of letters, digits and `+=,.@_-`.
    package static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count) && name.utf8.allSatisfy { byte in
            let letter = byte | 0x20
            return (97...122).contains(letter) || (48...57).contains(byte) || "+=,.@_-".utf8.contains(byte)
        }
    }
}

/// The keys as all requests see them, and who hears of their changes.
struct AccessKeys: Sendable {
    var all: [AccessKeyEntry] = []
    var listener: (@Sendable ([AccessKeyEntry]) -> Void)?
}

extension Catalog {
    /// In the order of their names.
    package var accessKeys: [AccessKeyEntry] { keys.withLock { $0.all } }

    /// `listener` hears of each committed change, on the thread that made it.
    package func onKeysChange(_ listener: @escaping @Sendable ([AccessKeyEntry]) -> Void) {
        keys.withLock { $0.listener = listener }
    }

    package func addAccessKey(_ key: AccessKeyEntry) throws(CatalogError) {
        try changeKeys { db in
            let known = try Int.fetchOne(db, sql: "SELECT count(*) FROM access_keys WHERE name = ?", arguments: [key.name]) ?? 0
            guard known == 0 else { throw CatalogError.accessKeyExists(key.name) }
            try db.execute(
                sql: "INSERT INTO access_keys (name, id, secret, policy, enabled, created) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [key.name, key.id, key.secret, key.policy, key.isEnabled, key.created])
        }
    }

    package func setAccessKey(_ name: String, isEnabled: Bool) throws(CatalogError) {
        try changeKey(name, "UPDATE access_keys SET enabled = ? WHERE name = ?", [isEnabled, name])
    }

    package func setAccessKey(_ name: String, policy: String?) throws(CatalogError) {
        try changeKey(name, "UPDATE access_keys SET policy = ? WHERE name = ?", [policy, name])
    }

    package func removeAccessKey(_ name: String) throws(CatalogError) {
        try changeKey(name, "DELETE FROM access_keys WHERE name = ?", [name])
    }

    private func changeKey(_ name: String, _ sql: String, _ arguments: StatementArguments) throws(CatalogError) {
        try changeKeys { db in
            try db.execute(sql: sql, arguments: arguments)
            guard db.changesCount == 1 else { throw CatalogError.accessKeyNotFound(name) }
        }
    }

    private func changeKeys(_ body: @Sendable (Database) throws -> Void) throws(CatalogError) {
        do {
            // As with functions: lists are swapped in the order of their commits.
            try database.writeWithoutTransaction { db in
                try db.inTransaction(.immediate) {
                    try body(db)
                    return .commit
                }
                let all = try Self.loadKeys(db)
                let listener = keys.withLock { keys in
                    keys.all = all
                    return keys.listener
                }
                listener?(all)
            }
        } catch let error as CatalogError {
            throw error
        } catch {
            throw .storage("the catalogue cannot be written: \(error)")
        }
    }

    static func loadKeys(_ db: Database) throws -> [AccessKeyEntry] {
        try Row.fetchAll(db, sql: "SELECT * FROM access_keys ORDER BY name").map { row in
            var key = AccessKeyEntry(
                name: row["name"], id: row["id"], secret: row["secret"], policy: row["policy"], created: row["created"])
            key.isEnabled = row["enabled"]
            return key
        }
    }
}
