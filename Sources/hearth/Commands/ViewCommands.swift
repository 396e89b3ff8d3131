import ArgumentParser
import Foundation
import SigV4

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the functions.")

    @OptionGroup var connection: Connection

    func run() throws {
        let client = try connection.client()
        var functions: [[String: Any]] = []
        var marker: String?
        repeat {
            let response = try expect(
                client.call("GET", "/2015-03-31/functions", query: marker.map { "Marker=\($0)" } ?? ""), 200)
            let page = jsonObject(response.body)
            functions += page["Functions"] as? [[String: Any]] ?? []
            marker = page["NextMarker"] as? String
        } while marker != nil
        if connection.json {
            return sayJSON(["Functions": functions])
        }
        guard !functions.isEmpty else { return say("no functions: deploy one with hearth deploy DIRECTORY") }
        printTable(
            ["FUNCTION", "RUNTIME", "MEMORY", "TIMEOUT", "DESCRIPTION"],
            functions.map { function in
                [
                    function["FunctionName"] as? String ?? "", function["Runtime"] as? String ?? "",
                    "\(function["MemorySize"] ?? "") MB", "\(function["Timeout"] ?? "") s",
                    function["Description"] as? String ?? "",
                ]
            })
    }
}

struct Describe: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show one function: can it be called now, and if not, why.")

    @Argument(help: "The function.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("GET", "/_hearth/functions/\(pathPart(name))"), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        let workers = answer["workers"] as? [String: Any] ?? [:]
        func text(_ key: String) -> String { answer[key].map { "\($0)" } ?? "" }
        say("\(name): \(text("description"))")
        say("callable   \(text("verdict"))")
        say("serves     version \(text("serves"))" + (answer["alias"] is String ? " (alias \(text("alias")))" : ""))
        say("runtime    \(text("runtime")), handler \(text("handler")), \(text("memory_mb")) MB, \(text("timeout_s")) s")
        say("workers    \(workers["idle"] ?? 0) idle, \(workers["busy"] ?? 0) busy, \(workers["starting"] ?? 0) starting; provisioned \(workers["provisioned_ready"] ?? 0) of \(workers["provisioned"] ?? 0)")
        say("starts by  \(text("starts_by"))")
        if let reserved = answer["reserved"] as? Int { say("reserved   \(reserved)") }
        if let memo = answer["memoize"] as? [String: Any] { say("memoized   \(memoLine(memo))") }
        let versions = (answer["versions"] as? [Int] ?? []).map(String.init).joined(separator: ", ")
        say("versions   \(versions.isEmpty ? "none published" : versions)")
        for cold in answer["cold_starts"] as? [[String: Any]] ?? [] {
            say("cold       \(cold["count"] ?? 0) by \(cold["init_type"] ?? ""), reason \(cold["reason"] ?? ""), p50 \(cold["p50_ms"] ?? "") ms")
        }
        let phases = answer["cold_phases"] as? [String: [String: Any]] ?? [:]
        for phase in ["queue", "spawn", "runtime", "handler_import", "restore"] {
            guard let times = phases[phase], (times["count"] as? Int ?? 0) > 0 else { continue }
            say("  phase    \(phase): p50 \(times["p50_ms"] ?? "") ms, p99 \(times["p99_ms"] ?? "") ms")
        }
    }
}

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show invocations, cold starts, times and workers of each function.")

    @Argument(help: "One function only.") var name: String?
    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("GET", "/_hearth/stats"), 200)
        let all = jsonObject(response.body)["functions"] as? [[String: Any]] ?? []
        let functions = all.filter { name == nil || $0["function"] as? String == name }
        if let name, functions.isEmpty { throw Failure("no version of \(name) has had a worker or a call yet: see hearth list") }
        if connection.json {
            let data = try JSONSerialization.data(withJSONObject: ["functions": functions], options: [.sortedKeys])
            return printJSON(Array(data))
        }
        printTable(
            ["FUNCTION", "VERSION", "CALLS", "ERRORS", "429", "COLD", "INIT p50/p90/p99 ms", "QUEUE p50/p90/p99", "RUN p50/p90/p99", "IDLE/BUSY", "MEMORY"],
            functions.map(row))
        for function in functions {
            for cold in function["cold_by_reason"] as? [[String: Any]] ?? [] {
                say("cold: \(function["function"] ?? "") \(cold["count"] ?? 0)× \(cold["init_type"] ?? "") because of \(cold["reason"] ?? ""), p50 \(cold["p50_ms"] ?? "") ms")
            }
        }
    }

    private func row(_ function: [String: Any]) -> [String] {
        func number(_ key: String) -> Int { function[key] as? Int ?? 0 }
        func times(_ key: String) -> String {
            let times = function[key] as? [String: Any] ?? [:]
            guard (times["count"] as? Int ?? 0) > 0 else { return "-" }
            return ["p50_ms", "p90_ms", "p99_ms"].map { String(format: "%.2f", (times[$0] as? NSNumber)?.doubleValue ?? 0) }
                .joined(separator: "/")
        }
        let calls = number("invocations")
        let share = calls > 0 ? 100 * Double(number("cold_starts")) / Double(calls) : 0
        let workers = function["workers"] as? [String: Any] ?? [:]
        return [
            function["function"] as? String ?? "", function["version"] as? String ?? "", "\(calls)", "\(number("errors"))",
            "\(number("throttles"))", "\(number("cold_starts")) (\(String(format: "%.1f", share)) %)", times("init"),
            times("queue"), times("run"), "\(workers["idle"] ?? 0)/\(workers["busy"] ?? 0)",
            "\(number("memory_kib") / 1024) MB",
        ]
    }
}

