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
        var at = 0
        for i in 0..<32 {
            if i == 8 || i == 12 || i == 16 || i == 20 {
                out[at] = UInt8(ascii: "-")
                at += 1
            }
            let word = i < 16 ? high : low
            let nibble = UInt8(truncatingIfNeeded: word >> UInt64(60 - (i & 15) * 4)) & 15
            out[at] = nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
            at += 1
        }
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            if let base = buffer.baseAddress { write(to: base) }
            return 36
        }
    }
}
