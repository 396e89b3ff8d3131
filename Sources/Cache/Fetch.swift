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
    func verdict(_ id: FlightID) -> Epochs {
        let flight = flights[id]
        var found = flight.tags.withUnsafeBufferPointer {
            purges.fillVerdict(flight.namespace, flight.block.key, $0, since: flight.started)
        }
        found.add(flight.purged, since: flight.started)
        return found
    }

    /// A fill in the background for an entry that is being served, unless one runs, too many run, or the origin is left alone (7.1.9).
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
}
