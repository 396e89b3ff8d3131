import Base
import EventQueue
import Foundation
import Synchronization
import Testing

@Suite final class EventStoreTests {
    private let directory = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func event(_ number: Int, function: String = "f") -> NewEvent {
        NewEvent(
            id: RequestID(high: UInt64(number), low: ~0), function: function, qualifier: number % 2 == 0 ? "live" : nil,
            payload: Array("{\"n\":\(number)}".utf8), accepted: Int64(number))
    }

    /// Waits for an answer of the store.
    private func wait<T: Sendable>(_ body: (@escaping @Sendable (Result<T, EventQueueError>) -> Void) -> Void) throws -> T {
        let done = DispatchSemaphore(value: 0)
        let result = Mutex<Result<T, EventQueueError>?>(nil)
        body { answer in
            result.withLock { $0 = answer }
            done.signal()
        }
        done.wait()
        return try #require(result.withLock { $0 }).get()
    }

    private func waiting(_ store: EventStore, _ filter: EventStore.Filter = .init()) throws -> [String] {
        let events = try wait { store.waiting(filter, done: $0) }
        return try events.map { event in
            let payload = try wait { store.payload(of: event.sequence, done: $0) }
            return "\(event.function):\(event.qualifier ?? "-") \(String(decoding: payload ?? [], as: UTF8.self)) \(event.progress.attempts) \(event.progress.due)"
        }
    }

    @Test func whatIsAcknowledgedIsInACopyOfTheFilesAtAnyMoment() throws {
        let store = try EventStore(directory: directory)
        // A copy tells of the kernel's memory, this of the disk.
        #expect(store.isSynced)
        var alive: Set<Int64> = []
        var failed: Set<Int64> = []
        var random = Random(seed: 7)
        for step in 1...60 {
            switch random.next() % 5 {
            case 0 where !alive.isEmpty:
                let sequence = alive.removeFirst()
                let next = try wait { store.apply(.finish(sequence, then: [event(step, function: "destination")]), done: $0) }
                alive.formUnion(next.added.map(\.sequence))
            case 1 where !alive.isEmpty:
                let sequence = alive.removeFirst()
                let progress = EventProgress(due: 0, attempts: 3)
                _ = try wait {
                    store.apply(.fail(sequence, progress, .retriesExhausted, message: "no", at: Int64(step), then: []), done: $0)
                }
                failed.insert(sequence)
            case 2 where !failed.isEmpty:
                let sequence = failed.removeFirst()
                alive.formUnion(try wait { store.apply(.redrive(sequence, at: Int64(step)), done: $0) }.added.map(\.sequence))
            default: alive.formUnion(try wait { store.apply(.add(event(step)), done: $0) }.added.map(\.sequence))
            }
            guard step % 3 == 0 else { continue }
            let copy = "\(directory)/copy-\(step)"
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
            for file in ["events.sqlite", "events.sqlite-wal"] {
                try FileManager.default.copyItem(atPath: "\(directory)/\(file)", toPath: "\(copy)/\(file)")
            }
            let reopened = try EventStore(directory: copy)
            #expect(Set(try wait { reopened.waiting(.init(limit: 1000), done: $0) }.map(\.sequence)) == alive, "step \(step)")
            #expect(Set(try wait { reopened.failed(.init(limit: 1000), done: $0) }.map(\.event.sequence)) == failed, "step \(step)")
        }
    }

    @Test func manyChangesAtOnceAreAnsweredInOrderAndAllThere() throws {
        let store = try EventStore(directory: directory)
        let order = Mutex<[Int64]>([])
        let done = DispatchSemaphore(value: 0)
        for number in 1...2000 {
            store.apply(.add(event(number))) { result in
                if case .success(let applied) = result { order.withLock { $0 += applied.added.map(\.accepted) } }
                if number == 2000 { done.signal() }
            }
        }
        done.wait()
        #expect(order.withLock { $0 } == (1...2000).map { Int64($0) })
        #expect(try wait { store.counts(done: $0) } == (2000, 0))
        #expect(try wait { store.waiting(.init(after: 1990, limit: 1000), done: $0) }.count == 10)
    }

