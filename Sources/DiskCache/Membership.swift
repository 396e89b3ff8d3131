/// Which hashes the file may hold, in about 8 bytes each: a lookup of what is surely not there asks no disk.
///
/// A multiset of the hashes' lower 32 bits with linear probing; their upper bits of these 32 are the slot where the search begins, so that
/// it can grow without the hashes. With a million entries one lookup in 4000 asks the disk in vain.
///
/// Invariants: 1. Each value is reachable from its home without a vacant slot between. 2. At most 3/4 of the slots are taken.
struct Membership {
    private static let vacant: UInt32 = 0

    private var slots = [UInt32](repeating: vacant, count: 16)
    private(set) var count = 0

    private static func value(_ hash: UInt64) -> UInt32 { max(1, UInt32(truncatingIfNeeded: hash)) }
    private var shift: UInt32 { UInt32(32 - slots.count.trailingZeroBitCount) }
    private func home(_ value: UInt32) -> Int { Int(value >> shift) }
    private func next(_ slot: Int) -> Int { (slot + 1) & (slots.count - 1) }

    func mayContain(_ hash: UInt64) -> Bool {
        let value = Self.value(hash)
        var slot = home(value)
        while slots[slot] != Self.vacant {
            if slots[slot] == value { return true }
            slot = next(slot)
        }
        return false
    }

    mutating func insert(_ hash: UInt64) {
        if (count + 1) * 4 > slots.count * 3 { grow() }
        place(Self.value(hash))
        count += 1
    }

    mutating func remove(_ hash: UInt64) {
        let value = Self.value(hash)
        var slot = home(value)
        while slots[slot] != value {
            if slots[slot] == Self.vacant { return }
            slot = next(slot)
        }
        count -= 1
        // what stands behind moves up, unless its home lies behind the hole
        var hole = slot
        slot = next(slot)
        while slots[slot] != Self.vacant {
            let distance = (slot - home(slots[slot])) & (slots.count - 1)
            if distance >= (slot - hole) & (slots.count - 1) {
                slots[hole] = slots[slot]
                hole = slot
            }
            slot = next(slot)
        }
        slots[hole] = Self.vacant
    }

    private mutating func place(_ value: UInt32) {
        var slot = home(value)
        while slots[slot] != Self.vacant { slot = next(slot) }
        slots[slot] = value
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt32](repeating: Self.vacant, count: old.count * 2)
        for value in old where value != Self.vacant { place(value) }
    }

    var bytes: Int { slots.count * MemoryLayout<UInt32>.stride }
}
