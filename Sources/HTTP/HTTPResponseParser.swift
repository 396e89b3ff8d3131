/// What follows the head of a response (RFC 9112 §6.3).
package enum HTTPResponseFraming: Equatable, Sendable {
    case none
    /// Exactly this many bytes, below 2^63.
    case length(UInt64)
    case chunked
    /// Everything until the connection closes: its end cannot be told from a cut.
    case untilClose
}

/// A strict, incremental parser of HTTP/1.1 response heads, for the CLI, the bench and the balancer (RFC 9112
/// §4).
///
///                    status line               empty line
///     start ------------------------> fields ------------> done ----> (parse begins anew)
///       |                               |
///       +----------> failed <-----------+      (stays so until `reset`)
///
/// The invariants of `HTTPRequestParser` hold here too. After a 1xx head the next head of the same exchange
/// follows at once; it is the caller who parses on. Thread rule: one thread.
package final class HTTPResponseParser {
    private enum Phase {
        case start, fields, done, failed(HTTPError)
    }

    private let section: FieldSection
    private var phase = Phase.start

    /// What was read, in one private struct for the reason that `HTTPRequestParser` gives.
    private struct Head {
        var status = 0
        var reason = ByteRange(offset: 0, length: 0)
        var minorVersion: UInt8 = 1
        var keepAlive = true
        var framing = HTTPResponseFraming.none
        var headBytes = 0
    }

    private var head = Head()

    /// 100 to 599.
    package var status: Int { head.status }
    /// The reason phrase as it was sent; often empty.
    package var reason: ByteRange { head.reason }
    /// 0 or 1; a later minor version is read as 1 (RFC 9110 §2.5).
    package var minorVersion: UInt8 { head.minorVersion }
    /// Whether the connection may carry another exchange after this one (RFC 9112 §9.3).
    package var keepAlive: Bool { head.keepAlive }
    package var framing: HTTPResponseFraming { head.framing }
    /// The bytes consumed by the head.
    package var headBytes: Int { head.headBytes }

    package init(limits: HTTPLimits = .standard) { section = FieldSection(limits: limits) }

    package var headerCount: Int { section.count }
    package func headerName(_ index: Int) -> ByteRange { section.name(index) }
    /// Without the white space around it.
    package func headerValue(_ index: Int) -> ByteRange { section.value(index) }
    /// The value of the first header of this name, in constant time.
    package func header(_ field: HTTPField) -> ByteRange? { section.value(field) }
    /// The same by lower-case name; it must have a row in `HTTPField`, else the program is wrong.
    package func header(_ name: StaticString) -> ByteRange? { section.value(name) }
    /// The value of the first header with this lower-case name, any name; `bytes` are those parsed.
    package func header(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> ByteRange? {
        section.value(name, in: bytes)
    }

    /// Forgets everything: the next bytes are the start of a message.
    package func reset() {
        section.reset()
        phase = .start
    }

    /// Parses one head from the front of `bytes`, the answer to a HEAD request when `toHead`; false to ask
    /// for more.
    ///
    /// Until it is true, the caller passes the same bytes again with more behind them. After true, the
    /// properties are valid until the next call.
    package func parse(_ bytes: UnsafeRawBufferPointer, toHead: Bool = false) throws(HTTPError) -> Bool {
        switch phase {
        case .start, .fields: break
        case .done: reset()
        case .failed(let error): throw error
        }
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
        do throws(HTTPError) {
            if case .start = phase {
                guard try parseStatusLine(base, bytes.count) else { return false }
                phase = .fields
            }
            guard try section.parse(base, bytes.count) else { return false }
            try finish(toHead: toHead)
            phase = .done
            return true
        } catch {
            phase = .failed(error)
            throw error
        }
    }

    private func parseStatusLine(_ base: UnsafePointer<UInt8>, _ size: Int) throws(HTTPError) -> Bool {
        guard size > 0 else { return false }
        guard base[0] == UInt8(ascii: "H") else { throw .notHTTP }
        guard let lf = try section.startLineFeed(base, size) else { return false }
        guard base[lf - 1] == 0x0D else { throw .lineEnd }
        let end = lf - 1
        // "HTTP/1.1 200"; the space after it is often forgotten when the reason is empty, and is not missed
        guard end >= 12, base[8] == 0x20, end == 12 || base[12] == 0x20 else { throw .statusLine }
        head.minorVersion = try HTTPVersion.minor(base, 0, 8, otherwise: .statusLine)
        var code = 0
        for at in 9..<12 {
            guard base[at] &- 0x30 < 10 else { throw .statusLine }
            code = code * 10 + Int(base[at] - 0x30)
        }
        // RFC 9110 §15: values outside 100...599 are invalid
        guard (100...599).contains(code) else { throw .statusLine }
        head.status = code
        head.reason = ByteRange(from: min(13, end), to: end)
        for at in Int(head.reason.offset)..<end {
            guard section.classes[Int(base[at])] & ByteClass.fieldValue.rawValue != 0 else {
                throw .statusLine
            }
        }
        section.lineStart = lf + 1
        section.scanned = lf + 1
        return true
    }

    /// RFC 9112 §6.3, in its order.
    private func finish(toHead: Bool) throws(HTTPError) {
        head.headBytes = section.lineStart
        let chunked = section.transferCoding == .chunked
        // checked for every status: what one recipient takes for a body another must not take for a response
        if chunked {
            guard head.minorVersion > 0 else { throw .transferEncodingInHTTP10 }
            guard !section.has(.contentLength) else { throw .contentLengthWithTransferEncoding }
        }
        if toHead || head.status < 200 || head.status == 204 || head.status == 304 {
            head.framing = .none
        } else if chunked {
            head.framing = .chunked
        } else if section.has(.contentLength) {
            head.framing = .length(section.contentLength)
        } else {
            head.framing = .untilClose
        }
        head.keepAlive =
            !section.saysClose && (head.minorVersion > 0 || section.saysKeepAlive)
            && head.framing != .untilClose
    }
}
