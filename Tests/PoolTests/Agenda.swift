import Base

/// What is to happen in virtual time, earliest first; of the same moment, what was noted first.
struct Agenda<Event> {
    /// A binary heap.
    private var entries: [(time: Moment, number: Int, event: Event)] = []
    private var noted = 0

    var next: Moment? { entries.first?.time }

    private func comesBefore(_ a: Int, _ b: Int) -> Bool {
        (entries[a].time, entries[a].number) < (entries[b].time, entries[b].number)
    }

    mutating func note(_ event: Event, at time: Moment) {
        noted += 1
        entries.append((time, noted, event))
        var at = entries.count - 1
        while at > 0, comesBefore(at, (at - 1) / 2) {
            entries.swapAt(at, (at - 1) / 2)
            at = (at - 1) / 2
        }
    }

    mutating func removeFirst() -> Event {
        entries.swapAt(0, entries.count - 1)
        let event = entries.removeLast().event
        var at = 0
        while true {
            let children = [2 * at + 1, 2 * at + 2].filter { $0 < entries.count }
            guard let child = children.min(by: comesBefore), comesBefore(child, at) else { return event }
            entries.swapAt(at, child)
            at = child
        }
    }
}
