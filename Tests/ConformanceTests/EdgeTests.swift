import Foundation
import SigV4
import TestSupport
import Testing

/// `hearth edge` before a real server, over a link that is slow, loses and breaks.
@Suite struct EdgeTests {
    static let server = Result { try HearthProcess() }

    /// 12 MB that repeat nowhere: three parts.
    private static let large = String((0..<1_200_000).map { String(format: "%09d\n", $0) }.joined())

    private func origin(
        _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
    ) throws -> WireResponse {
        try Self.server.get().call(method, path, query: query, headers: headers, body: body, service: "s3")
    }

    private func through(
        _ edge: EdgeProcess, _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
    ) throws -> WireResponse {
        try Self.server.get().call(
            method, path, query: query, headers: headers, body: body, service: "s3", at: edge.address, seconds: 60)
    }

    private func text(_ name: String, _ answer: WireResponse) -> String {
        answer.text.components(separatedBy: "<\(name)>").dropFirst().first?.components(separatedBy: "<").first ?? ""
    }

    private func uploads(_ bucket: String) throws -> Int {
        try origin("GET", "/\(bucket)", query: "uploads=").text.components(separatedBy: "<UploadId>").count - 1
    }

    /// The head of a PUT that is signed but for its body.
    private func head(_ edge: EdgeProcess, _ path: String, payload: String, _ headers: [(name: String, value: String)]) throws -> String {
        let environment = try Self.server.get().environment
        let signer = Signer(
            credentials: Credentials(
                accessKeyID: environment["AWS_ACCESS_KEY_ID"] ?? "", secretAccessKey: environment["AWS_SECRET_ACCESS_KEY"] ?? ""),
            region: "us-east-1", service: "s3")
        let all = [(name: "host", value: edge.address)] + headers
        let signed = signer.headers(
            method: "PUT", path: path, query: "", headers: all, payload: payload, epochSeconds: UInt64(Date().timeIntervalSince1970))
        return "PUT \(path) HTTP/1.1\r\n" + (all + signed).map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n"
    }

