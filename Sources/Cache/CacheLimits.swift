package import Base

extension Limits {
    package static let cacheKeyBytesMax = 64 * 1024
    /// Lengths are kept in 32 bits; far above what `objectShare` lets into memory.
    package static let cacheValueBytesMax = 1 << 31
    /// An object is refused when it would take more than this part of the whole limit: 1/8 (reference C3).
    package static let cacheObjectShare = 8
    package static let cacheNamespacesMax = 256
    package static let cacheEntriesMax = 1 << 28
    package static let cacheTagsPerEntryMax = 64
    package static let cacheTagBytesMax = 1024
    /// Tags that no entry carries but a fill in flight may: above this many, a purge voids every fill instead.
    package static let cacheTagsWithoutEntriesMax = 4096
    /// Purges by prefix that the sweep has not finished; one more finishes the sweep at once.
    package static let cachePrefixRulesMax = 64
    /// Fills that run at the same time (semantic 7.1.9); beyond it a lookup is answered stale or refused.
    package static let cacheFlightsMax = 4096
    package static let cacheFollowersMax = 10_000
    /// How often a fill is handed to another leader before its followers are told that it failed.
    package static let cacheHandOversMax = 3
    /// Bytes of an unstorable stream that wait for its slowest follower; who lags more is cut off.
    package static let cacheFollowerLagMax = 1024 * 1024
    /// How long a key is remembered as not storable, so that nobody waits for a fill that cannot be shared (Varnish: 120 s).
    package static let cacheBypassTime = Span.seconds(120)
    /// The first pause after a failing refresh; doubled up to `cacheProbePauseMax` (reference D3).
    package static let cacheProbePause = Span.seconds(1)
    package static let cacheProbePauseMax = Span.seconds(60)
    /// Keys whose origin fails at the moment.
    package static let cacheFailingKeysMax = 10_000
    /// Second chances in one search for a victim; then the next in line goes although it was hit (reference C3).
    package static let cacheSecondChancesMax = 32
    /// Values that wait to be written to the second level; a newer one pushes the oldest out.
    package static let cacheSpillQueueMax = 65_536
    package static let cacheSpillValueBytesMax = 1024 * 1024
    /// Records that one step of a scan looks at, whatever count it was given: about 20 µs.
    package static let cacheScanLooksMin = 4096
    /// Removals that `explain` remembers.
    package static let cacheDeparturesMax = 4096
}
