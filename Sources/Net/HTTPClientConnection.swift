internal import Base
internal import HTTP
internal import UV

/// One kept connection to an origin: sends requests one after the other and reads their answers.
///
///     idle ──begin──▶ head ──head complete──▶ body ──▶ idle        (when the request is out and both sides keep it)
///       │               │                       │  └──▶ closed
///       └── closed by the origin ───────────────┴─────▶ closed, the exchange has failed
///
/// Invariants:
///  1. One exchange at a time; bytes without one end the connection.
///  2. No more than `pieceBytes` of a whole body, or of what a receiver writes at a time, wait beside the kernel.
///  3. An exchange hears of exactly one end.
///
/// Thread rule: the loop's thread.
final class HTTPClientConnection {
    private enum State { case idle, head, body, closed }

    /// A whole body leaves in pieces of this size: what waits beside the kernel is copied.
    private static let pieceBytes = 256 * 1024

    private let stream: TCP
    private unowned let origin: HTTPOrigin
    private let parser = HTTPResponseParser()
    private let input = ByteBuffer()
    private var state = State.idle
    private(set) var exchange: HTTPExchange?
    private var sent = 0
    private var isRequestOut = false
    private var left: UInt64 = 0
    private var chunks: ChunkedDecoder?
    private let piece = ByteBuffer()
    private var isReading = false
    private var carried = 0
    private let openedAt: UInt64
    /// It had been waiting for this exchange: if it breaks, that may be its age and not the origin's doing.
    private var wasAged = false
    /// The origin's tick at which patience ends.
    private(set) var deadline = UInt64.max

    init(_ stream: TCP, _ origin: HTTPOrigin) {
        self.stream = stream
        self.origin = origin
        openedAt = origin.tick
        stream.delegate = self
        stream.startReading()
        deadline = origin.deadline(after: HTTPOrigin.idleSeconds)
    }

    var isIdle: Bool { state == .idle }
    var queuedBytes: Int { stream.queuedBytes }

    // MARK: Requests

