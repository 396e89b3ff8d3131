package import Base

extension Limits {
    /// Pages of the file: 16 KiB, as values of 1 KiB are most (performance reference, section 4).
    static let diskPageBytes = 16 * 1024
    /// One transaction holds at most this much; the rest waits for the next.
    static let diskBatchBytesMax = 4 << 20
    static let diskBatchEntriesMax = 1024
    /// Values that wait for the disk stay in memory until they are there; what comes beyond is lost.
    static let diskWaitingBytesMax = 32 << 20
    /// Orders of removal that wait for the disk, while it does not take them; then the whole file goes.
    static let diskWaitingRemovalsMax = 65_536
    /// Keys in one hop to the thread that reads.
    static let diskReadsMax = 256
    static let diskReadBytesMax = 8 << 20
    /// A warm start fills this part of the memory: 1/2. The rest is for what is asked for.
    package static let diskWarmShare = 2
    /// One page of a warm start: little enough to be stored in one turn of the loop.
    static let diskWarmRows = 64
    static let diskWarmBytes = 128 << 10
    /// Lookups that wait for the disk; the next is a miss.
    static let diskAskedMax = 8192
    /// After this much of it the write-ahead log is moved into the file.
    static let diskLogBytes = 4 << 20
    /// After an error of the disk it is left alone for this long.
    static let diskPause = Span.seconds(30)
    /// Purges by tag that no sweep has finished; one more purges everything.
    static let diskTagPurgesMax = 65_536
    /// Purges by prefix that no sweep has finished; one more purges its namespace.
    static let diskPrefixPurgesMax = 64
    /// Rows that one step of the sweep visits.
    static let diskSweepRows = 1024
    /// Rows among which those worth least are evicted.
    static let diskSampleRows = 256
    /// So many are written at once; fewer wait for more, this long.
    package static let diskWriteCount = 128
    package static let diskWriteDelay = Span.milliseconds(100)
}
