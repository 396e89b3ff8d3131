import Base
import Pool
import Testing

/// When workers are started and stopped, and why.
@Suite struct StartStopTests {
    @Test func provisionedWorkersStartBeforeAnythingAsksAndAreReplacedWhenTheyDie() {
        var fresh = Script(provisioned: 2)
        #expect(fresh.next == 0 && fresh.tick() == ["start w1 provisioned deploy", "start w2 provisioned deploy"] && fresh.next == nil)
        var pool = Script()
        #expect(pool.configure(provisioned: 2) == ["start w1 provisioned deploy", "start w2 provisioned deploy"])
        #expect(pool.ready(1, at: 100) == [] && pool.ready(2, at: 100) == [] && pool.pool.counts.provisionedReady == 2)
        // They stay however long nothing comes.
        #expect(pool.next == nil && pool.tick(at: 1_000_000) == [])
        #expect(pool.exit(1, .crash) == ["start w3 provisioned crash"] && pool.ready(3) == [])
        #expect(pool.arrive(1) == ["1 to w3 new"] && pool.exit(3, .crash) == ["lose 1 w3", "start w4 provisioned crash"])
        #expect(pool.arrive(2) == ["2 to w2 new"] && pool.exit(2, .timeout) == ["lose 2 w2", "start w5 provisioned timeout"])
    }

    @Test func callsThatFindAllProvisionedWorkersBusySpillOver() {
        var pool = Script(provisioned: 1)
        _ = pool.tick()
        // While none is ready it is no spillover.
        #expect(pool.arrive(1) == [] && pool.arrive(2) == ["start w2 first"] && pool.ready(1, at: 50) == ["1 to w1 new"])
        #expect(pool.arrive(3, at: 60) == ["start w3 spillover"] && pool.pool.counts.provisionedInUse == 1)
    }

    @Test func onDemandWorkersStopAfterTheirKeepAliveAndTheNextStartSaysSo() {
        var pool = Script(keepAlive: 500)
        pool.warmUp(2)
        #expect(pool.next == 610 && pool.arrive(1, at: 300) == ["1 to w2"] && pool.finish(2, at: 305) == [])
        #expect(pool.tick(at: 609) == [] && pool.tick(at: 610) == ["stop w1"] && pool.next == 805)
        #expect(pool.exit(1, .stopped, at: 620) == [] && pool.tick(at: 805) == ["stop w2"] && pool.next == nil)
        // One that is ending serves nobody, and takes room until it is gone.
        #expect(pool.arrive(2, at: 806) == ["start w3 evicted"] && pool.pool.counts.draining == 1)
        var full = Script(workersMax: 1, keepAlive: 500)
        full.warmUp(1)
        #expect(full.tick(at: 610) == ["stop w1"] && full.arrive(1, at: 611) == [] && full.exit(1, .stopped, at: 620) == ["start w2 evicted"])
    }

    @Test func theWorkerIdleForLongestMakesRoomForOthers() {
        var pool = Script()
        #expect(pool.configure(provisioned: 1) == ["start w1 provisioned deploy"] && pool.ready(1) == [] && pool.evictIdle() == [])
        #expect(pool.arrive(1) == ["1 to w1 new"] && pool.arrive(2) == ["start w2 spillover"] && pool.arrive(3) == ["start w3 spillover"])
        #expect(pool.ready(3, at: 10) == ["2 to w3 new"] && pool.ready(2, at: 20) == ["3 to w2 new"] && pool.evictIdle() == [])
        #expect(pool.finish(2, at: 30) == [] && pool.finish(3, at: 40) == [] && pool.finish(1, at: 50) == [])
        #expect(pool.evictIdle() == ["stop w2"] && pool.evictIdle() == ["stop w3"] && pool.evictIdle() == [])
        // The next start is its consequence, not that of a crash before.
        var demand = Script()
        demand.warmUp(2)
        #expect(demand.exit(2, .crash) == [] && demand.evictIdle() == ["stop w1"] && demand.arrive(1) == ["start w3 evicted"])
    }

