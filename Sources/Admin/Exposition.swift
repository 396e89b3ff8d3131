internal import AsyncInvoke
internal import Base
internal import Cache
internal import Invoker
internal import Objects

/// All metrics in Prometheus' text format 0.0.4.
///
/// Made on the loop's thread, which copies the counts; written on another, for hundreds of functions make megabytes of text.
struct Exposition: @unchecked Sendable {
    /// Copies that nobody else has.
    private let versions: [(metrics: VersionMetrics, gauges: PoolGauges)]

    private let routes: [(function: String, path: String, values: [UInt64])]
    private let namespaces: [(name: String, counters: CacheCounters)]
    private let events: EventCounters
    private let account: AccountGauges
    private let secondLevel: SecondLevelCounters?
    /// nil: they could not be read.
    var objects: StoreStatistics?

    init(_ invoker: Invoker, _ events: EventCounters) {
        self.events = events
        account = invoker.account
        versions = invoker.measurements.map { ($0.metrics.copy(), $0.gauges) }
        routes = invoker.memo.routes.map { counts in (counts.function, counts.path, RouteMetricRow.table.map { $0.read(counts) }) }
        let cache = invoker.memo.cache
        namespaces = cache.namespaces.map { (cache.settings(of: $0).name, cache.counters(of: $0)) }
        secondLevel = cache.secondLevel?.counters
    }

    /// Upper bounds in seconds: OpenTelemetry's for FaaS durations, with finer ones below for starts by fork.
    private static let bounds: [(text: String, span: Span)] = [
        ("0.0001", .microseconds(100)), ("0.00025", .microseconds(250)), ("0.0005", .microseconds(500)),
        ("0.001", .milliseconds(1)), ("0.0025", .microseconds(2500)), ("0.005", .milliseconds(5)),
        ("0.01", .milliseconds(10)), ("0.025", .milliseconds(25)), ("0.05", .milliseconds(50)),
        ("0.075", .milliseconds(75)), ("0.1", .milliseconds(100)), ("0.25", .milliseconds(250)),
        ("0.5", .milliseconds(500)), ("0.75", .milliseconds(750)), ("1", .seconds(1)), ("2.5", .milliseconds(2500)),
        ("5", .seconds(5)), ("7.5", .milliseconds(7500)), ("10", .seconds(10)),
    ]

    func write(to out: ByteBuffer) {
        for row in MetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) \(row.kind.rawValue)\n")
            for (metrics, gauges) in versions {
                let labels = "function=\"\(metrics.function)\",version=\"\(metrics.version)\""
                for sample in row.read(metrics, gauges) {
                    switch sample {
                    case .number(let extra, let value):
                        out.append("\(row.name){\(labels)\(extra.isEmpty ? "" : ",")\(extra)} \(Self.text(value))\n")
                    case .histogram(let extra, let histogram):
                        write(histogram, row.name, labels + (extra.isEmpty ? "" : ",") + extra, to: out)
                    }
                }
            }
        }
        writeAccount(to: out)
        writeCache(to: out)
        writeSecondLevel(to: out)
        writeRoutes(to: out)
        writeEvents(to: out)
        writeObjects(to: out)
    }

    private func writeObjects(to out: ByteBuffer) {
        guard let objects else { return }
        for row in ObjectMetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) \(row.kind.rawValue)\n")
            for (labels, value) in row.read(objects) { out.append("\(row.name)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.text(value))\n") }
        }
    }

    private func writeAccount(to out: ByteBuffer) {
        for row in AccountMetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) gauge\n\(row.name) \(row.read(account))\n")
        }
    }

    private func writeEvents(to out: ByteBuffer) {
        for row in EventMetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) \(row.kind.rawValue)\n")
            for sample in row.read(events) {
                switch sample {
                case .number(let labels, let value): out.append("\(row.name)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.text(value))\n")
                case .histogram(let labels, let histogram): write(histogram, row.name, labels, to: out)
                }
            }
        }
    }

    private func writeCache(to out: ByteBuffer) {
        for row in CacheMetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) \(row.kind.rawValue)\n")
            for namespace in namespaces {
                out.append("\(row.name){namespace=\"\(namespace.name)\"} \(Self.text(row.read(namespace.counters)))\n")
            }
        }
    }

    private func writeSecondLevel(to out: ByteBuffer) {
        for row in SecondLevelMetricRow.table {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) \(row.kind.rawValue)\n")
            if let secondLevel { out.append("\(row.name) \(Self.text(row.read(secondLevel)))\n") }
        }
    }

    private func writeRoutes(to out: ByteBuffer) {
        for (index, row) in RouteMetricRow.table.enumerated() {
            out.append("# HELP \(row.name) \(row.help)\n# TYPE \(row.name) counter\n")
            // A path's pattern holds nothing that a label would have to escape.
            for route in routes { out.append("\(row.name){function=\"\(route.function)\",route=\"\(route.path)\"} \(route.values[index])\n") }
        }
    }

    private func write(_ histogram: Histogram, _ name: String, _ labels: String, to out: ByteBuffer) {
        let separator = labels.isEmpty ? "" : ","
        for bound in Self.bounds {
            out.append("\(name)_bucket{\(labels)\(separator)le=\"\(bound.text)\"} \(histogram.countAtMost(bound.span))\n")
        }
        out.append("\(name)_bucket{\(labels)\(separator)le=\"+Inf\"} \(histogram.count)\n")
        let braces = labels.isEmpty ? "" : "{\(labels)}"
        out.append("\(name)_sum\(braces) \(histogram.sum.seconds)\n")
        out.append("\(name)_count\(braces) \(histogram.count)\n")
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}
