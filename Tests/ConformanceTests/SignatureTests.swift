import Foundation
import SigV4
import TestSupport
import Testing

/// Signature Version 4 on every call of the API listener, refused in AWS's words.
@Suite struct SignatureTests {
    static let server = Result { try HearthProcess(functions: [.python("signed", "def handler(event, context):\n    return event\n")]) }

    private static let invokePath = "/2015-03-31/functions/signed/invocations"

    /// One signed request, changed on its way by `change`.
    private func send(
        _ path: String = invokePath, key: String? = nil, secret: String? = nil, service: String = "lambda", clockSeconds: Int = 0,
        body: String = #"{"a":1}"#, sentBody: String? = nil, change: (inout [(name: String, value: String)]) -> Void = { _ in }
    ) throws -> WireResponse {
        let server = try Self.server.get()
        let credentials = Credentials(
            accessKeyID: key ?? server.environment["AWS_ACCESS_KEY_ID"] ?? "",
            secretAccessKey: secret ?? server.environment["AWS_SECRET_ACCESS_KEY"] ?? "")
        let signer = Signer(credentials: credentials, region: "us-east-1", service: service)
        let bytes = Array(body.utf8)
        let signed = bytes.withUnsafeBytes {
            signer.headers(
                method: "POST", path: path, query: "Qualifier=$LATEST", headers: [(name: "host", value: server.api), (name: "x-amz-log-type", value: "None")], body: $0,
                epochSeconds: UInt64(Int(Date().timeIntervalSince1970) + clockSeconds))
        }
        var headers = [(name: "host", value: server.api), (name: "x-amz-log-type", value: "None")] + signed
        change(&headers)
        let sent = sentBody ?? body
        let wire = try Wire(server.api)
        let head = "POST \(path)?Qualifier=$LATEST HTTP/1.1\r\n" + headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        try wire.send("\(head)content-length: \(sent.utf8.count)\r\n\r\n\(sent)")
        return try wire.response()
    }

    private func expectRefused(
        _ answer: WireResponse, _ status: Int, _ type: String, _ message: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let isRight = answer.status == status && answer["x-amzn-errortype"] == type
            && (message.isEmpty || answer.text.contains(message)) && answer["x-amzn-requestid"] != nil
        #expect(isRight, "\(type): \(answer)", sourceLocation: sourceLocation)
    }

    @Test func whatIsSignedIsServedAndWhatIsNotIsRefused() throws {
        let fine = try send()
        #expect(fine.status == 200 && fine.object["a"] as? Int == 1, "\(fine)")
        let mismatch = "The request signature we calculated does not match the signature you provided."
        expectRefused(try send { $0.removeAll { $0.name == "authorization" } }, 403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        expectRefused(try send(key: "AKIAUNKNOWN"), 403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        expectRefused(try send(secret: "wrong"), 403, "InvalidSignatureException", mismatch)
        expectRefused(try send(sentBody: #"{"a":2}"#), 403, "InvalidSignatureException", mismatch)
        expectRefused(try send { $0[1].value = "Tail" }, 403, "InvalidSignatureException", mismatch)
        expectRefused(try send { $0.append((name: "x-amz-client-context", value: "e30=")) }, 403, "InvalidSignatureException", mismatch)
        expectRefused(try send { $0[0].value = "elsewhere:80" }, 403, "InvalidSignatureException", mismatch)
        // What is signed for S3 goes there, and S3 has no such call.
        let other = try send(service: "s3")
        #expect(other.status == 405 && other["x-amzn-errortype"] == nil, "\(other)")
        expectRefused(try send(service: "sqs"), 403, "InvalidSignatureException", "Credential should be scoped to correct service: ")
    }

    @Test func clocksMayBeAQuarterOfAnHourApart() throws {
        for seconds in [-840, 840] { #expect(try send(clockSeconds: seconds).status == 200) }
        expectRefused(try send(clockSeconds: -1000), 403, "InvalidSignatureException", "Signature expired: ")
        expectRefused(try send(clockSeconds: 1000), 403, "InvalidSignatureException", "Signature not yet current: ")
    }

    @Test func anAuthorizationThatIsNotOneIsTold() throws {
        func with(_ edit: (String) -> String) throws -> WireResponse {
            try send { headers in
                for index in headers.indices where headers[index].name == "authorization" { headers[index].value = edit(headers[index].value) }
            }
        }
        expectRefused(try with { _ in "Bearer token" }, 400, "IncompleteSignatureException", "")
        expectRefused(try with { $0.replacingOccurrences(of: "Signature=", with: "Sig=") }, 400, "IncompleteSignatureException", "Authorization header requires 'Signature' parameter.")
        expectRefused(try with { $0.replacingOccurrences(of: "/aws4_request", with: "") }, 400, "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements")
        expectRefused(try with { $0.replacingOccurrences(of: "host;", with: "") }, 403, "InvalidSignatureException", "")
        expectRefused(try with { String($0.dropLast(2)) + "00" }, 403, "InvalidSignatureException", "")
        expectRefused(try send { $0.removeAll { $0.name == "x-amz-date" } }, 400, "IncompleteSignatureException", "X-Amz-Date")
        expectRefused(
            try send { headers in
                for index in headers.indices where headers[index].name == "x-amz-date" { headers[index].value = "yesterday" }
            }, 400, "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'.")
    }

    /// Only health, metrics and packages with their token are open.
    @Test func hearthsOwnCallsAreSignedToo() throws {
        let server = try Self.server.get()
        func unsigned(_ method: String, _ path: String) throws -> WireResponse {
            let wire = try Wire(server.api)
            try wire.send("\(method) \(path) HTTP/1.1\r\nHost: \(server.api)\r\nContent-Length: 0\r\n\r\n")
            return try wire.response()
        }
        for path in ["/_hearth/healthz", "/_hearth/readyz", "/_hearth/metrics"] { #expect(try unsigned("GET", path).status == 200, "\(path)") }
        for path in [
            "/_hearth/stats", "/_hearth/functions/signed", "/_hearth/functions/signed/logs", "/_hearth/metrics/../stats", "/_hearth//stats",
            "/2015-03-31/functions/",
        ] {
            expectRefused(try unsigned("GET", path), 403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        }
        // All other paths are S3's, which tells nobody in particular nothing.
        #expect(try unsigned("GET", "/_hearth%2Fhealthz").status == 400)
        let buckets = try unsigned("GET", "/")
        #expect(buckets.status == 200 && buckets.text.contains("<Buckets></Buckets>"), "\(buckets)")
        for path in ["/_hearth/functions/signed/promote", "/_hearth/functions/signed/rollback"] {
            expectRefused(try unsigned("POST", path), 403, "MissingAuthenticationTokenException", "")
        }
        #expect(try unsigned("GET", "/_hearth/code/00?token=00").status == 403)
        let unknown = try server.call("GET", "/_hearth/nothing")
        #expect(unknown.status == 404 && unknown.object["message"] is String)
        let operation = try server.call("GET", "/2099-01-01/moons")
        #expect(operation.status == 404 && operation["x-amzn-errortype"] == "UnknownOperationException", "\(operation)")
    }
}
