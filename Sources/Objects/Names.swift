/// The name of a bucket: 3 to 63 of `a-z 0-9 . -`, by S3's rules (Bucket naming rules, general purpose buckets).
package struct BucketName: Hashable, Sendable, CustomStringConvertible {
    package let text: String

    /// Throws `invalidBucketName`.
    package init(_ text: String) throws(ObjectsError) {
        guard Self.isValid(Array(text.utf8)) else { throw .invalidBucketName(text) }
        self.text = text
    }

    package var description: String { text }

    private static func isValid(_ name: [UInt8]) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        let dot = UInt8(ascii: ".")
        let dash = UInt8(ascii: "-")
        guard (3...63).contains(name.count), isAlphanumeric(name[0]), isAlphanumeric(name[name.count - 1]) else { return false }
        guard name.allSatisfy({ isAlphanumeric($0) || $0 == dot || $0 == dash }) else { return false }
        // Labels are those of host names: neither empty, nor with a hyphen at an end.
        for (a, b) in zip(name, name.dropFirst()) where a == dot && (b == dot || b == dash) || a == dash && b == dot { return false }
        // It must not look like an address.
        let labels = name.split(separator: dot)
        let isAddress = labels.count == 4 && labels.allSatisfy { $0.count <= 3 && $0.allSatisfy { $0 >= 48 && $0 <= 57 } }
        let text = String(decoding: name, as: UTF8.self)
        return !isAddress && !text.hasPrefix("xn--") && !text.hasSuffix("-s3alias")
    }
}

/// The key of an object: 1 to 1,024 bytes of UTF-8. Every byte is ordinary; keys never reach a file system.
package struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package static let bytesMax = 1024
    package let bytes: [UInt8]

    /// Throws `keyTooLong` or `invalidKey`.
    package init(_ bytes: [UInt8]) throws(ObjectsError) {
        guard bytes.count <= Self.bytesMax else { throw .keyTooLong(bytes.count) }
        guard !bytes.isEmpty, String(validating: bytes, as: UTF8.self) != nil else { throw .invalidKey }
        self.bytes = bytes
    }

    /// A key that the store itself holds.
    init(stored bytes: [UInt8]) { self.bytes = bytes }

    package init(_ text: String) throws(ObjectsError) { try self.init(Array(text.utf8)) }

    package var description: String { String(decoding: bytes, as: UTF8.self) }

    /// The order of listings: bytes, unsigned.
    package static func < (a: ObjectKey, b: ObjectKey) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}

/// Which version of an object: `null`, or one that has got an id.
package enum VersionID: Hashable, Sendable, CustomStringConvertible {
    case null
    /// The commit that made it, and digits that nobody can guess.
    case numbered(sequence: Int64, nonce: UInt64)

    /// Throws `invalidVersionID` for what no version can have.
    package init(_ text: String) throws(ObjectsError) {
        if text == "null" {
            self = .null
            return
        }
        let digits = Array(text.utf8)
        guard digits.count == 32, digits.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }),
            let sequence = Int64(text.prefix(16), radix: 16), let nonce = UInt64(text.suffix(16), radix: 16)
        else { throw .invalidVersionID(text) }
        self = .numbered(sequence: sequence, nonce: nonce)
    }

    package var description: String {
        switch self {
        case .null: "null"
        case .numbered(let sequence, let nonce): Self.hex(UInt64(bitPattern: sequence)) + Self.hex(nonce)
        }
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// The id of a multipart upload, as clients spell it: 32 hexadecimal digits.
package struct UploadID: Hashable, Comparable, Sendable, CustomStringConvertible {
    let number: Int64
    let nonce: UInt64

    init(number: Int64, nonce: UInt64) {
        self.number = number
        self.nonce = nonce
    }

    /// Throws `noSuchUpload` for what no upload can have.
    package init(_ text: String) throws(ObjectsError) {
        guard case .numbered(let number, let nonce)? = try? VersionID(text) else { throw .noSuchUpload }
        self.init(number: number, nonce: nonce)
    }

    package var description: String { VersionID.numbered(sequence: number, nonce: nonce).description }

    /// The order in which they were made.
    package static func < (a: UploadID, b: UploadID) -> Bool { a.number < b.number }
}
