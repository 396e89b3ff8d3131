package import Base
import Glibc

/// The one cache of a node: memoized results, edge responses, route responses and the key-value data of functions share its memory.
///
///     key ─▶ Table ─▶ Record ─▶ Block (key, value, tags)           get, set, remove, expire      this file
///                       │ │                                        find, install; drop, room     Store.swift, Room.swift
///                       │ │                  └─ Slabs: memory
///                       │ └─ Eviction: who leaves for room         fetch, fills                  Fetch.swift, Fill.swift, Flight.swift
///                       └─── TimerWheel: who leaves in time        purge, advance, resize, scan  Upkeep.swift
///     Purges, Tags: what is not valid any more                     explain                       Explain.swift
///
/// A lookup goes: find by hash and whole key (7.1.1) → not expired (7.1.6) → not purged (7.1.4) → checksum (7.1.2) → count a hit.
///
/// Invariants (checked by `checkInvariants`):
///  1. Every live record is in the table, in one eviction queue, in the wheel exactly if it expires, and in no other place.
///  2. `residentBytes` and each namespace's bytes are the sums of its records' charges; `usedBytes` is at most the limit after each call,
///     except while `resize` to less is being worked off by `advance` (7.1.5).
///  3. No lookup returns what was fetched before a purge that means it (7.1.4), whatever was in flight.
///  4. A value is served only when its checksum holds.
///  5. At most one flight of a key can be joined (7.1.9).
///
/// Time is an argument of every call; randomness comes from the seed. No call blocks, none reads a clock.
///
/// Thread rule: the loop's thread. Pointers that it returns are valid until the next call that changes it.
package final class Cache {
    let arena: Arena
    let heap = BlockHeap()
    var table = Table()
    var wheel: TimerWheel
    var eviction: Eviction
    var purges: Purges
    var flights: Flights
    var failing = FailingOrigins()
    var spills = SpillQueue()
    var departures = Departures()
    var random: Random
    let spaces: UnsafeMutablePointer<Space>
    var spaceCount = 0
    let seed: UInt64
    let hashMask: UInt64
    var residentBytes = 0
    /// Expired events so far, by how late they were (semantic 7.5.44).
    package internal(set) var expiryLag = Histogram()
    package internal(set) var limitBytes: Int
    /// Told of every entry that leaves, except by being replaced. Must not call the cache.
    package var onRemoval: ((Removal) -> Void)?
    /// Told of every purge, so that what it means does not come back from below.
    package weak var secondLevel: (any SecondLevel)?

    /// A cache of at most `limitBytes`. `seed` must be secret where strangers choose keys; `hashMask` is for tests of colliding hashes.
    package init(limitBytes: Int, seed: UInt64, at now: Moment, hashMask: UInt64 = .max) {
        precondition(limitBytes > 0, "a cache without memory")
        self.limitBytes = limitBytes
        self.seed = seed
        self.hashMask = hashMask
        random = Random(seed: seed)
        arena = Arena()
        wheel = TimerWheel(at: now.tick, arena: arena)
        eviction = Eviction(arena: arena, namespacesMax: Limits.cacheNamespacesMax)
        purges = Purges(seed: seed)
        flights = Flights(heap: heap)
        spaces = .allocate(capacity: Limits.cacheNamespacesMax)
    }

    deinit {
        for index in 0..<arena.capacity where arena[index].pointee.isLive { heap.leave(arena[index].pointee.block) }
        spaces.deinitialize(count: spaceCount)
        spaces.deallocate()
        arena.destroy()
    }

    // MARK: Namespaces

    package func addNamespace(_ settings: NamespaceSettings) throws(CacheError) -> NamespaceID {
        guard spaceCount < Limits.cacheNamespacesMax else { throw .tooManyNamespaces(Limits.cacheNamespacesMax) }
        try check(settings, floors: floorsSum + settings.floorBytes)
        (spaces + spaceCount).initialize(to: Space(settings: settings))
        spaceCount += 1
        eviction.namespaces = spaceCount
        purges.addNamespace()
        return NamespaceID(spaceCount - 1)
    }

    /// New settings for what is stored from now on; a lower ceiling is met by the next stores.
    package func update(_ namespace: NamespaceID, _ settings: NamespaceSettings) throws(CacheError) {
        try check(settings, floors: floorsSum - spaces[namespace.index].settings.floorBytes + settings.floorBytes)
        spaces[namespace.index].settings = settings
    }

    private func check(_ settings: NamespaceSettings, floors: Int) throws(CacheError) {
        guard settings.ceilingBytes >= settings.floorBytes else { throw .ceilingBelowFloor(settings.name) }
        guard floors <= limitBytes else { throw .floorsExceedLimit(floors: floors, limit: limitBytes) }
    }

    var floorsSum: Int { (0..<spaceCount).reduce(0) { $0 + spaces[$1].settings.floorBytes } }

    package func settings(of namespace: NamespaceID) -> NamespaceSettings { spaces[namespace.index].settings }

    package func counters(of namespace: NamespaceID) -> CacheCounters {
        var counters = spaces[namespace.index].counters
        counters.entries -= spaces[namespace.index].condemned
        return counters
    }

    package var namespaces: [NamespaceID] { (0..<spaceCount).map { NamespaceID($0) } }

    /// What is accounted against the limit: entries, values that are being read after they left, fills in flight, tags.
    package var usedBytes: Int { residentBytes + heap.heldBytes + flights.bytes + purges.tags.bytes }

    // MARK: Reading

    /// The fresh value of `key`; nil is a miss.
    package func get(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, at now: Moment) -> Hit? {
        let tick = now.tick
        let space = spaces + namespace.index
        guard let index = find(key, hash(key, namespace), namespace), isCurrent(index, at: tick), isServable(index),
            tick < arena[index].pointee.freshUntil
        else {
            space.pointee.counters.misses &+= 1
            return nil
        }
        arena[index].pointee.touch()
        space.pointee.counters.hits &+= 1
        return hit(index, .fresh)
    }

    /// The value as `get` and `staleOnError` would find it, without being counted as a use: for TTL, EXISTS and read-only views.
    package func peek(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, at now: Moment) -> Hit? {
        let tick = now.tick
        guard let index = find(key, hash(key, namespace), namespace), isCurrent(index, at: tick), isServable(index) else { return nil }
        return hit(index, tick < arena[index].pointee.freshUntil ? .fresh : .stale)
    }

    /// The value for a caller whose origin has failed: fresh, or stale within its `staleIfError` or `staleWhileRevalidate`.
    package func staleOnError(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, at now: Moment) -> Hit? {
        let tick = now.tick
        guard let index = find(key, hash(key, namespace), namespace), isCurrent(index, at: tick), isServable(index) else { return nil }
        if tick < arena[index].pointee.freshUntil { return hit(index, .fresh) }
        guard mayServeOnError(arena[index].pointee, at: tick) else { return nil }
        arena[index].pointee.touch()
        spaces[namespace.index].counters.stale &+= 1
        return hit(index, .stale)
    }

    /// Keeps a value that was just returned readable until the result is let go.
    package func pin(_ hit: Hit) -> PinnedValue {
        precondition(
            arena[hit.id.index].pointee.isLive && arena[hit.id.index].pointee.generation == hit.id.generation, "a hit that is gone")
        return PinnedValue(arena[hit.id.index].pointee.block, in: heap)
    }

    // MARK: Writing

    /// Stores a value now, over one that is there and over fills of the key that are in flight. When it is refused, what was there stays.
    @discardableResult
    package func set(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, in namespace: NamespaceID, policy: StorePolicy = StorePolicy(),
        tags: [UnsafeRawBufferPointer] = [], at now: Moment
    ) -> StoreResult {
        let tick = now.tick
        let hash = hash(key, namespace)
        voidFills(hash, namespace, key, soft: false, at: tick)
        purgeBelow(key, namespace, soft: false)
        let old = current(key, hash, namespace, at: tick)
        let lives = lives(policy, namespace, at: tick, replacing: old)
        if let refusal = refusal(key, value.count, tags, lives) { return refuse(refusal, namespace, dropping: nil) }
        if let old, tags.isEmpty, overwrite(old, value) {
            place(old, lives, policy, at: tick)
            return .stored(EntryID(index: old, generation: arena[old].pointee.generation))
        }
        // tags first: what a new one takes counts before room is made
        let carried = tags.map { purges.tags.intern($0) }
        let charge = Self.entryCharge(Block.charge(key: key.count, value: value.count, tags: tags.count))
        if let refusal = admit(charge, growth: charge, namespace, replacing: old) {
            for tag in carried { purges.tags.release(tag) }
            return refuse(refusal, namespace, dropping: nil)
        }
        let block = Block(key: key, valueCount: value.count, tagCount: tags.count, in: heap)
        if value.count > 0 { block.value.copyMemory(from: value) }
        for (at, tag) in carried.enumerated() { block.tags[at] = tag }
        let index = install(block, hash, namespace, replacing: old)
        place(index, lives, policy, at: tick)
        return .stored(EntryID(index: index, generation: arena[index].pointee.generation))
    }

    /// Writes a value of the same length into the block that is there, when nobody reads it: no allocation. (`value` may lie in it.)
    private func overwrite(_ index: UInt32, _ value: UnsafeRawBufferPointer) -> Bool {
        let block = arena[index].pointee.block
        guard block.header.pointee.references == 1, block.header.pointee.tagCount == 0, block.value.count == value.count else {
            return false
        }
        if let from = value.baseAddress, value.count > 0 { memmove(block.value.baseAddress.unsafelyUnwrapped, from, value.count) }
        block.seal(seed: arena[index].pointee.hash)
        arena[index].pointee.touch()
        return true
    }

    /// Gives an entry another lifetime from now on; false when there is none. Its stale windows end.
    package func expire(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, _ lifetime: Lifetime, at now: Moment) -> Bool {
        let tick = now.tick
        guard let index = current(key, hash(key, namespace), namespace, at: tick) else { return false }
        guard let lives = lives(StorePolicy(lifetime), namespace, at: tick, replacing: index, jitter: false) else {
            drop(index, .purged, at: tick)
            return true
        }
        schedule(index, lives)
        // below it would live as long as before
        purgeBelow(key, namespace, soft: false)
        offerToSecondLevel(index)
        return true
    }

    /// Removes an entry, and voids fills of its key that are in flight; false when there was none. (A hard purge of one key.)
    @discardableResult
    package func remove(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, at now: Moment) -> Bool {
        purge(key: key, in: namespace, soft: false, at: now)
    }
}
