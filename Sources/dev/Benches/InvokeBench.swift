import Foundation

/// A warm Python function over the front listener, beside Python's application servers with as many processes.
struct InvokeBench: Bench {
    let name = "invoke"
    let purpose = "warm Python invocations with two workers, beside uwsgi --http and gunicorn gthread"

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let hearth = try HearthServer(
            setting, functions: try functions(setting), .front, path: "/hello/", body: Peer.greeting)
        defer { hearth.child.stop() }
        let peers = try [Peer.uwsgi, .gunicorn].compactMap { try $0.start(setting) }
        defer { for peer in peers { peer.child.stop() } }
        let many = try setting.measure([hearth] + peers, connections: 64)
        let one = try setting.measure([hearth] + peers, connections: 1)
        func versus(_ peer: Peer, _ medians: Medians, _ field: KeyPath<Sample, Double>) -> (String, Double?) {
            (peer.name, medians.value(peer.name, field))
        }
        let rate = many.value(hearth.name, \.requestsPerSecond) ?? 0
        return [
            Figure(
                name: "invoke: CPU per request, c=64", unit: "µs", hearth: many.value(hearth.name, \.cpuPerRequest) ?? 0,
                peer: versus(.uwsgi, many, \.cpuPerRequest), goal: .atMost(32)),
            Figure(
                name: "invoke: requests per second, c=64", unit: "/s", hearth: rate,
                peer: versus(.uwsgi, many, \.requestsPerSecond), goal: .atLeastTimes(2)),
            Figure(
                name: "invoke: requests per second, c=64", unit: "/s", hearth: rate,
                peer: versus(.gunicorn, many, \.requestsPerSecond), goal: .atLeastTimes(4)),
            Figure(
                name: "invoke: p50, c=1", unit: "µs", hearth: one.value(hearth.name, \.p50) ?? 0,
                peer: versus(.uwsgi, one, \.p50), goal: .atMostTimes(1.3)),
        ]
    }

    /// functions/hello as shipped, but with exactly two workers.
    private func functions(_ setting: BenchSetting) throws -> String {
        let directory = try setting.makeDirectory("functions")
        let python = try String(contentsOfFile: "functions/hello/app.py", encoding: .utf8)
        try setting.addFunction("hello", in: directory, python: python, manifest: "[concurrency]\nprovisioned = 2\nmax = 2")
        return directory
    }
}
