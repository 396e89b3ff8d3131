internal import Base
internal import Crypto
internal import HTTP

/// The parts of a request that are signed, and the text that is made of them (AWS General Reference, "Create a signed
/// request", steps 1 and 2).
package struct SignedParts {
    package var method: String
    /// As on the wire, still percent-encoded.
    package var path: [UInt8]
    package var query: [UInt8]
    /// Names in lower case.
    package var headers: [(name: String, value: [UInt8])]

    package init(method: String, path: [UInt8], query: [UInt8], headers: [(name: String, value: [UInt8])]) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
    }

    /// - Parameters:
    ///   - signedHeaders: sorted, in lower case.
    ///   - payloadHash: hexadecimal digest or one of AWS's words.
    ///   - isS3: S3 signs the path as it was sent; all others encode it once more.
    func canonical(signedHeaders: [String], payloadHash: String, isS3: Bool) -> String {
        var lines = [method, canonicalPath(isS3: isS3), canonicalQuery]
        for name in signedHeaders { lines.append("\(name):\(canonicalValue(name))") }
        lines += ["", signedHeaders.joined(separator: ";"), payloadHash]
        return lines.joined(separator: "\n")
    }

    private func canonicalPath(isS3: Bool) -> String {
        if isS3 {
            // Encoded the way AWS does, whatever the client left as it was.
            let decoded = path.withUnsafeBytes { percentDecode($0, plusIsSpace: false) } ?? path
            return percentEncoded(decoded.isEmpty ? [UInt8(ascii: "/")] : decoded, keepSlash: true)
        }
        var parts: [ArraySlice<UInt8>] = []
        for part in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true) {
            if part.elementsEqual(".".utf8) { continue }
            if part.elementsEqual("..".utf8) { _ = parts.popLast() } else { parts.append(part) }
        }
        let joined = "/" + parts.map { percentEncoded(Array($0)) }.joined(separator: "/")
        let endsWithSlash = path.last == UInt8(ascii: "/") && !parts.isEmpty
        return endsWithSlash ? joined + "/" : joined
    }

    /// The query's names and values, decoded; of a name that is repeated, the first.
    var queryPairs: [String: String] {
        var pairs: [String: String] = [:]
        query.withUnsafeBytes { bytes in
            for item in QueryItems(bytes) {
                func text(_ range: ByteRange) -> String {
                    let raw = range.slice(bytes)
                    return String(decoding: percentDecode(raw, plusIsSpace: false) ?? Array(raw), as: UTF8.self)
                }
                let name = text(item.name)
                if pairs[name] == nil { pairs[name] = item.value.map(text) ?? "" }
            }
        }
        return pairs
    }

    private var canonicalQuery: String {
        var pairs: [(name: String, value: String)] = []
        for part in query.split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            func normal(_ raw: ArraySlice<UInt8>) -> String {
                let raw = Array(raw)
                return percentEncoded(raw.withUnsafeBytes { percentDecode($0, plusIsSpace: false) } ?? raw)
            }
            let name = normal(part[..<equals])
            let value = equals < part.endIndex ? normal(part[(equals + 1)...]) : ""
            if name != "X-Amz-Signature" { pairs.append((name, value)) }
        }
        return pairs.sorted { $0 < $1 }.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
    }

    /// Trimmed, runs of spaces made one, repeated headers joined with a comma.
    private func canonicalValue(_ name: String) -> String {
        headers.filter { $0.name == name }.map { header in
            header.value.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        }.joined(separator: ",")
    }
}

/// What a signature is good for: `20261124/eu-west-1/lambda/aws4_request`.
package struct CredentialScope: Hashable, Sendable {
    package var date: String
    package var region: String
    package var service: String

    package init(date: String, region: String, service: String) {
        self.date = date
        self.region = region
        self.service = service
    }

    var text: String { "\(date)/\(region)/\(service)/aws4_request" }

    /// The key that signs within this scope (step 3 of AWS's description).
    func signingKey(secret: String) -> [UInt8] {
        var key = hmacSHA256(key: Array("AWS4\(secret)".utf8), date)
        for part in [region, service, "aws4_request"] { key = hmacSHA256(key: key, part) }
        return key
    }

    func stringToSign(time: String, canonical: String) -> String {
        "AWS4-HMAC-SHA256\n\(time)\n\(text)\n\(hex(Digest.sha256(canonical)))"
    }
}

private func percentEncoded(_ bytes: [UInt8], keepSlash: Bool = false) -> String {
    let out = ByteBuffer(capacity: bytes.count * 3)
    bytes.withUnsafeBytes { out.append(percentEncoding: $0, keepSlash: keepSlash) }
    return out.string
}
