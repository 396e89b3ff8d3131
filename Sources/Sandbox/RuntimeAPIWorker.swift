internal import Base
internal import CSandbox
internal import Glibc
internal import HTTP
internal import Net
internal import UV

/// A worker whose client speaks the Lambda Runtime API (2018-06-01) over HTTP: stock clients, any `bootstrap`.
///
///     started ──next──▶ ready ──send──▶ running ──response | error──▶ responded ──next──▶ ready
///                                         └─response in pieces─▶ streaming ─▶──┘
///
/// Each worker has a listener of its own on a loopback port, so a request tells its worker by where it arrived; and each
/// connection is asked once whose it is, so that no other process of the machine takes the worker's invocations.
final class RuntimeAPIWorker: Worker {
    enum State { case started, ready, running, streaming, responded }

    private var listener: HTTPListener?
    fileprivate private(set) var state = State.started
    /// The parked `next`.
    private var parked: HTTPConnection?
    private var message: InvocationMessage?
    /// Where an answer in pieces comes from.
    private var streaming: HTTPConnection?
    /// Has a stranger been refused? Said once.
    private var hasRefused = false

    /// Of a forked worker: the first process of its sandbox, which stands for it until its own process is told. (It may
    /// connect before that.)
    var ancestor: Int32 = -1

    /// Opens the listener; must precede the process, whose environment names the address. Who connects waits until the process
    /// is known, or the one that stands for it.
    ///
    /// - Parameter descriptor: a socket that hearth-init has opened in the worker's own network, where nobody else is.
    func listen(on descriptor: CInt? = nil) throws {
        // The connection rests while an invocation runs, for up to 15 minutes.
        var patient = HTTPTimeouts()
        patient.keepAlive = 1 << 40
        // And an answer may come in pieces as slowly as its handler makes them.
        patient.body = 1 << 40
        listener = try HTTPListener(
            loop: loop, host: "127.0.0.1", port: 0, service: RuntimeAPI(worker: self), timeouts: patient,
            descriptor: descriptor, admits: descriptor != nil ? nil : { [weak self] in self?.isOwn($0) ?? false })
        if descriptor == nil, ancestor < 0 { listener?.hold() }
    }

    override func processIsKnown() { listener?.release() }

    /// Does the connection come from the worker's own processes? Where the kernel does not tell (no `sock_diag`), it is
    /// believed.
    private func isOwn(_ connection: TCP) -> Bool {
        let pid = self.pid > 0 ? self.pid : ancestor
        guard pid > 0, connection.withDescriptor({ hearth_peer_is_of_group($0, pid) }) == 0 else { return pid > 0 }
        if !hasRefused {
            hasRefused = true
            var line = "hearth: a process that is not of this worker connected to its Runtime API and was refused\n"
            line.withUTF8 { wrote(UnsafeRawBufferPointer($0)) }
        }
        return false
    }

    /// `host:port`, nothing else: stock clients fail on paths and on unix sockets.
    var address: String {
        guard let address = listener?.address else { return "" }
        return "\(address.host):\(address.port)"
    }

    override func send(_ message: InvocationMessage) {
        assert(state == .ready, "an invocation was sent to a worker that is not ready")
        self.message = message
        state = .running
        guard let parked else { return }
        self.parked = nil
        deliver(message, on: parked)
    }

    override func requestStop() { process?.terminate() }

    override func closeProtocol() {
        parked = nil
        streaming = nil
        message = nil
        listener?.close()
        listener = nil
    }

