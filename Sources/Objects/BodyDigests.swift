internal import Base
internal import Crypto

/// The digests of one body: MD5 for the ETag, one checksum, SHA-256 where the signature covers it.
///
/// Thread rule: one thread at a time.
final class BodyDigests: @unchecked Sendable {
    private let checks: BodyChecks
    let algorithm: ChecksumAlgorithm
    private let md5 = DigestStream(.md5)
    private let sha256: DigestStream?
    private let secureChecksum: DigestStream?
    private var crc: CRC?
    private(set) var size: Int64 = 0

    init(_ checks: BodyChecks) {
        self.checks = checks
        algorithm = checks.checksum ?? .crc64nvme
        // One digest serves the signature and the checksum.
        sha256 = checks.sha256 != nil && algorithm != .sha256 ? DigestStream(.sha256) : nil
        secureChecksum = algorithm == .sha1 ? DigestStream(.sha1) : algorithm == .sha256 ? DigestStream(.sha256) : nil
        crc = algorithm.crcKind.map(CRC.init)
    }

    func update(_ bytes: UnsafeRawBufferPointer) {
        size += Int64(bytes.count)
        md5.update(bytes)
        sha256?.update(bytes)
        secureChecksum?.update(bytes)
        crc?.update(bytes)
    }

    /// Ends the digests and holds them to what was declared; `trailer` is the checksum's value that came after the body.
    func finish(trailer: [UInt8]?) throws -> (md5: [UInt8], checksum: Checksum) {
        if let declared = checks.size, declared != size { throw ObjectsError.incompleteBody }
        let value = crc?.bytes ?? secureChecksum?.finish() ?? []
        if let expected = checks.sha256 {
            guard expected == (sha256?.finish() ?? value) else { throw ObjectsError.contentSHA256Mismatch }
        }
        let digest = md5.finish()
        if let expected = checks.md5, expected != digest { throw ObjectsError.badDigest("Content-MD5") }
        if let expected = trailer ?? checks.checksumValue, expected != value { throw ObjectsError.badDigest(algorithm.name) }
        return (digest, Checksum(algorithm, value))
    }
}

extension ChecksumAlgorithm {
    var crcKind: CRC.Kind? {
        switch self {
        case .crc32: .crc32
        case .crc32c: .crc32c
        case .crc64nvme: .crc64nvme
        case .sha1, .sha256: nil
        }
    }
}

/// Checksums of an object from those of its parts.
enum PartChecksums {
    /// Of all bytes, without reading them; nil when a part has none, or one that cannot be combined.
    static func whole(_ algorithm: ChecksumAlgorithm, _ parts: [(checksum: Checksum?, size: Int64)]) -> Checksum? {
        guard let kind = algorithm.crcKind else { return nil }
        var value: UInt64 = 0
        for part in parts {
            guard let checksum = part.checksum, checksum.algorithm == algorithm else { return nil }
            let own = checksum.value.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            value = CRC.combine(value, own, count: part.size, kind)
        }
        return Checksum(algorithm, CRC.bytes(value, kind))
    }

    /// The checksum of the parts' checksums.
    static func composite(_ algorithm: ChecksumAlgorithm, _ parts: [Checksum?]) -> Checksum? {
        let digests = BodyDigests(BodyChecks(checksum: algorithm))
        for part in parts {
            guard let part, part.algorithm == algorithm else { return nil }
            part.value.withUnsafeBytes { digests.update($0) }
        }
        return (try? digests.finish(trailer: nil)).map { Checksum(algorithm, $0.checksum.value, type: .composite) }
    }
}

/// MD5 of the parts' MD5s.
func partsETag(_ digests: [[UInt8]]) -> ETag {
    let all = digests.flatMap { $0 }
    return ETag(digest: all.withUnsafeBytes { Digest.md5($0) }, parts: digests.count)
}
