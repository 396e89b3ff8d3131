import Foundation
import TestSupport
import Testing

/// Purges, deployments, audits and faults of memoized functions, each on a running server.
@Suite struct MemoFaultTests {
    private static func clock(_ name: String, _ manifest: String, sleep: Double = 0, value: String = "time.time_ns()") -> TestFunction {
        .python(name, "import time\ndef handler(event, context):\n    time.sleep(\(sleep))\n    return {\"run\": \(value)}\n", manifest: manifest)
    }

    private func memo(_ answer: WireResponse) -> String { (answer["X-Hearth-Memo"] ?? "none").prefix { $0 != ";" }.description }

    /// 7.1.4: what a purge means is gone at the next lookup, and what was in flight does not come back.
    @Test func aPurgeIsEffectiveAtTheNextCallWhateverIsInFlight() throws {
        let server = try HearthProcess(functions: [
            Self.clock("f", "[memoize]\nttl = 600\nstale_while_revalidate = 600"), Self.clock("g", "[memoize]\nttl = 600"),
            Self.clock("slow", "timeout = 10\n[memoize]\nttl = 600", sleep: 1),
        ])
        @Sendable func run(_ name: String, _ event: String = "{}") throws -> String { try server.invoke(name, event, qualifier: "live").text }
        func purge(_ arguments: String...) throws -> String {
            let result = try server.command(["cache", "purge"] + arguments)
            #expect(result.code == 0, "\(result)")
            return result.out
        }
        let (f, g, h) = try (run("f"), run("g"), run("f", "1"))
        #expect(try run("f") == f && run("g") == g)
        #expect(try purge("--function", "f").contains("tag function:f"))
        #expect(try run("f") != f && run("f", "1") != h && run("g") == g)
        let second = try run("f")
        #expect(try purge("--function", "f:live").contains("tag version:f/") && run("f") != second)
        // One key, as explain makes it.
        let told = try server.command(["cache", "explain", "f", "-d", "{}", "--json"])
        let key = try #require((try JSONSerialization.jsonObject(with: Data(told.out.utf8)) as? [String: Any])?["key"] as? String, "\(told)")
        let (third, other) = try (run("f"), run("f", "1"))
        #expect(key.wholeMatch(of: /f\/[0-9a-f]{16}\/[0-9a-f]{64}/) != nil && told.out.contains("hit: it is fresh"), "\(told)")
        #expect(try purge("--key", key).contains("purged key") && run("f") != third && run("f", "1") == other)
        #expect(try purge("--key", "nothing/like/that").contains("nothing was stored"))
        #expect(try server.command(["cache", "explain", key]).out.contains("tags       function:f, version:f/"))
        #expect(try purge("--namespace", "memo").contains("namespace memo") && run("g") != g)
        // Softly: the old one answers once more, and behind it the new one is made.
        let old = try run("f")
        _ = try purge("--function", "f", "--soft")
        let stale = try server.invoke("f", qualifier: "live")
        #expect(memo(stale) == "stale" && stale.text == old, "\(stale)")
        _ = try waitFor("the refresh") { try run("f") == old ? nil : () }
        // In flight: begun before the purge, it answers those who asked before, and is not stored.
        let before = Background(threads: 3) { _ in try? run("slow") }
        try server.waitForMetric("hearth_concurrent_executions", ["function": "slow"], 1)
        _ = try purge("--function", "slow")
        let after = try server.invoke("slow", qualifier: "live")
        let early = before.stop().compactMap { $0 }
        #expect(early.count == 3 && !early.contains(after.text) && memo(after) == "miss", "\(early), \(after)")
        #expect(try run("slow") == after.text)
        let explained = try server.command(["cache", "explain", "slow", "-d", #"{"never":1}"#])
        #expect(explained.out.contains("run: it has not been stored") && explained.out.contains("ttl 600 s, key raw, identity caller"), "\(explained)")
        for (arguments, why) in [(["--function", "nobody"], "no function nobody"), (["--namespace", "x"], "no namespace x: it has memo"), (["--function", "f:77"], "no version 77 with results")] {
            let result = try server.command(["cache", "purge"] + arguments)
            #expect(result.code == 1 && result.err.contains(why), "\(result)")
        }
        #expect(try server.command(["cache", "purge"]).code == 2 && server.command(["cache", "explain", "f", "-d", "{"]).err.contains("not JSON"))
        let stats = try server.command(["cache", "stats"]).out
        #expect(try stats.contains("memo ") && stats.contains("f:1 ttl 600 s") && server.metric("hearth_cache_purged_total", ["namespace": "memo"]) >= 5, "\(stats)")
    }

    /// Semantic 7.4.41's tags of an answer's own.
    @Test func anAnswersOwnTagsPurgeIt() throws {
        let server = try HearthProcess(functions: [
            .python(
                "f",
                "import time\ndef handler(event, context):\n    return {'statusCode': 200, 'headers': {'Cache-Tag': 'item:1, list'}, 'body': str(time.time_ns())}\n",
                manifest: "[memoize]\nttl = 600")
        ])
        for tag in ["item:1", "list"] {
            let known = try server.get("/f/").text
            #expect(try server.get("/f/").text == known && server.command(["cache", "purge", "--tag", "item:2"]).code == 0 && server.get("/f/").text == known)
            #expect(try server.command(["cache", "purge", "--tag", tag]).code == 0 && server.get("/f/").text != known, "\(tag)")
        }
    }

    /// 7.4.41 and moonshot 14: the key holds the version's digest.
    @Test func deployingAndRollingBackUnderLoadServesNoOtherVersionsResultAndFindsItsOwnAgain() throws {
        let server = try HearthProcess()
        func function(_ answer: Int) -> TestFunction {
            .python(
                "f", "import time\ndef handler(event, context):\n    time.sleep(0.005)\n    return {\"version\": \(answer), \"run\": time.time_ns()}\n",
                manifest: "[concurrency]\nprovisioned = 2\n[memoize]\nttl = 600")
        }
        try server.deploy(function(1))
        struct Seen: Sendable { var hits = 0; var faults: [String] = [] }
        let load = Background(threads: 6) { goesOn in
            var seen = Seen()
            do {
                let wire = try Wire(server.front)
                var n = 0
                while goesOn() {
                    n += 1
                    try wire.send("GET /f/?n=\(n % 40) HTTP/1.1\r\nHost: x\r\n\r\n")
                    let answer = try wire.response()
                    // The header tells the version that was asked; the body the one that made the result.
                    let made = (answer.object["version"] as? Int).map(String.init)
                    if answer.status != 200 || made != answer["X-Amz-Executed-Version"] { seen.faults.append("\(answer)") }
                    if answer["X-Hearth-Memo"]?.hasPrefix("hit") == true { seen.hits += 1 }
                }
            } catch { seen.faults.append("\(error)") }
            return seen
        }
        func result(_ n: Int) throws -> WireResponse { try server.get("/f/?n=\(n)") }
        let old = try (0..<40).map { try result($0).text }
        for version in 2...4 { #expect(try server.deploy(function(version)).contains("version \(version)")) }
        #expect(try server.command(["rollback", "f"]).out.contains("version 3 again"))
        for _ in 0..<2 { #expect(try server.command(["rollback", "f"]).code == 0) }
        let now = try result(0)
        #expect(now.object["version"] as? Int == 3, "\(now)")
        let seen = load.stop()
        #expect(seen.flatMap(\.faults) == [] && seen.reduce(0) { $0 + $1.hits } > 0, "\(seen)")
        // Version 1 by its alias again: the results that it made before are there.
        let moved = try server.call("POST", "/_hearth/functions/f/promote", body: #"{"alias":"live","version":1,"provisioned":1}"#)
        #expect(moved.status == 200, "\(moved)")
        let again = try (0..<40).map { try result($0) }
        #expect(again.map(\.text) == old && again.allSatisfy { memo($0) == "hit" }, "\(again.map(memo))")
        // Another setting that can change a result is another scope; one that cannot is not.
        #expect(try server.deploy(.python("f", function(1).files["app.py"] ?? "", manifest: "[concurrency]\nprovisioned = 1\nqueue = 7\n[memoize]\nttl = 500")).contains("deployed"))
        #expect(try result(0).text == old[0])
        #expect(try server.deploy(.python("f", function(1).files["app.py"] ?? "", manifest: "[environment]\nA = \"1\"\n[memoize]\nttl = 500")).contains("deployed"))
        #expect(try result(0).text != old[0])
    }

    /// 7.4.42.
    @Test func anAuditFindsWhatIsNotPureAndSwitchesItOff() throws {
        var server = try HearthProcess(functions: [
            Self.clock("impure", "[memoize]\nttl = 600\naudit = 1"), Self.clock("pure", "[memoize]\nttl = 600\naudit = 1", value: "7"),
        ])
        let first = try server.invoke("impure", qualifier: "live")
        #expect(try memo(server.invoke("impure", qualifier: "live")) == "hit")
        try server.waitForMetric("hearth_memo_impure_total", ["function": "impure"], 1)
        let after = try server.invoke("impure", qualifier: "live")
        #expect(memo(after) == "bypass" && after.body != first.body && after["Cache-Status"] == "hearth; fwd=bypass; detail=impure", "\(after)")
        #expect(try server.logs("impure").contains("memoization is off for version 1: equal events gave different results (key impure/"))
        let described = try server.command(["describe", "impure"]).out
        #expect(described.contains("memoized   ") && described.contains("off: an audit found"), "\(described)")
        for _ in 0..<3 { _ = try server.invoke("pure", qualifier: "live") }
        _ = try waitFor("an audit of the pure one") { try server.metric("hearth_memo_audits_total", ["function": "pure"]) >= 1 ? () : nil }
        #expect(try memo(server.invoke("pure", qualifier: "live")) == "hit" && server.metric("hearth_memo_impure_total", ["function": "pure"]) == 0)
        // It stays off after a restart and with the next deployment of the same code, and another one begins anew.
        try server.killAtOnce()
        server = try HearthProcess(functions: [], directory: server.directory)
        let again = try server.command(["cache", "stats"]).out
        #expect(again.contains("off: an audit found") && again.contains("pure:1 ttl 600 s"), "\(again)")
        #expect(try memo(server.invoke("impure", qualifier: "live")) == "bypass" && server.command(["describe", "impure"]).out.contains("off: an audit"))
        try server.deploy(Self.clock("impure", "[memoize]\nttl = 601\naudit = 1"))
        #expect(try memo(server.invoke("impure", qualifier: "live")) == "bypass")
        try server.deploy(Self.clock("impure", "[memoize]\nttl = 601", value: "8"))
        #expect(try memo(server.invoke("impure", qualifier: "live")) == "miss")
    }

    /// 7.1.8: the next in line runs, and only the one whose worker died is told of it.
    @Test func theDeathOfTheWorkerThatLeadsIsFeltByItsOwnClientOnly() throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess(functions: [
            Self.clock("f", "timeout = 20\n[environment]\nMARKER = \"\(marker)\"\n[memoize]\nttl = 600", sleep: 1)
        ])
        let clients = Background(threads: 8) { _ in (try? server.invoke("f", qualifier: "live", seconds: 60))}
        try server.waitForMetric("hearth_concurrent_executions", ["function": "f"], 1)
        _ = try waitFor("the others to wait") { try server.metric("hearth_cache_coalesced_total", ["namespace": "memo"]) == 7 ? () : nil }
        for pid in processes(with: marker) { kill(pid, SIGKILL) }
        let answers = clients.stop().compactMap { $0 }
        let failed = answers.filter { $0["X-Amz-Function-Error"] != nil }
        let rest = answers.filter { $0["X-Amz-Function-Error"] == nil && $0.status == 200 }
        #expect(failed.count == 1 && rest.count == 7 && Set(rest.map(\.text)).count == 1, "\(answers)")
        #expect(try server.metric("hearth_invocations_total", ["function": "f"]) == 2)
    }

    @Test func aClientThatLeavesTakesNobodyWithIt() throws {
        let server = try HearthProcess(functions: [
            Self.clock("f", "timeout = 20\n[concurrency]\nprovisioned = 1\nmax = 1\n[memoize]\nttl = 600", sleep: 1)
        ])
        func ask(_ path: String) throws -> Wire {
            let wire = try Wire(server.front)
            try wire.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            return wire
        }
        func coalesced() throws -> Double { try server.metric("hearth_cache_coalesced_total", ["namespace": "memo"]) }
        // It runs on without its client, and its followers get what it makes.
        let leader = try ask("/f/a")
        try server.waitForMetric("hearth_concurrent_executions", ["function": "f"], 1)
        let follower = try ask("/f/a")
        let lost = try ask("/f/a")
        _ = try waitFor("two to wait") { try coalesced() == 2 ? () : nil }
        leader.reset()
        lost.reset()
        let answer = try follower.response()
        #expect(memo(answer) == "coalesced" && answer.status == 200, "\(answer)")
        #expect(try server.metric("hearth_invocations_total", ["function": "f"]) == 1)
        // It waits for the one worker when its client goes: the next one leads.
        let busy = try ask("/f/b")
        try server.waitForMetric("hearth_concurrent_executions", ["function": "f"], 1)
        let queued = try ask("/f/c")
        try server.waitForMetric("hearth_queue_depth", ["function": "f"], 1)
        let heir = try ask("/f/c")
        _ = try waitFor("the heir to wait") { try coalesced() == 3 ? () : nil }
        queued.reset()
        let inherited = try heir.response()
        #expect(inherited.status == 200 && memo(inherited) == "miss" && inherited["Cache-Status"] == "hearth; fwd=miss; stored", "\(inherited)")
        #expect(try busy.response().status == 200 && server.metric("hearth_invocations_total", ["function": "f"]) == 3)
    }

    @Test func whatIsSwitchedOffOrRemovedIsNotAnsweredFromStore() throws {
        let server = try HearthProcess()
        let function = Self.clock("f", "[memoize]\nttl = 600")
        try server.deploy(function)
        let known = try server.get("/f/")
        #expect(try memo(server.get("/f/")) == "hit")
        for scale in [["--provisioned", "0"], ["--reserved", "0"]] { #expect(try server.command(["scale", "f"] + scale).code == 0) }
        #expect(try server.get("/f/").status == 429 && server.invoke("f", qualifier: "live").status == 429)
        #expect(try server.command(["scale", "f", "--reserved", "none"]).code == 0 && server.get("/f/").body == known.body)
        let keys = try server.command(["cache", "keys", "f"])
        #expect(keys.out.split(separator: "\n").count == 2 && keys.out.contains("memo") && keys.out.contains("fresh"), "\(keys)")
        #expect(try server.command(["cache", "keys", "g"]).out.contains("nothing is stored for g"))
        #expect(try server.command(["remove", "f"]).code == 0)
        try server.deploy(function)
        #expect(try server.get("/f/").body != known.body, "another function of this name")
    }

    @Test func theCacheIsResizedWhileItRunsAndWhatFitsStays() throws {
        let server = try HearthProcess(functions: [Self.clock("f", "[memoize]\nttl = 600", value: "'x' * 1000")], config: "[cache]\nmemory = 8388608\n")
        let known = try (0..<100).map { try server.invoke("f", "\($0)", qualifier: "live").text }
        for size in ["16M", "1M", "8M"] {
            let result = try server.command(["cache", "resize", size])
            #expect(result.code == 0, "\(result)")
            let answers = try (0..<100).map { try server.invoke("f", "\($0)", qualifier: "live") }
            #expect(answers.map(\.text) == known && answers.allSatisfy { memo($0) == "hit" }, "\(size)")
        }
        #expect(try server.command(["cache", "resize", "1"]).err.contains("below 1048576") && server.command(["cache", "resize", "x"]).code == 2)
    }
}
