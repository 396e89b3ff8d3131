internal import Foundation
internal import GRDB

/// Function URLs, resource policies and tags.
extension Catalog {
    static func openURL(_ db: Database, _ function: Int64, at time: Int64) throws {
        let open = try OpenURL(at: time)
        try db.execute(
            sql: "INSERT INTO url_configs (function, qualifier, settings) VALUES (?, ?, ?)", arguments: [function, FunctionEntry.own, open.settings])
        try db.execute(
            sql: "INSERT INTO policies (function, qualifier, statements, revision) VALUES (?, ?, ?, ?)",
            arguments: [function, FunctionEntry.own, open.statements, newRevision()])
    }

    /// Sets or (nil) removes the function URL of an alias, or (`FunctionEntry.own`) the function's own. Throws `urlNotFound` when there is
    /// nothing to remove.
    package func setURL(_ settings: URLSettings?, of name: String, qualifier: String) throws(CatalogError) {
        try change(name) { db in
            let id: Int64 = try Self.function(db, name)["id"]
            guard let settings else {
                try db.execute(sql: "DELETE FROM url_configs WHERE function = ? AND qualifier = ?", arguments: [id, qualifier])
                guard db.changesCount == 1 else { throw CatalogError.urlNotFound }
                return
            }
            try db.execute(
                sql: "INSERT OR REPLACE INTO url_configs (function, qualifier, settings) VALUES (?, ?, ?)",
                arguments: [id, qualifier, try Self.encode(settings)])
        } then: { _, _ in
        }
    }

    /// Changes the statements for a version, an alias or (`FunctionEntry.own`) the function; none left is no policy.
    ///
    /// - Parameters:
    ///   - revision: of the policy, or while there is none, of what it is for; nil: whichever it is.
    ///   - edit: may throw; then nothing changes.
    package func editPolicy(
        of name: String, qualifier: String, revision: String?, _ edit: @Sendable (inout [PolicyStatement]) throws -> Void
    ) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            let id: Int64 = function["id"]
            let known = try Row.fetchOne(
                db, sql: "SELECT * FROM policies WHERE function = ? AND qualifier = ?", arguments: [id, qualifier])
            if let revision {
                let current: String? = try known.map { $0["revision"] } ?? Self.revision(of: qualifier, function, db)
                guard revision == current else { throw CatalogError.policyRevisionMismatch }
            }
            var statements = try known.map { try Self.decode([PolicyStatement].self, $0["statements"]) } ?? []
            try edit(&statements)
            guard !statements.isEmpty else {
                try db.execute(sql: "DELETE FROM policies WHERE function = ? AND qualifier = ?", arguments: [id, qualifier])
                return try Self.touch(db, id, qualifier)
            }
            let text = try Self.encode(statements)
            guard text.utf8.count <= Self.policyBytesMax else { throw CatalogError.policyTooLong(Self.policyBytesMax) }
            try db.execute(
                sql: "INSERT OR REPLACE INTO policies (function, qualifier, statements, revision) VALUES (?, ?, ?, ?)",
                arguments: [id, qualifier, text, Self.newRevision()])
            try Self.touch(db, id, qualifier)
        } then: { _, _ in
        }
    }

    /// Lambda's own figure (quotas: "Function resource-based policy").
    private static let policyBytesMax = 20 * 1024

    private static func revision(of qualifier: String, _ function: Row, _ db: Database) throws -> String? {
        if qualifier == FunctionEntry.own { return function["latest_revision"] }
        let id: Int64 = function["id"]
        let sql =
            Int(qualifier) == nil
            ? "SELECT revision FROM aliases WHERE function = ? AND name = ?" : "SELECT revision FROM versions WHERE function = ? AND number = ?"
        return try String.fetchOne(db, sql: sql, arguments: [id, qualifier])
    }

    /// A policy is part of what it is for: that has a new revision.
    private static func touch(_ db: Database, _ function: Int64, _ qualifier: String) throws {
        if qualifier == FunctionEntry.own { return try touch(db, function) }
        let sql =
            Int(qualifier) == nil
            ? "UPDATE aliases SET revision = ? WHERE function = ? AND name = ?" : "UPDATE versions SET revision = ? WHERE function = ? AND number = ?"
        try db.execute(sql: sql, arguments: [newRevision(), function, qualifier])
    }

    /// Changes the tags of a function; more than 50 are refused.
    package func editTags(of name: String, _ edit: @Sendable (inout [String: String]) -> Void) throws(CatalogError) {
        try change(name) { db in
            let function = try Self.function(db, name)
            var tags = try (function["tags"] as String?).map { try Self.decode([String: String].self, $0) } ?? [:]
            let before = tags
            edit(&tags)
            guard tags != before else { return }
            guard tags.count <= Self.tagsMax else { throw CatalogError.invalid("Number of tags exceeds resource tag limit.") }
            try db.execute(
                sql: "UPDATE functions SET tags = ? WHERE id = ?", arguments: [try Self.text(of: tags), function["id"] as Int64])
            try Self.touch(db, function["id"])
        } then: { _, _ in
        }
    }

    /// Lambda's own figure.
    package static let tagsMax = 50
}
