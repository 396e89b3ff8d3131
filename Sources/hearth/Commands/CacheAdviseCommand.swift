import ArgumentParser
import Foundation

/// `hearth cache advise`
struct CacheAdvise: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "advise", abstract: "Say what other lifetimes and sizes would bring.",
        discussion: "Foretold from the traffic since the start, for functions that are not memoized too: the share of calls that would be answered from the store, and with answers that are not true any more.")

    @Argument(help: "A function; all, without it.") var name: String?
    @OptionGroup var connection: Connection

    func run() throws {
        let response = try expect(connection.client().call("GET", "/_hearth/cache/advise"), 200)
        let all = jsonObject(response.body)["subjects"] as? [[String: Any]] ?? []
        let subjects = all.filter { name == nil || $0["function"] as? String == name }
        if let name, subjects.isEmpty { throw Failure("nothing has been learnt about \(name) yet: it has not been called since the start") }
        if connection.json { return sayJSON(["subjects": subjects]) }
        if subjects.isEmpty { say("nothing has been learnt yet: no function has been called since the start") }
        for subject in subjects { show(subject) }
    }

    private func show(_ subject: [String: Any]) {
        func percent(_ value: Any?) -> String { (value as? NSNumber).map { String(format: "%.1f %%", $0.doubleValue * 100) } ?? "-" }
        let route = (subject["route"] as? String).map { " \($0)" } ?? ""
        say("\(subject["function"] ?? "")\(route): \(subject["advice"] ?? "")")
        say("  \(subject["lookups"] ?? 0) calls in \(subject["watched_s"] ?? 0) s")
        let ttls = subject["ttls"] as? [[String: Any]] ?? []
        printTable(["  TTL s", "HITS", "STALE"], ttls.map { ["  \($0["ttl_s"] ?? "")", percent($0["hit_ratio"]), percent($0["stale_share"])] })
        let sizes = subject["sizes"] as? [[String: Any]] ?? []
        guard !sizes.isEmpty else { return }
        printTable(["  CACHE MiB", "HITS"], sizes.map { ["  \(($0["bytes"] as? Int ?? 0) >> 20)", percent($0["hit_ratio"])] })
    }
}
