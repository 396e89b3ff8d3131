internal import Base
internal import Crypto
internal import HTTP
internal import SigV4

/// How one PUT becomes a multipart upload that gives the same object, and what its client said of the bytes.
struct UploadPlan {
    /// The checksum of the whole, made of those of the parts (`FULL_OBJECT`): the client's, or the one that S3 makes by itself.
    let checksum: CRC.Kind
    /// In base64: what the whole must have. A trailer may bring it later.
    let expected: String?
    let partBytes: Int
    let length: Int
    let md5: [UInt8]?
    let createHeaders: [(name: String, value: String)]
    let completeHeaders: [(name: String, value: String)]

    /// nil: a multipart upload cannot say what this request says, so it goes on as it is.
    init?(_ request: EdgeRequest, length: Int) {
        let isPlain = request.items.keys.allSatisfy { $0 == "x-id" || $0.lowercased().hasPrefix("x-amz-") }
        guard request.method == "PUT", request.bucketAndKey != nil, isPlain else { return nil }
        var kind: CRC.Kind?
        var value: String?
        var create: [(name: String, value: String)] = []
        var complete: [(name: String, value: String)] = []
        for field in request.passedHeadersDecoded {
            if let named = Self.crcs.first(where: { "x-amz-checksum-\($0.name)" == field.name }) {
                (kind, value) = (named.kind, field.value)
            } else if field.name == "x-amz-sdk-checksum-algorithm" {
                guard let named = Self.crcs.first(where: { $0.name == field.value.lowercased() }) else { return nil }
                kind = named.kind
            } else if field.name.hasPrefix("x-amz-checksum-") || Self.inexpressible.contains(where: { field.name.hasPrefix($0) }) {
                return nil
            } else if field.name == "if-match" || field.name == "if-none-match" {
                complete.append(field)
            } else if field.name == "x-amz-expected-bucket-owner" || field.name == "x-amz-request-payer" {
                create.append(field)
                complete.append(field)
            } else if field.name.hasPrefix("x-amz-") || Self.content.contains(field.name) {
                create.append(field)
            }
        }
        if let trailer = request.header("x-amz-trailer")?.lowercased() {
            guard let named = Self.crcs.first(where: { "x-amz-checksum-\($0.name)" == trailer }) else { return nil }
            kind = named.kind
        }
        if let text = request.header("content-md5") {
            let digest = ByteBuffer()
            // What is malformed is the origin's to refuse.
            guard Array(text.utf8).withUnsafeBytes({ Base64.decode($0, into: digest) }), digest.count == 16 else { return nil }
            md5 = Array(digest.bytes)
        } else {
            md5 = nil
        }
        let checksum = kind ?? .crc64nvme
        create.append(("x-amz-checksum-algorithm", Self.name(checksum).uppercased()))
        create.append(("x-amz-checksum-type", "FULL_OBJECT"))
        (self.checksum, expected, createHeaders, completeHeaders) = (checksum, value, create, complete)
        self.length = length
        partBytes = max(Limits.edgePartBytes, (length + Self.partsMax - 1) / Self.partsMax)
    }

    private static let partsMax = 10_000
    private static let crcs: [(name: String, kind: CRC.Kind)] = [("crc32", .crc32), ("crc32c", .crc32c), ("crc64nvme", .crc64nvme)]
    private static let content: Set<String> = [
        "cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires",
    ]
    /// Keys of the client's own, and writes at an offset.
    private static let inexpressible = [
        "x-amz-server-side-encryption-customer", "x-amz-write-offset", "x-amz-copy-source", "if-modified", "if-unmodified",
    ]

    var partsCount: Int { (length + partBytes - 1) / partBytes }

    static func name(_ kind: CRC.Kind) -> String { crcs.first { $0.kind == kind }?.name ?? "" }
    var checksumField: String { "x-amz-checksum-\(Self.name(checksum))" }

    static func base64(_ value: UInt64, _ kind: CRC.Kind) -> String {
        let out = ByteBuffer(capacity: 32)
        CRC.bytes(value, kind).withUnsafeBytes { Base64.encode($0, into: out) }
        return out.string
    }
}
