import Foundation

/// Memoized functions: what a hit costs beside nginx's `proxy_cache`, and how long those wait who come with the first.
struct MemoBench: Bench {
    let name = "memo"
    let purpose = "memoized hits of 1 KiB beside nginx proxy_cache; 50 clients on a cold key"
    private let body = String(repeating: "x", count: 1024)

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let directory = try setting.makeDirectory("functions")
        try setting.addFunction(
            "kib", in: directory,
            python: "def handler(event, context):\n    return {'statusCode': 200, 'headers': {'Content-Type': 'text/plain'}, 'body': 'x' * 1024}\n",
            manifest: "[memoize]\nttl = 3600")
        try setting.addFunction(
            "slow", in: directory, python: "import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return str(time.time_ns())\n",
            manifest: "[memoize]\nttl = 3600")
        let hearth = try HearthServer(
            setting, functions: directory, .front, path: "/kib/", body: body,
            configuration: "[limits]\nhead_timeout = 3600\nkeep_alive = 3600\n")
        defer { hearth.child.stop() }
        let nginx = try Self.proxyCache(body).start(setting)
        defer { nginx?.child.stop() }
        return try hits(setting, hearth, nginx) + cold(setting, hearth)
    }

    private func hits(_ setting: BenchSetting, _ hearth: HearthServer, _ nginx: PeerServer?) throws -> [Figure] {
        let contestants: [any Contestant] = [hearth] + (nginx.map { [$0] } ?? [])
        let many = try setting.measure(contestants, connections: 16)
        let one = try setting.measure(contestants, connections: 1)
        let peer = nginx?.name ?? "nginx proxy_cache"
        func figure(_ what: String, _ unit: String, _ medians: Medians, _ field: KeyPath<Sample, Double>, _ goal: Figure.Goal) -> Figure {
            Figure(
                name: "memo: \(what)", unit: unit, hearth: medians.value(hearth.name, field) ?? 0, peer: (peer, medians.value(peer, field)),
                goal: goal)
        }
        return [
            figure("CPU per hit of 1 KiB, c=16", "µs", many, \.cpuPerRequest, .atMostTimes(0.6)),
            figure("hits per second, c=16", "/s", many, \.requestsPerSecond, .none),
            figure("CPU per hit of 1 KiB, c=1", "µs", one, \.cpuPerRequest, .none),
            figure("p50 of a hit, c=1", "µs", one, \.p50, .none),
        ]
    }

    /// Semantic of the reference, moonshot 3: the slowest waits no longer than the handler runs, and a little.
    private func cold(_ setting: BenchSetting, _ hearth: HearthServer) throws -> [Figure] {
        let (size, rounds) = (50, 20)
        let connections = try (0..<size).map { _ in try TimedConnection(port: hearth.ports.front) }
        _ = try connections[0].ask("/slow/?warm")
        setting.waitForQuiet()
        var slowest: [Double] = []
        var executions: [Double] = []
        for round in 0..<rounds {
            let path = "/slow/?round=\(round)"
            let began = LoadClient.now
            for connection in connections { try connection.send(path) }
            let answers = try connections.map { try $0.receive(path) }
            slowest.append(Double(LoadClient.now - began) / 1e6)
            guard answers.allSatisfy({ $0.status == 200 }) else { throw Failure("\(path) was not answered with 200 by all") }
            executions.append(Double(Set(answers.map(\.body)).count))
        }
        note("  50 clients on a cold key: slowest \(slowest.map { number($0) }.joined(separator: " ")) ms")
        return [
            Figure(name: "memo: 50 clients on a cold key of 200 ms, slowest, median of 20", unit: "ms", hearth: slowest.p50, goal: .atMost(205)),
            Figure(name: "memo: the same, worst of 20", unit: "ms", hearth: slowest.p100, goal: .none),
            Figure(name: "memo: the same, executions, most of 20", unit: "", hearth: executions.p100, goal: .atMost(1)),
        ]
    }

    /// nginx with a cache in front of itself: the same body, kept for an hour.
    private static func proxyCache(_ body: String) -> Peer {
        Peer(name: "nginx proxy_cache", program: "nginx", howToInstall: Peer.nginx.howToInstall, body: body) { program, port, directory in
            // Else its worker is nobody's, and cannot write to a directory of root's.
            let user = geteuid() == 0 ? "user root; " : ""
            let configuration = """
                \(user)daemon off; worker_processes 1; pid \(directory)/pid; error_log stderr error;
                events { worker_connections 1024; }
                http {
                    access_log off; keepalive_requests 1000000000;
                    proxy_cache_path \(directory)/cache keys_zone=hits:10m;
                    server { listen unix:\(directory)/origin; location / { default_type text/plain; return 200 "\(body)"; } }
                    server {
                        listen 127.0.0.1:\(port);
                        location / { proxy_pass http://unix:\(directory)/origin:/; proxy_cache hits; proxy_cache_valid 200 1h; }
                    }
                }
                """
            try configuration.write(toFile: "\(directory)/nginx.conf", atomically: false, encoding: .utf8)
            return [program, "-e", "stderr", "-p", directory, "-c", "\(directory)/nginx.conf"]
        }
    }
}
