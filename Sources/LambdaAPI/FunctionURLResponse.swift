internal import Base
internal import HTTP
internal import Invoker
internal import Net

/// Turns a handler's result into an HTTP response (payload format 2.0).
///
/// An object with `statusCode` is taken apart; anything else is the body of a 200, a string without its quotes.
struct FunctionURLResponse {
    let invocation: Invocation
    let outcome: InvocationOutcome
    let connection: HTTPConnection

    private struct Parts {
        var status: Int?
        var isMalformed = false
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
        let parts = takeApart(payload)
        if parts.isMalformed { return sendMalformed() }
        guard let status = parts.status else {
            guard payload.first == UInt8(ascii: "\"") else { return sendPlain(payload, type: "application/json") }
            let text = ByteBuffer(capacity: payload.count)
            _ = JSONText.decode(UnsafeRawBufferPointer(rebasing: payload[1..<payload.count - 1]), into: text)
            return sendPlain(text.bytes, type: "application/json")
        }
        let body = ByteBuffer(capacity: 16)
        if let value = parts.body, !appendBody(value, isBase64: parts.isBase64, to: body) { return sendMalformed() }
        send(status, parts, body.bytes)
    }

    private func takeApart(_ payload: UnsafeRawBufferPointer) -> Parts {
        var parts = Parts()
        guard let members = JSONMembers(payload) else { return parts }
        for member in members {
            let name = member.name.slice(payload)
            switch name.count {
            case 10 where JSONText.equals(name, "statusCode"):
                parts.status = number(member.value.range.slice(payload))
                if parts.status.map({ (100...599).contains($0) }) != true { parts.isMalformed = true }
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

    private func appendBody(_ value: JSONValue, isBase64: Bool, to body: ByteBuffer) -> Bool {
        let raw = value.range.slice(outcome.payload)
        switch value.kind {
        case .null: return true
        case .string where isBase64:
            let text = ByteBuffer(capacity: raw.count)
            return JSONText.decode(raw, into: text) && Base64.decode(text.bytes, into: body)
        case .string: return JSONText.decode(raw, into: body)
        default: body.append(raw)
        }
        return true
    }

    private func sendPlain(_ body: UnsafeRawBufferPointer, type: StaticString) {
        connection.begin(200)
        appendAnswerFields(invocation, outcome, to: connection.output)
        connection.output.appendField("Content-Type", type)
        connection.end(body)
    }

    private func sendMalformed() {
        let text: StaticString = "Internal Server Error"
        connection.begin(502)
        appendAnswerFields(invocation, outcome, to: connection.output)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\n")
        connection.end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func send(_ status: Int, _ parts: Parts, _ body: UnsafeRawBufferPointer) {
        let fields = ByteBuffer()
        var hasType = false
        if let headers = parts.headers, let members = JSONMembers(outcome.payload, of: headers) {
            for member in members {
                let name = member.name.slice(outcome.payload)
                if appendField(name, member.value, to: fields), equalsIgnoringCase(name, "content-type") { hasType = true }
            }
        }
        if let cookies = parts.cookies, let elements = JSONElements(outcome.payload, of: cookies) {
            let name: StaticString = "Set-Cookie"
            for value in elements {
                _ = appendField(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value, to: fields)
            }
        }
        connection.begin(max(200, status))
        let out = connection.output
        appendAnswerFields(invocation, outcome, to: out)
        out.append(fields.bytes)
        if !hasType, status != 204, status != 304 { out.append("Content-Type: application/json\r\n") }
        if status == 204 || status == 304 { connection.endWithoutBody() } else { connection.end(body) }
    }

    /// False, and nothing appended, when the field may not be sent: not a header, or one of the connection's own.
    private func appendField(_ name: UnsafeRawBufferPointer, _ value: JSONValue, to out: ByteBuffer) -> Bool {
        guard isToken(name), !isConnectionField(name) else { return false }
        let raw = value.range.slice(outcome.payload)
        let text = ByteBuffer(capacity: raw.count)
        switch value.kind {
        case .string: guard JSONText.decode(raw, into: text) else { return false }
        case .number, .bool: text.append(raw)
        case .null, .object, .array: return false
        }
        guard isFieldValue(text.bytes) else { return false }
        out.append(name)
        out.append(": ")
        out.append(text.bytes)
        out.append("\r\n")
        return true
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
