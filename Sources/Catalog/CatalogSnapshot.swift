/// One version: an immutable pair of code and settings, known by its row.
///
/// `$LATEST`, version 3 and alias `live` are names; when they name the same row they share one pool of workers.
package final class VersionEntry: Sendable {
    package let rowID: Int64
    /// nil: never published.
    package let number: Int?
    /// Base64 of the SHA-256 of the package, as Lambda's `CodeSha256`.
    package let codeDigest: String
    package let codeSize: Int
    package let settings: FunctionSettings
    package let revisionID: String
    package let lastModifiedMilliseconds: Int64
    /// Description given at publication.
    package let publishedDescription: String?

    init(
        rowID: Int64, number: Int?, codeDigest: String, codeSize: Int, settings: FunctionSettings, revisionID: String,
        lastModifiedMilliseconds: Int64, publishedDescription: String?
    ) {
        self.rowID = rowID
        self.number = number
        self.codeDigest = codeDigest
        self.codeSize = codeSize
        self.settings = settings
        self.revisionID = revisionID
        self.lastModifiedMilliseconds = lastModifiedMilliseconds
        self.publishedDescription = publishedDescription
    }
}

package struct AliasEntry: Equatable, Sendable {
    package let name: String
    package let version: Int
    package let description: String
    package let revisionID: String
    /// The version that it pointed to before, if it has moved.
    package let previous: Int?
}

/// How asynchronous invocations of a function, or of one of its versions or aliases, are tried again and where their outcomes go.
package struct EventInvokeSettings: Codable, Equatable, Sendable {
    /// 0…2; nil: Lambda's default, 2.
    package var retries: Int?
    /// Seconds, 60…21,600; nil: 21,600.
    package var ageMax: Int?
    /// ARN of a function, a bucket or a log group.
    package var onSuccess: String?
    package var onFailure: String?
    /// Milliseconds since 1970.
    package var modified: Int64 = 0

    package init() {}
}

/// What a qualifier stands for.
package struct Resolution: Sendable {
    package let version: VersionEntry
    /// `$LATEST` or the number, as the answer names it.
    package let executedVersion: String
    /// As requested; nil when nothing was.
    package let qualifier: String?
}

package final class FunctionEntry: Sendable {
    package let name: String
    package let nameBytes: [UInt8]
    package let latest: VersionEntry
    package let latestRevisionID: String
    package let versions: [Int: VersionEntry]
    package let aliases: [String: AliasEntry]
    package let reserved: Int?
    /// Requested provisioned concurrency by qualifier.
    package let provisioned: [String: Int]
    package let createdMilliseconds: Int64
    /// By qualifier, `$LATEST` included.
    package let eventInvoke: [String: EventInvokeSettings]
    /// Codes and configurations that an audit has found impure, as `Catalog.setImpure` was given them.
    package let impureScopes: Set<[UInt8]>
    /// What the front listener serves: the alias `live` if there is one, else `$LATEST`.
    package let front: Resolution

    init(
        name: String, latest: VersionEntry, latestRevisionID: String, versions: [Int: VersionEntry],
        aliases: [String: AliasEntry], reserved: Int?, provisioned: [String: Int], createdMilliseconds: Int64,
        eventInvoke: [String: EventInvokeSettings] = [:], impureScopes: Set<[UInt8]> = []
    ) {
        self.name = name
        nameBytes = Array(name.utf8)
        self.latest = latest
        self.latestRevisionID = latestRevisionID
        self.versions = versions
        self.aliases = aliases
        self.reserved = reserved
        self.provisioned = provisioned
        self.createdMilliseconds = createdMilliseconds
        self.eventInvoke = eventInvoke
        self.impureScopes = impureScopes
        front =
            Self.resolve(Self.liveAlias, latest, versions, aliases)
            ?? Resolution(version: latest, executedVersion: "$LATEST", qualifier: nil)
    }

    /// The alias that `hearth deploy` moves and that the front listener serves.
    package static let liveAlias = "live"

    /// `$LATEST` and all published versions, each row once.
    package var allVersions: [VersionEntry] {
        versions.values.sorted { $0.rowID < $1.rowID } + (latest.number == nil ? [latest] : [])
    }

    /// The version behind a qualifier (`$LATEST`, a number or an alias; nil is `$LATEST`), or nil.
    package func resolve(qualifier: String?) -> Resolution? { Self.resolve(qualifier, latest, versions, aliases) }

    private static func resolve(
        _ qualifier: String?, _ latest: VersionEntry, _ versions: [Int: VersionEntry], _ aliases: [String: AliasEntry]
    ) -> Resolution? {
        guard let qualifier, qualifier != "$LATEST" else {
            return Resolution(version: latest, executedVersion: "$LATEST", qualifier: qualifier)
        }
        guard let number = Int(qualifier) ?? aliases[qualifier]?.version, let version = versions[number] else { return nil }
        return Resolution(version: version, executedVersion: String(number), qualifier: qualifier)
    }
}

/// The whole catalogue at one commit, immutable: what requests are resolved against.
package final class CatalogSnapshot: Sendable {
    /// In order of their names.
    package let functions: [FunctionEntry]
    /// Open addressing over a hash of the name's bytes: -1 is empty, else an index in `functions`.
    private let table: [Int32]
    private let mask: Int

    init(functions: [FunctionEntry]) {
        self.functions = functions.sorted { $0.name < $1.name }
        var size = 16
        while size < functions.count * 4 { size *= 2 }
        mask = size - 1
        var table = [Int32](repeating: -1, count: size)
        for (index, function) in self.functions.enumerated() {
            var slot = function.nameBytes.withUnsafeBytes { Self.hash($0) } & mask
            while table[slot] >= 0 { slot = (slot + 1) & mask }
            table[slot] = Int32(index)
        }
        self.table = table
    }

    /// The catalogue after one function has changed, come or (nil) gone.
    func replacing(_ name: String, with function: FunctionEntry?) -> CatalogSnapshot {
        CatalogSnapshot(functions: functions.filter { $0.name != name } + (function.map { [$0] } ?? []))
    }

    /// Nothing: what a node knows before it has read its catalogue.
    package static let empty = CatalogSnapshot(functions: [])

    /// The functions that differ between two states of the catalogue: what each was (nil: it was not there) and is.
    package func changes(since before: CatalogSnapshot) -> [(old: FunctionEntry?, new: FunctionEntry?)] {
        var changes: [(old: FunctionEntry?, new: FunctionEntry?)] = []
        var olds = before.functions[...]
        for new in functions {
            while let old = olds.first, old !== new, old.name < new.name { changes.append((olds.removeFirst(), nil)) }
            let old = olds.first.flatMap { $0 === new || $0.name == new.name ? $0 : nil }
            if old != nil { olds.removeFirst() }
            if old !== new { changes.append((old, new)) }
        }
        return changes + olds.map { ($0, nil) }
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int(truncatingIfNeeded: (hash ^ hash >> 32) & 0x7FFF_FFFF)
    }

    /// The function of this name, without making a string of it.
    package func function(named name: UnsafeRawBufferPointer) -> FunctionEntry? {
        guard name.count <= 64 else { return nil }
        var slot = Self.hash(name) & mask
        while table[slot] >= 0 {
            let function = functions[Int(table[slot])]
            if function.nameBytes.count == name.count, function.nameBytes.elementsEqual(name) { return function }
            slot = (slot + 1) & mask
        }
        return nil
    }

    package func function(named name: String) -> FunctionEntry? {
        var name = name
        return name.withUTF8 { function(named: UnsafeRawBufferPointer($0)) }
    }
}
