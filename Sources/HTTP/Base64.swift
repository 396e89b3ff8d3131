package import Base

/// Base64 with the standard alphabet and padding (RFC 4648 §4), strict.
package enum Base64 {
    private static let invalid: UInt8 = 0xFF

    /// The value of each byte, or `invalid`. Written once, before its first reader gets it, and never freed.
    nonisolated(unsafe) private static let values: UnsafePointer<UInt8> = {
        let values = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        values.initialize(repeating: invalid, count: 256)
        for at in 0..<64 { values[Int(alphabet.utf8Start[at])] = UInt8(at) }
        return UnsafePointer(values)
    }()

    private static let alphabet: StaticString =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// The bytes of `count` bytes in base64.
    package static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Appends `bytes` in base64, padded, without line breaks.
    package static func encode(_ bytes: UnsafeRawBufferPointer, into buffer: ByteBuffer) {
        guard let from = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), !bytes.isEmpty else {
            return
        }
        let letters = alphabet.utf8Start
        let size = encodedCount(bytes.count)
        let start = buffer.reserve(size)
        var out = start
        let whole = bytes.count - bytes.count % 3
        var at = 0
        while at < whole {
            let a = from[at]
            let b = from[at &+ 1]
            let c = from[at &+ 2]
            out[0] = letters[Int(a >> 2)]
            out[1] = letters[Int((a & 3) << 4 | b >> 4)]
            out[2] = letters[Int((b & 15) << 2 | c >> 6)]
            out[3] = letters[Int(c & 63)]
            out += 4
            at &+= 3
        }
        if at < bytes.count {
            let a = from[at]
            let b = at + 1 < bytes.count ? from[at + 1] : 0
            out[0] = letters[Int(a >> 2)]
            out[1] = letters[Int((a & 3) << 4 | b >> 4)]
            out[2] = at + 1 < bytes.count ? letters[Int((b & 15) << 2)] : UInt8(ascii: "=")
            out[3] = UInt8(ascii: "=")
        }
        buffer.commit(size)
    }

    /// Appends what `text` encodes; false, and nothing appended, when it is not base64 in its one right form.
    ///
    /// Refused are other alphabets, white space, missing or extra padding, and bits set beyond the last byte
    /// (RFC 4648 §3.2, §3.3, §3.5): each value has exactly one text.
    package static func decode(_ text: UnsafeRawBufferPointer, into buffer: ByteBuffer) -> Bool {
        guard let from = text.baseAddress?.assumingMemoryBound(to: UInt8.self), !text.isEmpty else {
            return true
        }
        guard text.count % 4 == 0 else { return false }
        let values = Self.values
        let last = text.count - 4
        let start = buffer.reserve(text.count / 4 * 3)
        var out = start
        var seen: UInt8 = 0
        var at = 0
        while at < last {
            let a = values[Int(from[at])]
            let b = values[Int(from[at &+ 1])]
            let c = values[Int(from[at &+ 2])]
            let d = values[Int(from[at &+ 3])]
            seen |= a | b | c | d
            out[0] = a << 2 | b >> 4
            out[1] = b << 4 | c >> 2
            out[2] = c << 6 | d
            out += 3
            at &+= 4
        }
        let padding = from[last + 3] != UInt8(ascii: "=") ? 0 : from[last + 2] != UInt8(ascii: "=") ? 1 : 2
        let a = values[Int(from[last])]
        let b = values[Int(from[last + 1])]
        let c = padding < 2 ? values[Int(from[last + 2])] : 0
        let d = padding < 1 ? values[Int(from[last + 3])] : 0
        // values are below 64; only `invalid` has the two bits above
        guard (seen | a | b | c | d) & 0xC0 == 0 else { return false }
        guard padding < 2 || b & 15 == 0, padding != 1 || c & 3 == 0 else { return false }
        out[0] = a << 2 | b >> 4
        out[1] = b << 4 | c >> 2
        out[2] = c << 6 | d
        buffer.commit(text.count / 4 * 3 - padding)
        return true
    }
}
