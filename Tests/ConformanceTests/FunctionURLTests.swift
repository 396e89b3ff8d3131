import Foundation
import TestSupport
import Testing

/// Function URLs on the front listener: Lambda's payload format 2.0 both ways.
@Suite struct FunctionURLTests {
    static let server = Result {
        try HearthProcess(functions: [
            .python("event", "def handler(event, context):\n    return event"),
            // Answers with whatever the body says, as a handler of that result would.
            .python(
                "answer",
                """
                import json
                def handler(event, context):
                    if event['rawPath'] == '/raise': raise ValueError('the reason is secret')
                    if event['rawPath'] == '/large': return 'x' * 6_300_000
                    return json.loads(event['body'])
                """),
            TestFunction(
                "raw",
                files: [
                    "function.toml": "runtime = \"provided\"\n",
                    // Answers something that is no JSON.
                    "bootstrap": """
                        #!/bin/sh
                        api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
                        while :; do
                            id=$(curl -s -D - -o /dev/null "$api/next" | tr -d '\\r' | sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: //p')
                            curl -s -o /dev/null --data-binary '<not json>' "$api/$id/response"
                        done
                        """,
                ]),
        ])
    }

    private func server() throws -> HearthProcess { try Self.server.get() }

    private func answer(_ result: String, method: String = "POST") throws -> WireResponse {
        try server().request(method, "/answer/", headers: [("Content-Type", "application/json")], body: Array(result.utf8))
    }

