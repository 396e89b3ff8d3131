/// Parses request heads (RFC 9112 §2–5), strictly and without allocating. One per connection.
///
/// All results are ranges in the bytes given to `parse`, valid until the next `parse`.
package final class HTTPRequestParser {
    private let limits: HTTPLimits
    private let table: FieldTable
    private var scanner = HeadScanner()

    package private(set) var method = HTTPMethod.get
    package private(set) var methodRange = ByteRange(0, 0)
    package private(set) var target = ByteRange(0, 0)
    package private(set) var path = ByteRange(0, 0)
    package private(set) var query: ByteRange?
    package private(set) var minorVersion = 1
    package private(set) var keepAlive = true
    package private(set) var expectContinue = false
    package private(set) var framing = HTTPFraming.none
    /// Bytes that the head takes, its empty line and a leading one included.
    package private(set) var headBytes = 0

    package init(limits: HTTPLimits = .standard) {
        self.limits = limits
        table = FieldTable(capacity: limits.headerCountMax)
    }

    package func reset() { scanner.reset() }

    package var headerCount: Int { table.count }
    package func headerName(_ index: Int) -> ByteRange { table.fields[index].name }
    package func headerValue(_ index: Int) -> ByteRange { table.fields[index].value }

    /// The value of the first field of this name (given in lower case).
    package func header(_ name: StaticString) -> ByteRange? {
        let index = table.find(name)
        return index < 0 ? nil : table.fields[index].value
    }

    /// Parses one head from the front of `bytes`. False: more bytes are needed; call again with the same bytes and more.
    package func parse(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        // One empty line before a request is tolerated (RFC 9112 §2.2).
        var start = 0
        if bytes.count >= 1, bytes[0] == 13 {
            guard bytes.count >= 2 else { return false }
            guard bytes[1] == 10 else { throw .bad("a carriage return stands alone\n") }
            start = 2
        }
        guard let end = scanner.end(of: bytes, from: start) else {
            try judgeIncomplete(bytes, from: start)
            return false
        }
        scanner.reset()
        guard end - start <= limits.headBytesMax else { throw .headTooLarge }
        let fields = try parseLine(bytes, from: start, to: end)
        headBytes = try table.parse(bytes, from: fields, to: end)
        guard headBytes == end else { throw .bad("the header does not end where it should\n") }
        try interpret()
        return true
    }

    /// Refuses early what can only become too large.
    private func judgeIncomplete(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(HTTPError) {
        guard bytes.count - start > min(limits.lineBytesMax, limits.headBytesMax) else { return }
        if bytes.count - start > limits.headBytesMax { throw .headTooLarge }
        let hasLine = bytes[start..<start + limits.lineBytesMax].contains(10)
        if !hasLine { throw .lineTooLong }
    }

    /// `method SP target SP HTTP/1.x CRLF`; returns the offset behind it.
    private func parseLine(_ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) throws(HTTPError) -> Int {
        let base = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
        let classes = Characters.table
        var at = start
        // The line feed at `end - 1` is in no class: no loop passes it.
        while classes[Int(base[at])] & Characters.token != 0 { at += 1 }
        guard at > start, base[at] == 32 else { throw .bad("the request line does not begin with a method\n") }
        methodRange = ByteRange(start, at)
        method = Self.method(base + start, at - start)
        at += 1
        let targetStart = at
        while classes[Int(base[at])] & Characters.target != 0 { at += 1 }
        guard at > targetStart, base[at] == 32 else { throw .bad("the request target is empty or holds a forbidden character\n") }
        target = ByteRange(targetStart, at)
        at += 1
        let version: StaticString = "HTTP/1."
        for i in 0..<7 {
            guard at + i < end, base[at + i] == version.utf8Start[i] else {
                throw base[at] == 72 ? .version : .bad("the request line does not end with a version\n")
            }
        }
        at += 7
        guard base[at] == 48 || base[at] == 49 else { throw .version }
        minorVersion = Int(base[at] - 48)
        guard base[at + 1] == 13, base[at + 2] == 10 else { throw .bad("the request line does not end with CRLF\n") }
        guard at + 1 - start <= limits.lineBytesMax else { throw .lineTooLong }
        try splitTarget(base)
        return at + 3
    }

    /// origin-form, absolute-form or `*` (RFC 9112 §3.2).
    private func splitTarget(_ base: UnsafePointer<UInt8>) throws(HTTPError) {
        var from = Int(target.offset)
        let to = from + Int(target.length)
        query = nil
        switch base[from] {
        case 47: break
        case 42 where target.length == 1 && method == .options:
            path = target
            return
        default:
            guard method != .connect else { throw HTTPError(status: 501, reason: "CONNECT is not served here\n") }
            // absolute-form: scheme "://" authority path
            var at = from
            while at < to, base[at] != 58 { at += 1 }
            guard at + 3 < to, at > from, base[at + 1] == 47, base[at + 2] == 47 else {
                throw .bad("the request target is neither a path nor an absolute address\n")
            }
            at += 3
            while at < to, base[at] != 47, base[at] != 63 { at += 1 }
            guard at < to, base[at] == 47 else { throw .bad("the request target has no path\n") }
            from = at
        }
        var at = from
        while at < to, base[at] != 63 {
            if base[at] == 35 { throw .bad("the request target holds a fragment\n") }
            at += 1
        }
        path = ByteRange(from, at)
        if at < to { query = ByteRange(at + 1, to) }
    }

    private func interpret() throws(HTTPError) {
        framing = try table.framing(minorVersion: minorVersion) ?? .none
        if case .length(0) = framing { framing = .none }
        let host = table.find("host")
        if host >= 0 {
            guard table.find("host", from: host + 1) < 0 else { throw .bad("Host is there twice\n") }
        } else if minorVersion == 1 {
            throw .bad("Host is missing\n")
        }
        keepAlive = minorVersion == 1
        var index = table.find("connection")
        while index >= 0 {
            if table.hasElement(index, "close") {
                keepAlive = false
                break
            }
            if table.hasElement(index, "keep-alive") { keepAlive = true }
            index = table.find("connection", from: index + 1)
        }
        let expect = table.find("expect")
        expectContinue = false
        if expect >= 0, minorVersion == 1 {
            guard equals(table.value(expect), "100-continue") else {
                throw HTTPError(status: 417, reason: "only 100-continue can be expected\n")
            }
            expectContinue = true
        }
    }

    private static func method(_ base: UnsafePointer<UInt8>, _ count: Int) -> HTTPMethod {
        func isText(_ text: StaticString) -> Bool {
            for i in 0..<count where base[i] != text.utf8Start[i] { return false }
            return true
        }
        switch (count, base[0]) {
        case (3, 71): return isText("GET") ? .get : .other
        case (3, 80): return isText("PUT") ? .put : .other
        case (4, 80): return isText("POST") ? .post : .other
        case (4, 72): return isText("HEAD") ? .head : .other
        case (5, 80): return isText("PATCH") ? .patch : .other
        case (5, 84): return isText("TRACE") ? .trace : .other
        case (6, 68): return isText("DELETE") ? .delete : .other
        case (7, 79): return isText("OPTIONS") ? .options : .other
        case (7, 67): return isText("CONNECT") ? .connect : .other
        default: return .other
        }
    }
}
