package import Base
import Glibc

/// Single flight: of all lookups that miss a key at the same time, one runs and the others get its bytes as they come (reference D3).
///
///     fetch ─┬─ .hit     serve; with a flight: fill in the background too (stale-while-revalidate, refresh-ahead)
///            ├─ .lead    run:  head ─▶ append… ─▶ finish        or release (not shareable)  or abort (it broke off)
///            ├─ .follow  wait: .data ─▶ read, consume … .done ─▶ read, leave     or lead, retry, release, stale, fail, abort
///            └─ .refuse  too many fills
extension Cache {
    package enum AbortCause: Sendable {
        /// Its client went away, or its worker died: somebody else may succeed at once.
        case leaderGone
        /// The origin answered wrongly or not at all.
        case originFailed
    }

    /// Looks a key up and says what to do; `waiter` names the caller in later actions.
    package func fetch(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, waiter: WaiterID, at now: Moment) -> Answer {
        let tick = now.tick
        let hash = hash(key, namespace)
        let space = spaces + namespace.index
        guard let index = find(key, hash, namespace), isCurrent(index, at: tick) else {
            return miss(key, hash, namespace, waiter, stale: nil)
        }
        let record = arena[index]
        if record.pointee.flags.contains(.bypass) {
            space.pointee.counters.bypassed &+= 1
            return miss(key, hash, namespace, waiter, stale: nil, solo: true)
        }
        guard isServable(index) else { return miss(key, hash, namespace, waiter, stale: nil) }
        if tick < record.pointee.freshUntil {
            record.pointee.touch()
            space.pointee.counters.hits &+= 1
            let isDue = space.pointee.settings.refreshAhead > 0 && isDueAhead(record.pointee, space.pointee.settings.refreshAhead, at: tick)
            return .hit(hit(index, .fresh), refresh: isDue ? refresh(key, hash, namespace, of: index, at: tick) : nil)
        }
        let late = tick - record.pointee.freshUntil
        let isPaused = mayServeOnError(record.pointee, at: tick) && failing.isPaused(hash, at: tick)
        guard late < Tick(record.pointee.staleWhileRevalidate) || isPaused else {
            return miss(key, hash, namespace, waiter, stale: index, at: tick)
        }
        record.pointee.touch()
        space.pointee.counters.stale &+= 1
        return .hit(hit(index, .stale), refresh: isPaused ? nil : refresh(key, hash, namespace, of: index, at: tick))
    }

    private func miss(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID, _ waiter: WaiterID, stale: UInt32?, solo: Bool = false,
        at tick: Tick = 0
    ) -> Answer {
        let space = spaces + namespace.index
        if !solo, let id = joinable(key, hash, namespace), flights[id].followers.count < Limits.cacheFollowersMax {
            flights[id].followers.append(Follower(waiter: waiter, joined: purges.sequence))
            space.pointee.counters.coalesced &+= 1
            return .follow(id)
        }
        space.pointee.counters.misses &+= 1
        let isTaken = !solo && flights.find(hash, namespace, key) != nil
        guard let id = open(key, hash, namespace, leader: waiter, solo: solo || isTaken, keeping: stale) else {
            guard let stale, mayServeOnError(arena[stale].pointee, at: tick) else { return .refuse }
            space.pointee.counters.stale &+= 1
            return .hit(hit(stale, .stale), refresh: nil)
        }
        return .lead(id, stale: stale.map { hit($0, .stale) })
    }

    /// A new fill, unless there are too many or no room for it. `kept`: an entry that must not be evicted for it, as its value is being
    /// handed out.
    private func open(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID, leader: WaiterID?, solo: Bool, keeping kept: UInt32?
    ) -> FlightID? {
        guard flights.inFlight < Limits.cacheFlightsMax else { return nil }
        if let kept { eviction.remove(kept) }
        defer { if let kept { eviction.enqueue(kept) } }
        guard makeRoom(Block.charge(key: key.count, value: 0, tags: 0), 0, namespace) else { return nil }
        spaces[namespace.index].flights += 1
        return flights.open(hash, namespace, key, started: purges.sequence, leader: leader, solo: solo)
    }

