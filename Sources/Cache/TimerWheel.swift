/// When entries expire: four wheels of 512 slots (1 ms, 256 ms, 65 s, 4.7 h a slot) and a list for what is later than 49 days.
///
///     level 3 ── cascade ──▶ level 2 ── cascade ──▶ level 1 ── cascade ──▶ level 0 ──▶ due, one at a time
///     4.7 h a slot           65 s                   256 ms                 1 ms
///
/// A level holds what is due in the current or the next slot of the level above, so a slot is spread over the level below while the
/// clock still has a whole slot to go: `prepare` does that in small steps. (Without it, a million entries that end in the same minute
/// would all be moved in one tick, and what is due then would be late by half a second.) Bit maps of occupied slots let the clock
/// jump over silence, so an idle hour costs nothing.
///
/// Invariants:
///  1. An entry due at d stands at slot d >> 8·level of its level, less than 512 slots ahead of the clock, on the lowest level that can
///     hold it, or higher while it waits for `prepare`.
///  2. `next` returns every entry whose tick is at most the one asked for, in the order of ticks, and only then moves there.
///  3. A bit is set exactly when its slot is occupied.
///
/// Thread rule: whoever holds it.
struct TimerWheel: ~Copyable {
    private static let slots = 512
    private static let words = slots / 64
    private static let levels = 4
    private static let far = slots * levels
    private static let farShift: Tick = 32

    private var lists: Lists
    private let arena: Arena
    /// One bit a slot.
    private let occupied: UnsafeMutablePointer<UInt64>
    private(set) var clock: Tick

    init(at clock: Tick, arena: Arena) {
        self.clock = clock
        self.arena = arena
        lists = Lists(count: Self.far + 1, offset: MemoryLayout<Record>.offset(of: \.timer) ?? 0, arena: arena)
        occupied = .allocate(capacity: Self.levels * Self.words)
        occupied.initialize(repeating: 0, count: Self.levels * Self.words)
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
        for level in 0..<Self.levels {
            let above = UInt64(8 * level + 8)
            if due >> above - clock >> above <= 1 { return list(level, due) }
        }
        return Self.far
    }

    @inline(__always) private func list(_ level: Int, _ tick: Tick) -> Int {
        level * Self.slots + Int(tick >> UInt64(8 * level)) & (Self.slots - 1)
    }

    /// Takes out one record that is due at `tick` or before; nil when there is none, and then the clock stands at `tick`.
    mutating func next(upTo tick: Tick) -> UInt32? {
        while true {
            if let index = lists.first(of: list(0, clock)) {
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
    var nextDue: Tick? { lists.isEmpty(list(0, clock)) ? nextStep()?.tick : clock }

    /// The next occupied slot, and the tick at which it begins; of several the highest, because what is in it may be due first.
    private func nextStep() -> (tick: Tick, list: Int)? {
        var best: (tick: Tick, list: Int)?
        for level in 0..<Self.levels {
            let shift = UInt64(8 * level)
            guard let ahead = slotsAhead(level: level, from: Int(clock >> shift) & (Self.slots - 1)) else { continue }
            let tick = max(clock, (clock >> shift + Tick(ahead)) << shift)
            if tick <= best?.tick ?? .max { best = (tick, list(level, (clock >> shift + Tick(ahead)) << shift)) }
        }
        let farTick = (clock >> Self.farShift + 1) << Self.farShift
        return lists.isEmpty(Self.far) || best?.tick ?? .max < farTick ? best : (farTick, Self.far)
    }

    /// How many slots after `slot` the next occupied one is, around the wheel.
    private func slotsAhead(level: Int, from slot: Int) -> Int? {
        var word = slot / 64
        var bits = occupied[level * Self.words + word] & (UInt64.max << UInt64(slot % 64))
        for _ in 0...Self.words {
            if bits != 0 { return (word * 64 + bits.trailingZeroBitCount - slot) & (Self.slots - 1) }
            word = (word + 1) % Self.words
            bits = occupied[level * Self.words + word]
        }
        return nil
    }

    /// Spreads a slot that the clock has reached over the levels below. (What is still far is put back at the end.)
    private mutating func cascade(_ list: Int) {
        var kept: [UInt32] = []
        while let index = lists.first(of: list) {
            remove(index)
            if list == Self.far { kept.append(index) } else { add(index) }
        }
        for index in kept { add(index) }
    }

    /// Spreads up to `budget` entries of the slots that the clock reaches next over the levels below; false: there are more.
    mutating func prepare(_ budget: Int) -> Bool {
        var left = budget
        for level in 1..<Self.levels {
            let list = list(level, clock + 1 << UInt64(8 * level))
            while let index = lists.first(of: list) {
                guard left > 0 else { return false }
                left -= 1
                remove(index)
                add(index)
            }
        }
        return true
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
                let level = list / Self.slots
                let isPlaced = list == Self.far ? due >> Self.farShift > clock >> Self.farShift : self.list(level, due) == list
                let isAhead = list == Self.far || due >> UInt64(8 * level) - clock >> UInt64(8 * level) < Tick(Self.slots)
                precondition(
                    isPlaced && isAhead && place(due) / Self.slots <= level, "1: \(index), due \(due), in slot \(list) at \(clock)")
                at = lists.after(index)
            }
        }
    }
}
