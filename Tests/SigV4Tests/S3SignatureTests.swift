import Base
import IAM
import SigV4
import Testing

/// The examples that Amazon S3's API Reference publishes with their signatures, and each change of them.
@Suite struct S3SignatureTests {
    /// 2013-05-24T00:00:00Z
    private static let then: UInt64 = 1_369_353_600
    private let verifier = Verifier(
        Keyring(account: "000000000000", root: AccessKey(id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")))

    private func refusal(_ parts: SignedParts, at time: UInt64 = then) -> String {
        do { return try verifier.verifyS3(parts, epochSeconds: time) == nil ? "anonymous" : "let in" } catch { return "\(error.status) \(error.code)" }
    }

    private static func presigned(
        _ changes: [String: String?] = [:], host: String = "examplebucket.s3.amazonaws.com", more: [(name: String, value: [UInt8])] = []
    ) -> SignedParts {
        var query: [String: String?] = [
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
            "X-Amz-Date": "20130524T000000Z", "X-Amz-Expires": "86400", "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ]
        query.merge(changes) { $1 }
        let text = query.compactMap { name, value in value.map { "\(name)=\($0)" } }.sorted().joined(separator: "&")
        return SignedParts(method: "GET", path: Array("/test.txt".utf8), query: Array(text.utf8), headers: [("host", Array(host.utf8))] + more)
    }

    @Test func aPresignedAddressIsGoodForWhatItSaysAndAsLongAsItSays() {
        let missing = Dictionary(uniqueKeysWithValues: ["X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Credential"].map { ($0, "400 AuthorizationQueryParametersError") })
        for (name, answer) in missing { #expect(refusal(Self.presigned([name: nil as String?])) == answer, "\(name)") }
        let cases: [(SignedParts, UInt64, String)] = [
            (Self.presigned(), 0, "let in"), (Self.presigned(), 86_399, "let in"), (Self.presigned(), 86_400, "403 AccessDenied"),
            (Self.presigned(host: "other.s3.amazonaws.com"), 0, "403 SignatureDoesNotMatch"), (Self.presigned(["X-Amz-Expires": "604801"]), 0, "403 AuthorizationQueryParametersError"),
            (Self.presigned(["X-Amz-Expires": "86401"]), 0, "403 SignatureDoesNotMatch"), (Self.presigned(["X-Amz-Expires": "-1"]), 0, "403 AuthorizationQueryParametersError"),
            (Self.presigned(["X-Amz-Algorithm": "AWS4-HMAC-SHA1"]), 0, "400 AuthorizationQueryParametersError"),
            (Self.presigned(["X-Amz-Credential": "NOBODY%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"]), 0, "403 InvalidAccessKeyId"),
            (Self.presigned(["X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fec2%2Faws4_request"]), 0, "400 AuthorizationQueryParametersError"),
            (Self.presigned(["response-content-type": "text%2Fplain"]), 0, "403 SignatureDoesNotMatch"), (Self.presigned(more: [("x-amz-acl", Array("public-read".utf8))]), 0, "403 AccessDenied"),
            (Self.presigned(more: [("authorization", Array("AWS4-HMAC-SHA256 Credential=x".utf8))]), 0, "400 InvalidArgument"),
            (SignedParts(method: "GET", path: [47], query: [], headers: [("authorization", Array("AWS key:signature".utf8))]), 0, "400 InvalidRequest"),
            (SignedParts(method: "GET", path: [47], query: [], headers: []), 0, "anonymous"),
        ]
        for (parts, later, answer) in cases {
            #expect(refusal(parts, at: Self.then + later) == answer, "\(String(decoding: parts.query, as: UTF8.self))")
        }
        #expect(refusal(Self.presigned(), at: Self.then - 1000) == "403 AccessDenied")
    }

    private static let chunkedHeaders: [(name: String, value: [UInt8])] = [
        ("content-encoding", "aws-chunked"), ("content-length", "66824"), ("host", "s3.amazonaws.com"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("x-amz-date", "20130524T000000Z"), ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"),
    ].map { ($0.0, Array($0.1.utf8)) }

    private static let chunked: [UInt8] =
        Array("10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n".utf8) + [UInt8](repeating: 97, count: 65_536)
        + Array("\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n".utf8) + [UInt8](repeating: 97, count: 1024)
        + Array("\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n".utf8)

    @Test func aCapturedRequestIsRefusedAfterItsWindow() throws {
        let request = SignedParts(method: "PUT", path: Array("/examplebucket/chunkObject.txt".utf8), query: [], headers: Self.chunkedHeaders)
        for (later, answer) in [(0, "let in"), (899, "let in"), (900, "403 RequestTimeTooSkewed"), (86_400, "403 RequestTimeTooSkewed")] as [(UInt64, String)] {
            #expect(refusal(request, at: Self.then + later) == answer, "\(later)")
        }
        for (earlier, answer) in [(899, "let in"), (900, "403 RequestTimeTooSkewed")] as [(UInt64, String)] {
            #expect(refusal(request, at: Self.then - earlier) == answer, "\(earlier)")
        }
    }

    /// What comes of a body that arrives in pieces of `step` bytes.
    private func decode(
        _ body: [UInt8], signed: Bool, trailers: Bool = false, length: UInt64, step: Int
    ) throws -> (bytes: Int, answer: String) {
        let parts = SignedParts(method: "PUT", path: Array("/examplebucket/chunkObject.txt".utf8), query: [], headers: Self.chunkedHeaders)
        let authorization = try #require(try verifier.verifyS3(parts, epochSeconds: Self.then))
        #expect(authorization.payload == .chunks(isSigned: true, hasTrailers: false))
        var decoder = AWSChunkedDecoder(isSigned: signed, hasTrailers: trailers, chain: authorization.chain, length: length)
        var bytes = 0
        var at = 0
        do {
            while at < body.count {
                let end = min(at + step, body.count)
                try body[at..<end].withUnsafeBytes { try decoder.decode($0) { bytes += $0.count } }
                at = end
            }
        } catch let refusal as S3Refusal { return (bytes, refusal.code) }
        return (bytes, decoder.isDone ? decoder.trailers.map { "\($0.name)=\($0.value)" }.joined() + "." : "unfinished")
    }

    @Test func chunksAreTakenOneByOneAndEachSignsTheOneBefore() throws {
        for step in [1 << 20, 65_536, 8191, 1] {
            #expect(try decode(Self.chunked, signed: true, length: 66_560, step: step) == (66_560, "."))
        }
        for at in [0, 30, 90, 66_000, Self.chunked.count - 8] {
            var changed = Self.chunked
            changed[at] ^= 1
            let answer = try decode(changed, signed: true, length: 66_560, step: 4096).answer
            #expect(["SignatureDoesNotMatch", "IncompleteBody", "InvalidChunkSizeError"].contains(answer), "\(at): \(answer)")
        }
        #expect(try decode(Self.chunked, signed: true, length: 66_559, step: 4096).answer == "IncompleteBody")
        #expect(try decode(Self.chunked, signed: true, length: 66_561, step: 4096).answer == "IncompleteBody")
        #expect(try decode(Self.chunked.dropLast(2), signed: true, length: 66_560, step: 4096).answer == "unfinished")
        #expect(try decode(Self.chunked + [65], signed: true, length: 66_560, step: 4096).answer == "IncompleteBody")
    }

    @Test func trailersComeBehindUnsignedChunksToo() throws {
        let cases: [(String, String)] = [
            ("3\r\nabc\r\n0\r\nx-amz-checksum-crc32: AAAA \r\n\r\n", "x-amz-checksum-crc32=AAAA."), ("3\r\nabc\r\n0\r\n\r\n", "."),
            ("3\r\nabc\r\n0\r\nnonsense\r\n\r\n", "MalformedTrailerError"), ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "InvalidChunkSizeError"), ("3\r\nabcd\r\n0\r\n\r\n", "IncompleteBody"),
            ("zz\r\n", "IncompleteBody"), ("fffffffffffffffff\r\n", "IncompleteBody"), ("\r\n", "IncompleteBody"), ("3\nabc", "IncompleteBody"), (String(repeating: "0", count: 9000), "IncompleteBody"),
            ("3\r\nabc\r\n0\r\n" + String(repeating: "a:b\r\n", count: 6000), "MalformedTrailerError"),
        ]
        for (body, answer) in cases {
            for step in [1, 7, 10_000] {
                let told = try decode(Array(body.utf8), signed: false, trailers: true, length: 3, step: step).answer
                #expect(told == answer, "\(body.prefix(40))")
            }
        }
    }
}
