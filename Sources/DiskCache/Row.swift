import Base
import Cache

/// An entry as the file holds it. Times are of the `LifeClock`.
struct Row: @unchecked Sendable {
    static let forever = UInt64(Int64.max)
    /// What a row takes beside its key, tags and value: its other columns, twice its hash, its share of pages that are not full.
    private static let overhead = 120

    var hash: UInt64
    var sequence: UInt64
    var namespace: Int64
    /// When the value was made.
    var storedAt: UInt64
    /// `forever` has no end.
    var freshUntil: UInt64
    var staleWhileRevalidate: UInt64
    var staleIfError: UInt64
    var keep: UInt64
    var weight: Float
    var frequency: UInt8
    var tags: [UInt8]
    /// Bytes in memory that somebody keeps: the entry's pin, or the array of a row that was read.
    var key: UnsafeRawBufferPointer
    var value: UnsafeRawBufferPointer

    var bytes: Int { Self.overhead + key.count + tags.count + value.count }
    var checksum: UInt64 { Self.checksum(tags: tags, value: value, hash: hash) }

    static func checksum(tags: [UInt8], value: UnsafeRawBufferPointer, hash: UInt64) -> UInt64 {
        tags.withUnsafeBytes { ByteHash.hash($0, seed: Checksum.of(value, seed: hash)) }
    }

    init(_ record: SecondLevelRecord, hash: UInt64, sequence: UInt64, namespace: Int64, at life: UInt64) {
        let policy = record.policy
        self.hash = hash
        self.sequence = sequence
        self.namespace = namespace
        storedAt = life - min(life, policy.age.wholeMilliseconds)
        if case .ttl(let span) = policy.lifetime { freshUntil = life + span.wholeMilliseconds } else { freshUntil = Self.forever }
        staleWhileRevalidate = policy.staleWhileRevalidate.wholeMilliseconds
        staleIfError = policy.staleIfError.wholeMilliseconds
        keep = policy.keep.wholeMilliseconds
        weight = policy.weight
        frequency = policy.frequency
        tags = PackedTags.pack(record.tags)
        key = record.key
        value = record.value
    }

    /// With no key and no value yet.
    init(hash: UInt64, columns row: Statement) {
        self.hash = hash
        sequence = UInt64(bitPattern: row.integer(0))
        namespace = row.integer(1)
        storedAt = UInt64(bitPattern: row.integer(2))
        freshUntil = UInt64(bitPattern: row.integer(3))
        staleWhileRevalidate = UInt64(bitPattern: row.integer(4))
        staleIfError = UInt64(bitPattern: row.integer(5))
        keep = UInt64(bitPattern: row.integer(6))
        weight = Float(row.real(7))
        frequency = UInt8(clamping: row.integer(8))
        tags = Array(row.bytes(9))
        key = UnsafeRawBufferPointer(start: nil, count: 0)
        value = key
    }

    /// How it may be served from `life` on; nil when its time is over.
    func policy(at life: UInt64) -> StorePolicy? {
        guard freshUntil > life else { return nil }
        var policy = StorePolicy(freshUntil == Self.forever ? .forever : .ttl(.milliseconds(freshUntil - life)))
        policy.staleWhileRevalidate = .milliseconds(staleWhileRevalidate)
        policy.staleIfError = .milliseconds(staleIfError)
        policy.keep = .milliseconds(keep)
        policy.weight = weight
        policy.age = .milliseconds(life - min(life, storedAt))
        policy.frequency = frequency
        return policy
    }
}

/// A row that was read: with bytes of its own.
struct FoundRow: Sendable {
    var row: Row
    let key: [UInt8]
    let value: [UInt8]
    /// Its checksum does not hold.
    let isCorrupt: Bool
}

/// What one transaction changes.
struct Batch: Sendable {
    var rows: [Row] = []
    var removals: [UInt64] = []
    /// How often rows were read since the last batch.
    var uses: [UInt64: Int] = [:]
    var purges: [PurgeLedger.Entry] = []
    var namespaces: [FileContents.Namespace] = []
    /// All purges that hold now.
    var ledger = PurgeLedger()
    var sequence: UInt64 = 0
    var run: Int64
    var stamp: LifeClock.Stamp
    /// On disk before it is acknowledged, so that it survives a power failure too.
    var isSynced = false

    var bytes: Int { rows.reduce(0) { $0 + $1.bytes } }
    /// It says of something that is on disk that it holds no more.
    var takesBack: Bool { !removals.isEmpty || !purges.isEmpty }
}

/// What a transaction has changed.
struct Outcome: Sendable {
    /// Hashes that the file did not hold before.
    var added: [UInt64] = []
    var removed: [UInt64] = []
    var expired = 0
    var purged = 0
    var evicted = 0
    /// The sum of all rows' bytes, and what the file takes.
    var rowBytes = 0
    var fileBytes = 0
    /// The sweep has been everywhere since this purge.
    var settled: UInt64?
    /// There is more to sweep or to evict: call again.
    var isOwed = false
}

/// What the file says about itself when it is opened.
struct FileContents: Sendable {
    struct Namespace: Sendable {
        let row: Int64
        let name: String
        /// The last run of the server that used it.
        var run: Int64
    }

    var seed: UInt64
    var sequence: UInt64
    var run: Int64
    var stamp: LifeClock.Stamp?
    var namespaces: [Namespace] = []
    var purges: [PurgeLedger.Entry] = []
}

/// What one walk over all rows has found.
struct Inventory: Sendable {
    var members = Membership()
    var rowBytes = 0
    /// The most worthwhile, those that are worth most at the end.
    var best: [UInt64] = []
}
