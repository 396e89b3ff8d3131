package import Cache

/// One metric of the shared cache: its label is the namespace. Metrics and documentation read this table.
package struct CacheMetricRow: Sendable {
    package let name: String
    package let kind: MetricRow.Kind
    package let help: String
    package let read: @Sendable (CacheCounters) -> Double

    private static func counter(_ name: String, _ help: String, _ read: @escaping @Sendable (CacheCounters) -> UInt64) -> CacheMetricRow {
        CacheMetricRow(name: name, kind: .counter, help: help) { Double(read($0)) }
    }

    package static let table: [CacheMetricRow] = [
        counter("hearth_cache_hits_total", "Lookups answered with a fresh entry.") { $0.hits },
        counter("hearth_cache_misses_total", "Lookups that found nothing to answer with.") { $0.misses },
        counter("hearth_cache_stale_total", "Lookups answered with an entry past its time.") { $0.stale },
        counter("hearth_cache_coalesced_total", "Lookups that waited for another's fill.") { $0.coalesced },
        counter("hearth_cache_bypassed_total", "Lookups of keys whose answers are not shared.") { $0.bypassed },
        counter("hearth_cache_refreshes_total", "Fills begun in the background.") { $0.refreshes },
        counter("hearth_cache_stored_total", "Entries stored, new ones and replacements.") { $0.stored },
        counter("hearth_cache_refused_total", "Values that were not stored: too large, no room, purged meanwhile.") { $0.refused },
        counter("hearth_cache_expired_total", "Entries removed because their time had passed.") { $0.expired },
        counter("hearth_cache_evicted_total", "Entries removed for space.") { $0.evicted },
        counter("hearth_cache_purged_total", "Entries removed by order.") { $0.purged },
        counter("hearth_cache_corrupt_total", "Entries dropped because their checksum was wrong.") { $0.corrupt },
        CacheMetricRow(name: "hearth_cache_entries", kind: .gauge, help: "Entries that a lookup could find.") { Double($0.entries) },
        CacheMetricRow(name: "hearth_cache_bytes", kind: .gauge, help: "Bytes of keys, values and their overhead.") { Double($0.bytes) },
    ]
}

/// The metrics of the cache's second level; without labels, and without samples when there is none.
package struct SecondLevelMetricRow: Sendable {
    package let name: String
    package let kind: MetricRow.Kind
    package let help: String
    package let read: @Sendable (SecondLevelCounters) -> Double

    private init(_ name: String, _ kind: MetricRow.Kind, _ help: String, _ read: @escaping @Sendable (SecondLevelCounters) -> Double) {
        self.name = name
        self.kind = kind
        self.help = help
        self.read = read
    }

    package static let table: [SecondLevelMetricRow] = [
        .init("hearth_cache_disk_hits_total", .counter, "Lookups that the disk answered.") { Double($0.hits) },
        .init("hearth_cache_disk_misses_total", .counter, "Lookups that the disk was asked for in vain.") { Double($0.misses) },
        .init("hearth_cache_disk_stored_total", .counter, "Entries written to disk.") { Double($0.stored) },
        .init("hearth_cache_disk_lost_total", .counter, "Entries that the disk could not take.") { Double($0.lost) },
        .init("hearth_cache_disk_expired_total", .counter, "Entries swept from disk because their time had passed.") { Double($0.expired) },
        .init("hearth_cache_disk_evicted_total", .counter, "Entries removed from disk for space.") { Double($0.evicted) },
        .init("hearth_cache_disk_purged_total", .counter, "Entries swept from disk by order.") { Double($0.purged) },
        .init("hearth_cache_disk_corrupt_total", .counter, "Entries on disk whose checksum was wrong.") { Double($0.corrupt) },
        .init("hearth_cache_disk_entries", .gauge, "Entries on disk.") { Double($0.entries) },
        .init("hearth_cache_disk_bytes", .gauge, "Bytes of the entries on disk.") { Double($0.bytes) },
        .init("hearth_cache_disk_file_bytes", .gauge, "Bytes of cache.sqlite.") { Double($0.fileBytes) },
        .init("hearth_cache_disk_paused", .gauge, "1 while the disk takes nothing.") { $0.isPaused ? 1 : 0 },
    ]
}

/// One metric of a cached route: its labels are the function and the route's path.
package struct RouteMetricRow: Sendable {
    package let name: String
    package let help: String
    package let read: @Sendable (RouteCounts) -> UInt64

    /// All are counters; the names of API Gateway's are CacheHitCount and CacheMissCount (7.3.32).
    package static let table: [RouteMetricRow] = [
        RouteMetricRow(name: "hearth_route_cache_hits_total", help: "Requests of a route answered without a run of their own.") { $0.hits },
        RouteMetricRow(name: "hearth_route_cache_misses_total", help: "Requests of a route for which its function ran.") { $0.misses },
    ]
}
