package import Base

/// A selection from a JSON text: the part of JMESPath (jmespath.org, "Specification") that picks things out.
///
///     expression = step *( "." step / index )     step = name / "name" / index / list / hash / @
///     index = "[" number "]"     list = "[" expression *( "," expression ) "]"     hash = "{" name ":" expression *( "," … ) "}"
///
/// What computes or searches (functions, filters, projections, pipes, literals) is refused when the expression is read, never later.
package struct JMESPath: Sendable {
    package struct Fault: Error, Equatable, CustomStringConvertible {
        /// One sentence's end: what stands there and what would be right.
        package let description: String
    }

    indirect enum Node: Sendable {
        case current
        case field([UInt8])
        case index(Int)
        case list([Node])
        case hash([(name: [UInt8], node: Node)])
        case chain(Node, Node)
    }

    /// An expression is walked for each invocation.
    static let nodesMax = 64
    static let bytesMax = 1024

    private let root: Node

    package init(_ expression: String) throws(Fault) {
        var reader = JMESPathReader(expression)
        root = try reader.read()
    }

    /// Appends what it selects of `text`, in canonical form; false when that is nothing (null, or a list or hash of nothing but null), or
    /// when what it selects has no canonical form. `text` has passed `JSONCheck`.
    package func write(_ text: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool? {
        guard let whole = Self.value(of: text) else { return false }
        let selected = Self.evaluate(root, .json(whole), text)
        guard !selected.isNothing else { return false }
        let start = out.count
        guard Self.write(selected, text, to: out) else {
            out.truncate(to: start)
            return nil
        }
        return true
    }

    /// A result: a value of the text, or one put together from such.
    private enum Selected {
        case null
        /// A name that is there twice: which one counts is the function's business.
        case ambiguous
        case json(JSONValue)
        case list([Selected])
        case hash([(name: [UInt8], value: Selected)])

        var isNull: Bool {
            switch self {
            case .null: true
            case .json(let value): value.kind == .null
            case .list, .hash, .ambiguous: false
            }
        }

        var isNothing: Bool {
            switch self {
            case .null, .json, .ambiguous: isNull
            case .list(let members): members.allSatisfy(\.isNull)
            case .hash(let members): members.allSatisfy { $0.value.isNull }
            }
        }
    }

    /// The text's one value, as an element of an array that is not there.
    private static func value(of text: UnsafeRawBufferPointer) -> JSONValue? { JSONValue(first: text) }

    private static func evaluate(_ node: Node, _ input: Selected, _ text: UnsafeRawBufferPointer) -> Selected {
        switch node {
        case .current: return input
        case .chain(let left, let right): return evaluate(right, evaluate(left, input, text), text)
        case .field(let name): return field(name, input, text)
        case .index(let index): return element(index, input, text)
        case .list(let nodes): return input.isNull ? .null : .list(nodes.map { evaluate($0, input, text) })
        case .hash(let members):
            return input.isNull ? .null : .hash(members.map { (name: $0.name, value: evaluate($0.node, input, text)) })
        }
    }

    private static func field(_ name: [UInt8], _ input: Selected, _ text: UnsafeRawBufferPointer) -> Selected {
        switch input {
        case .json(let value):
            guard let members = JSONMembers(text, of: value) else { return .null }
            var found = Selected.null
            for member in members where equals(member.name.slice(text), name) {
                guard found.isNull else { return .ambiguous }
                found = .json(member.value)
            }
            return found
        case .hash(let members): return members.first { $0.name == name }?.value ?? .null
        case .ambiguous: return .ambiguous
        case .null, .list: return .null
        }
    }

    private static func equals(_ raw: UnsafeRawBufferPointer, _ name: [UInt8]) -> Bool {
        raw.contains(UInt8(ascii: "\\")) ? JSONText.decode(raw) == name : raw.elementsEqual(name)
    }

    /// From the end when negative.
    private static func element(_ index: Int, _ input: Selected, _ text: UnsafeRawBufferPointer) -> Selected {
        switch input {
        case .json(let value):
            guard let elements = JSONElements(text, of: value) else { return .null }
            let all = index < 0 ? Array(elements) : Array(elements.prefix(index + 1))
            let at = index < 0 ? all.count + index : index
            return all.indices.contains(at) ? .json(all[at]) : .null
        case .list(let members):
            let at = index < 0 ? members.count + index : index
            return members.indices.contains(at) ? members[at] : .null
        case .ambiguous: return .ambiguous
        case .null, .hash: return .null
        }
    }

    private static func write(_ selected: Selected, _ text: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool {
        switch selected {
        case .ambiguous: return false
        case .null: out.append("null")
        case .json(let value): return JCS.write(value.whole(in: text), to: out)
        case .list(let members):
            out.append("[")
            for (at, member) in members.enumerated() {
                if at > 0 { out.append(",") }
                guard write(member, text, to: out) else { return false }
            }
            out.append("]")
        case .hash(let members):
            out.append("{")
            let sorted = members.sorted { a, b in a.name.withUnsafeBytes { a in b.name.withUnsafeBytes { JCS.isBefore(a, $0) } } }
            for (at, member) in sorted.enumerated() {
                if at > 0 { out.append(",") }
                member.name.withUnsafeBytes { out.append(jsonString: $0) }
                out.append(":")
                guard write(member.value, text, to: out) else { return false }
            }
            out.append("}")
        }
        return true
    }
}

/// Reads an expression.
private struct JMESPathReader {
    private let bytes: [UInt8]
    private var at = 0
    private var nodes = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func read() throws(JMESPath.Fault) -> JMESPath.Node {
        guard bytes.count <= JMESPath.bytesMax else { throw .init(description: "it is longer than \(JMESPath.bytesMax) bytes") }
        let node = try expression()
        guard peek == nil else { throw unexpected("") }
        return node
    }

    private var peek: UInt8? {
        mutating get {
            while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 || bytes[at] == 0x0A || bytes[at] == 0x0D { at += 1 }
            return at < bytes.count ? bytes[at] : nil
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        at += 1
        return true
    }

    private mutating func unexpected(_ wanted: String) -> JMESPath.Fault {
        guard let byte = peek else { return .init(description: "it ends where \(wanted.isEmpty ? "more" : wanted) is due") }
        let kinds: [UInt8: String] = [
            UInt8(ascii: "*"): "wildcards", UInt8(ascii: "?"): "filters", UInt8(ascii: "|"): "pipes", UInt8(ascii: "("): "functions and parentheses",
            UInt8(ascii: "`"): "literals", UInt8(ascii: "'"): "literals", UInt8(ascii: "&"): "expression types and \"and\"",
            UInt8(ascii: "!"): "\"not\"", UInt8(ascii: "<"): "comparisons", UInt8(ascii: ">"): "comparisons", UInt8(ascii: "="): "comparisons",
            UInt8(ascii: ":"): "slices",
        ]
        if let kind = kinds[byte] {
            return .init(
                description: "\(kind) are not known here (at byte \(at)): use names, \"quoted names\", a.b, [0], [a, b] and {x: a}")
        }
        let shown = String(decoding: bytes[at...].prefix(8), as: UTF8.self)
        return .init(description: "\(shown) at byte \(at) is unexpected\(wanted.isEmpty ? "" : ": \(wanted) is due")")
    }

    private mutating func count(_ node: JMESPath.Node) throws(JMESPath.Fault) -> JMESPath.Node {
        nodes += 1
        guard nodes <= JMESPath.nodesMax else { throw .init(description: "it has more than \(JMESPath.nodesMax) steps") }
        return node
    }

    private mutating func expression() throws(JMESPath.Fault) -> JMESPath.Node {
        var node = try step(first: true)
        while let byte = peek {
            if byte == UInt8(ascii: ".") {
                at += 1
                node = .chain(node, try step(first: false))
            } else if byte == UInt8(ascii: "[") {
                at += 1
                guard let index = try index() else { throw unexpected("a number") }
                node = .chain(node, try count(.index(index)))
            } else {
                break
            }
        }
        return node
    }

    private mutating func step(first: Bool) throws(JMESPath.Fault) -> JMESPath.Node {
        switch peek {
        case UInt8(ascii: "@") where first:
            at += 1
            return try count(.current)
        case UInt8(ascii: "["):
            at += 1
            if first, let index = try index() { return try count(.index(index)) }
            return try count(.list(try list()))
        case UInt8(ascii: "{"):
            at += 1
            return try count(.hash(try hash()))
        default:
            let node = JMESPath.Node.field(try name())
            if peek == UInt8(ascii: "(") { throw unexpected("") }
            return try count(node)
        }
    }

    /// The number and the bracket behind it; nil when something else stands there.
    private mutating func index() throws(JMESPath.Fault) -> Int? {
        guard let byte = peek, byte == UInt8(ascii: "-") || (48...57).contains(byte) else { return nil }
        let start = at
        at += 1
        while at < bytes.count, (48...57).contains(bytes[at]) { at += 1 }
        guard let number = Int(String(decoding: bytes[start..<at], as: UTF8.self)), number.magnitude <= UInt(Int32.max) else {
            throw .init(description: "the index at byte \(start) is no number that an array could have")
        }
        guard take(UInt8(ascii: "]")) else { throw unexpected("]") }
        return number
    }

    private mutating func list() throws(JMESPath.Fault) -> [JMESPath.Node] {
        if peek == UInt8(ascii: "]") {
            throw .init(description: "flattening [] is not known here (at byte \(at)): use names, \"quoted names\", a.b, [0], [a, b] and {x: a}")
        }
        var nodes = [try expression()]
        while take(UInt8(ascii: ",")) { nodes.append(try expression()) }
        guard take(UInt8(ascii: "]")) else { throw unexpected(", or ]") }
        return nodes
    }

    private mutating func hash() throws(JMESPath.Fault) -> [(name: [UInt8], node: JMESPath.Node)] {
        var members: [(name: [UInt8], node: JMESPath.Node)] = []
        repeat {
            let name = try name()
            guard !members.contains(where: { $0.name == name }) else {
                throw .init(description: "the name \(String(decoding: name, as: UTF8.self)) is there twice")
            }
            guard take(UInt8(ascii: ":")) else { throw unexpected(":") }
            members.append((name: name, node: try expression()))
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw unexpected(", or }") }
        return members
    }

    private mutating func name() throws(JMESPath.Fault) -> [UInt8] {
        guard let byte = peek else { throw unexpected("a name") }
        if byte == UInt8(ascii: "\"") { return try quotedName() }
        let start = at
        while at < bytes.count, Self.isNameByte(bytes[at]), at > start || !(48...57).contains(bytes[at]) { at += 1 }
        guard at > start else { throw unexpected("a name") }
        return Array(bytes[start..<at])
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (48...57).contains(byte) || (97...122).contains(byte | 0x20)
    }

    /// As a JSON string.
    private mutating func quotedName() throws(JMESPath.Fault) -> [UInt8] {
        let start = at
        at += 1
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
        guard at < bytes.count else { throw .init(description: "the name that begins at byte \(start) does not end") }
        at += 1
        let quoted = bytes[start..<at]
        let isString = quoted.withUnsafeBytes { JSONCheck.validate($0) == nil }
        let name = isString ? quoted.dropFirst().dropLast().withUnsafeBytes { JSONText.decode($0) } : nil
        guard let name, !name.isEmpty else { throw .init(description: "the name at byte \(start) is no JSON string with something in it") }
        return name
    }
}
