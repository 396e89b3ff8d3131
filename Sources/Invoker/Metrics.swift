package import Base

/// Why and how a cold start happened: the labels of its series.
package struct ColdStartKey: Hashable, Comparable, Sendable {
    /// `fork`, `exec` or `provisioned` (an invocation that had to wait for a provisioned worker's init).
    package let initType: String
    package let reason: String

    package static func < (a: Self, b: Self) -> Bool { (a.initType, a.reason) < (b.initType, b.reason) }
}

/// What is counted for one function version; written on the loop's thread only.
package final class VersionMetrics {
    package let function: String
    package let version: String

    package var invocations: UInt64 = 0
    package var errors: UInt64 = 0
    package var timeouts: UInt64 = 0
    package var crashes: UInt64 = 0
    package var throttles: [String: UInt64] = [:]
    package var provisionedInvocations: UInt64 = 0
    package var spilloverInvocations: UInt64 = 0
    package var initFailures: UInt64 = 0
    package var logBytes: UInt64 = 0
    /// Answered from a stored result.
    package var memoized: UInt64 = 0
    package var memoAudits: UInt64 = 0
    package var memoImpure: UInt64 = 0

    package var duration = Histogram()
    package var queueWait = Histogram()
    /// Every init, whether an invocation waited for it or not.
    package var initTimes = Histogram()
    package var coldStarts: [ColdStartKey: Histogram] = [:]
    package var coldPhases = [Histogram](repeating: Histogram(), count: ColdPhase.allCases.count)

    init(function: String, version: String) {
        self.function = function
        self.version = version
    }

    /// The counts as they are now, for another thread. (The histograms share their memory until one of both changes.)
    package func copy() -> VersionMetrics {
        let copy = VersionMetrics(function: function, version: version)
        copy.invocations = invocations
        copy.errors = errors
        copy.timeouts = timeouts
        copy.crashes = crashes
        copy.throttles = throttles
        copy.provisionedInvocations = provisionedInvocations
        copy.spilloverInvocations = spilloverInvocations
        copy.initFailures = initFailures
        copy.logBytes = logBytes
        copy.memoized = memoized
        copy.memoAudits = memoAudits
        copy.memoImpure = memoImpure
        copy.duration = duration
        copy.queueWait = queueWait
        copy.initTimes = initTimes
        copy.coldStarts = coldStarts
        copy.coldPhases = coldPhases
        return copy
    }

    package var coldStartCount: UInt64 { coldStarts.values.reduce(0) { $0 + $1.count } }
    package var throttleCount: UInt64 { throttles.values.reduce(0, +) }
}

/// The parts of a cold start, in order.
package enum ColdPhase: String, CaseIterable, Sendable {
    /// From arrival to the order to start a worker.
    case queue
    /// From the order to the program's execution.
    case spawn
    /// From there to the begin of the handler's import: the interpreter.
    case runtime
    /// The function's own code, to readiness.
    case handlerImport = "handler_import"
    /// From a fork to readiness.
    case restore
}

/// A gauge of one version's pool.
package struct PoolGauges: Sendable {
    package var starting = 0
    package var idle = 0
    package var busy = 0
    package var responded = 0
    package var draining = 0
    package var waiting = 0
    package var provisionedTarget = 0
    package var provisionedReady = 0
    package var provisionedInUse = 0

    package init() {}
}

