import Foundation
import TestSupport
import Testing

/// Cached routes of function URLs, in the manner of API Gateway: reference 7.3.
@Suite struct RouteTests {
    private static let source = """
        import json, time
        def handler(event, context):
            query = event.get("queryStringParameters") or {}
            headers = json.loads(query.get("headers", "{}"))
            if "raise" in query: raise ValueError("no")
            return {"statusCode": int(query.get("status", "200")), "headers": headers, "body": str(time.time_ns())}
        """

    static let server = Result {
        try HearthProcess(functions: [
            .python(
                "shop", source,
                manifest: """
                    [[route]]
                    path = "/all/*"

                    [[route]]
                    path = "/items/{id}"
                    key = ["path.id", "query.page", "header.Accept-Language"]
                    methods = ["GET", "POST"]
                    identity = "none"
                    unauthorized = "fail"

                    [[route]]
                    path = "/silent"
                    unauthorized = "ignore"

                    [[route]]
                    path = "/off/*"
                    ttl = 0

                    [[route]]
                    path = "/short"
                    ttl = 1
                    """),
            .python("both", source, manifest: "[memoize]\nttl = 600\n[[route]]\npath = \"/route\"\nttl = 100"),
        ])
    }

    private func server() throws -> HearthProcess { try Self.server.get() }

    private func get(_ target: String, _ headers: [(String, String)] = [], method: String = "GET", body: String = "") throws -> WireResponse {
        try server().request(method, target, headers: headers, body: Array(body.utf8))
    }

    private func memo(_ answer: WireResponse) -> String { (answer["X-Hearth-Memo"] ?? "none").prefix { $0 != ";" }.description }

    private func same(_ a: (String, [(String, String)]), _ b: (String, [(String, String)]), method: String = "GET") throws -> Bool {
        let (first, second) = (try get(a.0, a.1, method: method), try get(b.0, b.1, method: method))
        #expect(first.status == 200 && second.status == 200 && (first.body != second.body || memo(second) == "hit"), "\(first)\n\(second)")
        return first.body == second.body
    }

    /// 7.3.26 to 7.3.28, 7.3.34.
    @Test func aRoutesKeyIsPathAndWholeQueryOrExactlyWhatItLists() throws {
        #expect(try same(("/shop/all/a?x=1", []), ("/shop/all/a?x=1", [("Accept-Language", "de")])))
        #expect(try !same(("/shop/all/a?x=1", []), ("/shop/all/a?x=2", [])) && !same(("/shop/all/a", []), ("/shop/all/b", [])))
        #expect(try !same(("/shop/all/a", []), ("/shop/all/a", [("Cookie", "s=1")])) && !same(("/shop/all/a", []), ("/shop/all/a", [("Authorization", "x")])))
        #expect(try same(("/shop/items/7?page=1&x=1", [("Cookie", "s=1")]), ("/shop/items/7?x=2&p%61ge=%31", [])))
        #expect(try !same(("/shop/items/7?page=1", []), ("/shop/items/8?page=1", [])) && !same(("/shop/items/7?page=1", []), ("/shop/items/7?page=2", [])))
        #expect(try !same(("/shop/items/7?page=1&page=2", []), ("/shop/items/7?page=2&page=1", [])))
        #expect(try !same(("/shop/items/7", [("Accept-Language", "de")]), ("/shop/items/7", [("Accept-Language", "en")])))
        #expect(try same(("/shop/items/9", [("accept-language", "de")]), ("/shop/items/9", [("Accept-Language", "de")])))
        #expect(try get("/shop/items/7").body != get("/shop/items/7", method: "POST").body)
        let posted = try get("/shop/items/7", method: "POST", body: "a")
        #expect(try get("/shop/items/7", method: "POST", body: "a").body == posted.body && get("/shop/items/7", method: "POST", body: "b").body != posted.body)
        for target in ["/shop/items/7/more", "/shop/items/", "/shop/items", "/shop/other", "/shop/all"] {
            #expect(try memo(get(target)) == "none", "\(target): no route means it")
        }
        #expect(try memo(get("/shop/all/a", method: "POST")) == "none" && memo(get("/shop/all/a", method: "HEAD")) == "none")
        let off = try get("/shop/off/a")
        #expect(off["Cache-Status"] == "hearth; fwd=bypass; detail=route-off", "\(off)")
        let hit = try get("/shop/all/a?x=1")
        #expect(hit["Cache-Status"]?.wholeMatch(of: /hearth; hit; ttl=2[0-9][0-9]/) != nil, "300 seconds, a little less: \(hit)")
        #expect(try get("/both/route").body != get("/both/other").body && memo(get("/both/other")) == "hit" && memo(get("/both/route")) == "hit")
    }

