internal import Base
package import Catalog
internal import Pool
package import Sandbox
internal import UV

/// The processes of one version: does what its `Pool` decides, and tells the pool what happened.
///
/// Invariants:
///  1. Every `CallID` that the pool knows is in `calls`; it leaves on its answer, its refusal or its loss.
///  2. Every `WorkerID` that the pool has started is in `slots` or ordered from `source`; a start that fails is reported
///     to the pool as an exit.
///  3. The pool hears of events in the order in which they happened, never from inside `perform`.
///
/// Thread rule: the loop's thread.
package final class VersionPool {
    final class Slot {
        let worker: Worker
        var id: WorkerID { order.id }
        let order: StartOrder
        var isProvisioned: Bool { order.isProvisioned }
        var reason: StartReason { order.reason }
        var call: Invocation?
        var callID = CallID(0)
        var deadline = Moment(nanoseconds: .max)
        var isTimedOut = false
        /// Killed because it used more memory than the function has: this many MB.
        var overuseMegabytes: Int?
        var life: RecycleRule.Life?
        var idleSince = Moment.zero
        /// The pool has ordered its end.
        var isStopping = false
        /// Armed lazily: it fires at a deadline that may have moved, and is then set again.
        var timer: Timer?
        var timerArmedFor = Moment(nanoseconds: .max)

        init(worker: Worker, order: StartOrder) {
            self.worker = worker
            self.order = order
        }
    }

    package let version: VersionEntry
    package private(set) var function: FunctionState
    private let invoker: Invoker
    private var pool: Pool
    private var actions: [PoolAction] = []
    private var isPerforming = false
    private var source: WorkerSource!
    private var calls = CallTable()
    private(set) var slots: [UInt32: Slot] = [:]
    private let recycling: RecycleRule
    private let tickTimer: Timer
    private var tickArmedFor = Moment(nanoseconds: .max)
    package var metrics: VersionMetrics
    private var isDraining = false
    /// Provisioned workers that somebody wants beyond what the catalogue says, until they let go (see `Promotion`).
    private var claims: [ObjectIdentifier: Int] = [:]
    private var onSettled: [() -> Void] = []

    init(version: VersionEntry, function: FunctionState, metrics: VersionMetrics, invoker: Invoker) throws {
        self.version = version
        self.function = function
        self.metrics = metrics
        self.invoker = invoker
        let memoryKiB = version.settings.memorySize * 1024
        let wish = version.settings.concurrency
        recycling = RecycleRule(
            invocationsMax: wish.recycleInvocations, growthMaxKiB: wish.recycleGrowth.map { $0 * 1024 },
            followsTrend: wish.recycleTrend == true, memoryKiB: memoryKiB)
        pool = Pool(settings: invoker.poolSettings(for: version, provisioned: 0), at: invoker.loop.now)
        tickTimer = try Timer(loop: invoker.loop)
        tickTimer.unreference()
        source = WorkerSource(version, of: function.name, invoker: invoker, owner: self)
    }

    /// A pool without workers is forgotten while its tick may still be to come.
    deinit { tickTimer.close() }

    // MARK: What others ask

    /// The last failed init: Lambda's error object.
    package var initError: [UInt8]? { source.initFault.map { LambdaError.initFault($0, nil) } }
    /// Why no worker can be started, for people.
    package var cannotStart: String? { source.cannotStart }
    /// How workers are started, and why not faster, for people.
    package var startsBy: String { source.startsBy }

    /// Provisioned workers that the catalogue asks for; `claims` may add to it.
    package var provisionedTarget = 0 {
        didSet { if provisionedTarget != oldValue { reconfigure() } }
    }

    /// Invocations that were let in because of it; they may run on other workers.
    var provisionedAdmitted = 0
    var hasUnusedProvision: Bool { provisionedAdmitted < provisionedTarget }

    /// Does an alias, `$LATEST` or provisioned concurrency lead here? If not, idle workers do not stay for long.
    var isNamed = true {
        didSet { if isNamed != oldValue { reconfigure() } }
    }

    /// Nothing runs, nothing waits, nobody has announced anything.
    var isUnused: Bool { pool.isEmpty && slots.isEmpty && claims.isEmpty }

    func claim(_ who: AnyObject, provisioned: Int) {
        claims[ObjectIdentifier(who)] = provisioned
        reconfigure()
    }

    func release(_ who: AnyObject) {
        claims[ObjectIdentifier(who)] = nil
        reconfigure()
    }

    func adopt(_ function: FunctionState, metrics: VersionMetrics) {
        self.function = function
        self.metrics = metrics
    }

    func reconfigure() {
        let wanted = max(provisionedTarget, claims.values.max() ?? 0)
        var settings = invoker.poolSettings(for: version, provisioned: wanted)
        if !isNamed { settings.keepAlive = min(settings.keepAlive, Limits.unnamedKeepAlive) }
        pool.configure(settings, at: invoker.loop.now, into: &actions)
        perform()
    }

    /// The version is reachable no more: serve what waits, then stop.
    func drain() {
        isDraining = true
        pool.drain(at: invoker.loop.now, into: &actions)
        perform()
    }

    var isEmpty: Bool { pool.isEmpty && slots.isEmpty && source.isEmpty }

    /// Its last worker is gone: what they signed with is good no more.
    func revokeKey() { source.revokeKey() }

    package var gauges: PoolGauges {
        let counts = pool.counts
        var gauges = PoolGauges()
        gauges.starting = counts.starting
        gauges.idle = counts.idle
        gauges.busy = counts.busy
        gauges.responded = counts.responded
        gauges.draining = counts.draining
        gauges.waiting = counts.waiting
        gauges.provisionedTarget = counts.provisionedTarget
        gauges.provisionedReady = counts.provisionedReady
        gauges.provisionedInUse = counts.provisionedInUse
        return gauges
    }

    package var consecutiveInitFailures: Int { pool.initFailure?.consecutive ?? 0 }

    /// Resident memory of the workers now, in KiB, from the highest that each has reported.
    package var peakKiB: UInt64 { slots.values.reduce(0) { $0 + UInt64($1.worker.peakKiB) } }

    /// Calls back when the provisioned workers are all there or an init has failed (at once if so now).
    func whenSettled(_ body: @escaping () -> Void) {
        onSettled.append(body)
        checkSettled()
    }

    private func checkSettled() {
        guard !onSettled.isEmpty else { return }
        let counts = pool.counts
        guard counts.provisionedReady >= counts.provisionedTarget || source.initFault != nil || cannotStart != nil else { return }
        let bodies = onSettled
        onSettled = []
        for body in bodies { body() }
    }

    // MARK: The walk

    func arrive(_ invocation: Invocation) {
        let id = calls.insert(invocation)
        pool.arrive(id, deadline: nil, at: invocation.arrived, into: &actions)
        perform()
    }

    /// Its client has gone: if it still waits it is forgotten.
    func cancel(_ invocation: Invocation) -> Bool {
        guard let id = calls.id(of: invocation), calls.remove(id) != nil else { return false }
        pool.cancel(id, at: invoker.loop.now, into: &actions)
        invoker.ended(invocation, in: self)
        perform()
        return true
    }

    /// Would an arrival now find all provisioned workers busy?
    var isSpillingOver: Bool {
        let counts = pool.counts
        return counts.provisionedReady > 0 && counts.provisionedInUse >= counts.provisionedReady
    }

    /// A new attempt is made: what failed before says nothing of it.
    func forgetFailures() {
        source.forgetFailures()
    }

    /// Does what the pool has ordered. Orders that arise meanwhile join the list.
    private func perform() {
        guard !isPerforming else { return }
        isPerforming = true
        var next = 0
        while next < actions.count {
            let action = actions[next]
            next += 1
            switch action {
            case .dispatch(let call, let worker, let first): dispatch(call, worker, first)
            case .start(let worker, let provisioned, let reason): start(worker, provisioned, reason)
            case .stop(let worker): stop(worker)
            case .refuse(let call, let reason): refuse(call, reason)
            case .lose(let call, let worker): lose(call, worker)
            }
        }
        actions.removeAll(keepingCapacity: true)
        isPerforming = false
        armTick()
        checkSettled()
        if isDraining, pool.isEmpty {
            source.close()
            invoker.drained()
        }
    }

    private func dispatch(_ call: CallID, _ id: WorkerID, _ first: Bool) {
        guard let slot = slots[id.rawValue], let invocation = calls.remove(call) else {
            return assertionFailure("the pool dispatched what is not there")
        }
        let now = invoker.loop.now
        invocation.dispatched = now
        if first { describeStart(of: invocation, on: slot) }
        slot.call = invocation
        slot.callID = call
        slot.isTimedOut = false
        let timeout = Span.seconds(UInt64(version.settings.timeout))
        slot.deadline = now + timeout
        armTimer(slot)
        let epoch = Loop.epochMilliseconds
        function.log.append(
            LogRecord(
                epochMilliseconds: epoch, id: invocation.id, version: invocation.resolution.executedVersion, kind: .start))
        if invocation.wantsLogTail {
            let tail = ByteBuffer()
            LogLines.start(invocation.id, invocation.resolution.executedVersion, to: tail)
            invocation.logTail = tail
        }
        invocation.message.seal(deadlineEpochMilliseconds: epoch + timeout.wholeMilliseconds)
        slot.worker.thaw()
        slot.worker.send(invocation.message)
        invoker.care.begin()
    }

    /// Was it a cold start? It was if the invocation came before the worker was ready.
    private func describeStart(of invocation: Invocation, on slot: Slot) {
        let times = slot.worker.times
        guard invocation.arrived < times.ready else {
            if slot.isProvisioned { invocation.start = .provisioned }
            return
        }
        invocation.start = times.isFork ? .fork : .exec
        invocation.initTime = times.ready.since(max(invocation.arrived, times.ordered))
        invocation.coldReason = slot.reason.rawValue
        let kind = slot.isProvisioned ? "provisioned" : invocation.start.rawValue
        let key = ColdStartKey(initType: kind, reason: slot.reason.rawValue)
        metrics.coldStarts[key, default: Histogram()].record(times.total)
        let phases = [
            times.ordered.since(invocation.arrived), times.spawn, times.runtime, times.handlerImport, times.restore,
        ]
        for (index, span) in phases.enumerated() { metrics.coldPhases[index].record(span) }
    }

    private func refuse(_ call: CallID, _ reason: RefuseReason) {
        guard let invocation = calls.remove(call) else { return }
        switch reason {
        case .queueFull: invoker.refuse(invocation, .queueFull, in: self)
        case .waitedTooLong: invoker.refuse(invocation, .waitedTooLong, in: self)
        case .initFailed:
            if let cannotStart { return invoker.refuse(invocation, .cannotStart(cannotStart), in: self) }
            let error = LambdaError.initFault(source.initFault ?? .exit(.status(1)), invocation.id)
            invocation.dispatched = invoker.loop.now
            invocation.start = .exec
            invocation.initTime = invocation.dispatched.since(invocation.arrived)
            finish(invocation, .functionError, error, status: .error)
        }
    }

    private func lose(_ call: CallID, _ id: WorkerID) {
        guard let slot = lost.removeValue(forKey: id.rawValue), let invocation = slot.slot.call else { return }
        slot.slot.call = nil
        if slot.slot.isTimedOut {
            metrics.timeouts += 1
            let error = LambdaError.timeout(invocation.id, seconds: version.settings.timeout)
            note(invocation, "\(invocation.id) Task timed out after \(version.settings.timeout).00 seconds")
            finish(invocation, .functionError, error, status: .timeout, peakKiB: slot.slot.worker.peakKiB)
        } else {
            metrics.crashes += 1
            invocation.isLost = true
            let error = LambdaError.exit(invocation.id, slot.exit)
            if let used = slot.slot.overuseMegabytes {
                note(invocation, "the worker was killed: it used \(used) MB, and the function has \(version.settings.memorySize) MB")
            }
            note(invocation, "RequestId: \(invocation.id) Error: \(slot.exit.lambdaReason)")
            finish(invocation, .functionError, error, status: .error, peakKiB: slot.slot.worker.peakKiB)
        }
    }

    /// Slots of processes that have just ended, while the pool says what becomes of their call.
    private var lost: [UInt32: (slot: Slot, exit: WorkerExit)] = [:]

    private func note(_ invocation: Invocation, _ text: String) {
        log(.output(Array((text + "\n").utf8)), invocation.id, invocation.resolution.executedVersion)
        invocation.logTail?.append(text + "\n")
    }

    func log(_ kind: LogRecord.Kind, _ id: RequestID?, _ version: String) {
        function.log.append(
            LogRecord(epochMilliseconds: Loop.epochMilliseconds, id: id, version: version, kind: kind))
    }

    package var versionText: String { version.number.map(String.init) ?? "$LATEST" }

    /// The end of an invocation that was dispatched, or that a failed init answers.
    private func finish(
        _ invocation: Invocation, _ kind: InvocationOutcome.Kind, _ payload: [UInt8], status: LogReport.Status,
        peakKiB: UInt32 = 0
    ) {
        payload.withUnsafeBytes { finish(invocation, kind, $0, status: status, peakKiB: peakKiB) }
    }

    private func finish(
        _ invocation: Invocation, _ kind: InvocationOutcome.Kind, _ payload: UnsafeRawBufferPointer,
        status: LogReport.Status, peakKiB: UInt32, at ended: Moment? = nil
    ) {
        let run = (ended ?? invoker.loop.now).since(invocation.dispatched)
        let wait = invocation.dispatched.since(invocation.arrived)
        metrics.invocations += 1
        metrics.duration.record(run)
        metrics.queueWait.record(wait)
        if status != .success { metrics.errors += 1 }
        let report = LogReport(
            duration: run, memoryMegabytes: version.settings.memorySize, peakKiB: peakKiB,
            initDuration: invocation.initTime == .zero ? nil : invocation.initTime, coldReason: invocation.coldReason,
            status: status)
        log(.end(report), invocation.id, invocation.resolution.executedVersion)
        if let tail = invocation.logTail {
            if tail.bytes.last != UInt8(ascii: "\n") { tail.append(UInt8(ascii: "\n")) }
            LogLines.end(invocation.id, report, to: tail)
        }
        var outcome = outcome(of: invocation, kind, payload)
        outcome.run = run
        outcome.logTail = invocation.logTail
        invoker.ended(invocation, in: self)
        invocation.finished(outcome)
    }

    func outcome(
        of invocation: Invocation, _ kind: InvocationOutcome.Kind, _ payload: UnsafeRawBufferPointer
    ) -> InvocationOutcome {
        let wait = invocation.dispatched.since(invocation.arrived)
        var outcome = InvocationOutcome(kind: kind, payload: payload)
        outcome.queue = Span(nanoseconds: wait.nanoseconds - min(wait.nanoseconds, invocation.initTime.nanoseconds))
        outcome.initTime = invocation.initTime
        outcome.start = invocation.start
        return outcome
    }

    // MARK: Processes

    private func start(_ id: WorkerID, _ provisioned: Bool, _ reason: StartReason) {
        source.start(StartOrder(id: id, isProvisioned: provisioned, reason: reason, ordered: invoker.loop.now))
    }

    /// There may be room on the node again.
    func retryStarts() { source.pump() }

    /// Stops the worker that has been idle for longest, to make room for another version's; false if there is none.
    func giveUpIdleWorker() -> Bool {
        let before = actions.count
        pool.evictIdle(at: invoker.loop.now, into: &actions)
        let found = actions.count > before
        perform()
        return found
    }

    private func stop(_ id: WorkerID) {
        if source.cancel(id) { return }
        slots[id.rawValue]?.isStopping = true
        slots[id.rawValue]?.worker.stop()
    }

    /// Kills every process, for the server's own end.
    func killAll() {
        for slot in slots.values { slot.worker.kill() }
        source.kill()
    }

    // MARK: Time

    private func armTick() {
        guard let next = pool.nextTick, next < tickArmedFor else { return }
        tickArmedFor = next
        tickTimer.start(after: max(next.since(invoker.loop.now), .milliseconds(1))) { [unowned self] in
            tickArmedFor = Moment(nanoseconds: .max)
            pool.tick(at: invoker.loop.now, into: &actions)
            perform()
        }
    }

    private func armTimer(_ slot: Slot) {
        guard slot.deadline < slot.timerArmedFor else { return }
        if slot.timer == nil {
            slot.timer = try? Timer(loop: invoker.loop)
            slot.timer?.unreference()
        }
        slot.timerArmedFor = slot.deadline
        slot.timer?.start(after: slot.deadline.since(invoker.loop.now)) { [unowned self, unowned slot] in
            slot.timerArmedFor = Moment(nanoseconds: .max)
            deadlinePassed(slot)
        }
    }

    private func deadlinePassed(_ slot: Slot) {
        let now = invoker.loop.now
        if slot.deadline.nanoseconds == .max { return }
        guard slot.deadline <= now else { return armTimer(slot) }
        if slot.call != nil {
            slot.isTimedOut = true
        } else if slot.worker.times.ready != .zero {
            log(.note("a worker that had answered did not ask for its next invocation in time: killed"), nil, versionText)
        } else {
            source.initFault = .timeout(invoker.settings.initTimeout)
            log(.note("init took longer than \(invoker.settings.initTimeout.seconds) s: worker killed"), nil, versionText)
        }
        // A zygote that has not forked it by now, or does not say so, never will.
        if slot.worker.pid < 0 { source.kill() }
        slot.worker.kill()
    }
}

