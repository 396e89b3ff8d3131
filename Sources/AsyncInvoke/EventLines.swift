internal import Base
package import EventQueue

/// The events that are known in memory and not in flight: those that are due in a line for each function, the others by their time. Pure.
///
/// Invariants:
///  1. An event is in one place: `later`, or the line of its function.
///  2. A line gives its events in the order in which they became due, and not while it is blocked or has `inFlightMax` in flight.
///  3. Lines take turns, so that a function with many events does not hold up one with few.
package struct EventLines {
    private struct Line {
        var events: [QueuedEvent] = []
        var start = 0
        var inFlight = 0
        /// Milliseconds since 1970 before which nothing is given.
        var blockedUntil: Int64 = 0

        var isEmpty: Bool { start == events.count }
    }

    private struct Later: Comparable {
        let event: QueuedEvent

        static func < (a: Later, b: Later) -> Bool {
            (a.event.progress.due, a.event.sequence) < (b.event.progress.due, b.event.sequence)
        }

        static func == (a: Later, b: Later) -> Bool { a.event.sequence == b.event.sequence }
    }

    private let inFlightMax: Int
    private var lines: [String: Line] = [:]
    /// Functions whose lines are not empty, in the order of their turns.
    private var turns: [String] = []
    private var later = MinHeap<Later>()
    package private(set) var count = 0

    package init(inFlightMax: Int) { self.inFlightMax = inFlightMax }

    package mutating func add(_ event: QueuedEvent, at now: Int64) {
        count += 1
        if event.progress.due > now { later.insert(Later(event: event)) } else { enqueue(event) }
    }

    private mutating func enqueue(_ event: QueuedEvent) {
        if lines[event.function, default: Line()].isEmpty { turns.append(event.function) }
        lines[event.function, default: Line()].events.append(event)
    }

    /// The next event that may be tried now; it is in flight then.
    package mutating func next(at now: Int64) -> QueuedEvent? {
        while let first = later.first, first.event.progress.due <= now { enqueue(later.removeFirst().event) }
        for turn in turns.indices {
            let name = turns[turn]
            guard var line = lines[name], line.inFlight < inFlightMax, line.blockedUntil <= now else { continue }
            let event = line.events[line.start]
            line.start += 1
            line.inFlight += 1
            if line.start > 64, line.start * 2 > line.events.count {
                line.events.removeFirst(line.start)
                line.start = 0
            }
            lines[name] = line
            turns.remove(at: turn)
            if !line.isEmpty { turns.append(name) }
            count -= 1
            return event
        }
        return nil
    }

    /// An event is not in flight any more; `blockedFor` milliseconds nothing of its function is tried.
    package mutating func landed(_ event: QueuedEvent, blockedFor: Int64 = 0, at now: Int64) {
        guard var line = lines[event.function] else { return }
        line.inFlight -= 1
        line.blockedUntil = max(line.blockedUntil, now + blockedFor)
        lines[event.function] = line.isEmpty && line.inFlight == 0 && line.blockedUntil <= now ? nil : line
    }

    /// Forgets an event that is not in flight; false: it is not here.
    package mutating func remove(_ sequence: Int64) -> Bool {
        if later.remove(where: { $0.event.sequence == sequence }) {
            count -= 1
            return true
        }
        for (name, line) in lines {
            guard let index = line.events[line.start...].firstIndex(where: { $0.sequence == sequence }) else { continue }
            lines[name]?.events.remove(at: index)
            if lines[name]?.isEmpty == true { turns.removeAll { $0 == name } }
            count -= 1
            return true
        }
        return false
    }

    /// Milliseconds since 1970 at which `next` may have something that it has not now; nil: only after another event.
    package func nextTime(at now: Int64) -> Int64? {
        var next = later.first?.event.progress.due
        for name in turns {
            guard let line = lines[name], line.inFlight < inFlightMax, line.blockedUntil > now else { continue }
            next = min(next ?? .max, line.blockedUntil)
        }
        return next
    }
}

/// A binary heap: the smallest first.
struct MinHeap<Element: Comparable> {
    private var elements: [Element] = []

    var first: Element? { elements.first }
    var count: Int { elements.count }

    mutating func insert(_ element: Element) {
        elements.append(element)
        rise(elements.count - 1)
    }

    mutating func removeFirst() -> Element {
        elements.swapAt(0, elements.count - 1)
        let first = elements.removeLast()
        if !elements.isEmpty { sink(0) }
        return first
    }

    /// Removes one; a look at all of them.
    mutating func remove(where matches: (Element) -> Bool) -> Bool {
        guard let index = elements.firstIndex(where: matches) else { return false }
        elements.swapAt(index, elements.count - 1)
        elements.removeLast()
        if index < elements.count {
            sink(index)
            rise(index)
        }
        return true
    }

    private mutating func rise(_ start: Int) {
        var child = start
        while child > 0, elements[child] < elements[(child - 1) / 2] {
            elements.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func sink(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < elements.count && elements[child] < elements[least] {
                least = child
            }
            if least == parent { return }
            elements.swapAt(parent, least)
            parent = least
        }
    }
}
