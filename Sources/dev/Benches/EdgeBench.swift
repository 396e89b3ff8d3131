import Foundation

/// What an edge near the client saves over a long way: 100 ms of round trip, 256 KiB under way on each connection.
struct EdgeBench: Bench {
    let name = "edge"
    let purpose = "a 64 MiB upload over 100 ms and 256 KiB a connection, through hearth edge and straight; a cached read"
    private let terms = SlowLink.Terms(roundTrip: 0.1, windowBytes: 256 * 1024)

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let server = try HearthServer(setting, functions: try setting.makeDirectory("no-functions"), .api)
        defer { server.child.stop() }
        let link = try SlowLink(to: server.ports.api, terms)
        defer { link.stop() }
        let edge = try EdgeServer(setting, origin: link.port, data: server.data)
        defer { edge.child.stop() }
        let near = try ObjectRequests(server)
        try near.call("PUT", "/bench")
        let through = ObjectRequests(port: edge.port, credentials: near.credentials)
        let straight = ObjectRequests(port: link.port, credentials: near.credentials)
        let body = [UInt8](randomOf: 64 << 20)
        var times: (edge: [Double], straight: [Double]) = ([], [])
        for round in 1...setting.rounds {
            times.edge.append(try BodyLoad.put(through, ["/bench/edge-\(round)"], connections: 1, body: body))
            times.straight.append(try BodyLoad.put(straight, ["/bench/straight-\(round)"], connections: 1, body: body))
            note("  round \(round): \(number(times.edge.last ?? 0)) s through the edge, \(number(times.straight.last ?? 0)) s straight")
        }
        let peak = ProcessTree.peakMiB(of: edge.child.pid)
        let rate = 64 * 1.048576
        return [
            Figure(
                name: "edge: upload of 64 MiB over 100 ms", unit: "MB/s", hearth: rate / times.edge.p50,
                peer: ("one stream", rate / times.straight.p50), goal: .atLeastTimes(4)),
            Figure(name: "edge: its greatest memory", unit: "MiB", hearth: peak, goal: .none),
        ] + (try reads(setting, near, through, straight))
    }

    /// 1 MiB that is fresh, that is asked about, and straight.
    private func reads(
        _ setting: BenchSetting, _ near: ObjectRequests, _ through: ObjectRequests, _ straight: ObjectRequests
    ) throws -> [Figure] {
        let body = [UInt8](randomOf: 1 << 20)
        _ = try BodyLoad.put(near, ["/bench/read"], connections: 1, body: body)
        func milliseconds(_ requests: ObjectRequests, _ count: Int) throws -> Double {
            let all = (0..<count).map { _ in requests.head("GET", "/bench/read") }
            return try ObjectLoad.run(port: requests.port, all, connections: 1).latencies.p50 / 1000
        }
        _ = try milliseconds(through, 2)
        let asked = try milliseconds(through, 10)
        let direct = try milliseconds(straight, 10)
        return [
            Figure(
                name: "edge: GET of 1 MiB, asked about by its ETag, p50", unit: "ms", hearth: asked, peer: ("one stream", direct),
                goal: .atMostTimes(0.5))
        ]
    }
}

/// A running `hearth edge`.
final class EdgeServer {
    let child: Child
    let port: UInt16

    init(_ setting: BenchSetting, origin: UInt16, data: String) throws {
        let directory = try setting.makeDirectory("edge")
        try "".write(toFile: "\(directory)/runtime.toml", atomically: false, encoding: .utf8)
        let child = try Child(
            "hearth edge",
            [
                setting.hearth, "edge", "--config", "\(directory)/runtime.toml", "--data", data, "--origin", "http://127.0.0.1:\(origin)",
                "--listen", "127.0.0.1:0",
            ], log: "\(directory)/log")
        self.child = child
        for _ in 0..<500 where !child.hasEnded {
            let lines = ((try? String(contentsOfFile: child.log, encoding: .utf8)) ?? "").split(separator: "\n")
            if lines.contains("ready"), let line = lines.first(where: { $0.hasPrefix("edge") }),
                let host = line.range(of: "127.0.0.1:"), let port = UInt16(line[host.upperBound...].prefix { $0.isNumber })
            {
                self.port = port
                return
            }
            usleep(20_000)
        }
        child.stop()
        throw Failure("hearth edge did not become ready: \(child.lastOutput)")
    }
}