    /// The flight that this key's lookups may join. One that began before a purge that means it is left to its followers (semantic 7.1.4).
    private func joinable(_ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID) -> FlightID? {
        guard flights.inFlight > 0, let id = flights.find(hash, namespace, key) else { return nil }
        if verdict(id).newest == 0 { return id }
        flights.removeFromIndex(id)
        return nil
    }

    /// The purges since a fill began that mean it, as far as its tags are known.
    private func verdict(_ id: FlightID) -> Epochs {
        let flight = flights[id]
        var found = flight.tags.withUnsafeBufferPointer {
            purges.fillVerdict(flight.namespace, flight.block.key, $0, since: flight.started)
        }
        found.add(flight.purged, since: flight.started)
        return found
    }

    /// A fill in the background for an entry that is being served, unless one runs, too many run, or the origin is being left alone (7.1.9).
    private func refresh(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ namespace: NamespaceID, of index: UInt32, at tick: Tick
    ) -> FlightID? {
        guard joinable(key, hash, namespace) == nil, !failing.isPaused(hash, at: tick),
            let id = open(key, hash, namespace, leader: nil, solo: false, keeping: index)
        else { return nil }
        spaces[namespace.index].counters.refreshes &+= 1
        return id
    }

    /// XFetch (Vattani, Chierichetti, Lowenstein, VLDB 2015): refresh when Δ·β·(−ln U) is at least the time that is left.
    private func isDueAhead(_ record: Record, _ beta: Double, at tick: Tick) -> Bool {
        guard record.freshUntil != .max else { return false }
        let left = Double(record.freshUntil - tick)
        let scale = Double(record.weight) * beta
        // −ln of the smallest U that a Double of 53 random bits can be is below 37: most hits end here, without a logarithm
        guard left <= scale * 37 else { return false }
        return scale * -log(Double.random(in: Double.leastNonzeroMagnitude..<1, using: &random)) >= left
    }

    // MARK: The leader

    /// The answer may be stored and shared: its followers are told of bytes from now on. `expected`: its length, if known.
    package func head(
        _ id: FlightID, policy: StorePolicy, tags: [UnsafeRawBufferPointer] = [], expected: Int? = nil, at now: Moment,
        into actions: inout [FlightAction]
    ) {
        guard flights.exists(id), flights[id].state == .waiting else { return }
        let namespace = flights[id].namespace
        let lives = lives(policy, namespace, at: now.tick, jitter: false)
        if refusal(flights[id].block.key, expected ?? 0, tags, lives).map({ $0 != .tooLarge }) == true {
            return release(id, rememberFor: nil, at: now, into: &actions)
        }
        for tag in tags { flights[id].tags.append(purges.tags.intern(tag)) }
        flights[id].policy = policy
        flights[id].state = .streaming
        sendBackLateFollowers(id, into: &actions)
        if !hasRoom(id, for: expected ?? 0) { becomeUnstorable(id) } else { flights.reserve(id, expected ?? 0) }
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
        let lives = lives(flight.policy, flight.namespace, at: tick, replacing: old)
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
        let index = install(Block(key: key, valueCount: 0, tagCount: 0), hash, namespace, replacing: old)
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
        let flight = flights[id]
        flights.close(id)
        if !flight.ownsMemory { heap.release(flight.block) }
    }

    /// A fill of this key that is in flight is not stored: the key was written or purged after it began.
    func voidFills(_ hash: UInt64, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, soft: Bool, at tick: Tick) {
        guard spaces[namespace.index].flights > 0 else { return }
        flights.notePurge(hash, namespace, key, purges.nextSequence(), soft: soft, at: tick)
    }
}
