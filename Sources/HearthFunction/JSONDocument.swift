/// A JSON text, checked (RFC 8259, strictly) and indexed in one pass.
///
/// The index is flat: a value is followed by what it contains, a member's name by its value. So a text costs two arrays,
/// however much it holds.
///
/// Also an error: what no Swift value can hold (a lone surrogate), nesting beyond `depthMax`, bytes that are not UTF-8.
struct JSONDocument {
    enum Kind: UInt8 { case null, yes, no, number, string, array, object }

    struct Node {
        var kind: Kind
        /// Of a string: it has no escapes.
        var isPlain = true
        /// Where it stands in the text; of a string: without its quotes.
        var start: Int32
        var end: Int32 = 0
        /// Elements of an array, members of an object.
        var count: Int32 = 0
        /// The node behind it and all that it contains.
        var next: Int32 = 0
    }

    /// How deep arrays and objects may nest.
    static let depthMax = 512

    let bytes: [UInt8]
    private(set) var nodes: [Node] = []

    /// - Throws: `DecodingError.dataCorrupted` that says at which byte the text is wrong.
    init(_ bytes: [UInt8]) throws {
        self.bytes = bytes
        guard bytes.count < Int32.max else { throw Self.corrupted("it is larger than 2 GiB") }
        do { _ = try UTF8Span(validating: bytes.span) } catch {
            throw Self.corrupted("bytes \(error.byteOffsets.lowerBound)..<\(error.byteOffsets.upperBound) are not UTF-8")
        }
        nodes.reserveCapacity(8 + bytes.count / 8)
        var parser = JSONParser(bytes: bytes)
        try parser.document(into: &nodes)
    }

    static func corrupted(_ what: String) -> DecodingError {
        .dataCorrupted(.init(codingPath: [], debugDescription: "not a JSON text: \(what)"))
    }

    /// The text of a string: nodes are checked, so it cannot fail.
    func string(_ node: Node) -> String {
        let raw = bytes[Int(node.start)..<Int(node.end)]
        return node.isPlain ? String(decoding: raw, as: UTF8.self) : String(decoding: unescaped(raw), as: UTF8.self)
    }

    /// Has the name `node` this text? Compares bytes, as RFC 8259 §8.3 wants it.
    func equals(_ node: Node, _ text: String) -> Bool {
        guard node.isPlain else { return string(node).utf8.elementsEqual(text.utf8) }
        let length = Int(node.end - node.start)
        guard text.utf8.count == length else { return false }
        return bytes[Int(node.start)..<Int(node.end)].elementsEqual(text.utf8)
    }

    private func unescaped(_ raw: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(raw.count)
        var at = raw.startIndex
        while at < raw.endIndex {
            guard raw[at] == UInt8(ascii: "\\") else {
                out.append(raw[at])
                at += 1
                continue
            }
            let letter = raw[at + 1]
            at += 2
            guard letter == UInt8(ascii: "u") else {
                out.append(Self.character(of: letter))
                continue
            }
            var scalar = Self.unit(raw, at)
            at += 4
            if scalar & 0xFC00 == 0xD800 {
                scalar = 0x10000 + (scalar & 0x3FF) << 10 + Self.unit(raw, at + 2) & 0x3FF
                at += 6
            }
            if let scalar = Unicode.Scalar(scalar) { out.append(contentsOf: UTF8.encode(scalar).unsafelyUnwrapped) }
        }
        return out
    }

    private static func character(of letter: UInt8) -> UInt8 {
        switch letter {
        case UInt8(ascii: "b"): 8
        case UInt8(ascii: "t"): 9
        case UInt8(ascii: "n"): 10
        case UInt8(ascii: "f"): 12
        case UInt8(ascii: "r"): 13
        default: letter
        }
    }

    private static func unit(_ raw: ArraySlice<UInt8>, _ at: Int) -> UInt32 {
        raw[at..<at + 4].reduce(0) { $0 << 4 | UInt32(JSONParser.hex($1) ?? 0) }
    }
}

/// Reads a text once, from front to end.
struct JSONParser {
    let bytes: [UInt8]
    private var at = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document(into nodes: inout [JSONDocument.Node]) throws {
        skipSpace()
        try value(&nodes)
        skipSpace()
        guard at == bytes.count else { throw expected("the end") }
    }

    private var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

