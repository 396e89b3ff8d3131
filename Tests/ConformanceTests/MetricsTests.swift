import Foundation
import TestSupport
import Testing

/// Prometheus' text format 0.0.4, read more strictly than Prometheus does.
private struct Exposition {
    struct Sample: Hashable {
        let name: String
        let labels: [String: String]
    }

    private(set) var types: [String: String] = [:]
    private(set) var samples: [Sample: Double] = [:]

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw TestFailure("the last line has no end") }
        var current: String?
        var helped: Set<String> = []
        for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            func fail(_ why: String) -> TestFailure { TestFailure("\(why): \(line)") }
            if let match = line.wholeMatch(of: /# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)/) {
                guard helped.insert(String(match.1)).inserted else { throw fail("a second HELP") }
                current = String(match.1)
            } else if let match = line.wholeMatch(of: /# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)/) {
                guard String(match.1) == current, types[String(match.1)] == nil else { throw fail("TYPE does not follow its HELP") }
                types[String(match.1)] = String(match.2)
            } else {
                let (sample, value) = try Self.sample(line)
                // All lines of one metric stand together, behind its TYPE.
                guard let family = current, let type = types[family] else { throw fail("a sample before its TYPE") }
                let suffix = sample.name.dropFirst(family.count)
                guard sample.name.hasPrefix(family), type == "histogram" ? ["_bucket", "_sum", "_count"].contains(suffix) : suffix.isEmpty else {
                    throw fail("not a sample of \(family)")
                }
                guard samples.updateValue(value, forKey: sample) == nil else { throw fail("the same sample twice") }
                if type == "counter" { guard value >= 0, family.hasSuffix("_total") else { throw fail("not a counter") } }
            }
        }
        try checkHistograms()
    }

    private static func sample(_ line: String) throws -> (Sample, Double) {
        let form = /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.+)\})? ([0-9eE+.\-]+|\+Inf|NaN)/
        guard let match = line.wholeMatch(of: form), let value = Double(match.3) else {
            throw TestFailure("not a sample: \(line)")
        }
        var labels: [String: String] = [:]
        var rest = match.2 ?? ""
        while !rest.isEmpty {
            guard let label = rest.prefixMatch(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,(?=.)|$)/),
                labels.updateValue(String(label.2), forKey: String(label.1)) == nil
            else { throw TestFailure("not labels: \(line)") }
            rest = rest[label.range.upperBound...]
        }
        return (Sample(name: String(match.1), labels: labels), value)
    }

    /// Buckets grow with their bound, the last is +Inf and equals the count.
    private func checkHistograms() throws {
        for (family, type) in types where type == "histogram" {
            var buckets: [[String: String]: [(bound: Double, count: Double)]] = [:]
            for (sample, value) in samples where sample.name == family + "_bucket" {
                guard let text = sample.labels["le"], let bound = text == "+Inf" ? .infinity : Double(text) else {
                    throw TestFailure("\(family): a bucket without a bound")
                }
                buckets[sample.labels.filter { $0.key != "le" }, default: []].append((bound, value))
            }
            let counted = samples.keys.filter { $0.name == family + "_count" }
            guard Set(counted.map(\.labels)) == Set(buckets.keys) else { throw TestFailure("\(family): counts without buckets") }
            for (labels, list) in buckets {
                let ordered = list.sorted { $0.bound < $1.bound }
                guard zip(ordered, ordered.dropFirst()).allSatisfy({ $0.count <= $1.count }), ordered.last?.bound == .infinity,
                    ordered.last?.count == samples[Sample(name: family + "_count", labels: labels)],
                    let sum = samples[Sample(name: family + "_sum", labels: labels)], sum >= 0
                else { throw TestFailure("\(family)\(labels): \(ordered)") }
            }
        }
    }

    /// The sum over all samples whose labels include these.
    func value(_ name: String, _ labels: [String: String]) -> Double {
        samples.reduce(0) { sum, sample in
            let isMeant = sample.key.name == name && labels.allSatisfy { sample.key.labels[$0.key] == $0.value }
            return isMeant ? sum + sample.value : sum
        }
    }
}