struct Logs: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print a function's log.")

    @Argument(help: "The function.") var name: String
    @Flag(name: [.short, .long], help: "Go on as the log grows.") var follow = false
    @Flag(help: "Cold starts only.") var coldOnly = false
    @Option(help: "Only the last N records.") var last: Int?
    @OptionGroup var connection: Connection

    func validate() throws {
        if let last, last < 1 { throw ValidationError("--last \(last) is impossible: it must be at least 1") }
    }

    func run() throws {
        var query: [String] = []
        if coldOnly { query.append("cold=1") }
        if follow { query.append("follow=1") }
        if let last { query.append("last=\(last)") }
        if connection.json { query.append("json=1") }
        let client = try connection.client()
        // Asked first, because what follows is printed as it comes.
        try expect(client.call("GET", "/_hearth/functions/\(pathPart(name))"), 200)
        let response = try client.call(
            "GET", "/_hearth/functions/\(pathPart(name))/logs", query: query.sorted().joined(separator: "&")
        ) { bytes in
            FileHandle.standardOutput.write(Data(bytes))
        }
        if response.status != 200 { throw ExitCode(1) }
    }
}

struct Env: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the variables that point aws, boto3 and hearth at this Hearth: eval \"$(hearth env)\"")

    @OptionGroup var connection: Connection

    func run() throws {
        let (endpoints, credentials) = try connection.located()
        let variables = [
            ("AWS_ENDPOINT_URL", "http://\(endpoints.api)"), ("AWS_ACCESS_KEY_ID", credentials.accessKeyID),
            ("AWS_SECRET_ACCESS_KEY", credentials.secretAccessKey), ("AWS_REGION", endpoints.region),
            ("AWS_DEFAULT_REGION", endpoints.region), ("HEARTH_API", "http://\(endpoints.api)"),
            ("HEARTH_FRONT", "http://\(endpoints.front)"), ("HEARTH_CACHE_URL", endpoints.cacheURL(credentials)),
        ]
        if connection.json {
            return sayJSON(Dictionary(uniqueKeysWithValues: variables))
        }
        // A token of other credentials would be sent along with these.
        say("unset AWS_SESSION_TOKEN")
        for (name, value) in variables { say("export \(name)='\(value)'") }
    }
}
