import Base
import Cache
import Foundation

/// The cache's key-value face beside redis: CPU per command, memory per entry, how late entries expire, what a purge costs.
struct CacheBench: Bench {
    let name = "cache"
    let purpose = "GET and SET of 1 KiB beside redis-server, memory per entry, expiry of a million keys, purge of a tag"
    private let entries = 100_000
    private let volatile = 1_000_000

    /// Commands a round, by depth of the pipeline.
    private let loads = [(pipeline: 1, count: 200_000, bound: 1.0), (pipeline: 16, count: 1_000_000, bound: 1.2)]

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let purge = try purgeFigures()
        guard Self.has("redis-benchmark"), Self.has("redis-cli") else {
            note("  skipped: the comparison with redis (apt-get install redis-tools redis-server; stop the service)")
            return purge
        }
        let hearth = try HearthServer(
            setting, functions: try setting.makeDirectory("no-functions"), configuration: "[cache]\npassword = \"off\"\nmemory = 4294967296\n")
        defer { hearth.child.stop() }
        guard let port = hearth.cachePort else { throw Failure("hearth does not name its cache's port: \(hearth.child.lastOutput)") }
        let redis = try RedisServer(setting)
        defer { redis?.child.stop() }
        var servers = [(name: "Hearth", child: hearth.child, port: port)]
        if let redis { servers.append((RedisServer.name, redis.child, redis.port)) }
        return try commands(setting, servers) + memory(setting, servers) + expiry(setting, port) + purge
    }

    private static func has(_ program: String) -> Bool { (try? Child.run([program, "--version"], log: "/dev/null")) == 0 }

    // MARK: Commands

    /// Microseconds of the server's CPU time per command, in turns, by `redis-benchmark -c 50`.
    private func commands(_ setting: BenchSetting, _ servers: [(name: String, child: Child, port: UInt16)]) throws -> [Figure] {
        var figures: [Figure] = []
        setting.waitForQuiet()
        for load in loads {
            for command in ["set", "get"] {
                var times: [String: [Double]] = [:]
                for round in 1...setting.rounds {
                    // there and back: none always follows the other
                    for server in round % 2 == 0 ? servers.reversed() : servers {
                        let before = ProcessTree(root: server.child.pid)
                        try Self.load(server.port, command, load.count, pipeline: load.pipeline)
                        let used = ProcessTree(root: server.child.pid).cpuMicroseconds(since: before) / Double(load.count)
                        times[server.name, default: []].append(used)
                        note("  round \(round), -P \(load.pipeline), \(command), \(server.name): \(number(used)) µs of CPU per command")
                    }
                }
                figures.append(
                    Figure(
                        name: "cache: \(command.uppercased()) 1 KiB, -P \(load.pipeline), CPU per command", unit: "µs",
                        hearth: times["Hearth"]?.p50 ?? 0, peer: (RedisServer.name, times[RedisServer.name]?.p50),
                        goal: .atMostTimes(load.bound)))
            }
        }
        return figures
    }

    private static func load(_ port: UInt16, _ command: String, _ count: Int, pipeline: Int) throws {
        let status = try Child.run(
            [
                "redis-benchmark", "-p", "\(port)", "-t", command, "-d", "1024", "-c", "50", "-P", "\(pipeline)", "-r", "10000",
                "-n", "\(count)", "-q",
            ], log: "/dev/null")
        guard status == 0 else { throw Failure("redis-benchmark ended with \(status)") }
    }

    // MARK: Memory

    /// Resident bytes that each of many entries of 1 KiB takes.
    private func memory(_ setting: BenchSetting, _ servers: [(name: String, child: Child, port: UInt16)]) throws -> [Figure] {
        let path = "\(try setting.makeDirectory("entries"))/commands"
        try Self.write(to: path, count: entries) { "SET entry:\(String(format: "%012d", $0)) \(String(repeating: "x", count: 1024))" }
        var bytes: [String: Double] = [:]
        for server in servers {
            try Self.send(["FLUSHALL"], server.port)
            usleep(500_000)
            let before = ProcessTree.residentMiB(of: server.child.pid)
            try Self.pipe(path, server.port)
            bytes[server.name] = (ProcessTree.residentMiB(of: server.child.pid) - before) * 1024 * 1024 / Double(entries)
            try Self.send(["FLUSHALL"], server.port)
        }
        return [
            Figure(
                name: "cache: memory per entry of 1 KiB", unit: "bytes", hearth: bytes["Hearth"] ?? 0,
                peer: (RedisServer.name, bytes[RedisServer.name]), goal: .atMostTimes(1))
        ]
    }

    // MARK: Expiry

    /// A million keys that end within twenty seconds of each other: how late each was, by the server's own account.
    private func expiry(_ setting: BenchSetting, _ port: UInt16) throws -> [Figure] {
        let path = "\(try setting.makeDirectory("volatile"))/commands"
        // the same lifetimes in each run: 20 s after the first, spread over 20 s
        try Self.write(to: path, count: volatile) { "SET volatile:\($0) x PX \(20_000 + ($0 &* 7_919) % 20_000)" }
        setting.waitForQuiet()
        try Self.pipe(path, port)
        note("  \(volatile) keys are in, waiting for the last to end")
        for _ in 0..<600 where try Self.info("keyspace", port).contains("db0:") { usleep(100_000) }
        let stats = try Self.info("stats", port)
        func value(_ name: String) -> Double {
            let line = stats.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }
            return line.flatMap { Double($0.dropFirst(name.count + 1)) } ?? .infinity
        }
        guard value("expired_keys") >= Double(volatile) else { throw Failure("only \(value("expired_keys")) keys have expired") }
        return [
            Figure(
                name: "cache: expired events late, \(volatile) keys, p99", unit: "ms", hearth: value("expired_lag_usec_p99") / 1_000,
                goal: .atMost(10)),
            Figure(
                name: "cache: expired events late, \(volatile) keys, p50", unit: "ms", hearth: value("expired_lag_usec_p50") / 1_000,
                goal: .none),
        ]
    }

    // MARK: Purge

    /// In this process: a million entries with one tag, purged by one order, and none is found after it.
    private func purgeFigures() throws -> [Figure] {
        let now = Moment(nanoseconds: LoadClient.now)
        let cache = Cache(limitBytes: 1 << 30, seed: 1, at: now)
        let space = try cache.addNamespace(NamespaceSettings(name: "bench"))
        let value = [UInt8](repeating: 120, count: 64)
        func key(_ index: Int) -> [UInt8] { Array("key:\(index)".utf8) }
        func tagged<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { Array("tag".utf8).withUnsafeBytes(body) }
        for index in 0..<volatile {
            key(index).withUnsafeBytes { key in
                value.withUnsafeBytes { value in
                    tagged { _ = cache.set(key, value, in: space, tags: [$0], at: now) }
                }
            }
        }
        guard cache.counters(of: space).entries == volatile else { throw Failure("the cache did not take \(volatile) entries") }
        let began = LoadClient.now
        tagged { cache.purge(tag: $0, soft: false, at: now) }
        let took = Double(LoadClient.now - began) / 1e6
        let found = stride(from: 0, to: volatile, by: 997).count { index in
            key(index).withUnsafeBytes { cache.get($0, in: space, at: now) } != nil
        }
        guard found == 0 else { throw Failure("\(found) entries were found after they had been purged") }
        return [Figure(name: "cache: purge of a tag on \(volatile) entries", unit: "ms", hearth: took, goal: .atMost(1))]
    }

    // MARK: Talking to servers

    /// Commands in the protocol's form, a line of words each.
    private static func write(to path: String, count: Int, _ line: (Int) -> String) throws {
        var bytes: [UInt8] = []
        for index in 0..<count {
            let words = line(index).split(separator: " ")
            bytes += Array("*\(words.count)\r\n".utf8)
            for word in words { bytes += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    private static func pipe(_ path: String, _ port: UInt16) throws {
        let status = try Child.run(["sh", "-c", "redis-cli -p \(port) --pipe < '\(path)'"], log: "/dev/null")
        guard status == 0 else { throw Failure("redis-cli --pipe ended with \(status)") }
    }

    @discardableResult
    private static func send(_ words: [String], _ port: UInt16) throws -> String {
        let log = NSTemporaryDirectory() + "hearth-bench-\(UUID().uuidString)"
        defer { unlink(log) }
        guard try Child.run(["redis-cli", "-p", "\(port)"] + words, log: log) == 0 else { throw Failure("redis-cli fails") }
        return try String(contentsOfFile: log, encoding: .utf8)
    }

    private static func info(_ section: String, _ port: UInt16) throws -> String { try send(["INFO", section], port) }
}

/// `redis-server` without files, where it is installed.
private final class RedisServer {
    static let name = "redis-server"
    let child: Child
    let port: UInt16

    init?(_ setting: BenchSetting) throws {
        guard (try? Child.run(["redis-server", "--version"], log: "/dev/null")) == 0 else {
            note("  not installed, so not compared: redis-server (apt-get install redis-server, and stop the service)")
            return nil
        }
        let directory = try setting.makeDirectory("redis")
        port = try freePort()
        child = try Child(
            Self.name, ["redis-server", "--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory],
            log: "\(directory)/log")
        for _ in 0..<250 where !child.hasEnded {
            if try Child.run(["redis-cli", "-p", "\(port)", "PING"], log: "/dev/null") == 0 { return }
            usleep(20_000)
        }
        child.stop()
        throw Failure("redis-server does not answer: \(child.lastOutput)")
    }
}
