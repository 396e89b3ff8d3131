import Foundation
import TestSupport
import Testing

/// Answers that come in pieces, over a function URL: by Python generators, Node's streaming handlers and a bootstrap.
@Suite struct StreamTests {
    private static let python = #"""
        import time

        def handler(event, context):
            kind = event.get("kind") or event.get("rawPath", "/").strip("/")
            return globals()[kind]()

        def slow():
            yield {"statusCode": 201, "headers": {"content-type": "text/plain", "x-own": "yes"}, "cookies": ["a=1", "b=2"]}
            yield "first "
            time.sleep(1.5)
            yield b"last"

        def plain():
            yield b"\x00\x01"
            yield "é"

        def nothing():
            yield from ()

        def breaks():
            yield {"statusCode": 200}
            yield "begun"
            raise ValueError("in the midst")

        def early():
            raise ValueError("before the first piece")
            yield ""

        def odd():
            yield {"statusCode": 200, "headers": {"bad name": "x"}}
            yield "never seen"

        def empty():
            yield {"statusCode": 204}
            yield "never sent"

        def long():
            for number in range(80):
                yield bytes(65536)

        def wide():
            for number in range(320):
                yield bytes([number % 251]) * 65536
        """#

    private static let node = #"""
        const { pipeline } = require('node:stream/promises');
        const { Readable } = require('node:stream');
        exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
          const kind = event.kind ?? event.rawPath.slice(1);
          if (kind === 'http') {
            stream = awslambda.HttpResponseStream.from(stream, { statusCode: 418, headers: { 'x-own': context.functionName }, cookies: ['a=1'] });
            stream.write('one ');
            await new Promise((resolve) => setTimeout(resolve, 20));
            stream.write('two');
            return stream.end();
          }
          if (kind === 'pipe') return pipeline(Readable.from(['a', 'b', 'c']), stream);
          if (kind === 'typed') { stream.setContentType('text/csv'); stream.write('a,b'); return stream.end(); }
          stream.write('begun');
          throw new RangeError('in the midst');
        });
        """#

    private static let shell = #"""
        #!/usr/bin/env bash
        api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
        headers=$(mktemp)
        while true; do
            event=$(curl -sS --fail -D "$headers" "$api/invocation/next") || exit 1
            id=$(tr -d '\r' <"$headers" | awk 'tolower($1) == "lambda-runtime-aws-request-id:" { print $2 }')
            head="POST /2018-06-01/runtime/invocation/$id/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            exec 5<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
            case "$event" in
                *good*) printf "${head}Lambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/plain\r\n\r\n4\r\none \r\n" >&5
                    sleep 1; printf '3\r\ntwo\r\n0\r\n\r\n' >&5 ;;
                *trailers*) error=$(printf '{"errorType":"My.Error","errorMessage":"mine"}' | base64 -w0)
                    printf "${head}Content-Type: application/octet-stream\r\n\r\n5\r\nbegun\r\n0\r\nLambda-Runtime-Function-Error-Type: My.Error\r\nLambda-Runtime-Function-Error-Body: $error\r\n\r\n" >&5 ;;
                *broken*) printf "${head}Content-Type: application/octet-stream\r\n\r\n5\r\nbegun\r\nzz\r\n" >&5 ;;
                *mode*) printf "${head}Lambda-Runtime-Function-Response-Mode: other\r\n\r\n1\r\n1\r\n0\r\n\r\n" >&5
                    read -r _ status _ <&5; exec 5<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
                    printf "${head}\r\n3\r\n$status\r\n0\r\n\r\n" >&5 ;;
                *leaves*) printf "${head}Content-Type: application/octet-stream\r\n\r\n5\r\nbegun\r\n" >&5; sleep 0.2; exit 3 ;;
            esac
            read -r _ <&5; exec 5>&-
        done
        """#

    private static let one = "[concurrency]\nprovisioned = 1\nmax = 1\n"

    /// The answer as it came, to the close of the connection.
    private static func raw(_ server: HearthProcess, _ path: String) throws -> String {
        let wire = try Wire(server.front)
        try wire.send("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return String(decoding: try wire.readToEnd(), as: UTF8.self)
    }

    @Test func whatAGeneratorYieldsLeavesAtOnce() throws {
        let server = try HearthProcess(functions: [.python("f", Self.python, manifest: Self.one)])
        let wire = try Wire(server.front)
        try wire.send("GET /f/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        try wire.wait(for: "first ")
        #expect(try server.metric("hearth_concurrent_executions", ["function": "f"]) == 1, "its handler still runs")
        let slow = try wire.response()
        #expect(slow.status == 201 && slow.text == "first last" && slow["x-own"] == "yes" && slow["content-type"] == "text/plain", "\(slow)")
        #expect(slow.headers.filter { $0.name == "Set-Cookie" }.map(\.value) == ["a=1", "b=2"])
        #expect(slow["Server-Timing"]?.contains("run") == false && slow["X-Hearth-Start"] == "provisioned", "\(slow.headers)")
        // The connection is good for more.
        try wire.send("GET /f/plain HTTP/1.1\r\nHost: x\r\n\r\nGET /f/empty HTTP/1.1\r\nHost: x\r\n\r\nHEAD /f/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        let plain = try wire.response()
        #expect(plain.body == [0, 1, 0xC3, 0xA9] && plain["content-type"] == "application/octet-stream", "\(plain)")
        #expect(try wire.response().status == 204)
        #expect(try wire.response(isHead: true).status == 201)
        let nothing = try server.get("/f/nothing")
        #expect(nothing.status == 200 && nothing.body.isEmpty, "\(nothing)")
        // Elsewhere it comes whole.
        #expect(try server.invoke("f", #"{"kind":"plain"}"#).body == [0, 1, 0xC3, 0xA9])
        #expect(try server.metric("hearth_errors_total", ["function": "f"]) == 0)
    }

    @Test func aStreamThatBreaksOffIsSeenToBeBroken() throws {
        let server = try HearthProcess(functions: [
            .python("f", Self.python, manifest: Self.one + "[environment]\nX = \"1\"\n"), .node("n", Self.node, manifest: Self.one),
            .python("t", "import time\ndef handler(e, c):\n    yield 'begun'\n    time.sleep(60)\n", manifest: "timeout = 1\n" + Self.one),
        ])
        for path in ["/f/breaks", "/n/breaks", "/t/"] {
            let text = try Self.raw(server, path)
            #expect(text.hasPrefix("HTTP/1.1 200 ") && text.hasSuffix("begun\r\n"), "\(path): \(text)")
        }
        #expect(try server.get("/f/early").status == 502)
        #expect(try server.get("/f/odd").status == 502)
        let logs = try server.logs("f")
        for part in ["ValueError: in the midst", "ValueError: before the first piece", "was answered 502: a header's name is not a token"] {
            #expect(logs.contains(part), "\(logs)")
        }
        let broken = try server.invoke("f", #"{"kind":"breaks"}"#)
        #expect(broken["X-Amz-Function-Error"] == "Unhandled" && broken.object["errorMessage"] as? String == "in the midst", "\(broken)")
        #expect(try server.metric("hearth_errors_total", ["function": "f"]) == 3)
        #expect(try server.metric("hearth_timeouts_total", ["function": "t"]) == 1)
    }

    /// 20 MiB to a reader that takes its time: the worker waits for it, and the server holds only a little.
    @Test func aSlowReaderHoldsItsHandlerBackAndOnlyThat() throws {
        let server = try HearthProcess(functions: [.python("f", Self.python, manifest: "timeout = 30\n" + Self.one)])
        #expect(try server.get("/f/plain").status == 200)
        let wire = try Wire(server.front)
        try wire.send("GET /f/wide HTTP/1.1\r\nHost: x\r\n\r\n")
        // Nobody reads: the handler comes to a stand.
        try waitFor("the handler to wait") { try server.metric("hearth_concurrent_executions", ["function": "f"]) == 1 ? () : nil }
        for _ in 0..<20 { #expect(try server.metric("hearth_concurrent_executions", ["function": "f"]) == 1) }
        let answer = try wire.response()
        #expect(answer.body.count == 320 * 65536)
        let wanted: [UInt8] = (0..<320).map { UInt8($0 % 251) }
        #expect(stride(from: 0, to: answer.body.count, by: 65536).map { answer.body[$0] } == wanted)
        #expect(stride(from: 65535, to: answer.body.count, by: 65536).map { answer.body[$0] } == wanted)
        // However its last pieces met the reader, the worker is there for the next call.
        for _ in 0..<12 {
            let late = try Wire(server.front)
            try late.send("GET /f/long HTTP/1.1\r\nHost: x\r\n\r\n")
            try late.wait(for: "200 OK")
            #expect(try late.response().body.count == 80 * 65536)
            #expect(try server.get("/f/plain").status == 200)
        }
        // A reader that goes away frees it too.
        do {
            let gone = try Wire(server.front)
            try gone.send("GET /f/wide HTTP/1.1\r\nHost: x\r\n\r\n")
            try gone.wait(for: "200 OK")
            gone.reset()
        }
        #expect(try server.get("/f/plain").status == 200)
        // Whole, it is more than an answer may have.
        let whole = try server.invoke("f", #"{"kind":"wide"}"#)
        #expect(whole.object["errorType"] as? String == "Function.ResponseSizeTooLarge", "\(whole)")
    }

    @Test func nodesStreamingHandlersStream() throws {
        let server = try HearthProcess(functions: [.node("n", Self.node, manifest: Self.one)])
        let http = try server.get("/n/http")
        #expect(http.status == 418 && http.text == "one two" && http["x-own"] == "n" && http["Set-Cookie"] == "a=1", "\(http)")
        #expect(try server.get("/n/pipe").text == "abc")
        #expect(try server.get("/n/typed")["content-type"] == "text/csv")
        #expect(try server.invoke("n", #"{"kind":"pipe"}"#).text == "abc")
        let memoized = try HearthProcess(functions: [.node("n", Self.node, manifest: Self.one + "[memoize]\nttl = 60\n")])
        for wanted in ["miss", "hit;"] {
            let answer = try memoized.get("/n/http")
            #expect(answer.status == 418 && answer.text == "one two" && answer["X-Hearth-Memo"]?.hasPrefix(wanted) == true, "\(answer)")
            let typed = try memoized.get("/n/typed")
            #expect(typed["content-type"] == "text/csv" && typed.text == "a,b" && typed["X-Hearth-Memo"]?.hasPrefix(wanted) == true, "\(typed)")
        }
    }

    @Test func aRuntimeMayStreamOverTheRuntimeAPI() throws {
        let server = try HearthProcess(functions: [
            TestFunction("b", files: ["bootstrap": Self.shell, "function.toml": "runtime = \"provided.al2023\"\ntimeout = 5\n" + Self.one])
        ])
        let wire = try Wire(server.front)
        try wire.send("GET /b/good HTTP/1.1\r\nHost: x\r\n\r\n")
        try wire.wait(for: "one ")
        #expect(try server.metric("hearth_concurrent_executions", ["function": "b"]) == 1)
        let good = try wire.response()
        #expect(good.text == "one two" && good["content-type"] == "text/plain", "\(good)")
        for path in ["/b/trailers", "/b/broken", "/b/leaves"] {
            let text = try Self.raw(server, path)
            #expect(text.hasPrefix("HTTP/1.1 200 ") && text.contains("chunked") && !text.hasSuffix("0\r\n\r\n"), "\(path): \(text)")
        }
        #expect(try server.invoke("b", #"{"kind":"trailers"}"#).object["errorType"] as? String == "My.Error")
        #expect(try server.invoke("b", #"{"kind":"broken"}"#).object["errorType"] as? String == "Runtime.TruncatedResponse")
        #expect(try server.invoke("b", #"{"kind":"mode"}"#).text == "400")
        #expect(try server.invoke("b", #"{"kind":"good"}"#).text == "one two")
    }
}
