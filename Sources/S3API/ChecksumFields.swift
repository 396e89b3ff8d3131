internal import Crypto
internal import Objects
internal import XML

/// `x-amz-checksum-…`, `x-amz-sdk-checksum-algorithm`, `x-amz-trailer` (Amazon S3 User Guide, "Checking object integrity").
enum ChecksumFields {
    static func name(_ algorithm: ChecksumAlgorithm) -> String { "x-amz-checksum-\(algorithm.name.lowercased())" }

    /// The one checksum of a request: which, and its value unless that comes in a trailer.
    static func sent(_ request: S3Request) throws(S3Fault) -> (algorithm: ChecksumAlgorithm, value: [UInt8]?)? {
        var found: (algorithm: ChecksumAlgorithm, value: [UInt8]?)?
        for algorithm in ChecksumAlgorithm.allCases {
            guard let text = request.header(name(algorithm)) else { continue }
            guard found == nil else { throw .invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.") }
            found = (algorithm, try value(text, algorithm))
        }
        if let trailer = request.header("x-amz-trailer") {
            let names = trailer.lowercased().split(separator: ",").map { $0.filter { $0 != " " } }
            for name in names {
                guard let algorithm = ChecksumAlgorithm.allCases.first(where: { self.name($0) == name }) else {
                    throw .invalidRequest("The value specified in the x-amz-trailer header is not supported")
                }
                guard found == nil else { throw .invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.") }
                found = (algorithm, nil)
            }
        }
        if let text = request.header("x-amz-sdk-checksum-algorithm") {
            guard let algorithm = ChecksumAlgorithm(name: text) else {
                throw .invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
            }
            if let found {
                guard found.algorithm == algorithm else {
                    throw .invalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
                }
            } else {
                found = (algorithm, nil)
            }
        }
        return found
    }

    /// A value as it is sent. (AWS answers InvalidRequest to what is no base64 of the right length; the suite of Ceph wants BadDigest,
    /// which says as well that the body is not what the sender means.)
    static func value(_ text: String, _ algorithm: ChecksumAlgorithm) throws(S3Fault) -> [UInt8] {
        guard let value = S3Request.decodeBase64(text), value.count == algorithm.byteCount else {
            throw S3Fault(400, "BadDigest", "The \(algorithm.name) you specified is not valid: base64 of \(algorithm.byteCount) bytes is")
        }
        return value
    }

    /// As it is answered: composite ones with the number of parts.
    static func text(_ checksum: Checksum, parts: Int) -> String {
        S3Request.encodeBase64(checksum.value) + (checksum.type == .composite ? "-\(parts)" : "")
    }

    static func fields(_ checksum: Checksum?, parts: Int) -> [HeaderField] {
        guard let checksum else { return [] }
        return [
            HeaderField(name(checksum.algorithm), text(checksum, parts: parts)), HeaderField("x-amz-checksum-type", checksum.type.name),
        ]
    }

    /// `ChecksumCRC32` …
    static func element(_ algorithm: ChecksumAlgorithm) -> StaticString {
        switch algorithm {
        case .crc32: "ChecksumCRC32"
        case .crc32c: "ChecksumCRC32C"
        case .crc64nvme: "ChecksumCRC64NVME"
        case .sha1: "ChecksumSHA1"
        case .sha256: "ChecksumSHA256"
        }
    }

    static func write(_ checksum: Checksum?, parts: Int, to xml: XMLWriter, withType: Bool = true) {
        guard let checksum else { return }
        xml.element(element(checksum.algorithm), text(checksum, parts: parts))
        if withType { xml.element("ChecksumType", checksum.type.name) }
    }

    static func md5(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { Digest.md5($0) } }

    static func sha256Digits(_ bytes: [UInt8]) -> String { bytes.withUnsafeBytes { hex(Digest.sha256($0)) } }

    /// Of a small document.
    static func digest(_ algorithm: ChecksumAlgorithm, _ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { bytes in
            func crc(_ kind: CRC.Kind) -> [UInt8] {
                var crc = CRC(kind)
                crc.update(bytes)
                return crc.bytes
            }
            return switch algorithm {
            case .crc32: crc(.crc32)
            case .crc32c: crc(.crc32c)
            case .crc64nvme: crc(.crc64nvme)
            case .sha1: Digest.sha1(bytes)
            case .sha256: Digest.sha256(bytes)
            }
        }
    }
}
