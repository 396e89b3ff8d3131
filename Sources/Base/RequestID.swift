/// The id of one invocation: a version 4 UUID (RFC 9562 §5.4).
///
/// The same id is `x-amzn-RequestId`, `context.aws_request_id` and the id in START, END and REPORT.
package struct RequestID: Hashable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(from random: inout Random) {
        high = (random.next() & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
        low = (random.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    }

    /// The id that `text` spells as 36 hexadecimal characters with dashes, or nil.
    package init?(_ text: some Collection<UInt8>) {
        guard text.count == 36 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for (i, byte) in text.enumerated() {
            if i == 8 || i == 13 || i == 18 || i == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            let value: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = byte - UInt8(ascii: "A") + 10
            default: return nil
            }
            if digits < 16 { words.0 = words.0 << 4 | UInt64(value) } else { words.1 = words.1 << 4 | UInt64(value) }
            digits += 1
        }
        (high, low) = words
    }

    /// Writes the 36 characters to `out`.
    package func write(to out: UnsafeMutablePointer<UInt8>) {
        let raw = UnsafeMutableRawPointer(out)
        let middle = (Self.digits(UInt32(truncatingIfNeeded: high)), Self.digits(UInt32(low >> 32)))
        raw.storeBytes(of: Self.digits(UInt32(high >> 32)), as: UInt64.self)
        raw.storeBytes(of: UInt32(truncatingIfNeeded: middle.0), toByteOffset: 9, as: UInt32.self)
        raw.storeBytes(of: UInt32(middle.0 >> 32), toByteOffset: 14, as: UInt32.self)
        raw.storeBytes(of: UInt32(truncatingIfNeeded: middle.1), toByteOffset: 19, as: UInt32.self)
        raw.storeBytes(of: UInt32(middle.1 >> 32), toByteOffset: 24, as: UInt32.self)
        raw.storeBytes(of: Self.digits(UInt32(truncatingIfNeeded: low)), toByteOffset: 28, as: UInt64.self)
        for dash in [8, 13, 18, 23] { out[dash] = UInt8(ascii: "-") }
    }

    /// The eight hexadecimal digits of `word`, the first in the lowest byte: all eight at once, for an id is written
    /// four times an invocation.
    private static func digits(_ word: UInt32) -> UInt64 {
        var spread = UInt64(word)
        spread = (spread & 0xFFFF_0000) << 16 | (spread & 0xFFFF)
        spread = (spread & 0x0000_FF00_0000_FF00) << 8 | (spread & 0x0000_00FF_0000_00FF)
        spread = (spread & 0x00F0_00F0_00F0_00F0) << 4 | (spread & 0x000F_000F_000F_000F)
        // Of ten and more, six more carry into the next bit: from there it is 39 to the letters.
        let letters = (spread &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return (spread &+ 0x3030_3030_3030_3030 &+ letters &* 39).byteSwapped.littleEndian
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            if let base = buffer.baseAddress { write(to: base) }
            return 36
        }
    }
}
