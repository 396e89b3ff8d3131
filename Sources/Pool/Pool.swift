package import Base

/// The workers of one version: who serves the next call, when a process is started or stopped. Pure: events and their
/// times go in, orders come out.
///
///               start              ready            dispatch              answered
///     (vacant) ──────▶ starting ──────────▶ idle ────────────▶ busy ───────────────▶ responded
///        ▲                │                 │ ▲  ◀──────────────┘ finish                │
///        │                │                 │ └─────────────────────────────────────────┘ free
///        │                │ stop            │ stop (keep-alive, fewer wanted, drain)
///        │                ▼                 ▼
///        └──────────── stopping ◀───────────┘             exited: from every state to vacant
///
/// Invariants (checked after each event in debug builds):
///  1. A call waits only while no worker is idle.
///  2. A call is given only to a worker that is idle at that moment, never to one that is starting: who is free first
///     serves first (late binding). Calls are served in the order of their arrival.
///  3. No worker is started while `workersMax` live (or as many as are provisioned, if that is more), ending ones included.
///  4. A call joins the queue only while fewer than `waitingMax` wait.
///  5. Idle workers are stacks, the warmest on top; provisioned ones are used before on-demand ones.
///  6. The counts are those of the states.
///  7. Every call is answered by exactly one of: finish or answered, `lose`, `refuse`, `cancel`.
///
/// Thread rule: a value; whoever holds it.
package struct Pool {
    private enum State { case vacant, starting, idle, busy, responded, stopping }

    private struct Slot {
        var state = State.vacant
        var generation: UInt32 = 0
        var isProvisioned = false
        var hasServed = false
        /// It serves no more once it is free.
        var isSpent = false
        /// When it came into its state.
        var since = Moment.zero
        var call = CallID(0)
    }

    private var settings: PoolSettings
    private var slots: [Slot] = []
    private var vacant: [Int] = []
    private var idleProvisioned: [Int] = []
    private var idleOnDemand: [Int] = []
    private var queue = CallQueue()
    private var tally = PoolCounts()
    /// Provisioned workers alive, starting ones included, stopping ones not.
    private var provisionedAlive = 0
    private var rule = StartRule()
    private var isDraining = false
    private var hasHadWorker = false
    private var hasServed = false
    /// How the last worker that left had ended, as the reason for the next start.
    private var lastEnd: StartReason?
    /// The time of the last event that judged starts.
    private var clock = Moment.zero
    package private(set) var initFailure: InitFailure?

    /// A worker that dies unused this soon after its init counts as one whose init failed.
    private static let youngDeath = Span.seconds(1)

    package init(settings: PoolSettings, at now: Moment) {
        self.settings = settings
        clock = now
        tally.provisionedTarget = settings.provisioned
    }

    package var counts: PoolCounts { tally }
    package var isEmpty: Bool { alive == 0 && tally.draining == 0 && queue.isEmpty }

    private var alive: Int { tally.starting + tally.idle + tally.busy + tally.responded }
    private var bound: Int { min(max(settings.workersMax, settings.provisioned), WorkerID.slotsMax) }
    private var hasRoom: Bool { alive + tally.draining < bound }

    // MARK: Calls

    package mutating func arrive(
        _ call: CallID, deadline: Moment?, at now: Moment, into actions: inout [PoolAction]
    ) {
        defer { checkInvariants() }
        if let slot = popIdle() {
            dispatch(call, to: slot, at: now, into: &actions)
            return keepSpares(at: now, into: &actions)
        }
        guard queue.count < settings.waitingMax else { return actions.append(.refuse(call, .queueFull)) }
        queue.append(call, arrived: now, deadline: deadline)
        tally.waiting += 1
        startIfItPays(at: now, into: &actions)
    }

    /// The caller of a waiting call has gone. A call that runs already runs on.
    package mutating func cancel(_ call: CallID, at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard queue.remove(call) else { return }
        tally.waiting -= 1
        endUnwantedStarts(at: now, into: &actions)
    }

    private mutating func popIdle() -> Int? { idleProvisioned.popLast() ?? idleOnDemand.popLast() }

    private mutating func dispatch(
        _ call: CallID, to slot: Int, at now: Moment, into actions: inout [PoolAction]
    ) {
        assert(slots[slot].state == .idle, "2: a call for a worker that is not idle")
        actions.append(.dispatch(call, id(of: slot), first: !slots[slot].hasServed))
        slots[slot].call = call
        slots[slot].hasServed = true
        hasServed = true
        move(slot, to: .busy, at: now)
    }

    // MARK: Workers

    /// Its init is done.
    package mutating func ready(_ worker: WorkerID, at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard let slot = slot(worker), slots[slot].state == .starting else { return }
        rule.initialised(in: now.since(slots[slot].since))
        initFailure = nil
        hasHadWorker = true
        becomeIdle(slot, at: now, into: &actions)
        // Starts that the failure of another had put off.
        keepProvisioned(at: now, into: &actions)
        startIfItPays(at: now, into: &actions)
        keepSpares(at: now, into: &actions)
    }

    /// It has answered and asked for the next call, in one.
    package mutating func finish(_ worker: WorkerID, at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard let slot = slot(worker), slots[slot].state == .busy else { return }
        rule.ran(for: now.since(slots[slot].since))
        becomeIdle(slot, at: now, into: &actions)
    }

    /// It has answered, but not asked for the next call yet.
    package mutating func answered(_ worker: WorkerID, at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard let slot = slot(worker), slots[slot].state == .busy else { return }
        rule.ran(for: now.since(slots[slot].since))
        move(slot, to: .responded, at: now)
    }

    /// It is to take no more calls: told before `finish`, or before `free`.
    package mutating func retire(_ worker: WorkerID) {
        guard let slot = slot(worker), slots[slot].state == .busy || slots[slot].state == .responded else { return }
        slots[slot].isSpent = true
    }

    /// It asks for the next call.
    package mutating func free(_ worker: WorkerID, at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard let slot = slot(worker), slots[slot].state == .responded else { return }
        becomeIdle(slot, at: now, into: &actions)
    }

    private mutating func becomeIdle(_ slot: Int, at now: Moment, into actions: inout [PoolAction]) {
        move(slot, to: .idle, at: now)
        if slots[slot].isSpent { return replace(slot, at: now, into: &actions) }
        let isProvisioned = slots[slot].isProvisioned
        let isSurplus = isProvisioned && provisionedAlive > settings.provisioned
        // A bound that has fallen is kept even if calls never stop waiting.
        if alive > bound, isSurplus || !isProvisioned { return stop(slot, at: now, into: &actions) }
        if !queue.isEmpty {
            tally.waiting -= 1
            dispatch(queue.removeFirst(), to: slot, at: now, into: &actions)
            return endUnwantedStarts(at: now, into: &actions)
        }
        if isDraining || isSurplus { return stop(slot, at: now, into: &actions) }
        if isProvisioned { return idleProvisioned.append(slot) }
        idleOnDemand.append(slot)
        if provisionedAlive < settings.provisioned { keepProvisioned(at: now, into: &actions) }
    }

    /// Stops a worker that has served enough; another takes its place if somebody waits or it was provisioned.
    private mutating func replace(_ slot: Int, at now: Moment, into actions: inout [PoolAction]) {
        stop(slot, at: now, into: &actions)
        lastEnd = .recycled
        keepProvisioned(at: now, into: &actions)
        startIfItPays(at: now, into: &actions)
    }

    /// The process is gone, in whatever state it was.
    package mutating func exited(
        _ worker: WorkerID, cause: ExitCause, at now: Moment, into actions: inout [PoolAction]
    ) {
        defer { checkInvariants() }
        guard let slot = slot(worker) else { return }
        let before = slots[slot]
        switch before.state {
        case .idle:
            idleProvisioned.removeAll { $0 == slot }
            idleOnDemand.removeAll { $0 == slot }
        case .busy: actions.append(.lose(before.call, worker))
        default: break
        }
        move(slot, to: .vacant, at: now)
        vacant.append(slot)
        if before.state != .stopping {
            switch cause {
            case .crash: lastEnd = .crash
            case .timeout: lastEnd = .timeout
            case .initFailed: lastEnd = .initFailed
            case .stopped: break
            }
        }
        // Without a pause, workers that only ever come up to die would be started without end.
        let diedYoung = before.state == .idle && !before.hasServed && now.since(before.since) < Self.youngDeath
        if before.state == .starting || diedYoung { initHasFailed(at: now, into: &actions) }
        keepProvisioned(at: now, into: &actions)
        startIfItPays(at: now, into: &actions)
    }

    /// The error of an init is the answer of one call: the oldest, if nobody is left who could serve it (as in Lambda,
    /// where init is tried again for the next one).
    private mutating func initHasFailed(at now: Moment, into actions: inout [PoolAction]) {
        let consecutive = (initFailure?.consecutive ?? 0) + 1
        // 0.5 s, doubled each time, 30 s at the most.
        let pause = Span.milliseconds(min(30_000, 500 << UInt64(min(consecutive - 1, 10))))
        initFailure = InitFailure(consecutive: consecutive, nextRetry: now + pause)
        guard !queue.isEmpty, alive == 0 else { return }
        tally.waiting -= 1
        actions.append(.refuse(queue.removeFirst(), .initFailed))
    }

    // MARK: Starts and stops

    /// Starts on-demand workers for the calls that nobody is on the way to serve.
    private mutating func startIfItPays(at now: Moment, into actions: inout [PoolAction]) {
        clock = max(clock, now)
        while let oldest = queue.first {
            let oldestWait = now.since(oldest.arrived)
            let aboutToBeFree = oldestWait < settings.respondedWait ? tally.responded : 0
            let unserved = queue.count - tally.starting - aboutToBeFree
            guard unserved > 0, hasRoom else { return }
            // With others alive a failing init takes no call with it, so it must not be tried without end.
            if let initFailure, alive > 0, now < initFailure.nextRetry { return }
            guard rule.pays(waiting: unserved, serving: tally.busy, oldestWait: oldestWait) else { return }
            start(provisioned: false, reasonToStart, at: now, into: &actions)
        }
    }

    /// Starts workers ahead of the call that would have to wait for one: where a start is an exec, it costs that call tens of
    /// milliseconds. (Judged when a worker takes a call or comes up, and never when one ends: a node without room would
    /// otherwise be asked for ever.)
    private mutating func keepSpares(at now: Moment, into actions: inout [PoolAction]) {
        guard settings.spares > 0, !isDraining, queue.isEmpty, tally.busy > 0 else { return }
        if let initFailure, now < initFailure.nextRetry { return }
        while tally.idle + tally.starting < settings.spares, hasRoom {
            start(provisioned: false, .spare, at: now, into: &actions)
        }
    }

    private var reasonToStart: StartReason {
        if settings.provisioned > 0, tally.provisionedReady > 0 { return .spillover }
        if alive > 0 { return hasHadWorker ? .scaleUp : .first }
        // (A deployment may have tried one out that never served.)
        return lastEnd ?? (hasServed ? .evicted : .first)
    }

    /// Brings the provisioned workers to their number, and all workers under their bound.
    private mutating func keepProvisioned(at now: Moment, into actions: inout [PoolAction]) {
        while provisionedAlive < settings.provisioned {
            if let initFailure, now < initFailure.nextRetry { break }
            guard hasRoom else {
                makeRoom(at: now, into: &actions)
                break
            }
            start(provisioned: true, lastEnd ?? .deploy, at: now, into: &actions)
        }
        // Those that cannot serve yet go first, unless calls wait for them.
        if provisionedAlive > settings.provisioned, queue.isEmpty {
            for slot in slots.indices.reversed() where slots[slot].state == .starting && slots[slot].isProvisioned {
                guard provisionedAlive > settings.provisioned else { break }
                stop(slot, at: now, into: &actions)
            }
        }
        while provisionedAlive > settings.provisioned, !idleProvisioned.isEmpty {
            stop(idleProvisioned.removeFirst(), at: now, into: &actions)
        }
        while alive > bound, !idleOnDemand.isEmpty { stop(idleOnDemand.removeFirst(), at: now, into: &actions) }
    }

    /// Idle on-demand workers give way to the provisioned ones that are missing, as far as those that are ending do not.
    private mutating func makeRoom(at now: Moment, into actions: inout [PoolAction]) {
        while settings.provisioned - provisionedAlive > tally.draining, !idleOnDemand.isEmpty {
            stop(idleOnDemand.removeFirst(), at: now, into: &actions)
        }
    }

    private mutating func start(
        provisioned: Bool, _ reason: StartReason, at now: Moment, into actions: inout [PoolAction]
    ) {
        assert(hasRoom, "3: a start beyond the bound")
        let slot: Int
        if let free = vacant.popLast() {
            slot = free
            slots[slot].generation = (slots[slot].generation + 1) & 0xFFFFF
        } else {
            slot = slots.count
            slots.append(Slot())
        }
        slots[slot].isProvisioned = provisioned
        slots[slot].hasServed = false
        slots[slot].isSpent = false
        move(slot, to: .starting, at: now)
        lastEnd = nil
        actions.append(.start(id(of: slot), provisioned: provisioned, reason))
    }

    private mutating func stop(_ slot: Int, at now: Moment, into actions: inout [PoolAction]) {
        move(slot, to: .stopping, at: now)
        actions.append(.stop(id(of: slot)))
    }

    /// Stops the on-demand worker that has been idle for longest, if there is one: others need the room.
    package mutating func evictIdle(at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        guard !idleOnDemand.isEmpty else { return }
        lastEnd = .evicted
        stop(idleOnDemand.removeFirst(), at: now, into: &actions)
    }

    /// Limits or the provisioned target have changed.
    package mutating func configure(
        _ settings: PoolSettings, at now: Moment, into actions: inout [PoolAction]
    ) {
        defer { checkInvariants() }
        var settings = settings
        if isDraining { settings.provisioned = 0 }
        if settings.provisioned > self.settings.provisioned {
            initFailure = nil
            lastEnd = nil
        }
        self.settings = settings
        tally.provisionedTarget = settings.provisioned
        keepProvisioned(at: now, into: &actions)
        startIfItPays(at: now, into: &actions)
    }

    /// The version is wanted no more: serves what waits and what may still come, then stops everything.
    package mutating func drain(at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        isDraining = true
        settings.provisioned = 0
        tally.provisionedTarget = 0
        for slot in idleProvisioned + idleOnDemand { stop(slot, at: now, into: &actions) }
        idleProvisioned = []
        idleOnDemand = []
        endUnwantedStarts(at: now, into: &actions)
    }

    /// Of a drained pool, nobody comes up whom no call waits for.
    private mutating func endUnwantedStarts(at now: Moment, into actions: inout [PoolAction]) {
        guard isDraining, queue.isEmpty, tally.starting > 0 else { return }
        for slot in slots.indices where slots[slot].state == .starting { stop(slot, at: now, into: &actions) }
    }

    // MARK: Time

    /// Does what has become due at `now`.
    package mutating func tick(at now: Moment, into actions: inout [PoolAction]) {
        defer { checkInvariants() }
        for call in queue.removeExpired(at: now, waitMax: settings.waitMax) {
            tally.waiting -= 1
            actions.append(.refuse(call, .waitedTooLong))
        }
        endUnwantedStarts(at: now, into: &actions)
        // The bottom of the stack has been idle for longest.
        while let slot = idleOnDemand.first, slots[slot].since + settings.keepAlive <= now {
            idleOnDemand.removeFirst()
            lastEnd = .evicted
            stop(slot, at: now, into: &actions)
        }
        keepProvisioned(at: now, into: &actions)
        startIfItPays(at: now, into: &actions)
    }

    /// When `tick` must be called at the latest; nil: not before the next event.
    package var nextTick: Moment? {
        var next = Moment(nanoseconds: .max)
        if let slot = idleOnDemand.first { next = min(next, slots[slot].since + settings.keepAlive) }
        if let expiry = queue.nextExpiry(waitMax: settings.waitMax) { next = min(next, expiry) }
        if provisionedAlive < settings.provisioned, hasRoom || (tally.draining == 0 && !idleOnDemand.isEmpty) {
            next = min(next, initFailure?.nextRetry ?? clock)
        }
        if let judgement = nextJudgement { next = min(next, judgement) }
        return next.nanoseconds == .max ? nil : next
    }

    /// When a start on demand is judged again: nobody is waited for any more, the oldest call has waited so long that it
    /// pays after all, or inits may be tried again. What has passed has been judged by the last event.
    private var nextJudgement: Moment? {
        guard let oldest = queue.first, hasRoom, queue.count > tally.starting else { return nil }
        let hopeEnds = oldest.arrived + settings.respondedWait
        if clock < hopeEnds, queue.count - tally.starting <= tally.responded { return hopeEnds }
        var next: Moment?
        func consider(_ time: Moment) {
            if time > clock { next = min(next ?? time, time) }
        }
        if tally.responded > 0 { consider(hopeEnds) }
        if let patience = rule.patience { consider(oldest.arrived + patience) }
        if let initFailure { consider(initFailure.nextRetry) }
        return next
    }

    // MARK: Bookkeeping

    private func id(of slot: Int) -> WorkerID { WorkerID(slot: slot, generation: slots[slot].generation) }

    private func slot(_ worker: WorkerID) -> Int? {
        let slot = worker.slot
        guard slot < slots.count, slots[slot].generation == worker.generation, slots[slot].state != .vacant else {
            return nil
        }
        return slot
    }

    private mutating func move(_ slot: Int, to state: State, at now: Moment) {
        count(slots[slot], -1)
        slots[slot].state = state
        slots[slot].since = now
        count(slots[slot], 1)
    }

    @inline(__always)
    private mutating func count(_ slot: Slot, _ change: Int) {
        switch slot.state {
        case .vacant: return
        case .starting: tally.starting += change
        case .idle: tally.idle += change
        case .busy: tally.busy += change
        case .responded: tally.responded += change
        case .stopping:
            tally.draining += change
            return
        }
        guard slot.isProvisioned else { return }
        provisionedAlive += change
        if slot.state != .starting { tally.provisionedReady += change }
        if slot.state == .busy { tally.provisionedInUse += change }
    }

    private func checkInvariants() {
        #if DEBUG
            var counted = PoolCounts()
            counted.provisionedTarget = settings.provisioned
            counted.waiting = queue.count
            for slot in slots {
                switch slot.state {
                case .vacant: break
                case .starting: counted.starting += 1
                case .idle: counted.idle += 1
                case .busy: counted.busy += 1
                case .responded: counted.responded += 1
                case .stopping: counted.draining += 1
                }
                guard slot.isProvisioned, slot.state != .vacant, slot.state != .stopping else { continue }
                if slot.state != .starting { counted.provisionedReady += 1 }
                if slot.state == .busy { counted.provisionedInUse += 1 }
            }
            assert(queue.isEmpty || tally.idle == 0, "1: a call waits beside an idle worker")
            assert(idleProvisioned.count + idleOnDemand.count == tally.idle, "5: the stacks are not the idle workers")
            assert(counted == tally, "6: \(counted) is not \(tally)")
        #endif
    }
}
