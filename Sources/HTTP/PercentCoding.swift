/// Decodes `%41` and, where forms are meant, `+`; nil when a percent sign is not followed by two hexadecimal digits.
package func percentDecode(_ bytes: UnsafeRawBufferPointer, plusIsSpace: Bool = false) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var at = 0
    while at < bytes.count {
        switch bytes[at] {
        case UInt8(ascii: "%"):
            guard at + 2 < bytes.count, let high = hexDigit(bytes[at + 1]), let low = hexDigit(bytes[at + 2]) else {
                return nil
            }
            out.append(high << 4 | low)
            at += 3
        case UInt8(ascii: "+") where plusIsSpace:
            out.append(UInt8(ascii: " "))
            at += 1
        default:
            out.append(bytes[at])
            at += 1
        }
    }
    return out
}

/// Encodes all but the unreserved characters (RFC 3986 §2.3) and those in `keeping`.
package func percentEncode(_ bytes: some Sequence<UInt8>, keeping: StaticString = "") -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    let kept = UnsafeRawBufferPointer(start: keeping.utf8Start, count: keeping.utf8CodeUnitCount)
    var out: [UInt8] = []
    for byte in bytes {
        let isDigit = byte >= 48 && byte <= 57
        let isLetter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
        if isDigit || isLetter || "-._~".utf8.contains(byte) || kept.contains(byte) {
            out.append(byte)
        } else {
            out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: out, as: UTF8.self)
}

/// The value of the first query parameter of this name, decoded.
package func queryValue(_ query: UnsafeRawBufferPointer, _ name: String) -> String? {
    for part in query.split(separator: UInt8(ascii: "&")) {
        let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
        let rawName = UnsafeRawBufferPointer(rebasing: part[..<equals])
        guard let decoded = percentDecode(rawName, plusIsSpace: true), decoded.elementsEqual(name.utf8) else { continue }
        guard equals < part.endIndex else { return "" }
        let rawValue = UnsafeRawBufferPointer(rebasing: part[(equals + 1)...])
        return percentDecode(rawValue, plusIsSpace: true).map { String(decoding: $0, as: UTF8.self) }
    }
    return nil
}
