/// Patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET: `*`, `?`, `[a-z]`, `[^…]`, and `\` before what is to be taken as it is.
enum Glob {
    /// Whether `text` matches as a whole. Only the last `*` is ever gone back to, so the time is at most the product of the lengths.
    static func matches(_ pattern: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer, ignoringCase: Bool = false) -> Bool {
        var at = 0
        var pos = 0
        var star: (pattern: Int, text: Int)?
        while pos < text.count {
            if at < pattern.count, pattern[at] == UInt8(ascii: "*") {
                at += 1
                if at == pattern.count { return true }
                star = (at, pos)
            } else if at < pattern.count, let next = one(pattern, at, text[pos], ignoringCase) {
                at = next
                pos += 1
            } else if let last = star {
                at = last.pattern
                pos = last.text + 1
                star = (last.pattern, pos)
            } else {
                return false
            }
        }
        while at < pattern.count, pattern[at] == UInt8(ascii: "*") { at += 1 }
        return at == pattern.count
    }

    static func matches(_ pattern: [UInt8], _ text: UnsafeRawBufferPointer) -> Bool {
        pattern.withUnsafeBytes { matches($0, text) }
    }

    /// Where the pattern goes on when its next element takes this byte; nil: it does not.
    private static func one(_ pattern: UnsafeRawBufferPointer, _ at: Int, _ byte: UInt8, _ ignoringCase: Bool) -> Int? {
        switch pattern[at] {
        case UInt8(ascii: "?"): return at + 1
        case UInt8(ascii: "["): return oneOf(pattern, at + 1, byte, ignoringCase)
        case UInt8(ascii: "\\") where at + 1 < pattern.count: return same(pattern[at + 1], byte, ignoringCase) ? at + 2 : nil
        default: return same(pattern[at], byte, ignoringCase) ? at + 1 : nil
        }
    }

    /// A class from behind its bracket on; one that is not closed ends with the pattern.
    private static func oneOf(_ pattern: UnsafeRawBufferPointer, _ start: Int, _ byte: UInt8, _ ignoringCase: Bool) -> Int? {
        var at = start
        let isNegated = at < pattern.count && pattern[at] == UInt8(ascii: "^")
        if isNegated { at += 1 }
        let wanted = folded(byte, ignoringCase)
        var isIn = false
        while at < pattern.count, pattern[at] != UInt8(ascii: "]") {
            if pattern[at] == UInt8(ascii: "\\"), at + 1 < pattern.count {
                at += 1
                if folded(pattern[at], ignoringCase) == wanted { isIn = true }
            } else if at + 2 < pattern.count, pattern[at + 1] == UInt8(ascii: "-") {
                let low = folded(pattern[at], ignoringCase)
                let high = folded(pattern[at + 2], ignoringCase)
                if (min(low, high)...max(low, high)).contains(wanted) { isIn = true }
                at += 2
            } else if folded(pattern[at], ignoringCase) == wanted {
                isIn = true
            }
            at += 1
        }
        return isIn != isNegated ? min(at + 1, pattern.count) : nil
    }

    private static func folded(_ byte: UInt8, _ ignoringCase: Bool) -> UInt8 {
        ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }

    private static func same(_ a: UInt8, _ b: UInt8, _ ignoringCase: Bool) -> Bool { folded(a, ignoringCase) == folded(b, ignoringCase) }
}
