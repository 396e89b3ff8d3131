internal import Base
internal import HTTP
internal import Net

/// A request whose body is taken whole before it is sent: it can be sent again, and its checksum is known beforehand.
///
/// Thread rule: the loop's thread.
final class WholeCall: UploadBody, PendingAnswer {
    private let service: EdgeService
    private let request: EdgeRequest
    private let connection: HTTPConnection
    private let length: Int
    private var grant: UploadMemory.Grant?
    private var buffer: SendBuffer?
    /// What came before there was room, at most one read.
    private var early: [UInt8] = []
    private var trailers: [(name: String, value: String)]?
    private var isOver = false

    init(_ service: EdgeService, _ request: EdgeRequest, _ connection: HTTPConnection, length: Int) {
        self.service = service
        self.request = request
        self.connection = connection
        self.length = length
        service.memory.ask(length, for: self) { [unowned self] grant in granted(grant) }
    }

    private func granted(_ grant: UploadMemory.Grant) {
        guard !isOver else { return }
        self.grant = grant
        let buffer = SendBuffer(capacity: length)
        early.withUnsafeBytes { _ = buffer.append($0) }
        early = []
        self.buffer = buffer
        connection.resumeBody()
        sendWhenWhole()
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        if let buffer {
            _ = buffer.append(bytes)
        } else {
            early += bytes
            connection.pauseBody()
        }
    }

    func finish(trailers: [(name: String, value: String)]) {
        self.trailers = trailers
        // Whoever waits for memory with a whole body is held by nothing else.
        connection.pending = self
        sendWhenWhole()
    }

    func clientWentAway() { abandon(nil) }

    private func sendWhenWhole() {
        guard !isOver, let trailers, let buffer else { return }
        isOver = true
        let headers = request.hasTrailers || request.payload == "UNSIGNED-PAYLOAD" ? request.passedHeadersDecoded : request.passedHeaders
        let head = service.head(request, headers + trailers, payload: request.payload, length: length)
        let relay = AnswerRelay(service, request, connection)
        relay.start(
            HTTPExchange(head: head, body: .whole(buffer), attemptsMax: request.method == "POST" ? 1 : 2, receiver: Holding(relay, grant)))
    }

    func abandon(_ fault: EdgeFault?) {
        isOver = true
        grant = nil
        buffer = nil
        fault?.send(on: connection, resource: request.path)
    }

    /// The memory is the call's until its answer has come.
    private final class Holding: AnswerReceiver {
        private let relay: AnswerRelay
        private var grant: UploadMemory.Grant?

        init(_ relay: AnswerRelay, _ grant: UploadMemory.Grant?) {
            self.relay = relay
            self.grant = grant
        }

        func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) { relay.answered(head, bytes) }
        func received(_ bytes: UnsafeRawBufferPointer) { relay.received(bytes) }
        func ended() { relay.ended() }
        func failed(_ failure: OriginFailure) { relay.failed(failure) }
    }
}

/// A request whose body is sent as it comes, over one connection.
///
/// Invariants: 1. at most `Limits.edgeStreamBytesMax` and one read wait for the origin. 2. Trailers stay trailers, in a coding of our own.
///
/// Thread rule: the loop's thread.
final class StreamedCall: UploadBody, AnswerReceiver {
    private static let chunkBytes = 64 * 1024

    private let service: EdgeService
    private let request: EdgeRequest
    private let connection: HTTPConnection
    private let relay: AnswerRelay
    /// Bytes that cannot go yet: before the connection is there, or less than a chunk.
    private let waiting = ByteBuffer()
    private let codesChunks: Bool
    private var exchange: HTTPExchange?
    private var isOpen = false
    private var trailers: [(name: String, value: String)]?
    private var isOver = false

