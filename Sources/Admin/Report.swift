internal import Base
internal import Catalog
internal import HTTP
internal import Invoker
internal import Net

/// JSON answers of Hearth's own calls.
indirect enum Report {
    case object([(String, Report)])
    case list([Report])
    case text(String)
    case number(Double)
    case bool(Bool)
    case null
    /// JSON text as it is.
    case raw([UInt8])

    func write(to out: ByteBuffer) {
        switch self {
        case .object(let members):
            out.append("{")
            for (index, member) in members.enumerated() {
                if index > 0 { out.append(",") }
                out.append(jsonString: member.0)
                out.append(":")
                member.1.write(to: out)
            }
            out.append("}")
        case .list(let elements):
            out.append("[")
            for (index, element) in elements.enumerated() {
                if index > 0 { out.append(",") }
                element.write(to: out)
            }
            out.append("]")
        case .text(let text): out.append(jsonString: text)
        case .number(let value): out.append(value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value))
        case .bool(let value): out.append(value ? "true" : "false")
        case .null: out.append("null")
        case .raw(let bytes): out.append(bytes)
        }
    }

    static func send(_ report: Report, status: Int = 200, on connection: HTTPConnection) {
        let body = ByteBuffer(capacity: 4096)
        report.write(to: body)
        body.append("\n")
        connection.respond(status, type: "application/json", body.bytes)
    }

    static func fail(_ status: Int, _ sentence: String, on connection: HTTPConnection) {
        send(.object([("message", .text(sentence))]), status: status, on: connection)
    }

    /// The init of a version failed: Lambda's error object, as the worker wrote it.
    static func sendInitFailure(_ error: [UInt8], on connection: HTTPConnection) {
        let isJSON = error.withUnsafeBytes { JSONCheck.validate($0) } == nil
        send(
            .object([
                ("message", .text("the function's init failed")),
                ("error", isJSON ? .raw(error) : .text(String(decoding: error, as: UTF8.self))),
            ]), status: 422, on: connection)
    }

    private static func times(_ histogram: Histogram) -> Report {
        .object([
            ("count", .number(Double(histogram.count))),
            ("p50_ms", .number(rounded(histogram.quantile(0.5)))), ("p90_ms", .number(rounded(histogram.quantile(0.9)))),
            ("p99_ms", .number(rounded(histogram.quantile(0.99)))),
        ])
    }

    private static func rounded(_ span: Span) -> Double { (span.milliseconds * 1000).rounded() / 1000 }

    private static func workers(_ gauges: PoolGauges) -> Report {
        .object([
            ("starting", .number(Double(gauges.starting))), ("idle", .number(Double(gauges.idle))),
            ("busy", .number(Double(gauges.busy + gauges.responded))), ("draining", .number(Double(gauges.draining))),
            ("provisioned", .number(Double(gauges.provisionedTarget))),
            ("provisioned_ready", .number(Double(gauges.provisionedReady))),
        ])
    }

    /// What `hearth stats` shows.
    static func stats(_ invoker: Invoker) -> Report {
        let live = Set(invoker.snapshot.functions.map(\.name))
        return .object([
            (
                "functions",
                .list(
                    invoker.measurements.filter { live.contains($0.metrics.function) }.map { metrics, gauges, pool in
                        .object([
                            ("function", .text(metrics.function)), ("version", .text(metrics.version)),
                            ("invocations", .number(Double(metrics.invocations))),
                            ("errors", .number(Double(metrics.errors))),
                            ("throttles", .number(Double(metrics.throttleCount))),
                            ("cold_starts", .number(Double(metrics.coldStartCount))),
                            ("cold_by_reason", coldStarts(metrics)),
                            ("init", times(metrics.initTimes)), ("queue", times(metrics.queueWait)),
                            ("run", times(metrics.duration)), ("workers", workers(gauges)),
                            ("waiting", .number(Double(gauges.waiting))),
                            ("memoized", .number(Double(metrics.memoized))),
                            ("memory_kib", .number(Double(pool?.peakKiB ?? 0))),
                        ])
                    })
            )
        ])
    }

    /// A number, or the words for what is none.
    private static func target(of alias: AliasEntry) -> Report {
        if let weight = alias.weight { return .text("\(alias.versionName), and \(weight.version) for \((weight.share * 1000).rounded() / 10) %") }
        return alias.version == AliasEntry.latest ? .text(alias.versionName) : .number(Double(alias.version))
    }

    private static func coldStarts(_ metrics: VersionMetrics) -> Report {
        .list(
            metrics.coldStarts.sorted { $0.key < $1.key }.map { key, histogram in
                .object([
                    ("init_type", .text(key.initType)), ("reason", .text(key.reason)),
                    ("count", .number(Double(histogram.count))), ("p50_ms", .number(rounded(histogram.quantile(0.5)))),
                ])
            })
    }

    /// What `hearth describe` shows: can it be called now, and if not, why.
    static func describe(_ function: FunctionEntry, _ invoker: Invoker) -> Report {
        let front = function.front
        let pool = invoker.existingPool(of: front.version)
        let settings = front.version.settings
        let (callable, answer) = verdict(function, pool, invoker)
        let phases = pool.map { pool in
            zip(ColdPhase.allCases, pool.metrics.coldPhases).map { ("\($0.rawValue)", times($1)) }
        }
        return .object([
            ("function", .text(function.name)), ("callable", .bool(callable)), ("verdict", .text(answer)),
            ("serves", .text(front.executedVersion)), ("alias", front.qualifier.map { .text($0) } ?? .null),
            ("runtime", .text(settings.runtime)), ("handler", .text(settings.handler)),
            ("memory_mb", .number(Double(settings.memorySize))), ("timeout_s", .number(Double(settings.timeout))),
            ("description", .text(settings.description)), ("code_sha256", .text(front.version.codeDigest)),
            ("code_bytes", .number(Double(front.version.codeSize))),
            ("reserved", function.reserved.map { .number(Double($0)) } ?? .null),
            ("versions", .list(function.versions.keys.sorted().map { .number(Double($0)) })),
            (
                "aliases",
                .object(function.aliases.values.sorted { $0.name < $1.name }.map { ($0.name, target(of: $0)) })
            ),
            ("workers", workers(pool?.gauges ?? PoolGauges())),
            ("starts_by", .text(pool?.startsBy ?? "not started yet")),
            ("cold_starts", pool.map { coldStarts($0.metrics) } ?? .list([])),
            ("cold_phases", .object(phases ?? [])),
            ("memoize", invoker.memo.rule(of: front.version).map { .object(MemoReport.members($0)) } ?? .null),
        ])
    }

    private static func verdict(_ function: FunctionEntry, _ pool: VersionPool?, _ invoker: Invoker) -> (Bool, String) {
        if function.reserved == 0 { return (false, "no: its reserved concurrency is 0, every call is refused with 429") }
        if let sentence = pool?.cannotStart { return (false, "no: \(sentence)") }
        let state = invoker.state(of: function)
        if let reserved = function.reserved, state.inFlight >= reserved {
            return (false, "not now: all \(reserved) of its reserved concurrency are in use")
        }
        let gauges = pool?.gauges ?? PoolGauges()
        if let pool, pool.consecutiveInitFailures > 0, gauges.idle + gauges.busy == 0 {
            let error = pool.initError.map { String(decoding: $0, as: UTF8.self) } ?? "no error was reported"
            return (false, "no: its init fails: \(error)")
        }
        if gauges.idle > 0 { return (true, "yes, warm: \(gauges.idle) idle worker\(gauges.idle == 1 ? "" : "s")") }
        if gauges.starting > 0 { return (true, "yes: its workers are starting, the first call waits for one") }
        if gauges.busy > 0 { return (true, "yes: all workers are busy, a call waits or starts another") }
        return (true, "yes, cold: the first call starts a worker")
    }
}
