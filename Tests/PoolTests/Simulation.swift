import Base
import Pool

/// A node in virtual time that does what a pool orders, and does it badly: inits that fail or take long, crashes, timeouts,
/// workers that do not come back, clients that go away, people who change the settings, late timers.
struct Simulation {
    /// The rule that broke, and what led to it.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private enum Event {
        case calls, meddle
        case initEnds(WorkerID, succeeds: Bool)
        case runEnds(WorkerID)
        case frees(WorkerID)
        case exits(WorkerID, ExitCause)
        case drain
    }

    /// How bad it gets; drawn once a run.
    private struct Weather {
        let gap: UInt64, burst: UInt64
        let run: UInt64, initTime: UInt64
        var initFails: Double, runFails: Double, meddles: Double
        let answersFirst: Double, isLate: Double
    }

    private var random: Random
    private var weather: Weather
    private var model: PoolModel
    private var agenda = Agenda<Event>()
    private var now = Moment.zero + .seconds(1)
    private var calls: UInt64 = 0
    private var isCalm = false
    private var gone: [WorkerID] = []
    private var facts = 0
    private var ticks = 0
    private var trace: [(Moment, Fact, [PoolAction])] = []

    private init(seed: UInt64) {
        random = Random(seed: seed)
        func draw(_ range: ClosedRange<UInt64>, _ random: inout Random) -> UInt64 { .random(in: range, using: &random) }
        weather = Weather(
            gap: draw(1...200, &random), burst: draw(2...40, &random), run: draw(1...300, &random), initTime: draw(5...2000, &random),
            initFails: Double(draw(0...40, &random)) / 100, runFails: Double(draw(0...10, &random)) / 100,
            meddles: Double(draw(0...20, &random)) / 100, answersFirst: Double(draw(0...1, &random)) / 2,
            isLate: Double(draw(0...1, &random)) / 4)
        model = PoolModel(settings: Self.settings(&random), at: now)
    }

    private static func settings(_ random: inout Random) -> PoolSettings {
        func draw(_ range: ClosedRange<UInt64>) -> UInt64 { .random(in: range, using: &random) }
        return PoolSettings(
            provisioned: Int(draw(0...5)), workersMax: Int(draw(1...12)), waitingMax: Int(draw(1...60)),
            waitMax: .milliseconds(draw(50...5000)), keepAlive: .milliseconds(draw(10...20_000)),
            spares: Int(draw(0...2)))
    }

    /// Runs `count` facts of weather, then calm until everything has settled, then a drain.
    static func run(seed: UInt64, facts count: Int) throws(Failure) -> (facts: Int, calls: Int) {
        var simulation = Simulation(seed: seed)
        do {
            try simulation.run(count)
        } catch {
            throw Failure(description: simulation.story(seed, error.rule))
        }
        return (simulation.facts, simulation.model.asked)
    }

    private mutating func run(_ count: Int) throws(PoolModel.Broken) {
        agenda.note(.calls, at: now)
        agenda.note(.meddle, at: now)
        // Some versions are given up while calls still come.
        if chance(0.3) { agenda.note(.drain, at: now + .milliseconds(draw(1...60_000))) }
        while facts < count { try next() }
        isCalm = true
        weather.initFails = 0
        weather.runFails = 0
        try settle("the calm")
        let counts = model.pool.counts
        if !model.isDraining {
            try hold(counts.provisionedReady == model.settings.provisioned && counts.idle == model.alive, "provisioned workers are back")
        }
        try hold(counts.idle == counts.provisionedReady, "keep-alive ends idle workers")
        try step(.drain)
        try settle("the drain")
        try hold(model.workers.isEmpty && model.pool.isEmpty, "a drain leaves nothing behind")
        try hold(model.answered == model.asked, "\(model.asked) calls, \(model.answered) answers")
    }

    private mutating func settle(_ what: String) throws(PoolModel.Broken) {
        let limit = facts + 20_000
        while agenda.next != nil || model.pool.nextTick != nil {
            try next()
            try hold(facts < limit, "\(what) comes to an end")
        }
        try hold(model.waitingCalls.isEmpty, "nobody waits after \(what)")
    }

    private func hold(_ condition: Bool, _ rule: String) throws(PoolModel.Broken) {
        if !condition { throw PoolModel.Broken(rule: rule) }
    }

    private mutating func draw(_ range: ClosedRange<UInt64>) -> UInt64 { .random(in: range, using: &random) }
    private mutating func chance(_ probability: Double) -> Bool { Double(random.next() >> 11) < probability * 9_007_199_254_740_992 }

    /// Around `mean` milliseconds: mostly less, seldom far more.
    private mutating func around(_ mean: UInt64) -> Span {
        let span = Span(nanoseconds: draw(1...mean * 2_000_000))
        return chance(0.02) ? Span(nanoseconds: span.nanoseconds * 20) : span
    }

    // MARK: Time

    /// The next event, or the tick that the pool has asked for, whichever is earlier. A late timer lets events pass.
    private mutating func next() throws(PoolModel.Broken) {
        let event = agenda.next
        if let due = model.pool.nextTick {
            let rings = max(due, now) + (chance(weather.isLate) ? .milliseconds(draw(1...30)) : .zero)
            if event.map({ rings <= $0 }) ?? true {
                now = rings
                ticks += 1
                try step(.tick)
                try hold(model.pool.nextTick.map { $0 > now } ?? true, "a tick is not due again at once")
                return try hold(ticks < 3 * facts / 4 + 100, "ticks come when something is due: \(ticks) in \(facts) facts")
            }
        }
        guard let event else { return }
        now = event
        switch agenda.removeFirst() {
        case .calls: try arrivals()
        case .meddle: try meddle()
        case .initEnds(let worker, true): try step(.ready(worker))
        case .initEnds(let worker, false): try step(.exited(worker, .initFailed))
        case .runEnds(let worker): try runEnds(worker)
        case .frees(let worker): try step(.free(worker))
        case .exits(let worker, let cause): try step(.exited(worker, cause))
        case .drain: try step(.drain)
        }
    }

    private mutating func step(_ fact: Fact) throws(PoolModel.Broken) {
        facts += 1
        if case .exited(let worker, _) = fact { gone.append(worker) }
        trace.append((now, fact, []))
        if trace.count > 200 { trace.removeFirst(160) }
        let actions = try model.step(fact, at: now)
        trace[trace.count - 1].2 = actions
        for action in actions { obey(action) }
    }

    // MARK: The node

    private mutating func obey(_ action: PoolAction) {
        switch action {
        case .start(let worker, _, _):
            agenda.note(.initEnds(worker, succeeds: !chance(weather.initFails)), at: now + around(weather.initTime))
        case .dispatch(_, let worker, _): agenda.note(.runEnds(worker), at: now + around(weather.run))
        case .stop(let worker):
            let causes: [ExitCause] = [.stopped, .crash, .initFailed]
            agenda.note(.exits(worker, causes[Int(draw(0...2))]), at: now + .milliseconds(draw(0...400)))
        case .refuse, .lose: break
        }
    }

    private mutating func runEnds(_ worker: WorkerID) throws(PoolModel.Broken) {
        if chance(weather.runFails) { return try step(.exited(worker, chance(0.5) ? .crash : .timeout)) }
        guard chance(weather.answersFirst) else { return try step(.finish(worker)) }
        try step(.answered(worker))
        if chance(0.05) {
            // It never asks again, until somebody kills it.
            agenda.note(.exits(worker, .timeout), at: now + .milliseconds(draw(1...3000)))
        } else {
            agenda.note(.frees(worker), at: now + .milliseconds(chance(0.9) ? draw(0...5) : draw(5...250)))
        }
    }

    private mutating func arrivals() throws(PoolModel.Broken) {
        for _ in 0..<(chance(0.1) ? weather.burst : 1) {
            calls += 1
            let deadline = chance(0.2) ? now + .milliseconds(draw(0...6000)) : nil
            try step(.arrive(CallID(calls), deadline: deadline))
        }
        // Now and then nobody comes for a while.
        if !isCalm { agenda.note(.calls, at: now + (chance(0.02) ? .milliseconds(draw(1000...60_000)) : around(weather.gap))) }
    }

    /// Somebody does something that nobody has asked for.
    private mutating func meddle() throws(PoolModel.Broken) {
        if isCalm { return }
        agenda.note(.meddle, at: now + around(weather.gap * 3))
        guard chance(weather.meddles) else { return }
        let living = model.workers.keys.sorted { $0.rawValue < $1.rawValue }
        switch draw(0...9) {
        case 0, 1:
            let waiting = model.waitingCalls
            try step(.cancel(waiting.isEmpty || chance(0.2) ? CallID(draw(0...calls)) : waiting[Int(draw(0...UInt64(waiting.count - 1)))]))
        case 2, 3:
            if !living.isEmpty { try step(.exited(living[Int(draw(0...UInt64(living.count - 1)))], .crash)) }
        case 4: try step(.configure(Self.settings(&random)))
        case 5: try step(.evict)
        case 6: try step(.tick)
        default:
            let names = living + gone.suffix(5)
            guard !names.isEmpty else { return }
            let name = names[Int(draw(0...UInt64(names.count - 1)))]
            let nonsense: [Fact] = [.ready(name), .finish(name), .answered(name), .free(name), .exited(name, .crash)]
            for fact in nonsense where !model.fits(fact) { try step(fact) }
        }
    }

    // MARK: Telling

    private func story(_ seed: UInt64, _ rule: String) -> String {
        var lines = ["seed \(seed), fact \(facts): \(rule) (again: HEARTH_SEED=\(seed) swift test --filter PoolSimulation)"]
        for (time, fact, actions) in trace.suffix(40) { lines.append("\(time.nanoseconds) \(fact) → \(actions)") }
        return lines.joined(separator: "\n").replacing("PoolTests.", with: "").replacing("Pool.", with: "")
    }
}
