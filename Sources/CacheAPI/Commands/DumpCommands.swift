import Base
import Cache
import RESP

/// DUMP and RESTORE: a value in redis's own form, so that it can be carried from and to a redis.
enum DumpCommands {
    static var rows: [Command] {
        [
            Command("dump", 2, [.readonly], .one, .generic, since: "2.6.0", "Returns a value in redis's serialized form.") { session, arguments in
                guard let value = session.read(arguments[1]) else { return session.reply.null() }
                let dump = SerializedString.write(value)
                session.reply.bulk(dump.bytes)
            },
            Command("restore", -4, [.write, .denyoom, .dangerous], .one, .generic, since: "2.6.0", "Stores a value from its serialized form.", restore),
        ]
    }

    private static func restore(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var replaces = false
        var isAbsolute = false
        var at = 4
        while at < arguments.count {
            if arguments[at].isWord("replace") {
                replaces = true
            } else if arguments[at].isWord("absttl") {
                isAbsolute = true
            } else if arguments[at].isWord("idletime"), at + 1 < arguments.count {
                at += 1
                guard try Numbers.need(arguments[at]) >= 0 else { throw .message("ERR Invalid IDLETIME value, must be >= 0") }
            } else if arguments[at].isWord("freq"), at + 1 < arguments.count {
                at += 1
                guard (0...255).contains(try Numbers.need(arguments[at])) else { throw .message("ERR Invalid FREQ value, must be >= 0 and <= 255") }
            } else {
                throw .syntax
            }
            at += 1
        }
        if !replaces, session.look(arguments[1]) != nil { throw .message("BUSYKEY Target key name already exists.") }
        let ttl = try Numbers.need(arguments[2])
        guard ttl >= 0 else { throw .message("ERR Invalid TTL value, must be >= 0") }
        let value = try SerializedString.read(arguments[3])
        let left = isAbsolute && ttl > 0 ? ttl - session.service.clock.epoch : ttl
        if ttl > 0, left <= 0 {
            // it has expired on its way
            session.remove(arguments[1])
        } else {
            var fault: Fault?
            value.withUnsafeBytes { value in
                do throws(Fault) {
                    try session.store(arguments[1], value, ttl == 0 ? .forever : session.lifetime(left), event: "restore", kind: .generic)
                } catch { fault = error }
            }
            if let fault { throw fault }
        }
        session.reply.ok()
    }
}

/// A string as redis's RDB files have it: type, length and bytes, version, checksum.
///
///     00 │ length: 00xxxxxx, 01xxxxxx x, 80 xxxx, 81 xxxxxxxx │ bytes │ version, 2 bytes │ CRC-64 of all before, 8 bytes
///        │ or a number: C0 1 byte, C1 2 bytes, C2 4 bytes; or C3: compressed by LZF
enum SerializedString {
    /// Of redis 7.0; strings have had the same form since its first.
    private static let version: UInt16 = 10
    private static let versionMax: UInt16 = 12

    static func write(_ value: UnsafeRawBufferPointer) -> ByteBuffer {
        let buffer = ByteBuffer(capacity: value.count + 32)
        buffer.append(UInt8(0))
        if value.count < 64 {
            buffer.append(UInt8(value.count))
        } else if value.count < 16_384 {
            buffer.append(UInt8(0x40 | value.count >> 8))
            buffer.append(UInt8(value.count & 0xFF))
        } else {
            buffer.append(UInt8(0x80))
            buffer.append(littleEndian: UInt32(value.count).byteSwapped)
        }
        buffer.append(value)
        buffer.append(littleEndian: version)
        buffer.append(littleEndian: CRC64.of(buffer.bytes))
        return buffer
    }

