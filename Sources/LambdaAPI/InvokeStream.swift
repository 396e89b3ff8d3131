internal import Base
internal import Catalog
internal import Crypto
internal import HTTP
internal import Invoker
internal import Net
internal import Sandbox

/// Answers InvokeWithResponseStream: an event stream whose pieces leave as the handler writes them.
final class InvokeStreamClient: InvocationClient, PendingAnswer, ResponseStreamTaker {
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let message = ByteBuffer()
    /// Until it has finished.
    private var invocation: Invocation?
    private var stream: ResponseStream?

    static func invoke(
        _ connection: HTTPConnection, _ invoker: Invoker, _ function: FunctionEntry, _ resolution: Resolution,
        _ message: InvocationMessage, arrived: Moment, wantsLogTail: Bool
    ) {
        let client = InvokeStreamClient(connection, invoker)
        let invocation = Invocation(
            function: function, resolution: resolution, message: message, arrived: arrived, wantsLogTail: wantsLogTail, client: client)
        client.invocation = invocation
        connection.pending = client
        invoker.invoke(invocation)
    }

    private init(_ connection: HTTPConnection, _ invoker: Invoker) {
        self.connection = connection
        self.invoker = invoker
    }

    // MARK: The reader

    func clientWentAway() {
        if let invocation { invoker.cancel(invocation) }
        invocation = nil
        stream?.resume()
    }

    func canWrite() { stream?.resume() }

    // MARK: The handler

    func begins(_ invocation: Invocation, _ stream: ResponseStream) -> (any ResponseStreamTaker)? {
        self.stream = stream
        begin(invocation, stream.outcome)
        return self
    }

    func took(_ bytes: UnsafeRawBufferPointer) {
        send(.payloadChunk, bytes)
        if connection.queuedBytes > Limits.unsentBytesMax { stream?.pause() }
    }

    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) {
        self.invocation = nil
        guard connection.isOpen else { return }
        if case .refused(let refusal) = outcome.kind {
            let fault = LambdaFault(refusal)
            return LambdaService.send(fault, invocation.id, on: connection, retryAfter: fault.status == 429)
        }
        let isError = if case .functionError = outcome.kind { true } else { false }
        if stream == nil {
            begin(invocation, outcome)
            if !isError { send(.payloadChunk, outcome.payload) }
        }
        complete(outcome, isError: isError)
        connection.endChunks()
    }

    private func begin(_ invocation: Invocation, _ outcome: InvocationOutcome) {
        connection.begin(200)
        appendAnswerFields(AnsweredBy(invocation), outcome, to: connection.output)
        connection.output.append("Content-Type: application/vnd.amazon.eventstream\r\n")
        connection.beginChunks()
    }

    private func complete(_ outcome: InvocationOutcome, isError: Bool) {
        let body = ByteBuffer()
        body.append("{")
        if isError {
            body.append("\"ErrorCode\":\"Unhandled\",\"ErrorDetails\":")
            body.append(jsonString: outcome.payload)
        }
        if let tail = outcome.logTail {
            body.append(isError ? ",\"LogResult\":\"" : "\"LogResult\":\"")
            Base64.encode(UnsafeRawBufferPointer(rebasing: tail.bytes.suffix(Limits.logTailBytes)), into: body)
            body.append("\"")
        }
        body.append("}")
        send(.invokeComplete, body.bytes)
    }

    private func send(_ event: EventStreamMessage, _ payload: UnsafeRawBufferPointer) {
        message.clear()
        event.append(payload, to: message)
        connection.chunk(message.bytes)
    }
}

/// Messages of `application/vnd.amazon.eventstream` (all numbers big-endian):
///
///     u32 length of all │ u32 length of the headers │ u32 CRC-32 of both │ headers │ payload │ u32 CRC-32 of all before
///
/// and a header is: u8 length of the name │ name │ u8 7, a string │ u16 length │ value.
enum EventStreamMessage {
    case payloadChunk, invokeComplete

    private static let payloadHeaders = headers("PayloadChunk", "application/octet-stream")
    private static let completeHeaders = headers("InvokeComplete", "application/json")

    private static func headers(_ event: String, _ type: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in [(":event-type", event), (":content-type", type), (":message-type", "event")] {
            bytes.append(UInt8(name.utf8.count))
            bytes += name.utf8
            bytes += [7, 0, UInt8(value.utf8.count)]
            bytes += value.utf8
        }
        return bytes
    }

    func append(_ payload: UnsafeRawBufferPointer, to out: ByteBuffer) {
        let headers = self == .payloadChunk ? Self.payloadHeaders : Self.completeHeaders
        let begin = out.count
        func append(_ number: UInt64) { out.append(littleEndian: UInt32(truncatingIfNeeded: number).byteSwapped) }
        func crc() -> UInt64 { CRC.of(UnsafeRawBufferPointer(rebasing: out.bytes[begin...]), .crc32) }
        append(UInt64(16 + headers.count + payload.count))
        append(UInt64(headers.count))
        append(crc())
        headers.withUnsafeBytes { out.append($0) }
        out.append(payload)
        append(crc())
    }
}
