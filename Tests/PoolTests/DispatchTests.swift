import Pool
import Testing

/// Who serves which call, and which calls nobody serves.
@Suite struct DispatchTests {
    @Test func theFirstFreeWorkerServesWhicheverItIs() {
        var pool = Script()
        #expect(pool.arrive(1) == ["start w1 first"] && pool.arrive(2) == ["start w2 first"] && pool.arrive(3) == ["start w3 first"])
        // The later start is ready first and takes the oldest call, then the next: nothing was bound to w1 or w3.
        #expect(pool.ready(2, at: 50) == ["1 to w2 new"] && pool.finish(2, at: 60) == ["2 to w2"])
        #expect(pool.ready(3, at: 70) == ["3 to w3 new"] && pool.ready(1, at: 80) == [])
        // A worker on its way up gets nothing while another is idle.
        #expect(pool.arrive(4, at: 90) == ["4 to w1 new"])
        #expect(pool.pool.counts.busy == 3 && pool.pool.counts.waiting == 0)
    }

    @Test func theWarmestWorkerServesFirstAndProvisionedOnesBeforeOthers() {
        var pool = Script()
        pool.warmUp(3)
        #expect(pool.arrive(1, at: 200) == ["1 to w3"] && pool.arrive(2) == ["2 to w2"])
        #expect(pool.finish(3, at: 210) == [] && pool.finish(2, at: 220) == [])
        #expect(pool.arrive(3, at: 230) == ["3 to w2"] && pool.arrive(4) == ["4 to w3"] && pool.arrive(5) == ["5 to w1"])
        #expect(pool.configure(provisioned: 1, at: 240) == ["start w4 provisioned deploy"])
        #expect(pool.ready(4, at: 300) == [] && pool.finish(1, at: 310) == [])
        #expect(pool.arrive(6, at: 320) == ["6 to w4 new"] && pool.arrive(7) == ["7 to w1"])
    }

    @Test func callsBeyondTheQueuesBoundAreRefusedUntilThereIsRoomAgain() {
        var pool = Script(workersMax: 1, waitingMax: 2)
        #expect(pool.arrive(1) == ["start w1 first"] && pool.arrive(2) == [] && pool.arrive(3) == ["refuse 3 queueFull"])
        #expect(pool.ready(1) == ["1 to w1 new"] && pool.arrive(4) == [] && pool.arrive(5) == ["refuse 5 queueFull"])
        // A bound that falls throws out nobody.
        #expect(pool.configure(waitingMax: 1) == [] && pool.pool.counts.waiting == 2 && pool.arrive(6) == ["refuse 6 queueFull"])
        #expect(pool.finish(1) == ["2 to w1"] && pool.finish(1) == ["4 to w1"] && pool.arrive(7) == [])
    }

    /// Without room for one call no worker would ever be started.
    @Test func aColdPoolWithoutAQueueStillServes() {
        var pool = Script(workersMax: 0, waitingMax: 0)
        #expect(pool.arrive(1) == ["start w1 first"] && pool.arrive(2) == ["refuse 2 queueFull"])
        #expect(pool.ready(1) == ["1 to w1 new"])
    }

    @Test func callsWaitNoLongerThanTheirOwnDeadlineAndTheQueuesBound() {
        var pool = Script(workersMax: 1, waitMax: 100)
        #expect(pool.arrive(1, at: 0) == ["start w1 first"] && pool.ready(1, at: 10) == ["1 to w1 new"])
        _ = pool.arrive(2, at: 20)
        _ = pool.arrive(3, deadline: 50, at: 21)
        _ = pool.arrive(4, deadline: 500, at: 22)
        _ = pool.arrive(5, deadline: 60, at: 23)
        #expect(pool.next == 50 && pool.tick(at: 49) == [] && pool.tick(at: 50) == ["refuse 3 waitedTooLong"])
        #expect(pool.next == 60)
        // Late, and all in the order of their arrival.
        _ = pool.arrive(6, deadline: 119, at: 90)
        #expect(pool.tick(at: 121) == ["refuse 2 waitedTooLong", "refuse 5 waitedTooLong", "refuse 6 waitedTooLong"])
        #expect(pool.next == 122 && pool.finish(1, at: 121) == ["4 to w1"] && pool.pool.counts.waiting == 0)
        #expect(pool.next == nil)
    }

