/// Who leaves when room is needed: lazy greedy-dual (LGD, reference C3).
///
/// An entry's class is b = round(log2(frequency · weight / size)): what a miss would cost for each byte kept. Every namespace has one FIFO
/// queue a class; an entry enters its queue with the stamp L + 2^b, so within a queue stamps only grow, and the entry that is worth
/// least stands at the head of one of the queues.
///
///     admit ──▶ queue of its class ──▶ head with the smallest stamp: L rises to it
///                    ▲                        │ hit since ──▶ frequency += hits, new class, new stamp ─┐
///                    └────────────────────────┼────────────────────────────────────────────────────────┘
///                                             └ not hit ──▶ leaves, `Ghosts` remembers its frequency
///
/// A hit only counts (`Record.touch`). Stamps are 64-bit fixed point with 24 binary places and wrap: they are compared by their signed
/// distance from L.
///
/// Invariants:
///  1. Stamps in a queue never fall from head to tail.
///  2. `heads` and `used` say what the queues' heads are.
///  3. L never falls.
///
/// Thread rule: whoever holds it.
struct Eviction: ~Copyable {
    static let classes = 44
    /// Class 0 is b = −24: 60 s of work for 1 byte is b = 16, 1 ms for 16 MiB is −24.
    private static let leastExponent = -24

    /// One namespace's queues, summed up.
    private struct Front {
        /// Bit c: the queue of class c is not empty.
        var used: UInt64 = 0
        /// The class whose head has the smallest stamp; nil: to be looked up.
        var best: Int?
    }

    private let arena: Arena
    private var lists: Lists
    private let fronts: UnsafeMutablePointer<Front>
    private let heads: UnsafeMutablePointer<UInt64>
    /// Namespaces in use; the search for a victim looks at these.
    var namespaces = 0
    private(set) var ghosts = Ghosts()
    /// L: the stamp of the last victim.
    private(set) var level: UInt64 = 0

    init(arena: Arena, namespacesMax: Int) {
        self.arena = arena
        let queues = namespacesMax * Self.classes
        lists = Lists(count: queues, offset: MemoryLayout<Record>.offset(of: \.queue) ?? 0, arena: arena)
        fronts = .allocate(capacity: namespacesMax)
        fronts.initialize(repeating: Front(), count: namespacesMax)
        heads = .allocate(capacity: queues)
        heads.initialize(repeating: 0, count: queues)
    }

    deinit {
        fronts.deallocate()
        heads.deallocate()
    }

    // MARK: Entries

    /// A new entry: its frequency is one more than what is remembered of the key, here or by its caller.
    mutating func admit(_ index: UInt32, frequency: UInt8 = 0) {
        arena[index].pointee.frequency = min(15, 1 + max(frequency, ghosts.frequency(of: arena[index].pointee.hash)))
        enqueue(index)
    }

    /// Puts an entry into the queue of its class, behind all others.
    mutating func enqueue(_ index: UInt32) {
        let record = arena[index]
        let rank = Self.rank(frequency: record.pointee.frequency, weight: record.pointee.weight, size: record.pointee.charge)
        record.pointee.stamp = level &+ 1 << UInt64(rank)
        let space = Int(record.pointee.namespace)
        let list = space * Self.classes + rank
        if lists.isEmpty(list) { headChanged(list, to: record.pointee.stamp) }
        lists.append(index, to: list)
    }

    mutating func remove(_ index: UInt32) {
        guard let list = lists.remove(index) else { return }
        headChanged(list, to: lists.first(of: list).map { arena[$0].pointee.stamp })
    }

    func contains(_ index: UInt32) -> Bool { lists.contains(index) }

    /// Remembers how often a key was asked for that leaves now.
    mutating func remember(_ index: UInt32) {
        let record = arena[index].pointee
        ghosts.remember(record.hash, frequency: min(15, record.frequency + record.hits), residents: arena.live)
    }

    private mutating func headChanged(_ list: Int, to stamp: UInt64?) {
        let front = fronts + list / Self.classes
        let bit: UInt64 = 1 << UInt64(list % Self.classes)
        front.pointee.best = nil
        guard let stamp else {
            front.pointee.used &= ~bit
            return
        }
        front.pointee.used |= bit
        heads[list] = stamp
    }

    /// The number of a class: of its exponent, from 0 on.
    static func rank(frequency: UInt8, weight: Float, size: Int) -> Int {
        min(max(exponent(frequency: max(1, frequency), weight: weight, size: max(1, size)) - leastExponent, 0), classes - 1)
    }

    /// round(log2(frequency · weight / size)), from the bits of the quotient: no logarithm.
    static func exponent(frequency: UInt8, weight: Float, size: Int) -> Int {
        let worth = Float(frequency) * weight / Float(size)
        guard worth.isNormal, worth > 0 else { return leastExponent }
        return Int(worth.exponent) + (worth.significand >= Float(2).squareRoot() ? 1 : 0)
    }

    // MARK: Victims

    /// The entry that is worth least among the namespaces that are `eligible`; it stays where it is until the caller removes it. Entries
    /// that were hit since their last turn get another turn, at most `chances` of them.
    mutating func victim(chances: Int, where eligible: (Int) -> Bool) -> UInt32? {
        var chances = chances
        while let list = least(where: eligible), let index = lists.first(of: list) {
            if Int64(bitPattern: heads[list] &- level) > 0 { level = heads[list] }
            let record = arena[index]
            guard record.pointee.hits > 0, chances > 0 else { return index }
            chances -= 1
            remove(index)
            record.pointee.use = min(15, record.pointee.frequency + record.pointee.hits) << 4
            enqueue(index)
        }
        return nil
    }

    private func least(where eligible: (Int) -> Bool) -> Int? {
        var best: (list: Int, distance: Int64)?
        for space in 0..<namespaces where fronts[space].used != 0 && eligible(space) {
            let list = space * Self.classes + leastClass(of: space)
            let distance = Int64(bitPattern: heads[list] &- level)
            if distance < best?.distance ?? .max { best = (list, distance) }
        }
        return best?.list
    }

    private func leastClass(of space: Int) -> Int {
        if let best = fronts[space].best { return best }
        var used = fronts[space].used
        var best = (rank: 0, distance: Int64.max)
        while used != 0 {
            let rank = used.trailingZeroBitCount
            used &= used - 1
            let distance = Int64(bitPattern: heads[space * Self.classes + rank] &- level)
            if distance < best.distance { best = (rank, distance) }
        }
        fronts[space].best = best.rank
        return best.rank
    }

    func checkInvariants() {
        for list in 0..<namespaces * Self.classes {
            let front = fronts[list / Self.classes]
            precondition((front.used >> UInt64(list % Self.classes) & 1 == 1) != lists.isEmpty(list), "2: the bit of queue \(list)")
            var at = lists.first(of: list)
            var last: Int64 = .min
            while let index = at {
                let record = arena[index].pointee
                if last == .min { precondition(heads[list] == record.stamp, "2: the head of queue \(list)") }
                let distance = Int64(bitPattern: record.stamp &- level)
                precondition(distance >= last, "1: stamps fall in queue \(list)")
                precondition(Int(record.namespace) == list / Self.classes, "an entry in the queue of another namespace")
                last = distance
                at = lists.after(index)
            }
        }
    }
}
