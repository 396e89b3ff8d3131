import Foundation
import TestSupport
import Testing

/// S3 byte for byte: what no client library sends, and what some send that boto3 does not.
@Suite struct ObjectWireTests {
    static let server = Result { try HearthProcess() }

    private func s3(
        _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
    ) throws -> WireResponse {
        try Self.server.get().call(method, path, query: query, headers: headers, body: body, service: "s3")
    }

    private func code(_ answer: WireResponse) -> String {
        guard let start = answer.text.range(of: "<Code>"), let end = answer.text.range(of: "</Code>") else { return "" }
        return String(answer.text[start.upperBound..<end.lowerBound])
    }

    /// The shape that pyarrow sends over plain HTTP: both codings, a checksum in the trailer, no length.
    @Test func chunkedBodiesWithTrailersAreStoredAndHeldToTheirChecksum() throws {
        let server = try Self.server.get()
        #expect(try s3("PUT", "/streams", headers: [("x-amz-acl", "public-read-write")]).status == 200)
        let data = "hello world, in chunks"
        func send(_ key: String, checksum: String, length: Int, inner: String) throws -> WireResponse {
            let wire = try Wire(server.api)
            try wire.send(
                "PUT /streams/\(key) HTTP/1.1\r\nHost: \(server.api)\r\nTransfer-Encoding: chunked\r\nContent-Encoding: aws-chunked\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nx-amz-decoded-content-length: \(length)\r\nx-amz-trailer: x-amz-checksum-crc32\r\n\r\n")
            let coded = "\(inner)x-amz-checksum-crc32:\(checksum)\r\n\r\n"
            // In pieces that cut lines and data anywhere.
            for piece in stride(from: 0, to: coded.utf8.count, by: 7).map({ Array(coded.utf8)[$0..<min($0 + 7, coded.utf8.count)] }) {
                try wire.send("\(String(piece.count, radix: 16))\r\n")
                try wire.send(Array(piece) + Array("\r\n".utf8))
            }
            try wire.send("0\r\n\r\n")
            return try wire.response()
        }
        let whole = "\(String(data.utf8.count, radix: 16))\r\n\(data)\r\n0\r\n"
        let good = try send("good", checksum: "b2ZDjw==", length: data.utf8.count, inner: whole)
        // (The right value is asked of the server itself, by a request without a checksum of its own.)
        let right = try s3("PUT", "/streams/right", headers: [("x-amz-sdk-checksum-algorithm", "CRC32")], body: data)["x-amz-checksum-crc32"] ?? ""
        #expect(good.status == 400 && code(good) == "BadDigest", "\(good)")
        let stored = try send("stored", checksum: right, length: data.utf8.count, inner: whole)
        #expect(stored.status == 200 && stored["x-amz-checksum-crc32"] == right, "\(stored)")
        let back = try s3("GET", "/streams/stored")
        #expect(back.text == data && back["Content-Encoding"] == nil, "\(back)")
        let short = try send("short", checksum: right, length: data.utf8.count + 1, inner: whole)
        #expect(short.status == 400 && code(short) == "IncompleteBody", "\(short)")
        for key in ["good", "short"] { #expect(try s3("GET", "/streams/\(key)").status == 404) }
    }

    @Test func malformedRequestsGetS3sOwnErrorAndChangeNothing() throws {
        let server = try Self.server.get()
        #expect(try s3("PUT", "/bad").status == 200)
        #expect(try s3("PUT", "/bad/kept", body: "kept").status == 200)
        let upload = try s3("POST", "/bad/up", query: "uploads=")
        let id = upload.text.components(separatedBy: "<UploadId>").last?.components(separatedBy: "<").first ?? ""
        let cases: [(String, String, String, [(String, String)], String, Int, String)] = [
            ("PUT", "/bad/kept", "", [("Content-MD5", "garbage")], "x", 400, "InvalidDigest"),
            ("PUT", "/bad/kept", "", [("Content-MD5", "rL0Y20zC+Fzt72VPzMSk2A==")], "x", 400, "BadDigest"),
            ("PUT", "/bad/kept", "", [("x-amz-checksum-sha1", "AAAA")], "x", 400, "BadDigest"),
            ("PUT", "/bad/kept", "", [("x-amz-checksum-crc32", "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")], "x", 400, "InvalidRequest"),
            ("PUT", "/bad/kept", "", [("x-amz-storage-class", "CHEAP")], "x", 400, "InvalidStorageClass"),
            ("PUT", "/bad/kept", "", [("x-amz-acl", "everybody")], "x", 400, "InvalidArgument"),
            ("PUT", "/bad/kept", "", [("x-amz-tagging", String(repeating: "k=v&", count: 11))], "x", 400, "InvalidTag"),
            ("PUT", "/bad/kept", "", [("x-amz-meta-m", String(repeating: "m", count: 3000))], "x", 400, "MetadataTooLarge"),
            ("PUT", "/bad/kept", "", [("x-amz-server-side-encryption", "aws:kms")], "x", 501, "NotImplemented"),
            ("PUT", "/bad/%FF", "", [], "x", 400, "InvalidArgument"),
            ("PUT", "/bad/\(String(repeating: "k", count: 1025))", "", [], "x", 400, "KeyTooLongError"),
            ("GET", "/bad/kept", "versionId=zzz", [], "", 400, "InvalidArgument"),
            ("GET", "/bad/kept", "partNumber=0", [], "", 400, "InvalidArgument"),
            ("GET", "/bad", "max-keys=-1", [], "", 400, "InvalidArgument"),
            ("GET", "/bad", "encoding-type=base64", [], "", 400, "InvalidArgument"),
            ("GET", "/bad", "list-type=2&continuation-token=%21", [], "", 400, "InvalidArgument"),
            ("GET", "/Bad_Name", "", [], "", 400, "InvalidBucketName"),
            ("POST", "/bad", "delete=", [("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")], "", 400, "MalformedXML"),
            ("POST", "/bad", "delete=", [], "<Delete/>", 400, "InvalidRequest"),
            ("POST", "/bad/up", "uploadId=\(id)", [], "<CompleteMultipartUpload/>", 400, "MalformedXML"),
            ("POST", "/bad/up", "uploadId=\(id)", [], "<!DOCTYPE x [<!ENTITY a 'b'>]><CompleteMultipartUpload><Part/></CompleteMultipartUpload>", 400, "MalformedXML"),
            ("POST", "/bad/up", "uploadId=nothing", [], "<CompleteMultipartUpload><Part/></CompleteMultipartUpload>", 404, "NoSuchUpload"),
            ("PUT", "/bad/up", "uploadId=\(id)&partNumber=10001", [], "x", 400, "InvalidArgument"),
            ("PUT", "/bad/up", "uploadId=\(id)&partNumber=1", [("x-amz-copy-source", "bad/kept"), ("x-amz-copy-source-range", "bytes=0-9")], "", 416, "InvalidRange"),
            ("PUT", "/bad/up", "uploadId=\(id)&partNumber=1", [("x-amz-copy-source", "bad/kept"), ("x-amz-copy-source-range", "0-1")], "", 400, "InvalidArgument"),
            ("PUT", "/bad/kept", "", [("x-amz-copy-source", "nowhere")], "", 400, "InvalidArgument"),
            ("PUT", "/bad/kept", "", [("x-amz-copy-source", "bad/%ZZ")], "", 400, "InvalidArgument"),
            ("PUT", "/bad/kept", "", [("x-amz-copy-source", "bad/kept")], "", 400, "InvalidRequest"),
            ("PUT", "/bad", "lifecycle=", [], String(repeating: "<a>", count: 100), 400, "MalformedXML"),
            ("PUT", "/bad", "policy=", [], "[]", 400, "MalformedPolicy"),
            ("PUT", "/bad", "replication=", [], "<a/>", 501, "NotImplemented"),
            ("PATCH", "/bad/kept", "", [], "x", 405, "MethodNotAllowed"),
        ]
        for (method, path, query, headers, body, status, wanted) in cases {
            let answer = try s3(method, path, query: query, headers: headers, body: body)
            #expect(answer.status == status && code(answer) == wanted, "\(method) \(path)?\(query) \(headers): \(answer)")
            #expect(answer["x-amz-request-id"].map { answer.text.contains("<RequestId>\($0)</RequestId>") } == true, "\(answer)")
        }
        // A percent-encoded source: another server dies of this one.
        let copied = try s3("PUT", "/bad/up", query: "uploadId=\(id)&partNumber=1", headers: [("x-amz-copy-source", "%2Fbad%2Fkept")])
        #expect(copied.status == 200 && copied.text.contains("<ETag>"), "\(copied)")
        #expect(try s3("GET", "/bad/kept").text == "kept")
        #expect(server.child.status == nil, "the server died: \(server.log)")
    }

    @Test func brokenUploadsLeaveNothingAndRefusedOnesAreNotRead() throws {
        let server = try Self.server.get()
        #expect(try s3("PUT", "/broken", headers: [("x-amz-acl", "public-read-write")]).status == 200)
        let cut = try Wire(server.api)
        try cut.send("PUT /broken/cut HTTP/1.1\r\nHost: \(server.api)\r\nContent-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 500_000))
        cut.reset()
        let asked = try Wire(server.api)
        try asked.send("PUT /bad-or-not/k HTTP/1.1\r\nHost: \(server.api)\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")
        let refused = try asked.response()
        #expect(refused.status == 404 && code(refused) == "NoSuchBucket", "\(refused)")
        let large = try Wire(server.api)
        try large.send("PUT /broken/large HTTP/1.1\r\nHost: \(server.api)\r\nContent-Length: 6000000000\r\n\r\n")
        #expect(code(try large.response()) == "EntityTooLarge")
        let bare = try Wire(server.api)
        try bare.send("PUT /broken/bare HTTP/1.1\r\nHost: \(server.api)\r\n\r\n")
        let lengthless = try bare.response()
        #expect(lengthless.status == 411 && code(lengthless) == "MissingContentLength", "\(lengthless)")
        // By host, and of another method than the key's: the listing shows nothing.
        let listed = try Wire(server.api)
        try listed.send("GET /?list-type=2 HTTP/1.1\r\nHost: broken.localhost\r\n\r\n")
        let page = try listed.response()
        #expect(page.status == 200 && page.text.contains("<Name>broken</Name>") && page.text.contains("<KeyCount>0</KeyCount>"), "\(page)")
    }

    @Test func acknowledgedObjectsSurviveKillsAndOthersAreNotSeen() throws {
        let place = try TemporaryDirectory()
        var acknowledged: [String: String] = [:]
        for round in 0..<3 {
            let server = try HearthProcess(directory: place)
            #expect(try [200, 409].contains(server.call("PUT", "/durable", service: "s3").status))
            for (key, body) in acknowledged {
                let back = try server.call("GET", "/durable/\(key)", service: "s3")
                #expect(back.status == 200 && back.text == body, "\(key): \(back.status)")
            }
            let writers = Background(threads: 4) { goesOn in
                var stored: [String: String] = [:]
                var number = 0
                while goesOn() {
                    let key = "\(round)-\(UInt(bitPattern: ObjectIdentifier(Thread.current).hashValue))-\(number)"
                    let body = String(repeating: key, count: number % 3 == 0 ? 20_000 : 3)
                    if let answer = try? server.call("PUT", "/durable/\(key)", body: body, service: "s3", seconds: 5), answer.status == 200 {
                        stored[key] = body
                    }
                    number += 1
                }
                return stored
            }
            try waitFor("some objects to be stored") {
                let page = try server.call("GET", "/durable", query: "list-type=2", service: "s3")
                return page.text.components(separatedBy: "<Key>\(round)-").count > 20 ? () : nil
            }
            try server.killAtOnce()
            for stored in writers.stop() { acknowledged.merge(stored) { $1 } }
        }
        let last = try HearthProcess(directory: place)
        for (key, body) in acknowledged { #expect(try last.call("GET", "/durable/\(key)", service: "s3").text == body, "\(key)") }
        #expect(acknowledged.count > 30, "\(acknowledged.count)")
    }
}

@Suite struct ObjectCommandTests {
    @Test(.enabled(if: AWSClients.aws != nil, "no aws command here: pip install awscli, or apt-get install awscli"))
    func theAWSCommandCopiesSyncsMovesAndRemoves() throws {
        let server = try ObjectWireTests.server.get()
        let work = try TemporaryDirectory()
        for number in 0..<20 { try work.write("tree/d\(number % 3)/ä file \(number)", "text \(number)") }
        let big = (0..<3_000_000).map { "\($0)\n" }.joined()
        try work.write("big", big)
        func aws(_ arguments: String...) throws -> CommandResult {
            try run(
                [try #require(AWSClients.aws), "s3"] + arguments, directory: work.path,
                environment: AWSClients.environment(server), seconds: 120)
        }
        func holds(_ result: CommandResult) { #expect(result.code == 0 && result.err.isEmpty, "\(result)") }
        holds(try aws("mb", "s3://command"))
        holds(try aws("sync", "tree", "s3://command/tree", "--only-show-errors"))
        holds(try aws("cp", "big", "s3://command/big", "--only-show-errors"))
        holds(try aws("mv", "s3://command/big", "s3://command/moved", "--only-show-errors"))
        holds(try aws("cp", "s3://command/moved", "back", "--only-show-errors"))
        #expect(work.read("back") == big)
        holds(try aws("sync", "s3://command/tree", "copy", "--only-show-errors"))
        let difference = try run(["diff", "-r", "tree", "copy"], directory: work.path)
        #expect(difference.code == 0, "\(difference)")
        holds(try aws("rm", "--recursive", "s3://command", "--only-show-errors"))
        holds(try aws("rb", "s3://command"))
        #expect(try aws("ls", "s3://command").code != 0)
    }
}
