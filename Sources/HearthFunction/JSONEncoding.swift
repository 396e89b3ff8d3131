/// What is being encoded: scalars as their final text, in the order in which they came, and the containers around them.
///
/// A type may write to several containers by turns, so the text is put together when all is there.
final class JSONScratch {
    var text: [UInt8] = []

    func append<Value: JSONScalar>(_ value: Value, _ path: @autoclosure () -> [any CodingKey]) throws -> JSONPart {
        let start = text.count
        do throws(Misfit) { try value.write(to: &text) } catch {
            throw EncodingError.invalidValue(value, .init(codingPath: path(), debugDescription: error.sentence))
        }
        return .text(start..<text.count)
    }

    func append(_ literal: StaticString) -> JSONPart {
        let start = text.count
        text.append(contentsOf: UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
        return .text(start..<text.count)
    }
}

enum JSONPart {
    /// Of the scratch's text.
    case text(Range<Int>)
    case place(JSONPlace)
}

/// Where one value goes: filled by whoever encodes it.
final class JSONPlace {
    enum Shape {
        case empty
        case scalar(JSONPart)
        case array([JSONPart])
        case object(names: [JSONPart], values: [JSONPart])
    }

    var shape = Shape.empty
    /// Of an object: where the value of a name stands.
    private var known: [String: Int] = [:]

    func becomeArray() {
        if case .array = shape { return }
        shape = .array([])
    }

    func becomeObject() {
        if case .object = shape { return }
        shape = .object(names: [], values: [])
    }

    func append(_ part: JSONPart) {
        guard case .array(var parts) = shape else { return }
        shape = .empty
        parts.append(part)
        shape = .array(parts)
    }

    var count: Int { if case .array(let parts) = shape { parts.count } else { 0 } }

    /// The last value of a name stays.
    func set(_ name: String, _ part: JSONPart, _ scratch: JSONScratch) throws {
        guard case .object(var names, var values) = shape else { return }
        shape = .empty
        if let index = known[name] {
            values[index] = part
        } else {
            known[name] = names.count
            names.append(try scratch.append(name, []))
            values.append(part)
        }
        shape = .object(names: names, values: values)
    }

    func write(_ scratch: JSONScratch, to out: inout [UInt8]) {
        switch shape {
        // A type that encodes nothing.
        case .empty: out.append(contentsOf: "{}".utf8)
        case .scalar(let part): Self.write(part, scratch, to: &out)
        case .array(let parts):
            out.append(UInt8(ascii: "["))
            for (index, part) in parts.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                Self.write(part, scratch, to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let names, let values):
            out.append(UInt8(ascii: "{"))
            for index in names.indices {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                Self.write(names[index], scratch, to: &out)
                out.append(UInt8(ascii: ":"))
                Self.write(values[index], scratch, to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ part: JSONPart, _ scratch: JSONScratch, to out: inout [UInt8]) {
        switch part {
        case .text(let range): out.append(contentsOf: scratch.text[range])
        case .place(let place): place.write(scratch, to: &out)
        }
    }
}

/// Encodes one value of any `Encodable` type into its place.
struct JSONWriter: Encoder {
    let scratch: JSONScratch
    let place: JSONPlace
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        place.becomeObject()
        return KeyedEncodingContainer(JSONObjectWriter<Key>(writer: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        place.becomeArray()
        return JSONArrayWriter(writer: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { JSONSingleWriter(writer: self) }

    func nested(_ key: any CodingKey) -> JSONWriter {
        JSONWriter(scratch: scratch, place: JSONPlace(), codingPath: codingPath + [key])
    }

    func encode(_ value: some Encodable) throws {
        guard codingPath.count <= JSONDocument.depthMax else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: [], debugDescription: "it nests deeper than \(JSONDocument.depthMax) levels"))
        }
        try value.encode(to: self)
    }
}

private struct JSONObjectWriter<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let writer: JSONWriter
    var codingPath: [any CodingKey] { writer.codingPath }

    private func set(_ key: any CodingKey, _ part: JSONPart) throws {
        try writer.place.set(key.stringValue, part, writer.scratch)
    }

    mutating func encodeNil(forKey key: Key) throws { try set(key, writer.scratch.append("null")) }

    mutating func encode<Value: Encodable & JSONScalar>(_ value: Value, forKey key: Key) throws {
        try set(key, writer.scratch.append(value, writer.codingPath + [key]))
    }

    mutating func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws { try nested(key).encode(value) }

    /// Never fails: a name always has a text.
    private func nested(_ key: any CodingKey) -> JSONWriter {
        let nested = writer.nested(key)
        try? set(key, .place(nested.place))
        return nested
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested> {
        nested(key).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { nested(key).unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { nested(JSONKey.superclass) }
    mutating func superEncoder(forKey key: Key) -> any Encoder { nested(key) }
}

private struct JSONArrayWriter: UnkeyedEncodingContainer {
    let writer: JSONWriter
    var codingPath: [any CodingKey] { writer.codingPath }
    var count: Int { writer.place.count }
    private var key: JSONKey { JSONKey(intValue: count) }

    mutating func encodeNil() throws { writer.place.append(writer.scratch.append("null")) }

    mutating func encode<Value: Encodable & JSONScalar>(_ value: Value) throws {
        writer.place.append(try writer.scratch.append(value, writer.codingPath + [key]))
    }

    mutating func encode<Value: Encodable>(_ value: Value) throws { try nested().encode(value) }

    private func nested() -> JSONWriter {
        let nested = writer.nested(key)
        writer.place.append(.place(nested.place))
        return nested
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        nested().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nested().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { nested() }
}

private struct JSONSingleWriter: SingleValueEncodingContainer {
    let writer: JSONWriter
    var codingPath: [any CodingKey] { writer.codingPath }

    mutating func encodeNil() { writer.place.shape = .scalar(writer.scratch.append("null")) }

    mutating func encode<Value: Encodable & JSONScalar>(_ value: Value) throws {
        writer.place.shape = .scalar(try writer.scratch.append(value, codingPath))
    }

    mutating func encode<Value: Encodable>(_ value: Value) throws { try value.encode(to: writer) }
}