    func begin(_ exchange: HTTPExchange) {
        self.exchange = exchange
        exchange.connection = self
        exchange.attempts += 1
        state = .head
        sent = 0
        isRequestOut = false
        carried += 1
        wasAged = carried > 1 || origin.hasAged(since: openedAt)
        progress()
        var first = UnsafeRawBufferPointer(start: nil, count: 0)
        if case .whole(let buffer) = exchange.body {
            sent = min(buffer.count, Self.pieceBytes)
            first = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<sent])
        }
        exchange.head.withUnsafeBytes { stream.write($0, first) }
        switch exchange.body {
        case .none: isRequestOut = true
        case .whole: sendMore()
        case .streamed: break
        }
        exchange.receiver?.began()
    }

    private func sendMore() {
        guard let exchange, case .whole(let buffer) = exchange.body else { return }
        while stream.isOpen, stream.queuedBytes == 0, sent < buffer.count {
            let end = min(buffer.count, sent + Self.pieceBytes)
            stream.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[sent..<end]))
            sent = end
        }
        isRequestOut = sent == buffer.count
    }

    func write(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {
        guard exchange === self.exchange else { return }
        progress()
        stream.write(bytes)
    }

    func finishWriting(of exchange: HTTPExchange) {
        if exchange === self.exchange { isRequestOut = true }
    }

    // MARK: Answers

    private func take(_ bytes: UnsafeRawBufferPointer) {
        guard exchange != nil else { return close() }
        progress()
        guard state == .head else { return takeBody(bytes) }
        if input.isEmpty {
            if let used = takeHead(bytes) { input.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
        } else {
            input.append(bytes)
            if let used = takeHead(input.bytes) { input.consume(used) }
        }
    }

    /// Takes heads from the front of `bytes`, and what follows the last. Returns how much interim answers took while a head has not come
    /// whole; nil when nothing of `bytes` is needed any more: then the next exchange may have begun already.
    private func takeHead(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var used = 0
        while state == .head, let exchange {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            do throws(HTTPError) {
                guard try parser.parse(rest, toHead: exchange.isHead) else { return used }
            } catch {
                fail(.broken("\(error.reason)"))
                return nil
            }
            used += parser.headBytes
            if parser.status < 200 { continue }
            beginBody()
            exchange.receiver?.answered(parser, rest)
            guard state == .body else { return nil }
            let body = UnsafeRawBufferPointer(rebasing: bytes[used...])
            if parser.framing == .none || parser.framing == .length(0) {
                finish(isClean: body.isEmpty)
            } else if !body.isEmpty {
                takeBody(body)
            }
            return nil
        }
        return nil
    }

    private func beginBody() {
        state = .body
        switch parser.framing {
        case .length(let length): left = length
        case .chunked: chunks = ChunkedDecoder()
        case .none, .untilClose: break
        }
    }

    private func takeBody(_ bytes: UnsafeRawBufferPointer) {
        guard let receiver = exchange?.receiver else { return close() }
        switch parser.framing {
        case .none: close()
        case .untilClose: receiver.received(bytes)
        case .length:
            let count = Int(min(UInt64(bytes.count), left))
            left -= UInt64(count)
            receiver.received(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            if left == 0, state == .body { finish(isClean: count == bytes.count) }
        case .chunked:
            do throws(HTTPError) {
                guard let step = try chunks?.decode(bytes, into: piece, max: .max) else { return }
                if !piece.isEmpty { receiver.received(piece.bytes) }
                piece.clear()
                if step.done, state == .body { finish(isClean: step.consumed == bytes.count) }
            } catch { fail(.broken("\(error.reason)")) }
        }
    }

    /// The answer is whole. - Parameter isClean: nothing came behind it.
    private func finish(isClean: Bool) {
        let exchange = self.exchange
        let receiver = exchange?.receiver
        self.exchange = nil
        exchange?.connection = nil
        exchange?.receiver = nil
        chunks = nil
        input.clear()
        // An answer that came before the whole request: the rest of it would be taken for the next one.
        let isKept = isClean && isRequestOut && stream.queuedBytes == 0 && parser.keepAlive
        state = .idle
        if isKept {
            stream.startReading()
            deadline = origin.deadline(after: HTTPOrigin.idleSeconds)
            origin.idles(self)
        } else {
            close()
        }
        receiver?.ended()
    }

    func pauseReading() {
        stream.stopReading()
        deadline = .max
    }

    func resumeReading() {
        progress()
        stream.startReading()
    }

    private func progress() {
        deadline = exchange?.isPaused == true ? .max : origin.deadline(after: HTTPOrigin.answerSeconds)
    }

    // MARK: Ends

    func timedOut() {
        if exchange == nil { close() } else { fail(.timedOut) }
    }

    private func fail(_ failure: OriginFailure) {
        let exchange = self.exchange
        let isUnanswered = state == .head && input.isEmpty
        self.exchange = nil
        exchange?.connection = nil
        close()
        if let exchange { origin.failed(exchange, failure, isUnanswered: isUnanswered, wasAged: wasAged) }
    }

    func close() {
        guard state != .closed else { return }
        state = .closed
        stream.close()
        exchange?.connection = nil
        exchange = nil
        origin.closed(self)
    }
}

extension HTTPClientConnection: StreamDelegate {
    func received(_ bytes: UnsafeRawBufferPointer) { take(bytes) }

    func ended(error: CInt) {
        guard exchange != nil else { return close() }
        if state == .body, parser.framing == .untilClose, error == 0 { return finish(isClean: false) }
        fail(.broken("the connection ended within an answer"))
    }

    func drained() {
        progress()
        guard let exchange else { return }
        if case .whole = exchange.body { sendMore() } else { exchange.receiver?.bodyHasLeft() }
    }
}
