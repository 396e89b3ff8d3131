import ArgumentParser
import Foundation

/// `hearth cache …`: the node's one shared cache.
struct CacheCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache", abstract: "Show, explain, purge and resize the shared cache.",
        subcommands: [CacheStats.self, CacheKeys.self, CachePurge.self, CacheAdvise.self, CacheExplain.self, CacheResize.self])
}

struct CacheStats: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "stats", abstract: "Show hits, misses and memory, by use.")

    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("GET", "/_hearth/cache/stats"), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        let namespaces = answer["namespaces"] as? [[String: Any]] ?? []
        printTable(
            ["CACHE", "HITS", "STALE", "WAITED", "MISSES", "HIT RATIO", "EXPIRED", "EVICTED", "PURGED", "ENTRIES", "KiB"],
            namespaces.map { row in
                func text(_ key: String) -> String { row[key].map { "\($0)" } ?? "" }
                let ratio = (row["hit_ratio"] as? NSNumber).map { String(format: "%.1f %%", $0.doubleValue * 100) } ?? "-"
                return [
                    text("namespace"), text("hits"), text("stale"), text("coalesced"), text("misses"), ratio, text("expired"), text("evicted"),
                    text("purged"), text("entries"), "\(kibibytes(row, "bytes"))",
                ]
            })
        for function in answer["functions"] as? [[String: Any]] ?? [] {
            say("\(function["function"] ?? ""):\(function["version"] ?? "") \(memoLine(function))")
        }
        for route in answer["routes"] as? [[String: Any]] ?? [] {
            say("\(route["function"] ?? "") \(route["route"] ?? ""): \(route["hits"] ?? 0) hits, \(route["misses"] ?? 0) misses")
        }
        if let disk = answer["disk"] as? [String: Any] { say("disk: \(diskLine(disk))") }
        say("\(kibibytes(answer, "used_bytes")) of \(kibibytes(answer, "limit_bytes")) KiB used")
    }
}

private func diskLine(_ disk: [String: Any]) -> String {
    func count(_ key: String) -> Int { disk[key] as? Int ?? 0 }
    return "\(count("entries")) entries, \(count("file_bytes") / 1024) KiB; \(count("hits")) hits, \(count("misses")) misses, "
        + "\(count("stored")) written, \(count("evicted")) evicted" + (disk["paused"] as? Bool == true ? "; the disk takes nothing" : "")
}

/// One function's memoization on one line.
func memoLine(_ memo: [String: Any]) -> String {
    let counts = "\(memo["memoized"] ?? 0) answered from store, \(memo["runs"] ?? 0) runs, \(memo["audits"] ?? 0) audits"
    let state = memo["state"] as? String ?? "on"
    return "ttl \(memo["ttl_s"] ?? 0) s, key \(memo["key_form"] ?? ""), identity \(memo["identity"] ?? ""): \(counts)" + (state == "on" ? "" : "; \(state)")
}

struct CacheKeys: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "keys", abstract: "List stored results: keys for explain and purge.")

    @Argument(help: "One function only.") var name: String?
    @Option(help: "No more than N.") var limit = 1000
    @OptionGroup var connection: Connection

    func run() throws {
        let client = try connection.client()
        var rows: [[String: Any]] = []
        var cursor = 0
        repeat {
            let prefix = name.map { "prefix=\(pathPart($0 + "/"))" }
            let query = ["cursor=\(cursor)", prefix].compactMap { $0 }.joined(separator: "&")
            let page = jsonObject(try expect(client.call("GET", "/_hearth/cache/keys", query: query), 200).body)
            rows += page["keys"] as? [[String: Any]] ?? []
            cursor = page["cursor"] as? Int ?? 0
        } while cursor != 0 && rows.count < limit
        rows = Array(rows.prefix(limit))
        if connection.json { return sayJSON(["keys": rows]) }
        guard !rows.isEmpty else { return say("nothing is stored\(name.map { " for \($0)" } ?? "")") }
        func seconds(_ row: [String: Any], _ key: String) -> String {
            (row[key] as? NSNumber).map { String(format: "%.1f s", $0.doubleValue / 1000) } ?? "-"
        }
        printTable(
            ["KEY", "CACHE", "STATE", "AGE", "FRESH FOR", "BYTES"],
            rows.map { row in
                [
                    row["key"] as? String ?? "", row["namespace"] as? String ?? "", row["state"] as? String ?? "", seconds(row, "age_ms"),
                    seconds(row, "fresh_ms"), "\(row["value_bytes"] ?? "")",
                ]
            })
    }
}

