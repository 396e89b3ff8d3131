/// From a 64-bit hash to indices: open addressing with linear probing, 8 bytes a slot.
///
///     hash ─ upper 32 bits = tag ─┬─ upper 6 bits: which of 64 segments
///                                 └─ lower bits:   the first slot to look at in it
///     slot = tag << 32 | index + 1;  0 = vacant
///
/// The table does not know keys: the caller's closure decides whether an index is meant (semantic 7.1.1: equal hashes are
/// never taken for equal keys). Each segment grows and shrinks by itself, so no operation moves more than 1/64 of the slots.
///
/// Invariants:
///  1. From a tag's first slot to the slot that holds it there is no vacant slot (removal shifts back).
///  2. A segment is at most 3/4 full.
///
/// Thread rule: whoever holds it.
struct Table: ~Copyable {
    private struct Segment {
        var slots: UnsafeMutablePointer<UInt64>
        var mask: UInt32
        var count: UInt32
    }

    private static let segmentBits: UInt32 = 6
    private static let slotsMin = 8

    private let segments: UnsafeMutablePointer<Segment>

    init() {
        segments = .allocate(capacity: 1 << Self.segmentBits)
        for index in 0..<1 << Self.segmentBits {
            (segments + index).initialize(to: Segment(slots: Self.slots(Self.slotsMin), mask: UInt32(Self.slotsMin - 1), count: 0))
        }
    }

    deinit {
        for index in 0..<1 << Self.segmentBits { segments[index].slots.deallocate() }
        segments.deallocate()
    }

    private static func slots(_ count: Int) -> UnsafeMutablePointer<UInt64> {
        let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
        slots.initialize(repeating: 0, count: count)
        return slots
    }

    var count: Int { (0..<1 << Int(Self.segmentBits)).reduce(0) { $0 + Int(segments[$1].count) } }
    var slotBytes: Int { (0..<1 << Int(Self.segmentBits)).reduce(0) { $0 + (Int(segments[$1].mask) + 1) * 8 } }

    /// The index with this hash for which `matches` is true.
    @inline(__always) func find(_ hash: UInt64, where matches: (UInt32) -> Bool) -> UInt32? {
        let tag = UInt32(hash >> 32)
        let segment = segments[Int(tag >> (32 - Self.segmentBits))]
        var at = tag & segment.mask
        while true {
            let slot = segment.slots[Int(at)]
            if slot == 0 { return nil }
            if UInt32(slot >> 32) == tag {
                let index = UInt32(truncatingIfNeeded: slot) &- 1
                if matches(index) { return index }
            }
            at = (at &+ 1) & segment.mask
        }
    }

    /// Adds an index that is not in the table.
    mutating func insert(_ hash: UInt64, _ index: UInt32) {
        let tag = UInt32(hash >> 32)
        let segment = segments + Int(tag >> (32 - Self.segmentBits))
        if (Int(segment.pointee.count) + 1) * 4 > (Int(segment.pointee.mask) + 1) * 3 {
            resize(segment, to: (Int(segment.pointee.mask) + 1) * 2)
        }
        Self.place(UInt64(tag) << 32 | UInt64(index + 1), in: segment.pointee)
        segment.pointee.count += 1
    }

    private static func place(_ slot: UInt64, in segment: Segment) {
        var at = UInt32(slot >> 32) & segment.mask
        while segment.slots[Int(at)] != 0 { at = (at &+ 1) & segment.mask }
        segment.slots[Int(at)] = slot
    }

    /// Takes out an index that is in the table.
    mutating func remove(_ hash: UInt64, _ index: UInt32) {
        let tag = UInt32(hash >> 32)
        let segment = segments + Int(tag >> (32 - Self.segmentBits))
        let slots = segment.pointee.slots
        let mask = segment.pointee.mask
        let wanted = UInt64(tag) << 32 | UInt64(index + 1)
        var hole = tag & mask
        while slots[Int(hole)] != wanted {
            precondition(slots[Int(hole)] != 0, "an index that is not in the table")
            hole = (hole &+ 1) & mask
        }
        shiftBack(from: hole, in: segment.pointee)
        segment.pointee.count -= 1
        let size = Int(mask) + 1
        if size > Self.slotsMin, Int(segment.pointee.count) * 8 < size { resize(segment, to: size / 2) }
    }

    /// Fills the hole with a later slot that may stand there, and so on until a vacant slot ends the run (invariant 1).
    private mutating func shiftBack(from hole: UInt32, in segment: Segment) {
        let mask = segment.mask
        var hole = hole
        var at = hole
        while true {
            at = (at &+ 1) & mask
            let slot = segment.slots[Int(at)]
            if slot == 0 { break }
            let home = UInt32(slot >> 32) & mask
            if (at &- home) & mask >= (at &- hole) & mask {
                segment.slots[Int(hole)] = slot
                hole = at
            }
        }
        segment.slots[Int(hole)] = 0
    }

    private mutating func resize(_ segment: UnsafeMutablePointer<Segment>, to size: Int) {
        let old = segment.pointee
        segment.pointee.slots = Self.slots(size)
        segment.pointee.mask = UInt32(size - 1)
        for at in 0...Int(old.mask) where old.slots[at] != 0 { Self.place(old.slots[at], in: segment.pointee) }
        old.slots.deallocate()
    }
}
