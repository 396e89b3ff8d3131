package import Base
internal import HTTP
internal import UV

/// One HTTP/1.1 connection: reads requests one after the other, writes their answers in that order.
///
///     head ──head complete──▶ body ──body complete──▶ answering ──answer written──▶ head
///       │ bad, late or too large    │ └─▶ streaming ──▶─┘                │ "Connection: close"
///       └───────────────▶ lingering ◀┴────────────────────────────────────┘──▶ closed
///
/// Invariants:
///  1. At most one request is being answered; bytes of later ones wait in `input` (bounded) until it is done.
///  2. Answers of requests that came in one read leave in one write.
///  3. After a framing error nothing more of the connection is parsed.
///  4. No request is taken up while more than `Limits.unsentBytesMax` of earlier answers wait for the other side.
///  5. `service.handle` runs once per request, and one answer is written per call.
///  6. While streaming, a `receiver` takes the body in order; it hears of exactly one end: `ended`, `broken`, `clientWentAway`, or its own
///     answer.
///
/// Thread rule: the loop's thread.
package final class HTTPConnection {
    private enum State { case head, body, streaming, answering, lingering, closed }

    private let stream: TCP
    /// The cycle ends with the connection, which the listener then forgets.
    private let listener: HTTPListener
    private let parser: HTTPRequestParser
    private var state = State.head
    /// Bytes that came and are not part of an answered request yet. Begins with the current head.
    private let input = ByteBuffer()
    /// Bytes of answers that have not been written yet.
    package let output = ByteBuffer()
    private var chunks: ChunkedDecoder?
    /// The decoded body of a chunked request; its head stays in `input`.
    private var chunkedBody: ByteBuffer?
    /// Bytes of `input` that the current request takes, once known: head and, with a length, body.
    private var requestBytes = 0
    private var bodyMax = 0
    private var receiver: (any BodyReceiver)?
    /// What of a streamed body with a length has not come yet.
    private var bodyLeft: UInt64 = 0
    private var isBodyPaused = false
    private var isProcessing = false
    /// Requests wait in `input` because of invariant 4.
    private var isHeldBack = false
    /// What was unsent when the deadline was set: less than that is progress.
    private var unsentBefore = 0
    private var keepsAlive = true
    private var answersHead = false
    private var speaksHTTP10 = false
    private var isChunkedAnswer = false
    private var closesWhenAnswered = false
    /// The listener's tick at which patience ends.
    private(set) var deadline: UInt64
    /// Place in the listener's list.
    var index: Int
    /// Who waits to answer, when that takes time.
    package var pending: (any PendingAnswer)?

    init(_ stream: TCP, listener: HTTPListener, index: Int) {
        self.stream = stream
        self.listener = listener
        self.index = index
        parser = HTTPRequestParser(limits: listener.limits)
        deadline = listener.deadline(after: listener.timeouts.head)
    }

    func start() {
        stream.delegate = self
        stream.startReading()
    }

    package var isOpen: Bool { state != .closed && state != .lingering }
    /// Numeric address of the other side, asked from the kernel once.
    package private(set) lazy var peerHost: String = stream.peer.host
    /// Bytes of answers that the other side has not taken yet.
    package var queuedBytes: Int { stream.queuedBytes + output.count }

    // MARK: Requests

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        switch state {
        case .closed, .lingering: return
        case .answering:
            input.append(bytes)
            if input.count > listener.limits.headBytesMax { stream.stopReading() }
            return
        case .head where isHeldBack: return input.append(bytes)
        case .head, .body, .streaming: break
        }
        isProcessing = true
        if input.isEmpty {
            // The usual case: whole requests in the loop's read buffer, never copied.
            let used = process(bytes)
            if used < bytes.count, state != .closed, state != .lingering {
                input.append(UnsafeRawBufferPointer(rebasing: bytes[used...]))
            }
        } else {
            input.append(bytes)
            processInput()
        }
        isProcessing = false
        flush()
        goOn()
    }

    /// Takes up what was held back, as far as the other side has made room for its answers.
    private func goOn() {
        while isHeldBack, state == .head, !isBackedUp {
            isHeldBack = false
            isProcessing = true
            processInput()
            isProcessing = false
            flush()
        }
        if isHeldBack || isBodyPaused { stream.stopReading() } else if takesBytes { stream.startReading() }
    }

    private var takesBytes: Bool { state == .head || state == .body || state == .streaming }

    private var isBackedUp: Bool { queuedBytes > Limits.unsentBytesMax }

    private func processInput() {
        let used = process(input.bytes)
        if state != .closed { input.consume(used) }
    }

    /// Takes requests from the front of `bytes`; returns how many bytes are done with.
    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        var used = 0
        while used < bytes.count, takesBytes {
            if state == .head, isBackedUp {
                isHeldBack = true
                break
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            do throws(HTTPError) {
                guard try takeRequest(rest) else { break }
            } catch {
                refuse(error, rest)
                return bytes.count
            }
            used += requestBytes
        }
        // A head that trickles in keeps the deadline that its first byte set.
        if state == .head, used > 0 || input.isEmpty {
            let isPartial = used < bytes.count
            deadline = listener.deadline(after: isPartial ? listener.timeouts.head : listener.timeouts.keepAlive)
        }
        return used
    }

    /// Handles the request at the front of `bytes`; false when some of it has not come yet.
    private func takeRequest(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        if state == .head {
            guard try parser.parse(bytes) else { return false }
            try beginBody(bytes)
            if state != .body {
                // The head goes now; what follows it is the body's.
                requestBytes = parser.headBytes
                if state == .streaming, parser.framing == .length(0) { endBody(trailers: []) }
                return true
            }
        }
        if state == .streaming { return try takePiece(bytes) }
        switch parser.framing {
        case .none:
            handle(bytes, body: UnsafeRawBufferPointer(start: nil, count: 0))
        case .length:
            guard bytes.count >= requestBytes else { return waitForBody() }
            handle(bytes, body: UnsafeRawBufferPointer(rebasing: bytes[parser.headBytes..<requestBytes]))
        case .chunked:
            return try takeChunks(bytes)
        }
        return true
    }

    /// Judges the size that the head announces.
    private func beginBody(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) {
        keepsAlive = parser.keepAlive && !closesWhenAnswered
        answersHead = parser.method == .head
        speaksHTTP10 = parser.minorVersion == 0
        requestBytes = parser.headBytes
        state = .body
        if case .none = parser.framing { return }
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        let request = HTTPRequest(connection: self, head: parser, bytes: bytes, body: empty)
        bodyMax = listener.service.bodyBytesMax(request)
        if case .length(let length) = parser.framing {
            guard length <= UInt64(bodyMax) else { throw .bodyTooLarge }
            requestBytes += Int(length)
            bodyLeft = length
        } else {
            chunks = ChunkedDecoder()
            chunkedBody = ByteBuffer()
        }
        try beginStreaming(request)
        guard state == .body || state == .streaming else { return }
        if parser.expectContinue, bytes.count < requestBytes || parser.framing == .chunked || parser.framing == .length(0) {
            output.append("HTTP/1.1 100 Continue\r\n\r\n")
        }
    }

    // MARK: Streamed bodies

    private func beginStreaming(_ request: HTTPRequest) throws(HTTPError) {
        state = .streaming
        isBodyPaused = false
        let receiver = listener.service.bodyReceiver(request)
        guard state == .streaming else { return }
        guard let receiver else { return state = .body }
        self.receiver = receiver
        deadline = listener.deadline(after: listener.timeouts.body)
    }

    /// Gives the receiver what has come of its body.
    private func takePiece(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        if !isBodyPaused { deadline = listener.deadline(after: listener.timeouts.body) }
        guard parser.framing == .chunked else {
            requestBytes = Int(min(UInt64(bytes.count), bodyLeft))
            bodyLeft -= UInt64(requestBytes)
            receiver?.received(UnsafeRawBufferPointer(rebasing: bytes[..<requestBytes]))
            if bodyLeft == 0, state == .streaming { endBody(trailers: []) }
            return true
        }
        guard let piece = chunkedBody, let step = try chunks?.decode(bytes, into: piece, max: bodyMax) else { return false }
        requestBytes = step.consumed
        if !piece.isEmpty { receiver?.received(piece.bytes) }
        piece.clear()
        if step.done, state == .streaming { endBody(trailers: chunks?.trailers ?? []) }
        return true
    }

    private func endBody(trailers: [(name: String, value: [UInt8])]) {
        chunks = nil
        chunkedBody = nil
        state = .answering
        deadline = .max
        let receiver = self.receiver
        self.receiver = nil
        isBodyPaused = false
        receiver?.ended(trailers: trailers)
    }

    /// Reads no more of the body than what has come already, which may be as much as one read takes.
    package func pauseBody() {
        guard state == .streaming, !isBodyPaused else { return }
        isBodyPaused = true
        deadline = .max
        stream.stopReading()
    }

    package func resumeBody() {
        guard state == .streaming, isBodyPaused else { return }
        isBodyPaused = false
        deadline = listener.deadline(after: listener.timeouts.body)
        if !isProcessing { stream.startReading() }
    }

    /// What has not come of the body is not read any more: the connection ends with the answer that is now due.
    private func leaveBody() -> (any BodyReceiver)? {
        state = .answering
        deadline = .max
        keepsAlive = false
        isBodyPaused = false
        chunks = nil
        chunkedBody = nil
        defer { receiver = nil }
        return receiver
    }

    private func waitForBody() -> Bool {
        deadline = listener.deadline(after: listener.timeouts.body)
        return false
    }

    /// `requestBytes` counts what has been decoded already, so nothing is decoded twice.
    private func takeChunks(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Bool {
        guard chunks != nil, let body = chunkedBody else { return false }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[min(requestBytes, bytes.count)...])
        guard let step = try chunks?.decode(rest, into: body, max: bodyMax) else { return false }
        requestBytes += step.consumed
        guard step.done else { return waitForBody() }
        self.chunks = nil
        chunkedBody = nil
        handle(bytes, body: body.bytes)
        return true
    }

    private func handle(_ bytes: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) {
        state = .answering
        deadline = .max
        listener.service.handle(HTTPRequest(connection: self, head: parser, bytes: bytes, body: body))
    }

    private func refuse(_ error: HTTPError, _ bytes: UnsafeRawBufferPointer) {
        if state == .streaming, let receiver = leaveBody() { return receiver.broken(status: error.status, reason: error.reason) }
        let hasHead = state == .body
        state = .answering
        keepsAlive = false
        guard hasHead, error == .bodyTooLarge else { return respond(error.status, text: error.reason) }
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        listener.service.refuseTooLarge(HTTPRequest(connection: self, head: parser, bytes: bytes, body: empty))
    }

    // MARK: Answers

    /// Begins an answer; fields follow, then `end` or `beginChunks`.
    package func begin(_ status: Int) {
        if state == .streaming { _ = leaveBody() }
        guard state == .answering else { return }
        output.appendStatusLine(status)
        output.append(listener.dateField)
        if !keepsAlive {
            output.append("Connection: close\r\n")
        } else if speaksHTTP10 {
            output.append("Connection: keep-alive\r\n")
        }
    }

    /// Ends the head with the body's length, writes the body, and turns to the next request.
    package func end(_ body: UnsafeRawBufferPointer) {
        guard state == .answering else { return output.clear() }
        output.append("Content-Length: ")
        output.append(decimal: UInt64(body.count))
        output.append("\r\n\r\n")
        if answersHead {
            finishAnswer()
        } else if body.count > 16 * 1024, !isProcessing {
            stream.write(output.bytes, body)
            output.clear()
            finishAnswer()
        } else {
            output.append(body)
            finishAnswer()
        }
    }

    /// Ends the head of an answer that has no body by its nature (204, 304).
    package func endWithoutBody() {
        guard state == .answering else { return output.clear() }
        output.append("\r\n")
        finishAnswer()
    }

    /// Ends the head; the body follows in chunks of unknown number. An HTTP/1.0 client reads until the close instead.
    package func beginChunks() {
        guard state == .answering else { return output.clear() }
        isChunkedAnswer = !speaksHTTP10
        if speaksHTTP10 { keepsAlive = false }
        output.append(isChunkedAnswer ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n")
        if !isProcessing { flush() }
    }

    package func chunk(_ bytes: UnsafeRawBufferPointer) {
        guard state == .answering, !answersHead, !bytes.isEmpty else { return }
        if isChunkedAnswer { output.appendChunk(bytes) } else { output.append(bytes) }
        if !isProcessing { flush() }
    }

    package func endChunks() {
        guard state == .answering else { return }
        if isChunkedAnswer, !answersHead { output.appendLastChunk() }
        isChunkedAnswer = false
        finishAnswer()
    }

    /// The rest of the answer will not come: the connection ends without the last chunk, which tells the other side.
    package func breakOff() {
        guard state == .answering else { return }
        isChunkedAnswer = false
        keepsAlive = false
        finishAnswer()
    }

    /// Ends the head; exactly `length` bytes follow by `send`, then `endLength`.
    package func beginLength(_ length: UInt64) {
        guard state == .answering else { return output.clear() }
        output.append("Content-Length: ")
        output.append(decimal: length)
        output.append("\r\n\r\n")
    }

    package func send(_ bytes: UnsafeRawBufferPointer) {
        guard state == .answering, !answersHead, !bytes.isEmpty else { return }
        if isProcessing { return output.append(bytes) }
        stream.write(output.bytes, bytes)
        output.clear()
        if stream.queuedBytes > 0, deadline == .max { awaitReader() }
    }

    package func endLength() {
        guard state == .answering else { return }
        finishAnswer()
    }

    package func respond(_ status: Int, text: StaticString) {
        begin(status)
        output.append("Content-Type: text/plain; charset=utf-8\r\n")
        end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    package func respond(_ status: Int, type: StaticString, _ body: UnsafeRawBufferPointer) {
        begin(status)
        output.appendField("Content-Type", type)
        end(body)
    }

    private func finishAnswer() {
        pending = nil
        if !keepsAlive {
            flush()
            linger()
            return
        }
        state = .head
        deadline = listener.deadline(after: listener.timeouts.keepAlive)
        // Inside `receive` its loop goes on with the next request; an answer that came later has to start it again.
        guard !isProcessing else { return }
        if !input.isEmpty {
            isProcessing = true
            // The request just answered has been consumed from `input` when it was handled.
            processInput()
            isProcessing = false
        }
        flush()
        goOn()
    }

    private func flush() {
        if !output.isEmpty {
            stream.write(output.bytes)
            output.clear()
        }
        if stream.queuedBytes > 0, deadline == .max || state == .head { awaitReader() }
    }

    private func awaitReader() {
        unsentBefore = stream.queuedBytes
        deadline = listener.deadline(after: listener.timeouts.write)
    }

    // MARK: Ends

    func closeWhenAnswered() {
        closesWhenAnswered = true
        keepsAlive = false
        guard state == .head, input.isEmpty else { return }
        if stream.queuedBytes > 0 { linger() } else { close() }
    }

    func timedOut() {
        if stream.queuedBytes > 0 {
            // A reader may be slow as long as it reads.
            return stream.queuedBytes < unsentBefore ? awaitReader() : close()
        }
        switch state {
        case .streaming:
            guard let receiver = leaveBody() else { return close() }
            receiver.broken(status: 408, reason: "the request did not arrive in time")
        case .head where !input.isEmpty, .body:
            state = .answering
            keepsAlive = false
            respond(408, text: "the request did not arrive in time\n")
        default: close()
        }
    }

    /// Sends the end of the stream and discards what still comes: closing at once would make the kernel reset the
    /// connection, and the other side could lose the answer (RFC 9112 §9.6).
    private func linger() {
        guard state != .closed else { return }
        state = .lingering
        if stream.queuedBytes > 0 { awaitReader() } else { finishLingering() }
        stream.startReading()
    }

    private func finishLingering() {
        stream.finishWriting()
        deadline = listener.deadline(after: listener.timeouts.linger)
    }

    package func close() {
        guard state != .closed else { return }
        state = .closed
        let pending = self.pending
        let receiver = self.receiver
        self.pending = nil
        self.receiver = nil
        stream.close()
        listener.remove(self)
        receiver?.clientWentAway()
        pending?.clientWentAway()
    }
}

extension HTTPConnection: StreamDelegate {
    package func received(_ bytes: UnsafeRawBufferPointer) { receive(bytes) }

    package func ended(error: CInt) { close() }

    package func drained() {
        switch state {
        case .lingering: finishLingering()
        case .head:
            deadline = listener.deadline(after: listener.timeouts.keepAlive)
            goOn()
        case .answering:
            deadline = .max
            pending?.canWrite()
        default: break
        }
    }
}
