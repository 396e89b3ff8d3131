package import Base

/// What keeps the store in order: purging, the clock's work, another limit, and walking through all of it.
extension Cache {
    // MARK: Purging

    /// Purges one key. Hard: its entry goes now. Soft: its entry is stale now. Either way a fill that has begun does not count for it.
    /// False when there was no entry.
    @discardableResult
    package func purge(key: UnsafeRawBufferPointer, in namespace: NamespaceID, soft: Bool, at now: Moment) -> Bool {
        let tick = now.tick
        let hash = hash(key, namespace)
        voidFills(hash, namespace, key, soft: soft, at: tick)
        purgeBelow(key, namespace, soft: soft)
        guard let index = current(key, hash, namespace, at: tick) else { return false }
        if soft { makeStale(index, at: tick) } else { drop(index, .purged, at: tick) }
        return true
    }

    /// Purges all entries of all namespaces that carry the tag, in constant time: the next lookup sees it (semantic 7.1.4).
    package func purge(tag: UnsafeRawBufferPointer, soft: Bool, at now: Moment) {
        purges.purge(tag: tag, soft: soft, at: now.tick, fillsInFlight: flights.inFlight > 0)
        secondLevel?.purge(.tag(Array(tag)), soft: soft)
    }

    /// Purges a whole namespace, in constant time.
    package func purge(namespace: NamespaceID, soft: Bool, at now: Moment) {
        purges.purge(namespace: namespace, soft: soft, at: now.tick)
        if !soft { spaces[namespace.index].condemned = spaces[namespace.index].counters.entries }
        secondLevel?.purge(.namespace(namespace), soft: soft)
    }

    /// Purges all keys that begin with `prefix`: in constant time, unless very many such purges are still being swept.
    package func purge(prefix: UnsafeRawBufferPointer, in namespace: NamespaceID, soft: Bool, at now: Moment) {
        secondLevel?.purge(.prefix(Array(prefix), namespace), soft: soft)
        let tick = now.tick
        if purges.purge(prefix: prefix, in: namespace, soft: soft, at: tick) { return }
        // fills that began before the oldest rule keep it alive; void them, and one walk frees all rules
        purges.voidFills()
        sweep(Int.max, at: tick)
        purges.settle(oldest: .max)
        _ = purges.purge(prefix: prefix, in: namespace, soft: soft, at: tick)
    }

    // MARK: The clock's work

    /// Does what is due: expires entries, sweeps purged ones, evicts above a lowered limit, moves blocks together; at most about `budget`
    /// records of each. True: call again soon, there is more.
    package func advance(to now: Moment, budget: Int = 1024) -> Bool {
        let tick = now.tick
        var left = budget
        while left > 0, let index = wheel.next(upTo: tick) {
            drop(index, .expired, at: tick)
            left -= 1
        }
        let isPrepared = wheel.prepare(budget)
        sweep(budget, at: tick)
        purges.settle(oldest: flights.oldestStart)
        var evictions = budget
        while evictions > 0, usedBytes > limitBytes, evictOne(where: isAboveFloor) || evictOne(where: { self.spaces[$0].settings.evicts }) {
            evictions -= 1
        }
        let isCompact = heap.compact(budget, arena)
        return left == 0 || !isPrepared || !isCompact || !purges.isSwept || evictions == 0
    }

    /// The moment before which `advance` has nothing to do; nil: nothing is scheduled. (After a purge, or
    /// while `advance` returns true, it is now.)
    package var nextWake: Moment? {
        if !purges.isSwept { return .zero }
        return wheel.nextDue.map { Moment(nanoseconds: $0 &* 1_000_000) }
    }

    /// Visits records until all have been visited since the last purge.
    private func sweep(_ budget: Int, at tick: Tick) {
        var left = budget
        while left > 0, let index = purges.sweep(arena.capacity) {
            left -= 1
            if arena[index].pointee.isLive, arena[index].pointee.checked != purges.sequence { _ = isUnpurged(index, at: tick) }
        }
    }

    /// Another limit. To more: at once. To less: `advance` evicts what is worth least, a little at each call; what fits stays (7.3.33).
    package func resize(limitBytes: Int) throws(CacheError) {
        precondition(limitBytes > 0, "a cache without memory")
        guard floorsSum <= limitBytes else { throw .floorsExceedLimit(floors: floorsSum, limit: limitBytes) }
        self.limitBytes = limitBytes
    }

    /// Evicts, at most `budget` entries, until a namespace is below its ceiling; without it a lower one is met by the next stores.
    package func meetCeiling(of namespace: NamespaceID, budget: Int) {
        let own = namespace.index
        var left = budget
        while left > 0, spaces[own].settings.evicts, spaces[own].counters.bytes > spaces[own].settings.ceilingBytes,
            evictOne(where: { $0 == own })
        {
            left -= 1
        }
    }

    // MARK: Walking