    @Test func sparesAreStartedAheadWhileCallsAreServed() {
        var pool = Script(workersMax: 3, keepAlive: 500, spares: 1)
        // Not before the first is up: it would only slow that down.
        #expect(pool.arrive(1) == ["start w1 first"] && pool.ready(1, at: 100) == ["1 to w1 new", "start w2 spare"])
        // A call that comes too early waits for it, as for any start.
        #expect(pool.arrive(2, at: 110) == [] && pool.ready(2, at: 200) == ["2 to w2 new", "start w3 spare"])
        #expect(pool.ready(3, at: 300) == [] && pool.arrive(3, at: 310) == ["3 to w3 new"], "the bound holds")
        #expect(pool.finish(3, at: 320) == [] && pool.finish(1, at: 330) == [] && pool.arrive(4, at: 340) == ["4 to w1"])
        // What is idle stays no longer for being a spare, and is replaced with the next call.
        #expect(pool.tick(at: 820) == ["stop w3"] && pool.exit(3, .stopped, at: 830) == [] && pool.finish(2, at: 840) == [])
        #expect(pool.arrive(5, at: 850) == ["5 to w2", "start w4 spare"] && pool.exit(4, .initFailed, at: 900) == [])
        // Nor does an init that fails come again and again.
        #expect(pool.finish(2, at: 910) == [] && pool.arrive(6, at: 920) == ["6 to w2"] && pool.finish(2, at: 930) == [])
        #expect(pool.arrive(7, at: 1410) == ["7 to w2", "start w5 spare"] && pool.ready(5, at: 1500) == [])
        // Nobody is started for a version that is not called, or ends.
        #expect(pool.finish(1, at: 1510) == [] && pool.finish(2, at: 1520) == [] && pool.pool.counts.busy == 0)
        #expect(pool.exit(1, .crash, at: 1530) == [] && pool.exit(5, .crash, at: 2600) == [])
        #expect(pool.arrive(8, at: 2610) == ["8 to w2", "start w6 spare"] && pool.drain() == ["stop w6"] && pool.finish(2) == ["stop w2"])
    }

    @Test func aStartMustBeWorthItsTime() {
        var pool = Script(workersMax: 3)
        pool.warmUp(1)  // init 100 ms, run 10 ms
        #expect(pool.arrive(1, at: 200) == ["1 to w1"])
        // Ten calls of 10 ms take the one worker as long as an init: the eleventh tips it.
        for call in 2...11 as ClosedRange<UInt64> { #expect(pool.arrive(call, at: 200) == []) }
        #expect(pool.arrive(12, at: 200) == ["start w2 scale_up"] && pool.arrive(13, at: 200) == ["start w3 scale_up"])
        #expect(pool.arrive(14, at: 200) == [] && pool.next == 10_200)
        // But nobody waits longer than a start takes.
        var patient = Script()
        patient.warmUp(1)
        #expect(patient.arrive(1, at: 200) == ["1 to w1"] && patient.arrive(2, at: 210) == [] && patient.next == 310)
        #expect(patient.tick(at: 309) == [] && patient.tick(at: 310) == ["start w2 scale_up"] && patient.next == 10_210)
    }

    /// A mean init of 100.4 µs must not be judged at 100 µs for the last time.
    @Test func theMomentAtWhichAStartPaysIsNotMissedByAFraction() {
        var pool = Pool(
            settings: PoolSettings(provisioned: 0, workersMax: 9, waitingMax: 9, waitMax: .seconds(10), keepAlive: .seconds(60)),
            at: .zero)
        var actions: [PoolAction] = []
        var now = Moment.zero
        for (index, initTime) in [101, 103, 106].enumerated() as EnumeratedSequence<[UInt64]> {
            for call in 0...UInt64(index) { pool.arrive(CallID(UInt64(index * 10) + call), deadline: nil, at: now, into: &actions) }
            guard case .start(let worker, _, _) = actions.last else { break }
            now = now + Span(nanoseconds: initTime)
            pool.ready(worker, at: now, into: &actions)
        }
        actions.removeAll()
        pool.arrive(CallID(99), deadline: nil, at: now, into: &actions)
        for _ in 0..<5 where actions.isEmpty {
            guard let next = pool.nextTick, next.since(now) < .seconds(1) else { break }
            pool.tick(at: next, into: &actions)
        }
        #expect(actions.count == 1, "\(actions), next at \(pool.nextTick?.nanoseconds ?? 0)")
    }

    /// w1 has answered and is waited for, but a start for the other call pays long before that wait is over.
    @Test func aStartIsJudgedAgainAtTheEarliestReason() {
        var pool = Script()
        _ = pool.arrive(1, at: 0)
        _ = pool.ready(1, at: 20)
        _ = pool.arrive(2, at: 20)
        _ = pool.ready(2, at: 40)
        _ = pool.finish(1, at: 41)
        _ = pool.finish(2, at: 41)
        #expect(pool.arrive(3, at: 50) == ["3 to w2"] && pool.arrive(4, at: 50) == ["4 to w1"] && pool.answered(1, at: 51) == [])
        #expect(pool.arrive(5, at: 52) == [] && pool.arrive(6, at: 52) == [])
        #expect(pool.next == 72 && pool.tick(at: 72) == ["start w3 scale_up"] && pool.next == 152)
        #expect(pool.tick(at: 152) == ["start w4 scale_up"])
        // Two calls are worth a start, one is not: so when w1 does not come back, not when an init's time has passed.
        var slow = Script()
        _ = slow.arrive(1, at: 0)
        _ = slow.arrive(2, at: 0)
        _ = slow.ready(1, at: 1000)
        _ = slow.ready(2, at: 1000)
        _ = slow.finish(1, at: 1600)
        _ = slow.finish(2, at: 1600)
        #expect(slow.arrive(3, at: 1700) == ["3 to w2"] && slow.arrive(4, at: 1700) == ["4 to w1"] && slow.answered(1, at: 2300) == [])
        #expect(slow.arrive(5, at: 2310) == [] && slow.arrive(6, at: 2310) == [] && slow.next == 2410)
        #expect(slow.tick(at: 2410) == ["start w3 scale_up"])
    }

    @Test func aFailedInitAnswersOneCallAndBacksOff() {
        var pool = Script()
        #expect(pool.arrive(1) == ["start w1 first"] && pool.arrive(2) == ["start w2 first"])
        // w2 may still serve both.
        #expect(pool.exit(1, .initFailed, at: 10) == [] && pool.next == 510)
        #expect(pool.exit(2, .initFailed, at: 20) == ["refuse 1 initFailed", "start w3 init_failed"])
        #expect(pool.exit(3, .initFailed, at: 30) == ["refuse 2 initFailed"])
        #expect(pool.pool.initFailure?.consecutive == 3 && pool.pool.initFailure?.nextRetry == Moment(nanoseconds: 3_030_000_000))
        // A call that comes alone is tried at once, as Lambda does; a second worker is not.
        #expect(pool.arrive(3, at: 40) == ["start w4 init_failed"] && pool.arrive(4, at: 50) == [] && pool.next == 2030)
        #expect(pool.tick(at: 2030) == ["start w5 first"])
        #expect(pool.ready(4, at: 2040) == ["3 to w4 new"] && pool.pool.initFailure == nil)
    }

    @Test func provisionedWorkersThatCannotStartAreTriedEverMoreSeldom() {
        var pool = Script(provisioned: 1)
        _ = pool.tick(at: 0)
        var now = 0
        for (attempt, pause) in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].enumerated() {
            #expect(pool.exit(attempt + 1, attempt.isMultiple(of: 2) ? .initFailed : .crash, at: now) == [])
            #expect(pool.next == now + pause && pool.tick(at: now + pause - 1) == [])
            now += pause
            #expect(pool.tick(at: now) == ["start w\(attempt + 2) provisioned \(attempt.isMultiple(of: 2) ? "init_failed" : "crash")"])
        }
        #expect(pool.ready(9, at: now) == [] && pool.next == nil)
        // A call that comes between starts a worker of its own; the provisioned one is not forgotten over it.
        #expect(pool.exit(9, .crash, at: now + 5000) == ["start w10 provisioned crash"] && pool.exit(10, .initFailed) == [])
        #expect(pool.arrive(1, at: now + 6000) == ["start w11 init_failed"] && pool.next == now + 5500)
        #expect(pool.tick(at: now + 6001) == ["start w12 provisioned deploy"])
        // More of it, by order: tried at once.
        #expect(pool.exit(12, .initFailed, at: now + 6002) == [])
        #expect(pool.configure(provisioned: 2) == ["start w13 provisioned deploy", "start w14 provisioned deploy"])
    }