    /// `GET invocation/next`.
    func next(_ connection: HTTPConnection) {
        switch state {
        case .running, .streaming:
            // Asked again while running: the same event again (as AWS's own server does).
            guard let message else { return }
            return deliver(message, on: connection)
        case .started:
            let now = loop.now
            if let zygoteTimes {
                // Its first instruction is not told: the fork is counted from the order.
                times.begin(forkedAt: max(times.ordered, zygoteTimes.ready), from: zygoteTimes)
            } else {
                times.runtimeUp = times.spawned
                times.importBegan = times.spawned
                times.importEnded = now
            }
            times.ready = now
            park(connection)
            state = .ready
            peakKiB = readPeakKiB()
            owner?.workerReady(self)
        case .responded:
            drainLog()
            park(connection)
            state = .ready
            owner?.workerFree(self)
        case .ready:
            park(connection)
        }
    }

    private func park(_ connection: HTTPConnection) {
        connection.pending = ParkedNext(worker: self, connection: connection)
        parked = connection
    }

    fileprivate func unpark(_ connection: HTTPConnection) {
        if parked === connection { parked = nil }
    }

    /// One piece, so that Nagle's algorithm has nothing to hold back; always with a content type: awslambdaric 4.2
    /// crashes without one.
    private func deliver(_ message: InvocationMessage, on connection: HTTPConnection) {
        connection.begin(200)
        let out = connection.output
        out.append("Content-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: ")
        out.append(message.id)
        out.append("\r\nLambda-Runtime-Deadline-Ms: ")
        out.append(decimal: message.deadline)
        out.append("\r\nLambda-Runtime-Invoked-Function-Arn: ")
        out.append(message.slice(message.functionARN))
        out.append("\r\n")
        if !message.traceID.isEmpty {
            out.append("Lambda-Runtime-Trace-Id: ")
            out.append(message.slice(message.traceID))
            out.append("\r\n")
        }
        if !message.clientContext.isEmpty {
            out.append("Lambda-Runtime-Client-Context: ")
            out.append(message.slice(message.clientContext))
            out.append("\r\n")
        }
        connection.end(message.event)
    }

    /// `POST invocation/{id}/response` or `/error`.
    func answered(_ kind: WorkerAnswer.Kind, id: UnsafeRawBufferPointer, _ request: HTTPRequest) {
        let connection = request.connection
        guard mayAnswer(id, connection) else { return }
        accept(connection)
        answered(kind, request.body)
    }

    /// Refuses an answer that is not due.
    private func mayAnswer(_ id: UnsafeRawBufferPointer, _ connection: HTTPConnection) -> Bool {
        if let message, state == .running, RequestID(id) == message.id { return true }
        if state != .started, state != .running, RequestID(id) != nil {
            refuse(connection, 403, "InvalidStateTransition", "State transition from Ready to Response failed")
        } else {
            refuse(connection, 400, "InvalidRequestID", "Invalid request ID")
        }
        return false
    }

    private func answered(_ kind: WorkerAnswer.Kind, _ payload: UnsafeRawBufferPointer) {
        drainLog()
        peakKiB = max(peakKiB, readPeakKiB())
        state = .responded
        message = nil
        streaming = nil
        owner?.workerAnswered(self, WorkerAnswer(kind: kind, payload: payload, impliesFree: false))
    }

    // MARK: Answers in pieces

    override func pauseStream() { streaming?.pauseBody() }
    override func resumeStream() { streaming?.resumeBody() }

    /// Takes the body of `POST invocation/{id}/response` as it comes, if it is this worker's turn.
    fileprivate func beginStream(id: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer, _ connection: HTTPConnection) -> Bool {
        guard mayAnswer(id, connection) else { return false }
        state = .streaming
        streaming = connection
        owner?.workerStreams(self, type: type)
        return true
    }

    fileprivate func streamed(_ bytes: UnsafeRawBufferPointer) {
        if state == .streaming { owner?.workerStreamed(self, bytes) }
    }

    /// `error`: Lambda's error object, if the client broke the stream off; `connection`: to be answered.
    fileprivate func endStream(error: [UInt8]?, _ connection: HTTPConnection?) {
        guard state == .streaming else { return }
        if let connection { accept(connection) }
        guard let error else { return answered(.result, UnsafeRawBufferPointer(start: nil, count: 0)) }
        error.withUnsafeBytes { answered(.error, $0) }
    }

