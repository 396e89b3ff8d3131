import Base
import Pool

/// A pool driven by hand. Workers are numbered in the order of their start, times are milliseconds, orders are words:
/// `start w1 provisioned deploy`, `start w2 scale_up`, `7 to w1 new`, `7 to w1`, `stop w1`, `refuse 7 queueFull`,
/// `lose 7 w1`.
struct Script {
    private(set) var pool: Pool
    private var settings: PoolSettings
    private var workers: [WorkerID] = []
    private var time = 0

    init(
        provisioned: Int = 0, workersMax: Int = 10, waitingMax: Int = 100, waitMax: Int = 10_000, keepAlive: Int = 60_000,
        spares: Int = 0
    ) {
        settings = PoolSettings(
            provisioned: provisioned, workersMax: workersMax, waitingMax: waitingMax,
            waitMax: .milliseconds(UInt64(waitMax)), keepAlive: .milliseconds(UInt64(keepAlive)),
            spares: spares)
        pool = Pool(settings: settings, at: Self.moment(0))
    }

    /// Times count from one second of the machine's clock.
    private static func moment(_ milliseconds: Int) -> Moment { Moment(nanoseconds: UInt64(milliseconds + 1000) * 1_000_000) }

    /// `nextTick`, rounded up.
    var next: Int? { pool.nextTick.map { Int(($0.nanoseconds + 999_999) / 1_000_000) - 1000 } }

    private mutating func order(
        at time: Int?, _ event: (inout Pool, Moment, inout [PoolAction]) -> Void
    ) -> [String] {
        self.time = time ?? self.time
        var actions: [PoolAction] = []
        event(&pool, Self.moment(self.time), &actions)
        return actions.map { words($0) }
    }

    private mutating func words(_ action: PoolAction) -> String {
        switch action {
        case .start(let worker, let provisioned, let reason):
            workers.append(worker)
            return "start w\(workers.count)\(provisioned ? " provisioned" : "") \(reason.rawValue)"
        case .dispatch(let call, let worker, let first): return "\(call.rawValue) to \(name(worker))\(first ? " new" : "")"
        case .stop(let worker): return "stop \(name(worker))"
        case .refuse(let call, let reason): return "refuse \(call.rawValue) \(reason)"
        case .lose(let call, let worker): return "lose \(call.rawValue) \(name(worker))"
        }
    }

    private func name(_ worker: WorkerID) -> String { workers.firstIndex(of: worker).map { "w\($0 + 1)" } ?? "nobody" }

    private func id(_ worker: Int) -> WorkerID {
        worker <= workers.count ? workers[worker - 1] : WorkerID(rawValue: .max)
    }

    mutating func arrive(_ call: UInt64, deadline: Int? = nil, at time: Int? = nil) -> [String] {
        order(at: time) { $0.arrive(CallID(call), deadline: deadline.map(Self.moment), at: $1, into: &$2) }
    }

    mutating func cancel(_ call: UInt64, at time: Int? = nil) -> [String] {
        order(at: time) { $0.cancel(CallID(call), at: $1, into: &$2) }
    }

    mutating func ready(_ worker: Int, at time: Int? = nil) -> [String] {
        let worker = id(worker)
        return order(at: time) { $0.ready(worker, at: $1, into: &$2) }
    }

    mutating func finish(_ worker: Int, at time: Int? = nil) -> [String] {
        let worker = id(worker)
        return order(at: time) { $0.finish(worker, at: $1, into: &$2) }
    }

    mutating func answered(_ worker: Int, at time: Int? = nil) -> [String] {
        let worker = id(worker)
        return order(at: time) { $0.answered(worker, at: $1, into: &$2) }
    }

    mutating func free(_ worker: Int, at time: Int? = nil) -> [String] {
        let worker = id(worker)
        return order(at: time) { $0.free(worker, at: $1, into: &$2) }
    }

    mutating func exit(_ worker: Int, _ cause: ExitCause, at time: Int? = nil) -> [String] {
        let worker = id(worker)
        return order(at: time) { $0.exited(worker, cause: cause, at: $1, into: &$2) }
    }

    mutating func evictIdle(at time: Int? = nil) -> [String] { order(at: time) { $0.evictIdle(at: $1, into: &$2) } }

    mutating func tick(at time: Int? = nil) -> [String] { order(at: time) { $0.tick(at: $1, into: &$2) } }

    mutating func drain(at time: Int? = nil) -> [String] { order(at: time) { $0.drain(at: $1, into: &$2) } }

    mutating func configure(provisioned: Int? = nil, workersMax: Int? = nil, waitingMax: Int? = nil, at time: Int? = nil) -> [String] {
        if let provisioned { settings.provisioned = provisioned }
        if let workersMax { settings.workersMax = workersMax }
        if let waitingMax { settings.waitingMax = waitingMax }
        return order(at: time) { [settings] in $0.configure(settings, at: $1, into: &$2) }
    }

    /// Brings `count` workers up on demand, 100 ms each, that serve one call of 10 ms and are idle at 110, w1 first.
    mutating func warmUp(_ count: Int) {
        for n in 1...count { _ = arrive(UInt64(1000 + n), at: 0) }
        for n in 1...count { _ = ready(n, at: 100) }
        for n in 1...count { _ = finish(n, at: 110) }
    }
}
