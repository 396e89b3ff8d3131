internal import Foundation
internal import GRDB

/// The functions as they lie on disk, read into a snapshot.
extension Catalog {
    // MARK: Snapshots

    static func decode<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// nil: there are none.
    static func text(of tags: [String: String]) throws -> String? { tags.isEmpty ? nil : try encode(tags) }

    static func weight(_ row: Row) -> VersionWeight? {
        guard let version: Int = row["extra"], let share: Double = row["share"] else { return nil }
        return VersionWeight(version: version, share: share)
    }

    static func version(_ row: Row) throws -> VersionEntry {
        VersionEntry(
            rowID: row["id"], number: row["number"], codeDigest: row["digest"], codeSize: row["code_size"],
            settings: try decode(FunctionSettings.self, row["settings"]),
            revisionID: row["revision"], lastModifiedMilliseconds: row["modified"],
            publishedDescription: row["description"])
    }

    static func version(_ db: Database, row id: Int64) throws -> VersionEntry? {
        try Row.fetchOne(db, sql: "SELECT * FROM versions WHERE id = ?", arguments: [id]).map(version)
    }

    /// The functions as they are on disk; one of them, or all.
    static func load(_ db: Database, only name: String? = nil) throws -> [FunctionEntry] {
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
                previous: row["previous"], weight: weight(row))
            aliases[row["function"], default: [:]][alias.name] = alias
        }
        var provisioned: [Int64: [String: Int]] = [:]
        for row in try rows("provisioned") { provisioned[row["function"], default: [:]][row["qualifier"]] = row["requested"] }
        var eventInvoke: [Int64: [String: EventInvokeSettings]] = [:]
        for row in try rows("event_invoke") {
            eventInvoke[row["function"], default: [:]][row["qualifier"]] = try decode(EventInvokeSettings.self, row["settings"])
        }
        var urls: [Int64: [String: URLSettings]] = [:]
        for row in try rows("url_configs") {
            urls[row["function"], default: [:]][row["qualifier"]] = try decode(URLSettings.self, row["settings"])
        }
        var impure: [Int64: Set<[UInt8]>] = [:]
        for row in try rows("impure") {
            let scope: Data = row["scope"]
            impure[row["function"], default: []].insert(Array(scope))
        }
        var policies: [Int64: [String: ResourcePolicy]] = [:]
        for row in try rows("policies") {
            policies[row["function"], default: [:]][row["qualifier"]] = ResourcePolicy(
                statements: try decode([PolicyStatement].self, row["statements"]), revisionID: row["revision"])
        }
        let functions =
            try name.map { try Row.fetchAll(db, sql: "SELECT * FROM functions WHERE name = ?", arguments: [$0]) }
            ?? Row.fetchAll(db, sql: "SELECT * FROM functions")
        return try functions.compactMap { row in
            let id: Int64 = row["id"]
            let latest: Int64 = row["latest"]
            guard let entry = versions[id]?.first(where: { $0.rowID == latest }) else { return nil }
            let numbered = (versions[id] ?? []).compactMap { version in version.number.map { ($0, version) } }
            return FunctionEntry(
                name: row["name"], latest: entry, latestRevisionID: row["latest_revision"],
                versions: Dictionary(numbered) { first, _ in first }, aliases: aliases[id] ?? [:],
                reserved: row["reserved"], provisioned: provisioned[id] ?? [:], createdMilliseconds: row["created"],
                eventInvoke: eventInvoke[id] ?? [:], urls: urls[id] ?? [:], policies: policies[id] ?? [:],
                tags: try (row["tags"] as String?).map { try decode([String: String].self, $0) } ?? [:],
                impureScopes: impure[id] ?? [])
        }
    }
}