    /// 7.3.30, 7.3.31; and 7.1.6.
    @Test func theRoutesLifetimeStandsAboveTheAnswersButWhatIsPrivateIsNotKept() throws {
        func isKept(_ query: String) throws -> Bool {
            let target = "/shop/all/kept?\(query)&n=\(UUID())"
            return try get(target).body == get(target).body
        }
        func headers(_ object: [String: String]) throws -> String {
            "headers=" + (try eventText(object).addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")
        }
        for control in ["max-age=0", "max-age=1000000", "public"] { #expect(try isKept(headers(["Cache-Control": control])), "\(control)") }
        for control in ["no-store", "private", "no-cache"] { #expect(try !isKept(headers(["Cache-Control": control])), "\(control)") }
        #expect(try !isKept(headers(["Vary": "Accept"])) && isKept(headers(["Vary": "Cookie"])) && !isKept(headers(["Set-Cookie": "a=1"])))
        for (status, kept) in [(200, true), (201, true), (299, true), (206, false), (301, false), (404, false), (500, false)] {
            #expect(try isKept("status=\(status)") == kept, "\(status)")
        }
        #expect(try get("/shop/all/e?raise=1").status == 502 && memo(get("/shop/all/e?raise=1")) == "miss")
        let short = try get("/shop/short")
        _ = try waitFor("a second to pass") { try get("/shop/short").body == short.body ? nil : () }
        // The answer's own tag purges it.
        let tagged = "/shop/all/tag?" + (try headers(["Cache-Tag": "shelf"]))
        let known = try get(tagged)
        #expect(try get(tagged).body == known.body && server().command(["cache", "purge", "--tag", "shelf"]).code == 0 && get(tagged).body != known.body)
    }

    @Test func explainTellsOfARequestByWhichRouteAndPartsItIsKnownAndWhatItWouldFind() throws {
        func explain(_ arguments: String...) throws -> String { try server().command(["cache", "explain"] + arguments).out }
        func has(_ text: String, _ lines: String...) -> [String] { lines.filter { !text.contains($0) }.map { "\($0) is not in \(text)" } }
        let target = "/shop/items/explained?page=3&x=1"
        let german = ["-H", "Accept-Language: de"]
        let before = try explain(target, german[0], german[1])
        #expect(
            has(
                before, "would      run: it has not been stored", "function   shop, version 1, route /items/{id}, ttl 300 s", "key part   path.id: explained",
                "key part   query.page: 3", "key part   header.accept-language: de", "key part   caller: all callers share it", "absent, in route") == [])
        let answer = try get(target, [("Accept-Language", "de")])
        let after = try explain("http://127.0.0.1:1\(target)", german[0], german[1])
        #expect(memo(answer) == "miss" && has(after, "would      hit: it is fresh", "entry      fresh, in route", "fresh for 2", "route:shop/items/{id}") == [])
        #expect(try has(explain(target), "would      run: it has not", "header.accept-language: none") == [], "another language is another key")
        #expect(try has(explain(target, "-H", "Cache-Control: max-age=0"), "would      403: it asks for a new answer and is not signed") == [])
        #expect(try has(explain("/shop/items/1", "-d", "\"a\""), "key part   method: POST", "key part   body: \"a\"") == [])
        #expect(try has(explain("/shop/all/a", "-H", "Cookie: secret"), "caller: by Cookie") == [] && !explain("/shop/all/a", "-H", "Cookie: secret").contains("secret"))
        #expect(try has(explain("/shop/off/a"), "would      run: the ttl of its route is 0") == [] && has(explain("/shop/other"), "run: no route means") == [])
        #expect(try has(explain("/both/some?x=1", "-X", "DELETE"), "run: its method asks for more than an answer") == [])
        _ = try get("/both/some?x=1")
        let memoized = try explain("/both/some?x=1")
        #expect(has(memoized, "hit: it is fresh", "in memo", "key part   path: /some", "key part   query: x=1", "without Authorization and Cookie") == [])
        let unknown = try server().command(["cache", "explain", "/none/x"])
        #expect(unknown.code == 1 && unknown.err.contains("no function named 'none'"), "\(unknown)")
        #expect(try server().command(["cache", "explain", "/shop/a b"]).code == 1 && memo(get(target, [("Accept-Language", "de")])) == "hit")
    }

    /// 7.3.29 and API Gateway's three behaviours for the unauthorised.
    @Test func aSignedRequestMakesAnEntryAnewAndOthersMeetTheRoutesBehaviour() throws {
        let server = try server()
        let ask = [("Cache-Control", "max-age=0")]
        func signed(_ path: String) throws -> WireResponse { try server.call("GET", path, headers: ask, at: server.front) }
        let first = try get("/shop/all/r")
        let warned = try get("/shop/all/r", ask)
        #expect(warned.body == first.body && warned["Warning"] == #"199 hearth "Cache-Control was ignored: the request is not signed""#, "\(warned)")
        #expect(try get("/shop/all/r").headers.contains { $0.name == "Warning" } == false)
        let anew = try signed("/shop/all/r")
        #expect(anew.status == 200 && anew.body != first.body && memo(anew) == "miss" && anew["Cache-Status"] == "hearth; fwd=miss; stored", "\(anew)")
        #expect(try get("/shop/all/r").body == anew.body, "for those who send no Authorization")
        let other = try get("/shop/all/r?other=1")
        _ = try signed("/shop/all/r")
        #expect(try get("/shop/all/r?other=1").body == other.body, "one key, not the route")
        for control in ["max-age=0", "no-cache", "public, MAX-AGE=0 "] {
            let refused = try get("/shop/items/1", [("Cache-Control", control)])
            #expect(refused.status == 403 && refused.text.contains("signed with the credentials"), "\(refused)")
        }
        #expect(try get("/shop/items/1", [("Cache-Control", "max-age=1, no-transform")]).status == 200)
        let silent = try get("/shop/silent")
        let ignored = try get("/shop/silent", ask)
        #expect(ignored.body == silent.body && ignored["Warning"] == nil && memo(ignored) == "hit", "\(ignored)")
        // A signature that is none is no leave.
        let forged = try get("/shop/items/1", ask + [("Authorization", "AWS4-HMAC-SHA256 Credential=x/20261125/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0")])
        #expect(forged.status == 403, "\(forged)")
        // A miss with a warning carries it too.
        #expect(try get("/shop/all/cold-\(UUID())", ask)["Warning"] != nil)
    }

    /// 7.3.32.
    @Test func aRouteIsFlushedByFunctionRouteAndKeyAndCounted() throws {
        let server = try HearthProcess(functions: [
            .python("shop", Self.source, manifest: "[[route]]\npath = \"/a/*\"\n[[route]]\npath = \"/b\"")
        ])
        func body(_ target: String) throws -> String { try server.get(target).text }
        let (a, b) = try (body("/shop/a/1"), body("/shop/b"))
        #expect(try body("/shop/a/1") == a && body("/shop/b") == b)
        #expect(try server.metric("hearth_route_cache_hits_total", ["route": "/a/*"]) == 1 && server.metric("hearth_route_cache_misses_total", ["route": "/a/*"]) == 1)
        func purge(_ arguments: String...) throws { #expect(try server.command(["cache", "purge"] + arguments).code == 0, "\(arguments)") }
        try purge("--function", "shop", "--route", "/a/*")
        let second = try body("/shop/a/1")
        #expect(try second != a && body("/shop/b") == b)
        try purge("--function", "shop:live")
        #expect(try body("/shop/a/1") != second && body("/shop/b") != b)
        let third = try body("/shop/b")
        try purge("--function", "shop")
        #expect(try body("/shop/b") != third)
        #expect(try server.command(["cache", "purge", "--function", "shop", "--route", "/c"]).err.contains("no route /c") && server.command(["cache", "purge", "--route", "/a"]).code == 2)
        let stats = try server.command(["cache", "stats"]).out
        #expect(stats.contains("shop /a/*: 1 hits, 3 misses") && stats.contains("shop /b: 3 hits, 3 misses"), "\(stats)")
        let described = try server.command(["cache", "stats", "--json"]).out
        #expect(described.contains(#""namespace":"route""#), "\(described)")
        // A deployment never serves what another version made (the key holds the digest).
        let known = try body("/shop/b")
        try server.deploy(.python("shop", Self.source + "\n# changed\n", manifest: "[[route]]\npath = \"/a/*\"\n[[route]]\npath = \"/b\""))
        #expect(try body("/shop/b") != known)
        #expect(try server.command(["rollback", "shop"]).code == 0 && body("/shop/b") == known)
        #expect(try server.metric("hearth_route_cache_hits_total", ["route": "/b"]) >= 3, "counts outlive versions")
    }

    @Test func badRoutesAreRefusedWithFileAndLineAndByTheAPI() throws {
        let server = try server()
        let cases = [
            ("[[route]]\nttl = 5", "function.toml:3: route.path is missing"), ("[[route]]\npath = \"items\"", "function.toml:4: route.path = \"items\" begins without a slash"),
            ("[[route]]\npath = \"/a\"\n\n[[route]]\npath = \"/b\"\nttl = 3601", "function.toml:8: route.ttl = 3601 is impossible"),
            ("[[route]]\npath = \"/*/b\"", "goes on behind *"), ("[[route]]\npath = \"/a{b}\"", "stand alone"), ("[[route]]\npath = \"/{a}/{a}\"", "is there twice"),
            ("[[route]]\npath = \"/a\"\nkey = [\"path.id\"]", "function.toml:5: route.key names path.id, but \"/a\" has no such {parameter}"),
            ("[[route]]\npath = \"/a\"\nkey = [\"body\"]", "use path, path.NAME, query"), ("[[route]]\npath = \"/a\"\nkey = \"path\"", "function.toml:5: route.key must be a list"),
            ("[[route]]\npath = \"/a\"\nunauthorized = \"maybe\"", "function.toml:5: route.unauthorized = \"maybe\" is not known"),
            ("[[route]]\npath = \"/a\"\nmethods = []", "route.methods must be methods"), ("[route]\npath = \"/a\"", "must be written [[route]]"),
            ("[[route]]\npath = \"/a\"\ntll = 5", "unknown key route.tll"),
        ]
        for (lines, why) in cases {
            let result = try server.deployment(.python("bad", Self.source, manifest: lines))
            #expect(result.code == 1 && result.err.contains(why), "\(lines): \(result)")
        }
        let good = #"{"path":"/a","methods":["GET"],"ttl":5,"key":["path"],"identity":"none","unauthorized":"fail"}"#
        for (text, with, why) in [("\"/a\"", "\"a\"", "routes.path"), ("5", "5000", "routes.ttl"), ("[\"path\"]", "[\"x\"]", "routes.key"), ("\"fail\"", "\"x\"", "routes.unauthorized"), ("\"none\"", "\"x\"", "routes.identity")] {
            let body = #"{"HearthCache":{"routes":[\#(good.replacingOccurrences(of: text, with: with))]}}"#
            let answer = try server.call("PUT", "/2015-03-31/functions/both/configuration", body: body)
            #expect(answer.status == 400 && answer.text.contains("hearthCache.\(why)"), "\(answer)")
        }
    }
}
