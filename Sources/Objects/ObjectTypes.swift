/// The entity tag of an object: MD5 of the body, or MD5 of the parts' MD5s with their count.
package struct ETag: Hashable, Sendable, CustomStringConvertible {
    /// 16 bytes.
    package let digest: [UInt8]
    /// 0: not uploaded in parts.
    package let parts: Int

    package init(digest: [UInt8], parts: Int = 0) {
        self.digest = digest
        self.parts = parts
    }

    /// What a client wrote, with or without quotes; nil for what no ETag can be.
    package init?(_ text: some StringProtocol) {
        let bare = text.drop { $0 == "\"" || $0 == " " }.prefix { $0 != "\"" && $0 != " " }
        let halves = bare.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let digest = bytes(hex: halves[0]), digest.count == 16 else { return nil }
        if halves.count == 1 {
            self.init(digest: digest)
        } else {
            guard let parts = Int(halves[1]), parts > 0 else { return nil }
            self.init(digest: digest, parts: parts)
        }
    }

    /// Without quotes.
    package var description: String {
        let digits = hexadecimal(digest)
        return parts == 0 ? digits : "\(digits)-\(parts)"
    }
}

package enum ChecksumAlgorithm: UInt8, Sendable, CaseIterable {
    case crc32 = 1
    case crc32c, crc64nvme, sha1, sha256

    /// As in `x-amz-checksum-algorithm`.
    package var name: String {
        switch self {
        case .crc32: "CRC32"
        case .crc32c: "CRC32C"
        case .crc64nvme: "CRC64NVME"
        case .sha1: "SHA1"
        case .sha256: "SHA256"
        }
    }

    package init?(name: some StringProtocol) {
        guard let found = Self.allCases.first(where: { $0.name == name.uppercased() }) else { return nil }
        self = found
    }

    package var byteCount: Int {
        switch self {
        case .crc32, .crc32c: 4
        case .crc64nvme: 8
        case .sha1: 20
        case .sha256: 32
        }
    }

    /// Whole-object values can be combined from those of the parts.
    package var isCombinable: Bool { self == .crc32 || self == .crc32c || self == .crc64nvme }
}

package enum ChecksumType: UInt8, Sendable {
    /// Of all bytes.
    case fullObject = 0
    /// Of the parts' values; written `value-N`.
    case composite = 1

    package var name: String { self == .fullObject ? "FULL_OBJECT" : "COMPOSITE" }
}

/// A stored checksum: big-endian bytes, as base64 spells them on the wire.
package struct Checksum: Hashable, Sendable {
    package let algorithm: ChecksumAlgorithm
    package let value: [UInt8]
    package let type: ChecksumType

    package init(_ algorithm: ChecksumAlgorithm, _ value: [UInt8], type: ChecksumType = .fullObject) {
        self.algorithm = algorithm
        self.value = value
        self.type = type
    }
}

