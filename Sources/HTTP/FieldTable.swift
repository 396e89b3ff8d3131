internal import Glibc

/// The fields of one head as ranges, in memory that is used again for each message.
///
/// Known names are found in one step; others by a walk.
final class FieldTable {
    struct Field {
        var name: ByteRange
        var value: ByteRange
    }

    let fields: UnsafeMutablePointer<Field>
    let capacity: Int
    var count = 0
    private(set) var bytes = UnsafeRawBufferPointer(start: nil, count: 0)

    init(capacity: Int) {
        self.capacity = capacity
        fields = .allocate(capacity: capacity)
    }

    deinit { fields.deallocate() }

    /// Parses fields from `at` to the empty line that ends them (RFC 9112 §5); returns the offset behind it.
    ///
    /// `end` is where the head ends (its empty line is known to be there).
    func parse(_ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) throws(HTTPError) -> Int {
        count = 0
        self.bytes = bytes
        let base = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
        let table = Characters.table
        var at = start
        while true {
            if base[at] == 13 {
                guard base[at + 1] == 10 else { throw .bad("a carriage return stands alone in the header\n") }
                return at + 2
            }
            guard count < capacity else { throw .headTooLarge }
            let nameStart = at
            while table[Int(base[at])] & Characters.token != 0 { at += 1 }
            guard at > nameStart else {
                let isFold = base[at] == 32 || base[at] == 9
                throw .bad(isFold ? "a header line begins with white space\n" : "a header name is not a token\n")
            }
            guard base[at] == 58 else { throw .bad("a header name is not a token directly followed by a colon\n") }
            let name = ByteRange(nameStart, at)
            at += 1
            while base[at] == 32 || base[at] == 9 { at += 1 }
            let valueStart = at
            while table[Int(base[at])] & Characters.value != 0 { at += 1 }
            guard base[at] == 13, base[at + 1] == 10 else {
                throw .bad("a header value holds a control character or a bare line end\n")
            }
            var valueEnd = at
            while valueEnd > valueStart, base[valueEnd - 1] == 32 || base[valueEnd - 1] == 9 { valueEnd -= 1 }
            fields[count] = Field(name: name, value: ByteRange(valueStart, valueEnd))
            count += 1
            at += 2
        }
    }

    /// The index of the first field of this name (lower case) at or behind `from`, or -1.
    func find(_ name: StaticString, from: Int = 0) -> Int {
        var index = from
        let length = name.utf8CodeUnitCount
        while index < count {
            if fields[index].name.length == length, matches(index, name) { return index }
            index += 1
        }
        return -1
    }

    func matches(_ index: Int, _ name: StaticString) -> Bool {
        let start = Int(fields[index].name.offset)
        for i in 0..<name.utf8CodeUnitCount where bytes[start + i] != name.utf8Start[i] {
            let byte = bytes[start + i]
            guard byte >= 65, byte <= 90, byte | 0x20 == name.utf8Start[i] else { return false }
        }
        return true
    }

    func value(_ index: Int) -> UnsafeRawBufferPointer { fields[index].value.slice(bytes) }

    /// Is one of the comma-separated elements of this field `token` (lower case)?
    func hasElement(_ index: Int, _ token: StaticString) -> Bool {
        for part in value(index).split(separator: UInt8(ascii: ",")) {
            let trimmed = trim(UnsafeRawBufferPointer(rebasing: part))
            if equals(trimmed, token) { return true }
        }
        return false
    }

    /// Body framing from Content-Length and Transfer-Encoding, strictly (RFC 9112 §6): whatever could be read in two
    /// ways is refused, because the next server might read it in the other one.
    func framing(minorVersion: Int) throws(HTTPError) -> HTTPFraming? {
        let length = find("content-length")
        let coding = find("transfer-encoding")
        if coding >= 0 {
            guard length < 0 else { throw .bad("Content-Length and Transfer-Encoding are both there\n") }
            guard minorVersion == 1 else { throw .bad("Transfer-Encoding in HTTP/1.0\n") }
            guard find("transfer-encoding", from: coding + 1) < 0 else { throw .bad("Transfer-Encoding is there twice\n") }
            guard equals(value(coding), "chunked") else { throw .unknownCoding }
            return .chunked
        }
        guard length >= 0 else { return nil }
        guard find("content-length", from: length + 1) < 0 else { throw .bad("Content-Length is there twice\n") }
        let digits = value(length)
        guard !digits.isEmpty, digits.count <= 18 else { throw .bad("Content-Length is not a number\n") }
        var number: UInt64 = 0
        for digit in digits {
            guard digit >= 48, digit <= 57 else { throw .bad("Content-Length is not a number\n") }
            number = number * 10 + UInt64(digit - 48)
        }
        return .length(number)
    }
}

func trim(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    var from = 0
    var to = bytes.count
    while from < to, bytes[from] == 32 || bytes[from] == 9 { from += 1 }
    while to > from, bytes[to - 1] == 32 || bytes[to - 1] == 9 { to -= 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[from..<to])
}

/// ASCII letters of either case are the same; `lower` is in lower case.
func equals(_ bytes: UnsafeRawBufferPointer, _ lower: StaticString) -> Bool {
    guard bytes.count == lower.utf8CodeUnitCount else { return false }
    for i in 0..<bytes.count where bytes[i] != lower.utf8Start[i] {
        guard bytes[i] >= 65, bytes[i] <= 90, bytes[i] | 0x20 == lower.utf8Start[i] else { return false }
    }
    return true
}

/// Finds the empty line that ends a head. Remembers how far it has looked, so that a head that comes byte by byte is
/// not searched from its beginning each time.
struct HeadScanner {
    private var scanned = 0

    mutating func reset() { scanned = 0 }

    /// The offset behind the empty line, or nil when it has not come yet.
    mutating func end(of bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var at = max(start, scanned)
        while at < bytes.count, let found = memchr(base + at, 10, bytes.count - at) {
            let line = UnsafeRawPointer(found) - base
            // A line feed right behind a line end, with or without its carriage return: judged by the parser.
            if line >= 1, bytes[line - 1] == 10 { return line + 1 }
            if line >= 2, bytes[line - 1] == 13, bytes[line - 2] == 10 { return line + 1 }
            at = line + 1
        }
        scanned = max(start, bytes.count)
        return nil
    }
}