struct CachePurge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge", abstract: "Remove results: the next call runs.",
        discussion: "Effective when the command returns, for calls that are running too. With --soft the old results are stale: they still answer while one call makes the new one, as far as stale_while_revalidate allows.")

    @Option(help: "All results of a function, NAME, or of one of its versions, NAME:QUALIFIER.") var function: String?
    @Option(help: "All responses of a route of the function, by its path as function.toml has it; with --function.") var route: String?
    @Option(help: "All results with this tag.") var tag: String?
    @Option(help: "One result, by the key that explain shows.") var key: String?
    @Option(help: "All of one use of the cache, as stats names it.") var namespace: String?
    @Flag(help: "Make them stale instead of removing them.") var soft = false
    @OptionGroup var connection: Connection

    func validate() throws {
        guard [function, tag, key, namespace].compactMap({ $0 }).count == 1 else {
            throw ValidationError("name one of --function, --tag, --key and --namespace")
        }
        if route != nil, function?.contains(":") != false { throw ValidationError("--route is of a function: name it with --function, without a qualifier") }
    }

    func run() throws {
        var order: [String: Any] = ["soft": soft]
        if let function {
            let parts = function.split(separator: ":", maxSplits: 1).map(String.init)
            order["function"] = parts.first ?? ""
            if parts.count > 1 { order["qualifier"] = parts[1] }
        }
        order["route"] = route
        order["tag"] = tag
        order["key"] = key
        order["namespace"] = namespace
        let body = try JSONSerialization.data(withJSONObject: order, options: [.sortedKeys])
        let response = try expect(connection.client().call("POST", "/_hearth/cache/purge", body: Array(body)), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        if answer["was_there"] as? Bool == false { return say("nothing was stored under this key") }
        say("purged \(answer["purged"] ?? "")\(soft ? ", softly" : "")")
    }
}

