internal import Base
internal import Catalog
internal import HTTP
internal import Net

/// Cross-origin requests to a function URL, answered as its `Cors` says (Fetch standard, "CORS protocol"); the function is not asked.
///
/// What is allowed is told to the origins that are allowed it, and nothing to others: their browsers refuse then.
struct CORS {
    let settings: URLSettings.CORS

    /// The request's origin, if it may; `*` when any may and cookies play no part.
    private func allowedOrigin(_ request: HTTPRequest) -> [UInt8]? {
        guard let origin = Self.field("origin", of: request), !origin.isEmpty, let allowed = settings.origins else { return nil }
        // With cookies a star means nothing to a browser, and to answer each origin with its own name would let all in.
        if allowed.contains("*") { return Array("*".utf8) }
        return allowed.contains { origin.elementsEqual($0.utf8) } ? Array(origin) : nil
    }

    /// The fields for the answer to a request, each line with its end; nil: none.
    func fields(for request: HTTPRequest) -> [UInt8]? {
        guard let origin = allowedOrigin(request) else { return nil }
        var lines = common(origin)
        if let exposed = settings.exposed, !exposed.isEmpty { lines += line("Access-Control-Expose-Headers", exposed.joined(separator: ",")) }
        return lines
    }

    private func common(_ origin: [UInt8]) -> [UInt8] {
        var lines = Array("Access-Control-Allow-Origin: ".utf8) + origin + Array("\r\n".utf8)
        guard origin != Array("*".utf8) else { return lines }
        lines += line("Vary", "Origin")
        if settings.allowsCredentials == true { lines += line("Access-Control-Allow-Credentials", "true") }
        return lines
    }

    private func line(_ name: String, _ value: String) -> [UInt8] { Array("\(name): \(value)\r\n".utf8) }

    /// Does a browser ask what it may do? Then answers it.
    func answerPreflight(_ request: HTTPRequest) -> Bool {
        guard request.head.method == .options, Self.field("origin", of: request) != nil,
            Self.field("access-control-request-method", of: request) != nil
        else { return false }
        var lines: [UInt8] = []
        if let origin = allowedOrigin(request) {
            lines = common(origin)
            if let methods = settings.methods, !methods.isEmpty { lines += line("Access-Control-Allow-Methods", methods.joined(separator: ",")) }
            if let headers = settings.headers, !headers.isEmpty { lines += line("Access-Control-Allow-Headers", headers.joined(separator: ",")) }
            if let age = settings.ageMax { lines += line("Access-Control-Max-Age", String(age)) }
        }
        request.connection.begin(200)
        request.connection.output.append(lines)
        request.connection.end(UnsafeRawBufferPointer(start: nil, count: 0))
        return true
    }

    /// `fields` without what the function itself said of origins: the URL's settings hold.
    static func withoutOwn(_ fields: UnsafeRawBufferPointer, to out: ByteBuffer) {
        let own: StaticString = "access-control-"
        var start = 0
        while start < fields.count {
            let end = (start..<fields.count).first { fields[$0] == UInt8(ascii: "\n") }.map { $0 + 1 } ?? fields.count
            let line = UnsafeRawBufferPointer(rebasing: fields[start..<end])
            let isOwn = line.count > own.utf8CodeUnitCount
                && equalsIgnoringCase(UnsafeRawBufferPointer(rebasing: line[..<own.utf8CodeUnitCount]), own)
            if !isOwn { out.append(line) }
            start = end
        }
    }

    private static func field(_ name: StaticString, of request: HTTPRequest) -> UnsafeRawBufferPointer? {
        for index in 0..<request.head.headerCount where equalsIgnoringCase(request.slice(request.head.headerName(index)), name) {
            return request.slice(request.head.headerValue(index))
        }
        return nil
    }
}
