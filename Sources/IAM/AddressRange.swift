internal import Glibc

/// Addresses with the same first bits: `10.1.0.0/16`, `2001:db8::/32`, or one address.
struct AddressRange: Sendable {
    private let bytes: [UInt8]
    private let bits: Int

    /// nil when it is none.
    init?(_ text: String) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count <= 2, let bytes = Self.bytes(of: String(halves[0])) else { return nil }
        var bits = bytes.count * 8
        if halves.count == 2 {
            guard let given = Int(halves[1]), (0...bits).contains(given) else { return nil }
            bits = given
        }
        (self.bytes, self.bits) = (bytes, bits)
    }

    /// Four or sixteen bytes; an IPv4 address in the dress of IPv6 (`::ffff:10.0.0.1`) is what it is.
    static func bytes(of text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
        var six = in6_addr()
        guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
        let bytes = withUnsafeBytes(of: six) { Array($0) }
        let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return isMapped ? Array(bytes[12...]) : bytes
    }

    func contains(_ address: [UInt8]) -> Bool {
        guard address.count == bytes.count else { return false }
        let whole = bits / 8
        guard address[..<whole] == bytes[..<whole] else { return false }
        let rest = bits % 8
        guard rest > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xFF << (8 - rest))
        return address[whole] & mask == bytes[whole] & mask
    }
}
