internal import Crypto

/// Who signed a request, and for what.
package struct Identity: Equatable, Sendable {
    package let accessKeyID: String
    package let region: String
    package let service: String
}

/// Verifies Signature Version 4 in the Authorization header. (S3's other ways to sign: `verifyS3`.)
///
/// Thread rule: one thread; each listener has its own.
package final class Verifier {
    /// How far the clocks may be apart, in seconds (AWS: 15 minutes).
    static let skewMax: UInt64 = 900
    private static let cachedKeysMax = 64

    private struct CachedKey: Hashable {
        let accessKeyID: String
        let scope: CredentialScope
    }

    let secret: (String) -> String?
    private var keys: [CachedKey: [UInt8]] = [:]

    /// - Parameter secret: the secret of an access key, or nil.
    package init(secret: @escaping (String) -> String?) { self.secret = secret }

    /// - Parameters:
    ///   - services: those that the listener serves.
    ///   - body: as received; its digest must be the signed one.
    package func verify(
        _ parts: SignedParts, body: UnsafeRawBufferPointer, services: Set<String>, epochSeconds: UInt64
    ) throws(SigV4Error) -> Identity {
        guard let authorization = header("authorization", in: parts) else { throw .missing }
        let fields = try Authorization(authorization)
        guard let time = header("x-amz-date", in: parts) ?? header("date", in: parts) else {
            throw .incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=\(authorization)")
        }
        guard let secret = secret(fields.accessKeyID) else { throw .unrecognizedKey }
        guard header("x-amz-security-token", in: parts) == nil else { throw .unrecognizedKey }
        try check(time, fields.scope, epochSeconds)
        guard services.contains(fields.scope.service) else {
            throw .wrongScope("Credential should be scoped to correct service: '\(services.sorted().first ?? "")'. ")
        }
        for parts in parts.headers where parts.name.hasPrefix("x-amz-") || parts.name == "host" {
            guard fields.signedHeaders.contains(parts.name) else { throw .mismatch }
        }
        guard fields.signedHeaders.contains("host") else { throw .mismatch }
        let digest = hex(Digest.sha256(body))
        if let announced = header("x-amz-content-sha256", in: parts), announced != digest { throw .mismatch }
        let canonical = parts.canonical(
            signedHeaders: fields.signedHeaders, payloadHash: digest, isS3: fields.scope.service == "s3")
        let expected = hmacSHA256(
            key: key(fields.accessKeyID, fields.scope, secret), fields.scope.stringToSign(time: time, canonical: canonical))
        guard equalsInConstantTime(Array(hex(expected).utf8), Array(fields.signature.utf8)) else { throw .mismatch }
        return Identity(accessKeyID: fields.accessKeyID, region: fields.scope.region, service: fields.scope.service)
    }

    func header(_ name: String, in parts: SignedParts) -> String? {
        parts.headers.first { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
    }

    private func check(_ time: String, _ scope: CredentialScope, _ now: UInt64) throws(SigV4Error) {
        guard time.utf8.count == 16, time.utf8.dropFirst(8).first == UInt8(ascii: "T"), time.last == "Z" else {
            throw .incomplete("Date must be in ISO-8601 'basic format'. Got '\(time)'. See http://en.wikipedia.org/wiki/ISO_8601")
        }
        guard time.hasPrefix(scope.date) else {
            throw .wrongScope("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '\(scope.date)' != '\(time.prefix(8))', from '\(time)'.")
        }
        let earliest = amzTime(now > Self.skewMax ? now - Self.skewMax : 0)
        let latest = amzTime(now + Self.skewMax)
        // Times in this format compare as text.
        if time < earliest { throw .expired("Signature expired: \(time) is now earlier than \(earliest) (\(amzTime(now)) - 15 min.)") }
        if time > latest { throw .expired("Signature not yet current: \(time) is still later than \(latest) (\(amzTime(now)) + 15 min.)") }
    }

    func key(_ accessKeyID: String, _ scope: CredentialScope, _ secret: String) -> [UInt8] {
        let name = CachedKey(accessKeyID: accessKeyID, scope: scope)
        if let key = keys[name] { return key }
        if keys.count >= Self.cachedKeysMax { keys.removeAll(keepingCapacity: true) }
        let key = scope.signingKey(secret: secret)
        keys[name] = key
        return key
    }
}

/// `AWS4-HMAC-SHA256 Credential=KEY/scope, SignedHeaders=a;b, Signature=hex`
struct Authorization {
    let accessKeyID: String
    let scope: CredentialScope
    let signedHeaders: [String]
    let signature: String

    init(_ text: String) throws(SigV4Error) {
        guard text.hasPrefix("AWS4-HMAC-SHA256") else {
            throw .incomplete("Unsupported AWS 'algorithm': '\(text.prefix { $0 != " " })'.")
        }
        // Bytes: to find characters costs many times as much.
        var values: (credential: Substring?, signedHeaders: Substring?, signature: Substring?) = (nil, nil, nil)
        for part in text.utf8.dropFirst("AWS4-HMAC-SHA256".utf8.count).split(separator: UInt8(ascii: ",")) {
            let trimmed = part.drop { $0 == UInt8(ascii: " ") }
            guard let equals = trimmed.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let value = Substring(trimmed[trimmed.index(after: equals)...])
            switch Substring(trimmed[..<equals]) {
            case "Credential": values.credential = value
            case "SignedHeaders": values.signedHeaders = value
            case "Signature": values.signature = value
            default: break
            }
        }
        func given(_ value: Substring?, _ name: String) throws(SigV4Error) -> Substring {
            guard let value else { throw .incomplete("Authorization header requires '\(name)' parameter. Authorization=\(text)") }
            return value
        }
        let whole = try given(values.credential, "Credential")
        let names = try given(values.signedHeaders, "SignedHeaders")
        signature = String(try given(values.signature, "Signature"))
        let credential = whole.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { Substring($0) }
        guard credential.count == 5, credential[4] == "aws4_request" else {
            throw .incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '\(whole)'")
        }
        accessKeyID = String(credential[0])
        scope = CredentialScope(
            date: String(credential[1]), region: String(credential[2]), service: String(credential[3]))
        signedHeaders = names.utf8.split(separator: UInt8(ascii: ";")).map { String(Substring($0)) }
        guard signedHeaders == signedHeaders.sorted() else { throw .mismatch }
    }
}
