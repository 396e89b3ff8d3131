import Invoker
import Testing

@Suite struct MetricTableTests {
    /// Prometheus, "Metric and label naming": counters end in `_total`, base units come last.
    @Test func everyMetricHasANameOfItsOwnAndASentenceOfHelp() {
        let table =
            MetricRow.table.map { (name: $0.name, kind: $0.kind, help: $0.help) }
            + CacheMetricRow.table.map { (name: $0.name, kind: $0.kind, help: $0.help) }
            + RouteMetricRow.table.map { (name: $0.name, kind: MetricRow.Kind.counter, help: $0.help) }
        #expect(table.count > 25 && Set(table.map(\.name)).count == table.count)
        for row in table {
            let ending =
                switch row.kind {
                case .counter: row.name.hasSuffix("_total")
                case .histogram: row.name.hasSuffix("_seconds") || row.name.hasSuffix("_bytes")
                case .gauge: !row.name.hasSuffix("_total")
                }
            #expect(ending && row.name.wholeMatch(of: #/hearth(_[a-z]+)+/#) != nil, "\(row.name): not the name of a \(row.kind)")
            let isSentence = row.help.wholeMatch(of: #/[A-Z][^\n]* [^\n]* [^\n]*[a-z]\./#) != nil
            #expect(isSentence, "\(row.name): \"\(row.help)\" is no sentence that says what is counted")
        }
    }
}
