import Base
import Pool

/// What happens to a pool.
enum Fact {
    case arrive(CallID, deadline: Moment?)
    case cancel(CallID)
    case ready(WorkerID), finish(WorkerID), answered(WorkerID), free(WorkerID)
    case exited(WorkerID, ExitCause)
    case evict, tick, drain
    case configure(PoolSettings)
}

/// Watches a pool from outside: keeps its own book of calls and workers from facts and orders alone, and holds every
/// order and every state against the rules.
struct PoolModel {
    struct Broken: Error { let rule: String }

    enum State: Equatable { case starting, idle, busy(CallID), responded, stopping }

    struct Worker {
        var state = State.starting
        let isProvisioned: Bool
        var since: Moment
        /// Counts up with each return to idleness: the highest is the top of the stack.
        var turn = 0
        var hasServed = false
    }

    private struct Call {
        let id: CallID
        let arrived: Moment
        let deadline: Moment
    }

    private(set) var pool: Pool
    private(set) var settings: PoolSettings
    private(set) var workers: [WorkerID: Worker] = [:]
    private(set) var isDraining = false
    private(set) var asked = 0
    private(set) var answered = 0
    private var used: Set<WorkerID> = []
    private var waiting: [Call] = []
    private var turns = 0
    private var slowestInit = Span.zero

    init(settings: PoolSettings, at now: Moment) {
        self.settings = settings
        pool = Pool(settings: settings, at: now)
    }

    var waitingCalls: [CallID] { waiting.map(\.id) }
    var alive: Int { workers.values.count { $0.state != .stopping } }
    private var starting: Int { workers.values.count { $0.state == .starting } }
    private var target: Int { isDraining ? 0 : settings.provisioned }
    private var provisioned: Int { workers.values.count { $0.isProvisioned && $0.state != .stopping } }
    private var bound: Int { max(settings.workersMax, target) }
    private var hasRoom: Bool { workers.count < bound }

    private func hold(_ condition: Bool, _ rule: @autoclosure () -> String) throws(Broken) {
        if !condition { throw Broken(rule: rule()) }
    }

    /// Tells the pool and checks what it orders and how it then stands.
    mutating func step(_ fact: Fact, at now: Moment) throws(Broken) -> [PoolAction] {
        var actions: [PoolAction] = []
        tell(fact, at: now, into: &actions)
        var book = Book(expectsNothing: false)
        enter(fact, at: now, &book)
        try hold(!book.expectsNothing || actions.isEmpty, "what makes no sense is ignored")
        for action in actions { try check(action, after: fact, at: now, &book) }
        try hold(book.lost == nil, "the call of a worker that is gone is lost")
        try checkState(at: now)
        if case .arrive(let call, _) = fact, waiting.last?.id == call {
            try hold(waiting.count <= max(1, settings.waitingMax), "a call joins a full queue")
        }
        return actions
    }

    private mutating func tell(_ fact: Fact, at now: Moment, into actions: inout [PoolAction]) {
        switch fact {
        case .arrive(let call, let deadline): pool.arrive(call, deadline: deadline, at: now, into: &actions)
        case .cancel(let call): pool.cancel(call, at: now, into: &actions)
        case .ready(let worker): pool.ready(worker, at: now, into: &actions)
        case .finish(let worker): pool.finish(worker, at: now, into: &actions)
        case .answered(let worker): pool.answered(worker, at: now, into: &actions)
        case .free(let worker): pool.free(worker, at: now, into: &actions)
        case .exited(let worker, let cause): pool.exited(worker, cause: cause, at: now, into: &actions)
        case .evict: pool.evictIdle(at: now, into: &actions)
        case .tick: pool.tick(at: now, into: &actions)
        case .drain: pool.drain(at: now, into: &actions)
        case .configure(let settings): pool.configure(settings, at: now, into: &actions)
        }
    }

    // MARK: The book

    /// What one fact leaves to be checked in the orders that follow it.
    private struct Book {
        var expectsNothing: Bool
        /// The call that the fact's worker took with it.
        var lost: CallID?
        var initFailed = false
    }