/// One metric: name, help and where its values come from. Metrics, documentation and tests read this table.
package struct MetricRow: Sendable {
    package enum Kind: String, Sendable { case counter, gauge, histogram }

    /// One value with the labels that it has beside function and version.
    package enum Sample: Sendable {
        case number(String, Double)
        case histogram(String, Histogram)
    }

    package let name: String
    package let kind: Kind
    package let help: String
    package let read: @Sendable (VersionMetrics, PoolGauges) -> [Sample]

    private static func counter(_ name: String, _ help: String, _ read: @escaping @Sendable (VersionMetrics) -> UInt64)
        -> MetricRow
    {
        MetricRow(name: name, kind: .counter, help: help) { metrics, _ in [.number("", Double(read(metrics)))] }
    }

    private static func gauge(_ name: String, _ help: String, _ read: @escaping @Sendable (PoolGauges) -> Double)
        -> MetricRow
    {
        MetricRow(name: name, kind: .gauge, help: help) { _, gauges in [.number("", read(gauges))] }
    }

    private static func histogram(
        _ name: String, _ help: String, _ read: @escaping @Sendable (VersionMetrics) -> Histogram
    ) -> MetricRow {
        MetricRow(name: name, kind: .histogram, help: help) { metrics, _ in [.histogram("", read(metrics))] }
    }

    package static let table: [MetricRow] = [
        counter("hearth_invocations_total", "Invocations that ran, with whatever result.") { $0.invocations },
        counter("hearth_errors_total", "Invocations that ended in an error of the function.") { $0.errors },
        counter("hearth_timeouts_total", "Invocations ended because the function's timeout passed.") { $0.timeouts },
        counter("hearth_crashes_total", "Invocations whose worker died under them.") { $0.crashes },
        MetricRow(
            name: "hearth_throttles_total", kind: .counter, help: "Invocations refused with 429, by reason."
        ) { metrics, _ in
            metrics.throttles.sorted { $0.key < $1.key }.map { .number("reason=\"\($0.key)\"", Double($0.value)) }
        },
        histogram("hearth_duration_seconds", "Run time of invocations, from dispatch to answer.") { $0.duration },
        histogram("hearth_queue_wait_seconds", "Time from arrival to dispatch, inits waited for included.") {
            $0.queueWait
        },
        MetricRow(
            name: "hearth_cold_starts_total", kind: .counter,
            help: "Invocations that waited for a worker to initialise, by kind of start and reason."
        ) { metrics, _ in
            metrics.coldStarts.sorted { $0.key < $1.key }.map { .number(labels($0.key), Double($0.value.count)) }
        },
        MetricRow(
            name: "hearth_cold_start_seconds", kind: .histogram,
            help: "Time from the order to start a worker to its readiness, of inits that an invocation waited for."
        ) { metrics, _ in
            metrics.coldStarts.sorted { $0.key < $1.key }.map { .histogram(labels($0.key), $0.value) }
        },
        MetricRow(
            name: "hearth_cold_start_phase_seconds", kind: .histogram,
            help: "The phases of cold starts: queue, spawn, runtime, handler_import, restore."
        ) { metrics, _ in
            zip(ColdPhase.allCases, metrics.coldPhases).map { .histogram("phase=\"\($0.rawValue)\"", $1) }
        },
        histogram("hearth_init_seconds", "Time of every worker's init, whether an invocation waited for it or not.") {
            $0.initTimes
        },
        counter("hearth_init_failures_total", "Workers whose init failed.") { $0.initFailures },
        MetricRow(name: "hearth_warm_ratio", kind: .gauge, help: "Share of invocations that waited for no init.") {
            metrics, _ in
            let all = Double(metrics.invocations)
            return [.number("", all > 0 ? 1 - Double(metrics.coldStartCount) / all : 1)]
        },
        MetricRow(name: "hearth_workers", kind: .gauge, help: "Worker processes, by state.") { _, gauges in
            [
                ("starting", gauges.starting), ("idle", gauges.idle), ("busy", gauges.busy),
                ("responded", gauges.responded), ("draining", gauges.draining),
            ].map { .number("state=\"\($0.0)\"", Double($0.1)) }
        },
        gauge("hearth_concurrent_executions", "Invocations running now.") { Double($0.busy) },
        gauge("hearth_queue_depth", "Invocations waiting for a worker now.") { Double($0.waiting) },
        gauge("hearth_provisioned_concurrency", "Workers asked for as provisioned concurrency.") {
            Double($0.provisionedTarget)
        },
        gauge("hearth_provisioned_concurrency_available", "Provisioned workers that are initialised.") {
            Double($0.provisionedReady)
        },
        gauge(
            "hearth_provisioned_concurrency_utilization", "Provisioned workers in use, as a share of those available."
        ) { $0.provisionedReady > 0 ? Double($0.provisionedInUse) / Double($0.provisionedReady) : 0 },
        counter("hearth_provisioned_concurrency_invocations_total", "Invocations served by provisioned workers.") {
            $0.provisionedInvocations
        },
        counter(
            "hearth_provisioned_concurrency_spillover_invocations_total",
            "Invocations served on demand because all provisioned workers were busy."
        ) { $0.spilloverInvocations },
        counter("hearth_memoized_total", "Invocations answered from a stored result, without a run.") { $0.memoized },
        counter("hearth_memo_audits_total", "Stored results that were made anew and compared.") { $0.memoAudits },
        counter("hearth_memo_impure_total", "Audits that found another result and switched memoization off.") { $0.memoImpure },
        counter("hearth_log_bytes_total", "Bytes that the function wrote to its log.") { $0.logBytes },
    ]

    private static func labels(_ key: ColdStartKey) -> String {
        "init_type=\"\(key.initType)\",reason=\"\(key.reason)\""
    }
}
