internal import Base
internal import HTTP
internal import Invoker
internal import Net
internal import UV

/// Turns a handler's result into an HTTP response (payload format 2.0).
///
/// An object with `statusCode` is taken apart; anything else is the body of a 200, a string without its quotes. What
/// cannot be sent as it stands is answered 502, and the function's log says why: a field left out in silence would be
/// looked for for long.
struct FunctionURLResponse {
    let by: AnsweredBy
    let outcome: InvocationOutcome
    let connection: HTTPConnection
    let invoker: Invoker
    let scratch: Scratch

    /// Buffers that one response after the other uses, on the loop's thread: a response is made in one go.
    final class Scratch {
        fileprivate let fields = ByteBuffer()
        fileprivate let value = ByteBuffer()
        fileprivate let body = ByteBuffer()
    }

    /// Why a result is no response; a sentence's end.
    private struct Malformed: Error { let why: String }

    private struct Parts {
        var status: Int?
        var headers: JSONValue?
        var cookies: JSONValue?
        var body: JSONValue?
        var isBase64 = false
    }

    func send() {
        let payload = outcome.payload
        guard JSONCheck.validate(payload) == nil else {
            // A bootstrap may answer anything; what is no JSON goes out as it is.
            return sendPlain(payload, type: "application/octet-stream")
        }
        do throws(Malformed) {
            let parts = try takeApart(payload)
            if let status = parts.status { return try send(status, parts) }
        } catch {
            invoker.state(of: by.function).log.note(
                "\(by.id) was answered 502: \(error.why)", by.id, version: by.version, epochMilliseconds: Loop.epochMilliseconds)
            return sendMalformed()
        }
        guard payload.first == UInt8(ascii: "\"") else { return sendPlain(payload, type: "application/json") }
        let text = ByteBuffer(capacity: payload.count)
        _ = JSONText.decode(UnsafeRawBufferPointer(rebasing: payload[1..<payload.count - 1]), into: text)
        sendPlain(text.bytes, type: "application/json")
    }

    private func takeApart(_ payload: UnsafeRawBufferPointer) throws(Malformed) -> Parts {
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
        let raw = value.range.slice(outcome.payload)
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

    private func sendPlain(_ body: UnsafeRawBufferPointer, type: StaticString) {
        connection.begin(200)
        appendAnswerFields(by, outcome, to: connection.output)
        connection.output.appendField("Content-Type", type)
        connection.end(body)
    }

    private func sendMalformed() {
        let text: StaticString = "Internal Server Error"
        connection.begin(502)
        appendAnswerFields(by, outcome, to: connection.output)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\n")
        connection.end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func send(_ status: Int, _ parts: Parts) throws(Malformed) {
        let (body, fields) = (scratch.body, scratch.fields)
        body.clear()
        fields.clear()
        if let value = parts.body { try appendBody(value, isBase64: parts.isBase64, to: body) }
        let hasType = try appendHeaders(parts.headers, to: fields)
        try appendCookies(parts.cookies, to: fields)
        connection.begin(status)
        let out = connection.output
        appendAnswerFields(by, outcome, to: out)
        out.append(fields.bytes)
        if !hasType, status != 204, status != 304 { out.append("Content-Type: application/json\r\n") }
        if status == 204 || status == 304 { connection.endWithoutBody() } else { connection.end(body.bytes) }
    }

    /// True when Content-Type was among them. Fields of the connection are left out: they are not the function's.
    private func appendHeaders(_ headers: JSONValue?, to fields: ByteBuffer) throws(Malformed) -> Bool {
        guard let headers, headers.kind != .null else { return false }
        guard let members = JSONMembers(outcome.payload, of: headers) else { throw Malformed(why: "headers is not an object") }
        var hasType = false
        for member in members {
            let name = member.name.slice(outcome.payload)
            guard isToken(name) else { throw Malformed(why: "a header's name is not a token") }
            if isConnectionField(name) || member.value.kind == .null { continue }
            try appendField(name, member.value, to: fields)
            if equalsIgnoringCase(name, "content-type") { hasType = true }
        }
        return hasType
    }

    private func appendCookies(_ cookies: JSONValue?, to fields: ByteBuffer) throws(Malformed) {
        guard let cookies, cookies.kind != .null else { return }
        guard let elements = JSONElements(outcome.payload, of: cookies) else { throw Malformed(why: "cookies is not an array") }
        let name: StaticString = "Set-Cookie"
        for value in elements {
            try appendField(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value, to: fields)
        }
    }

    private func appendField(_ name: UnsafeRawBufferPointer, _ value: JSONValue, to out: ByteBuffer) throws(Malformed) {
        let raw = value.range.slice(outcome.payload)
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
