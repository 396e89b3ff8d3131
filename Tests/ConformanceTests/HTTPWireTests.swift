import Foundation
import TestSupport
import Testing

/// HTTP/1.1 as bytes on the listeners of the running server.
@Suite struct HTTPWireTests {
    /// Small limits, so that what must time out does so within a test.
    static let server = Result {
        try HearthProcess(
            functions: [
                .python(
                    "echo",
                    """
                    import base64, time
                    def handler(event, context):
                        query = event.get('queryStringParameters') or {}
                        time.sleep(float(query.get('sleep', 0)))
                        if 'bytes' in query: return 'x' * int(query['bytes'])
                        body = event.get('body') or ''
                        if event['isBase64Encoded']: body = base64.b64decode(body).decode('latin-1')
                        return {'path': event['rawPath'], 'method': event['requestContext']['http']['method'], 'body': body,
                                'protocol': event['requestContext']['http']['protocol']}
                    """, manifest: "timeout = 20\n[concurrency]\nprovisioned = 2\nmax = 2")
            ], config: "[limits]\nhead_timeout = 2\nbody_timeout = 2\nkeep_alive = 5\nconnections = 60\n")
    }

    private func server() throws -> HearthProcess { try Self.server.get() }

    private func path(_ response: WireResponse) -> String { response.object["path"] as? String ?? "\(response)" }

    @Test func aConnectionServesManyRequestsAndAnswersPipelinedOnesInOrder() throws {
        let server = try server()
        let wire = try Wire(server.front)
        for index in 0..<3 {
            try wire.send("GET /echo/\(index) HTTP/1.1\r\nHost: x\r\n\r\n")
            let answer = try wire.response()
            #expect(answer.status == 200 && path(answer) == "/\(index)" && answer["connection"] == nil, "\(answer)")
        }
        // The first sleeps longest: answers must come in the order of the requests all the same.
        var burst = "GET /echo/a?sleep=0.2 HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        burst += "POST /echo/b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody"
        // (The echo tells the method, and HEAD is a letter longer than GET.)
        burst += "HEAD /echo/c HTTP/1.1\r\nHost: x\r\n\r\nGET /echo/d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        try wire.send(burst)
        let (a, missing, b) = (try wire.response(), try wire.response(), try wire.response())
        let (c, d) = (try wire.response(isHead: true), try wire.response())
        #expect(path(a) == "/a" && missing.status == 404 && path(b) == "/b" && b.object["body"] as? String == "body")
        #expect(c.status == 200 && c["content-length"] == "\(d.body.count + 1)" && path(d) == "/d" && d["connection"] == "close")
        #expect(try wire.isClosed())
        // The same bytes one at a time.
        let slow = try Wire(server.front)
        for byte in "POST /echo/e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".utf8 { try slow.send([byte]) }
        let e = try slow.response()
        #expect(path(e) == "/e" && e.object["body"] as? String == "hi", "\(e)")
    }

