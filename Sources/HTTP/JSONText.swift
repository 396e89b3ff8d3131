package import Base

/// Reads and writes pieces of JSON text without building trees. What is read must have passed `JSONCheck`.
package enum JSONText {
    package enum Kind: Sendable { case string, number, object, array, bool, null }

    package static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool { UTF8Check.isValid(bytes) }

    package static func kind(of value: UnsafeRawBufferPointer) -> Kind {
        switch value.first {
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "t"), UInt8(ascii: "f"): .bool
        case UInt8(ascii: "n"): .null
        default: .number
        }
    }

    /// Calls `body` with each member of the object in `text`: the name between its quotes, still escaped, and the value.
    /// False when `text` is not an object.
    @discardableResult
    package static func forEachMember(
        of text: UnsafeRawBufferPointer,
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var at = skipSpace(text, 0)
        guard at < text.count, text[at] == UInt8(ascii: "{") else { return false }
        at = skipSpace(text, at + 1)
        while at < text.count, text[at] == UInt8(ascii: "\"") {
            let nameEnd = endOfString(text, at)
            let name = UnsafeRawBufferPointer(rebasing: text[at + 1..<max(at + 1, nameEnd - 1)])
            at = skipSpace(text, nameEnd)
            at = skipSpace(text, at + 1)
            let valueEnd = endOfValue(text, at)
            guard valueEnd > at else { return false }
            body(name, UnsafeRawBufferPointer(rebasing: text[at..<valueEnd]))
            at = skipSpace(text, valueEnd)
            guard at < text.count, text[at] == UInt8(ascii: ",") else { break }
            at = skipSpace(text, at + 1)
        }
        return true
    }

    /// Calls `body` with each element of the array in `text`; false when `text` is not an array.
    @discardableResult
    package static func forEachElement(
        of text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var at = skipSpace(text, 0)
        guard at < text.count, text[at] == UInt8(ascii: "[") else { return false }
        at = skipSpace(text, at + 1)
        while at < text.count, text[at] != UInt8(ascii: "]") {
            let end = endOfValue(text, at)
            guard end > at else { return false }
            body(UnsafeRawBufferPointer(rebasing: text[at..<end]))
            at = skipSpace(text, end)
            guard at < text.count, text[at] == UInt8(ascii: ",") else { break }
            at = skipSpace(text, at + 1)
        }
        return true
    }

    private static func skipSpace(_ text: UnsafeRawBufferPointer, _ from: Int) -> Int {
        var at = from
        while at < text.count, text[at] == 32 || text[at] == 10 || text[at] == 13 || text[at] == 9 { at += 1 }
        return at
    }

    /// `at` is on the opening quote; returns the offset behind the closing one.
    private static func endOfString(_ text: UnsafeRawBufferPointer, _ from: Int) -> Int {
        var at = from + 1
        while at < text.count {
            if text[at] == UInt8(ascii: "\"") { return at + 1 }
            at += text[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        return text.count
    }

    private static func endOfValue(_ text: UnsafeRawBufferPointer, _ from: Int) -> Int {
        guard from < text.count else { return from }
        switch text[from] {
        case UInt8(ascii: "\""): return endOfString(text, from)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            var depth = 0
            var at = from
            while at < text.count {
                switch text[at] {
                case UInt8(ascii: "\""):
                    at = endOfString(text, at)
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 { return at + 1 }
                default: break
                }
                at += 1
            }
            return text.count
        default:
            var at = from
            while at < text.count, !",}] \n\r\t".utf8.contains(text[at]) { at += 1 }
            return at
        }
    }

    /// Appends what the JSON string `value` (quotes included) stands for. Lone surrogates become U+FFFD.
    package static func appendDecoded(_ value: UnsafeRawBufferPointer, to out: ByteBuffer) {
        var at = 1
        let end = value.count - 1
        while at < end {
            var run = at
            while run < end, value[run] != UInt8(ascii: "\\") { run += 1 }
            out.append(UnsafeRawBufferPointer(rebasing: value[at..<run]))
            at = run
            guard at + 1 < end else { return }
            switch value[at + 1] {
            case UInt8(ascii: "n"): out.append(UInt8(10))
            case UInt8(ascii: "t"): out.append(UInt8(9))
            case UInt8(ascii: "r"): out.append(UInt8(13))
            case UInt8(ascii: "b"): out.append(UInt8(8))
            case UInt8(ascii: "f"): out.append(UInt8(12))
            case UInt8(ascii: "u"):
                at = appendEscapedScalar(value, at, end, to: out)
                continue
            case let other: out.append(other)
            }
            at += 2
        }
    }

    private static func codeUnit(_ value: UnsafeRawBufferPointer, _ at: Int, _ end: Int) -> UInt32? {
        guard at + 6 <= end, value[at] == UInt8(ascii: "\\"), value[at + 1] == UInt8(ascii: "u") else { return nil }
        var unit: UInt32 = 0
        for i in 2..<6 {
            guard let digit = hexDigit(value[at + i]) else { return nil }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }

    private static func appendEscapedScalar(
        _ value: UnsafeRawBufferPointer, _ at: Int, _ end: Int, to out: ByteBuffer
    ) -> Int {
        guard let unit = codeUnit(value, at, end) else { return end }
        var code = unit
        var next = at + 6
        if unit >= 0xD800, unit < 0xDC00, let low = codeUnit(value, next, end), low >= 0xDC00, low < 0xE000 {
            code = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            next += 6
        }
        let scalar = Unicode.Scalar(code) ?? "\u{FFFD}"
        for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter { out.append(byte) }
        return next
    }

    /// Appends `bytes` as a JSON string in quotes; what is not UTF-8 becomes U+FFFD.
    package static func appendString(_ bytes: UnsafeRawBufferPointer, to out: ByteBuffer) {
        out.append(UInt8(ascii: "\""))
        var at = 0
        while at < bytes.count {
            var run = at
            while run < bytes.count, bytes[run] >= 32, bytes[run] < 128, bytes[run] != 34, bytes[run] != 92 { run += 1 }
            if run > at {
                out.append(UnsafeRawBufferPointer(rebasing: bytes[at..<run]))
                at = run
                continue
            }
            at += appendSpecial(bytes, at, to: out)
        }
        out.append(UInt8(ascii: "\""))
    }

    package static func appendString(_ text: String, to out: ByteBuffer) {
        var text = text
        text.withUTF8 { appendString(UnsafeRawBufferPointer($0), to: out) }
    }

    /// One character that cannot stand as it is, or one beyond ASCII; returns how many bytes it took.
    private static func appendSpecial(_ bytes: UnsafeRawBufferPointer, _ at: Int, to out: ByteBuffer) -> Int {
        switch bytes[at] {
        case UInt8(ascii: "\""): out.append(#"\""#)
        case UInt8(ascii: "\\"): out.append(#"\\"#)
        case 10: out.append(#"\n"#)
        case 13: out.append(#"\r"#)
        case 9: out.append(#"\t"#)
        case let byte where byte < 128:
            let digits: StaticString = "0123456789abcdef"
            out.append(#"\u00"#)
            out.append(digits.utf8Start[Int(byte >> 4)])
            out.append(digits.utf8Start[Int(byte & 15)])
        default:
            let length = UTF8Check.length(bytes, at)
            guard length > 0 else {
                out.append("\u{FFFD}" as StaticString)
                return 1
            }
            out.append(UnsafeRawBufferPointer(rebasing: bytes[at..<at + length]))
            return length
        }
        return 1
    }
}
