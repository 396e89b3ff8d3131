internal import Base
internal import HTTP
internal import Invoker

/// Turns a handler's result into an HTTP response (payload format 2.0).
///
/// An object with `statusCode` is taken apart; anything else is the body of a 200, a string without its quotes. What
/// cannot be sent as it stands is no response: a field left out in silence would be looked for for long.
struct FunctionURLRenderer {
    let payload: UnsafeRawBufferPointer
    let scratch: Scratch

    /// Buffers that one response after the other uses, on the loop's thread: a response is made in one go.
    final class Scratch {
        /// Lines of the head, each with its end.
        let fields = ByteBuffer()
        fileprivate let value = ByteBuffer()
        fileprivate let body = ByteBuffer()
    }

    /// Why a result is no response; a sentence's end.
    struct Malformed: Error { let why: String }

    private struct Parts {
        var status: Int?
        var headers: JSONValue?
        var cookies: JSONValue?
        var body: JSONValue?
        var isBase64 = false
    }

    /// Status and body; the fields are in `scratch`. All are gone with the next response.
    func render() throws(Malformed) -> (status: Int, body: UnsafeRawBufferPointer) {
        scratch.fields.clear()
        scratch.body.clear()
        guard JSONCheck.validate(payload) == nil else {
            if payload.first == UInt8(ascii: "{"), let end = StreamedPrelude.end(in: payload) {
                // It came in pieces, and was collected.
                let head = FunctionURLRenderer(payload: UnsafeRawBufferPointer(rebasing: payload[..<end]), scratch: scratch)
                return (try head.renderPrelude(), UnsafeRawBufferPointer(rebasing: payload[(end + StreamedPrelude.marker)...]))
            }
            // A bootstrap may answer anything; what is no JSON goes out as it is.
            scratch.fields.append("Content-Type: application/octet-stream\r\n")
            return (200, payload)
        }
        let parts = try takeApart()
        if let status = parts.status { return (status, try render(status, parts)) }
        scratch.fields.append("Content-Type: application/json\r\n")
        guard payload.first == UInt8(ascii: "\"") else { return (200, payload) }
        _ = JSONText.decode(UnsafeRawBufferPointer(rebasing: payload[1..<payload.count - 1]), into: scratch.body)
        return (200, scratch.body.bytes)
    }

    /// The payload is what stands before the body of a streamed response; the status. The fields are in `scratch`.
    func renderPrelude() throws(Malformed) -> Int {
        scratch.fields.clear()
        guard JSONCheck.validate(payload) == nil, payload.first == UInt8(ascii: "{") else {
            throw Malformed(why: "the head of its answer is not a JSON object")
        }
        let parts = try takeApart()
        let status = parts.status ?? 200
        let hasType = try appendHeaders(parts.headers, to: scratch.fields)
        try appendCookies(parts.cookies, to: scratch.fields)
        if !hasType, Self.hasBody(status) { scratch.fields.append("Content-Type: application/octet-stream\r\n") }
        return status
    }

    private func render(_ status: Int, _ parts: Parts) throws(Malformed) -> UnsafeRawBufferPointer {
        if let value = parts.body { try appendBody(value, isBase64: parts.isBase64, to: scratch.body) }
        let hasType = try appendHeaders(parts.headers, to: scratch.fields)
        try appendCookies(parts.cookies, to: scratch.fields)
        if !hasType, Self.hasBody(status) { scratch.fields.append("Content-Type: application/json\r\n") }
        return scratch.body.bytes
    }

    static func hasBody(_ status: Int) -> Bool { status != 204 && status != 304 }

