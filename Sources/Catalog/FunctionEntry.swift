/// What a qualifier stands for.
package struct Resolution: Sendable {
    package let version: VersionEntry
    /// `$LATEST` or the number, as the answer names it.
    package let executedVersion: String
    /// As requested; nil when nothing was.
    package let qualifier: String?
}

/// One function at one commit: versions, aliases and all that is set for them.
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
    /// Function URLs by alias; `$LATEST`: the function's own.
    package let urls: [String: URLSettings]
    /// Codes and configurations that an audit has found impure, as `Catalog.setImpure` was given them.
    package let impureScopes: Set<[UInt8]>
    /// Resource policies by version or alias; `$LATEST`: the function's own.
    package let policies: [String: ResourcePolicy]
    package let tags: [String: String]
    /// What the front listener serves, but for weights: the alias `live` if there is one, else `$LATEST`.
    package let front: Resolution
    /// The function URL that `front` is reached by; nil: none.
    package let frontURL: FunctionURL?
    /// By alias, of those with weights.
    private let splits: [String: Split]
    private let frontSplit: Split?

    private struct Split: Sendable {
        let share: Double
        let extra: Resolution

        func isExtra(_ draw: UInt64) -> Bool { Double(draw >> 11) * 0x1p-53 < share }
    }

    init(
        name: String, latest: VersionEntry, latestRevisionID: String, versions: [Int: VersionEntry],
        aliases: [String: AliasEntry], reserved: Int?, provisioned: [String: Int], createdMilliseconds: Int64,
        eventInvoke: [String: EventInvokeSettings] = [:], urls: [String: URLSettings] = [:],
        policies: [String: ResourcePolicy] = [:], tags: [String: String] = [:], impureScopes: Set<[UInt8]> = []
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
        self.urls = urls
        self.policies = policies
        self.impureScopes = impureScopes
        self.tags = tags
        let live = Self.resolve(Self.liveAlias, latest, versions, aliases)
        front = live ?? Resolution(version: latest, executedVersion: "$LATEST", qualifier: nil)
        splits = aliases.compactMapValues { alias in
            guard let weight = alias.weight, let version = versions[weight.version] else { return nil }
            let extra = Resolution(version: version, executedVersion: String(weight.version), qualifier: alias.name)
            return Split(share: weight.share, extra: extra)
        }
        frontSplit = splits[Self.liveAlias]
        // What is set for `live` holds at the function's own address too, unless that has settings of its own.
        let key = urls[Self.own] == nil && live != nil ? Self.liveAlias : Self.own
        frontURL = urls[key].map { FunctionURL($0, policies[key]) }
    }

    /// The alias that `hearth deploy` moves and that the front listener serves.
    package static let liveAlias = "live"
    /// The key of what is set for the function itself, not for a version or alias.
    package static let own = "$LATEST"

    /// `$LATEST` and all published versions, each row once.
    package var allVersions: [VersionEntry] {
        versions.values.sorted { $0.rowID < $1.rowID } + (latest.number == nil ? [latest] : [])
    }

    /// The version behind a qualifier (`$LATEST`, a number or an alias; nil is `$LATEST`), or nil. Of an alias with weights: the one
    /// that it names first.
    package func resolve(qualifier: String?) -> Resolution? { Self.resolve(qualifier, latest, versions, aliases) }

    /// The version that serves one invocation. - Parameter draw: 64 random bits, asked for when an alias has weights.
    package func resolve(qualifier: String?, draw: @autoclosure () -> UInt64) -> Resolution? {
        if let qualifier, !splits.isEmpty, let split = splits[qualifier], split.isExtra(draw()) { return split.extra }
        return resolve(qualifier: qualifier)
    }

    /// `front` with its weights, for one invocation.
    @inline(__always) package func front(draw: @autoclosure () -> UInt64) -> Resolution {
        if let frontSplit, frontSplit.isExtra(draw()) { return frontSplit.extra }
        return front
    }

    /// The function URL of an alias; nil: there is none, or the alias is gone.
    package func url(ofAlias alias: String) -> FunctionURL? {
        guard aliases[alias] != nil else { return nil }
        return urls[alias].map { FunctionURL($0, policies[alias]) }
    }

    /// May somebody who is not the owner do this with the function, or with the version or alias that `qualifier` names?
    package func permits(_ question: AccessQuestion, qualifier: String? = nil) -> Bool {
        policies[qualifier ?? Self.own]?.permits(question) == true
    }

    /// The workers that the provisioned concurrency of a qualifier keeps, by version: an alias with weights shares its number out by
    /// them, one each at least.
    package func provisionedShares(of qualifier: String) -> [(version: VersionEntry, count: Int)] {
        guard let requested = provisioned[qualifier], let version = resolve(qualifier: qualifier)?.version else { return [] }
        guard let split = splits[qualifier], requested > 1, split.extra.version.rowID != version.rowID else {
            return [(version, requested)]
        }
        let extra = min(requested - 1, max(1, Int((Double(requested) * split.share).rounded())))
        return [(version, requested - extra), (split.extra.version, extra)]
    }

    private static func resolve(
        _ qualifier: String?, _ latest: VersionEntry, _ versions: [Int: VersionEntry], _ aliases: [String: AliasEntry]
    ) -> Resolution? {
        guard let qualifier, qualifier != "$LATEST" else {
            return Resolution(version: latest, executedVersion: "$LATEST", qualifier: qualifier)
        }
        guard let number = Int(qualifier) ?? aliases[qualifier]?.version else { return nil }
        if number == AliasEntry.latest, aliases[qualifier] != nil {
            return Resolution(version: latest, executedVersion: "$LATEST", qualifier: qualifier)
        }
        guard let version = versions[number] else { return nil }
        return Resolution(version: version, executedVersion: String(number), qualifier: qualifier)
    }
}
