/// An element of a document: its name without the namespace's prefix, its text, its children.
package struct XMLElement: Sendable {
    package let name: String
    /// What stands between the tags, joined; white space is kept.
    package var text = ""
    package var children: [XMLElement] = []

    package init(name: String) { self.name = name }

    package func first(_ name: String) -> XMLElement? { children.first { $0.name == name } }
    package func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }
    /// The text of a child, without the white space around it.
    package func text(_ name: String) -> String? { first(name)?.trimmed }

    package var trimmed: String {
        var bytes = Substring(text)
        while let first = bytes.first, first.isWhitespace { bytes.removeFirst() }
        while let last = bytes.last, last.isWhitespace { bytes.removeLast() }
        return String(bytes)
    }
}

/// Reads the small documents that S3 and its clients send each other (XML 1.0): elements, text, CDATA, comments, the five entities and
/// character references. Attributes are parsed and dropped, prefixes of names too. A DOCTYPE is refused, so nothing can be expanded or
/// fetched.
///
/// Strict: what is not well-formed is refused, as is a name, a depth or a number of elements beyond the bounds.
package struct XMLReader {
    package struct Malformed: Error {}

    private static let depthMax = 16
    private static let elementsMax = 60_000
    private static let nameBytesMax = 256

    private let bytes: [UInt8]
    private var at = 0
    private var elements = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The root of the document.
    package static func read(_ bytes: [UInt8]) throws(Malformed) -> XMLElement {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw Malformed() }
        var reader = XMLReader(bytes)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.at = 3 }
        if reader.skip("<?xml ") { try reader.skip(through: "?>") }
        try reader.skipMisc()
        guard reader.take(UInt8(ascii: "<")) else { throw Malformed() }
        let root = try reader.element(depth: 1)
        try reader.skipMisc()
        guard reader.at == bytes.count else { throw Malformed() }
        return root
    }

    /// After "<": the rest of a start tag, the content and the end tag.
    private mutating func element(depth: Int) throws(Malformed) -> XMLElement {
        elements += 1
        guard depth <= Self.depthMax, elements <= Self.elementsMax else { throw Malformed() }
        let full = try name()
        var element = XMLElement(name: full.split(separator: ":").last.map(String.init) ?? full)
        if try attributes() { return element }
        var text: [UInt8] = []
        while true {
            guard at < bytes.count else { throw Malformed() }
            guard bytes[at] == UInt8(ascii: "<") else {
                try character(into: &text)
                continue
            }
            at += 1
            if take(UInt8(ascii: "/")) { break }
            if skip("!--") {
                try skip(through: "-->")
            } else if skip("![CDATA[") {
                let start = at
                try skip(through: "]]>")
                text.append(contentsOf: bytes[start..<(at - 3)])
            } else if skip("?") {
                try skip(through: "?>")
            } else {
                element.children.append(try self.element(depth: depth + 1))
            }
        }
        guard try name() == full else { throw Malformed() }
        skipSpace()
        guard take(UInt8(ascii: ">")) else { throw Malformed() }
        element.text = String(decoding: text, as: UTF8.self)
        return element
    }

    /// The rest of a start tag; true when it is that of an empty element.
    private mutating func attributes() throws(Malformed) -> Bool {
        while true {
            let before = at
            skipSpace()
            if skip("/>") { return true }
            if take(UInt8(ascii: ">")) { return false }
            guard at > before else { throw Malformed() }
            _ = try name()
            skipSpace()
            guard take(UInt8(ascii: "=")) else { throw Malformed() }
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") || bytes[at] == UInt8(ascii: "'") else { throw Malformed() }
            let quote = bytes[at]
            at += 1
            var value: [UInt8] = []
            while at < bytes.count, bytes[at] != quote {
                guard bytes[at] != UInt8(ascii: "<") else { throw Malformed() }
                try character(into: &value)
            }
            guard take(quote) else { throw Malformed() }
        }
    }

    private mutating func name() throws(Malformed) -> String {
        let start = at
        while at < bytes.count, Self.isName(bytes[at]) { at += 1 }
        guard at > start, at - start <= Self.nameBytesMax else { throw Malformed() }
        let first = bytes[start]
        guard first != UInt8(ascii: "-"), first != UInt8(ascii: "."), !(0x30...0x39).contains(first) else { throw Malformed() }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    private static func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x3A, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), 0x80...: true
        default: false
        }
    }

    /// One character of text, or one reference.
    private mutating func character(into text: inout [UInt8]) throws(Malformed) {
        let byte = bytes[at]
        at += 1
        guard byte == UInt8(ascii: "&") else {
            // XML 1.0 §2.2 has no control characters, but keys have, and SDKs write them as they are: else such a key could not be deleted.
            guard byte != 0 else { throw Malformed() }
            // §2.11: CR LF is one line end.
            if byte == 0x0D {
                if at < bytes.count, bytes[at] == 0x0A { at += 1 }
                text.append(0x0A)
            } else {
                text.append(byte)
            }
            return
        }
        let start = at
        while at < bytes.count, at - start < 12, bytes[at] != UInt8(ascii: ";") { at += 1 }
        let reference = String(decoding: bytes[start..<at], as: UTF8.self)
        guard take(UInt8(ascii: ";")) else { throw Malformed() }
        switch reference {
        case "amp": text.append(UInt8(ascii: "&"))
        case "lt": text.append(UInt8(ascii: "<"))
        case "gt": text.append(UInt8(ascii: ">"))
        case "quot": text.append(UInt8(ascii: "\""))
        case "apos": text.append(UInt8(ascii: "'"))
        default:
            // Control characters too: keys have them, and S3's own clients write them so.
            guard reference.hasPrefix("#"), let code = Self.code(reference.dropFirst()), code > 0, let scalar = Unicode.Scalar(code) else {
                throw Malformed()
            }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
        }
    }

    private static func code(_ digits: Substring) -> UInt32? {
        let isHex = digits.hasPrefix("x")
        let digits = isHex ? digits.dropFirst() : digits
        guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }) else { return nil }
        return UInt32(digits, radix: isHex ? 16 : 10)
    }

    // MARK: small steps

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    /// Space, comments and processing instructions beside the root.
    private mutating func skipMisc() throws(Malformed) {
        while true {
            skipSpace()
            if skip("<!--") {
                try skip(through: "-->")
            } else if skip("<?") {
                try skip(through: "?>")
            } else {
                return
            }
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func skip(_ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard bytes.count - at >= count else { return false }
        for index in 0..<count where bytes[at + index] != text.utf8Start[index] { return false }
        at += count
        return true
    }

    private mutating func skip(through text: StaticString) throws(Malformed) {
        while at < bytes.count {
            if skip(text) { return }
            at += 1
        }
        throw Malformed()
    }
}
