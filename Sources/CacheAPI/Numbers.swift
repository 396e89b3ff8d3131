import Base
import Glibc

/// How redis reads and writes numbers in strings: strictly, so that every number has one form.
enum Numbers {
    /// A decimal without leading zeros, plus sign or blanks; nil when it is none or does not fit.
    static func integer(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        guard bytes.count > 0, bytes.count <= 20 else { return nil }
        let isNegative = bytes[0] == UInt8(ascii: "-")
        var at = isNegative ? 1 : 0
        guard at < bytes.count else { return nil }
        if bytes[at] == UInt8(ascii: "0") { return bytes.count == 1 ? 0 : nil }
        var value: UInt64 = 0
        while at < bytes.count {
            let digit = bytes[at] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (product, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, beyond) = product.addingReportingOverflow(UInt64(digit))
            guard !over, !beyond else { return nil }
            value = sum
            at += 1
        }
        if isNegative { return value <= UInt64(Int64.max) + 1 ? Int64(truncatingIfNeeded: 0 &- value) : nil }
        return value <= UInt64(Int64.max) ? Int64(value) : nil
    }

    static func need(_ bytes: UnsafeRawBufferPointer) throws(Fault) -> Int64 {
        guard let value = integer(bytes) else { throw .notInteger }
        return value
    }

    /// An index or a count, made to fit.
    static func needInt(_ bytes: UnsafeRawBufferPointer) throws(Fault) -> Int { Int(try need(bytes)) }

    #if arch(x86_64) || arch(i386)
    typealias Long = Float80
    #else
    typealias Long = Double
    #endif

    /// A number with a fraction, as strtold reads it, without blanks; nil for what is not one (NaN included).
    static func long(_ bytes: UnsafeRawBufferPointer) -> Long? {
        guard bytes.count > 0, bytes.count < 256, let first = bytes.first, first != 0x20, !(0x09...0x0D).contains(first) else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: bytes.count + 1) { text in
            guard let base = text.baseAddress else { return nil }
            for (at, byte) in bytes.enumerated() { base[at] = CChar(bitPattern: byte) }
            base[bytes.count] = 0
            var end: UnsafeMutablePointer<CChar>?
            #if arch(x86_64) || arch(i386)
            let value = strtold(base, &end)
            #else
            let value = strtod(base, &end)
            #endif
            guard end == base + bytes.count, !value.isNaN else { return nil }
            return value
        }
    }

    /// 17 digits behind the point, then without the zeros at their end: what INCRBYFLOAT stores.
    static func text(_ value: Long) -> [UInt8] {
        if value == 0 { return Array("0".utf8) }
        var digits = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 5 * 1024) { room -> [UInt8] in
            let count = withVaList([value]) { vsnprintf(room.baseAddress, room.count, Self.format, $0) }
            return room.prefix(Int(count)).map { UInt8(bitPattern: $0) }
        }
        if digits.contains(UInt8(ascii: ".")) {
            while digits.last == UInt8(ascii: "0") { digits.removeLast() }
            if digits.last == UInt8(ascii: ".") { digits.removeLast() }
        }
        return digits == Array("-0".utf8) ? Array("0".utf8) : digits
    }

    #if arch(x86_64) || arch(i386)
    private static let format = "%.17Lf"
    #else
    private static let format = "%.17g"
    #endif

    /// Calls `body` with the decimal digits of `value`.
    static func withDigits<R>(_ value: Int64, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { room in
            var at = 20
            var rest = value.magnitude
            repeat {
                at -= 1
                room[at] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            } while rest > 0
            if value < 0 {
                at -= 1
                room[at] = UInt8(ascii: "-")
            }
            return body(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[at...]))
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The same word, whatever the case of its letters; `word` is in lower case.
    @inline(__always) func isWord(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        let other = word.utf8Start
        for at in 0..<count {
            let byte = self[at]
            guard (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) == other[at] else { return false }
        }
        return true
    }

    var lowercased: String { String(decoding: self, as: UTF8.self).lowercased() }

    func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let a = baseAddress, let b = other.baseAddress, count > 0 else { return true }
        return memcmp(a, b, count) == 0
    }

    func begins(with prefix: [UInt8]) -> Bool {
        count >= prefix.count && prefix.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: self[..<prefix.count]).equals($0) }
    }
}
