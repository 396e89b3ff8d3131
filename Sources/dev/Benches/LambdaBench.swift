import Foundation
import GRDBSQLite
import SigV4

/// The Lambda API: durable acceptance of events beside SQLite itself, and what a signature costs an invocation.
struct LambdaBench: Bench {
    let name = "lambda"
    let purpose = "durable accepts of asynchronous events beside raw SQLite, and signed invocations beside the front listener"

    private static let event = #"{"name":"Ada"}"#
    private static let connections = 64

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let functions = try setting.makeDirectory("functions")
        let source = "def handler(event, context):\n    return 'hi'\n"
        try setting.addFunction("hi", in: functions, python: source, manifest: "[concurrency]\nprovisioned = 2\nmax = 2")
        // Events wait behind one that takes long: their acceptance is measured, not their running.
        try setting.addFunction(
            "busy", in: functions, python: "import time\ndef handler(event, context):\n    time.sleep(60)\n",
            manifest: "timeout = 90\n[concurrency]\nprovisioned = 1\nmax = 1\nqueue = 1000\nqueue_wait = 900")
        let server = try HearthServer(setting, functions: functions)
        defer { server.child.stop() }
        setting.waitForQuiet()
        return try accepts(setting, server) + invocations(setting, server)
    }

    // MARK: Accepting

    private func accepts(_ setting: BenchSetting, _ server: HearthServer) throws -> [Figure] {
        var rates: [Double] = [], p99s: [Double] = [], raws: [Double] = []
        for round in 1...setting.rounds {
            let raw = try rawAccepts(setting)
            var load = try signed(server, "busy", [("x-amz-invocation-type", "Event")])
            (load.status, load.body, load.seconds) = (202, "", setting.seconds)
            let result = try LoadClient.run(load)
            rates.append(result.requestsPerSecond)
            p99s.append(result.latencies.p99 / 1000)
            raws.append(raw)
            note(
                "  round \(round), c=\(Self.connections): \(number(rates[round - 1])) accepts/s, p50 \(number(result.p50)) µs, "
                    + "p99 \(number(p99s[round - 1])) ms; SQLite alone \(number(raw)) rows/s")
        }
        return [
            Figure(
                name: "lambda: durable accepts per second, c=64", unit: "/s", hearth: rates.p50, peer: ("SQLite", raws.p50),
                goal: .atLeast(5000)),
            Figure(name: "lambda: time to a durable accept, p99, c=64", unit: "ms", hearth: p99s.p50, peer: nil, goal: .atMost(20)),
        ]
    }

    /// Rows per second into a table like the queue's, as many in a transaction as there are connections, synced at each commit.
    private func rawAccepts(_ setting: BenchSetting) throws -> Double {
        let path = try setting.makeDirectory("raw") + "/events.sqlite"
        var db: OpaquePointer?
        guard sqlite3_open(path, &db) == SQLITE_OK else { throw Failure("\(path) does not open") }
        defer { sqlite3_close(db) }
        sqlite3_exec(
            db,
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF;
            CREATE TABLE events (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT, id_high INTEGER, id_low INTEGER, function TEXT, qualifier TEXT, accepted INTEGER,
                due INTEGER, attempts INTEGER DEFAULT 0, refusals INTEGER DEFAULT 0, source TEXT, payload BLOB)
            """, nil, nil, nil)
        var insert: OpaquePointer?
        sqlite3_prepare_v2(
            db, "INSERT INTO events (id_high, id_low, function, accepted, due, source, payload) VALUES (?, ?, 'busy', 1, 1, 'invoke', ?)", -1,
            &insert, nil)
        defer { sqlite3_finalize(insert) }
        let payload = Array(Self.event.utf8)
        let began = LoadClient.now
        var rows = 0
        while Double(LoadClient.now - began) < setting.seconds * 1e9 {
            sqlite3_exec(db, "BEGIN IMMEDIATE", nil, nil, nil)
            for _ in 0..<Self.connections {
                rows += 1
                sqlite3_bind_int64(insert, 1, Int64(rows))
                sqlite3_bind_int64(insert, 2, Int64(rows))
                // SQLITE_TRANSIENT: it copies.
                sqlite3_bind_blob(insert, 3, payload, Int32(payload.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
                guard sqlite3_step(insert) == SQLITE_DONE else { throw Failure("\(path) cannot be written") }
                sqlite3_reset(insert)
            }
            sqlite3_exec(db, "COMMIT", nil, nil, nil)
        }
        return Double(rows) * 1e9 / Double(LoadClient.now - began)
    }

    // MARK: Invoking

    /// The CPU time of the server's own process a request, in microseconds: workers do the same for both.
    private func invocations(_ setting: BenchSetting, _ server: HearthServer) throws -> [Figure] {
        var front = Load(port: server.ports.front, path: "/hi/", connections: Self.connections, seconds: 0.5, body: "hi")
        var api = try signed(server, "hi", [])
        (api.body, api.seconds) = (#""hi""#, 0.5)
        for load in [front, api] { _ = try LoadClient.run(load) }
        (front.seconds, api.seconds) = (setting.seconds, setting.seconds)
        var times: (front: [Double], api: [Double]) = ([], [])
        for round in 1...setting.rounds {
            times.front.append(try cpu(server, front))
            times.api.append(try cpu(server, api))
            note("  round \(round), c=\(Self.connections): front \(number(times.front[round - 1])) µs CPU, API \(number(times.api[round - 1])) µs")
        }
        let more = zip(times.api, times.front).map { $0 - $1 }
        return [
            Figure(
                name: "lambda: CPU of a signed invocation beyond one of the front, c=64", unit: "µs", hearth: more.p50,
                peer: ("front", times.front.p50), goal: .atMost(25)),
        ]
    }

    private func cpu(_ server: HearthServer, _ load: Load) throws -> Double {
        let before = ProcessTree(of: [server.child.pid])
        let result = try LoadClient.run(load)
        return ProcessTree(of: [server.child.pid]).cpuMicroseconds(since: before) / Double(max(1, result.completed))
    }

    // MARK: Parts

    /// An invocation over the API listener. One signature is good for all that is sent within minutes.
    private func signed(_ server: HearthServer, _ function: String, _ fields: [(name: String, value: String)]) throws -> Load {
        let path = "/2015-03-31/functions/\(function)/invocations"
        let signer = Signer(credentials: try server.credentials(), region: "us-east-1", service: "lambda")
        let headers = [(name: "host", value: "127.0.0.1:\(server.ports.api)")] + fields
        let added = Array(Self.event.utf8).withUnsafeBytes {
            signer.headers(
                method: "POST", path: path, query: "", headers: headers, body: $0, epochSeconds: UInt64(Date().timeIntervalSince1970))
        }
        return Load(
            port: server.ports.api, path: path, connections: Self.connections, seconds: 0, body: "",
            fields: (fields + added).map { "\($0.name): \($0.value)\r\n" }.joined(), payload: Self.event)
    }
}