    private func takeApart() throws(Malformed) -> Parts {
        var parts = Parts()
        guard let members = JSONMembers(payload) else { return parts }
        for member in members {
            let name = member.name.slice(payload)
            switch name.count {
            case 10 where JSONText.equals(name, "statusCode"):
                parts.status = number(member.value.range.slice(payload))
                guard let status = parts.status, (200...599).contains(status) else {
                    throw Malformed(why: "statusCode is not a number from 200 to 599")
                }
            case 7 where JSONText.equals(name, "headers"): parts.headers = member.value
            case 7 where JSONText.equals(name, "cookies"): parts.cookies = member.value
            case 4 where JSONText.equals(name, "body"): parts.body = member.value
            case 15 where JSONText.equals(name, "isBase64Encoded"): parts.isBase64 = member.value.kind == .bool(true)
            default: break
            }
        }
        return parts
    }

    /// A number, or a number in quotes, which the range of a string leaves out.
    private func number(_ digits: UnsafeRawBufferPointer) -> Int? {
        guard (1...3).contains(digits.count) else { return nil }
        var number = 0
        for digit in digits {
            guard digit >= 48, digit <= 57 else { return nil }
            number = number * 10 + Int(digit - 48)
        }
        return number
    }

    private func appendBody(_ value: JSONValue, isBase64: Bool, to body: ByteBuffer) throws(Malformed) {
        let raw = value.range.slice(payload)
        switch value.kind {
        case .null: return
        case .string where isBase64:
            let text = ByteBuffer(capacity: raw.count)
            guard JSONText.decode(raw, into: text), Base64.decode(text.bytes, into: body) else {
                throw Malformed(why: "isBase64Encoded is true, and body is not base64")
            }
        case .string: _ = JSONText.decode(raw, into: body)
        default:
            guard !isBase64 else { throw Malformed(why: "isBase64Encoded is true, and body is not a string") }
            body.append(raw)
        }
    }

    /// True when Content-Type was among them. Fields of the connection are left out: they are not the function's.
    private func appendHeaders(_ headers: JSONValue?, to fields: ByteBuffer) throws(Malformed) -> Bool {
        guard let headers, headers.kind != .null else { return false }
        guard let members = JSONMembers(payload, of: headers) else { throw Malformed(why: "headers is not an object") }
        var hasType = false
        for member in members {
            let name = member.name.slice(payload)
            guard isToken(name) else { throw Malformed(why: "a header's name is not a token") }
            if isConnectionField(name) || member.value.kind == .null { continue }
            try appendField(name, member.value, to: fields)
            if equalsIgnoringCase(name, "content-type") { hasType = true }
        }
        return hasType
    }

    private func appendCookies(_ cookies: JSONValue?, to fields: ByteBuffer) throws(Malformed) {
        guard let cookies, cookies.kind != .null else { return }
        guard let elements = JSONElements(payload, of: cookies) else { throw Malformed(why: "cookies is not an array") }
        let name: StaticString = "Set-Cookie"
        for value in elements {
            try appendField(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value, to: fields)
        }
    }

    private func appendField(_ name: UnsafeRawBufferPointer, _ value: JSONValue, to out: ByteBuffer) throws(Malformed) {
        let raw = value.range.slice(payload)
        let text = scratch.value
        text.clear()
        switch value.kind {
        case .string: _ = JSONText.decode(raw, into: text)
        case .number, .bool: text.append(raw)
        case .null, .object, .array:
            throw Malformed(why: "the header \(String(decoding: name, as: UTF8.self)) is neither a string nor a number")
        }
        guard isFieldValue(text.bytes) else {
            throw Malformed(why: "the header \(String(decoding: name, as: UTF8.self)) holds a control character")
        }
        out.append(name)
        out.append(": ")
        out.append(text.bytes)
        out.append("\r\n")
    }

    private func isConnectionField(_ name: UnsafeRawBufferPointer) -> Bool {
        switch name.count {
        case 2: equalsIgnoringCase(name, "te")
        case 4: equalsIgnoringCase(name, "date")
        case 7: equalsIgnoringCase(name, "trailer") || equalsIgnoringCase(name, "upgrade")
        case 10: equalsIgnoringCase(name, "connection") || equalsIgnoringCase(name, "keep-alive")
        case 14: equalsIgnoringCase(name, "content-length")
        case 17: equalsIgnoringCase(name, "transfer-encoding")
        default: false
        }
    }
}
