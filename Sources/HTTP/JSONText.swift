package import Base
import Glibc

/// The text of JSON strings and numbers: to bytes and back.
package enum JSONText {
    /// Appends the characters of a string, given as between its quotation marks, with its escapes undone.
    ///
    /// A surrogate without its partner becomes U+FFFD. False when an escape is malformed, which `JSONCheck`
    /// excludes; what is before it has been appended then.
    package static func decode(_ raw: UnsafeRawBufferPointer, into buffer: ByteBuffer) -> Bool {
        guard let base = raw.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return true }
        var at = 0
        while at < raw.count {
            let backslash = memchr(base + at, Int32(UInt8(ascii: "\\")), raw.count - at)
            let next =
                backslash.map { UnsafePointer($0.assumingMemoryBound(to: UInt8.self)) - base } ?? raw.count
            buffer.append(UnsafeRawBufferPointer(start: base + at, count: next - at))
            at = next
            if at < raw.count {
                guard let length = decodeEscape(base + at, raw.count - at, into: buffer) else { return false }
                at += length
            }
        }
        return true
    }

    /// The same as an array; nil when an escape is malformed.
    package static func decode(_ raw: UnsafeRawBufferPointer) -> [UInt8]? {
        guard raw.contains(UInt8(ascii: "\\")) else { return Array(raw) }
        let buffer = ByteBuffer(capacity: raw.count)
        return decode(raw, into: buffer) ? Array(buffer.bytes) : nil
    }

    /// Whether a string, given as between its quotation marks, is `text`.
    package static func equals(_ raw: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        let wanted = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        // an escape is never shorter than what it stands for
        guard raw.count >= wanted.count else { return false }
        guard raw.contains(UInt8(ascii: "\\")) else { return raw.elementsEqual(wanted) }
        return decode(raw)?.elementsEqual(wanted) ?? false
    }

    /// The integer that a number spells without point and exponent; nil for other numbers and beyond 64 bits.
    package static func integer(_ raw: UnsafeRawBufferPointer) -> Int? {
        guard let first = raw.first, first != UInt8(ascii: "+") else { return nil }
        return Int(String(decoding: raw, as: UTF8.self))
    }

    // MARK: escapes

    /// Appends what the escape at `at` stands for; how many bytes it takes, or nil when it is malformed.
    private static func decodeEscape(
        _ at: UnsafePointer<UInt8>, _ count: Int, into buffer: ByteBuffer
    ) -> Int? {
        guard count >= 2 else { return nil }
        switch at[1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): buffer.append(at[1])
        case UInt8(ascii: "b"): buffer.append(0x08)
        case UInt8(ascii: "f"): buffer.append(0x0C)
        case UInt8(ascii: "n"): buffer.append(0x0A)
        case UInt8(ascii: "r"): buffer.append(0x0D)
        case UInt8(ascii: "t"): buffer.append(0x09)
        case UInt8(ascii: "u"): return decodeUnicode(at, count, into: buffer)
        default: return nil
        }
        return 2
    }

    /// RFC 8259 §7: above U+FFFF, two escapes make one character.
    private static func decodeUnicode(
        _ at: UnsafePointer<UInt8>, _ count: Int, into buffer: ByteBuffer
    ) -> Int? {
        guard let unit = hexUnit(at, count) else { return nil }
        var scalar = unit
        var length = 6
        if 0xD800...0xDFFF ~= unit {
            scalar = 0xFFFD
            if unit < 0xDC00, let low = hexUnit(at + 6, count - 6), 0xDC00...0xDFFF ~= low {
                scalar = 0x1_0000 + (unit - 0xD800) << 10 + (low - 0xDC00)
                length = 12
            }
        }
        buffer.commit(UTF8Sequence.write(scalar, to: buffer.reserve(4)))
        return length
    }

    /// The code unit of the escape \uXXXX at `at`; nil when there is none.
    private static func hexUnit(_ at: UnsafePointer<UInt8>, _ count: Int) -> UInt32? {
        guard count >= 6, at[0] == UInt8(ascii: "\\"), at[1] == UInt8(ascii: "u") else { return nil }
        var unit: UInt32 = 0
        for i in 2..<6 {
            guard let digit = hexValue(at[i]) else { return nil }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }
}

extension ByteBuffer {
    /// Appends `bytes` as a JSON string with its quotation marks: `"`, `\` and controls escaped, U+FFFD in
    /// place of what is not UTF-8.
    package func append(jsonString bytes: UnsafeRawBufferPointer) {
        append(UInt8(ascii: "\""))
        appendJSONCharacters(bytes)
        append(UInt8(ascii: "\""))
    }

    package func append(jsonString text: String) {
        var text = text
        text.withUTF8 { append(jsonString: UnsafeRawBufferPointer($0)) }
    }

    /// The same without the quotation marks: for a string that is put together from parts.
    package func appendJSONCharacters(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        let end = bytes.count
        var plainStart = 0
        var at = 0
        func flush() { append(UnsafeRawBufferPointer(start: base + plainStart, count: at - plainStart)) }
        while at < end {
            while end &- at >= 8 {
                let word = Word.load(base + at)
                let special = Word.below(word, 0x20) | Word.holds(word, 0x22) | Word.holds(word, 0x5C)
                if (special | word) & Word.highBits != 0 { break }
                at &+= 8
            }
            guard at < end else { break }
            let byte = base[at]
            if byte >= 0x80 {
                let length = UTF8Sequence.length(base, at, end)
                if length > 0 {
                    at &+= length
                    continue
                }
                flush()
                append("\u{FFFD}" as StaticString)
                at &+= UTF8Sequence.brokenLength(base, at, end)
                plainStart = at
            } else if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                flush()
                appendEscape(byte)
                at &+= 1
                plainStart = at
            } else {
                at &+= 1
            }
        }
        flush()
    }

    private func appendEscape(_ byte: UInt8) {
        let letter: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): letter = byte
        case 0x08: letter = UInt8(ascii: "b")
        case 0x0C: letter = UInt8(ascii: "f")
        case 0x0A: letter = UInt8(ascii: "n")
        case 0x0D: letter = UInt8(ascii: "r")
        case 0x09: letter = UInt8(ascii: "t")
        default:
            append("\\u00" as StaticString)
            append(byte < 0x10 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
            append(hexadecimal: UInt64(byte & 15))
            return
        }
        append(UInt8(ascii: "\\"))
        append(letter)
    }
}
