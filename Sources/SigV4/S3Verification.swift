internal import Base
internal import Crypto
internal import HTTP
package import IAM

/// Why S3 does not let a request in, in its words (Amazon S3 API Reference, "Error responses").
package struct S3Refusal: Error, Equatable, Sendable {
    package let status: Int
    package let code: String
    package let message: String
    /// What was signed here, for a client that wants to find the difference.
    package var stringToSign: String?
    package var canonicalRequest: String?

    package init(_ status: Int, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    static func malformed(_ message: String) -> S3Refusal { S3Refusal(400, "AuthorizationHeaderMalformed", message) }
    static func query(_ message: String) -> S3Refusal { S3Refusal(400, "AuthorizationQueryParametersError", message) }
    static let skewed = S3Refusal(
        403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
    static let unknownKey = S3Refusal(
        403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    static let badToken = S3Refusal(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    static let expiredToken = S3Refusal(400, "ExpiredToken", "The provided token has expired.")
    static let mismatch = S3Refusal(
        403, "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
    static let version2 = S3Refusal(
        400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
    static func denied(_ message: String) -> S3Refusal { S3Refusal(403, "AccessDenied", message) }
}

/// Who sent an S3 request, and how its body is to be judged.
package struct S3Authorization {
    package enum Payload: Equatable, Sendable {
        case unsigned
        /// The body's SHA-256 in hexadecimal, which is signed.
        case digest(String)
        /// `aws-chunked`: chunks with or without signatures, with or without trailers.
        case chunks(isSigned: Bool, hasTrailers: Bool)
    }

    package let identity: Identity
    package let payload: Payload
    /// Goes on from the request's signature to those of its chunks.
    package let chain: SignatureChain
}

extension Verifier {
    /// Verifies the signature of an S3 request in its headers or in its query; nil: there is none (anonymous).
    ///
    /// Sources: Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header", "Using Query Parameters", "Signature
    /// Calculations for the Authorization Header: Transferring Payload in Multiple Chunks".
    package func verifyS3(_ parts: SignedParts, epochSeconds: UInt64) throws(S3Refusal) -> S3Authorization? {
        let query = parts.queryPairs
        let header = header("authorization", in: parts)
        let isPresigned = query["X-Amz-Algorithm"] != nil || query["X-Amz-Signature"] != nil || query["X-Amz-Credential"] != nil
        if header != nil, isPresigned {
            throw S3Refusal(
                400, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
        }
        if let header { return try verifyHeader(header, parts, epochSeconds) }
        if isPresigned { return try verifyQuery(query, parts, epochSeconds) }
        if query["Signature"] != nil, query["AWSAccessKeyId"] != nil { throw .version2 }
        return nil
    }

    private func verifyHeader(_ text: String, _ parts: SignedParts, _ now: UInt64) throws(S3Refusal) -> S3Authorization {
        guard text.hasPrefix("AWS4-HMAC-SHA256") else {
            if text.hasPrefix("AWS ") { throw .version2 }
            throw S3Refusal(400, "InvalidArgument", "Unsupported Authorization Type")
        }
        let fields: Authorization
        do { fields = try Authorization(text) } catch {
            throw .malformed("The authorization header is malformed; \(error.message)")
        }
        guard let time = header("x-amz-date", in: parts) ?? header("date", in: parts).flatMap(Self.basicTime) else {
            throw .denied("AWS authentication requires a valid Date or x-amz-date header")
        }
        let (secret, caller) = try key(fields.accessKeyID, token: self.header("x-amz-security-token", in: parts), now)
        try checkScope(fields.scope, time, { .malformed("The authorization header is malformed; \($0)") })
        guard Self.seconds(time).map({ now < $0 + Self.skewMax && $0 < now + Self.skewMax }) == true else { throw .skewed }
        guard let announced = header("x-amz-content-sha256", in: parts) else {
            throw S3Refusal(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        }
        for header in parts.headers where header.name == "host" || header.name.hasPrefix("x-amz-") {
            guard fields.signedHeaders.contains(header.name) else {
                throw .denied("There were headers present in the request which were not signed")
            }
        }
        let payload = try Self.payload(announced)
        let signer = try check(fields, secret, time, payloadHash: announced, parts)
        return S3Authorization(
            identity: Identity(caller: caller, accessKeyID: fields.accessKeyID, region: fields.scope.region, service: "s3"),
            payload: payload, chain: signer)
    }

    private func verifyQuery(
        _ query: [String: String], _ parts: SignedParts, _ now: UInt64
    ) throws(S3Refusal) -> S3Authorization {
        guard query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" else {
            throw .query("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
        }
        for name in ["X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"] where query[name] == nil {
            throw .query(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
        }
        let fields: Authorization
        do {
            fields = try Authorization(
                "AWS4-HMAC-SHA256 Credential=\(query["X-Amz-Credential"] ?? ""),SignedHeaders=\(query["X-Amz-SignedHeaders"] ?? ""),Signature=\(query["X-Amz-Signature"] ?? "")")
        } catch { throw .query("Error parsing the X-Amz-Credential parameter; \(error.message)") }
        let time = query["X-Amz-Date"] ?? ""
        guard let signedAt = Self.seconds(time) else { throw .query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"") }
        guard let life = Int(query["X-Amz-Expires"] ?? "") else { throw .query("X-Amz-Expires should be a number") }
        // 403, as the public suite wants it: whatever its form, such an address lets nobody in.
        guard (0...604_800).contains(life) else {
            throw S3Refusal(403, "AuthorizationQueryParametersError", "X-Amz-Expires must be non-negative and at most a week (604800 seconds)")
        }
        let (secret, caller) = try key(fields.accessKeyID, token: query["X-Amz-Security-Token"], now)
        try checkScope(fields.scope, time, { .query($0) })
        guard signedAt < now + Self.skewMax else { throw .denied("Request is not valid yet") }
        guard now < signedAt + UInt64(life) else { throw .denied("Request has expired") }
        for header in parts.headers where header.name == "host" || header.name.hasPrefix("x-amz-") && header.name != "x-amz-content-sha256" {
            guard fields.signedHeaders.contains(header.name) else {
                throw .denied("There were headers present in the request which were not signed")
            }
        }
        let announced = header("x-amz-content-sha256", in: parts) ?? query["X-Amz-Content-Sha256"] ?? "UNSIGNED-PAYLOAD"
        let isSigned = fields.signedHeaders.contains("x-amz-content-sha256") || query["X-Amz-Content-Sha256"] != nil
        let signer = try check(fields, secret, time, payloadHash: isSigned ? announced : "UNSIGNED-PAYLOAD", parts)
        return S3Authorization(
            identity: Identity(caller: caller, accessKeyID: fields.accessKeyID, region: fields.scope.region, service: "s3"),
            payload: isSigned ? try Self.payload(announced) : .unsigned, chain: signer)
    }

    /// Verifies the policy of an upload by HTML form: its base64 text is what is signed.
    package func verifyPolicy(
        _ policy: String, credential: String, time: String, signature: String, token: String?, epochSeconds: UInt64
    ) throws(S3Refusal) -> Caller {
        let fields: Authorization
        do {
            fields = try Authorization("AWS4-HMAC-SHA256 Credential=\(credential),SignedHeaders=host,Signature=\(signature)")
        } catch { throw S3Refusal(400, "InvalidArgument", "Error parsing the X-Amz-Credential field; \(error.message)") }
        let (secret, caller) = try key(fields.accessKeyID, token: token, epochSeconds)
        try checkScope(fields.scope, time, { S3Refusal(400, "InvalidArgument", $0) })
        let expected = hmacSHA256(key: key(fields.accessKeyID, fields.scope, secret), policy)
        guard equalsInConstantTime(Array(hex(expected).utf8), Array(fields.signature.utf8)) else { throw .mismatch }
        return caller
    }

    /// The same in the form that was before Signature Version 4, which forms (and nothing else here) may still have: HMAC-SHA-1 in base64.
    package func verifyOldPolicy(
        _ policy: String, accessKeyID: String, signature: String, token: String?, epochSeconds: UInt64
    ) throws(S3Refusal) -> Caller {
        let (secret, caller) = try key(accessKeyID, token: token, epochSeconds)
        let expected = ByteBuffer(capacity: 32)
        hmacSHA1(key: Array(secret.utf8), policy).withUnsafeBytes { Base64.encode($0, into: expected) }
        guard equalsInConstantTime(Array(expected.bytes), Array(signature.utf8)) else { throw .mismatch }
        return caller
    }

    private func key(_ id: String, token: String?, _ now: UInt64) throws(S3Refusal) -> (secret: String, caller: Caller) {
        do throws(Keyring.Fault) { return try find(id, token: token, at: now) } catch {
            switch error {
            case .unknown: throw .unknownKey
            case .badToken: throw .badToken
            case .expired: throw .expiredToken
            }
        }
    }

    private func checkScope(_ scope: CredentialScope, _ time: String, _ refusal: (String) -> S3Refusal) throws(S3Refusal) {
        guard scope.service == "s3" else { throw refusal("incorrect service \"\(scope.service)\". This endpoint belongs to \"s3\".") }
        guard time.hasPrefix(scope.date), scope.date.utf8.count == 8 else {
            throw refusal("Invalid credential date \"\(scope.date)\". This date is not the same as X-Amz-Date: \"\(time.prefix(8))\".")
        }
    }

    private func check(
        _ fields: Authorization, _ secret: String, _ time: String, payloadHash: String, _ parts: SignedParts
    ) throws(S3Refusal) -> SignatureChain {
        guard fields.signedHeaders.contains("host") else { throw .denied("There were headers present in the request which were not signed") }
        let canonical = parts.canonical(signedHeaders: fields.signedHeaders, payloadHash: payloadHash, isS3: true)
        let text = fields.scope.stringToSign(time: time, canonical: canonical)
        let key = key(fields.accessKeyID, fields.scope, secret)
        let expected = hex(hmacSHA256(key: key, text))
        guard equalsInConstantTime(Array(expected.utf8), Array(fields.signature.utf8)) else {
            var refusal = S3Refusal.mismatch
            refusal.stringToSign = text
            refusal.canonicalRequest = canonical
            throw refusal
        }
        return SignatureChain(key: key, time: time, scope: fields.scope, seed: expected)
    }

    private static func payload(_ announced: String) throws(S3Refusal) -> S3Authorization.Payload {
        switch announced {
        case "UNSIGNED-PAYLOAD": return .unsigned
        case "STREAMING-UNSIGNED-PAYLOAD-TRAILER": return .chunks(isSigned: false, hasTrailers: true)
        case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": return .chunks(isSigned: true, hasTrailers: false)
        case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": return .chunks(isSigned: true, hasTrailers: true)
        default:
            guard announced.utf8.count == 64, announced.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 || $0 >= 97 && $0 <= 102 }) else {
                throw S3Refusal(
                    400, "InvalidArgument",
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 value.")
            }
            return .digest(announced)
        }
    }

    /// Seconds since 1970 of `20261124T143000Z`; nil when it is no time.
    static func seconds(_ time: String) -> UInt64? {
        let text = Array(time.utf8)
        guard text.count == 16, text[8] == UInt8(ascii: "T"), text[15] == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int? { Int(String(decoding: text[range], as: UTF8.self)) }
        guard let year = number(0..<4), let month = number(4..<6), let day = number(6..<8), let hour = number(9..<11),
            let minute = number(11..<13), let second = number(13..<15), (1970...9999).contains(year), (1...12).contains(month),
            (1...31).contains(day), (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        // Days from the civil calendar: years begin in March, so that the leap day is the last.
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return UInt64(days * 86_400 + hour * 3600 + minute * 60 + second)
    }

    /// `Date` in the form that HTTP gives it, as `20261124T143000Z`.
    private static func basicTime(_ date: String) -> String? {
        let parts = date.split(separator: " ")
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count == 6, let day = Int(parts[1]), let month = months.firstIndex(of: String(parts[2])),
            parts[3].utf8.count == 4
        else {
            return seconds(date) == nil ? nil : date
        }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts[3])\(two(month + 1))\(two(day))T\(parts[4].filter { $0 != ":" })Z"
    }
}

/// The signatures of an `aws-chunked` body: each signs its chunk and the signature before it.
package struct SignatureChain {
    private let key: [UInt8]
    private let time: String
    private let scope: CredentialScope
    private var previous: String

    /// Of a request without a signature: it accepts none.
    package static let none = SignatureChain(key: [], time: "", scope: CredentialScope(date: "", region: "", service: ""), seed: "")

    init(key: [UInt8], time: String, scope: CredentialScope, seed: String) {
        self.key = key
        self.time = time
        self.scope = scope
        previous = seed
    }

    private static let emptyDigest = hex(Digest.sha256(""))

    /// Does `signature` sign a chunk with this SHA-256? Then it is the one that the next must follow.
    mutating func accepts(chunk digest: [UInt8], signature: String) -> Bool {
        accepts("AWS4-HMAC-SHA256-PAYLOAD\n\(time)\n\(scope.text)\n\(previous)\n\(Self.emptyDigest)\n\(hex(digest))", signature)
    }

    /// The same for the trailers, `name:value\n` each.
    mutating func accepts(trailers: String, signature: String) -> Bool {
        accepts("AWS4-HMAC-SHA256-TRAILER\n\(time)\n\(scope.text)\n\(previous)\n\(hex(Digest.sha256(trailers)))", signature)
    }

    private mutating func accepts(_ text: String, _ signature: String) -> Bool {
        let expected = hex(hmacSHA256(key: key, text))
        previous = expected
        return equalsInConstantTime(Array(expected.utf8), Array(signature.utf8))
    }
}