    static func read(_ dump: UnsafeRawBufferPointer) throws(Fault) -> [UInt8] {
        guard dump.count > 10, dump.loadUnaligned(fromByteOffset: dump.count - 10, as: UInt16.self) <= versionMax,
            dump.loadUnaligned(fromByteOffset: dump.count - 8, as: UInt64.self)
                == CRC64.of(UnsafeRawBufferPointer(rebasing: dump[..<(dump.count - 8)]))
        else { throw .message("ERR DUMP payload version or checksum are wrong") }
        var reader = Reader(bytes: UnsafeRawBufferPointer(rebasing: dump[..<(dump.count - 10)]))
        guard reader.byte() == 0, let value = reader.string(), reader.isAtEnd else { throw .message("ERR Bad data format") }
        return value
    }

    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        var at = 0

        var isAtEnd: Bool { at == bytes.count }

        mutating func byte() -> UInt8? {
            guard at < bytes.count else { return nil }
            defer { at += 1 }
            return bytes[at]
        }

        private mutating func number(_ count: Int, bigEndian: Bool) -> UInt64? {
            guard at + count <= bytes.count else { return nil }
            defer { at += count }
            return (0..<count).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64((bigEndian ? count - 1 - $1 : $1) * 8) }
        }

        private mutating func take(_ count: UInt64) -> UnsafeRawBufferPointer? {
            guard count <= UInt64(bytes.count - at) else { return nil }
            defer { at += Int(count) }
            return UnsafeRawBufferPointer(rebasing: bytes[at..<at + Int(count)])
        }

        private mutating func length() -> UInt64? {
            guard let first = byte() else { return nil }
            switch first >> 6 {
            case 0: return UInt64(first)
            case 1: return byte().map { UInt64(first & 0x3F) << 8 | UInt64($0) }
            default: return first == 0x80 ? number(4, bigEndian: true) : first == 0x81 ? number(8, bigEndian: true) : nil
            }
        }

        mutating func string() -> [UInt8]? {
            guard at < bytes.count else { return nil }
            switch bytes[at] {
            case 0xC0: return integer(1) { Int64(Int8(truncatingIfNeeded: $0)) }
            case 0xC1: return integer(2) { Int64(Int16(truncatingIfNeeded: $0)) }
            case 0xC2: return integer(4) { Int64(Int32(truncatingIfNeeded: $0)) }
            case 0xC3:
                at += 1
                // nothing is compressed to less than a part in 264
                guard let packed = length(), let size = length(), size <= UInt64(bytes.count) * 300, let data = take(packed) else {
                    return nil
                }
                return LZF.unpacked(data, to: Int(size))
            default: return length().flatMap { take($0) }.map { Array($0) }
            }
        }

        private mutating func integer(_ count: Int, _ value: (UInt64) -> Int64) -> [UInt8]? {
            at += 1
            return number(count, bigEndian: false).map { Numbers.withDigits(value($0)) { Array($0) } }
        }
    }
}

/// Marc Lehmann's LZF, read only: runs of bytes as they are, and references to earlier ones.
enum LZF {
    static func unpacked(_ data: UnsafeRawBufferPointer, to size: Int) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(size)
        var at = 0
        while at < data.count {
            let control = Int(data[at])
            at += 1
            if control < 32 {
                guard at + control < data.count, out.count + control < size else { return nil }
                out.append(contentsOf: data[at...at + control])
                at += control + 1
                continue
            }
            var count = control >> 5
            if count == 7 {
                guard at < data.count else { return nil }
                count += Int(data[at])
                at += 1
            }
            guard at < data.count else { return nil }
            let back = out.count - ((control & 0x1F) << 8 | Int(data[at])) - 1
            at += 1
            guard back >= 0, out.count + count + 2 <= size else { return nil }
            for offset in 0..<count + 2 { out.append(out[back + offset]) }
        }
        return out.count == size ? out : nil
    }
}

/// CRC-64 as redis has it: polynomial of David T. Jones, reflected, begun with 0.
enum CRC64 {
    private static let table: [UInt64] = (0..<256).map { index in
        var value = UInt64(index)
        for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x95AC_9329_AC4B_C9B5 : value >> 1 }
        return value
    }

    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        table.withUnsafeBufferPointer { table in bytes.reduce(0) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 } }
    }
}
