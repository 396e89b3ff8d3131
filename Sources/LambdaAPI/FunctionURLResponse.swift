internal import Base
internal import HTTP
internal import Invoker
internal import Net
internal import UV

/// Sends a handler's result as an HTTP response: made now, or made when it was stored.
///
/// What is no response is answered 502, and the function's log says why.
struct FunctionURLResponse {
    let by: AnsweredBy
    let outcome: InvocationOutcome
    let connection: HTTPConnection
    let invoker: Invoker
    let scratch: FunctionURLRenderer.Scratch

    func send() {
        if outcome.isRendered {
            let stored = RenderedResponse(outcome.payload)
            return send(stored.status, stored.fields, stored.body)
        }
        do throws(FunctionURLRenderer.Malformed) {
            let (status, body) = try FunctionURLRenderer(payload: outcome.payload, scratch: scratch).render()
            send(status, scratch.fields.bytes, body)
        } catch {
            invoker.state(of: by.function).log.note(
                "\(by.id) was answered 502: \(error.why)", by.id, version: by.version, epochMilliseconds: Loop.epochMilliseconds)
            sendMalformed()
        }
    }

    private func send(_ status: Int, _ fields: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) {
        connection.begin(status)
        appendAnswerFields(by, outcome, to: connection.output)
        if case .hit(let age, _, _, _) = outcome.memo {
            // RFC 9111 §5.1: caches further on count the time that it lay here.
            connection.output.append("Age: ")
            connection.output.append(decimal: age.nanoseconds / 1_000_000_000)
            connection.output.append("\r\n")
        }
        if by.hasCORS { CORS.withoutOwn(fields, to: connection.output) } else { connection.output.append(fields) }
        if FunctionURLRenderer.hasBody(status) { connection.end(body) } else { connection.endWithoutBody() }
    }

    private func sendMalformed() {
        let text: StaticString = "Internal Server Error"
        connection.begin(502)
        appendAnswerFields(by, outcome, to: connection.output)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\n")
        connection.end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
}

/// A response as a function URL's results are stored, so that a hit is copied out and never parsed:
///
///     u32 status │ u32 length of the fields │ fields, each line with its end │ body
struct RenderedResponse {
    let status: Int
    let fields: UnsafeRawBufferPointer
    let body: UnsafeRawBufferPointer

    static func write(_ status: Int, _ fields: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, to out: ByteBuffer) {
        out.append(littleEndian: UInt32(status))
        out.append(littleEndian: UInt32(fields.count))
        out.append(fields)
        out.append(body)
    }

    init(_ stored: UnsafeRawBufferPointer) {
        status = Int(UInt32(littleEndian: stored.loadUnaligned(as: UInt32.self)))
        let end = 8 + Int(UInt32(littleEndian: stored.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        fields = UnsafeRawBufferPointer(rebasing: stored[8..<end])
        body = UnsafeRawBufferPointer(rebasing: stored[end...])
    }
}
