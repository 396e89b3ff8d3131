internal import Base
internal import Invoker

/// All metrics in Prometheus' text format 0.0.4.
///
/// Made on the loop's thread, which copies the counts; written on another, for hundreds of functions make megabytes of text.
struct Exposition: @unchecked Sendable {
    /// Copies that nobody else has.
    private let versions: [(metrics: VersionMetrics, gauges: PoolGauges)]

    init(_ invoker: Invoker) { versions = invoker.measurements.map { ($0.metrics.copy(), $0.gauges) } }

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
    }

    private func write(_ histogram: Histogram, _ name: String, _ labels: String, to out: ByteBuffer) {
        for bound in Self.bounds {
            out.append("\(name)_bucket{\(labels),le=\"\(bound.text)\"} \(histogram.countAtMost(bound.span))\n")
        }
        out.append("\(name)_bucket{\(labels),le=\"+Inf\"} \(histogram.count)\n")
        out.append("\(name)_sum{\(labels)} \(histogram.sum.seconds)\n")
        out.append("\(name)_count{\(labels)} \(histogram.count)\n")
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}
