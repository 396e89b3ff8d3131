internal import Foundation
internal import GRDB

/// A layer that a version has, as it was when it was attached: it stays usable when the layer's version is deleted.
package struct LayerReference: Codable, Equatable, Sendable {
    package let arn: String
    package let digest: String
    package let size: Int
    /// Bytes of its files.
    package let unzipped: Int

    package init(arn: String, digest: String, size: Int, unzipped: Int) {
        self.arn = arn
        self.digest = digest
        self.size = size
        self.unzipped = unzipped
    }
}

/// What is said of a layer's version beside its files.
package struct LayerSettings: Codable, Equatable, Sendable {
    package var description: String?
    package var license: String?
    package var runtimes: [String]?
    package var architectures: [String]?
    /// Bytes of its files.
    package var unzipped = 0

    package init() {}
}

package struct LayerVersion: Equatable, Sendable {
    package let layer: String
    package let number: Int
    package let digest: String
    package let size: Int
    package let settings: LayerSettings
    package let createdMilliseconds: Int64
    package let policy: ResourcePolicy?
}

/// Layers: numbered packages that versions of functions share. Read from the disk at each call: only the control plane asks.
extension Catalog {
    package func publishLayer(_ layer: String, zip: [UInt8], settings: LayerSettings, at time: Int64) throws(CatalogError) -> LayerVersion {
        try write { db in
            try db.execute(sql: "INSERT INTO layers (name) VALUES (?) ON CONFLICT DO NOTHING", arguments: [layer])
            try db.execute(sql: "UPDATE layers SET last_number = last_number + 1 WHERE name = ?", arguments: [layer])
            guard let row = try Row.fetchOne(db, sql: "SELECT * FROM layers WHERE name = ?", arguments: [layer]) else {
                throw CatalogError.storage("the layer \(layer) was not kept")
            }
            let number: Int = row["last_number"]
            let digest = try Self.store(zip, db)
            try db.execute(
                sql: "INSERT INTO layer_versions (layer, number, digest, size, settings, created) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [row["id"] as Int64, number, digest, zip.count, try Self.encode(settings), time])
            return LayerVersion(
                layer: layer, number: number, digest: digest, size: zip.count, settings: settings, createdMilliseconds: time, policy: nil)
        }
    }

    /// All versions of one layer, or of all, in order of name and number.
    package func layerVersions(of layer: String? = nil) throws(CatalogError) -> [LayerVersion] {
        try run { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT layers.name, layer_versions.* FROM layer_versions JOIN layers ON layers.id = layer_versions.layer
                    WHERE ? IS NULL OR layers.name = ? ORDER BY layers.name, layer_versions.number
                    """, arguments: [layer, layer])
            return try rows.map(Self.layerVersion)
        }
    }

    package func layerVersion(_ layer: String, _ number: Int) throws(CatalogError) -> LayerVersion? {
        try layerVersions(of: layer).first { $0.number == number }
    }

    /// Versions of functions that have it keep it. What is not there is no error.
    package func deleteLayerVersion(_ layer: String, _ number: Int) throws(CatalogError) {
        try write { db in
            try db.execute(
                sql: "DELETE FROM layer_versions WHERE number = ? AND layer = (SELECT id FROM layers WHERE name = ?)",
                arguments: [number, layer])
            try Self.collectGarbage(db)
        }
    }

    /// Changes the statements of a layer's version; nil revision: whichever it is.
    package func editLayerPolicy(
        _ layer: String, _ number: Int, revision: String?, _ edit: @Sendable (inout [PolicyStatement]) throws -> Void
    ) throws(CatalogError) -> String {
        try write { db in
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT layer_versions.* FROM layer_versions JOIN layers ON layers.id = layer_versions.layer
                    WHERE layers.name = ? AND number = ?
                    """, arguments: [layer, number])
            guard let row else { throw CatalogError.layerNotFound(layer, number) }
            let text: String? = row["statements"]
            var statements = try text.map { try Self.decode([PolicyStatement].self, $0) } ?? []
            let current: String? = row["revision"]
            if let revision, revision != current { throw CatalogError.layerRevisionMismatch }
            try edit(&statements)
            let new = Self.newRevision()
            try db.execute(
                sql: "UPDATE layer_versions SET statements = ?, revision = ? WHERE layer = ? AND number = ?",
                arguments: [statements.isEmpty ? nil : try Self.encode(statements), new, row["layer"] as Int64, number])
            return new
        }
    }

    private static func layerVersion(_ row: Row) throws -> LayerVersion {
        let statements: String? = row["statements"]
        return LayerVersion(
            layer: row["name"], number: row["number"], digest: row["digest"], size: row["size"],
            settings: try decode(LayerSettings.self, row["settings"]), createdMilliseconds: row["created"],
            policy: try statements.map {
                ResourcePolicy(statements: try decode([PolicyStatement].self, $0), revisionID: row["revision"] ?? "")
            })
    }

    /// Digests of all packages of layers that are in use, deleted versions' included.
    package func layerDigests() throws(CatalogError) -> Set<String> {
        try run { db in
            Set(try String.fetchAll(db, sql: "SELECT digest FROM layer_versions UNION SELECT digest FROM version_layers"))
        }
    }

    private func write<T: Sendable>(_ body: @Sendable (Database) throws -> T) throws(CatalogError) -> T {
        do { return try database.write(body) } catch let error as CatalogError { throw error } catch {
            throw .storage("the catalogue cannot be written: \(error)")
        }
    }
}
