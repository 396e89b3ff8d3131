import Base
import Glibc

/// One who waits for a fill.
struct Follower {
    let waiter: WaiterID
    /// The purge sequence when it asked: what was purged before that, it must not get.
    let joined: UInt64
    /// Bytes of the stream that it has consumed.
    var offset = 0
    /// It has been told of bytes, so it may have sent some: no other leader's bytes can follow them.
    var hasStarted = false
    /// It has read all there was and waits to be told.
    var isAsking = true
}

/// A fill: the leader's request, the bytes so far, and who waits for them. Moved by `Cache`.
///
///              head: storable          finish
///     waiting ───────────────▶ streaming ─────▶ landed ── last follower leaves ──▶ vacant
///      │  ▲                      │  │                                                ▲
///      │  └───── abort ──────────┘  └ outgrows its object: streams on, unstorable    │
///      │   (a follower that has not started leads now)                               │
///      └── head: unshareable (followers are released at once) · abort without heirs ─┘
///
/// Invariants:
///  1. At most one flight of a key is indexed: the one that lookups may join. A solo flight never is.
///  2. What a follower has been sent comes from one leader.
///  3. `bytes` is what the flights' own blocks take; a landed flight's block may be the store's, and then it holds a reference.
///
/// Thread rule: the cache's.
struct Flight {
    enum State { case vacant, waiting, streaming, landed }

    var state = State.vacant
    var generation: UInt32 = 0
    var hash: UInt64 = 0
    var namespace = NamespaceID(0)
    /// Key and the value so far; only while not vacant.
    var memory: UnsafeMutableRawPointer?
    /// Bytes of value that the memory has room for.
    var room = 0
    /// Bytes of the stream that are gone from the front of an unstorable one.
    var trimmed = 0
    /// The purge sequence at which the fill began.
    var started: UInt64 = 0
    /// Purges of exactly this key since then.
    var purged = Epochs()
    var policy = StorePolicy()
    var tags: [TagID] = []
    var leader: WaiterID?
    var followers: [Follower] = []
    var handOvers = 0
    var isIndexed = false
    var isStorable = true
    /// Of a key that is not shareable: nobody joins it.
    var isSolo = false
    var ownsMemory = true

    var block: Block { Block(base: memory.unsafelyUnwrapped) }
    var isInFlight: Bool { state == .waiting || state == .streaming }
    var ownBytes: Int { Block.bytes(key: block.key.count, value: room, tags: 0) }
    var ownCharge: Int { ownsMemory && memory != nil ? Slabs.allocated(ownBytes) : 0 }
}

/// All flights, and the index of those that may be joined.
struct Flights: ~Copyable {
    private let heap: BlockHeap
    private(set) var slots: [Flight] = []
    private var vacant: [UInt32] = []
    private var index = Table()
    /// Fills that are running: waiting or streaming.
    private(set) var inFlight = 0
    private(set) var bytes = 0

    init(heap: BlockHeap) { self.heap = heap }

    deinit {
        for flight in slots where flight.state != .vacant {
            if flight.ownsMemory { heap.slabs.free(flight.block.base, flight.ownBytes) } else { heap.release(flight.block) }
        }
    }

    // MARK: Finding

    subscript(id: FlightID) -> Flight {
        get { slots[Int(id.index)] }
        _modify { yield &slots[Int(id.index)] }
    }

    func exists(_ id: FlightID) -> Bool {
        Int(id.index) < slots.count && slots[Int(id.index)].generation == id.generation && slots[Int(id.index)].state != .vacant
    }

    func isInFlight(_ id: FlightID) -> Bool { exists(id) && self[id].isInFlight }

    /// The flight of this key that lookups may join.
    func find(_ hash: UInt64, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer) -> FlightID? {
        let found = index.find(hash) { at in
            let flight = slots[Int(at)]
            return flight.hash == hash && flight.namespace == namespace && flight.block.holds(key)
        }
        return found.map { FlightID(index: $0, generation: slots[Int($0)].generation) }
    }

    /// The sequence at which the oldest fill in flight began; `.max` without any.
    var oldestStart: UInt64 { inFlight == 0 ? .max : slots.lazy.filter(\.isInFlight).map(\.started).min() ?? .max }

    /// Notes a purge of one key in all its fills, joinable or not.
    mutating func notePurge(
        _ hash: UInt64, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, _ sequence: UInt64, soft: Bool, at tick: Tick
    ) {
        for at in slots.indices where slots[at].isInFlight && slots[at].hash == hash && slots[at].namespace == namespace {
            if slots[at].block.holds(key) { slots[at].purged.note(sequence, soft: soft, at: tick) }
        }
    }

    // MARK: Beginning and ending

    mutating func open(
        _ hash: UInt64, _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, started: UInt64, leader: WaiterID?, solo: Bool
    ) -> FlightID {
        let at = vacant.popLast() ?? UInt32(slots.count)
        if Int(at) == slots.count { slots.append(Flight()) }
        var flight = Flight()
        flight.generation = slots[Int(at)].generation &+ 1
        flight.state = .waiting
        flight.hash = hash
        flight.namespace = namespace
        flight.memory = Block(key: key, valueCount: 0, tagCount: 0, in: heap).base
        flight.started = started
        flight.leader = leader
        flight.isSolo = solo
        bytes += flight.ownCharge
        slots[Int(at)] = flight
        inFlight += 1
        let id = FlightID(index: at, generation: flight.generation)
        if !solo { addToIndex(id) }
        return id
    }