    /// An answer over the limit: refused as AWS words it; the invocation ends with Lambda's error.
    func answeredTooMuch(_ connection: HTTPConnection) {
        guard state == .running else { return }
        drainLog()
        state = .responded
        message = nil
        owner?.workerAnswered(
            self, WorkerAnswer(kind: .tooLarge, payload: .init(start: nil, count: 0), impliesFree: false))
    }

    /// `POST init/error`.
    func initFailed(_ request: HTTPRequest) {
        guard state == .started else {
            return refuse(request.connection, 403, "InvalidStateTransition", "The init phase is over")
        }
        drainLog()
        accept(request.connection)
        owner?.workerInitFailed(self, error: request.body)
    }

    private func accept(_ connection: HTTPConnection) {
        connection.begin(202)
        connection.output.append("Content-Type: application/json\r\n")
        let body: StaticString = #"{"status":"OK"}"#
        connection.end(UnsafeRawBufferPointer(start: body.utf8Start, count: body.utf8CodeUnitCount))
    }

    func refuse(_ connection: HTTPConnection, _ status: Int, _ type: String, _ message: String) {
        connection.begin(status)
        connection.output.append("Content-Type: application/json\r\n")
        var body = #"{"errorMessage":"\#(message)","errorType":"\#(type)"}"#
        body.withUTF8 { connection.end(UnsafeRawBufferPointer($0)) }
    }
}

/// Forgets a parked `next` whose client has gone.
private final class ParkedNext: PendingAnswer {
    private weak var worker: RuntimeAPIWorker?
    private weak var connection: HTTPConnection?

    init(worker: RuntimeAPIWorker, connection: HTTPConnection) {
        self.worker = worker
        self.connection = connection
    }

    func clientWentAway() {
        if let connection { worker?.unpark(connection) }
    }
}

/// The routes of the Runtime API for one worker.
private final class RuntimeAPI: HTTPService {
    private weak var worker: RuntimeAPIWorker?

    init(worker: RuntimeAPIWorker) { self.worker = worker }

    /// The largest answer is taken and judged in `handle`, so that its client reads a proper refusal.
    func bodyBytesMax(_ request: HTTPRequest) -> Int {
        isStream(request) ? Limits.streamedBytesMax : Limits.eventBytesMax + 1024 * 1024
    }

    /// Is the answer to go on as it comes? Node's client, Swift's and others say so; Go's, which sends every answer in chunks,
    /// only by the media type.
    private func isStream(_ request: HTTPRequest) -> Bool {
        guard request.head.method == .post else { return false }
        if let mode = request.header(.lambdaResponseMode) { return mode.elementsEqual("streaming".utf8) }
        guard case .chunked = request.head.framing, let type = request.header(.contentType) else { return false }
        return type.elementsEqual(streamedResponseType.utf8) || type.elementsEqual("application/octet-stream".utf8)
    }

    func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? {
        guard let worker, isStream(request), let call = call(of: request), call.count == 5, call[2] == "invocation", call[4] == "response"
        else { return nil }
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        var id = call[3]
        let begins = id.withUTF8 {
            worker.beginStream(id: UnsafeRawBufferPointer($0), type: request.header(.contentType) ?? empty, request.connection)
        }
        return begins ? StreamIntake(worker, request.connection) : nil
    }

