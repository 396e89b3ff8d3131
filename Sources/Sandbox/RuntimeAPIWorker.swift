internal import Base
internal import CSandbox
internal import Glibc
internal import HTTP
internal import Net
internal import UV

/// A worker whose client speaks the Lambda Runtime API (2018-06-01) over HTTP: stock clients, any `bootstrap`.
///
///     started ──next──▶ ready ──send──▶ running ──response | error──▶ responded ──next──▶ ready
///
/// Each worker has a listener of its own on a loopback port, so a request tells its worker by where it arrived; and each
/// connection is asked once whose it is, so that no other process of the machine takes the worker's invocations.
final class RuntimeAPIWorker: Worker {
    enum State { case started, ready, running, responded }

    private var listener: HTTPListener?
    fileprivate private(set) var state = State.started
    /// The parked `next`.
    private var parked: HTTPConnection?
    private var message: InvocationMessage?
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
        message = nil
        listener?.close()
        listener = nil
    }

    /// `GET invocation/next`.
    func next(_ connection: HTTPConnection) {
        switch state {
        case .running:
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
        guard let message, state == .running, RequestID(id) == message.id else {
            if state == .responded || state == .ready, self.message == nil, RequestID(id) != nil {
                return refuse(connection, 403, "InvalidStateTransition", "State transition from Ready to Response failed")
            }
            return refuse(connection, 400, "InvalidRequestID", "Invalid request ID")
        }
        drainLog()
        peakKiB = max(peakKiB, readPeakKiB())
        state = .responded
        self.message = nil
        accept(connection)
        owner?.workerAnswered(self, WorkerAnswer(kind: kind, payload: request.body, impliesFree: false))
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
    func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.eventBytesMax + 1024 * 1024 }

    func handle(_ request: HTTPRequest) {
        guard let worker else { return request.connection.close() }
        let parts = Array(request.path).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true)
            .map { String(decoding: $0, as: UTF8.self) }
        guard parts.count >= 4, parts[0] == "2018-06-01", parts[1] == "runtime" else {
            return worker.refuse(request.connection, 404, "NotFound", "There is no such call")
        }
        switch (request.head.method, parts[2], parts.count) {
        case (.get, "invocation", 4) where parts[3] == "next":
            worker.next(request.connection)
        case (.post, "invocation", 5) where parts[4] == "response" || parts[4] == "error":
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
        default:
            worker.refuse(request.connection, 404, "NotFound", "There is no such call")
        }
    }
}
