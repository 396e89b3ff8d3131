/// How values lie in the BLOB columns: numbers in LEB128, strings with their length before them.
struct Packer {
    private(set) var bytes: [UInt8] = []

    mutating func add(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func add(_ run: [UInt8]) {
        add(UInt64(run.count))
        bytes += run
    }

    mutating func add(_ text: String) { add(Array(text.utf8)) }

    mutating func add(_ fields: [Field]) {
        add(UInt64(fields.count))
        for field in fields {
            add(field.name)
            add(field.value)
        }
    }
}

struct Unpacker {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private static var damaged: ObjectsError { .damaged("meta.sqlite is damaged: a row cannot be read") }

    mutating func number() throws -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < bytes.count, shift < 64 {
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Self.damaged
    }

    mutating func run() throws -> [UInt8] {
        let count = try number()
        guard count <= UInt64(bytes.count - at) else { throw Self.damaged }
        defer { at += Int(count) }
        return Array(bytes[at..<at + Int(count)])
    }

    mutating func text() throws -> String { String(decoding: try run(), as: UTF8.self) }

    mutating func fields() throws -> [Field] {
        let count = try number()
        guard count <= UInt64(bytes.count) else { throw Self.damaged }
        var fields: [Field] = []
        for _ in 0..<count { fields.append(Field(try text(), try text())) }
        return fields
    }
}

extension Metadata {
    /// nil for none: most objects of many stores.
    var packed: [UInt8] {
        guard !headers.isEmpty || !user.isEmpty || !acl.isEmpty else { return [] }
        var packer = Packer()
        packer.add(headers)
        packer.add(user)
        packer.add(acl)
        return packer.bytes
    }

    init(packed bytes: [UInt8]) throws {
        guard !bytes.isEmpty else {
            self.init()
            return
        }
        var unpacker = Unpacker(bytes)
        self.init(headers: try unpacker.fields(), user: try unpacker.fields(), acl: try unpacker.run())
    }

    var userBytes: Int { user.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count } }
}

func packed(tags: [Field]) -> [UInt8] {
    guard !tags.isEmpty else { return [] }
    var packer = Packer()
    packer.add(tags)
    return packer.bytes
}

func unpacked(tags bytes: [UInt8]) throws -> [Field] {
    guard !bytes.isEmpty else { return [] }
    var unpacker = Unpacker(bytes)
    return try unpacker.fields()
}

extension Checksum {
    var packed: [UInt8] { [algorithm.rawValue, type.rawValue] + value }

    init?(packed bytes: [UInt8]) {
        guard bytes.count > 2, let algorithm = ChecksumAlgorithm(rawValue: bytes[0]), let type = ChecksumType(rawValue: bytes[1]) else {
            return nil
        }
        self.init(algorithm, Array(bytes[2...]), type: type)
    }
}

extension ChecksumPlan {
    var packed: [UInt8] { [algorithm.rawValue, type.rawValue] }

    init?(packed bytes: [UInt8]) {
        guard bytes.count == 2, let algorithm = ChecksumAlgorithm(rawValue: bytes[0]), let type = ChecksumType(rawValue: bytes[1])
        else { return nil }
        self.init(algorithm, type)
    }
}

extension ObjectLock {
    var packed: [UInt8] {
        guard mode != nil || legalHold else { return [] }
        var packer = Packer()
        packer.add(UInt64(mode?.rawValue ?? 0))
        packer.add(UInt64(bitPattern: retainUntil))
        packer.add(legalHold ? 1 : 0)
        return packer.bytes
    }

    init(packed bytes: [UInt8]) throws {
        guard !bytes.isEmpty else {
            self.init()
            return
        }
        var unpacker = Unpacker(bytes)
        self.init(
            mode: Mode(rawValue: Int(try unpacker.number())), retainUntil: Int64(bitPattern: try unpacker.number()),
            legalHold: try unpacker.number() == 1)
    }
}
