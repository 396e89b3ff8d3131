/// Well-formed UTF-8, one sequence at a time (Unicode 16, table 3-7).
enum UTF8Sequence {
    /// The length, 2 to 4, of the well-formed sequence at `at`, whose first byte is 0x80 or above; 0 if there
    /// is none.
    @inline(__always)
    static func length(_ base: UnsafePointer<UInt8>, _ at: Int, _ end: Int) -> Int {
        let first = base[at]
        switch first {
        case 0xC2...0xDF:
            return end &- at >= 2 && base[at &+ 1] & 0xC0 == 0x80 ? 2 : 0
        case 0xE0...0xEF:
            guard end &- at >= 3, isSecond(base[at &+ 1], after: first), base[at &+ 2] & 0xC0 == 0x80 else {
                return 0
            }
            return 3
        case 0xF0...0xF4:
            guard end &- at >= 4, isSecond(base[at &+ 1], after: first),
                base[at &+ 2] & 0xC0 == 0x80, base[at &+ 3] & 0xC0 == 0x80
            else { return 0 }
            return 4
        default:
            return 0
        }
    }

    /// Whether `second` may follow `first`: no overlong form, no surrogate, nothing above U+10FFFF.
    @inline(__always)
    private static func isSecond(_ second: UInt8, after first: UInt8) -> Bool {
        switch first {
        case 0xE0: 0xA0...0xBF ~= second
        case 0xED: 0x80...0x9F ~= second
        case 0xF0: 0x90...0xBF ~= second
        case 0xF4: 0x80...0x8F ~= second
        default: 0x80...0xBF ~= second
        }
    }

    /// How many bytes at `at`, where no well-formed sequence starts, one U+FFFD stands for.
    ///
    /// The start of a sequence that is cut short counts as one (Unicode 16 §3.9, "maximal subpart"), as in
    /// Swift's and the browsers' repair.
    static func brokenLength(_ base: UnsafePointer<UInt8>, _ at: Int, _ end: Int) -> Int {
        let first = base[at]
        guard 0xE0...0xF4 ~= first, end - at >= 2, isSecond(base[at + 1], after: first) else { return 1 }
        guard first >= 0xF0, end - at >= 3, base[at + 2] & 0xC0 == 0x80 else { return 2 }
        return 3
    }

    /// Writes the one to four bytes of a scalar value to `out`; how many.
    static func write(_ scalar: UInt32, to out: UnsafeMutablePointer<UInt8>) -> Int {
        func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(truncatingIfNeeded: scalar >> shift) & 0x3F }
        switch scalar {
        case 0..<0x80:
            out[0] = UInt8(scalar)
            return 1
        case 0..<0x800:
            out[0] = 0xC0 | UInt8(truncatingIfNeeded: scalar >> 6)
            out[1] = tail(0)
            return 2
        case 0..<0x1_0000:
            out[0] = 0xE0 | UInt8(truncatingIfNeeded: scalar >> 12)
            out[1] = tail(6)
            out[2] = tail(0)
            return 3
        default:
            out[0] = 0xF0 | UInt8(truncatingIfNeeded: scalar >> 18)
            out[1] = tail(12)
            out[2] = tail(6)
            out[3] = tail(0)
            return 4
        }
    }
}

/// Whether bytes are well-formed UTF-8.
package func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return true }
    var at = 0
    while at < bytes.count {
        if base[at] < 0x80 {
            at &+= 1
            continue
        }
        let length = UTF8Sequence.length(base, at, bytes.count)
        if length == 0 { return false }
        at &+= length
    }
    return true
}