    /// Visits entries of a namespace from `cursor` on, about `count` of them, and returns where to go on; 0 is the end. An entry that is
    /// there from the first call to the last is visited once. The cache must not be called from `visit`.
    package func scan(
        _ namespace: NamespaceID, from cursor: UInt32, count: Int, at now: Moment, _ visit: (UnsafeRawBufferPointer, Hit) -> Void
    ) -> UInt32 {
        let tick = now.tick
        var index = cursor
        var visits = 0
        // looks at no more than 64 records for one that it finds, so that a thin namespace does not hold the loop; few are walked at once
        let looks = max(Limits.cacheScanLooksMin, min(count, Int(arena.capacity)) * 64)
        let end = UInt32(min(Int(arena.capacity), Int(cursor) + looks))
        while index < end, visits < count {
            defer { index += 1 }
            let record = arena[index]
            guard record.pointee.isLive, record.pointee.namespace == namespace.rawValue, isCurrent(index, at: tick),
                !record.pointee.flags.contains(.bypass)
            else { continue }
            visit(record.pointee.block.key, hit(index, tick < record.pointee.freshUntil ? .fresh : .stale))
            visits += 1
        }
        return index >= arena.capacity ? 0 : index
    }

    /// One above the largest cursor: a scan from a random cursor below it finds a random entry.
    package var scanEnd: UInt32 { arena.capacity }

    // MARK: The second level

    /// Up to `count` entries that should be written to the second level, oldest first; their bytes stay until the records are let go.
    package func takeSpills(_ count: Int, at now: Moment) -> [SecondLevelRecord] {
        let tick = now.tick
        var records: [SecondLevelRecord] = []
        while records.count < count, let id = spills.next() {
            let record = arena[id.index]
            guard record.pointee.isLive, record.pointee.generation == id.generation else { continue }
            record.pointee.flags.remove(.offered)
            guard isCurrent(id.index, at: tick), tick < record.pointee.freshUntil else { continue }
            records.append(secondLevelRecord(id.index, at: tick))
        }
        return records
    }

    package var spillsWaiting: Int { spills.count }

    /// Takes an entry of the second level that nobody has asked for (a warm start). False: there is one, it is being filled, or it does not
    /// fit without evicting another. The caller has held it to all purges.
    @discardableResult
    package func takeUp(_ key: UnsafeRawBufferPointer, _ found: SecondLevelValue, in namespace: NamespaceID, at now: Moment) -> Bool {
        let tick = now.tick
        let hash = hash(key, namespace)
        let charge = Self.entryCharge(Block.charge(key: key.count, value: found.value.count, tags: found.tags.count))
        guard current(key, hash, namespace, at: tick) == nil, flights.find(hash, namespace, key) == nil,
            usedBytes + charge <= limitBytes,
            spaces[namespace.index].counters.bytes + charge <= spaces[namespace.index].settings.ceilingBytes,
            let lives = lives(found.policy, namespace, at: tick, jitter: false),
            admit(charge, growth: charge, namespace, replacing: nil) == nil
        else { return false }
        let block = Block(key: key, valueCount: found.value.count, tagCount: found.tags.count, in: heap)
        found.value.withUnsafeBytes { if $0.count > 0 { block.value.copyMemory(from: $0) } }
        for (at, tag) in found.tags.enumerated() { block.tags[at] = tag.withUnsafeBytes { purges.tags.intern($0) } }
        place(install(block, hash, namespace, replacing: nil), lives, found.policy, flags: .fromSecondLevel, at: tick)
        return true
    }

    /// An entry as it would be written to the second level, for a write that waits until it is on disk; nil when it has gone.
    package func secondLevelRecord(_ id: EntryID, at now: Moment) -> SecondLevelRecord? {
        guard arena[id.index].pointee.isLive, arena[id.index].pointee.generation == id.generation, isCurrent(id.index, at: now.tick) else {
            return nil
        }
        return secondLevelRecord(id.index, at: now.tick)
    }

    private func secondLevelRecord(_ index: UInt32, at tick: Tick) -> SecondLevelRecord {
        let record = arena[index].pointee
        let fresh = record.freshUntil
        var policy = StorePolicy(fresh == .max ? .forever : .ttl(.milliseconds(fresh > tick ? fresh - tick : 0)))
        policy.staleWhileRevalidate = .milliseconds(UInt64(record.staleWhileRevalidate))
        policy.staleIfError = .milliseconds(UInt64(record.staleIfError))
        if record.expiresAt != .max { policy.keep = .milliseconds(record.expiresAt - fresh) }
        policy.weight = record.weight
        policy.isNegative = record.flags.contains(.negative)
        policy.age = .milliseconds(tick - min(tick, record.storedAt))
        policy.frequency = min(15, record.frequency + record.hits)
        return SecondLevelRecord(
            namespace: NamespaceID(rawValue: record.namespace), pinned: PinnedValue(record.block, in: heap),
            tags: record.block.tags.map { Array(purges.tags.name($0)) }, policy: policy)
    }
}
