import AsyncInvoke
import Base
import EventQueue
import Foundation
import Testing

@Suite struct EventLinesTests {
    private func event(_ sequence: Int64, _ function: String = "f", due: Int64 = 0) -> QueuedEvent {
        QueuedEvent(
            sequence: sequence, id: RequestID(high: 0, low: UInt64(sequence)), function: function, qualifier: nil, accepted: 0,
            progress: EventProgress(due: due), source: "invoke")
    }

    @Test func linesTakeTurnsAndKeepTheirOrderAndTheirBounds() {
        var lines = EventLines(inFlightMax: 2)
        for sequence in 1...4 as ClosedRange<Int64> { lines.add(event(sequence, "busy"), at: 0) }
        lines.add(event(5, "rare"), at: 0)
        #expect([lines.next(at: 0), lines.next(at: 0), lines.next(at: 0)].map { $0?.sequence } == [1, 5, 2])
        // Two of it are in flight: nothing more before one has landed, and no time at which that changes by itself.
        #expect(lines.next(at: 0) == nil && lines.nextTime(at: 0) == nil && lines.count == 2)
        lines.landed(event(1, "busy"), at: 0)
        #expect(lines.next(at: 0)?.sequence == 3)
        // One that was refused holds its line back.
        lines.landed(event(2, "busy"), blockedFor: 50, at: 10)
        #expect(lines.next(at: 59) == nil && lines.nextTime(at: 10) == 60 && lines.next(at: 60)?.sequence == 4)
    }

    @Test func whatIsForLaterComesWhenItIsDueAndNotBefore() {
        var lines = EventLines(inFlightMax: 10)
        for (sequence, due) in [(1, 300), (2, 100), (3, 200), (4, 100)] { lines.add(event(Int64(sequence), due: Int64(due)), at: 0) }
        #expect(lines.nextTime(at: 0) == 100 && lines.next(at: 99) == nil)
        #expect(lines.next(at: 100)?.sequence == 2 && lines.next(at: 100)?.sequence == 4 && lines.next(at: 100) == nil)
        #expect(lines.remove(3) && !lines.remove(3) && lines.nextTime(at: 100) == 300)
        #expect(lines.next(at: 300)?.sequence == 1 && lines.count == 0)
    }

    /// Against a list that is searched from its front.
    @Test(arguments: [1, 2, 3] as [UInt64]) func noEventIsLostOrGivenTwice(seed: UInt64) {
        var random = Random(seed: seed)
        var lines = EventLines(inFlightMax: 3)
        var waiting: [Int64: QueuedEvent] = [:]
        var flying: [QueuedEvent] = []
        var now: Int64 = 0
        var sequence: Int64 = 0
        for _ in 0..<5000 {
            switch random.next() % 4 {
            case 0:
                sequence += 1
                let new = event(sequence, "f\(random.next() % 4)", due: now + Int64(random.next() % 20))
                waiting[sequence] = new
                lines.add(new, at: now)
            case 1:
                if let given = lines.next(at: now) {
                    #expect(waiting.removeValue(forKey: given.sequence) == given && given.progress.due <= now, "seed \(seed)")
                    flying.append(given)
                    #expect(flying.count { $0.function == given.function } <= 3, "seed \(seed)")
                }
            case 2 where !flying.isEmpty:
                let landed = flying.remove(at: Int(random.next() % UInt64(flying.count)))
                lines.landed(landed, blockedFor: random.next() % 8 == 0 ? 5 : 0, at: now)
            default: now += Int64(random.next() % 4)
            }
            #expect(lines.count == waiting.count, "seed \(seed)")
        }
        for landed in flying { lines.landed(landed, at: now) }
        now += 1000
        while let given = lines.next(at: now) {
            waiting[given.sequence] = nil
            lines.landed(given, at: now)
        }
        #expect(waiting.isEmpty && lines.count == 0, "seed \(seed)")
    }
}