package struct Field: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What is stored with a body and comes back with it.
package struct Metadata: Hashable, Sendable {
    package static let userBytesMax = 2048
    /// Content headers and others that are returned as they came: `content-type`, `cache-control`, `x-amz-website-redirect-location` …
    package var headers: [Field]
    /// `x-amz-meta-` fields without that prefix, lower case.
    package var user: [Field]
    /// Any document of the door about this version: its ACL.
    package var acl: [UInt8]

    package init(headers: [Field] = [], user: [Field] = [], acl: [UInt8] = []) {
        self.headers = headers
        self.user = user
        self.acl = acl
    }

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

package struct StorageClass: Hashable, Sendable, CustomStringConvertible {
    package let name: String

    package init(_ name: String) { self.name = name }

    package static let standard = StorageClass("STANDARD")
    package static let intelligentTiering = StorageClass("INTELLIGENT_TIERING")
    package var description: String { name }
}

/// Where the bytes of an object lie.
package enum Tier: Int, Sendable, CaseIterable {
    /// As they came, on the store's own disk.
    case hot = 0
    /// Compressed, under `coldDirectory`.
    case cold = 1

    /// As `cold`, but in files that lie in an archive: read after a restore.
    case archive = 2

    package var name: String { "\(self)" }
}

/// Object Lock of one version.
package struct ObjectLock: Hashable, Sendable {
    package enum Mode: Int, Sendable {
        case governance = 1
        case compliance = 2
    }
    package var mode: Mode?
    /// Milliseconds since 1970; meaningful with a mode.
    package var retainUntil: Int64
    package var legalHold: Bool

    package init(mode: Mode? = nil, retainUntil: Int64 = 0, legalHold: Bool = false) {
        self.mode = mode
        self.retainUntil = retainUntil
        self.legalHold = legalHold
    }
}

/// One version of an object, or a delete marker: everything but its bytes.
package struct ObjectVersion: Sendable {
    package let key: ObjectKey
    package let id: VersionID
    package let isLatest: Bool
    package let isDeleteMarker: Bool
    package let size: Int64
    package let etag: ETag
    /// Milliseconds since 1970; HTTP shows seconds.
    package let modified: Int64
    package let storageClass: StorageClass
    package let tier: Tier
    package let checksum: Checksum?
    package let metadata: Metadata
    package let tags: [Field]
    package let lock: ObjectLock
    /// Restored from an archive until then (milliseconds since 1970); 0: not restored; negative: the restore is under way.
    package let restoredUntil: Int64
    /// When lifecycle will expire it, and the rule's id: `x-amz-expiration`.
    package let expiry: (time: Int64, rule: String)?
    let body: Int64?
}

/// One part of an object or of an upload.
package struct Part: Hashable, Sendable {
    package let number: Int
    package let size: Int64
    package let etag: ETag
    package let checksum: Checksum?
    package let modified: Int64
}

/// An upload that has been created and neither completed nor aborted.
package struct Upload: Sendable {
    package let id: UploadID
    package let bucket: BucketName
    package let key: ObjectKey
    package let initiated: Int64
    package let storageClass: StorageClass
    package let checksum: ChecksumPlan?
    package let metadata: Metadata
}

/// Which checksum an upload will have.
package struct ChecksumPlan: Hashable, Sendable {
    package let algorithm: ChecksumAlgorithm
    package let type: ChecksumType

    package init(_ algorithm: ChecksumAlgorithm, _ type: ChecksumType) {
        self.algorithm = algorithm
        self.type = type
    }
}

package enum Versioning: Int, Sendable {
    /// Never enabled.
    case off = 0
    case enabled = 1
    case suspended = 2
}

package struct Bucket: Hashable, Sendable {
    package let name: BucketName
    package let owner: String
    package let created: Int64
    package let versioning: Versioning
    package let hasObjectLock: Bool
}

/// Documents of a bucket that the store keeps and does not read.
package enum BucketDocument: String, Sendable, CaseIterable {
    case cors, lifecycle, policy, tagging, notification, website, tiering, accelerate, encryption, ownership, acl, logging,
        requestPayment
    case publicAccessBlock, objectLock

    var missingCode: String {
        switch self {
        case .cors: "NoSuchCORSConfiguration"
        case .lifecycle: "NoSuchLifecycleConfiguration"
        case .policy: "NoSuchBucketPolicy"
        case .tagging: "NoSuchTagSet"
        case .website: "NoSuchWebsiteConfiguration"
        case .encryption: "ServerSideEncryptionConfigurationNotFoundError"
        case .ownership: "OwnershipControlsNotFoundError"
        case .publicAccessBlock: "NoSuchPublicAccessBlockConfiguration"
        case .objectLock: "ObjectLockConfigurationNotFoundError"
        case .tiering, .notification, .accelerate, .acl, .logging, .requestPayment: "NoSuchConfiguration"
        }
    }
}

let hexDigits = Array("0123456789abcdef".utf8)

func hexadecimal(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.flatMap { [hexDigits[Int($0 >> 4)], hexDigits[Int($0 & 15)]] }, as: UTF8.self)
}

func bytes(hex text: some StringProtocol) -> [UInt8]? {
    let digits = text.utf8.compactMap { digit -> UInt8? in
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
    guard digits.count == text.utf8.count, digits.count % 2 == 0 else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
