import Foundation
import TestSupport
import Testing

/// Memoized functions of a running server. Numbers are those of the reference on caching, "Exact semantics".
@Suite struct MemoTests {
    /// Each answer of a run is another one, so that equal answers come from one run.
    private static let unique = """
        import json, time
        def handler(event, context):
            body = json.loads(event["body"]) if isinstance(event, dict) and event.get("body") else event
            if isinstance(body, dict):
                time.sleep(body.get("sleep", 0))
                if body.get("raise"): raise ValueError("no")
                if "answer" in body: return {**body["answer"], "body": str(time.time_ns())}
            return {"run": time.time_ns()}
        """

    static let server = Result {
        try HearthProcess(functions: [
            .python("plain", unique, manifest: "timeout = 10\n[memoize]\nttl = 600"),
            .python("shared", unique, manifest: "[memoize]\nttl = 600\nidentity = \"none\""),
            .python("tenant", unique, manifest: "[memoize]\nttl = 600\nidentity = \"X-Tenant\""),
            .python("jcs", unique, manifest: "[memoize]\nttl = 600\nkey = \"jcs\""),
            .python("picked", unique, manifest: "[memoize]\nttl = 600\nkey = \"jmespath:[user.id, page]\""),
            .python("pickedurl", unique, manifest: "[memoize]\nttl = 600\nkey = \"jmespath:queryStringParameters.page\""),
            .python("errors", unique, manifest: "timeout = 1\n[memoize]\nttl = 600\nerrors = 60"),
            .python("asked", unique, manifest: "[memoize]\nttl = 0"),
            .python("stale", unique, manifest: "[memoize]\nttl = 1\nstale_while_revalidate = 600"),
            .python("small", unique, manifest: "[memoize]\nttl = 600\nmax_bytes = 20"),
            .python("narrow", unique, manifest: "timeout = 30\n[concurrency]\nprovisioned = 1\nmax = 1\nreserved = 1\n[memoize]\nttl = 600"),
            .python("unmemoized", unique),
        ])
    }

    private func server() throws -> HearthProcess { try Self.server.get() }

    private func post(_ path: String, _ body: String, _ headers: [(String, String)] = []) throws -> WireResponse {
        try server().request("POST", path, headers: [("Content-Type", "application/json")] + headers, body: Array(body.utf8))
    }

    private func memo(_ answer: WireResponse) -> String { (answer["X-Hearth-Memo"] ?? "none").prefix { $0 != ";" }.description }

    /// Asked twice: was the second answered from store?
    private func isKept(_ path: String, _ body: String) throws -> Bool {
        let first = try post(path, body)
        let second = try post(path, body)
        #expect(memo(first) == "miss" || memo(first) == "bypass", "\(first)")
        #expect((memo(second) == "hit") == (first.body == second.body), "\(first)\n\(second)")
        return memo(second) == "hit"
    }

    private func answering(_ headers: [String: String], status: Int = 200, more: [String: Any] = [:]) throws -> String {
        try eventText(["answer": ["statusCode": status, "headers": headers].merging(more) { $1 }, "n": UUID().uuidString])
    }

    // MARK: Once