extension VersionPool: WorkerOwner {
    package func workerReady(_ worker: Worker) {
        guard let slot = slots[worker.tag] else { return }
        slot.deadline = Moment(nanoseconds: .max)
        slot.idleSince = worker.times.ready
        source.succeeded()
        metrics.initTimes.record(worker.times.total)
        pool.ready(slot.id, at: worker.times.ready, into: &actions)
        perform()
        invoker.care.begin()
    }

    package func workerInitFailed(_ worker: Worker, error: UnsafeRawBufferPointer) {
        source.initFault = .reported(Array(error.prefix(64 * 1024)))
    }

    package func workerAnswered(_ worker: Worker, _ answer: WorkerAnswer) {
        guard let slot = slots[worker.tag], let invocation = slot.call else { return }
        // A worker that is being killed for its time has lost it, whatever it still says.
        if slot.isTimedOut { return }
        slot.call = nil
        invocation.isAnswered = true
        // Its last piece may have been one too many for a slow reader, and the next invocation's answer must be read.
        invocation.stream?.resume()
        if slot.isProvisioned { metrics.provisionedInvocations += 1 } else if invocation.isSpillover {
            metrics.spilloverInvocations += 1
        }
        // The next invocation goes out before this one's answer is written: its worker runs meanwhile.
        let now = invoker.loop.now
        slot.idleSince = now
        if isSpent(slot) { pool.retire(slot.id) }
        if answer.impliesFree {
            slot.deadline = Moment(nanoseconds: .max)
            pool.finish(slot.id, at: now, into: &actions)
        } else {
            // Its time runs on until it asks for the next invocation.
            pool.answered(slot.id, at: now, into: &actions)
        }
        perform()
        switch answer.kind {
        case .result where invocation.stream?.isTooLarge == true:
            finish(invocation, .functionError, LambdaError.tooLarge, status: .error, peakKiB: worker.peakKiB)
        case .result:
            let payload = invocation.stream?.collected.bytes ?? answer.payload
            finish(invocation, .result, payload, status: .success, peakKiB: worker.peakKiB, at: now)
        case .error: finish(invocation, .functionError, answer.payload, status: .error, peakKiB: worker.peakKiB, at: now)
        case .tooLarge:
            finish(invocation, .functionError, LambdaError.tooLarge, status: .error, peakKiB: worker.peakKiB)
        }
    }

