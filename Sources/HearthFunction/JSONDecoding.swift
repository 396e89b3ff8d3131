/// Reads values of any `Decodable` type from one node of a document.
struct JSONReader: Decoder {
    let document: JSONDocument
    let index: Int
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    var node: JSONDocument.Node { document.nodes[index] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(JSONMembers<Key>(try checked(.object, as: [String: Any].self)))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        JSONElements(try checked(.array, as: [Any].self))
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { JSONSingle(reader: self) }

    private func checked(_ kind: JSONDocument.Kind, as type: Any.Type) throws -> JSONReader {
        guard node.kind == kind else { throw mismatch(type, kind == .object ? "an object" : "an array") }
        return self
    }

    func at(_ index: Int, _ key: any CodingKey) -> JSONReader {
        JSONReader(document: document, index: index, codingPath: codingPath + [key])
    }

    var isNull: Bool { node.kind == .null }

    func scalar<Value: JSONScalar>(_ type: Value.Type, key: (any CodingKey)? = nil) throws -> Value {
        do throws(Misfit) {
            if let value = try Value.read(node, of: document) { return value }
        } catch {
            throw DecodingError.dataCorrupted(.init(codingPath: path(key), debugDescription: error.sentence))
        }
        throw mismatch(type, "\(type)", key: key)
    }

    func value<Value: Decodable>(_ type: Value.Type, key: any CodingKey) throws -> Value {
        try Value(from: JSONReader(document: document, index: index, codingPath: codingPath + [key]))
    }

    private func path(_ key: (any CodingKey)?) -> [any CodingKey] { key.map { codingPath + [$0] } ?? codingPath }

    private func mismatch(_ type: Any.Type, _ wanted: String, key: (any CodingKey)? = nil) -> DecodingError {
        let context = DecodingError.Context(codingPath: path(key), debugDescription: "expected \(wanted), found \(found)")
        return isNull ? .valueNotFound(type, context) : .typeMismatch(type, context)
    }

    private var found: String {
        switch node.kind {
        case .null: "null"
        case .yes, .no: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A place in an array, or a name that is known as a text only.
struct JSONKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        intValue = nil
    }

    init(intValue: Int) {
        stringValue = "\(intValue)"
        self.intValue = intValue
    }

    static var superclass: JSONKey { JSONKey(stringValue: "super") }
}

private struct JSONMembers<Key: CodingKey>: KeyedDecodingContainerProtocol {
    private let reader: JSONReader
    /// Name to value; only of objects that are too large to be searched name by name.
    private let known: [String: Int]?

    private static var searchMax: Int { 16 }

    init(_ reader: JSONReader) {
        self.reader = reader
        guard reader.node.count > Self.searchMax else {
            known = nil
            return
        }
        var known: [String: Int] = [:]
        known.reserveCapacity(Int(reader.node.count))
        Self.forEach(reader) { name, value in
            known[reader.document.string(name)] = value
            return true
        }
        self.known = known
    }

    private static func forEach(_ reader: JSONReader, _ body: (_ name: JSONDocument.Node, _ value: Int) -> Bool) {
        let nodes = reader.document.nodes
        var at = reader.index + 1
        for _ in 0..<reader.node.count {
            guard body(nodes[at], at + 1) else { return }
            at = Int(nodes[at + 1].next)
        }
    }

    var codingPath: [any CodingKey] { reader.codingPath }

    var allKeys: [Key] {
        var keys: [Key] = []
        Self.forEach(reader) { name, _ in
            if let key = Key(stringValue: reader.document.string(name)) { keys.append(key) }
            return true
        }
        return keys
    }

    /// Of several members with one name the last one counts, as in JavaScript and Python.
    private func find(_ name: String) -> Int? {
        if let known { return known[name] }
        var found: Int?
        Self.forEach(reader) { node, value in
            if reader.document.equals(node, name) { found = value }
            return true
        }
        return found
    }

    private func member(_ key: any CodingKey) throws -> JSONReader {
        guard let index = find(key.stringValue) else {
            throw DecodingError.keyNotFound(
                key, .init(codingPath: codingPath, debugDescription: "\(key.stringValue) is missing"))
        }
        return JSONReader(document: reader.document, index: index, codingPath: codingPath)
    }

    func contains(_ key: Key) -> Bool { find(key.stringValue) != nil }
    func decodeNil(forKey key: Key) throws -> Bool { try member(key).isNull }

    func decode<Value: Decodable & JSONScalar>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try member(key).scalar(type, key: key)
    }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try member(key).value(type, key: key)
    }

    private func nested(_ key: any CodingKey) throws -> JSONReader {
        let member = try member(key)
        return JSONReader(document: member.document, index: member.index, codingPath: codingPath + [key])
    }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<Nested> {
        try nested(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try nested(key).unkeyedContainer() }
    func superDecoder() throws -> any Decoder { try nested(JSONKey.superclass) }
    func superDecoder(forKey key: Key) throws -> any Decoder { try nested(key) }
}

private struct JSONElements: UnkeyedDecodingContainer {
    private let reader: JSONReader
    private var next: Int
    private(set) var currentIndex = 0

    init(_ reader: JSONReader) {
        self.reader = reader
        next = reader.index + 1
    }

    var codingPath: [any CodingKey] { reader.codingPath }
    var count: Int? { Int(reader.node.count) }
    var isAtEnd: Bool { currentIndex == Int(reader.node.count) }

    private func element(_ type: Any.Type) throws -> JSONReader {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                type,
                .init(
                    codingPath: codingPath + [JSONKey(intValue: currentIndex)],
                    debugDescription: "expected another element, found the end of the array"))
        }
        return JSONReader(document: reader.document, index: next, codingPath: codingPath)
    }

    /// An element that failed is not passed: it can be read in another way.
    private mutating func pass() {
        next = Int(reader.document.nodes[next].next)
        currentIndex += 1
    }

    mutating func decodeNil() throws -> Bool {
        guard try element(Never.self).isNull else { return false }
        pass()
        return true
    }

    mutating func decode<Value: Decodable & JSONScalar>(_ type: Value.Type) throws -> Value {
        let value = try element(type).scalar(type, key: JSONKey(intValue: currentIndex))
        pass()
        return value
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let value = try element(type).value(type, key: JSONKey(intValue: currentIndex))
        pass()
        return value
    }

    private mutating func nested<Container>(_ type: Any.Type, _ make: (JSONReader) throws -> Container) throws -> Container {
        let container = try make(element(type).at(next, JSONKey(intValue: currentIndex)))
        pass()
        return container
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
        try nested([String: Any].self) { try $0.container(keyedBy: type) }
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        try nested([Any].self) { try $0.unkeyedContainer() }
    }

    mutating func superDecoder() throws -> any Decoder { try nested(Any.self) { $0 } }
}

private struct JSONSingle: SingleValueDecodingContainer {
    let reader: JSONReader

    var codingPath: [any CodingKey] { reader.codingPath }
    func decodeNil() -> Bool { reader.isNull }
    func decode<Value: Decodable & JSONScalar>(_ type: Value.Type) throws -> Value { try reader.scalar(type) }
    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try Value(from: reader) }
}
