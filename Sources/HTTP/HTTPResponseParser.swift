/// Parses response heads, as strictly as requests: for the CLI, the benchmarks and the balancer.
package final class HTTPResponseParser {
    private let limits: HTTPLimits
    private let table: FieldTable
    private var scanner = HeadScanner()

    package private(set) var status = 0
    package private(set) var minorVersion = 1
    package private(set) var keepAlive = true
    package private(set) var framing = HTTPFraming.none
    package private(set) var headBytes = 0

    package init(limits: HTTPLimits = .standard) {
        self.limits = limits
        table = FieldTable(capacity: limits.headerCountMax)
    }

    package var headerCount: Int { table.count }
    package func headerName(_ index: Int) -> ByteRange { table.fields[index].name }
    package func headerValue(_ index: Int) -> ByteRange { table.fields[index].value }

    package func header(_ name: StaticString) -> ByteRange? {
        let index = table.find(name)
        return index < 0 ? nil : table.fields[index].value
    }

    /// Parses one head from the front of `bytes`; false: more are needed.
    ///
    /// - Parameter answersHead: the request was HEAD, whose answer has no body (RFC 9112 §6.3).
    package func parse(_ bytes: UnsafeRawBufferPointer, answersHead: Bool = false) throws(HTTPError) -> Bool {
        guard let end = scanner.end(of: bytes, from: 0) else {
            guard bytes.count <= limits.headBytesMax else { throw .headTooLarge }
            return false
        }
        scanner.reset()
        guard end <= limits.headBytesMax else { throw .headTooLarge }
        let base = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
        let version: StaticString = "HTTP/1."
        guard end >= 15 else { throw .bad("the status line is too short\n") }
        for i in 0..<7 where base[i] != version.utf8Start[i] { throw .version }
        guard base[7] == 48 || base[7] == 49, base[8] == 32 else { throw .version }
        minorVersion = Int(base[7] - 48)
        status = 0
        for i in 9..<12 {
            guard base[i] >= 48, base[i] <= 57 else { throw .bad("the status is not a number\n") }
            status = status * 10 + Int(base[i] - 48)
        }
        guard status >= 100 else { throw .bad("the status is below 100\n") }
        var at = 12
        while Characters.table[Int(base[at])] & Characters.value != 0 { at += 1 }
        guard base[at] == 13, base[at + 1] == 10, at == 12 || base[12] == 32 else {
            throw .bad("the status line does not end with CRLF\n")
        }
        headBytes = try table.parse(bytes, from: at + 2, to: end)
        guard headBytes == end else { throw .bad("the header does not end where it should\n") }
        let announced = try table.framing(minorVersion: minorVersion)
        let hasNoBody = answersHead || status < 200 || status == 204 || status == 304
        framing = hasNoBody ? .none : announced ?? .untilClose
        let connection = table.find("connection")
        keepAlive = minorVersion == 1
        if connection >= 0 {
            if table.hasElement(connection, "close") { keepAlive = false }
            else if table.hasElement(connection, "keep-alive") { keepAlive = true }
        }
        if framing == .untilClose { keepAlive = false }
        return true
    }
}
