/// The version of a message and the form of a host: the rules that requests and responses share.

enum HTTPVersion {
    /// The minor version, 0 or 1, that `start..<end` of `base` spells; `error` when it is not a version at
    /// all.
    ///
    /// Later minor versions are read as 1 (RFC 9110 §2.5), other major versions are refused.
    @inline(__always)
    static func minor(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int, otherwise error: HTTPError
    ) throws(HTTPError) -> UInt8 {
        guard end &- start == 8 else { throw error }
        switch Word.load(base + start).bigEndian {
        case 0x48_54_54_50_2F_31_2E_31: return 1  // HTTP/1.1
        case 0x48_54_54_50_2F_31_2E_30: return 0  // HTTP/1.0
        case let word:
            func isDigit(_ shift: UInt64) -> Bool { UInt8(truncatingIfNeeded: word >> shift) &- 0x30 < 10 }
            guard word >> 24 == 0x48_54_54_50_2F, isDigit(16), isDigit(0), word >> 8 & 0xFF == 0x2E else {
                throw error
            }
            guard word >> 16 & 0xFF == 0x31 else { throw .version }
            return 1
        }
    }
}

enum HTTPHost {
    /// Whether `start..<end` is `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2); it may be empty.
    static func isValid(
        _ base: UnsafePointer<UInt8>, _ classes: UnsafePointer<UInt8>, _ start: Int, _ end: Int
    ) -> Bool {
        var at = start
        if at < end, base[at] == UInt8(ascii: "[") {
            at += 1
            let inside = at
            // IP-literal: the address is not taken apart, only kept to the bytes that one can have
            while at < end, classes[Int(base[at])] & ByteClass.host.rawValue != 0 || base[at] == 0x3A {
                at += 1
            }
            guard at > inside, at < end, base[at] == UInt8(ascii: "]") else { return false }
            at += 1
        } else {
            while at < end, classes[Int(base[at])] & ByteClass.host.rawValue != 0 { at += 1 }
        }
        guard at < end else { return true }
        guard base[at] == UInt8(ascii: ":") else { return false }
        at += 1
        while at < end, classes[Int(base[at])] & ByteClass.digit.rawValue != 0 { at += 1 }
        return at == end
    }
}
