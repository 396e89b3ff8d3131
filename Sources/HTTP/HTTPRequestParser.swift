/// The method of a request (RFC 9110 §9, RFC 5789); `other` is any other token.
package enum HTTPMethod: UInt8, Sendable, CaseIterable {
    case get, head, post, put, delete, patch, options, trace, connect, other
}

/// What follows the head of a request (RFC 9112 §6.3).
package enum HTTPFraming: Equatable, Sendable {
    case none
    /// Exactly this many bytes, below 2^63.
    case length(UInt64)
    case chunked
}

/// A strict, incremental parser of HTTP/1.1 request heads (RFC 9112).
///
///                    request line              empty line
///     start ------------------------> fields ------------> done ----> (parse begins anew)
///       |                               |
///       +----------> failed <-----------+      (stays so until `reset`)
///
/// Invariants:
///  1. The outcome depends on the bytes alone, not on how they were divided among calls.
///  2. Each byte is looked at a constant number of times, however it arrives.
///  3. Nothing is allocated after `init`.
///
/// The parser keeps offsets, never the bytes: the caller may move them between calls. One thread.
package final class HTTPRequestParser {
    private enum Phase {
        case start, fields, done, failed(HTTPError)
    }

    private let section: FieldSection
    private var phase = Phase.start

    /// What was read. In one private struct, because a stored property that other modules see is checked for
    /// exclusive access at run time, at every touch: 100 ns a request.
    private struct Head {
        var method = HTTPMethod.other
        var methodRange = ByteRange(offset: 0, length: 0)
        var target = ByteRange(offset: 0, length: 0)
        var path = ByteRange(offset: 0, length: 0)
        var query: ByteRange?
        var authority: ByteRange?
        var minorVersion: UInt8 = 1
        var keepAlive = true
        var expectContinue = false
        var framing = HTTPFraming.none
        var headBytes = 0
    }

    private var head = Head()

    package var method: HTTPMethod { head.method }
    package var methodRange: ByteRange { head.methodRange }
    /// The whole request target as it was sent.
    package var target: ByteRange { head.target }
    /// The path, never empty: a slash where an absolute target has none, `*` for a target `*`.
    package var path: ByteRange { head.path }
    /// What follows the first "?" of the target, not decoded; nil without a "?".
    package var query: ByteRange? { head.query }
    /// Host and port, maybe empty: of an absolute target (RFC 9112 §3.2.2), else of the Host header.
    package var authority: ByteRange? { head.authority }
    /// 0 or 1; a later minor version is read as 1 (RFC 9110 §2.5).
    package var minorVersion: UInt8 { head.minorVersion }
    /// Whether the connection may carry another request after this one (RFC 9112 §9.3).
    package var keepAlive: Bool { head.keepAlive }
    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110 §10.1.1).
    package var expectContinue: Bool { head.expectContinue }
    package var framing: HTTPFraming { head.framing }
    /// The bytes consumed by the head, an empty line before it included.
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

    /// Parses one head from the front of `bytes`; false when more is needed.
    ///
    /// Until it is true, the caller passes the same bytes again with more behind them. After true, the
    /// properties are valid until the next call. One empty line before the request line is skipped (RFC 9112
    /// §2.2).
    package func parse(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        switch phase {
        case .start, .fields: break
        case .done: reset()
        case .failed(let error): throw error
        }
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return false }
        do throws(HTTPError) {
            if case .start = phase {
                guard try parseRequestLine(base, bytes.count) else { return false }
                phase = .fields
            }
            guard try section.parse(base, bytes.count) else { return false }
            try finish(base)
            phase = .done
            return true
        } catch {
            phase = .failed(error)
            throw error
        }
    }

    // MARK: request line

    private func parseRequestLine(_ base: UnsafePointer<UInt8>, _ size: Int) throws(HTTPError) -> Bool {
        if section.lineStart == 0, size > 0, base[0] == 0x0D {
            guard size > 1 else { return false }
            guard base[1] == 0x0A else { throw .lineEnd }
            section.lineStart = 2
            section.scanned = 2
        }
        let start = section.lineStart
        let classes = section.classes
        guard size > start else { return false }
        // a TLS hello or other protocol is told at its first byte, not when its peer gives up waiting
        guard classes[Int(base[start])] & ByteClass.token.rawValue != 0 else {
            throw base[start] == 0x0A ? .lineEnd : .notHTTP
        }
        guard let lf = try section.startLineFeed(base, size) else { return false }
        guard base[lf &- 1] == 0x0D else { throw .lineEnd }
        let end = lf &- 1

        var at = start
        while classes[Int(base[at])] & ByteClass.token.rawValue != 0 { at &+= 1 }
        guard base[at] == 0x20 else { throw .requestLine }
        head.methodRange = ByteRange(from: start, to: at)
        let targetStart = at &+ 1
        at = targetStart
        var mark = -1
        while classes[Int(base[at])] & ByteClass.target.rawValue != 0 {
            if base[at] == UInt8(ascii: "?"), mark < 0 { mark = at }
            at &+= 1
        }
        guard base[at] == 0x20, at > targetStart else {
            throw at == targetStart || base[at] == 0x0D ? .requestLine : .target
        }
        head.minorVersion = try HTTPVersion.minor(base, at &+ 1, end, otherwise: .requestLine)
        head.method = Self.method(base + start, Int(head.methodRange.length))
        guard head.method != .connect else { throw .methodNotSupported }
        try parseTarget(base, targetStart, at, mark)
        section.lineStart = lf &+ 1
        section.scanned = lf &+ 1
        return true
    }

    /// The method of a token of `count` bytes, which at least eight more follow.
    private static func method(_ token: UnsafePointer<UInt8>, _ count: Int) -> HTTPMethod {
        guard count <= 7 else { return .other }
        let word = Word.load(token).bigEndian >> UInt64(64 - 8 * count)
        return switch word {
        case 0x47_45_54: .get
        case 0x50_55_54: .put
        case 0x48_45_41_44: .head
        case 0x50_4F_53_54: .post
        case 0x50_41_54_43_48: .patch
        case 0x54_52_41_43_45: .trace
        case 0x44_45_4C_45_54_45: .delete
        case 0x4F_50_54_49_4F_4E_53: .options
        case 0x43_4F_4E_4E_45_43_54: .connect
        default: .other
        }
    }

    /// RFC 9112 §3.2: origin-form, absolute-form or asterisk-form; `mark` is where the first "?" is, or -1.
    @inline(__always)
    private func parseTarget(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ mark: Int
    ) throws(HTTPError) {
        head.target = ByteRange(from: start, to: end)
        head.query = mark < 0 ? nil : ByteRange(from: mark &+ 1, to: end)
        head.authority = nil
        let pathEnd = mark < 0 ? end : mark
        if base[start] == UInt8(ascii: "/") {
            head.path = ByteRange(from: start, to: pathEnd)
        } else if base[start] == UInt8(ascii: "*"), end == start &+ 1 {
            guard head.method == .options else { throw .target }
            head.path = head.target
        } else {
            try parseAbsoluteTarget(base, start, pathEnd)
        }
    }

    private func parseAbsoluteTarget(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ pathEnd: Int
    ) throws(HTTPError) {
        let size = pathEnd - start
        let schemeSize: Int
        if size > 7, equalsIgnoringCase(base + start, count: 7, "http://") {
            schemeSize = 7
        } else if size > 8, equalsIgnoringCase(base + start, count: 8, "https://") {
            schemeSize = 8
        } else {
            throw .target
        }
        let host = start + schemeSize
        var slash = host
        while slash < pathEnd, base[slash] != UInt8(ascii: "/") { slash += 1 }
        // RFC 9110 §4.2.1, §4.2.4: an empty host is invalid, and so is user information ("@" is in no host)
        guard slash > host, HTTPHost.isValid(base, section.classes, host, slash),
            base[host] != UInt8(ascii: ":")
        else { throw .target }
        head.authority = ByteRange(from: host, to: slash)
        // without a path, the last slash of "://" stands in for it
        head.path =
            slash < pathEnd ? ByteRange(from: slash, to: pathEnd) : ByteRange(from: host - 1, to: host)
    }

    // MARK: what the fields mean together

    private func finish(_ base: UnsafePointer<UInt8>) throws(HTTPError) {
        head.headBytes = section.lineStart
        if let host = section.value(.host) {
            guard HTTPHost.isValid(base, section.classes, Int(host.offset), host.end) else {
                throw .hostInvalid
            }
            if authority == nil { head.authority = host }
        } else if head.minorVersion > 0 {
            throw .hostMissing
        }
        switch section.transferCoding {
        case .none:
            head.framing = section.has(.contentLength) ? .length(section.contentLength) : .none
        case .chunked:
            // RFC 9112 §6.1, §6.3: both ask to be handled as an attack
            guard head.minorVersion > 0 else { throw .transferEncodingInHTTP10 }
            guard !section.has(.contentLength) else { throw .contentLengthWithTransferEncoding }
            head.framing = .chunked
        }
        head.keepAlive = !section.saysClose && (head.minorVersion > 0 || section.saysKeepAlive)
        // A client of HTTP/1.0 cannot wait. One whose body is empty need not, but botocore does: a final answer without 100 before it
        // makes it read the next one on this connection wrongly.
        head.expectContinue = section.expectsContinue && head.minorVersion > 0 && head.framing != .none
    }
}
