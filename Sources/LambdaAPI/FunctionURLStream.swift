internal import Base
internal import HTTP
internal import Invoker
internal import Net
internal import UV

/// Passes an answer that comes in pieces on as an HTTP response.
///
///     head (JSON, 8 zero bytes) ─▶ body ─▶ ended          a stream of another media type begins at body
///
/// What breaks off in the body breaks the response off: the reader sees that it is not whole.
///
/// Thread rule: the loop's thread.
final class FunctionURLStream: ResponseStreamTaker {
    private enum Phase { case head, body, ended }

    private let by: AnsweredBy
    private let stream: ResponseStream
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let scratch: FunctionURLRenderer.Scratch
    private var phase = Phase.body
    private let prelude = ByteBuffer(capacity: 0)

    init(
        _ by: AnsweredBy, _ stream: ResponseStream, _ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLRenderer.Scratch
    ) {
        self.by = by
        self.stream = stream
        self.connection = connection
        self.invoker = invoker
        self.scratch = scratch
        if stream.isHTTP { phase = .head } else { beginPlain() }
    }

    private func beginPlain() {
        scratch.fields.clear()
        scratch.fields.append("Content-Type: ")
        let isValue = !stream.type.isEmpty && stream.type.withUnsafeBytes { isFieldValue($0) }
        if isValue { stream.type.withUnsafeBytes { scratch.fields.append($0) } } else { scratch.fields.append("application/octet-stream") }
        scratch.fields.append("\r\n")
        begin(200)
    }

    private func begin(_ status: Int) {
        connection.begin(status)
        appendAnswerFields(by, stream.outcome, to: connection.output)
        let fields = scratch.fields.bytes
        if by.hasCORS { CORS.withoutOwn(fields, to: connection.output) } else { connection.output.append(fields) }
        if FunctionURLRenderer.hasBody(status) {
            phase = .body
            connection.beginChunks()
        } else {
            phase = .ended
            connection.endWithoutBody()
        }
    }

    func took(_ bytes: UnsafeRawBufferPointer) {
        switch phase {
        case .head: takeHead(bytes)
        case .body:
            connection.chunk(bytes)
            if connection.queuedBytes > Limits.unsentBytesMax { stream.pause() }
        case .ended: break
        }
    }

    private func takeHead(_ bytes: UnsafeRawBufferPointer) {
        prelude.append(bytes)
        guard let end = StreamedPrelude.end(in: prelude.bytes) else {
            if prelude.count > Limits.streamPreludeBytesMax { refuse("the head of its answer does not end") }
            return
        }
        do throws(FunctionURLRenderer.Malformed) {
            let head = UnsafeRawBufferPointer(rebasing: prelude.bytes[..<end])
            begin(try FunctionURLRenderer(payload: head, scratch: scratch).renderPrelude())
        } catch { return refuse(error.why) }
        if phase == .body { took(UnsafeRawBufferPointer(rebasing: prelude.bytes[(end + StreamedPrelude.marker)...])) }
        prelude.clear()
    }

    /// The handler is through, or has failed.
    func finished(_ outcome: InvocationOutcome) {
        switch (phase, outcome.kind) {
        case (.head, .result): refuse("the head of its answer does not end")
        case (.head, _): respond(502, "Internal Server Error")
        case (.body, .result): connection.endChunks()
        case (.body, _): connection.breakOff()
        case (.ended, _): break
        }
        phase = .ended
    }

    private func refuse(_ why: String) {
        invoker.state(of: by.function).log.note(
            "\(by.id) was answered 502: \(why)", by.id, version: by.version, epochMilliseconds: Loop.epochMilliseconds)
        respond(502, "Internal Server Error")
        phase = .ended
    }

    private func respond(_ status: Int, _ text: StaticString) {
        connection.begin(status)
        appendAnswerFields(by, stream.outcome, to: connection.output)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\n")
        connection.end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    func readerIsReady() { stream.resume() }
}

/// How the head of a streamed HTTP response ends.
enum StreamedPrelude {
    /// Zero bytes between the JSON and the body.
    static let marker = 8

    /// Where the JSON ends, if the whole marker is there.
    static func end(in bytes: UnsafeRawBufferPointer) -> Int? {
        // JSON holds no zero byte.
        guard let end = bytes.firstIndex(of: 0), bytes.count >= end + marker, bytes[end..<end + marker].allSatisfy({ $0 == 0 }) else {
            return nil
        }
        return end
    }
}