    /// Reference D3 and moonshot 3; a hit takes no worker, 7.4.40.
    @Test func fiftyEqualCallsAtOnceRunOnceWhicheverDoorTheyComeBy() throws {
        let server = try server()
        func runs() throws -> Double { try server.metric("hearth_invocations_total", ["function": "plain"]) }
        for door in ["url", "invoke"] {
            let before = try runs()
            let event = #"{"sleep":0.3,"for":"\#(door)"}"#
            let answers = try concurrently(50) { _ in
                door == "url" ? try self.post("/plain/fifty", event) : try server.invoke("plain", event)
            }
            #expect(answers.allSatisfy { $0.status == 200 && $0.body == answers[0].body }, "one run's result for all")
            let kinds = Dictionary(grouping: answers, by: memo).mapValues(\.count)
            #expect(kinds["miss"] == 1 && kinds["coalesced", default: 0] + kinds["hit", default: 0] == 49, "\(door): \(kinds)")
            #expect(try runs() == before + 1)
            for answer in answers where memo(answer) == "coalesced" {
                #expect(answer["Cache-Status"] == "hearth; fwd=miss; collapsed; stored" && answer["x-amzn-RequestId"] != nil)
            }
            let again = door == "url" ? try post("/plain/fifty", event) : try server.invoke("plain", event)
            #expect(again.body == answers[0].body && answers.filter { memo($0) == "miss" }[0]["Cache-Status"] == "hearth; fwd=miss; stored")
            #expect(again["Cache-Status"]?.wholeMatch(of: /hearth; hit; ttl=5[0-9][0-9]/) != nil, "\(again)")
            #expect(again["X-Hearth-Memo"]?.wholeMatch(of: /hit; age=[0-9]+; saved-ms=3[0-9][0-9]\.[0-9][0-9]/) != nil, "\(again)")
            #expect(try runs() == before + 1)
        }
        #expect(try server.metric("hearth_memoized_total", ["function": "plain"]) >= 2)
        #expect(try memo(server.get("/unmemoized/")) == "none")
    }

