import Base

/// How an entry goes out, and how room is made for another.
extension Cache {
    // MARK: Going out

    func drop(_ index: UInt32, _ given: RemovalReason, at tick: Tick) {
        let record = arena[index]
        let namespace = NamespaceID(rawValue: record.pointee.namespace)
        let block = record.pointee.block
        // what a purge has condemned has not expired or been evicted, although it is found by those now
        let reason = record.pointee.checked != purges.sequence && verdict(index).hard > 0 ? .purged : given
        if reason == .expired { expiryLag.record(.milliseconds(tick - record.pointee.expiresAt)) }
        count(reason, namespace)
        onRemoval?(Removal(namespace: namespace, key: block.key, reason: reason))
        departures.append(record.pointee.hash, reason, at: tick)
        failing.recovered(record.pointee.hash)
        if reason == .evicted || reason == .expired { eviction.remember(index) }
        table.remove(record.pointee.hash, index)
        if eviction.contains(index) { eviction.remove(index) }
        if wheel.contains(index) { wheel.remove(index) }
        if record.pointee.expiresAt != .max { spaces[namespace.index].counters.expiring -= 1 }
        account(index, -record.pointee.charge)
        spaces[namespace.index].counters.entries -= 1
        if purges.isPurgedWhole(namespace, since: record.pointee.checked) { spaces[namespace.index].condemned -= 1 }
        leave(block)
        arena.give(index)
    }

    func leave(_ block: Block) {
        for tag in block.tags { purges.tags.release(tag) }
        heap.leave(block)
    }

    func account(_ index: UInt32, _ bytes: Int) {
        residentBytes += bytes
        spaces[Int(arena[index].pointee.namespace)].counters.bytes += bytes
    }

    private func count(_ reason: RemovalReason, _ namespace: NamespaceID) {
        let counters = spaces + namespace.index
        switch reason {
        case .expired: counters.pointee.counters.expired &+= 1
        case .evicted: counters.pointee.counters.evicted &+= 1
        case .purged: counters.pointee.counters.purged &+= 1
        case .corrupt: counters.pointee.counters.corrupt &+= 1
        }
    }

    // MARK: Room

    /// Evicts until `bytes` more fit under the limit and `share` more under the namespace's ceiling; false when nothing may go any more.
    /// Takes from namespaces above their floor, then from the namespace that asks.
    func makeRoom(_ bytes: Int, _ share: Int, _ namespace: NamespaceID) -> Bool {
        let own = namespace.index
        while spaces[own].counters.bytes + share > spaces[own].settings.ceilingBytes {
            guard evictOne(where: { $0 == own && self.spaces[$0].settings.evicts }) else { return false }
        }
        while usedBytes + bytes > limitBytes {
            guard evictOne(where: isAboveFloor) || evictOne(where: { $0 == own && self.spaces[$0].settings.evicts }) else { return false }
        }
        return true
    }

    func isAboveFloor(_ space: Int) -> Bool {
        spaces[space].settings.evicts && spaces[space].counters.bytes > spaces[space].settings.floorBytes
    }

    func evictOne(where eligible: (Int) -> Bool) -> Bool {
        guard let victim = eviction.victim(chances: Limits.cacheSecondChancesMax, where: eligible) else { return false }
        drop(victim, .evicted, at: wheel.clock)
        return true
    }
}