    @Test func anEventMovesAsItsOutcomesSay() throws {
        let store = try EventStore(directory: directory)
        for number in 1...3 { _ = try wait { store.apply(.add(event(number, function: number == 3 ? "g" : "f")), done: $0) } }
        _ = try wait { store.apply(.postpone(1, EventProgress(due: 99, attempts: 1)), done: $0) }
        #expect(try waiting(store) == ["f:- {\"n\":1} 1 99", "f:live {\"n\":2} 0 2", "g:- {\"n\":3} 0 3"])
        #expect(try waiting(store, .init(function: "g")) == ["g:- {\"n\":3} 0 3"])
        let progress = EventProgress(due: 0, attempts: 2)
        _ = try wait { store.apply(.fail(1, progress, .eventAgeExceeded, message: "late", at: 5, then: [event(9)]), done: $0) }
        let failed = try wait { store.failed(.init(), done: $0) }
        #expect(failed.map { "\($0.event.sequence) \($0.event.progress.attempts) \($0.condition) \($0.message) \($0.failed)" } == ["1 2 eventAgeExceeded late 5"])
        // From its beginning, under a new number, with the same id.
        let again = try wait { store.apply(.redrive(1, at: 70), done: $0) }.added
        #expect(again.map { "\($0.id.high) \($0.accepted) \($0.progress.attempts)" } == ["1 70 0"] && again[0].sequence > 3)
        #expect(try wait { store.apply(.redrive(1, at: 71), done: $0) }.added.isEmpty)
        for event in try wait({ store.waiting(.init(), done: $0) }) { _ = try wait { store.apply(.drop(event.sequence), done: $0) } }
        #expect(try wait { store.counts(done: $0) } == (0, 0) && wait { store.payload(of: 1, done: $0) } == nil)
    }

    @Test func aTickAndItsSchedulesNextTimeAreOneChange() throws {
        func row(_ name: String, _ function: String = "f", start: Int64 = 1, next: Int64? = 10, last: Int64? = nil) -> ScheduleRow {
            ScheduleRow(
                function: function, name: name, qualifier: "live", expression: "rate(1 day)", zone: "UTC", input: "{}", missed: "once", start: start,
                next: next, last: last)
        }
        do {
            let store = try EventStore(directory: directory)
            _ = try wait { store.apply(.schedule([row("1"), row("2")], of: "f"), done: $0) }
            _ = try wait { store.apply(.schedule([row("1", "g")], of: "g"), done: $0) }
            let told = try wait { store.apply(.tick(row("1", next: 20, last: 10), event(4)), done: $0) }
            #expect(told.added.count == 1 && told.waiting == 1)
            // One that was missed and is not made up for; one that is over.
            #expect(try wait { store.apply(.tick(row("2", next: nil), nil), done: $0) }.added.isEmpty)
            // Set anew, or gone, since it was due: nothing happens.
            for stale in [row("1", start: 2, next: 30), row("3"), row("2", "g")] {
                #expect(try wait { store.apply(.tick(stale, event(5)), done: $0) }.added.isEmpty)
            }
            _ = try wait { store.apply(.schedule([], of: "g"), done: $0) }
        }
        let store = try EventStore(directory: directory)
        #expect(try wait { store.schedules(done: $0) } == [row("1", next: 20, last: 10), row("2", next: nil)])
        #expect(try waiting(store) == ["f:live {\"n\":4} 0 4"])
        #expect(row("1").isSame(as: row("1", start: 5, next: nil, last: 3)) && !row("1").isSame(as: row("2")))
    }

    @Test func aFileThatIsNotOneIsToldInOneSentence() throws {
        try Data(repeating: 7, count: 9000).write(to: URL(fileURLWithPath: directory + "/events.sqlite"))
        #expect(throws: EventQueueError.self) { _ = try EventStore(directory: directory) }
    }
}