    /// 7.4.40: concurrency limits are not consumed by hits.
    @Test func aHitNeedsNoWorkerAndNoConcurrency() throws {
        let server = try server()
        let known = try post("/narrow/", "{}")
        let busy = Background(threads: 1) { _ in try? self.post("/narrow/", #"{"sleep":3}"#).status }
        try server.waitForMetric("hearth_concurrent_executions", ["function": "narrow"], 1)
        let refused = try post("/narrow/", #"{"other":1}"#)
        #expect(refused.status == 429, "all of its concurrency is in use: \(refused)")
        let hits = try concurrently(20) { _ in try self.post("/narrow/", "{}") }
        #expect(hits.allSatisfy { $0.body == known.body && self.memo($0) == "hit" && $0["Server-Timing"]?.contains("run;dur=0.00") == true })
        // Who follows takes none either: the one that leads has it.
        let followers = try concurrently(5) { _ in try self.post("/narrow/", #"{"sleep":3}"#) }
        #expect(followers.allSatisfy { $0.status == 200 && ["coalesced", "hit"].contains(self.memo($0)) }, "\(followers.map(memo))")
        #expect(busy.stop() == [200])
        #expect(try memo(post("/narrow/", #"{"other":1}"#)) == "miss", "a refusal is not stored (7.4.38)")
    }

    // MARK: Keys

    /// 7.4.36, 7.1.7: what one caller got, no other gets, unless the manifest says so.
    @Test func callersShareResultsOnlyAsTheManifestSays() throws {
        func ask(_ name: String, _ headers: [(String, String)]) throws -> WireResponse { try server().request("GET", "/\(name)/who?x=1", headers: headers) }
        let callers = [[], [("Cookie", "s=1")], [("Cookie", "s=2")], [("Authorization", "Bearer a")], [("Authorization", "Bearer a"), ("Cookie", "s=1")], [("Cookie", "s=1"), ("Cookie", "t=2")]]
        let bodies = try callers.map { try ask("plain", $0) }
        #expect(bodies.allSatisfy { memo($0) == "miss" } && Set(bodies.map(\.text)).count == callers.count)
        for (caller, body) in zip(callers, bodies) {
            let again = try ask("plain", caller + [("User-Agent", "other"), ("X-Forwarded-For", "1.2.3.4")])
            #expect(memo(again) == "hit" && again.body == body.body, "\(caller): \(again)")
        }
        let shared = try ask("shared", [("Cookie", "s=1")])
        #expect(try ask("shared", [("Authorization", "Bearer a")]).body == shared.body)
        let tenant = try ask("tenant", [("X-Tenant", "a"), ("Cookie", "s=1")])
        #expect(try ask("tenant", [("x-tenant", "a")]).body == tenant.body && ask("tenant", [("X-Tenant", "b")]).body != tenant.body)
        #expect(try ask("tenant", []).body != tenant.body)
    }

    @Test func methodPathQueryTypeAndBodyAreTheKeyOfAURLAndOtherMethodsRun() throws {
        let server = try server()
        let first = try server.get("/plain/key?a=1")
        for (method, path) in [("GET", "/plain/key"), ("GET", "/plain/key?a=2"), ("GET", "/plain/key/?a=1"), ("GET", "/plain/Key?a=1"), ("POST", "/plain/key?a=1")] {
            #expect(try server.request(method, path).body != first.body, "\(method) \(path)")
        }
        #expect(try server.get("/plain/key?a=1").body == first.body)
        #expect(try memo(server.request("HEAD", "/plain/key?a=1")) == "miss", "what a function answers to HEAD is its own")
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = try server.request(method, "/plain/key?a=1")
            #expect(memo(answer) == "bypass" && answer["Cache-Status"] == "hearth; fwd=bypass; detail=method", "\(answer)")
        }
        let typed = try post("/plain/typed", "{}")
        #expect(try server.request("POST", "/plain/typed", headers: [("Content-Type", "text/plain")], body: Array("{}".utf8)).body != typed.body)
    }

    @Test func equalEventsAreThoseOfTheFormThatTheManifestNames() throws {
        let server = try server()
        func run(_ name: String, _ event: String) throws -> String { try server.invoke(name, event).text }
        #expect(try run("plain", #"{"a":1}"#) == run("plain", #"{"a":1}"#) && run("plain", #"{"a":1}"#) != run("plain", #"{"a": 1}"#))
        #expect(try run("jcs", #"{"a":1.0,"b":[true]}"#) == run("jcs", #"{ "b" : [true], "\u0061":1 }"#))
        #expect(try run("jcs", #"{"a":1,"b":2}"#) != run("jcs", #"{"a":2,"b":1}"#))
        // 7.4.36: duplicate names make an event equal only to itself.
        #expect(try run("jcs", #"{"a":1,"a":2}"#) != run("jcs", #"{"a":2}"#) && run("jcs", #"{"a":1,"a":2}"#) == run("jcs", #"{"a":1,"a":2}"#))
        let picked = try run("picked", #"{"user":{"id":7,"name":"x"},"page":1,"at":100}"#)
        #expect(try run("picked", #"{"page":1,"user":{"id":7.0},"at":200}"#) == picked && run("picked", #"{"page":2,"user":{"id":7}}"#) != picked)
        let nothing = try server.invoke("picked", #"{"x":1}"#)
        #expect(nothing["Cache-Status"] == "hearth; fwd=bypass; detail=nothing-selected" && memo(nothing) == "bypass", "\(nothing)")
        // On a function URL a canonical body, or a selection of the event that the function gets.
        #expect(try post("/jcs/", #"{"a":1, "b":2}"#).body == post("/jcs/", #"{"b":2,"a":1}"#).body)
        #expect(try server.get("/pickedurl/a?page=1&x=1").body == server.get("/pickedurl/b?page=1&x=2").body)
        #expect(try server.get("/pickedurl/a?page=2").body != server.get("/pickedurl/a?page=1").body)
        let context = Data(#"{"client":{"a":1}}"#.utf8).base64EncodedString()
        #expect(try server.invoke("plain", #"{"a":1}"#, headers: [("X-Amz-Client-Context", context)]).text != run("plain", #"{"a":1}"#))
    }

    /// 7.4.37.
    @Test func dryRunsAndCallsThatWantTheirLogAreNotAnsweredFromStore() throws {
        let server = try server()
        let event = #"{"log":"\#(UUID())"}"#
        let known = try server.invoke("plain", event)
        let tail = try server.invokeWithLog("plain", event)
        #expect(tail.log.contains("REPORT RequestId") && tail.answer.body != known.body && memo(tail.answer) == "bypass", "\(tail.answer)")
        #expect(tail.answer["Cache-Status"] == "hearth; fwd=bypass; detail=log-tail")
        let dry = try server.invoke("plain", event, headers: [("X-Amz-Invocation-Type", "DryRun")])
        #expect(dry.status == 204 && memo(dry) == "none")
        #expect(try server.invoke("plain", event).body == known.body, "nor is what they made stored")
    }

    // MARK: What is stored

    /// 7.4.38.
    @Test func errorsAndTimeoutsAreNotStoredUnlessTheManifestSaysSo() throws {
        let server = try server()
        let failing = #"{"raise":1}"#
        let first = try server.invoke("plain", failing)
        #expect(first["X-Amz-Function-Error"] == "Unhandled" && memo(first) == "miss" && first["Cache-Status"] == "hearth; fwd=miss")
        #expect(try memo(server.invoke("plain", failing)) == "miss" && memo(post("/plain/", failing)) == "miss" && memo(post("/plain/", failing)) == "miss")
        // Nor are they shared: whoever waited runs its own (7.1.7).
        let before = try server.metric("hearth_errors_total", ["function": "plain"])
        let many = try concurrently(4) { _ in try server.invoke("plain", #"{"raise":2,"sleep":0.3}"#) }
        #expect(many.allSatisfy { $0["X-Amz-Function-Error"] == "Unhandled" && self.memo($0) == "miss" }, "\(many.map(memo))")
        #expect(try server.metric("hearth_errors_total", ["function": "plain"]) == before + 4)

        let kept = try server.invoke("errors", failing)
        let again = try server.invoke("errors", failing)
        #expect(again["X-Amz-Function-Error"] == "Unhandled" && memo(again) == "hit" && again.body == kept.body, "\(again)")
        #expect(try post("/errors/", failing).status == 502 && memo(post("/errors/", failing)) == "hit")
        let late = try server.invoke("errors", #"{"sleep":5}"#)
        #expect(late.text.contains("Sandbox.Timedout") && memo(late) == "miss" && late["Cache-Status"] == "hearth; fwd=miss", "\(late)")
    }

    /// 7.4.35, 7.4.41, 7.2.12 to 7.2.14.
    @Test func anAnswerSaysItselfWhetherAndForHowLongItIsKept() throws {
        let never = ["no-store", "private", "no-cache", "max-age=0", "s-maxage=0, max-age=60", "max-age=x", "public, NO-STORE"]
        for control in never { #expect(try !isKept("/shared/c", answering(["cache-control": control])), "\(control)") }
        for control in ["max-age=60", "public", "s-maxage=\"60\", max-age=0", "max-age=60, max-age=0"] {
            #expect(try isKept("/shared/c", answering(["Cache-Control": control])), "\(control)")
        }
        // Only what says so, where the manifest's ttl is 0.
        #expect(try !isKept("/asked/", answering([:])) && isKept("/asked/", answering(["Cache-Control": "max-age=60"])))
        #expect(try isKept("/asked/", answering(["Hearth-Cache-Control": "max-age=60", "Cache-Control": "no-store"])), "the targeted field wins (RFC 9213)")
        #expect(try !isKept("/shared/c", answering(["Hearth-Cache-Control": "no-store", "Cache-Control": "max-age=60"])))
        let body = try answering(["Cache-Control": "max-age=30"])
        _ = try post("/shared/ttl", body)
        let hit = try post("/shared/ttl", body)
        #expect(hit["Cache-Status"]?.wholeMatch(of: /hearth; hit; ttl=2[0-9]/) != nil && hit["Cache-Control"] == "max-age=30", "\(hit)")
        for (status, kept) in [(200, true), (301, true), (206, false), (404, false), (500, false)] {
            #expect(try isKept("/shared/s", answering([:], status: status)) == kept, "\(status)")
        }
        let unchanged = try answering([:], status: 304)
        #expect(try memo(post("/shared/s", unchanged)) == "miss" && memo(post("/shared/s", unchanged)) == "miss", "the answer to a condition")
        #expect(try isKept("/shared/s", answering(["Cache-Control": "max-age=9"], status: 404)) && isKept("/errors/s", answering([:], status: 404)))
        #expect(try !isKept("/shared/k", answering([:], more: ["cookies": ["a=1"]])) && !isKept("/shared/k", answering(["Set-Cookie": "a=1"])))
        #expect(try isKept("/shared/k", answering(["Set-Cookie": "a=1", "Cache-Control": "public"])))
        #expect(try !isKept("/shared/v", answering(["Vary": "Accept-Language"])) && !isKept("/shared/v", answering(["Vary": "*"])))
        #expect(try isKept("/plain/v", answering(["Vary": "Cookie, authorization"])) && isKept("/tenant/v", answering(["vary": "x-tenant"])))
        #expect(try !isKept("/small/", "{}"), "a larger one is not kept")
        #expect(try isKept("/shared/d", #"{"run":1}"#), "data is no response")
    }

    /// RFC 5861 §3; reference moonshot 5: the one who finds it stale does not wait.
    @Test func aStaleResultIsServedWhileOneInvocationMakesTheNewOne() throws {
        let server = try server()
        let event = #"{"sleep":0.2,"n":1}"#
        let first = try server.invoke("stale", event)
        let stale = try waitFor("the result to be stale") {
            let answer = try server.invoke("stale", event)
            #expect(answer.body == first.body)
            return memo(answer) == "stale" ? answer : nil
        }
        #expect(stale["Cache-Status"]?.wholeMatch(of: /hearth; hit; ttl=-?0/) != nil && stale["Server-Timing"]?.contains("run;dur=0.00") == true, "\(stale)")
        let fresh = try waitFor("the refresh") {
            let answer = try server.invoke("stale", event)
            return answer.body == first.body ? nil : answer
        }
        #expect(["hit", "stale"].contains(memo(fresh)), "\(fresh)")
        #expect(try server.metric("hearth_cache_refreshes_total", ["namespace": "memo"]) >= 1)
    }

    @Test func badSettingsAreRefusedWithFileAndLineAndByTheAPI() throws {
        let server = try server()
        let cases = [
            ("ttl = -1", "function.toml:4: memoize.ttl = -1 is impossible"), ("key = \"raw\"", "function.toml:4: memoize.ttl is missing"),
            ("ttl = 5\nkey = \"xml\"", "function.toml:5: memoize.key = \"xml\" is not known: use raw, jcs or jmespath:EXPRESSION"),
            ("ttl = 5\nkey = \"jmespath:a[*]\"", "function.toml:5: memoize.key = \"jmespath:a[*]\" is no expression that selects: wildcards"),
            ("ttl = 5\nidentity = \"a b\"", "function.toml:5: memoize.identity"), ("ttl = 5\naudit = 2", "function.toml:5: memoize.audit = 2.0 is impossible"),
            ("ttl = 5\nerrors = 3601", "function.toml:5: memoize.errors = 3601 is impossible"), ("ttl = 5\nmax_bytes = 0", "function.toml:5: memoize.max_bytes"),
            ("ttl = 5\ntll = 6", "unknown key memoize.tll"),
        ]
        for (lines, why) in cases {
            let result = try server.deployment(.python("bad", Self.unique, manifest: "[memoize]\n\(lines)"))
            #expect(result.code == 1 && result.err.contains(why), "\(lines): \(result)")
        }
        for (memoize, why) in [
            (#"{"ttl":5,"key":"jmespath:a |"}"#, "hearthCache.memoize.key"), (#"{"ttl":-5}"#, "hearthCache.memoize.ttl"),
            (#"{"ttl":5,"audit":1.5}"#, "hearthCache.memoize.audit"), (#"{"ttl":5,"identity":"a b"}"#, "hearthCache.memoize.identity"),
        ] {
            let answer = try server.call("PUT", "/2015-03-31/functions/unmemoized/configuration", body: #"{"HearthCache":{"memoize":\#(memoize)}}"#)
            #expect(answer.status == 400 && answer.text.contains(why), "\(answer)")
        }
        #expect(try memo(server.get("/unmemoized/")) == "none", "a refused change changes nothing")
    }
}
