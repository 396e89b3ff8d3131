package import Base
import Glibc

/// The canonical form of a JSON text (RFC 8785): texts with the same meaning have the same bytes.
///
/// White space is gone, members stand in the order of their names' UTF-16 code units, strings and numbers are written as ECMAScript
/// writes them. Expects a text that passed `JSONCheck`, nested no deeper than its reader's stack bears.
package enum JCS {
    /// Appends the canonical form of `text`. False, and nothing appended, when it has none: a name that is there twice, half a surrogate
    /// pair, a number beyond a double (RFC 8785 §3.1, which asks for I-JSON, RFC 7493).
    package static func write(_ text: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool {
        guard let base = text.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
        let start = out.count
        var walk = CanonicalWalk(base: base, end: text.count, out: out)
        if walk.value() { return true }
        out.truncate(to: start)
        return false
    }

    /// Is `a` before `b` in the order of UTF-16 code units? Both are UTF-8 (RFC 8785 §3.2.3).
    ///
    /// That is the order of their bytes but for characters above U+FFFF, whose surrogates come before U+E000.
    package static func isBefore(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        let common = min(a.count, b.count)
        for index in 0..<common where a[index] != b[index] {
            let (x, y) = (a[index], b[index])
            if x >= 0xF0, y == 0xEE || y == 0xEF { return true }
            if y >= 0xF0, x == 0xEE || x == 0xEF { return false }
            return x < y
        }
        return a.count < b.count
    }

    /// Appends a finite number as ECMAScript's Number::toString does (RFC 8785 §3.2.2.3).
    package static func write(_ number: Double, to out: ByteBuffer) {
        guard number != 0 else { return out.append(UInt8(ascii: "0")) }
        if number < 0 { out.append(UInt8(ascii: "-")) }
        // Swift's description has the fewest digits that read back as the same double, the nearest of them: ECMAScript's too.
        var digits: [UInt8] = []
        var point = 0
        var exponent = 0
        var isBehindPoint = false
        var text = number.magnitude.description
        text.withUTF8 { text in
            for (at, byte) in text.enumerated() {
                if byte == UInt8(ascii: "e") {
                    exponent = Int(String(decoding: text[(at + 1)...], as: UTF8.self)) ?? 0
                    break
                }
                if byte == UInt8(ascii: ".") { isBehindPoint = true } else {
                    digits.append(byte)
                    if !isBehindPoint { point += 1 }
                }
            }
        }
        let zeros = digits.prefix { $0 == UInt8(ascii: "0") }.count
        digits.removeFirst(zeros)
        while digits.last == UInt8(ascii: "0") { digits.removeLast() }
        layOut(digits, point - zeros + exponent, to: out)
    }

    /// `digits` with the decimal point behind the first `n` of them (ECMA-262 §6.1.6.1.20).
    private static func layOut(_ digits: [UInt8], _ n: Int, to out: ByteBuffer) {
        let k = digits.count
        func zeros(_ count: Int) { for _ in 0..<count { out.append(UInt8(ascii: "0")) } }
        func append(_ digits: ArraySlice<UInt8>) { digits.withUnsafeBytes { out.append($0) } }
        switch n {
        case k...21:
            append(digits[...])
            zeros(n - k)
        case 1...21:
            append(digits[..<n])
            out.append(".")
            append(digits[n...])
        case -5...0:
            out.append("0.")
            zeros(-n)
            append(digits[...])
        default:
            append(digits[..<1])
            if k > 1 {
                out.append(".")
                append(digits[1...])
            }
            out.append(n > 0 ? "e+" : "e-")
            out.append(decimal: (n - 1).magnitude)
        }
    }
}

extension ByteBuffer {
    fileprivate func append(decimal value: UInt) { append(decimal: UInt64(value)) }
}

/// One walk over a valid text, which writes as it reads; an object's members are put in order when it ends.
private struct CanonicalWalk {
    let base: UnsafePointer<UInt8>
    let end: Int
    var at = 0
    let out: ByteBuffer
    /// Names of the objects that are open, without escapes.
    private let names = ByteBuffer()
    private let scratch = ByteBuffer()

    private struct Member {
        /// In `names`.
        var name: Range<Int>
        /// In `out`, with a comma behind.
        var text: Range<Int>
    }

    init(base: UnsafePointer<UInt8>, end: Int, out: ByteBuffer) {
        self.base = base
        self.end = end
        self.out = out
    }

    private mutating func skipSpace() { while at < end, base[at] <= 0x20 { at &+= 1 } }

    mutating func value() -> Bool {
        skipSpace()
        guard at < end else { return false }
        switch base[at] {
        case UInt8(ascii: "{"): return object()
        case UInt8(ascii: "["): return array()
        case UInt8(ascii: "\""):
            guard let raw = rawString() else { return false }
            return string(raw)
        case UInt8(ascii: "-"), 0x30...0x39: return number()
        default:
            while at < end, base[at] >= UInt8(ascii: "a"), base[at] <= UInt8(ascii: "z") {
                out.append(base[at])
                at &+= 1
            }
            return true
        }
    }

    private mutating func array() -> Bool {
        at &+= 1
        out.append(UInt8(ascii: "["))
        skipSpace()
        if at < end, base[at] == UInt8(ascii: "]") {
            at &+= 1
            out.append(UInt8(ascii: "]"))
            return true
        }
        while true {
            guard value() else { return false }
            skipSpace()
            guard at < end else { return false }
            let byte = base[at]
            at &+= 1
            out.append(byte)
            if byte == UInt8(ascii: "]") { return true }
        }
    }

    private mutating func object() -> Bool {
        at &+= 1
        out.append(UInt8(ascii: "{"))
        let first = out.count
        let firstName = names.count
        var members: [Member] = []
        while true {
            skipSpace()
            guard at < end else { return false }
            if base[at] == UInt8(ascii: "}") { break }
            if base[at] == UInt8(ascii: ",") {
                at &+= 1
                skipSpace()
            }
            guard at < end, base[at] == UInt8(ascii: "\""), let raw = rawString() else { return false }
            let text = out.count
            let name = names.count
            guard !Self.hasLoneSurrogate(raw), JSONText.decode(raw, into: names) else { return false }
            guard string(raw) else { return false }
            skipSpace()
            at &+= 1
            let range = name..<names.count
            out.append(UInt8(ascii: ":"))
            guard value() else { return false }
            out.append(UInt8(ascii: ","))
            members.append(Member(name: range, text: text..<out.count))
        }
        at &+= 1
        guard putInOrder(&members, from: first) else { return false }
        if !members.isEmpty { out.truncate(to: out.count - 1) }
        out.append(UInt8(ascii: "}"))
        names.truncate(to: firstName)
        return true
    }

    private func putInOrder(_ members: inout [Member], from first: Int) -> Bool {
        func name(_ member: Member) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: names.bytes[member.name]) }
        var isOrdered = true
        for index in members.indices.dropFirst() where !JCS.isBefore(name(members[index - 1]), name(members[index])) { isOrdered = false }
        if isOrdered { return true }
        let order = members.sorted { JCS.isBefore(name($0), name($1)) }
        for index in order.indices.dropFirst() where name(order[index - 1]).elementsEqual(name(order[index])) { return false }
        let copy = Array(out.bytes[first...])
        out.truncate(to: first)
        copy.withUnsafeBytes { copy in
            for member in order {
                out.append(UnsafeRawBufferPointer(rebasing: copy[member.text.lowerBound - first..<member.text.upperBound - first]))
            }
        }
        return true
    }

    /// The characters between the quotation marks; the cursor moves behind the string.
    private mutating func rawString() -> UnsafeRawBufferPointer? {
        at &+= 1
        let start = at
        while at < end, base[at] != UInt8(ascii: "\"") { at &+= base[at] == UInt8(ascii: "\\") ? 2 : 1 }
        guard at < end else { return nil }
        at &+= 1
        return UnsafeRawBufferPointer(start: base + start, count: at - 1 - start)
    }

    private func string(_ raw: UnsafeRawBufferPointer) -> Bool {
        guard raw.contains(UInt8(ascii: "\\")) else {
            out.append(UInt8(ascii: "\""))
            out.append(raw)
            out.append(UInt8(ascii: "\""))
            return true
        }
        scratch.clear()
        guard !Self.hasLoneSurrogate(raw), JSONText.decode(raw, into: scratch) else { return false }
        out.append(jsonString: scratch.bytes)
        return true
    }

    /// Half a pair in \u escapes: no character, so no canonical form.
    private static func hasLoneSurrogate(_ raw: UnsafeRawBufferPointer) -> Bool {
        var at = 0
        while at + 1 < raw.count {
            guard raw[at] == UInt8(ascii: "\\") else {
                at += 1
                continue
            }
            guard let unit = unit(raw, at) else {
                at += 2
                continue
            }
            at += 6
            if 0xDC00...0xDFFF ~= unit { return true }
            guard 0xD800...0xDBFF ~= unit else { continue }
            guard let low = self.unit(raw, at), 0xDC00...0xDFFF ~= low else { return true }
            at += 6
        }
        return false
    }

    /// The code unit of the escape \uXXXX at `at`.
    private static func unit(_ raw: UnsafeRawBufferPointer, _ at: Int) -> UInt32? {
        guard at + 6 <= raw.count, raw[at] == UInt8(ascii: "\\"), raw[at + 1] == UInt8(ascii: "u") else { return nil }
        var unit: UInt32 = 0
        for index in at + 2..<at + 6 {
            guard let digit = hexValue(raw[index]) else { return nil }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }

    private mutating func number() -> Bool {
        let start = at
        var isPlain = true
        scan: while at < end {
            switch base[at] {
            case 0x30...0x39, UInt8(ascii: "-"): break
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"): isPlain = false
            default: break scan
            }
            at &+= 1
        }
        let text = UnsafeRawBufferPointer(start: base + start, count: at - start)
        // A whole number of at most 15 digits is written as it is, but for -0.
        if isPlain, text.count <= 15, !(text.count == 2 && text[0] == UInt8(ascii: "-") && text[1] == UInt8(ascii: "0")) {
            out.append(text)
            return true
        }
        guard let number = Double(String(decoding: text, as: UTF8.self)), number.isFinite else { return false }
        JCS.write(number, to: out)
        return true
    }
}