@Suite struct MetricsTests {
    private func metrics(_ server: HearthProcess) throws -> Exposition {
        let wire = try Wire(server.api)
        try wire.send("GET /_hearth/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        let answer = try wire.response()
        #expect(answer["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        return try Exposition(answer.text)
    }

    @Test func everyInvocationIsCountedWhereItBelongs() throws {
        let server = try HearthProcess(functions: [
            .python(
                "counted",
                """
                import time
                def handler(event, context):
                    query = event.get('rawQueryString')
                    if query == 'raise': raise ValueError('x')
                    if query == 'sleep': time.sleep(2)
                    print('12345678')
                    return 'fine'
                """)
        ])
        let labels = ["function": "counted", "version": "1"]
        let before = try metrics(server)
        #expect(before.value("hearth_invocations_total", labels) == 0 && before.value("hearth_init_seconds_count", labels) == 1)
        #expect(before.value("hearth_provisioned_concurrency", labels) == 1 && before.value("hearth_provisioned_concurrency_available", labels) == 1)
        for target in ["/counted/", "/counted/", "/counted/?raise"] { _ = try server.get(target) }
        let wires = try (0..<2).map { _ in
            let wire = try Wire(server.front)
            try wire.send("GET /counted/?sleep HTTP/1.1\r\nHost: x\r\n\r\n")
            return wire
        }
        let during = try waitFor("both to run") {
            let now = try metrics(server)
            return now.value("hearth_concurrent_executions", labels) == 2 ? now : nil
        }
        #expect(during.value("hearth_workers", labels.merging(["state": "busy"]) { $1 }) == 2 && during.value("hearth_provisioned_concurrency_utilization", labels) == 1)
        for wire in wires { #expect(try wire.response().status == 200) }
        #expect(try server.command(["scale", "counted", "--provisioned", "0"]).code == 0)
        #expect(try server.command(["scale", "counted", "--reserved", "0"]).code == 0)
        #expect(try server.get("/counted/").status == 429)
        let after = try metrics(server)
        #expect(after.value("hearth_invocations_total", labels) == 5 && after.value("hearth_errors_total", labels) == 1)
        #expect(after.value("hearth_throttles_total", ["function": "counted"]) == 1)
        #expect(after.value("hearth_duration_seconds_count", labels) == 5 && after.value("hearth_queue_wait_seconds_count", labels) == 5)
        #expect(after.value("hearth_duration_seconds_sum", labels) > 2)
        #expect(after.value("hearth_cold_starts_total", labels) == 1 && after.value("hearth_cold_starts_total", labels.merging(["reason": "spillover"]) { $1 }) == 1)
        #expect(after.value("hearth_cold_start_seconds_count", labels) == 1)
        for phase in ["queue", "spawn", "runtime", "handler_import"] {
            #expect(after.value("hearth_cold_start_phase_seconds_count", labels.merging(["phase": phase]) { $1 }) <= 1, "\(phase)")
        }
        #expect(after.value("hearth_cold_start_phase_seconds_count", labels) >= 1)
        #expect(after.value("hearth_provisioned_concurrency_spillover_invocations_total", labels) == 1)
        #expect(after.value("hearth_provisioned_concurrency_invocations_total", labels) == 4)
        #expect(after.value("hearth_warm_ratio", labels) == 0.8 && after.value("hearth_log_bytes_total", labels) >= 4 * 9)
        #expect(after.types.count >= 20 && after.types.values.contains("histogram"))
        // The same numbers, for people.
        let stats = try server.command(["stats", "counted"])
        #expect(stats.out.contains("1 (20.0 %)"), "\(stats)")
    }

    @Test func healthIsTheServersAndReadinessTheFunctions() throws {
        let place = try TemporaryDirectory()
        try place.write("gate", "")
        let source = "import os, time\nwhile not os.path.exists('\(place.path)/open'): time.sleep(0.01)\ndef handler(event, context):\n    return 1\n"
        try TestFunction.python("slow", source).write(into: place, at: "functions/slow")
        try place.write("runtime.toml", "[sandbox]\nisolation = \"off\"\n")
        let child = try Child(
            [HearthProcess.binary, "serve", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"], directory: place.path, environment: HearthProcess.clean,
            output: place.path + "/out", errors: place.path + "/err")
        defer { child.killGroup() }
        func get(_ address: String, _ path: String) throws -> WireResponse {
            let wire = try Wire(address)
            try wire.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            return try wire.response()
        }
        let api = try waitFor("the API listener") {
            if let status = child.status { throw TestFailure("hearth serve ended: \(status) \(place.read("err"))") }
            return place.read("out").firstMatch(of: /api +http:\/\/(\S+)/).map { String($0.1) }
        }
        #expect(try get(api, "/_hearth/healthz").status == 200)
        let waiting = try get(api, "/_hearth/readyz")
        #expect(waiting.status == 503 && waiting.text.hasPrefix("not ready: functions are being deployed;"), "\(waiting)")
        try place.write("open", "")
        try waitFor("ready") { try get(api, "/_hearth/readyz").status == 200 ? () : nil }
        #expect(try get(api, "/_hearth/readyz").text == "ready\n")
        try waitFor("the ready line") { place.read("out").contains("\nready\n") ? () : nil }
    }
}
