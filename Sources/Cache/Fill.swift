package import Base

/// What a flight's leader reports and its followers do: see `Flight` for the states and `Fetch.swift` for how a flight begins.
extension Cache {
    // MARK: The leader

    /// The answer may be stored and shared: its followers are told of bytes from now on. `expected`: its length, if known.
    package func head(
        _ id: FlightID, policy: StorePolicy, tags: [UnsafeRawBufferPointer] = [], expected: Int? = nil, at now: Moment,
        into actions: inout [FlightAction]
    ) {
        guard flights.exists(id), flights[id].state == .waiting else { return }
        let namespace = flights[id].namespace
        let lives = lives(policy, namespace, at: now.tick, jitter: false)
        let refusal = refusal(flights[id].block.key, expected ?? 0, tags, lives)
        if refusal == .noLifetime || refusal == .tooManyTags { return release(id, rememberFor: nil, at: now, into: &actions) }
        for tag in tags { flights[id].tags.append(purges.tags.intern(tag)) }
        flights[id].policy = policy
        flights[id].state = .streaming
        sendBackLateFollowers(id, into: &actions)
        if refusal != nil || !hasRoom(id, for: expected ?? 0) { becomeUnstorable(id) } else { flights.reserve(id, expected ?? 0) }
    }

    /// Those who asked after a purge that means this answer must not get it; only now are its tags known.
    private func sendBackLateFollowers(_ id: FlightID, into actions: inout [FlightAction]) {
        let newest = verdict(id).newest
        guard newest > 0 else { return }
        flights.removeFromIndex(id)
        for follower in flights[id].followers where follower.joined >= newest { actions.append(.retry(follower.waiter)) }
        flights[id].followers.removeAll { $0.joined >= newest }
    }

    private func hasRoom(_ id: FlightID, for count: Int) -> Bool {
        let flight = flights[id]
        let value = flight.block.value.count + count
        let charge = Self.entryCharge(Block.charge(key: flight.block.key.count, value: value, tags: flight.tags.count))
        return charge <= objectMax(flight.namespace) && value <= Limits.cacheValueBytesMax
            && makeRoom(flights.growth(id, by: count), 0, flight.namespace)
    }

    /// It streams on to those who follow it, but nobody joins it and it is not stored.
    private func becomeUnstorable(_ id: FlightID) {
        flights[id].isStorable = false
        flights.removeFromIndex(id)
    }

    /// The next bytes of the answer. (An answer without `head` is not shared: its bytes are dropped.)
    package func append(_ id: FlightID, _ bytes: UnsafeRawBufferPointer, at now: Moment, into actions: inout [FlightAction]) {
        guard flights.exists(id), flights[id].state == .streaming, bytes.count > 0 else { return }
        if flights[id].isStorable, !hasRoom(id, for: bytes.count) { becomeUnstorable(id) }
        if !flights[id].isStorable {
            flights.trim(id)
            if !makeRoom(flights.growth(id, by: bytes.count), 0, flights[id].namespace) { cutOff(id, laggingBy: 0, into: &actions) }
            guard !flights[id].followers.isEmpty else { return }
        }
        flights.append(id, bytes)
        for at in flights[id].followers.indices where flights[id].followers[at].isAsking {
            flights[id].followers[at].isAsking = false
            flights[id].followers[at].hasStarted = true
            actions.append(.data(flights[id].followers[at].waiter, id))
        }
        if !flights[id].isStorable { cutOff(id, laggingBy: max(Limits.cacheFollowerLagMax, bytes.count), into: &actions) }
    }

    /// Followers of an unstorable stream that are more than `lag` bytes behind.
    private func cutOff(_ id: FlightID, laggingBy lag: Int, into actions: inout [FlightAction]) {
        let end = flights[id].trimmed + flights[id].block.value.count
        for follower in flights[id].followers where end - follower.offset > lag { actions.append(.abort(follower.waiter)) }
        flights[id].followers.removeAll { end - $0.offset > lag }
        flights.trim(id)
    }