    @Test func aCancelledCallLeavesTheQueueAndNothingElseChanges() {
        var pool = Script(workersMax: 1)
        for call in 1...5 as ClosedRange<UInt64> { _ = pool.arrive(call) }
        #expect(pool.ready(1) == ["1 to w1 new"] && pool.pool.counts.waiting == 4)
        // In the middle, at the end, at the front; one that runs, one that is gone, one that never was.
        #expect(pool.cancel(3) == [] && pool.cancel(5) == [] && pool.cancel(1) == [] && pool.cancel(3) == [] && pool.cancel(99) == [])
        #expect(pool.pool.counts.waiting == 2 && pool.pool.counts.busy == 1)
        #expect(pool.finish(1) == ["2 to w1"] && pool.cancel(4) == [] && pool.arrive(6) == [] && pool.finish(1) == ["6 to w1"])
    }

    /// Long enough for the queue to move its entries together several times.
    @Test(arguments: [false, true]) func aLongQueueKeepsItsOrder(deadlines: Bool) {
        var pool = Script(workersMax: 1, waitingMax: 6000, waitMax: 1_000_000)
        for call in 1...6000 as ClosedRange<UInt64> {
            _ = pool.arrive(call, deadline: deadlines && call % 7 == 0 ? Int(call) / 2 : nil, at: 0)
        }
        var served = pool.ready(1, at: 0)
        for call in stride(from: 6000, to: 0, by: -5) as StrideTo<Int> { _ = pool.cancel(UInt64(call)) }
        var refused: [String] = []
        for step in 1...6000 {
            served += pool.finish(1, at: step)
            if step % 100 == 0 { refused += pool.tick() }
        }
        let expected = (1...6000).filter { $0 == 1 || $0 % 5 != 0 }
        let gone = Set(refused.map { $0.dropFirst("refuse ".count).prefix(while: \.isNumber) }.compactMap { Int($0) })
        #expect(served.count + refused.count == expected.count && refused.isEmpty == !deadlines && gone.allSatisfy { $0 % 7 == 0 })
        #expect(served == expected.filter { !gone.contains($0) }.map { "\($0) to w1\($0 == 1 ? " new" : "")" })
    }

    @Test func aLostWorkerTakesOnlyItsOwnCallWithIt() {
        var pool = Script(workersMax: 2)
        for call in 1...3 as ClosedRange<UInt64> { _ = pool.arrive(call) }
        #expect(pool.ready(1) == ["1 to w1 new"] && pool.ready(2) == ["2 to w2 new"])
        #expect(pool.exit(1, .crash) == ["lose 1 w1", "start w3 scale_up"] && pool.finish(2) == ["3 to w2"])
        #expect(pool.exit(2, .timeout) == ["lose 3 w2"] && pool.exit(3, .initFailed) == [])
        #expect(pool.arrive(4) == ["start w4 init_failed"])
    }

    @Test func anArrivalWaitsAMomentForAWorkerThatHasAnswered() {
        var pool = Script()
        pool.warmUp(1)
        #expect(pool.arrive(1, at: 200) == ["1 to w1"] && pool.answered(1, at: 210) == [] && pool.arrive(2, at: 220) == [])
        #expect(pool.free(1, at: 225) == ["2 to w1"] && pool.answered(1, at: 230) == [])
        // The first waits for w1, the second has nobody to wait for.
        #expect(pool.arrive(3, at: 240) == [] && pool.arrive(4, at: 250) == ["start w2 scale_up"])
        #expect(pool.ready(2, at: 330) == ["3 to w2 new"] && pool.finish(2, at: 335) == ["4 to w2"])
        // It does not come back: another is started, 100 ms after the arrival and not before.
        #expect(pool.finish(2, at: 336) == [] && pool.arrive(5, at: 337) == ["5 to w2"] && pool.arrive(6, at: 340) == [])
        #expect(pool.next == 440 && pool.tick(at: 439) == [] && pool.tick(at: 440) == ["start w3 scale_up"])
        #expect(pool.free(1, at: 441) == ["6 to w1"])
    }

    @Test func whatAGoneOrBusyWorkerSaysOutOfTurnChangesNothing() {
        var pool = Script(provisioned: 1)
        #expect(pool.tick() == ["start w1 provisioned deploy"] && pool.finish(1) == [] && pool.free(1) == [] && pool.answered(1) == [])
        #expect(pool.ready(1, at: 50) == [] && pool.ready(1) == [] && pool.finish(1) == [] && pool.free(1) == [])
        #expect(pool.arrive(1, at: 60) == ["1 to w1 new"] && pool.ready(1) == [] && pool.free(1) == [])
        #expect(pool.exit(1, .crash, at: 70) == ["lose 1 w1", "start w2 provisioned crash"])
        // w2 lives in the place of w1; their names differ.
        #expect(pool.ready(1) == [] && pool.exit(1, .crash) == [] && pool.finish(1) == [] && pool.pool.counts.starting == 1)
        #expect(pool.ready(2) == [] && pool.arrive(2) == ["2 to w2 new"] && pool.finish(1) == [] && pool.pool.counts.busy == 1)
    }
}
