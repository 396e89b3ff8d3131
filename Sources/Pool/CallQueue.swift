internal import Base

/// Waiting calls in the order of their arrival.
struct CallQueue {
    struct Entry {
        let call: CallID
        let arrived: Moment
        let deadline: Moment
    }

    private var entries: [Entry] = []
    private var head = 0
    /// Do some calls have a deadline of their own?
    private var hasDeadlines = false

    var count: Int { entries.count - head }
    var isEmpty: Bool { head == entries.count }
    var first: Entry? { isEmpty ? nil : entries[head] }

    mutating func append(_ call: CallID, arrived: Moment, deadline: Moment?) {
        if deadline != nil { hasDeadlines = true }
        entries.append(Entry(call: call, arrived: arrived, deadline: deadline ?? Moment(nanoseconds: .max)))
    }

    mutating func removeFirst() -> CallID {
        let call = entries[head].call
        head += 1
        if head == entries.count {
            entries.removeAll(keepingCapacity: true)
            head = 0
            hasDeadlines = false
        } else if head > 1024, head * 2 > entries.count {
            entries.removeFirst(head)
            head = 0
        }
        return call
    }

    mutating func remove(_ call: CallID) -> Bool {
        guard let index = entries[head...].firstIndex(where: { $0.call == call }) else { return false }
        entries.remove(at: index)
        return true
    }

    /// Takes out the calls whose time is over at `now`, in order.
    mutating func removeExpired(at now: Moment, waitMax: Span) -> [CallID] {
        var expired: [CallID] = []
        while let first, first.arrived + waitMax <= now { expired.append(removeFirst()) }
        guard hasDeadlines else { return expired }
        entries.removeFirst(head)
        head = 0
        expired += entries[head...].filter { $0.deadline <= now }.map(\.call)
        entries.removeAll { $0.deadline <= now }
        return expired
    }

    /// The earliest moment at which a call expires.
    func nextExpiry(waitMax: Span) -> Moment? {
        guard let first else { return nil }
        let byWait = first.arrived + waitMax
        guard hasDeadlines else { return byWait }
        return min(byWait, entries[head...].lazy.map(\.deadline).min() ?? byWait)
    }
}