    /// Does a worker's word fit its state? If not the pool ignores it.
    func fits(_ fact: Fact) -> Bool {
        switch fact {
        case .ready(let worker): workers[worker]?.state == .starting
        case .free(let worker): workers[worker]?.state == .responded
        case .finish(let worker), .answered(let worker):
            if case .busy = workers[worker]?.state { true } else { false }
        case .exited(let worker, _): workers[worker] != nil
        default: true
        }
    }

    private mutating func enter(_ fact: Fact, at now: Moment, _ book: inout Book) {
        guard fits(fact) else {
            book.expectsNothing = true
            return
        }
        switch fact {
        case .arrive(let call, let deadline):
            asked += 1
            waiting.append(Call(id: call, arrived: now, deadline: deadline ?? Moment(nanoseconds: .max)))
        case .cancel(let call):
            let before = waiting.count
            waiting.removeAll { $0.id == call }
            answered += before - waiting.count
        case .ready(let worker):
            slowestInit = max(slowestInit, now.since(workers[worker]?.since ?? now))
            rest(worker, at: now)
        case .finish(let worker):
            answered += 1
            rest(worker, at: now)
        case .free(let worker): rest(worker, at: now)
        case .answered(let worker):
            answered += 1
            workers[worker]?.state = .responded
        case .exited(let worker, _):
            let gone = workers.removeValue(forKey: worker)
            if case .busy(let call) = gone?.state { book.lost = call }
            book.initFailed = gone?.state == .starting
        case .evict, .tick: break
        case .drain: isDraining = true
        case .configure(let settings): self.settings = settings
        }
    }

    private mutating func rest(_ worker: WorkerID, at now: Moment) {
        turns += 1
        workers[worker]?.state = .idle
        workers[worker]?.since = now
        workers[worker]?.turn = turns
    }

    // MARK: Orders

    private mutating func check(_ action: PoolAction, after fact: Fact, at now: Moment, _ book: inout Book) throws(Broken) {
        switch action {
        case .start(let worker, let isProvisioned, let reason):
            try hold(used.insert(worker).inserted, "a worker's name is used once")
            try hold(hasRoom, "no start while \(bound) workers live")
            if isProvisioned {
                try hold(provisioned < target, "no more provisioned workers than asked for")
            } else if reason == .spare {
                let isBackingOff = pool.initFailure.map { now < $0.nextRetry } ?? false
                let (busy, idle) = workers.values.reduce(into: (0, 0)) { count, worker in
                    if case .busy = worker.state { count.0 += 1 }
                    if worker.state == .idle { count.1 += 1 }
                }
                try hold(busy > 0 && waiting.isEmpty && !isDraining && !isBackingOff, "a spare is for a version that serves all its calls")
                try hold(idle + starting < settings.spares, "no more spares than asked for")
            } else {
                let wait = waiting.first.map { now.since($0.arrived) } ?? .zero
                let answered = wait < settings.respondedWait ? workers.values.count { $0.state == .responded } : 0
                try hold(waiting.count > starting + answered, "a start on demand is meant for a call that nobody is about to serve")
                let isSpillover = target > 0 && pool.counts.provisionedReady > 0
                try hold((reason == .spillover) == isSpillover, "spillover means that provisioned workers are ready and busy")
            }
            workers[worker] = Worker(isProvisioned: isProvisioned, since: now)
        case .dispatch(let call, let id, let isFirst):
            guard let worker = workers[id], worker.state == .idle else { throw Broken(rule: "a call is given to an idle worker") }
            try hold(waiting.first?.id == call, "calls are served in the order of their arrival")
            try hold(isFirst == !worker.hasServed, "first tells whether the worker has served")
            try hold(worker.isProvisioned || alive <= bound, "on-demand workers beyond the bound are given no more")
            let isBest = !workers.values.contains {
                guard $0.state == .idle else { return false }
                return $0.isProvisioned == worker.isProvisioned ? $0.turn > worker.turn : $0.isProvisioned
            }
            try hold(isBest, "the warmest worker serves, a provisioned one before others")
            waiting.removeFirst()
            workers[id]?.state = .busy(call)
            workers[id]?.hasServed = true
        case .stop(let id):
            guard let worker = workers[id] else { throw Broken(rule: "who is stopped lives") }
            let isSurplus = worker.state == .idle && alive > bound
            try hold(worker.state == .starting || worker.state == .idle, "who is stopped serves nothing")
            try hold(waiting.isEmpty || isSurplus, "nobody is stopped while calls wait")
            workers[id]?.state = .stopping
        case .refuse(let call, let reason):
            guard let index = waiting.firstIndex(where: { $0.id == call }) else { throw Broken(rule: "a call is answered once") }
            switch reason {
            case .queueFull: try hold(index == waiting.count - 1 && index >= settings.waitingMax, "only a full queue refuses")
            case .waitedTooLong: try hold(isOver(waiting[index], at: now), "a call is refused when its time is over")
            case .initFailed:
                try hold(book.initFailed && index == 0 && alive == 0, "a failed init answers the oldest call, if nobody else can")
                book.initFailed = false
            }
            waiting.remove(at: index)
            answered += 1
        case .lose(let call, let worker):
            guard case .exited(worker, _) = fact else { throw Broken(rule: "a call is lost with its worker") }
            try hold(book.lost == call, "a worker takes its own call with it")
            book.lost = nil
            answered += 1
        }
    }

