package import Base

/// One use of the cache: memo, edge, data, route… Keys of different namespaces never meet.
package struct NamespaceID: Hashable, Sendable {
    package let rawValue: UInt16

    init(_ index: Int) { rawValue = UInt16(index) }
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    var index: Int { Int(rawValue) }
}

package struct NamespaceSettings: Sendable {
    package var name: String
    /// Bytes that other namespaces cannot take from it (to within one object); the floors together must fit into the limit.
    package var floorBytes = 0
    /// Bytes that it cannot exceed.
    package var ceilingBytes = Int.max
    /// False: entries leave only by expiry and by order, and what does not fit is refused (redis's `noeviction`, semantic 7.5.45).
    package var evicts = true
    /// A lifetime is shortened or lengthened by up to this fraction, so that what was stored together does not expire together.
    package var jitter = 0.0
    /// β of XFetch: above 0, a fresh entry is refreshed ahead of its end, the earlier the more it cost (reference D3); 1 is the paper's.
    package var refreshAhead = 0.0
    /// The lifetime of negative entries; nil: they are not stored (7.4.38). Reference D3 advises at most 60 s.
    package var negativeTTL: Span?
    /// Entries whose miss costs at least this many milliseconds are offered to the second level; nil: this namespace has none. (To pause
    /// it, infinity: what is below must still learn of writes and purges.)
    package var spillWeightMin: Float?

    package init(name: String) { self.name = name }
}

/// What happened in a namespace since the start.
package struct CacheCounters: Equatable, Sendable {
    package var hits: UInt64 = 0
    package var misses: UInt64 = 0
    /// Served after their freshness, while being refreshed or while the origin failed.
    package var stale: UInt64 = 0
    /// Lookups that waited for another's fill.
    package var coalesced: UInt64 = 0
    package var stored: UInt64 = 0
    /// Not stored: too large, no room, no lifetime, purged while in flight.
    package var refused: UInt64 = 0
    package var expired: UInt64 = 0
    package var evicted: UInt64 = 0
    package var purged: UInt64 = 0
    package var corrupt: UInt64 = 0
    /// Background refreshes begun, ahead of the end or after it.
    package var refreshes: UInt64 = 0
    /// Lookups of keys that are remembered as not shareable.
    package var bypassed: UInt64 = 0
    /// Values that were pushed out of the queue to the second level.
    package var spillsLost: UInt64 = 0
    /// Bytes accounted to entries, those included that are purged and not swept yet.
    package var bytes = 0
    /// Entries that a lookup could find.
    package var entries = 0
    /// Entries in memory that have an end.
    package var expiring = 0

    package init() {}
}

/// A namespace as the store keeps it.
struct Space {
    var settings: NamespaceSettings
    var counters = CacheCounters()
    /// Entries that a purge of the whole namespace has condemned and that are still in memory.
    var condemned = 0
    var flights = 0
}

/// Why the cache's configuration was refused.
package enum CacheError: Error, Equatable, CustomStringConvertible {
    case floorsExceedLimit(floors: Int, limit: Int)
    case tooManyNamespaces(Int)
    case ceilingBelowFloor(String)

    package var description: String {
        switch self {
        case .floorsExceedLimit(let floors, let limit):
            "the floors of the cache's namespaces add up to \(floors) bytes, above the limit of \(limit): lower a floor or raise the limit"
        case .tooManyNamespaces(let most): "the cache already has \(most) namespaces, which is the most it can have"
        case .ceilingBelowFloor(let name): "namespace \(name) of the cache has a ceiling below its floor: raise the ceiling"
        }
    }
}