    @Test func aWorkerThatComesUpEndsTheBackOffOfTheOthers() {
        var pool = Script(provisioned: 2)
        _ = pool.tick()
        #expect(pool.exit(1, .initFailed, at: 10) == [] && pool.ready(2, at: 20) == ["start w3 provisioned init_failed"])
        #expect(pool.next == nil && pool.ready(3, at: 30) == [] && pool.pool.counts.provisionedReady == 2)
    }

    /// Started again and again at full speed, such workers would eat the machine.
    @Test func workersThatDieUnusedRightAfterTheirInitAreBackedOffToo() {
        var pool = Script(provisioned: 1)
        _ = pool.tick(at: 0)
        #expect(pool.ready(1, at: 50) == [] && pool.exit(1, .crash, at: 60) == [] && pool.next == 560)
        #expect(pool.tick(at: 560) == ["start w2 provisioned crash"] && pool.ready(2, at: 600) == [])
        #expect(pool.exit(2, .crash, at: 1600) == ["start w3 provisioned crash"])
        // When the pause is over it gets its room back from an idle worker.
        var tight = Script()
        tight.warmUp(1)
        #expect(tight.configure(provisioned: 1) == ["start w2 provisioned deploy"] && tight.ready(2) == [] && tight.exit(2, .crash) == [])
        #expect(tight.configure(workersMax: 1) == [] && tight.next == 610 && tight.tick(at: 610) == ["stop w1"])
    }

