internal import Base
internal import Crypto

package struct Credentials: Sendable {
    package let accessKeyID: String
    package let secretAccessKey: String
    /// Of temporary ones.
    package let sessionToken: String?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.sessionToken = sessionToken
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
    }
}

/// Signs requests: for the CLI, and for the edge, which asks its origin.
package struct Signer: Sendable {
    package let credentials: Credentials
    package let region: String
    package let service: String

    package init(credentials: Credentials, region: String, service: String) {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// The headers to add: `x-amz-date`, `x-amz-content-sha256`, `authorization`, and `x-amz-security-token` of temporary credentials.
    ///
    /// - Parameter headers: those that will be sent; `host` must be among them. All are signed.
    package func headers(
        method: String, path: String, query: String, headers: [(name: String, value: String)],
        body: UnsafeRawBufferPointer, epochSeconds: UInt64
    ) -> [(name: String, value: String)] {
        self.headers(
            method: method, path: path, query: query, headers: headers, payload: hex(Digest.sha256(body)), epochSeconds: epochSeconds)
    }

    /// The same for a body that is not at hand: `payload` is its digest in hexadecimal, or one of S3's words (`UNSIGNED-PAYLOAD`).
    package func headers(
        method: String, path: String, query: String, headers: [(name: String, value: String)], payload digest: String,
        epochSeconds: UInt64
    ) -> [(name: String, value: String)] {
        let time = amzTime(epochSeconds)
        var added = [(name: "x-amz-content-sha256", value: digest), (name: "x-amz-date", value: time)]
        if let token = credentials.sessionToken { added.append((name: "x-amz-security-token", value: token)) }
        let all = headers.map { (name: $0.name.lowercased(), value: $0.value) } + added
        let parts = SignedParts(
            method: method, path: Array(path.utf8), query: Array(query.utf8),
            headers: all.map { ($0.name, Array($0.value.utf8)) })
        let names = Set(all.map(\.name)).sorted()
        let scope = CredentialScope(date: String(time.prefix(8)), region: region, service: service)
        let canonical = parts.canonical(signedHeaders: names, payloadHash: digest, isS3: service == "s3")
        let signature = hmacSHA256(
            key: scope.signingKey(secret: credentials.secretAccessKey),
            scope.stringToSign(time: time, canonical: canonical))
        let authorization =
            "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope.text), SignedHeaders=\(names.joined(separator: ";")), Signature=\(hex(signature))"
        return added + [(name: "authorization", value: authorization)]
    }
}

/// `20261124T143000Z`
func amzTime(_ epochSeconds: UInt64) -> String {
    let time = UTCTime(epochSeconds: epochSeconds)
    return time.date.filter { $0 != "-" } + "T" + time.time.filter { $0 != ":" } + "Z"
}