    private func isOver(_ call: Call, at now: Moment) -> Bool {
        call.deadline <= now || call.arrived + settings.waitMax <= now
    }

    // MARK: States

    private func checkState(at now: Moment) throws(Broken) {
        let idle = workers.values.filter { $0.state == .idle }
        try hold(pool.counts == counts, "counts: \(pool.counts) told, \(counts) true")
        try hold(pool.isEmpty == (workers.isEmpty && waiting.isEmpty), "isEmpty is the truth")
        try hold(waiting.isEmpty || idle.isEmpty, "no call waits beside an idle worker")
        if isDraining { try hold(idle.isEmpty && (starting == 0 || !waiting.isEmpty), "a drained pool keeps nobody for later") }
        guard pool.nextTick.map({ $0 > now }) ?? true else { return }
        try hold(provisioned <= target || !idle.contains(where: \.isProvisioned), "surplus provisioned workers do not stay")
        // The pool says that nothing is due.
        let isBackingOff = pool.initFailure.map { now < $0.nextRetry } ?? false
        try hold(!waiting.contains { isOver($0, at: now) }, "a call waits beyond its time")
        try hold(!idle.contains { !$0.isProvisioned && $0.since + settings.keepAlive <= now }, "an idle worker outlives its keep-alive")
        if provisioned < target, !isBackingOff {
            try hold(!hasRoom, "provisioned workers are missing")
            let stopping = workers.count - alive
            try hold(stopping > 0 || !idle.contains { !$0.isProvisioned }, "idle workers take the room of provisioned ones")
        }
        if let oldest = waiting.first, waiting.count > starting, hasRoom, !isBackingOff || alive == 0 {
            let wait = now.since(oldest.arrived)
            try hold(wait <= max(slowestInit, settings.respondedWait), "a call waits longer than a start takes, and none is started")
        }
    }

    private var counts: PoolCounts {
        var counts = PoolCounts()
        counts.waiting = waiting.count
        counts.provisionedTarget = target
        for worker in workers.values {
            switch worker.state {
            case .starting: counts.starting += 1
            case .idle: counts.idle += 1
            case .busy: counts.busy += 1
            case .responded: counts.responded += 1
            case .stopping: counts.draining += 1
            }
            guard worker.isProvisioned, worker.state != .stopping, worker.state != .starting else { continue }
            counts.provisionedReady += 1
            if case .busy = worker.state { counts.provisionedInUse += 1 }
        }
        return counts
    }
}