    init(_ service: EdgeService, _ request: EdgeRequest, _ connection: HTTPConnection, length: Int) {
        self.service = service
        self.request = request
        self.connection = connection
        relay = AnswerRelay(service, request, connection)
        codesChunks = request.hasTrailers
        var headers = request.passedHeaders
        var (payload, sent) = (request.payload, length)
        if codesChunks, let name = request.header("x-amz-trailer") {
            payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
            sent = Self.codedBytes(length, trailer: name)
        } else if request.authorization != nil, payload == "UNSIGNED-PAYLOAD" {
            headers = request.passedHeadersDecoded
        }
        let head = service.head(request, headers, payload: payload, length: sent)
        let exchange = HTTPExchange(head: head, body: .streamed, receiver: self)
        self.exchange = exchange
        service.origin.send(exchange)
    }

    /// Lengths of checksums in base64, by the trailer's name.
    private static func checksumBytes(_ name: String) -> Int {
        switch name.lowercased() {
        case "x-amz-checksum-sha256": 44
        case "x-amz-checksum-sha1": 28
        case "x-amz-checksum-crc64nvme": 12
        default: 8
        }
    }

    private static func codedBytes(_ length: Int, trailer: String) -> Int {
        func chunk(_ bytes: Int) -> Int { bytes == 0 ? 0 : String(bytes, radix: 16).utf8.count + 2 + bytes + 2 }
        let whole = length / chunkBytes
        return whole * chunk(chunkBytes) + chunk(length % chunkBytes) + 3 + trailer.utf8.count + 1 + checksumBytes(trailer) + 2 + 2
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        waiting.append(bytes)
        pass()
    }

    func finish(trailers: [(name: String, value: String)]) {
        self.trailers = trailers
        pass()
    }

    private func pass() {
        guard isOpen, let exchange else {
            if trailers == nil { connection.pauseBody() }
            return
        }
        if codesChunks {
            while waiting.count >= Self.chunkBytes { writeChunk(Self.chunkBytes, exchange) }
        } else {
            exchange.write(waiting.bytes)
            waiting.clear()
        }
        if let trailers {
            if codesChunks { writeEnd(trailers, exchange) }
            self.trailers = nil
            connection.pending = relay
            exchange.finishWriting()
        } else if exchange.queuedBytes > Limits.edgeStreamBytesMax {
            connection.pauseBody()
        }
    }

    private func writeChunk(_ count: Int, _ exchange: HTTPExchange) {
        let coded = ByteBuffer(capacity: count + 32)
        coded.appendChunk(UnsafeRawBufferPointer(rebasing: waiting.bytes[..<count]))
        waiting.consume(count)
        exchange.write(coded.bytes)
    }

    private func writeEnd(_ trailers: [(name: String, value: String)], _ exchange: HTTPExchange) {
        if !waiting.isEmpty { writeChunk(waiting.count, exchange) }
        let end = ByteBuffer()
        end.append("0\r\n" as StaticString)
        for trailer in trailers { end.append("\(trailer.name):\(trailer.value)\r\n") }
        end.append("\r\n" as StaticString)
        exchange.write(end.bytes)
    }

    func abandon(_ fault: EdgeFault?) {
        guard !isOver else { return }
        isOver = true
        // The origin sees a body that breaks off, and keeps nothing of it.
        exchange?.cancel()
        exchange = nil
        fault?.send(on: connection, resource: request.path)
    }

    // MARK: AnswerReceiver

    func began() {
        isOpen = true
        if !waiting.isEmpty || trailers != nil { pass() }
        connection.resumeBody()
    }

    func bodyHasLeft() { if !isOver { connection.resumeBody() } }

    func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) {
        isOver = true
        relay.answered(head, bytes)
    }

    func received(_ bytes: UnsafeRawBufferPointer) { relay.received(bytes) }

    func ended() {
        exchange = nil
        relay.ended()
    }

    func failed(_ failure: OriginFailure) {
        isOver = true
        exchange = nil
        relay.failed(failure)
    }
}