    mutating func addToIndex(_ id: FlightID) {
        index.insert(self[id].hash, id.index)
        self[id].isIndexed = true
    }

    mutating func removeFromIndex(_ id: FlightID) {
        guard self[id].isIndexed else { return }
        index.remove(self[id].hash, id.index)
        self[id].isIndexed = false
    }

    /// It runs no longer; its bytes stay for those who still read them.
    mutating func land(_ id: FlightID) {
        removeFromIndex(id)
        self[id].state = .landed
        inFlight -= 1
    }

    /// Ends it and frees what it owns. (Its tags are the caller's to release.)
    mutating func close(_ id: FlightID) {
        removeFromIndex(id)
        if self[id].isInFlight { inFlight -= 1 }
        bytes -= self[id].ownCharge
        if self[id].ownsMemory { heap.slabs.free(self[id].block.base, self[id].ownBytes) } else { heap.release(self[id].block) }
        self[id].memory = nil
        self[id].state = .vacant
        self[id].followers = []
        self[id].tags = []
        vacant.append(id.index)
    }

    // MARK: Bytes

    /// By how much the flights' bytes would grow if `count` were appended.
    func growth(_ id: FlightID, by count: Int) -> Int {
        let flight = self[id]
        let room = roomNeeded(flight, for: count)
        guard room > flight.room else { return 0 }
        return Block.charge(key: flight.block.key.count, value: room, tags: 0) - flight.ownCharge
    }

    private func roomNeeded(_ flight: Flight, for count: Int) -> Int {
        let needed = Int(flight.block.header.pointee.valueCount) + count
        return needed <= flight.room ? flight.room : max(needed, flight.room == 0 ? 0 : flight.room * 2)
    }

    mutating func reserve(_ id: FlightID, _ count: Int) {
        let room = roomNeeded(self[id], for: count)
        if room > self[id].room { resize(id, room) }
    }

    private mutating func resize(_ id: FlightID, _ room: Int) {
        bytes -= self[id].ownCharge
        let size = Block.bytes(key: self[id].block.key.count, value: room, tags: 0)
        self[id].memory = heap.resize(self[id].block, from: self[id].ownBytes, to: size).base
        self[id].room = room
        bytes += self[id].ownCharge
    }

    mutating func append(_ id: FlightID, _ source: UnsafeRawBufferPointer) {
        guard let from = source.baseAddress, source.count > 0 else { return }
        reserve(id, source.count)
        let block = self[id].block
        memcpy(block.value.baseAddress.unsafelyUnwrapped + block.value.count, from, source.count)
        block.header.pointee.valueCount += UInt32(source.count)
    }

    /// Forgets the bytes that came so far: another leader begins anew.
    mutating func restart(_ id: FlightID, started: UInt64, leader: WaiterID) {
        self[id].block.header.pointee.valueCount = 0
        self[id].trimmed = 0
        self[id].state = .waiting
        self[id].started = started
        self[id].purged = Epochs()
        self[id].leader = leader
        self[id].handOvers += 1
        self[id].isStorable = true
        self[id].tags = []
    }

    /// Drops from an unstorable stream what all its followers have consumed.
    mutating func trim(_ id: FlightID) {
        let block = self[id].block
        let held = block.value.count
        let least = self[id].followers.map(\.offset).min() ?? self[id].trimmed + held
        let drop = min(held, least - self[id].trimmed)
        guard drop > 0, let base = block.value.baseAddress else { return }
        memmove(base, base + drop, held - drop)
        block.header.pointee.valueCount = UInt32(held - drop)
        self[id].trimmed += drop
        let room = max(held - drop, Limits.cacheFollowerLagMax)
        if self[id].room > 2 * room { resize(id, room) }
    }

    /// Gives the block away to the store, cut to its length with the tags behind; the flight reads on from the same memory.
    mutating func handOver(_ id: FlightID) -> Block {
        bytes -= self[id].ownCharge
        let flight = self[id]
        let size = Block.bytes(key: flight.block.key.count, value: flight.block.value.count, tags: flight.tags.count)
        let block = heap.resize(flight.block, from: flight.ownBytes, to: size)
        block.header.pointee.tagCount = UInt16(flight.tags.count)
        for (at, tag) in flight.tags.enumerated() { block.tags[at] = tag }
        self[id].tags = []
        self[id].memory = block.base
        self[id].ownsMemory = false
        return block
    }

    func checkInvariants() {
        precondition(inFlight == slots.filter(\.isInFlight).count, "the count of fills in flight is wrong")
        precondition(bytes == slots.reduce(0) { $0 + $1.ownCharge }, "3: the flights' bytes are \(bytes)")
        precondition(index.count == slots.filter(\.isIndexed).count, "1: the index of flights")
        for (at, flight) in slots.enumerated() where flight.isIndexed {
            let id = FlightID(index: UInt32(at), generation: flight.generation)
            precondition(flight.isInFlight && !flight.isSolo, "1: flight \(at) is indexed and cannot be joined")
            precondition(find(flight.hash, flight.namespace, flight.block.key) == id, "1: two flights of one key are indexed")
        }
    }
}
