import Admin
import AsyncInvoke
import Foundation
import Invoker
import Testing

/// Specification.md tells every metric; the table of metrics is the code.
@Suite struct MetricDocumentationTests {
    @Test func theSpecificationListsEveryMetric() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(
            contentsOf: root.appending(path: "Sources/hearth/hearth.docc/Specification.md"), encoding: .utf8)
        let told = page.split(separator: "\n").filter { $0.hasPrefix("| `hearth_") }.map(String.init)
        func line(_ name: String, _ kind: String, _ help: String) -> String { "| `\(name)` | \(kind) | \(help) |" }
        var wanted = MetricRow.table.map { line($0.name, $0.kind.rawValue, $0.help) }
        wanted += AccountMetricRow.table.map { line($0.name, "gauge", $0.help) }
        wanted += CacheMetricRow.table.map { line($0.name, $0.kind.rawValue, $0.help) }
        wanted += SecondLevelMetricRow.table.map { line($0.name, $0.kind.rawValue, $0.help) }
        wanted += RouteMetricRow.table.map { line($0.name, "counter", $0.help) }
        wanted += EventMetricRow.table.map { line($0.name, $0.kind.rawValue, $0.help) }
        wanted += ObjectMetricRow.table.map { line($0.name, $0.kind.rawValue, $0.help) }
        #expect(told == wanted, "the table of metrics in Specification.md should be\n\(wanted.joined(separator: "\n"))")
    }
}