    /// Has the worker served enough?
    private func isSpent(_ slot: Slot) -> Bool {
        if recycling.isOff { return false }
        let peak = Int(slot.worker.peakKiB)
        var life = slot.life ?? RecycleRule.Life(peakKiB: peak)
        defer { slot.life = life }
        return recycling.isSpent(&life, peakKiB: peak)
    }

    package func workerFree(_ worker: Worker) {
        guard let slot = slots[worker.tag] else { return }
        slot.deadline = Moment(nanoseconds: .max)
        slot.idleSince = invoker.loop.now
        pool.free(slot.id, at: invoker.loop.now, into: &actions)
        perform()
    }

    package func workerFaulted(_ worker: Worker) {
        // Under an invocation, or before it is ready, the exit says it all.
        guard let slot = slots[worker.tag], slot.call == nil, worker.times.ready != .zero else { return }
        forget(worker.tag)
        pool.exited(slot.id, cause: .crash, at: invoker.loop.now, into: &actions)
        perform()
        invoker.workerGone()
    }

    package func workerWrote(_ worker: Worker, _ bytes: UnsafeRawBufferPointer) {
        let invocation = slots[worker.tag]?.call
        metrics.logBytes += UInt64(bytes.count)
        if let tail = invocation?.logTail {
            tail.append(bytes)
            // Only its end is ever shown, however much is written.
            if tail.count > 16 * Limits.logTailBytes { tail.consume(tail.count - Limits.logTailBytes) }
        }
        log(.output(Array(bytes)), invocation?.id, invocation?.resolution.executedVersion ?? versionText)
    }