    @Test func aRequestBecomesAnEventOfFormat2() throws {
        let server = try server()
        let answer = try server.request(
            "PUT", "/event/a%20b/c%2Fd/?x=1&y=%C3%A4+b&x=two%2Cthree&empty=&flag&%26=%3D",
            headers: [
                ("X-Case", "Kept As Is"), ("X-Twice", "one"), ("x-twice", "two"), ("Cookie", "a=1; b=2"), ("Cookie", "c=\"3\""),
                ("User-Agent", "test/1"), ("Content-Type", "text/plain; charset=utf-8"), ("X-Forwarded-For", "6.6.6.6"),
                ("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793"), ("X-Quote", "say \"hi\" \\"),
            ], body: Array("grüße\n\"".utf8))
        #expect(answer.status == 200 && answer["content-type"] == "application/json", "\(answer)")
        let event = answer.object
        #expect(event["version"] as? String == "2.0" && event["routeKey"] as? String == "$default")
        #expect(event["rawPath"] as? String == "/a%20b/c%2Fd/")
        #expect(event["rawQueryString"] as? String == "x=1&y=%C3%A4+b&x=two%2Cthree&empty=&flag&%26=%3D")
        #expect(
            event["queryStringParameters"] as? [String: String] == [
                "x": "1,two,three", "y": "ä b", "empty": "", "flag": "", "&": "=",
            ])
        #expect(event["cookies"] as? [String] == ["a=1", "b=2", "c=\"3\""])
        #expect(event["body"] as? String == "grüße\n\"" && event["isBase64Encoded"] as? Bool == false)
        let headers = try #require(event["headers"] as? [String: String])
        #expect(headers["x-case"] == "Kept As Is" && headers["x-twice"] == "one,two" && headers["x-quote"] == "say \"hi\" \\")
        #expect(headers["cookie"] == nil && headers["host"] == server.front && headers["content-length"] == "9")
        #expect(headers["x-forwarded-for"] == "127.0.0.1" && headers["x-forwarded-proto"] == "http", "a client cannot claim another address")
        #expect(headers["x-forwarded-port"] == server.front.split(separator: ":").last.map(String.init))
        #expect(headers["x-amzn-trace-id"]?.hasPrefix("Root=1-5759e988-bd862e3fe1be46a994272793") == true)
        #expect(headers.keys.allSatisfy { $0 == $0.lowercased() })
        let context = try #require(event["requestContext"] as? [String: Any])
        let http = try #require(context["http"] as? [String: String])
        #expect(
            http == [
                "method": "PUT", "path": "/a%20b/c%2Fd/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test/1",
            ])
        #expect(context["accountId"] as? String == "anonymous" && context["stage"] as? String == "$default" && context["routeKey"] as? String == "$default")
        #expect(context["apiId"] is String && context["domainName"] as? String == server.front && context["domainPrefix"] is String)
        #expect(context["requestId"] as? String == answer["x-amzn-requestid"])
        let time = try #require(context["time"] as? String)
        let epoch = try #require(context["timeEpoch"] as? Double)
        #expect(time.wholeMatch(of: /\d\d\/[A-Z][a-z][a-z]\/20\d\d:\d\d:\d\d:\d\d \+0000/) != nil, "\(time)")
        #expect(abs(epoch / 1000 - Date().timeIntervalSince1970) < 60)
    }

    @Test func bodiesThatAreNotTextComeInBase64AndWhatIsEmptyIsAbsent() throws {
        let server = try server()
        let bare = try server.get("/event").object
        #expect(bare["rawPath"] as? String == "/" && bare["rawQueryString"] as? String == "" && bare["isBase64Encoded"] as? Bool == false)
        for name in ["body", "cookies", "queryStringParameters"] { #expect(bare[name] == nil, "\(name)") }
        let binary: [UInt8] = [0, 255, 1, 254]
        let cases: [(String?, [UInt8], Bool)] = [
            ("application/octet-stream", binary, true), ("image/png", binary, true), (nil, binary, true),
            ("multipart/form-data; boundary=x", Array("--x--".utf8), true), ("application/x-www-form-urlencoded", Array("a=1".utf8), true),
            ("text/plain", Array("abc".utf8), false), ("application/json", Array("{}".utf8), false), ("application/xml", Array("<a/>".utf8), false),
            ("application/vnd.api+json; x=y", Array("{}".utf8), false), ("TEXT/HTML", Array("<p>".utf8), false),
            // Said to be text, but no JSON string can hold it.
            ("text/plain", binary, true),
        ]
        for (type, body, isBase64) in cases {
            let event = try server.request("POST", "/event/", headers: type.map { [("Content-Type", $0)] } ?? [], body: body).object
            let text = try #require(event["body"] as? String, "\(type ?? "no type")")
            let told = isBase64 ? Data(base64Encoded: text).map(Array.init) : Array(text.utf8)
            #expect(event["isBase64Encoded"] as? Bool == isBase64 && told == body, "\(type ?? "no type"): \(event)")
        }
    }

    /// As recorded from AWS on 2025-11-24; a string goes out without its quotes.
    @Test func anyJSONValueIsTheBodyOfA200() throws {
        let cases = [
            (#"{"hello": "world"}"#, #"{"hello":"world"}"#), (#"["hello", 3, true]"#, #"["hello",3,true]"#), (#""hel\"lo""#, #"hel"lo"#), ("3", "3"),
            ("3.1", "3.1"), ("true", "true"), ("null", "null"), ("{}", "{}"), (#"{"body": "x"}"#, #"{"body":"x"}"#), (#""""#, ""), (#""ä€""#, "ä€"),
        ]
        for (result, body) in cases {
            let answer = try answer(result)
            let isSame = answer.text == body || answer.text.replacingOccurrences(of: " ", with: "") == body
            #expect(answer.status == 200 && answer["content-type"] == "application/json" && isSame, "\(result): \(answer)")
        }
    }

    @Test func anObjectWithStatusCodeBecomesTheResponse() throws {
        let full = try answer(
            """
            {"statusCode": 201, "headers": {"Content-Type": "text/html; charset=utf-8", "X-Number": 3, "X-Flag": true, "X-Text": "grüße"},
             "cookies": ["a=1; HttpOnly", "b=2"], "body": "<p>hi</p>"}
            """)
        #expect(full.status == 201 && full["content-type"] == "text/html; charset=utf-8" && full.text == "<p>hi</p>", "\(full)")
        #expect(full["x-number"] == "3" && full["x-flag"] == "true" && full["x-text"] == "grüße")
        #expect(full.headers.filter { $0.name.lowercased() == "set-cookie" }.map(\.value) == ["a=1; HttpOnly", "b=2"])
        let binary = try answer(#"{"statusCode": 200, "headers": {"content-type": "image/png"}, "isBase64Encoded": true, "body": "AP8B/g=="}"#)
        #expect(binary.body == [0, 255, 1, 254] && binary["content-type"] == "image/png" && binary["content-length"] == "4")
        // Recorded: without a type of its own the answer is JSON; the number may stand in quotes; the body may be a JSON value.
        let plain = try answer(#"{"statusCode": "404", "body": "body123"}"#)
        #expect(plain.status == 404 && plain.text == "body123" && plain["content-type"] == "application/json")
        let nested = try answer(#"{"statusCode": 200, "body": {"hello":"world"}}"#)
        #expect(nested.object["hello"] as? String == "world")
        for status in [204, 304] {
            let none = try answer(#"{"statusCode": \#(status), "headers": {"ETag": "\"x\""}, "body": "must not be sent"}"#)
            #expect(none.status == status && none["content-length"] == nil && none["etag"] == "\"x\"" && none.body.isEmpty, "\(none)")
        }
        let wire = try Wire(server().front)
        try wire.send("POST /answer/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"statusCode\": 204}")
        try wire.send("GET /event/next HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try wire.response().status == 204)
        #expect(try wire.response().object["rawPath"] as? String == "/next", "nothing of a body stands between")
    }

    @Test func everyResponseOfAFunctionTellsItsVersionTimesAndStart() throws {
        let server = try server()
        for (path, status) in [("/event/", 200), ("/answer/raise", 502)] {
            let answer = try server.get(path)
            #expect(answer.status == status)
            #expect(answer["x-amzn-requestid"]?.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/) != nil)
            #expect(answer["x-amz-executed-version"] == "1" && ["warm", "provisioned", "exec", "fork"].contains(answer["x-hearth-start"]))
            let timing = try #require(answer["server-timing"])
            #expect(timing.wholeMatch(of: /queue;dur=\d+\.\d+, init;dur=\d+\.\d+, run;dur=\d+\.\d+/) != nil, "\(timing)")
            let log = try server.command(["logs", path.split(separator: "/").first.map(String.init) ?? ""])
            #expect(log.out.contains("END RequestId: \(answer["x-amzn-requestid"] ?? "?")"), "the same id stands in the log")
        }
    }

    @Test func whatIsNoAnswerBecomes502AndTellsNothing() throws {
        let server = try server()
        let bad = [
            #"{"statusCode": 99}"#, #"{"statusCode": 600}"#, #"{"statusCode": 100}"#, #"{"statusCode": "2xx"}"#, #"{"statusCode": null}"#, #"{"statusCode": 20.5}"#,
            #"{"statusCode": 200, "isBase64Encoded": true, "body": "!!"}"#, #"{"statusCode": 200, "isBase64Encoded": true, "body": {}}"#,
            #"{"statusCode": 200, "headers": "x"}"#, #"{"statusCode": 200, "headers": {"X-A": {"b": 1}}}"#, #"{"statusCode": 200, "headers": {"X A": "1"}}"#,
            #"{"statusCode": 200, "cookies": "a=1"}"#,
            // Injection: no field may end another.
            #"{"statusCode": 200, "headers": {"X-A": "1\r\nSet-Cookie: stolen=1"}}"#, #"{"statusCode": 200, "headers": {"X-A": "1\nX-B: 2"}}"#,
            #"{"statusCode": 200, "headers": {"X-A\r\nX-B": "1"}}"#, #"{"statusCode": 200, "headers": {"X-A": "a\u0000b"}}"#,
            #"{"statusCode": 200, "cookies": ["a=1\r\n\r\n<script>"]}"#, #"{"statusCode": 200, "headers": {"": "1"}}"#,
        ]
        for result in bad {
            let answer = try answer(result)
            #expect(answer.status == 502 && answer.text == "Internal Server Error", "\(result): \(answer)")
            #expect(answer["set-cookie"] == nil && answer["x-b"] == nil)
        }
        // Fields of the connection are not the function's to set, and are left out.
        let framing = try answer(
            #"{"statusCode": 200, "headers": {"Content-Length": "3", "Transfer-Encoding": "chunked", "Connection": "close", "X-A": "1"}, "body": "hello"}"#)
        #expect(framing.status == 200 && framing.text == "hello" && framing["content-length"] == "5" && framing["transfer-encoding"] == nil && framing["x-a"] == "1")
        let raised = try server.get("/answer/raise")
        #expect(raised.status == 502 && raised.text == "Internal Server Error" && !raised.description.contains("secret"))
        #expect(try server.command(["logs", "answer"]).out.contains("the reason is secret"), "its author is told")
        #expect(try server.get("/answer/large").status == 502)
        let raw = try server.get("/raw/")
        #expect(raw.status == 200 && raw.text == "<not json>", "\(raw)")
    }

    @Test func unknownFunctionsAre404AndTheRootNamesThoseThatAre() throws {
        let server = try server()
        for path in ["/nothing", "/nothing/", "/Event/", "/event%2F", "/..", "/event.", "//event/", "/%00/"] {
            let answer = try server.get(path)
            #expect(answer.status == 404 && (answer.object["message"] as? String)?.isEmpty == false, "\(path): \(answer)")
        }
        let root = try server.get("/")
        #expect(root.status == 200 && root.object["functions"] as? [String] == ["/answer/", "/event/", "/raw/"], "\(root)")
        // Percent-encoding does not hide a name, and a query may follow it at once.
        #expect(try server.get("/event?x=1").object["rawQueryString"] as? String == "x=1")
    }

    @Test func theFunctionsOfTheRepositoryAnswer() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../functions").standardizedFileURL.path
        let server = try HearthProcess(arguments: ["--functions", sources], readySeconds: 600)
        #expect(try server.get("/hello/?name=Ada").text.contains("Ada"))
        let count = try server.request("POST", "/wordcount/", headers: [("Content-Type", "text/plain")], body: Array("to be or not to be".utf8))
        #expect(count.status == 200 && count.object["words"] as? Int == 6, "\(count)")
        let page = try server.request("POST", "/markdown/", headers: [("Content-Type", "text/markdown")], body: Array("# Title\n\n*em*".utf8))
        #expect(page["content-type"]?.hasPrefix("text/html") == true && page.text.contains("<h1>Title</h1>") && page.text.contains("<em>em</em>"), "\(page)")
        #expect(try server.get("/primes/?n=60").text == #"{"n":60,"isPrime":false,"factors":[2,2,3,5]}"#)
        let machine = try server.get("/system/")
        #expect(machine.status == 200 && machine.object["kernel"] is String, "\(machine)")
    }
}
