internal import CChecksum

/// The cyclic redundancy checks that S3 knows, by carry-less multiplication where the processor has it.
package struct CRC: Sendable {
    package enum Kind: Int32, Sendable {
        case crc32 = 0
        case crc32c, crc64nvme
    }

    package let kind: Kind
    /// Of the bytes so far; 0 at the beginning.
    package private(set) var value: UInt64 = 0

    package init(_ kind: Kind) { self.kind = kind }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        value = ccrc_update(kind.rawValue, value, bytes.baseAddress, bytes.count)
    }

    /// Big-endian, as on the wire.
    package var bytes: [UInt8] { Self.bytes(value, kind) }

    package static func bytes(_ value: UInt64, _ kind: Kind) -> [UInt8] {
        let width = kind == .crc64nvme ? 8 : 4
        return (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (width - 1 - $0))) }
    }

    package static func of(_ bytes: UnsafeRawBufferPointer, _ kind: Kind) -> UInt64 {
        ccrc_update(kind.rawValue, 0, bytes.baseAddress, bytes.count)
    }

    /// The value of A followed by B, from their values and the number of B's bytes.
    package static func combine(_ a: UInt64, _ b: UInt64, count: Int64, _ kind: Kind) -> UInt64 {
        ccrc_combine(kind.rawValue, a, b, UInt64(count))
    }
}