    /// The answer is whole: it is stored, unless it was purged meanwhile. `weight`: what it cost, now that it is known.
    @discardableResult
    package func finish(
        _ id: FlightID, weight: Float? = nil, isFromSecondLevel: Bool = false, at now: Moment, into actions: inout [FlightAction]
    ) -> StoreResult {
        guard flights.isInFlight(id) else { return .refused(.noFlight) }
        guard flights[id].state == .streaming else {
            release(id, rememberFor: nil, at: now, into: &actions)
            return .refused(.noLifetime)
        }
        failing.recovered(flights[id].hash)
        if let weight { flights[id].policy.weight = weight }
        let result = land(id, flags: isFromSecondLevel ? .fromSecondLevel : [], at: now.tick)
        for follower in flights[id].followers { actions.append(.done(follower.waiter, id)) }
        endFill(id)
        if flights[id].followers.isEmpty { close(id) } else { flights.land(id) }
        return result
    }

    private func land(_ id: FlightID, flags: Record.Flags, at tick: Tick) -> StoreResult {
        let flight = flights[id]
        let key = flight.block.key
        let purged = verdict(id)
        guard purged.hard == 0 else { return refuse(.purged, flight.namespace, dropping: nil) }
        let old = current(key, flight.hash, flight.namespace, at: tick)
        // what comes from below has had its lifetime changed already, and must not live longer than that
        let lives = lives(flight.policy, flight.namespace, at: tick, replacing: old, jitter: !flags.contains(.fromSecondLevel))
        let charge = Self.entryCharge(Block.charge(key: key.count, value: flight.block.value.count, tags: flight.tags.count))
        if !flight.isStorable { return refuse(.tooLarge, flight.namespace, dropping: old) }
        if let refusal = admit(charge, growth: charge - flight.ownCharge, flight.namespace, replacing: old) {
            return refuse(refusal, flight.namespace, dropping: old)
        }
        let block = flights.handOver(id)
        let index = install(block, flight.hash, flight.namespace, replacing: old)
        block.header.pointee.references += 1
        place(index, lives, flight.policy, flags: flags, at: tick)
        if purged.soft > 0 { makeStale(index, at: purged.softAt) }
        return .stored(EntryID(index: index, generation: arena[index].pointee.generation))
    }

    /// The answer must not be shared: followers run their own, now and at the same time (reference D3, semantic 7.1.7). With a time, the
    /// key is remembered, so that nobody waits for it again: give it for answers that are private by nature, not for errors.
    package func release(_ id: FlightID, rememberFor time: Span?, at now: Moment, into actions: inout [FlightAction]) {
        guard flights.isInFlight(id) else { return }
        for follower in flights[id].followers { actions.append(.release(follower.waiter)) }
        let flight = flights[id]
        if let time, verdict(id).newest == 0 { rememberBypass(flight.block.key, flight.hash, flight.namespace, for: time, at: now.tick) }
        endFill(id)
        close(id)
    }

    private func rememberBypass(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID, for time: Span, at tick: Tick
    ) {
        let old = current(key, hash, namespace, at: tick)
        let charge = Self.entryCharge(Block.charge(key: key.count, value: 0, tags: 0))
        guard let lives = lives(StorePolicy(.ttl(time)), namespace, at: tick, jitter: false),
            admit(charge, growth: charge, namespace, replacing: old) == nil
        else {
            if let old { drop(old, .purged, at: tick) }
            return
        }
        let index = install(Block(key: key, valueCount: 0, tagCount: 0, in: heap), hash, namespace, replacing: old)
        place(index, lives, StorePolicy(.ttl(time)), flags: .bypass, at: tick)
    }

