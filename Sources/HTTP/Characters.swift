/// Classes of bytes, one table of bits (RFC 9110 §5.6.2, §5.5; RFC 3986 §3.3).
enum Characters {
    static let token: UInt8 = 1
    /// Bytes of a field value: VCHAR, obs-text, space and tab.
    static let value: UInt8 = 2
    /// Bytes of a request target: VCHAR without `"`, `<`, `>`; bytes above 127 are not allowed.
    static let target: UInt8 = 4

    /// Never freed: the table lives as long as the process.
    nonisolated(unsafe) static let table: UnsafePointer<UInt8> = {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        table.initialize(repeating: 0, count: 256)
        for byte in 0..<256 {
            let scalar = UInt8(byte)
            let isDigit = scalar >= 0x30 && scalar <= 0x39
            let isLetter = (scalar | 0x20) >= 0x61 && (scalar | 0x20) <= 0x7A
            if isDigit || isLetter || "!#$%&'*+-.^_`|~".utf8.contains(scalar) { table[byte] |= token }
            if scalar == 9 || (scalar >= 32 && scalar != 127) { table[byte] |= value }
            if scalar > 32, scalar < 127, !"\"<>".utf8.contains(scalar) { table[byte] |= target }
        }
        return UnsafePointer(table)
    }()
}

/// May these bytes be a field name (a token, RFC 9110 §5.6.2)?
package func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
    !bytes.isEmpty && bytes.allSatisfy { Characters.table[Int($0)] & Characters.token != 0 }
}

/// May these bytes be a field value (RFC 9110 §5.5)? Line ends, NUL and controls may not.
package func isFieldValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.allSatisfy { Characters.table[Int($0)] & Characters.value != 0 }
}
