package import Base

/// Percent-encoding (RFC 3986 §2.1) and the items of a query.

/// `bytes` with each %XX replaced by its byte, and each "+" by a space when `plusIsSpace` (the form encoding
/// of queries, WHATWG URL §5.1); nil when a "%" is not followed by two hexadecimal digits.
package func percentDecode(_ bytes: UnsafeRawBufferPointer, plusIsSpace: Bool) -> [UInt8]? {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var at = 0
    while at < bytes.count {
        let byte = bytes[at]
        if byte == UInt8(ascii: "%") {
            guard at + 2 < bytes.count, let high = hexValue(bytes[at + 1]), let low = hexValue(bytes[at + 2])
            else {
                return nil
            }
            decoded.append(high << 4 | low)
            at += 3
        } else {
            decoded.append(byte == UInt8(ascii: "+") && plusIsSpace ? 0x20 : byte)
            at += 1
        }
    }
    return decoded
}

extension ByteBuffer {
    /// Appends `bytes` with every byte but `A-Z a-z 0-9 - . _ ~` as %XX in upper case, as SigV4 wants it.
    ///
    /// With `keepSlash`, "/" stays too: for a path that is encoded whole.
    package func append(percentEncoding bytes: UnsafeRawBufferPointer, keepSlash: Bool = false) {
        let table = ByteClass.table
        let hex: StaticString = "0123456789ABCDEF"
        for byte in bytes {
            let plain = table[Int(byte)] & ByteClass.unreserved.rawValue != 0
            if plain || (keepSlash && byte == UInt8(ascii: "/")) {
                append(byte)
                continue
            }
            let room = reserve(3)
            room[0] = UInt8(ascii: "%")
            room[1] = hex.utf8Start[Int(byte >> 4)]
            room[2] = hex.utf8Start[Int(byte & 15)]
            commit(3)
        }
    }
}

/// The items of a query, `a=1&b&c=`, in order and not decoded; empty items are left out.
package struct QueryItems: Sequence, IteratorProtocol {
    package struct Item: Equatable, Sendable {
        package let name: ByteRange
        /// What follows the first "="; nil without one.
        package let value: ByteRange?
    }

    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    /// The ranges are offsets into `query`, which starts behind the "?".
    package init(_ query: UnsafeRawBufferPointer) { bytes = query }

    package mutating func next() -> Item? {
        while at < bytes.count, bytes[at] == UInt8(ascii: "&") { at += 1 }
        guard at < bytes.count else { return nil }
        let start = at
        var equals = -1
        while at < bytes.count, bytes[at] != UInt8(ascii: "&") {
            if equals < 0, bytes[at] == UInt8(ascii: "=") { equals = at }
            at += 1
        }
        guard equals >= 0 else { return Item(name: ByteRange(from: start, to: at), value: nil) }
        return Item(name: ByteRange(from: start, to: equals), value: ByteRange(from: equals + 1, to: at))
    }
}

/// The decoded value of the first query parameter of this name; empty when it has none; nil when it is not there.
package func queryValue(_ query: UnsafeRawBufferPointer, _ name: StaticString) -> String? {
    let wanted = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    for item in QueryItems(query) {
        let raw = item.name.slice(query)
        guard raw.elementsEqual(wanted) || percentDecode(raw, plusIsSpace: true)?.elementsEqual(wanted) == true else {
            continue
        }
        guard let value = item.value else { return "" }
        return percentDecode(value.slice(query), plusIsSpace: true).map { String(decoding: $0, as: UTF8.self) }
    }
    return nil
}
