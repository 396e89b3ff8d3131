internal import Base
internal import HTTP
internal import Net
internal import SigV4

/// The head of a request, copied out of its connection's buffer, and who signed it.
struct EdgeRequest {
    let method: String
    /// Percent-encoded, as it was sent.
    let path: String
    /// Percent-encoded, without what a presigned address adds.
    let query: String
    /// Decoded; of a repeated name the first.
    let items: [String: String]
    /// In lower case, in their order.
    let headers: [(name: String, value: String)]
    let authorization: S3Authorization?
    let length: Int?

    init(_ request: HTTPRequest, _ authorization: S3Authorization?) {
        let head = request.head
        method = request.text(head.methodRange)
        path = request.text(head.path)
        let raw = head.query.map { request.text($0) } ?? ""
        // The signature is the client's; ours goes into a header.
        query =
            authorization == nil
            ? raw : raw.split(separator: "&").filter { !$0.lowercased().hasPrefix("x-amz-") || Self.isParameter($0) }.joined(separator: "&")
        headers = (0..<head.headerCount).map { index in
            (request.text(head.headerName(index)).lowercased(), request.text(head.headerValue(index)))
        }
        items = SignedParts(method: "", path: [], query: Array(request.query), headers: []).queryPairs
        self.authorization = authorization
        if case .length(let count) = head.framing { length = Int(count) } else { length = nil }
    }

    private static let signatureParameters: Set<String> = [
        "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
        "x-amz-content-sha256", "x-amz-security-token",
    ]

    private static func isParameter(_ item: Substring) -> Bool {
        !signatureParameters.contains(item.prefix { $0 != "=" }.lowercased())
    }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    func has(_ name: String) -> Bool { headers.contains { $0.name == name } }

    /// Path style: `/BUCKET/KEY`; nil for requests about a bucket or all of them.
    var bucketAndKey: (bucket: Substring, key: Substring)? {
        let rest = path.dropFirst()
        guard let slash = rest.firstIndex(of: "/"), rest.index(after: slash) < rest.endIndex else { return nil }
        return (rest[..<slash], rest[rest.index(after: slash)...])
    }

    /// The path in the one way to write it, for names in the cache.
    var canonicalPath: String {
        let raw = Array(path.utf8)
        let decoded = raw.withUnsafeBytes { percentDecode($0, plusIsSpace: false) } ?? raw
        let out = ByteBuffer(capacity: decoded.count * 3)
        decoded.withUnsafeBytes { out.append(percentEncoding: $0, keepSlash: true) }
        return out.string
    }

    var bucket: Substring { path.dropFirst().prefix { $0 != "/" } }

    /// Fields that are about one connection (RFC 9110 §7.6.1), that are made anew, or that sign what is not sent on.
    private static let ownFields: Set<String> = [
        "host", "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "expect", "content-length",
        "authorization", "x-amz-date", "x-amz-content-sha256", "date",
    ]

    /// What is sent on as it came.
    var passedHeaders: [(name: String, value: String)] {
        headers.filter { !Self.ownFields.contains($0.name) && (authorization == nil || $0.name != "x-amz-security-token") }
    }

    /// The same when the body has been taken out of `aws-chunked`.
    var passedHeadersDecoded: [(name: String, value: String)] {
        passedHeaders.compactMap { field in
            switch field.name {
            case "x-amz-decoded-content-length", "x-amz-trailer": return nil
            case "content-encoding":
                let left = Self.codings(field.value)
                return left.isEmpty ? nil : (field.name, left)
            default: return field
            }
        }
    }

    private static func codings(_ value: String) -> String {
        value.split(separator: ",").map { $0.filter { $0 != " " } }.filter { $0 != "aws-chunked" }.joined(separator: ",")
    }
}

/// Writes the heads of requests to the origin: signed with the edge's key, with the region that the client's signature names.
struct OriginSigner {
    /// `HOST:PORT`
    let host: String
    let credentials: Credentials
    /// Seconds since 1970.
    let clock: () -> UInt64

    /// - Parameters:
    ///   - payload: what is signed of the body: a digest or S3's word; nil: not signed at all (an anonymous request).
    ///   - length: nil: there is no body.
    func head(
        _ method: String, _ path: String, query: String, headers: [(name: String, value: String)], region: String, payload: String?,
        length: Int?
    ) -> [UInt8] {
        var all = [(name: "host", value: host)] + headers
        if let payload {
            let signer = Signer(credentials: credentials, region: region, service: "s3")
            all += signer.headers(method: method, path: path, query: query, headers: all, payload: payload, epochSeconds: clock())
        }
        var text = "\(method) \(path)\(query.isEmpty ? "" : "?")\(query) HTTP/1.1\r\n"
        for field in all { text += "\(field.name): \(field.value)\r\n" }
        if let length { text += "content-length: \(length)\r\n" }
        return Array((text + "\r\n").utf8)
    }
}