    private func expected(_ what: String) -> DecodingError {
        let found = at >= bytes.count ? "its end" : bytes[at] > 0x20 && bytes[at] < 0x7F
            ? "'\(Character(Unicode.Scalar(bytes[at])))'" : "byte 0x\(String(bytes[at], radix: 16))"
        return JSONDocument.corrupted("at byte \(at) stands \(found) instead of \(what)")
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func value(_ nodes: inout [JSONDocument.Node]) throws {
        switch byte {
        case UInt8(ascii: "{"): try container(.object, end: UInt8(ascii: "}"), &nodes)
        case UInt8(ascii: "["): try container(.array, end: UInt8(ascii: "]"), &nodes)
        case UInt8(ascii: "\""): try string(&nodes)
        case UInt8(ascii: "t"): try word("true", .yes, &nodes)
        case UInt8(ascii: "f"): try word("false", .no, &nodes)
        case UInt8(ascii: "n"): try word("null", .null, &nodes)
        default: try number(&nodes)
        }
    }

    private mutating func container(_ kind: JSONDocument.Kind, end: UInt8, _ nodes: inout [JSONDocument.Node]) throws {
        depth += 1
        guard depth <= JSONDocument.depthMax else {
            throw JSONDocument.corrupted("it nests deeper than \(JSONDocument.depthMax) levels at byte \(at)")
        }
        let own = nodes.count
        nodes.append(.init(kind: kind, start: Int32(at)))
        at += 1
        skipSpace()
        var count: Int32 = 0
        while byte != end || count > 0 {
            if kind == .object {
                guard byte == UInt8(ascii: "\"") else { throw expected("a name in quotes") }
                try string(&nodes)
                skipSpace()
                guard byte == UInt8(ascii: ":") else { throw expected("':'") }
                at += 1
                skipSpace()
            }
            try value(&nodes)
            count += 1
            skipSpace()
            if byte == end { break }
            guard byte == UInt8(ascii: ",") else { throw expected("',' or '\(Character(Unicode.Scalar(end)))'") }
            at += 1
            skipSpace()
        }
        at += 1
        depth -= 1
        nodes[own].count = count
        nodes[own].end = Int32(at)
        nodes[own].next = Int32(nodes.count)
    }

    private func append(_ kind: JSONDocument.Kind, _ range: Range<Int>, isPlain: Bool = true, _ nodes: inout [JSONDocument.Node]) {
        nodes.append(
            .init(
                kind: kind, isPlain: isPlain, start: Int32(range.lowerBound), end: Int32(range.upperBound),
                next: Int32(nodes.count + 1)))
    }

    private mutating func word(_ word: StaticString, _ kind: JSONDocument.Kind, _ nodes: inout [JSONDocument.Node]) throws {
        let start = at
        for index in 0..<word.utf8CodeUnitCount {
            guard byte == word.utf8Start[index] else { throw expected("\(word)") }
            at += 1
        }
        append(kind, start..<at, &nodes)
    }

    private mutating func string(_ nodes: inout [JSONDocument.Node]) throws {
        at += 1
        let start = at
        var isPlain = true
        while let byte, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw expected("an escaped control character") }
            at += 1
            guard byte == UInt8(ascii: "\\") else { continue }
            isPlain = false
            try escape()
        }
        guard byte != nil else { throw expected("the end of a string") }
        append(.string, start..<at, isPlain: isPlain, &nodes)
        at += 1
    }

    private mutating func escape() throws {
        switch byte {
        case UInt8(ascii: "u"):
            at += 1
            let unit = try unit()
            guard unit & 0xF800 == 0xD800 else { return }
            guard unit < 0xDC00, byte == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") else {
                throw JSONDocument.corrupted("a lone surrogate ends at byte \(at)")
            }
            at += 2
            guard try self.unit() & 0xFC00 == 0xDC00 else {
                throw JSONDocument.corrupted("a lone surrogate ends at byte \(at - 6)")
            }
        case let letter? where #""\/bfnrt"#.utf8.contains(letter): at += 1
        default: throw expected(#"one of "\/bfnrtu"#)
        }
    }

    private mutating func unit() throws -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte, let digit = Self.hex(byte) else { throw expected("a hexadecimal digit") }
            unit = unit << 4 | UInt32(digit)
            at += 1
        }
        return unit
    }

    static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    private mutating func number(_ nodes: inout [JSONDocument.Node]) throws {
        let start = at
        if byte == UInt8(ascii: "-") { at += 1 }
        if byte == UInt8(ascii: "0") { at += 1 } else { try digits(start == at ? "a value" : "a digit") }
        if byte == UInt8(ascii: ".") {
            at += 1
            try digits("a digit")
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            at += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { at += 1 }
            try digits("a digit")
        }
        append(.number, start..<at, &nodes)
    }

    private mutating func digits(_ what: String) throws {
        let start = at
        while let byte, byte >= 0x30, byte <= 0x39 { at += 1 }
        guard at > start else { throw expected(what) }
    }
}