    @discardableResult
    private func forget(_ tag: UInt32) -> Slot? {
        guard let slot = slots.removeValue(forKey: tag) else { return nil }
        slot.timer?.close()
        slot.timer = nil
        invoker.workerCount -= 1
        return slot
    }

    package func workerExited(_ worker: Worker, _ exit: WorkerExit) {
        guard let slot = forget(worker.tag) else { return }
        if !worker.hasBeen, worker.times.ready == .zero, !slot.isStopping, !slot.order.isRepeated, source.initFault == nil {
            var order = slot.order
            order.isRepeated = true
            source.start(order)
            return invoker.workerGone()
        }
        let wasReady = worker.times.ready != .zero
        if !wasReady, !slot.isStopping {
            metrics.initFailures += 1
            if source.initFault == nil { source.initFault = .exit(exit) }
            log(.note("a worker's init failed: \(exit.lambdaReason)"), nil, versionText)
        }
        lost[worker.tag] = (slot, exit)
        let cause: ExitCause = slot.isStopping ? .stopped : !wasReady ? .initFailed : slot.isTimedOut ? .timeout : .crash
        pool.exited(slot.id, cause: cause, at: invoker.loop.now, into: &actions)
        perform()
        lost[worker.tag] = nil
        invoker.workerGone()
    }
}

extension VersionPool: WorkerSourceOwner {
    func sourceStarted(_ worker: Worker, _ order: StartOrder) {
        let slot = Slot(worker: worker, order: order)
        slots[order.id.rawValue] = slot
        invoker.workerCount += 1
        slot.deadline = invoker.loop.now + invoker.settings.initTimeout
        armTimer(slot)
    }

    func sourceFailed(_ order: StartOrder, isStopped: Bool) {
        // One whose process never came may have been stopped meanwhile.
        let isStopped = isStopped || forget(order.id.rawValue)?.isStopping == true
        if !isStopped { metrics.initFailures += 1 }
        pool.exited(order.id, cause: isStopped ? .stopped : .initFailed, at: invoker.loop.now, into: &actions)
        perform()
        invoker.workerGone()
    }

    func sourceWrote(_ bytes: UnsafeRawBufferPointer) {
        metrics.logBytes += UInt64(bytes.count)
        log(.output(Array(bytes)), nil, versionText)
    }

    func sourceNotes(_ text: String) { log(.note(text), nil, versionText) }
}
