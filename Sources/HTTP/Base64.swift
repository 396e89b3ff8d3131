package import Base

/// Base64 with the standard alphabet and padding (RFC 4648 §4).
package enum Base64 {
    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    nonisolated(unsafe) private static let values: UnsafePointer<UInt8> = {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        table.initialize(repeating: 255, count: 256)
        for i in 0..<64 { table[Int(alphabet.utf8Start[i])] = UInt8(i) }
        return UnsafePointer(table)
    }()

    package static func encode(_ bytes: UnsafeRawBufferPointer, into out: ByteBuffer) {
        let length = (bytes.count + 2) / 3 * 4
        let room = out.reserve(length)
        let digits = alphabet.utf8Start
        var from = 0
        var to = 0
        while from + 2 < bytes.count {
            let word = UInt32(bytes[from]) << 16 | UInt32(bytes[from + 1]) << 8 | UInt32(bytes[from + 2])
            room[to] = digits[Int(word >> 18)]
            room[to + 1] = digits[Int(word >> 12 & 63)]
            room[to + 2] = digits[Int(word >> 6 & 63)]
            room[to + 3] = digits[Int(word & 63)]
            from += 3
            to += 4
        }
        if from < bytes.count {
            let hasTwo = from + 1 < bytes.count
            let word = UInt32(bytes[from]) << 16 | (hasTwo ? UInt32(bytes[from + 1]) << 8 : 0)
            room[to] = digits[Int(word >> 18)]
            room[to + 1] = digits[Int(word >> 12 & 63)]
            room[to + 2] = hasTwo ? digits[Int(word >> 6 & 63)] : UInt8(ascii: "=")
            room[to + 3] = UInt8(ascii: "=")
        }
        out.commit(length)
    }

    /// Decodes strictly: full groups, padding only at the end, no other characters. False leaves `out` as it was.
    package static func decode(_ bytes: UnsafeRawBufferPointer, into out: ByteBuffer) -> Bool {
        guard bytes.count % 4 == 0 else { return false }
        guard !bytes.isEmpty else { return true }
        var padding = 0
        if bytes[bytes.count - 1] == UInt8(ascii: "=") { padding = bytes[bytes.count - 2] == UInt8(ascii: "=") ? 2 : 1 }
        let length = bytes.count / 4 * 3 - padding
        let room = out.reserve(length + 3)
        var at = 0
        var to = 0
        while at < bytes.count {
            let isLast = at + 4 == bytes.count
            let a = values[Int(bytes[at])]
            let b = values[Int(bytes[at + 1])]
            let c = isLast && padding == 2 ? 0 : values[Int(bytes[at + 2])]
            let d = isLast && padding >= 1 ? 0 : values[Int(bytes[at + 3])]
            guard a | b | c | d < 64 else { return false }
            let word = UInt32(a) << 18 | UInt32(b) << 12 | UInt32(c) << 6 | UInt32(d)
            room[to] = UInt8(truncatingIfNeeded: word >> 16)
            room[to + 1] = UInt8(truncatingIfNeeded: word >> 8)
            room[to + 2] = UInt8(truncatingIfNeeded: word)
            at += 4
            to += 3
        }
        out.commit(length)
        return true
    }
}