    /// The fill broke off: nothing of it is stored (semantic 7.1.3), and its followers learn of it in this call (7.1.8).
    package func abort(_ id: FlightID, _ cause: AbortCause, at now: Moment, into actions: inout [FlightAction]) {
        guard flights.isInFlight(id) else { return }
        for follower in flights[id].followers where follower.hasStarted { actions.append(.abort(follower.waiter)) }
        flights[id].followers.removeAll(where: \.hasStarted)
        if cause == .originFailed, leaveOriginAlone(id, at: now.tick) {
            for follower in flights[id].followers { actions.append(.stale(follower.waiter)) }
            flights[id].followers = []
        }
        releaseTags(id)
        guard let heir = flights[id].followers.first, flights[id].handOvers < Limits.cacheHandOversMax else {
            for follower in flights[id].followers { actions.append(.fail(follower.waiter)) }
            endFill(id)
            return close(id)
        }
        flights[id].followers.removeFirst()
        flights.restart(id, started: purges.sequence, leader: heir.waiter)
        let flight = flights[id]
        let isTaken = flight.isIndexed || flights.find(flight.hash, flight.namespace, flight.block.key) != nil
        if !isTaken, !flight.isSolo { flights.addToIndex(id) }
        actions.append(.lead(heir.waiter, id))
    }

    /// True when followers may be served the stale entry; then its origin is not probed for a while.
    private func leaveOriginAlone(_ id: FlightID, at tick: Tick) -> Bool {
        let flight = flights[id]
        guard let index = current(flight.block.key, flight.hash, flight.namespace, at: tick) else { return false }
        let record = arena[index].pointee
        guard tick < record.freshUntil || mayServeOnError(record, at: tick) else { return false }
        failing.failed(flight.hash, at: tick)
        return true
    }

    // MARK: Followers

    /// The bytes that this follower has not consumed; valid until the next call that changes the cache.
    package func read(_ id: FlightID, _ waiter: WaiterID) -> UnsafeRawBufferPointer {
        guard flights.exists(id), let at = flights[id].followers.firstIndex(where: { $0.waiter == waiter }) else {
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        let rest = UnsafeRawBufferPointer(flights[id].block.value).dropFirst(flights[id].followers[at].offset - flights[id].trimmed)
        if !rest.isEmpty { flights[id].followers[at].hasStarted = true }
        return UnsafeRawBufferPointer(rebasing: rest)
    }

    /// It has taken `count` of the bytes that it read; when it has all, it is told of the next.
    package func consume(_ id: FlightID, _ waiter: WaiterID, _ count: Int) {
        guard flights.exists(id), let at = flights[id].followers.firstIndex(where: { $0.waiter == waiter }) else { return }
        let end = flights[id].trimmed + flights[id].block.value.count
        precondition(flights[id].followers[at].offset + count <= end, "a follower that consumes more than there is")
        flights[id].followers[at].offset += count
        flights[id].followers[at].isAsking = flights[id].followers[at].offset == end
    }

    /// A follower has all, or does not want it any more.
    package func leave(_ id: FlightID, _ waiter: WaiterID) {
        guard flights.exists(id) else { return }
        flights[id].followers.removeAll { $0.waiter == waiter }
        if flights[id].state == .landed, flights[id].followers.isEmpty { close(id) }
    }

    // MARK: Ends

    private func endFill(_ id: FlightID) { spaces[flights[id].namespace.index].flights -= 1 }

    private func releaseTags(_ id: FlightID) {
        for tag in flights[id].tags { purges.tags.release(tag) }
        flights[id].tags = []
    }

    private func close(_ id: FlightID) {
        releaseTags(id)
        flights.close(id)
    }

    /// What the second level holds of a key is outdated.
    func purgeBelow(_ key: UnsafeRawBufferPointer, _ namespace: NamespaceID, soft: Bool) {
        guard spaces[namespace.index].settings.spillWeightMin != nil, let secondLevel, secondLevel.mayHold(key, in: namespace) else {
            return
        }
        secondLevel.purge(.key(Array(key), namespace), soft: soft)
    }

    /// A fill of this key that is in flight is not stored: the key was written or purged after it began.
    func voidFills(_ hash: UInt64, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, soft: Bool, at tick: Tick) {
        guard spaces[namespace.index].flights > 0 else { return }
        flights.notePurge(hash, namespace, key, purges.nextSequence(), soft: soft, at: tick)
    }
}
