package import Base

extension Limits {
    package static let cacheDatabases = 16
    /// Below it, CONFIG SET maxmemory leaves no room for an entry.
    package static let cacheMemoryMaxLeast = 4096
    /// What CONFIG SET maxmemory evicts at once; what is above still, the next writes evict.
    package static let cacheEvictionsAtOnceMax = 10_000
    /// What one reply may take (MGET and EXEC can name a value many times); a client whose reply would take more is cut.
    package static let cacheReplyBytesMax = 512 << 20
    /// Messages and invalidations that wait for a client (redis's client-output-buffer-limit for pubsub); above, it is cut.
    package static let cachePushBytesMax = 32 << 20
    /// Requests between MULTI and EXEC, and their bytes.
    package static let cacheQueuedRequestsMax = 100_000
    package static let cacheQueuedBytesMax = 64 << 20
    package static let cacheWatchedKeysMax = 100_000
    package static let cacheSubscriptionsMax = 100_000
    /// Keys that are remembered for clients that track them; beyond, one is forgotten and its clients are told that it has changed.
    package static let cacheTrackedKeysMax = 1_000_000
    package static let cacheTrackedPrefixesMax = 10_000
    /// Entries of the slow log, and how long and how many arguments of each are kept (redis's own figures).
    package static let cacheSlowLogMax = 128
    package static let cacheSlowLogArgumentsMax = 32
    package static let cacheSlowLogArgumentBytesMax = 128
    /// From the first byte of a command to its last, and a second more for so many bytes of it.
    package static let cacheCommandTimeout = Span.seconds(30)
    package static let cacheRequestBytesPerSecondMin = 64 << 10
    /// The longest that a client may take nothing of what it was sent.
    package static let cacheWriteTimeout = Span.seconds(60)
    /// A lifetime above it is taken for it: 500 years.
    package static let cacheLifetimeMillisecondsMax: Int64 = 500 * 365 * 86_400_000
}