struct CacheExplain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say what a call would find in the cache, and why.",
        discussion: """
            hearth cache explain KEY, for any key that keys or a Redis client shows;
            hearth cache explain NAME[:QUALIFIER] -d EVENT, which makes the key as an invocation with this event would;
            hearth cache explain /NAME/PATH?QUERY, which makes it as this request to the front listener would. Nothing is run or counted.
            """)

    @Argument(help: "A key, a function as NAME or NAME:QUALIFIER (without a qualifier what the front listener serves), or a URL or its path.")
    var subject: String
    @Option(name: [.customShort("d"), .long], help: "The event, or the body of the request: JSON text, @file, or - for standard input.")
    var event: String?
    @Option(name: [.customShort("X"), .long], help: "The method of the request; GET, or POST when there is a body.") var method: String?
    @Option(name: [.customShort("H"), .long], help: "A header of the request, 'Name: value'; may be given several times.") var header: [String] = []
    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("POST", "/_hearth/cache/explain", body: try order()), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        func text(_ key: String) -> String { answer[key].map { "\($0)" } ?? "" }
        func seconds(_ key: String) -> String { (answer[key] as? NSNumber).map { String(format: "%.1f s", $0.doubleValue / 1000) } ?? "-" }
        if answer["key"] != nil { say("key        \(text("key"))") }
        say("would      \(text("would"))")
        if answer["function"] != nil {
            let route = (answer["route"] as? String).map { ", route \($0)" } ?? ""
            say("function   \(text("function")), version \(text("version"))\(route)\(answer["ttl_s"] != nil ? ", \(memoLine(answer))" : "")")
        }
        for part in answer["parts"] as? [[String: Any]] ?? [] { say("key part   \(part["name"] ?? ""): \(part["value"] ?? "")") }
        guard answer["entry"] != nil else { return }
        say("entry      \(text("entry")), in \(text("namespace"))\(answer["left"] is String ? "; it was \(text("left")) \(seconds("age_ms")) ago" : "")")
        guard text("entry") != "absent" else { return say("running    \(text("fills")) fills, \(text("waiting")) waiting") }
        say("age        \(seconds("age_ms")); fresh for \(seconds("fresh_ms")), there for \(seconds("life_ms"))")
        say("size       \(text("value_bytes")) bytes, charged \(text("charged_bytes")); a miss costs \(text("cost_ms")) ms; frequency \(text("frequency"))")
        say("tags       \((answer["tags"] as? [String] ?? []).joined(separator: ", "))")
    }

    private func order() throws -> [UInt8] {
        if subject.hasPrefix("/") || subject.contains("://") { return Array(try JSONSerialization.data(withJSONObject: ["request": try request()])) }
        if event == nil, subject.contains("/") { return Array(try JSONSerialization.data(withJSONObject: ["key": subject])) }
        let parts = subject.split(separator: ":", maxSplits: 1).map(String.init)
        var order: [String: Any] = ["function": parts.first ?? ""]
        if parts.count > 1 { order["qualifier"] = parts[1] }
        // a Redis client's key may look like a function's name: the name is tried first
        if event == nil { order["key"] = subject }
        let head = Array(try JSONSerialization.data(withJSONObject: order, options: [.sortedKeys]))
        let bytes = try eventBytes(event ?? "{}")
        // As it is: with memoize.key = "raw" each of its bytes counts.
        guard (try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])) != nil else {
            throw Failure("the event is not JSON: give -d JSON text, @file or -")
        }
        return head.dropLast() + Array(#","event":"#.utf8) + bytes + Array("}".utf8)
    }

    /// The request as it would come to the front listener.
    private func request() throws -> String {
        var target = Substring(subject)
        var host = "localhost"
        if let scheme = subject.range(of: "://") {
            let rest = subject[scheme.upperBound...]
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            host = String(rest[..<slash])
            target = slash == rest.endIndex ? "/" : rest[slash...]
        }
        let body = try event.map { String(decoding: try eventBytes($0), as: UTF8.self) } ?? ""
        let fields = header.filter { !$0.lowercased().hasPrefix("host:") }
        let length = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
        let head = ["\(method ?? (event == nil ? "GET" : "POST")) \(target) HTTP/1.1", "Host: \(host)"] + fields + length
        return head.joined(separator: "\r\n") + "\r\n\r\n" + body
    }
}

struct CacheResize: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize", abstract: "Give the cache more or less memory, now: what fits stays.",
        discussion: "Until the next start or SIGHUP, which read cache.memory of runtime.toml.")

    @Argument(help: "Bytes, or a number with K, M or G behind.") var size: String
    @OptionGroup var connection: Connection

    func run() throws {
        let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        let unit = size.last.flatMap { units[$0] }
        guard let number = Int(unit == nil ? size[...] : size.dropLast()), number > 0,
            !number.multipliedReportingOverflow(by: unit ?? 1).overflow
        else {
            throw ValidationError("\(size) is no size: write for example 268435456 or 256M")
        }
        let body = try JSONSerialization.data(withJSONObject: ["bytes": number * (unit ?? 1)])
        let response = try expect(connection.client().call("POST", "/_hearth/cache/resize", body: Array(body)), 200)
        if connection.json { return printJSON(response.body) }
        let answer = jsonObject(response.body)
        say("the cache may take \(kibibytes(answer, "limit_bytes")) KiB and has \(kibibytes(answer, "used_bytes")) KiB in use")
    }
}

/// A number of bytes in KiB, a begun one whole.
private func kibibytes(_ object: [String: Any], _ key: String) -> Int { ((object[key] as? Int ?? 0) + 1023) / 1024 }
