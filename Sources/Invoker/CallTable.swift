internal import Pool

/// The invocations that a pool knows by number, in a table whose free places are a list.
///
/// A dictionary would hash and probe twice an invocation; here the number tells the place.
struct CallTable {
    private var places: [(id: CallID, invocation: Invocation?)] = []
    private var vacant: [Int] = []
    private var count: UInt64 = 0

    /// The place in the low 20 bits, how many invocations came before in the rest: never used twice.
    private static let placeBits: UInt64 = 20

    mutating func insert(_ invocation: Invocation) -> CallID {
        let place = vacant.popLast() ?? places.count
        precondition(place < 1 << Self.placeBits, "more invocations wait than queues can hold")
        count += 1
        let id = CallID(count << Self.placeBits | UInt64(place))
        if place == places.count { places.append((id, invocation)) } else { places[place] = (id, invocation) }
        return id
    }

    /// Takes the invocation out; nil when it has left already.
    mutating func remove(_ id: CallID) -> Invocation? {
        let place = Int(id.rawValue & (1 << Self.placeBits - 1))
        guard place < places.count, places[place].id == id, let invocation = places[place].invocation else { return nil }
        places[place].invocation = nil
        vacant.append(place)
        return invocation
    }

    /// The number of an invocation that has not left yet; looks at all.
    func id(of invocation: Invocation) -> CallID? { places.first { $0.invocation === invocation }?.id }
}
