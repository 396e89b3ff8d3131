package import Base

/// The last removals, by hash: so that `explain` can say why a key is not there. A ring, overwritten from its oldest.
struct Departures {
    private struct Departure {
        var hash: UInt64
        var tick: Tick
        var reason: RemovalReason
    }

    private var ring: [Departure] = []
    private var next = 0

    mutating func append(_ hash: UInt64, _ reason: RemovalReason, at tick: Tick) {
        let departure = Departure(hash: hash, tick: tick, reason: reason)
        if ring.count < Limits.cacheDeparturesMax { return ring.append(departure) }
        ring[next] = departure
        next = next + 1 == ring.count ? 0 : next + 1
    }

    func last(_ hash: UInt64) -> (reason: RemovalReason, tick: Tick)? {
        (ring[next...] + ring[..<next]).last { $0.hash == hash }.map { ($0.reason, $0.tick) }
    }
}

/// All that the cache knows about a key at a moment, for `hearth cache explain`.
package struct Explanation: Sendable {
    package enum State: String, Sendable {
        case fresh, stale, negative, absent
        /// Remembered as not shareable: lookups do not wait for each other.
        case bypass
    }

    package var state: State
    package var namespace: String
    /// How long it has been in its state: since it was stored, or since it left.
    package var age: Span?
    /// Until it is not fresh, and until it is removed; nil: never, or there is none.
    package var freshness: Span?
    package var life: Span?
    package var isSoftPurged = false
    package var isFromSecondLevel = false
    package var valueBytes = 0
    /// What it takes from the limit.
    package var chargedBytes = 0
    /// Milliseconds of work that a miss costs, how often it was asked for (0…15), hits since its last turn in the queue.
    package var weight: Float = 0
    package var frequency: UInt8 = 0
    package var hits: UInt8 = 0
    package var isIntact = true
    package var tags: [String] = []
    /// Why it left when it was last there.
    package var departure: RemovalReason?
    /// Fills that are running for it, and who waits for them.
    package var flights = 0
    package var followers = 0
    package var isOriginFailing = false

    init(_ state: State, in namespace: String) {
        self.state = state
        self.namespace = namespace
    }
}

extension Cache {
    /// What would happen to a lookup of `key` now, and why. Counts nothing.
    package func explain(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID, at now: Moment) -> Explanation {
        let tick = now.tick
        let hash = hash(key, namespace)
        let name = spaces[namespace.index].settings.name
        var explanation: Explanation
        if let index = current(key, hash, namespace, at: tick) {
            explanation = explain(index, name, at: tick)
        } else {
            explanation = Explanation(.absent, in: name)
            if let last = departures.last(hash) {
                explanation.departure = last.reason
                explanation.age = .milliseconds(tick - min(tick, last.tick))
            }
        }
        for flight in flights.slots where flight.isInFlight && flight.hash == hash && flight.block.holds(key) {
            explanation.flights += 1
            explanation.followers += flight.followers.count
        }
        explanation.isOriginFailing = failing.isPaused(hash, at: tick)
        return explanation
    }

    private func explain(_ index: UInt32, _ name: String, at tick: Tick) -> Explanation {
        let record = arena[index].pointee
        let isFresh = tick < record.freshUntil
        let isNegative = record.flags.contains(.negative)
        var explanation = Explanation(
            record.flags.contains(.bypass) ? .bypass : isNegative ? .negative : isFresh ? .fresh : .stale, in: name)
        explanation.age = .milliseconds(tick - min(tick, record.storedAt))
        if record.freshUntil != .max { explanation.freshness = .milliseconds(isFresh ? record.freshUntil - tick : 0) }
        if record.expiresAt != .max { explanation.life = .milliseconds(record.expiresAt - tick) }
        explanation.isSoftPurged = record.flags.contains(.softPurged)
        explanation.isFromSecondLevel = record.flags.contains(.fromSecondLevel)
        explanation.valueBytes = record.block.value.count
        explanation.chargedBytes = record.charge
        explanation.weight = record.weight
        explanation.frequency = record.frequency
        explanation.hits = record.hits
        explanation.isIntact = record.block.isIntact(seed: record.hash)
        explanation.tags = record.block.tags.map { String(decoding: purges.tags.name($0), as: UTF8.self) }
        return explanation
    }

    /// Stops the process when an invariant does not hold. Visits everything: for tests.
    package func checkInvariants() {
        var bytes = [Int](repeating: 0, count: spaceCount)
        var entries = bytes
        var condemned = bytes
        var expiring = bytes
        var carried: [TagID: Int] = [:]
        for index in 0..<arena.capacity where arena[index].pointee.isLive {
            let record = arena[index].pointee
            let space = Int(record.namespace)
            let block = record.block
            precondition(find(block.key, record.hash, NamespaceID(space)) == index, "1: record \(index) is not found by its key")
            precondition(eviction.contains(index), "1: record \(index) is in no queue")
            precondition(wheel.contains(index) == (record.expiresAt != .max), "1: record \(index) and the wheel")
            precondition(record.charge == Self.entryCharge(block.charge), "2: the charge of record \(index)")
            precondition(
                block.header.pointee.isResident && block.header.pointee.references > 0 && block.header.pointee.owner == index,
                "1: the block of record \(index)")
            precondition(record.checked <= purges.sequence && record.freshUntil <= record.expiresAt, "the times of record \(index)")
            bytes[space] += record.charge
            entries[space] += 1
            if record.expiresAt != .max { expiring[space] += 1 }
            if purges.isPurgedWhole(NamespaceID(space), since: record.checked) { condemned[space] += 1 }
            for tag in block.tags { carried[tag, default: 0] += 1 }
        }
        for flight in flights.slots { for tag in flight.tags { carried[tag, default: 0] += 1 } }
        for space in 0..<spaceCount {
            precondition(spaces[space].counters.bytes == bytes[space], "2: the bytes of namespace \(space)")
            precondition(spaces[space].counters.entries == entries[space], "1: the entries of namespace \(space)")
            precondition(spaces[space].condemned == condemned[space], "the condemned entries of namespace \(space)")
            precondition(spaces[space].counters.expiring == expiring[space], "1: the expiring entries of namespace \(space)")
            let running = flights.slots.filter { $0.isInFlight && $0.namespace == NamespaceID(space) }.count
            precondition(spaces[space].flights == running, "the fills of namespace \(space)")
        }
        precondition(residentBytes == bytes.reduce(0, +), "2: the resident bytes")
        precondition(
            table.count == arena.live && arena.live == entries.reduce(0, +), "1: \(arena.live) records, \(table.count) in the table")
        heap.slabs.checkInvariants()
        wheel.checkInvariants()
        eviction.checkInvariants()
        flights.checkInvariants()
        purges.tags.checkInvariants(carried: carried)
    }
}