    @Test func fewerProvisionedWorkersStopWhoServesNobodyTheColdestFirst() {
        var pool = Script(provisioned: 4)
        _ = pool.tick()
        #expect(pool.ready(1) == [] && pool.ready(2) == [] && pool.arrive(1) == ["1 to w2 new"])
        // Those that cannot serve yet go before the warm ones, the busy ones when they are done.
        #expect(pool.configure(provisioned: 2) == ["stop w4", "stop w3"] && pool.pool.counts.provisionedReady == 2)
        #expect(pool.configure(provisioned: 0) == ["stop w1"] && pool.arrive(2) == ["start w5 scale_up"])
        #expect(pool.finish(2) == ["2 to w2"] && pool.finish(2) == ["stop w2"] && pool.ready(5) == [])
        #expect(pool.ready(4) == [] && pool.exit(4, .initFailed) == [] && pool.pool.initFailure == nil)
        for worker in [1, 2, 3] { #expect(pool.exit(worker, .stopped) == []) }
        #expect(pool.pool.counts.idle == 1 && pool.pool.counts.draining == 0 && pool.configure(provisioned: 1) == ["start w6 provisioned deploy"])
    }

    @Test func noMoreWorkersThanTheBoundWhoeverAsks() {
        var pool = Script(workersMax: 2)
        pool.warmUp(2)
        // No room for provisioned ones: idle on-demand workers go, the busy one when nobody waits for it.
        #expect(pool.arrive(1, at: 200) == ["1 to w2"] && pool.configure(provisioned: 2) == ["stop w1"])
        #expect(pool.exit(1, .stopped) == ["start w3 provisioned deploy"] && pool.arrive(2) == [] && pool.finish(2) == ["2 to w2"])
        #expect(pool.finish(2) == ["stop w2"] && pool.exit(2, .stopped) == ["start w4 provisioned deploy"])
        // The bound falls under a load that never lets a worker rest.
        var busy = Script()
        busy.warmUp(3)
        for call in 1...4 as ClosedRange<UInt64> { _ = busy.arrive(call, at: 200) }
        #expect(busy.configure(workersMax: 1) == [] && busy.finish(1) == ["stop w1"] && busy.finish(2) == ["stop w2"])
        #expect(busy.finish(3) == ["4 to w3"] && busy.arrive(5) == [] && busy.exit(1, .stopped) == [])
        var idle = Script()
        idle.warmUp(3)
        #expect(idle.configure(workersMax: 2) == ["stop w1"])
    }

    @Test func aDrainServesWhatWaitsAndThenLeavesNothing() {
        var pool = Script(workersMax: 3)
        pool.warmUp(3)
        for call in 1...3 as ClosedRange<UInt64> { _ = pool.arrive(call, at: 200) }
        _ = pool.finish(1, at: 210)
        _ = pool.answered(2, at: 210)
        #expect(pool.drain(at: 220) == ["stop w1"] && pool.arrive(4, at: 221) == [] && pool.arrive(5, at: 222) == [])
        #expect(pool.free(2, at: 230) == ["4 to w2"] && pool.finish(3, at: 231) == ["5 to w3"])
        #expect(pool.exit(1, .stopped) == [] && pool.finish(2, at: 240) == ["stop w2"] && pool.exit(3, .crash, at: 241) == ["lose 5 w3"])
        #expect(!pool.pool.isEmpty && pool.exit(2, .stopped) == [] && pool.pool.isEmpty && pool.next == nil)
        // What still comes is served by a worker that stays for it alone; no target brings others back.
        #expect(pool.configure(provisioned: 3) == [] && pool.arrive(6, at: 300) == ["start w4 crash"] && pool.ready(4) == ["6 to w4 new"])
        #expect(pool.finish(4) == ["stop w4"] && pool.exit(4, .stopped) == [] && pool.pool.isEmpty && pool.pool.counts == PoolCounts())
    }

    @Test func aDrainStopsStartsThatNobodyWaitsForAnyMore() {
        var pool = Script(provisioned: 2, waitMax: 100)
        _ = pool.tick()
        #expect(pool.arrive(1, at: 0) == [] && pool.drain(at: 1) == [] && pool.cancel(1) == ["stop w1", "stop w2"])
        var late = Script(provisioned: 1, waitMax: 100)
        _ = late.tick()
        #expect(late.arrive(1, at: 0) == [] && late.drain(at: 1) == [] && late.tick(at: 100) == ["refuse 1 waitedTooLong", "stop w1"])
        var never = Script(provisioned: 1)
        _ = never.tick()
        #expect(never.drain() == ["stop w1"] && never.exit(1, .initFailed) == [] && never.pool.isEmpty && never.next == nil)
    }
}