    /// The parts of the path; nil: it is no call of this API.
    private func call(of request: HTTPRequest) -> [String]? {
        let parts = Array(request.path).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true)
            .map { String(decoding: $0, as: UTF8.self) }
        return parts.count >= 4 && parts[0] == "2018-06-01" && parts[1] == "runtime" ? parts : nil
    }

    func handle(_ request: HTTPRequest) {
        guard let worker else { return request.connection.close() }
        guard let parts = call(of: request) else { return refuseOther(request, worker) }
        switch (request.head.method, parts[2], parts.count) {
        case (.get, "invocation", 4) where parts[3] == "next":
            worker.next(request.connection)
        case (.post, "invocation", 5) where parts[4] == "response" || parts[4] == "error":
            if let mode = request.header(.lambdaResponseMode), !mode.elementsEqual("streaming".utf8) {
                return worker.refuse(
                    request.connection, 400, "InvalidFunctionResponseMode", "Invalid function response mode: only streaming can be named")
            }
            if request.body.count > Limits.eventBytesMax {
                worker.refuse(
                    request.connection, 413, "RequestEntityTooLarge",
                    "Exceeded maximum allowed payload size (6291556 bytes).")
                return worker.answeredTooMuch(request.connection)
            }
            var id = parts[3]
            id.withUTF8 {
                worker.answered(parts[4] == "error" ? .error : .result, id: UnsafeRawBufferPointer($0), request)
            }
        case (.post, "init", 4) where parts[3] == "error", (.post, "restore", 4) where parts[3] == "error":
            worker.initFailed(request)
        default: refuseOther(request, worker)
        }
    }

    private func refuseOther(_ request: HTTPRequest, _ worker: RuntimeAPIWorker) {
        for path in ["/2020-01-01/extension/", "/2022-07-01/telemetry", "/2020-08-15/logs"] where request.path.starts(with: path.utf8) {
            return worker.refuse(
                request.connection, 403, "Extension.NotSupported", "Hearth has no extensions and no Telemetry API yet")
        }
        worker.refuse(request.connection, 404, "NotFound", "There is no such call")
    }
}

/// The media type of an HTTP response in pieces: status, headers and cookies as JSON, 8 zero bytes, the body.
package let streamedResponseType = "application/vnd.awslambda.http-integration-response"

/// Passes the body of one answer on as it comes.
private final class StreamIntake: BodyReceiver {
    private let worker: RuntimeAPIWorker
    private let connection: HTTPConnection

    init(_ worker: RuntimeAPIWorker, _ connection: HTTPConnection) {
        self.worker = worker
        self.connection = connection
    }

    func received(_ bytes: UnsafeRawBufferPointer) { worker.streamed(bytes) }

    /// A handler that failed in the midst of its answer says so in trailers; the error object is in base64.
    func ended(trailers: [(name: String, value: [UInt8])]) {
        func trailer(_ name: String) -> [UInt8]? { trailers.first { $0.name == name }?.value }
        guard let type = trailer("lambda-runtime-function-error-type"), !type.isEmpty else { return worker.endStream(error: nil, connection) }
        let body = ByteBuffer()
        if let given = trailer("lambda-runtime-function-error-body"), given.withUnsafeBytes({ Base64.decode($0, into: body) }),
            JSONCheck.validate(body.bytes) == nil
        {
            return worker.endStream(error: Array(body.bytes), connection)
        }
        body.clear()
        body.append("{\"errorType\":")
        body.append(jsonString: String(decoding: type, as: UTF8.self))
        body.append(",\"errorMessage\":\"The handler failed in the midst of its answer\"}")
        worker.endStream(error: Array(body.bytes), connection)
    }

    func broken(status: Int, reason: StaticString) {
        let isTooLarge = status == 413
        worker.endStream(error: Array((isTooLarge ? Self.tooLarge : Self.truncated).utf8), nil)
        worker.refuse(
            connection, status, isTooLarge ? "RequestEntityTooLarge" : "TruncatedHTTPRequest", "The answer could not be read to its end")
    }

    func clientWentAway() { worker.endStream(error: Array(Self.truncated.utf8), nil) }

    private static let truncated = #"{"errorType":"Runtime.TruncatedResponse","errorMessage":"The runtime broke its answer off"}"#
    private static let tooLarge =
        #"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (\#(Limits.streamedBytesMax) bytes)."}"#
}
