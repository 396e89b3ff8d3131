/// When entries expire: four wheels of 256 slots (1 ms, 256 ms, 65 s, 4.7 h a slot) and a list for what is later than 49 days.
///
///     level 3          level 2         level 1         level 0
///     due >> 24 & 255  due >> 16 & 255 due >> 8 & 255  due & 255   ──▶ due, one at a time
///        └── cascades ────▶ └── cascades ─▶ └── cascades ─▶
///
/// An entry stands on the level of the highest byte in which its due tick differs from the clock, in the slot of that byte.
/// Bit maps of occupied slots let the clock jump over silence, so an idle hour costs nothing.
///
/// Invariants:
///  1. Slots at and before the clock's own byte of levels 1…3 are empty; level 0's slot of the clock holds what is due now.
///  2. `next` returns every entry whose tick is at most the one asked for, in the order of ticks, and only then moves there.
///  3. A bit is set exactly when its slot is occupied.
///
/// Thread rule: whoever holds it.
struct TimerWheel: ~Copyable {
    private static let slots = 256
    private static let levels = 4
    private static let far = slots * levels
    private static let farShift: Tick = 32

    private var lists: Lists
    private let arena: Arena
    /// One bit a slot, four words a level.
    private let occupied: UnsafeMutablePointer<UInt64>
    private(set) var clock: Tick

    init(at clock: Tick, arena: Arena) {
        self.clock = clock
        self.arena = arena
        lists = Lists(count: Self.far + 1, offset: MemoryLayout<Record>.offset(of: \.timer) ?? 0, arena: arena)
        occupied = .allocate(capacity: Self.levels * 4)
        occupied.initialize(repeating: 0, count: Self.levels * 4)
    }

    deinit { occupied.deallocate() }

    /// Schedules the record for its `expiresAt`; one that is overdue comes out at the next call of `next`.
    mutating func add(_ index: UInt32) {
        let list = place(max(arena[index].pointee.expiresAt, clock))
        lists.append(index, to: list)
        if list < Self.far { occupied[list / 64] |= 1 << UInt64(list % 64) }
    }

    mutating func remove(_ index: UInt32) {
        guard let list = lists.remove(index), list < Self.far, lists.isEmpty(list) else { return }
        occupied[list / 64] &= ~(1 << UInt64(list % 64))
    }

    func contains(_ index: UInt32) -> Bool { lists.contains(index) }

    private func place(_ due: Tick) -> Int {
        let differing = due ^ clock
        if differing >> Self.farShift != 0 { return Self.far }
        let level = differing == 0 ? 0 : (63 - differing.leadingZeroBitCount) / 8
        return level * Self.slots + Int(due >> UInt64(8 * level)) & 255
    }

    /// Takes out one record that is due at `tick` or before; nil when there is none, and then the clock stands at `tick`.
    mutating func next(upTo tick: Tick) -> UInt32? {
        while true {
            if let index = lists.first(of: Int(clock & 255)) {
                remove(index)
                return index
            }
            guard let step = nextStep(), step.tick <= tick else {
                clock = max(clock, tick)
                return nil
            }
            clock = step.tick
            if step.list >= Self.slots { cascade(step.list) }
        }
    }

    /// The tick before which nothing is due; nil when nothing is scheduled. The loop need not wake earlier.
    var nextDue: Tick? { lists.isEmpty(Int(clock & 255)) ? nextStep()?.tick : clock }

    /// The next occupied slot after the clock, and the tick at which it begins.
    private func nextStep() -> (tick: Tick, list: Int)? {
        for level in 0..<Self.levels {
            let shift = UInt64(8 * level)
            let digit = Int(clock >> shift) & 255
            guard let slot = firstOccupied(level: level, after: digit) else { continue }
            let above = (clock >> (shift + 8)) << (shift + 8)
            return (above | Tick(slot) << shift, level * Self.slots + slot)
        }
        return lists.isEmpty(Self.far) ? nil : ((clock >> Self.farShift + 1) << Self.farShift, Self.far)
    }

    private func firstOccupied(level: Int, after digit: Int) -> Int? {
        var word = (digit + 1) / 64
        guard word < 4 else { return nil }
        var bits = occupied[level * 4 + word] & (UInt64.max << UInt64((digit + 1) % 64))
        while bits == 0 {
            word += 1
            guard word < 4 else { return nil }
            bits = occupied[level * 4 + word]
        }
        return word * 64 + bits.trailingZeroBitCount
    }

    /// Spreads a slot that the clock has reached over the levels below. (What is still far goes to the end of the far list:
    /// hence up to the record that is last now.)
    private mutating func cascade(_ list: Int) {
        var moved: [UInt32] = []
        while let index = lists.first(of: list) {
            remove(index)
            if list == Self.far { moved.append(index) } else { add(index) }
        }
        for index in moved { add(index) }
    }

    func checkInvariants() {
        for list in 0...Self.far {
            if list < Self.far {
                let bit = occupied[list / 64] >> UInt64(list % 64) & 1 == 1
                precondition(bit != lists.isEmpty(list), "3: the bit of timer slot \(list) is wrong")
            }
            var at = lists.first(of: list)
            while let index = at {
                let due = max(arena[index].pointee.expiresAt, clock)
                let isDueNow = list == Int(clock & 255) && due == clock
                precondition(isDueNow || place(due) == list, "1: record \(index), due \(due), stands in timer slot \(list) at \(clock)")
                at = lists.after(index)
            }
        }
    }
}
