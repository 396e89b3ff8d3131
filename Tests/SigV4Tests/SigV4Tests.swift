import Base
import Foundation
import IAM
import SigV4
import Testing

@Suite struct SigV4Tests {
    private let credentials = Credentials(
        accessKeyID: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    /// 2015-08-30T12:36:00Z, the time of AWS's published examples.
    private let time: UInt64 = 1_440_938_160

    private func parts(_ method: String, _ path: String, _ query: String, _ headers: [(name: String, value: String)]) -> SignedParts {
        SignedParts(
            method: method, path: Array(path.utf8), query: Array(query.utf8),
            headers: headers.map { ($0.name, Array($0.value.utf8)) })
    }

    private func verifier() -> Verifier {
        Verifier(Keyring(account: "000000000000", root: AccessKey(id: credentials.accessKeyID, secret: credentials.secretAccessKey)))
    }

    private func verify(_ parts: SignedParts, body: String = "", services: Set<String> = ["lambda"], at time: UInt64? = nil) -> SigV4Error? {
        do throws(SigV4Error) {
            let bytes = Array(body.utf8)
            var failure: SigV4Error?
            bytes.withUnsafeBytes { body in
                do throws(SigV4Error) {
                    _ = try verifier().verify(parts, body: body, services: services, epochSeconds: time ?? self.time)
                } catch { failure = error }
            }
            if let failure { throw failure }
            return nil
        } catch { return error }
    }

    private func signed(_ body: String = "{}") -> [(name: String, value: String)] {
        let headers = [(name: "host", value: "127.0.0.1:9000"), (name: "x-amz-log-type", value: "Tail")]
        let signer = Signer(credentials: credentials, region: "us-east-1", service: "lambda")
        let bytes = Array(body.utf8)
        return headers
            + bytes.withUnsafeBytes {
                signer.headers(
                    method: "POST", path: "/2015-03-31/functions/arn%3Aaws/invocations", query: "Qualifier=%24LATEST",
                    headers: headers, body: $0, epochSeconds: time)
            }
    }

    private func request(_ headers: [(name: String, value: String)]) -> SignedParts {
        parts("POST", "/2015-03-31/functions/arn%3Aaws/invocations", "Qualifier=%24LATEST", headers)
    }

    @Test func aSignedRequestIsLetInAndEachChangeOfItIsNot() {
        let good = signed()
        #expect(verify(request(good), body: "{}") == nil)
        #expect(verify(request(good), body: "{ }") == .mismatch, "the body")
        #expect(verify(parts("GET", "/2015-03-31/functions/arn%3Aaws/invocations", "Qualifier=%24LATEST", good), body: "{}") == .mismatch)
        #expect(verify(parts("POST", "/2015-03-31/functions/brn%3Aaws/invocations", "Qualifier=%24LATEST", good), body: "{}") == .mismatch)
        #expect(verify(parts("POST", "/2015-03-31/functions/arn%3Aaws/invocations", "Qualifier=live", good), body: "{}") == .mismatch)
        for index in good.indices where good[index].name != "authorization" && good[index].name != "x-amz-date" {
            var changed = good
            changed[index].value += "x"
            #expect(verify(request(changed), body: "{}") == .mismatch, "\(good[index].name)")
        }
        #expect(verify(request(good + [(name: "x-amz-unsigned", value: "1")]), body: "{}") == .mismatch, "unsigned x-amz- header")
    }

    @Test func eachFaultHasAWSsNameAndWords() {
        let good = signed()
        func with(_ name: String, _ value: String?) -> SignedParts {
            request(good.compactMap { $0.name == name ? value.map { (name: name, value: $0) } : $0 })
        }
        let authorization = good.first { $0.name == "authorization" }?.value ?? ""
        #expect(verify(with("authorization", nil)) == .missing && SigV4Error.missing.status == 403)
        for broken in ["", "Basic x", "AWS4-HMAC-SHA256", authorization.replacingOccurrences(of: "Signature", with: "Sig"),
            authorization.replacingOccurrences(of: "/aws4_request", with: "")] {
            if case .incomplete? = verify(with("authorization", broken)) {} else { Issue.record("\(broken)") }
        }
        #expect(verify(with("authorization", authorization.replacingOccurrences(of: "AKIDEXAMPLE", with: "AKIDOTHER"))) == .unrecognizedKey)
        if case .expired(let text)? = verify(request(good), body: "{}", at: time + 901) {
            #expect(text.hasPrefix("Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z"))
        } else { Issue.record("an old signature was let in") }
        if case .expired? = verify(request(good), body: "{}", at: time - 901) {} else { Issue.record("a future signature was let in") }
        if case .wrongScope? = verify(request(good), body: "{}", services: ["s3"]) {} else { Issue.record("another service's signature") }
        #expect(verify(request(good + [(name: "x-amz-security-token", value: "t")]), body: "{}") == .unrecognizedKey)
        #expect(SigV4Error.mismatch.code == "InvalidSignatureException" && SigV4Error.incomplete("").status == 400)
    }

    @Test func aTemporaryKeySignsWithItsTokenAndNotAfterItsTime() throws {
        let keyring = Keyring(account: "000000000000", root: AccessKey(id: credentials.accessKeyID, secret: credentials.secretAccessKey))
        let made = try #require(keyring.temporary(of: credentials.accessKeyID, until: time + 60, noise: [1, 2, 3, 4, 5, 6, 7, 8]))
        let verifier = Verifier(keyring)
        func answer(at time: UInt64, _ change: (inout [(name: String, value: String)]) -> Void = { _ in }) -> SigV4Error? {
            let signer = Signer(
                credentials: Credentials(accessKeyID: made.key.id, secretAccessKey: made.key.secret, sessionToken: made.token), region: "r",
                service: "lambda")
            let host = [(name: "host", value: "h")]
            let none = UnsafeRawBufferPointer(start: nil, count: 0)
            var headers = host + signer.headers(method: "GET", path: "/", query: "", headers: host, body: none, epochSeconds: self.time)
            change(&headers)
            do throws(SigV4Error) {
                _ = try verifier.verify(parts("GET", "/", "", headers), body: none, services: ["lambda"], epochSeconds: time)
                return nil
            } catch { return error }
        }
        #expect(answer(at: time) == nil && answer(at: time + 59) == nil && answer(at: time + 60) == .expiredToken)
        #expect(answer(at: time) { $0.removeAll { $0.name == "x-amz-security-token" } } == .unrecognizedKey)
        let longer = answer(at: time) { headers in
            for index in headers.indices where headers[index].name == "x-amz-security-token" { headers[index].value += "A" }
        }
        #expect(longer == .unrecognizedKey)
        #expect(SigV4Error.expiredToken.code == "ExpiredTokenException" && SigV4Error.expiredToken.status == 403)
    }

    /// Thousands of mutated Authorization headers: never let in, never a crash.
    @Test func mutatedAuthorizationsAreNeverLetIn() {
        let good = signed()
        let authorization = Array((good.first { $0.name == "authorization" }?.value ?? "").utf8)
        for seed in 1...3000 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var bytes = authorization
            for _ in 0...Int(random.next() % 4) {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[at] = UInt8(random.next() % 256)
                case 1: bytes.remove(at: at)
                default: bytes.insert(UInt8(random.next() % 256), at: at)
                }
            }
            guard bytes != authorization else { continue }
            var headers = request(good)
            headers.headers = headers.headers.map { $0.name == "authorization" ? ($0.name, bytes) : $0 }
            if verify(headers, body: "{}") == nil {
                // White space around the parts is allowed to differ.
                let squeezed = bytes.filter { $0 != 32 }
                #expect(squeezed == authorization.filter { $0 != 32 }, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
            }
        }
    }

    /// botocore signs seeded random requests; every one must be let in.
    @Test(.enabled(if: Self.hasBotocore, "botocore cannot be imported")) func whatBotocoreSignsIsLetIn() throws {
        let script = """
            import json, random
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials
            r = random.Random(5)
            chars = "abcXYZ019-_.~ !*'()/:;,$%&=+@é"
            word = lambda n: ''.join(r.choice(chars) for _ in range(r.randint(1, n)))
            from urllib.parse import quote
            for i in range(200):
                path = '/' + '/'.join(quote(word(8), safe='') for _ in range(r.randint(1, 4)))
                query = '&'.join(quote(word(5), safe='') + '=' + quote(word(5), safe='') for _ in range(r.randint(0, 3)))
                body = word(50).encode()
                req = AWSRequest(r.choice(['GET', 'POST', 'PUT', 'DELETE']), 'http://127.0.0.1:9000' + path + ('?' + query if query else ''), data=body,
                    headers={'X-Amz-Thing': '  a  ' + word(9).replace('é', '').strip() + '  b ', 'Content-Type': 'application/json'})
                SigV4Auth(Credentials('AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'), 'lambda', 'us-east-1').add_auth(req)
                p = req.prepare()
                headers = [[k.lower(), v if isinstance(v, str) else v.decode()] for k, v in p.headers.items()] + [['host', '127.0.0.1:9000']]
                print(json.dumps([p.method, path, query, headers, body.decode()]))
            """
        let output = try Self.python(script)
        var count = 0
        for line in output.split(separator: "\n") {
            let row = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [Any])
            let headers = (row[3] as? [[String]] ?? []).map { (name: $0[0], value: $0[1]) }
            let request = parts(row[0] as? String ?? "", row[1] as? String ?? "", row[2] as? String ?? "", headers)
            let failure = verify(request, body: row[4] as? String ?? "", at: UInt64(Date().timeIntervalSince1970))
            try #require(failure == nil, "\(line)")
            count += 1
        }
        #expect(count == 200)
    }

    private static func python(_ script: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", "-c", script]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    private static let hasBotocore = (try? python("import botocore.auth; print('yes')"))?.hasPrefix("yes") == true
}
