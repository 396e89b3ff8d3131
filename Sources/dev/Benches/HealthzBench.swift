/// The floor of every answer: an empty one, beside nginx answering from its configuration.
struct HealthzBench: Bench {
    let name = "healthz"
    let purpose = "an empty HTTP answer at 64 connections, beside nginx `return 200`"

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let functions = try setting.makeDirectory("no-functions")
        let hearth = try HearthServer(setting, functions: functions, .api, path: "/_hearth/healthz", body: "ok\n")
        defer { hearth.child.stop() }
        let nginx = try Peer.nginx.start(setting)
        defer { nginx?.child.stop() }
        let contestants: [(any Contestant)?] = [hearth, nginx]
        let medians = try setting.measure(contestants.compactMap(\.self), connections: 64)
        return [
            Figure(
                name: "healthz: CPU per request, c=64", unit: "µs", hearth: medians.value(hearth.name, \.cpuPerRequest) ?? 0,
                peer: ("nginx return 200", medians.value(Peer.nginx.name, \.cpuPerRequest)), goal: .atMostTimes(1.1))
        ]
    }
}
