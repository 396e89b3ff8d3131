/// Reads members of an object and elements of an array without building a tree.
///
/// Meant for texts that passed `JSONCheck`; on others it stays inside the bytes and ends early, but may find
/// things that are not there.

/// What a value is; decided by its first byte.
package enum JSONKind: Equatable, Sendable {
    case object, array, string, number, null
    case bool(Bool)
}

/// A value: where it is in the text, and its kind.
package struct JSONValue: Equatable, Sendable {
    /// Of a string, the characters between the quotation marks, escapes included; of others the whole value.
    package let range: ByteRange
    package let kind: JSONKind

    init(range: ByteRange, kind: JSONKind) {
        self.range = range
        self.kind = kind
    }

    /// The one value that a text is, with white space around it; nil when there is none.
    package init?(first text: UnsafeRawBufferPointer) {
        var cursor = JSONCursor(text, at: 0)
        guard let value = cursor.value() else { return nil }
        self = value
    }

    /// All its bytes, a string's quotation marks included.
    package func whole(in text: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        guard kind == .string else { return range.slice(text) }
        return ByteRange(from: Int(range.offset) - 1, to: range.end + 1).slice(text)
    }
}

/// A member of an object.
package struct JSONMember: Equatable, Sendable {
    /// The characters between the quotation marks, escapes included; compare with `JSONText.equals`.
    package let name: ByteRange
    package let value: JSONValue
}

/// The members of one object in order, duplicates included. Ranges are offsets into the bytes it was given.
package struct JSONMembers: Sequence, IteratorProtocol {
    private var cursor: JSONCursor

    /// Over the object that `bytes` hold, with white space around it; nil when they start with another value.
    package init?(_ bytes: UnsafeRawBufferPointer) { self.init(bytes, at: 0) }

    /// Over the object that is a value in `bytes`; nil when it is another kind of value.
    package init?(_ bytes: UnsafeRawBufferPointer, of value: JSONValue) {
        self.init(bytes, at: Int(value.range.offset))
    }

    private init?(_ bytes: UnsafeRawBufferPointer, at start: Int) {
        cursor = JSONCursor(bytes, at: start)
        guard cursor.take(UInt8(ascii: "{")) else { return nil }
    }

    package mutating func next() -> JSONMember? {
        guard cursor.atItem(closing: UInt8(ascii: "}")) else { return nil }
        guard let name = cursor.value(), name.kind == .string, cursor.take(UInt8(ascii: ":")),
            let value = cursor.value()
        else { return cursor.stop() }
        return JSONMember(name: name.range, value: value)
    }
}

/// The elements of one array in order. Ranges are offsets into the bytes it was given.
package struct JSONElements: Sequence, IteratorProtocol {
    private var cursor: JSONCursor

    /// Over the array that `bytes` hold, with white space around it; nil when they start with another value.
    package init?(_ bytes: UnsafeRawBufferPointer) { self.init(bytes, at: 0) }

    /// Over the array that is a value in `bytes`; nil when it is another kind of value.
    package init?(_ bytes: UnsafeRawBufferPointer, of value: JSONValue) {
        self.init(bytes, at: Int(value.range.offset))
    }

    private init?(_ bytes: UnsafeRawBufferPointer, at start: Int) {
        cursor = JSONCursor(bytes, at: start)
        guard cursor.take(UInt8(ascii: "[")) else { return nil }
    }

    package mutating func next() -> JSONValue? {
        guard cursor.atItem(closing: UInt8(ascii: "]")) else { return nil }
        return cursor.value() ?? cursor.stop()
    }
}

/// A place in a text; every read is held to the text's end.
struct JSONCursor {
    private let base: UnsafePointer<UInt8>
    private let end: Int
    private var at: Int
    private var isFirst = true

    /// A range of 32 bits must reach every byte: longer texts read as empty.
    init(_ bytes: UnsafeRawBufferPointer, at start: Int) {
        let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        self.base = base ?? UnsafePointer(bitPattern: 1).unsafelyUnwrapped
        end = base == nil || bytes.count > Int(UInt32.max) ? 0 : bytes.count
        at = start
    }

    private mutating func skipSpace() {
        while at < end, base[at] == 0x20 || base[at] == 0x0A || base[at] == 0x0D || base[at] == 0x09 {
            at &+= 1
        }
    }

    /// Takes `byte`, with white space before it, if it is next.
    mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard at < end, base[at] == byte else { return false }
        at &+= 1
        return true
    }

    /// Whether another item follows: the first unless the bracket closes, later ones behind a comma.
    mutating func atItem(closing: UInt8) -> Bool {
        if isFirst {
            isFirst = false
            if take(closing) { at = end }
            return at < end
        }
        if take(UInt8(ascii: ",")) { return true }
        at = end
        return false
    }

    mutating func stop<T>() -> T? {
        at = end
        return nil
    }

    /// The value at the cursor, which moves behind it.
    mutating func value() -> JSONValue? {
        skipSpace()
        guard at < end else { return nil }
        let start = at
        switch base[at] {
        case UInt8(ascii: "\""):
            guard skipString() else { return nil }
            return JSONValue(range: ByteRange(from: start + 1, to: at - 1), kind: .string)
        case UInt8(ascii: "{"):
            guard skipNested() else { return nil }
            return JSONValue(range: ByteRange(from: start, to: at), kind: .object)
        case UInt8(ascii: "["):
            guard skipNested() else { return nil }
            return JSONValue(range: ByteRange(from: start, to: at), kind: .array)
        case let first:
            while at < end, !Self.endsScalar(base[at]) { at &+= 1 }
            guard at > start else { return nil }
            let range = ByteRange(from: start, to: at)
            switch first {
            case UInt8(ascii: "t"): return JSONValue(range: range, kind: .bool(true))
            case UInt8(ascii: "f"): return JSONValue(range: range, kind: .bool(false))
            case UInt8(ascii: "n"): return JSONValue(range: range, kind: .null)
            case UInt8(ascii: "-"), 0x30...0x39: return JSONValue(range: range, kind: .number)
            default: return nil
            }
        }
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"),
            UInt8(ascii: ":"),
            UInt8(ascii: "\""), UInt8(ascii: "{"), UInt8(ascii: "["):
            true
        default: false
        }
    }

    /// From the opening quotation mark to behind the closing one.
    private mutating func skipString() -> Bool {
        at &+= 1
        while at < end {
            while end &- at >= 8 {
                let word = Word.load(base + at)
                if Word.holds(word, 0x22) | Word.holds(word, 0x5C) != 0 { break }
                at &+= 8
            }
            guard at < end else { return false }
            switch base[at] {
            case UInt8(ascii: "\""):
                at &+= 1
                return true
            case UInt8(ascii: "\\"): at &+= 2
            default: at &+= 1
            }
        }
        return false
    }

    /// From an opening bracket to behind the closing one: in a valid text, counting both kinds together is
    /// enough.
    private mutating func skipNested() -> Bool {
        var depth = 0
        while at < end {
            switch base[at] {
            case UInt8(ascii: "\""):
                guard skipString() else { return false }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth &+= 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth &-= 1
            default: break
            }
            at &+= 1
            if depth == 0 { return true }
        }
        return false
    }
}
