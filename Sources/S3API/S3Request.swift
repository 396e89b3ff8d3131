internal import Base
internal import HTTP
internal import IAM
internal import Net
internal import Objects

/// Who asks: one of the runtime's accounts. Anonymous requests have none.
package struct S3Account: Hashable, Sendable {
    /// The account's number, which is also its canonical user id here.
    package let id: String
    package let name: String

    package init(id: String, name: String) {
        self.id = id
        self.name = name
    }
}

/// The head of a request, copied out of the connection's buffer and taken apart.
struct S3Request: Sendable {
    let method: HTTPMethod
    /// Percent-decoded, not yet judged; nil: the request is about all buckets.
    let bucketText: String?
    /// Percent-decoded; nil: the request is about the bucket.
    let keyBytes: [UInt8]?
    /// The first value of each name, decoded.
    let query: [String: String]
    /// By lower-case name; repeated ones joined with a comma.
    let headers: [String: String]
    /// As sent, for the error's document.
    let resource: String
    let host: String
    /// Numeric address of the other side.
    let peer: String
    let id: String
    /// Milliseconds since 1970.
    let now: Int64
    /// nil: nobody in particular.
    private(set) var caller: Caller?
    private(set) var account: S3Account?
    var isPresigned = false

    static let hostID = "hearth"

    /// - Parameter id: of the request, to be answered.
    init(_ request: HTTPRequest, id: String, now: Int64) throws(S3Fault) {
        let head = request.head
        method = head.method
        self.id = id
        peer = request.connection.peerHost
        self.now = now
        resource = request.text(head.path)
        host = head.authority.map { request.text($0) } ?? ""
        var headers: [String: String] = [:]
        for index in 0..<head.headerCount {
            let name = request.text(head.headerName(index)).lowercased()
            let value = request.text(head.headerValue(index))
            headers[name] = headers[name].map { "\($0),\(value)" } ?? value
        }
        self.headers = headers
        var query: [String: String] = [:]
        for item in QueryItems(request.query) {
            func text(_ range: ByteRange) throws(S3Fault) -> String {
                guard let decoded = percentDecode(range.slice(request.query), plusIsSpace: true),
                    let text = String(validating: decoded, as: UTF8.self)
                else { throw S3Fault(400, "InvalidURI", "Couldn't parse the specified URI.") }
                return text
            }
            let name = try text(item.name)
            guard query[name] == nil else { continue }
            if let value = item.value { query[name] = try text(value) } else { query[name] = "" }
        }
        self.query = query
        guard let path = percentDecode(request.path, plusIsSpace: false) else {
            throw S3Fault(400, "InvalidURI", "Couldn't parse the specified URI.")
        }
        let parts = Self.split(path, host: host)
        bucketText = parts.bucket
        keyBytes = parts.key
    }

    /// The same request with a form's fields in the place of its headers.
    init(_ other: S3Request, headers: [String: String]) {
        (method, bucketText, keyBytes, query) = (other.method, other.bucketText, other.keyBytes, other.query)
        (resource, host, peer, id, now) = (other.resource, other.host, other.peer, other.id, other.now)
        self.headers = headers
        (caller, account) = (other.caller, other.account)
    }

    mutating func setCaller(_ caller: Caller?, _ accounts: S3Accounts) {
        self.caller = caller
        account = caller.flatMap { accounts.named($0.account) }
    }

    /// The same request of nobody for an object of a bucket, without its query.
    init(_ other: S3Request, bucket: String, key: [UInt8]) {
        (method, bucketText, keyBytes, query) = (other.method, bucket, key.isEmpty ? nil : key, [:])
        (resource, host, peer, id, now, headers) = (other.resource, other.host, other.peer, other.id, other.now, other.headers)
    }

    /// Path style has the bucket in the path; hosts `BUCKET.localhost`, `BUCKET.s3.localhost` name it themselves.
    static func split(_ path: [UInt8], host: String) -> (bucket: String?, key: [UInt8]?) {
        let rest = path.dropFirst()
        if let bucket = bucket(ofHost: host) { return (bucket, rest.isEmpty ? nil : Array(rest)) }
        guard !rest.isEmpty else { return (nil, nil) }
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        let name = String(decoding: rest[..<slash], as: UTF8.self)
        let key = slash < rest.endIndex ? Array(rest[(slash + 1)...]) : []
        return (name, key.isEmpty ? nil : key)
    }

    static func bucket(ofHost host: String) -> String? {
        let name = host.lowercased().split(separator: ":").first.map(String.init) ?? ""
        for suffix in [".s3.localhost", ".localhost"] where name.hasSuffix(suffix) && name.count > suffix.count {
            let bucket = String(name.dropLast(suffix.count))
            return bucket == "s3" ? nil : bucket
        }
        return nil
    }

    /// For those who are told of what it changes.
    var requester: Requester { Requester(account: account?.id ?? "", address: peer, requestID: id) }

    func header(_ name: String) -> String? { headers[name] }

    /// Throws InvalidBucketName.
    func bucket() throws(S3Fault) -> BucketName {
        do { return try BucketName(bucketText ?? "") } catch { throw S3Fault(error) }
    }

    func key() throws(S3Fault) -> ObjectKey {
        do { return try ObjectKey(keyBytes ?? []) } catch { throw S3Fault(error) }
    }

    func versionID() throws(S3Fault) -> VersionID? {
        guard let text = query["versionId"], !text.isEmpty else { return nil }
        do { return try VersionID(text) } catch { throw .invalidArgument("Invalid version id specified", name: "versionId", value: text) }
    }

    /// A number of the query between 0 and what is sensible.
    func number(_ name: String, default missing: Int) throws(S3Fault) -> Int {
        guard let text = query[name], !text.isEmpty else { return missing }
        guard let value = Int(text), value >= 0, value <= Int(Int32.max) else {
            throw .invalidArgument("Provided \(name) not an integer or within integer range", name: name, value: text)
        }
        return value
    }

    /// Content-MD5, or nothing.
    func contentMD5() throws(S3Fault) -> [UInt8]? {
        guard let text = headers["content-md5"] else { return nil }
        guard let digest = Self.decodeBase64(text), digest.count == 16 else { throw .invalidDigest }
        return digest
    }

    static func decodeBase64(_ text: String) -> [UInt8]? {
        let buffer = ByteBuffer(capacity: 64)
        let decoded = Array(text.utf8).withUnsafeBytes { Base64.decode($0, into: buffer) }
        return decoded ? Array(buffer.bytes) : nil
    }

    static func encodeBase64(_ bytes: [UInt8]) -> String {
        let buffer = ByteBuffer(capacity: 64)
        bytes.withUnsafeBytes { Base64.encode($0, into: buffer) }
        return buffer.string
    }

    /// A value in the coding of forms; nil when it is none, or no UTF-8.
    static func decodeForm(_ text: String) -> String? {
        let decoded = Array(text.utf8).withUnsafeBytes { percentDecode($0, plusIsSpace: true) }
        return decoded.flatMap { String(validating: $0, as: UTF8.self) }
    }

    static func percentEncode(_ bytes: [UInt8], keepSlash: Bool = true) -> String {
        let buffer = ByteBuffer(capacity: bytes.count * 3)
        bytes.withUnsafeBytes { buffer.append(percentEncoding: $0, keepSlash: keepSlash) }
        return buffer.string
    }
}
