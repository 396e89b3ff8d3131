import Base

/// An entry on its way to or from the second level (SQLite, Valkey): everything but the place in memory.
///
/// Times are relative to the moment at which the record was made; who stores it longer turns them into wall-clock time and gives back what
/// is left (never more: on a clock that jumped, nothing may live longer).
package struct SecondLevelRecord {
    package let namespace: NamespaceID
    package let pinned: PinnedValue
    package let tags: [[UInt8]]
    /// With the lifetime that is left, the age and the frequency at this moment.
    package let policy: StorePolicy

    package var key: UnsafeRawBufferPointer { pinned.key }
    package var value: UnsafeRawBufferPointer { pinned.value }
}

/// What the second level found.
package struct SecondLevelValue {
    package let value: [UInt8]
    package let tags: [[UInt8]]
    /// With the lifetime that is left.
    package let policy: StorePolicy

    package init(value: [UInt8], tags: [[UInt8]], policy: StorePolicy) {
        self.value = value
        self.tags = tags
        self.policy = policy
    }
}

package enum SecondLevelPurge: Sendable {
    case key([UInt8], NamespaceID)
    case prefix([UInt8], NamespaceID)
    case tag([UInt8])
    case namespace(NamespaceID)
}

/// What has happened in a second level since the start, and what it holds.
package struct SecondLevelCounters: Equatable, Sendable {
    package var hits: UInt64 = 0
    package var misses: UInt64 = 0
    package var stored: UInt64 = 0
    /// Not stored: it could not take them.
    package var lost: UInt64 = 0
    package var evicted: UInt64 = 0
    package var expired: UInt64 = 0
    package var purged: UInt64 = 0
    package var corrupt: UInt64 = 0
    package var entries = 0
    /// The sum of the entries, and what they take on disk.
    package var bytes = 0
    package var fileBytes = 0
    /// It does not take anything at the moment.
    package var isPaused = false

    package init() {}
}

/// A slower, larger store below the cache.
///
/// Rules for who implements it: calls come from the loop's thread and return at once; answers come on the loop's thread. What is asked
/// after a purge must not find what was stored before it, so calls take effect in their order. It may lose anything at any time,
/// and must never invent: a value whose checksum is wrong is not found.
package protocol SecondLevel: AnyObject {
    /// False: it surely has nothing of this key. Cheap, and right for what was put or purged up to now.
    func mayHold(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID) -> Bool
    /// The values of these keys in the same order, nil where there is none.
    func get(_ keys: [[UInt8]], in namespace: NamespaceID, answer: @escaping ([SecondLevelValue?]) -> Void)
    /// Stores a batch; `done` says whether it is on disk. Write-behind passes nil.
    func put(_ records: [SecondLevelRecord], done: ((Bool) -> Void)?)
    /// Hard: removed. Soft: what it means is stale from now on, or removed.
    func purge(_ purge: SecondLevelPurge, soft: Bool)
    /// Calls `done` when all that has been put and purged up to now is on disk; false: some of it is not.
    func saved(_ done: @escaping (Bool) -> Void)
    var counters: SecondLevelCounters { get }
}

/// Entries that wait to be offered to the second level, oldest first; bounded, and the oldest goes when it is full.
struct SpillQueue {
    private var entries: [EntryID] = []
    private var start = 0

    var count: Int { entries.count - start }

    /// False: the queue was full and the oldest has gone.
    mutating func append(_ id: EntryID) -> Bool {
        entries.append(id)
        guard count > Limits.cacheSpillQueueMax else { return true }
        start += 1
        compact()
        return false
    }

    mutating func next() -> EntryID? {
        guard start < entries.count else { return nil }
        defer { compact() }
        start += 1
        return entries[start - 1]
    }

    private mutating func compact() {
        guard start == entries.count || start > 1024 && start * 2 > entries.count else { return }
        entries.removeFirst(start)
        start = 0
    }
}
