internal import Base
internal import HTTP
internal import Net
internal import UV

/// Carries the origin's answer to the client as it comes, and keeps a copy for the cache when it may.
///
///     waiting ──head──▶ carrying ──end──▶ over        waiting ──failure──▶ an error of the edge's
///                          └──failure──▶ the client's connection breaks: only that says that these are not all bytes
///
/// Invariants:
///  1. Not more than `Limits.unsentBytesMax` and one read wait for the client.
///  2. A client that goes away ends the exchange.
///
/// Thread rule: the loop's thread.
final class AnswerRelay: AnswerReceiver, PendingAnswer {
    private let service: EdgeService
    private let request: EdgeRequest
    private let connection: HTTPConnection
    /// What `Cache-Status` says; nil: nothing.
    private let note: String?
    /// What may become of a GET's answer; nil: nothing.
    private var fill: CacheFill?
    private var exchange: HTTPExchange?
    private var framing = HTTPResponseFraming.none
    private var hasHead = false
    private var isGood = false

    init(_ service: EdgeService, _ request: EdgeRequest, _ connection: HTTPConnection, note: String? = nil, fill: CacheFill? = nil) {
        self.service = service
        self.request = request
        self.connection = connection
        self.note = note
        self.fill = fill
    }

    /// Sends the request, whose answer it will carry.
    func start(_ exchange: HTTPExchange) {
        self.exchange = exchange
        connection.pending = self
        service.origin.send(exchange)
    }

    func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) {
        guard connection.isOpen else { return stop() }
        hasHead = true
        isGood = head.status < 300
        if head.status == 304, let fill, let kept = fill.revalidated() {
            service.cached.send(kept, note: "hearth; fwd=stale; fwd-status=304", isHead: request.method == "HEAD", on: connection)
            self.fill = nil
            framing = .none
            return
        }
        connection.begin(head.status)
        let output = connection.output
        for index in 0..<head.headerCount {
            let (name, value) = (head.headerName(index).slice(bytes), head.headerValue(index).slice(bytes))
            if !OriginFields.isOwn(name) { output.appendField(name: name, value: value) }
        }
        fill?.begin(head, bytes)
        if let note { output.appendField("Cache-Status", fill?.isStoring == true ? note + "; stored" : note) }
        framing = head.framing
        switch framing {
        case .none:
            if request.method == "HEAD", let length = head.header(.contentLength).map({ $0.slice(bytes) }) {
                connection.beginLength(UInt64(String(decoding: length, as: UTF8.self)) ?? 0)
                connection.endLength()
            } else {
                connection.endWithoutBody()
            }
        case .length(let length): connection.beginLength(length)
        case .chunked, .untilClose: connection.beginChunks()
        }
        if framing != .none { connection.pending = self }
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        fill?.append(bytes)
        if case .length = framing { connection.send(bytes) } else { connection.chunk(bytes) }
        if connection.queuedBytes > Limits.unsentBytesMax { exchange?.pause() }
    }

    func ended() {
        exchange = nil
        fill?.finish()
        if isGood, request.method != "GET", request.method != "HEAD" { service.cached.forget(request) }
        switch framing {
        case .none: break
        case .length: connection.endLength()
        case .chunked, .untilClose: connection.endChunks()
        }
    }

    func failed(_ failure: OriginFailure) {
        exchange = nil
        // A write may have reached the origin although its answer did not reach us.
        if request.method != "GET", request.method != "HEAD" { service.cached.forget(request) }
        guard !hasHead else { return connection.close() }
        EdgeFault(failure).send(on: connection, resource: request.path)
    }

    func canWrite() { exchange?.resume() }
    func clientWentAway() { stop() }

    private func stop() {
        if request.method != "GET", request.method != "HEAD" { service.cached.forget(request) }
        exchange?.cancel()
        exchange = nil
    }
}

/// Fields of an origin's answer that are about its connection with the edge, or that are made anew for the client.
enum OriginFields {
    private static let own: [StaticString] = [
        "connection", "keep-alive", "transfer-encoding", "content-length", "date", "upgrade", "proxy-connection", "trailer", "te",
    ]

    static func isOwn(_ name: UnsafeRawBufferPointer) -> Bool { own.contains { equals(name, $0) } }

    /// `lower` is in lower case.
    static func equals(_ name: UnsafeRawBufferPointer, _ lower: StaticString) -> Bool {
        guard name.count == lower.utf8CodeUnitCount else { return false }
        return zip(name, UnsafeRawBufferPointer(start: lower.utf8Start, count: name.count)).allSatisfy { byte, wanted in
            (byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) == wanted
        }
    }
}

/// Takes a small answer whole: of calls that the edge makes itself.
final class WholeAnswer: AnswerReceiver {
    struct Answer {
        let status: Int
        /// Names in lower case.
        let headers: [(name: String, value: String)]
        var body: [UInt8] = []

        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private let bodyBytesMax: Int
    private let done: (Result<Answer, OriginFailure>) -> Void
    private var answer: Answer?

    init(bodyBytesMax: Int = 64 * 1024, _ done: @escaping (Result<Answer, OriginFailure>) -> Void) {
        self.bodyBytesMax = bodyBytesMax
        self.done = done
    }

    func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) {
        answer = Answer(
            status: head.status,
            headers: (0..<head.headerCount).map { index in
                (
                    String(decoding: head.headerName(index).slice(bytes), as: UTF8.self).lowercased(),
                    String(decoding: head.headerValue(index).slice(bytes), as: UTF8.self)
                )
            })
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        guard let count = answer?.body.count, count + bytes.count <= bodyBytesMax else { return }
        answer?.body.append(contentsOf: bytes)
    }

    func ended() { done(answer.map { .success($0) } ?? .failure(.broken("no answer"))) }
    func failed(_ failure: OriginFailure) { done(.failure(failure)) }
}