    @Test func chunkedBodiesAndExpectContinueAreUnderstood() throws {
        let server = try server()
        let wire = try Wire(server.front)
        try wire.send("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        try wire.send("5;a=\"b\"\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n")
        let answer = try wire.response()
        #expect(answer.object["body"] as? String == "hello 0123456789", "\(answer)")
        try wire.send("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        let interim = try wire.response()
        #expect(interim.status == 100 && interim.headers.isEmpty)
        try wire.send("abc")
        #expect(try wire.response().object["body"] as? String == "abc")
        // A body that will be refused is not asked for.
        try wire.send("POST /echo/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
        #expect(try wire.response().status == 413)
        #expect(try wire.isClosed())
        // An expectation that is none of HTTP's is ignored.
        let other = try Wire(server.front)
        try other.send("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 200-fine\r\nContent-Length: 3\r\n\r\nabc")
        #expect(try other.response().object["body"] as? String == "abc")
        // Answers of unknown length come in chunks; to an HTTP/1.0 client until the close.
        let log = try server.call("GET", "/_hearth/functions/echo/logs")
        #expect(log.status == 200 && log["transfer-encoding"] == "chunked" && log.text.contains("START RequestId"), "\(log)")
    }

    @Test func headHasTheFieldsOfGetAndHTTP10IsSpoken() throws {
        let server = try server()
        for (address, target) in [(server.api, "/_hearth/healthz"), (server.api, "/_hearth/readyz"), (server.front, "/echo/"), (server.front, "/no/")] {
            let wire = try Wire(address)
            try wire.send("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n")
            let get = try wire.response()
            try wire.send("HEAD \(target) HTTP/1.1\r\nHost: x\r\n\r\n")
            let head = try wire.response(isHead: true)
            // (The echo tells the method, and HEAD is a letter longer.)
            let longer = target == "/echo/" ? 1 : 0
            #expect(head.status == get.status && head["content-length"] == "\(get.body.count + longer)" && head["content-type"] == get["content-type"])
            try wire.send("GET \(target) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(try wire.response().status == get.status)
            #expect(try wire.isClosed(), "HEAD left no body behind")
        }
        let old = try Wire(server.front)
        try old.send("GET /echo/ HTTP/1.0\r\n\r\n")
        let answer = try old.response()
        #expect(answer.status == 200 && answer["connection"] == "close" && answer.object["protocol"] as? String == "HTTP/1.0", "\(answer)")
        #expect(try old.isClosed())
        let kept = try Wire(server.front)
        for _ in 0..<2 {
            try kept.send("GET /echo/ HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
            #expect(try kept.response()["connection"] == "keep-alive")
        }
        let chunked = try Wire(server.front)
        try chunked.send("POST /echo/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        #expect(try chunked.response().status == 400)
    }

    /// Each is answered once and the connection closed: nothing behind it is read (RFC 9112 §11.2, request smuggling).
    @Test(arguments: [false, true])
    func ambiguousFramingIsRefusedAndTheConnectionClosed(onAPI: Bool) throws {
        let server = try server()
        let host = "Host: x\r\n"
        let post = "POST /echo/ HTTP/1.1\r\n\(host)"
        let chunked = "\(post)Transfer-Encoding: chunked\r\n\r\n"
        let cases: [(String, Int)] = [
            ("\(post)Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400), ("\(post)Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
            ("\(post)Content-Length: 4, 4\r\n\r\nabcd", 400), ("\(post)Content-Length: +4\r\n\r\nabcd", 400), ("\(post)Content-Length: -1\r\n\r\n", 400),
            ("\(post)Content-Length: 0x4\r\n\r\nabcd", 400), ("\(post)Content-Length: 99999999999999999999\r\n\r\n", 400),
            ("\(post)Content-Length:\r\n\r\n", 400), ("\(post)Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("\(post)Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400), ("\(post)Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
            ("\(post)Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501), ("\(post)Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
            ("\(post)Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("\(post)X-A: 1\r\n folded\r\n\r\n", 400), ("\(post)X-A: 1\r\n\tfolded\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\n X-A: 1\r\n\(host)\r\n", 400),
            ("GET /echo/ HTTP/1.1\r\n\(host)X-A: a\rb\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\n\(host)\r\n", 400), ("GET /echo/ HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
            ("GET /echo/ HTTP/1.1\r\n\(host)\n\n", 400), ("GET /echo/ HTTP/1.1\r\nHost : x\r\n\r\n", 400), ("\(post)Content-Length : 4\r\n\r\nabcd", 400),
            ("GET /echo/ HTTP/1.1\r\n\(host)X A: 1\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\n\(host)X@A: 1\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\n\(host): 1\r\n\r\n", 400),
            ("GET /echo/ HTTP/1.1\r\n\(host)X-A: a\0b\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\n\(host)X-A\r\n\r\n", 400),
            ("GET /echo/ HTTP/1.1\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), ("GET /echo/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET  /echo/ HTTP/1.1\r\n\(host)\r\n", 400), ("GET /e cho/ HTTP/1.1\r\n\(host)\r\n", 400), ("GET echo HTTP/1.1\r\n\(host)\r\n", 400),
            ("GET /echo/ HTTP/2.0\r\n\(host)\r\n", 505), ("GET /echo/\r\n\r\n", 400), ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", 400),
            ("CONNECT x:80 HTTP/1.1\r\n\(host)\r\n", 501),
            ("\(chunked)x\r\n\r\n", 400), ("\(chunked)-1\r\n\r\n", 400), ("\(chunked)0x2\r\nhi\r\n0\r\n\r\n", 400), ("\(chunked)2 \r\nhi\r\n0\r\n\r\n", 400),
            ("\(chunked)2\nhi\n0\n\n", 400), ("\(chunked)2\r\nhiX\r\n0\r\n\r\n", 400), ("\(chunked)11111111111111111\r\n", 400), ("\(chunked)2\r\nhi\r\n0\r\nHost: y\r\n\r\n", 400),
        ]
        let smuggled = "GET /_hearth/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        for (request, status) in cases {
            let wire = try Wire(onAPI ? server.api : server.front)
            // (On the API listener other paths are S3's, whose bodies are judged after who sends them.)
            try wire.send((onAPI ? request.replacingOccurrences(of: "/echo/", with: "/2015-03-31/echo/") : request) + smuggled)
            let answer = try wire.response()
            #expect(answer.status == status && answer["connection"] == "close" && !answer.body.isEmpty, "\(request.debugDescription): \(answer)")
            #expect(try wire.isClosed(), "\(request.debugDescription) was followed by a second answer")
        }
    }

    @Test func whatIsTooLargeIsRefusedBeforeItIsRead() throws {
        let server = try server()
        let filler = String(repeating: "a", count: 9000)
        let cases: [(String, Int)] = [
            ("GET /\(filler) HTTP/1.1\r\nHost: x\r\n\r\n", 414),
            ("GET / HTTP/1.1\r\nHost: x\r\n\(String(repeating: "X-A: 1\r\n", count: 101))\r\n", 431),
            ("GET / HTTP/1.1\r\nHost: x\r\nX-A: \(String(repeating: filler, count: 8))\r\n\r\n", 431),
            ("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6291557\r\n\r\n", 413),
            ("POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n600065\r\n", 413),
        ]
        for (request, status) in cases {
            let wire = try Wire(server.front)
            try wire.send(request)
            if request.hasSuffix("600065\r\n") { try wire.send([UInt8](repeating: 120, count: 0x60_0065)) }
            #expect(try wire.response().status == status, "\(request.prefix(40))")
            #expect(try wire.isClosed())
        }
        // The largest that is allowed arrives whole.
        let body = [UInt8](repeating: UInt8(ascii: "x"), count: 4 * 1024 * 1024)
        let answer = try server.request("POST", "/echo/", headers: [("Content-Type", "text/plain")], body: body)
        #expect(answer.status == 200 && (answer.object["body"] as? String)?.utf8.count == body.count)
    }

    @Test func slowSendersAreTimedOutAndIdleConnectionsClosed() throws {
        let server = try server()
        let waiting: [(String, Int?)] = [
            ("GET /echo/ HTT", 408), ("GET /echo/ HTTP/1.1\r\nHost: x\r\nX-A: ", 408),
            ("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", 408),
            ("POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", 408), ("", nil),
        ]
        let wires = try waiting.map { request, _ in
            let wire = try Wire(server.front)
            try wire.send(request)
            return wire
        }
        for (wire, (request, status)) in zip(wires, waiting) {
            if let status {
                let answer = try wire.response()
                #expect(answer.status == status && answer["connection"] == "close", "\(request.debugDescription): \(answer)")
            }
            #expect(try wire.isClosed())
        }
        // A body that trickles in is no reason to give up, as long as it goes on.
        let trickle = try Wire(server.front)
        try trickle.send("POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n")
        for byte in "abcdefghij" {
            usleep(350_000)
            try trickle.send(String(byte))
        }
        #expect(try trickle.response().object["body"] as? String == "abcdefghij")
        #expect(try trickle.isClosed(), "and the connection is closed when nothing more comes")
    }

    @Test func clientsThatLeaveOrNeverReadHurtNobody() throws {
        let server = try server()
        for request in ["GET /ec", "POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "GET /echo/?sleep=0.3 HTTP/1.1\r\nHost: x\r\n\r\n"] {
            for how in 0..<3 {
                let wire = try Wire(server.front)
                try wire.send(request)
                switch how {
                case 0: wire.finishSending()
                case 1: wire.reset()
                default: break
                }
            }
        }
        // Those who ask for megabytes and read nothing must not keep the others waiting, nor fill the server's memory.
        let before = try memory(server)
        let deaf = try (0..<4).map { _ in
            let wire = try Wire(server.front, receiveBufferBytes: 4096)
            try wire.send(String(repeating: "GET /echo/?bytes=2000000 HTTP/1.1\r\nHost: x\r\n\r\n", count: 100))
            return wire
        }
        for index in 0..<20 { #expect(path(try server.get("/echo/\(index)")) == "/\(index)") }
        let grown = try memory(server) - before
        #expect(grown < 60_000, "800 MB of answers wait for readers; the server grew by \(grown) kB")
        // And when they read at last, every answer is there, in order and whole.
        for _ in 0..<10 { #expect(try deaf[0].response().body.count == 2_000_000) }
        let large = try server.get("/echo/?bytes=3000000")
        #expect(large.status == 200 && large.body.count == 3_000_000)
    }

    /// Resident kilobytes of the server's own process.
    private func memory(_ server: HearthProcess) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(server.child.pid)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        return try #require(line.split(separator: " ").compactMap { Int($0) }.first)
    }

    @Test func moreConnectionsThanTheLimitAreTold503() throws {
        let server = try HearthProcess(config: "[limits]\nconnections = 3\n")
        let held = try (0..<3).map { _ in
            let wire = try Wire(server.front)
            try wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try wire.response().status == 200)
            return wire
        }
        let extra = try Wire(server.front)
        try extra.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        let answer = try extra.response()
        #expect(answer.status == 503 && answer["retry-after"] != nil && answer["connection"] == "close", "\(answer)")
        #expect(try extra.isClosed())
        try held[0].send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try held[0].response().status == 200, "those that are in go on")
        #expect(try server.command(["list"]).code == 0, "each listener counts its own")
    }
}