    @Test func uploadsReachTheOriginWholeAndAreAnsweredAsItAnswers() throws {
        let server = try Self.server.get()
        let edge = try EdgeProcess(before: server, .init(roundTrip: 0.02, windowBytes: 256 * 1024, lossShare: 0.02))
        #expect(try through(edge, "PUT", "/upload").status == 200)
        // In parts, and at the origin when the answer comes: with its ETag, its metadata, its bytes.
        let put = try through(
            edge, "PUT", "/upload/large%20%2B", headers: [("Content-Type", "text/plain"), ("x-amz-meta-who", "me"), ("Cache-Control", "no-cache")],
            body: Self.large)
        let there = try origin("GET", "/upload/large%20%2B")
        let etag = put["ETag"] ?? ""
        #expect(put.status == 200 && etag.hasSuffix("-3\"") && etag == there["ETag"], "\(put)")
        #expect(there["Content-Type"] == "text/plain" && there["x-amz-meta-who"] == "me" && there["Cache-Control"] == "no-cache")
        #expect(there.text == Self.large)
        #expect(try uploads("upload") == 0)
        // The client's own checksum is the object's, and one that is wrong leaves nothing.
        let asked = try through(edge, "PUT", "/upload/summed", headers: [("x-amz-sdk-checksum-algorithm", "CRC32")], body: Self.large)
        let sum = asked["x-amz-checksum-crc32"] ?? ""
        #expect(asked.status == 200 && !sum.isEmpty, "\(asked)")
        let right = try through(edge, "PUT", "/upload/right", headers: [("x-amz-checksum-crc32", sum)], body: Self.large)
        #expect(right.status == 200 && right["x-amz-checksum-crc32"] == sum, "\(right)")
        for headers in [("x-amz-checksum-crc32", "AAAAAA=="), ("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A==")] {
            let wrong = try through(edge, "PUT", "/upload/wrong", headers: [headers], body: Self.large)
            #expect(wrong.status == 400 && text("Code", wrong) == "BadDigest", "\(wrong)")
        }
        let absent = try through(edge, "PUT", "/upload/large%20%2B", headers: [("If-None-Match", "*")], body: Self.large)
        #expect(absent.status == 412 && text("Code", absent) == "PreconditionFailed", "\(absent)")
        let nowhere = try through(edge, "PUT", "/nowhere/large", body: Self.large)
        #expect(nowhere.status == 404 && text("Code", nowhere) == "NoSuchBucket", "\(nowhere)")
        #expect(try origin("GET", "/upload/wrong").status == 404)
        _ = try waitFor("the refused uploads to be aborted") { try uploads("upload") == 0 ? true : nil }
        // A small one goes as it is, and so does the client's own multipart upload.
        let small = try through(edge, "PUT", "/upload/small", body: "small")
        #expect(small["ETag"] == "\"eb5c1399a871211c7e7ed732d15e3a8b\"", "\(small)")
        let id = text("UploadId", try through(edge, "POST", "/upload/own", query: "uploads="))
        let part = try through(edge, "PUT", "/upload/own", query: "partNumber=1&uploadId=\(id)", body: Self.large)
        let done = try through(
            edge, "POST", "/upload/own", query: "uploadId=\(id)",
            body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\(part["ETag"] ?? "")</ETag></Part></CompleteMultipartUpload>")
        let own = try origin("GET", "/upload/own")
        #expect(done.status == 200 && own.text == Self.large, "\(done)")
        // Everything else is passed through.
        #expect(try through(edge, "GET", "/upload", query: "list-type=2&prefix=sm").text.contains("<Key>small</Key>"))
        #expect(try through(edge, "DELETE", "/upload/small").status == 204)
        #expect(try origin("GET", "/upload/small").status == 404)
    }

    @Test func bodiesThatAreCodedOrNotWhatWasSignedAreJudgedBeforeTheOriginKeepsThem() throws {
        let server = try Self.server.get()
        let edge = try EdgeProcess(before: server, .init(roundTrip: 0.01))
        #expect(try through(edge, "PUT", "/coded").status == 200)
        func send(_ path: String, payload: String, _ headers: [(name: String, value: String)], _ body: String) throws -> WireResponse {
            let wire = try Wire(edge.address)
            try wire.send(try head(edge, path, payload: payload, headers + [(name: "content-length", value: String(body.utf8.count))]))
            try wire.send(body)
            return try wire.response(seconds: 60)
        }
        func chunked(_ text: String, _ trailer: String) -> String {
            "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n0\r\nx-amz-checksum-crc32:\(trailer)\r\n\r\n"
        }
        func coding(_ text: String) -> [(name: String, value: String)] {
            [
                ("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", String(text.utf8.count)),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
            ]
        }
        for (name, text) in [("small", "small"), ("large", Self.large)] {
            let sum = try origin("PUT", "/coded/asked", headers: [("x-amz-sdk-checksum-algorithm", "CRC32")], body: text)["x-amz-checksum-crc32"] ?? ""
            let word = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            let good = try send("/coded/\(name)", payload: word, coding(text), chunked(text, sum))
            let there = try origin("GET", "/coded/\(name)")
            #expect(good.status == 200 && there.text == text && there["Content-Encoding"] == nil, "\(good)")
            let bad = try send("/coded/bad", payload: word, coding(text), chunked(text, "AAAAAA=="))
            #expect(bad.status == 400 && self.text("Code", bad) == "BadDigest", "\(bad)")
            let other = try send("/coded/bad", payload: String(repeating: "0", count: 64), [], text)
            #expect(other.status == 400 && self.text("Code", other) == "XAmzContentSHA256Mismatch", "\(other)")
        }
        #expect(try origin("GET", "/coded/bad").status == 404)
        // Who has no key of this edge's does not get to the origin with a signature.
        let wire = try Wire(edge.address)
        let real = try #require(server.environment["AWS_ACCESS_KEY_ID"])
        try wire.send(try head(edge, "/coded/bad", payload: "UNSIGNED-PAYLOAD", [("content-length", "0")]).replacingOccurrences(of: real, with: "AKIAUNKNOWN"))
        let unknown = try wire.response()
        #expect(unknown.status == 403 && text("Code", unknown) == "InvalidAccessKeyId", "\(unknown)")
    }

    @Test func anEdgeThatDiesAndAClientThatLeavesShowNothingAtTheOrigin() throws {
        let server = try Self.server.get()
        #expect(try origin("PUT", "/cut").status == 200)
        let terms = SlowLink.Terms(roundTrip: 0.1, windowBytes: 64 * 1024)
        func begin(_ edge: EdgeProcess, _ path: String, bytes: Int) throws -> Wire {
            let wire = try Wire(edge.address)
            let length = [(name: "content-length", value: String(Self.large.utf8.count))]
            try wire.send(try head(edge, path, payload: "UNSIGNED-PAYLOAD", length))
            try wire.send(Array(Self.large.utf8.prefix(bytes)))
            return wire
        }
        let dying = try EdgeProcess(before: server, terms)
        let whole = try begin(dying, "/cut/killed", bytes: .max)
        _ = try waitFor("parts to be on their way") { dying.link.carriedBytes > 1_000_000 ? true : nil }
        dying.child.signal(SIGKILL)
        _ = try dying.child.waitForExit()
        #expect(try whole.isClosed())
        #expect(try origin("GET", "/cut/killed").status == 404)
        #expect(try origin("GET", "/cut", query: "list-type=2").text.contains("<KeyCount>0</KeyCount>"))
        #expect(try uploads("cut") == 1)

        let edge = try EdgeProcess(before: server, terms)
        do {
            let half = try begin(edge, "/cut/left", bytes: 8_000_000)
            _ = try waitFor("the upload to begin at the origin") { try uploads("cut") == 2 ? true : nil }
            half.reset()
        }
        _ = try waitFor("the upload of a client that left to be aborted") { try uploads("cut") == 1 ? true : nil }
        #expect(try origin("GET", "/cut/left").status == 404)
        // A connection that breaks under a part costs that part a second way, and the client nothing.
        let broken = try begin(edge, "/cut/broken", bytes: .max)
        let before = edge.link.carriedBytes
        _ = try waitFor("parts to be on their way") { edge.link.carriedBytes > before + 1_000_000 ? true : nil }
        edge.link.cut()
        let answer = try broken.response(seconds: 120)
        let there = try origin("GET", "/cut/broken")
        #expect(answer.status == 200 && there.text == Self.large, "\(answer)")
    }

    @Test func readsAreServedWhileFreshAndAskedAboutAfterThat() throws {
        let server = try Self.server.get()
        let edge = try EdgeProcess(before: server, .init(roundTrip: 0.01))
        #expect(try origin("PUT", "/read").status == 200)
        func get(_ key: String, _ method: String = "GET", _ headers: [(String, String)] = []) throws -> WireResponse {
            try through(edge, method, "/read/\(key)", headers: headers)
        }
        func state(_ answer: WireResponse) -> String { answer["Cache-Status"] ?? "" }
        // Without a word of its own, an object is asked about each time.
        _ = try origin("PUT", "/read/plain", headers: [("x-amz-meta-n", "1")], body: "one")
        let first = try get("plain")
        #expect(state(first) == "hearth; fwd=uri-miss; stored" && first.text == "one")
        let second = try get("plain")
        #expect(state(second) == "hearth; fwd=stale; fwd-status=304" && second.text == "one" && second["x-amz-meta-n"] == "1", "\(second)")
        #expect(second["ETag"] == first["ETag"] && second["Age"] == "0")
        #expect(try get("plain", "HEAD")["Content-Length"] == "3")
        _ = try origin("PUT", "/read/plain", body: "two")
        #expect(try get("plain").text == "two")
        // Fresh as long as it says: then the origin is not asked, and what this edge writes is never hidden.
        _ = try origin("PUT", "/read/fresh", headers: [("Cache-Control", "max-age=600")], body: "old")
        #expect(try state(get("fresh")).contains("stored"))
        _ = try origin("PUT", "/read/fresh", headers: [("Cache-Control", "max-age=600")], body: "new")
        let hit = try get("fresh")
        #expect(hit.text == "old" && state(hit).hasPrefix("hearth; hit; ttl=") && hit["Age"] != nil, "\(hit)")
        #expect(try get("fresh", "HEAD")["Content-Length"] == "3")
        #expect(try server.call("GET", "/read/fresh", service: "s3", at: edge.address).text == "old")
        let range = try get("fresh", "GET", [("Range", "bytes=1-")])
        #expect(range.status == 206 && range.text == "ew" && state(range) == "hearth; fwd=bypass", "\(range)")
        _ = try through(edge, "PUT", "/read/%66resh", headers: [("Cache-Control", "max-age=600")], body: "mine")
        #expect(try get("fresh").text == "mine")
        // Nobody reads with another's rights.
        let wire = try Wire(edge.address)
        try wire.send("GET /read/fresh HTTP/1.1\r\nHost: \(edge.address)\r\n\r\n")
        #expect(try wire.response().status == 403)
        // What is too large is passed on whole and not kept; what must not be kept is not.
        _ = try origin("PUT", "/read/large", headers: [("Cache-Control", "max-age=600")], body: Self.large)
        _ = try origin("PUT", "/read/secret", headers: [("Cache-Control", "no-store")], body: "secret")
        for _ in 0..<2 {
            let large = try get("large")
            #expect(large.text == Self.large && state(large) == "hearth; fwd=uri-miss")
            #expect(try state(get("secret")) == "hearth; fwd=uri-miss")
        }
        #expect(try get("missing").status == 404)

        // Without the origin: what is fresh is served, the rest is refused in S3's words, and it is there again when the origin is.
        _ = try get("fresh")
        edge.link.refuse(true)
        #expect(try get("fresh").text == "mine")
        for answer in [try get("plain"), try through(edge, "PUT", "/read/down", body: "x"), try through(edge, "PUT", "/read/down", body: Self.large)] {
            #expect(answer.status == 503 && text("Code", answer) == "ServiceUnavailable", "\(answer)")
        }
        edge.link.refuse(false)
        #expect(try get("plain").text == "two")
        #expect(try origin("GET", "/read/down").status == 404)
    }
}
