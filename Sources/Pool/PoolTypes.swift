package import Base

/// A worker's name within its pool: a slot and how often that slot has been used, modulo a million.
package struct WorkerID: Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    init(slot: Int, generation: UInt32) { rawValue = generation << 12 | UInt32(slot) }

    var slot: Int { Int(rawValue & 0xFFF) }
    var generation: UInt32 { rawValue >> 12 }

    /// Workers that one pool can name at a time.
    static let slotsMax = 4096
}

/// An invocation's name; given by the caller, who must not use it twice.
package struct CallID: Hashable, Sendable {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// Why a worker was started: the label `reason` of a cold start.
package enum StartReason: String, CaseIterable, Sendable {
    /// The version never had a worker.
    case first
    /// All workers were busy.
    case scaleUp = "scale_up"
    /// All provisioned workers were busy.
    case spillover
    /// Provisioned concurrency for a new version, or more of it.
    case deploy
    /// The worker before it died.
    case crash
    /// The worker before it was killed for its time.
    case timeout
    /// Earlier workers had been stopped after their keep-alive.
    case evicted
    /// The init before it failed.
    case initFailed = "init_failed"
    /// The worker before it had served enough (`RecycleRule`).
    case recycled
    /// Started ahead, before a call needed it.
    case spare
}

package enum RefuseReason: Sendable { case queueFull, waitedTooLong, initFailed }

package enum ExitCause: Sendable {
    /// It died under an invocation or while idle.
    case crash
    /// It was killed because its invocation's time was over.
    case timeout
    /// It was told to stop.
    case stopped
    /// It never became ready.
    case initFailed
}

/// What the pool orders.
package enum PoolAction: Equatable, Sendable {
    /// Give this call to this worker, which is free; `first`: it has served nothing yet.
    case dispatch(CallID, WorkerID, first: Bool)
    case start(WorkerID, provisioned: Bool, StartReason)
    /// Let this worker, which serves nothing, end.
    case stop(WorkerID)
    case refuse(CallID, RefuseReason)
    /// The worker took this call with it.
    case lose(CallID, WorkerID)
}

package struct PoolSettings: Equatable, Sendable {
    /// Workers kept initialised.
    package var provisioned: Int
    /// Workers at the most, provisioned ones included; at least one.
    package var workersMax: Int
    /// Calls that may wait; at least one, for nobody else would ever have a worker started.
    package var waitingMax: Int
    /// How long a call may wait.
    package var waitMax: Span
    /// How long an on-demand worker stays idle before it is stopped.
    package var keepAlive: Span
    /// While calls are served, so many workers are idle or starting beside those that serve.
    package var spares = 0
    /// How long an arrival waits for a worker that has answered but not asked for the next call yet.
    package var respondedWait = Span.milliseconds(100)

    package init(provisioned: Int, workersMax: Int, waitingMax: Int, waitMax: Span, keepAlive: Span, spares: Int = 0) {
        self.provisioned = provisioned
        self.workersMax = max(1, workersMax)
        self.waitingMax = max(1, waitingMax)
        self.waitMax = waitMax
        self.keepAlive = keepAlive
        self.spares = spares
    }
}

package struct PoolCounts: Equatable, Sendable {
    package var starting = 0
    package var idle = 0
    package var busy = 0
    package var responded = 0
    package var draining = 0
    package var waiting = 0
    package var provisionedTarget = 0
    /// Provisioned workers that are initialised, whether idle or not.
    package var provisionedReady = 0
    /// Of these, those that serve.
    package var provisionedInUse = 0

    package init() {}
}

/// Inits that failed one after the other, and when the next one may be tried.
package struct InitFailure: Equatable, Sendable {
    package var consecutive: Int
    package var nextRetry: Moment
}
