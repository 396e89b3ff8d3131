/// What each byte may be in HTTP, in one table; and the checks of names and values that functions want to
/// send.

/// Properties of a byte, as bits.
struct ByteClass: OptionSet {
    let rawValue: UInt8

    /// RFC 9110 §5.6.2: tchar.
    static let token = ByteClass(rawValue: 1)
    /// RFC 9110 §5.5: HTAB, SP, VCHAR, obs-text.
    static let fieldValue = ByteClass(rawValue: 2)
    /// VCHAR without "#": wider than RFC 3986, because browsers send `|`, `{` and `^` as they are.
    static let target = ByteClass(rawValue: 4)
    /// RFC 3986 §3.2.2: reg-name (unreserved, pct-encoded, sub-delims).
    static let host = ByteClass(rawValue: 8)
    /// RFC 3986 §2.3: what percent-encoding leaves alone.
    static let unreserved = ByteClass(rawValue: 16)
    static let digit = ByteClass(rawValue: 32)
    static let hexDigit = ByteClass(rawValue: 64)

    /// One entry a byte. Written once, before its first reader gets it, and never freed: safe to share.
    nonisolated(unsafe) static let table: UnsafePointer<UInt8> = {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        table.initialize(repeating: 0, count: 256)
        func add(_ bytes: some Sequence<UInt8>, _ classes: ByteClass) {
            for byte in bytes { table[Int(byte)] |= classes.rawValue }
        }
        let alphanumeric = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        add(alphanumeric, [.token, .host, .unreserved])
        add("!#$%&'*+-.^_`|~".utf8, .token)
        add("-._~".utf8, [.host, .unreserved])
        add("%!$&'()*+,;=".utf8, .host)
        add([0x09], .fieldValue)
        add(0x20...0x7E, .fieldValue)
        add(0x80...0xFF, .fieldValue)
        add((0x21...0x7E).filter { $0 != UInt8(ascii: "#") }, .target)
        add("0123456789".utf8, .digit)
        add("0123456789abcdefABCDEF".utf8, .hexDigit)
        return UnsafePointer(table)
    }()
}

/// Eight bytes at a time, in a general register.
enum Word {
    static let lowBits: UInt64 = 0x0101_0101_0101_0101
    static let highBits: UInt64 = 0x8080_8080_8080_8080

    @inline(__always)
    static func load(_ bytes: UnsafePointer<UInt8>) -> UInt64 {
        UnsafeRawPointer(bytes).loadUnaligned(as: UInt64.self)
    }

    /// Not zero exactly when a byte of `word` is below `limit` (at most 0x80).
    @inline(__always)
    static func below(_ word: UInt64, _ limit: UInt8) -> UInt64 {
        (word &- (lowBits &* UInt64(limit))) & ~word & highBits
    }

    /// Not zero exactly when a byte of `word` is `byte`.
    @inline(__always)
    static func holds(_ word: UInt64, _ byte: UInt8) -> UInt64 { below(word ^ (lowBits &* UInt64(byte)), 1) }
}

/// `byte` with an upper-case ASCII letter made lower.
@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

/// Whether `count` bytes at `bytes` are `lower`, whose letters are lower case, in any case.
@inline(__always)
func equalsIgnoringCase(_ bytes: UnsafePointer<UInt8>, _ lower: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    var at = 0
    while at < count {
        if lowercased(bytes[at]) != lower[at] { return false }
        at &+= 1
    }
    return true
}

/// Whether `count` bytes at `bytes` are the lower-case `text` in any case.
@inline(__always)
func equalsIgnoringCase(_ bytes: UnsafePointer<UInt8>, count: Int, _ text: StaticString) -> Bool {
    count == text.utf8CodeUnitCount && equalsIgnoringCase(bytes, text.utf8Start, count)
}

private func all(_ bytes: some Sequence<UInt8>, _ wanted: ByteClass) -> Bool {
    let table = ByteClass.table
    return bytes.allSatisfy { table[Int($0)] & wanted.rawValue != 0 }
}

/// Whether `bytes` may be the name of a header (RFC 9110 §5.1: a token, one byte or more).
package func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool { !bytes.isEmpty && all(bytes, .token) }
package func isToken(_ text: String) -> Bool { !text.isEmpty && all(text.utf8, .token) }

/// Whether `bytes` may be the value of a header: no CR, LF, NUL or other control but the tab (RFC 9110 §5.5).
package func isFieldValue(_ bytes: UnsafeRawBufferPointer) -> Bool { all(bytes, .fieldValue) }
package func isFieldValue(_ text: String) -> Bool { all(text.utf8, .fieldValue) }
