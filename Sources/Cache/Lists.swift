/// Doubly linked lists through the records. The outer ends of a list carry its number instead of an index, so a record can be
/// taken out without knowing which list holds it.
struct Lists: ~Copyable {
    static let none = UInt32.max
    private static let mark: UInt32 = 1 << 31

    private let arena: Arena
    private let offset: Int
    /// By list: `next` is its first record, `previous` its last.
    private let ends: UnsafeMutablePointer<Link>

    /// Lists through the records' link at `offset`.
    init(count: Int, offset: Int, arena: Arena) {
        self.arena = arena
        self.offset = offset
        ends = .allocate(capacity: count)
        ends.initialize(repeating: Link(next: Self.none, previous: Self.none), count: count)
    }

    deinit { ends.deallocate() }

    @inline(__always) private func link(_ index: UInt32) -> UnsafeMutablePointer<Link> {
        (UnsafeMutableRawPointer(arena[index]) + offset).assumingMemoryBound(to: Link.self)
    }

    @inline(__always) func first(of list: Int) -> UInt32? {
        let index = ends[list].next
        return index == Self.none ? nil : index
    }

    func isEmpty(_ list: Int) -> Bool { ends[list].next == Self.none }
    func contains(_ index: UInt32) -> Bool { link(index).pointee.next != Self.none }

    func after(_ index: UInt32) -> UInt32? {
        let next = link(index).pointee.next
        return next & Self.mark == 0 ? next : nil
    }

    mutating func append(_ index: UInt32, to list: Int) {
        let number = Self.mark | UInt32(list)
        let last = ends[list].previous
        link(index).pointee = Link(next: number, previous: last == Self.none ? number : last)
        if last == Self.none { ends[list].next = index } else { link(last).pointee.next = index }
        ends[list].previous = index
    }

    /// Takes the record out and returns the list when it was its first.
    @discardableResult mutating func remove(_ index: UInt32) -> Int? {
        let place = link(index).pointee
        assert(place.next != Self.none, "a record that is in no list")
        link(index).pointee = Link(next: Self.none, previous: Self.none)
        let isFirst = place.previous & Self.mark != 0
        let isLast = place.next & Self.mark != 0
        if isLast {
            ends[Int(place.next & ~Self.mark)].previous = isFirst ? Self.none : place.previous
        } else {
            link(place.next).pointee.previous = place.previous
        }
        guard isFirst else {
            link(place.previous).pointee.next = place.next
            return nil
        }
        let list = Int(place.previous & ~Self.mark)
        ends[list].next = isLast ? Self.none : place.next
        return list
    }
}
