package import AsyncInvoke
internal import Base
internal import Catalog
internal import Dispatch
internal import EventQueue
internal import Foundation
internal import HTTP
package import IAM
package import Invoker
package import Net
internal import Sandbox
package import SigV4
internal import UV

/// The Lambda API on the API listener: Invoke on the loop, everything else on the control queue.
package final class LambdaService {
    private let invoker: Invoker
    private let control: LambdaControl
    private let events: EventDispatcher
    private let queue = DispatchQueue(label: "hearth.control")
    private let arnPrefix: String
    private let arn = ByteBuffer(capacity: 256)
    /// Where function URLs are.
    package var front = FrontAddress(host: "127.0.0.1", port: 0)

    package init(invoker: Invoker, control: LambdaControl, events: EventDispatcher) {
        self.invoker = invoker
        self.events = events
        self.control = control
        arnPrefix = control.arn("")
    }

    /// The two calls that run a function, by their paths.
    private enum InvokeKind: CaseIterable {
        case whole, stream

        var ends: (prefix: StaticString, suffix: StaticString) {
            switch self {
            case .whole: ("/2015-03-31/functions/", "/invocations")
            case .stream: ("/2021-11-15/functions/", "/response-streaming-invocations")
            }
        }
    }

    private func isInvoke(_ request: HTTPRequest) -> Bool { request.head.method == .post && invokeCall(request.path) != nil }

    /// Which of the two it is, and the bytes of `{F}`.
    private func invokeCall(_ path: UnsafeRawBufferPointer) -> (kind: InvokeKind, name: UnsafeRawBufferPointer)? {
        var end = path.count
        if end > 0, path[end - 1] == UInt8(ascii: "/") { end -= 1 }
        func equals(_ bytes: Slice<UnsafeRawBufferPointer>, _ text: StaticString) -> Bool {
            bytes.elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
        for kind in InvokeKind.allCases {
            let (prefix, suffix) = kind.ends
            let (begin, stop) = (prefix.utf8CodeUnitCount, end - suffix.utf8CodeUnitCount)
            if stop > begin, equals(path[..<begin], prefix), equals(path[stop..<end], suffix) {
                return (kind, UnsafeRawBufferPointer(rebasing: path[begin..<stop]))
            }
        }
        return nil
    }

    package func bodyBytesMax(_ request: HTTPRequest) -> Int {
        isInvoke(request) ? Limits.eventBytesMax : Limits.controlBodyBytesMax
    }

    /// In AWS's words; the signature cannot be verified without the body.
    package func refuseTooLarge(_ request: HTTPRequest) {
        let fault =
            isInvoke(request)
            ? LambdaFault(
                status: 413, type: "RequestTooLargeException",
                message: "Request must be smaller than \(Limits.eventBytesMax) bytes for the InvokeFunction operation")
            : LambdaFault(
                status: 413, type: "RequestEntityTooLargeException",
                message: "Request must be smaller than \(Limits.controlBodyBytesMax) bytes for the CreateFunction operation",
                hasType: false)
        Self.send(fault, invoker.makeRequestID(), on: request.connection)
    }

    /// - Parameter caller: who has signed it.
    package func handle(_ request: HTTPRequest, as caller: Caller) {
        if request.head.method == .post, let (kind, name) = invokeCall(request.path) { return invoke(request, kind, name, caller) }
        var query: [String: String] = [:]
        var tagKeys: [String] = []
        for part in request.query.split(separator: UInt8(ascii: "&")) {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
                let raw = UnsafeRawBufferPointer(rebasing: bytes)
                return String(decoding: percentDecode(raw, plusIsSpace: true) ?? Array(raw), as: UTF8.self)
            }
            let (name, value) = (text(pair[0]), pair.count > 1 ? text(pair[1]) : "")
            if name == "tagKeys" { tagKeys.append(value) }
            query[name] = value
        }
        // An empty part is a name that is missing, never a shorter path: DELETE /functions//concurrency deletes no function "concurrency".
        var parts = request.path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if parts.last?.isEmpty == true { parts.removeLast() }
        let path = parts.map { part in
            let raw = UnsafeRawBufferPointer(rebasing: part)
            return String(decoding: percentDecode(raw, plusIsSpace: false) ?? Array(raw), as: UTF8.self)
        }
        let host = request.header(.host).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let call = ControlRequest(
            method: request.text(request.head.methodRange), path: path, query: query, tagKeys: tagKeys, body: Array(request.body),
            host: host, front: front.name(at: host), epochMilliseconds: Int64(Loop.epochMilliseconds),
            caller: caller, peer: request.connection.peerHost)
        run(call, on: request.connection)
    }

    private func run(_ call: ControlRequest, on connection: HTTPConnection) {
        let id = invoker.makeRequestID()
        let box = LoopBound((self, connection), on: invoker.loop)
        queue.async { [control, remote = invoker.loop.remote] in
            let result: Result<ControlAnswer, LambdaFault>
            do throws(LambdaFault) { result = .success(try control.run(call)) } catch { result = .failure(error) }
            remote.post {
                let (service, connection) = box.wrapped
                switch result {
                case .success(let answer): service.send(answer, id, on: connection)
                case .failure(let fault): Self.send(fault, id, on: connection)
                }
            }
        }
    }

    private func send(_ answer: ControlAnswer, _ id: RequestID, on connection: HTTPConnection) {
        switch answer {
        case .json(let status, let body): Self.send(status, body, id, on: connection)
        case .empty(let status):
            connection.begin(status)
            connection.output.appendField("x-amzn-RequestId", id)
            connection.endWithoutBody()
        case .provisioned(let status, let name, let qualifiers, let isList):
            guard let function = invoker.snapshot.function(named: name) else {
                return Self.send(.notFound("Function not found: \(control.arn(name))"), id, on: connection)
            }
            let all = qualifiers.compactMap { provisioned(function, $0, withARN: isList) }
            let encoder = JSONEncoder()
            let body =
                isList
                ? try? encoder.encode(ProvisionedList(ProvisionedConcurrencyConfigs: all))
                : all.first.flatMap { try? encoder.encode($0) }
            Self.send(status, Array(body ?? Data("{}".utf8)), id, on: connection)
        }
    }

    /// What the workers are really like now.
    private func provisioned(_ function: FunctionEntry, _ qualifier: String, withARN: Bool) -> ProvisionedConfiguration? {
        let shares = function.provisionedShares(of: qualifier)
        guard let requested = function.provisioned[qualifier], let first = shares.first else { return nil }
        var (ready, inUse) = (0, 0)
        var failure: String?
        for (version, count) in shares {
            let pool = invoker.existingPool(of: version)
            let own = min(count, pool?.gauges.provisionedReady ?? 0)
            ready += own
            inUse += min(own, pool?.gauges.provisionedInUse ?? 0)
            failure = failure ?? pool?.cannotStart ?? pool?.initError.map { String(decoding: $0, as: UTF8.self) }
        }
        let status = ready >= requested ? "READY" : failure != nil ? "FAILED" : "IN_PROGRESS"
        return ProvisionedConfiguration(
            FunctionArn: withARN ? control.arn(function.name, qualifier) : nil,
            RequestedProvisionedConcurrentExecutions: requested,
            AvailableProvisionedConcurrentExecutions: max(0, ready - inUse), AllocatedProvisionedConcurrentExecutions: ready,
            Status: status, StatusReason: status == "FAILED" ? "FUNCTION_ERROR_INIT_FAILURE: \(failure ?? "")" : nil,
            LastModified: FunctionConfiguration.time(first.version.lastModifiedMilliseconds))
    }

    private static func send(_ status: Int, _ body: [UInt8], _ id: RequestID, on connection: HTTPConnection) {
        connection.begin(status)
        connection.output.append("Content-Type: application/json\r\n")
        connection.output.appendField("x-amzn-RequestId", id)
        body.withUnsafeBytes { connection.end($0) }
    }

    static func send(_ fault: LambdaFault, _ id: RequestID, on connection: HTTPConnection, retryAfter: Bool = false) {
        connection.begin(fault.status)
        let out = connection.output
        out.append("Content-Type: application/json\r\n")
        out.appendField("x-amzn-RequestId", id)
        out.appendField("x-amzn-ErrorType", fault.type)
        if retryAfter { out.append("Retry-After: 1\r\n") }
        let body = ByteBuffer()
        body.append("{")
        for (index, pair) in fault.body.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { body.append(",") }
            body.append(jsonString: pair.key)
            body.append(":")
            if let value = pair.value { body.append(jsonString: value) } else { body.append("null") }
        }
        body.append("}")
        connection.end(body.bytes)
    }

    /// A request whose signature is missing or wrong, in AWS's words.
    package func reject(_ request: HTTPRequest, _ error: SigV4Error) {
        let fault = LambdaFault(status: error.status, type: error.code, message: error.message, hasType: false)
        Self.send(fault, invoker.makeRequestID(), on: request.connection)
    }

    // MARK: Invoke

    private func invoke(_ request: HTTPRequest, _ kind: InvokeKind, _ name: UnsafeRawBufferPointer, _ caller: Caller) {
        let arrived = invoker.loop.now
        let id = invoker.makeRequestID()
        do throws(LambdaFault) {
            if !caller.isRoot { try authorize(request, name, caller) }
            let (function, resolution) = try resolve(request, name)
            let type = request.header(.amzInvocationType).map { String(decoding: $0, as: UTF8.self) } ?? "RequestResponse"
            switch type {
            case "RequestResponse": try invoke(request, kind, id, function, resolution, arrived)
            case "DryRun":
                request.connection.begin(204)
                request.connection.output.appendField("x-amzn-RequestId", id)
                request.connection.endWithoutBody()
            case "Event" where kind == .whole: try accept(request, id, function, resolution)
            default:
                let types = kind == .whole ? ["Event", "RequestResponse", "DryRun"] : ["RequestResponse", "DryRun"]
                throw .validation(type, at: "invocationType", .oneOf(types))
            }
        } catch {
            Self.send(error, id, on: request.connection)
        }
    }

    /// Takes an event for later: 202 when it is on disk.
    private func accept(_ request: HTTPRequest, _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution) throws(LambdaFault) {
        guard request.body.count <= Limits.queuedEventBytesMax else {
            throw LambdaFault(
                status: 413, type: "RequestTooLargeException",
                message: "\(request.body.count) byte payload is too large for the Event invocation type (limit \(Limits.queuedEventBytesMax) bytes)")
        }
        let payload = try event(request)
        let event = NewEvent(
            id: id, function: function.name, qualifier: resolution.qualifier, payload: Array(payload),
            accepted: Int64(Loop.epochMilliseconds))
        events.accept(event) { [connection = request.connection] error in
            guard let error else {
                connection.begin(202)
                connection.output.appendField("x-amzn-RequestId", id)
                return connection.end(UnsafeRawBufferPointer(start: nil, count: 0))
            }
            var fault = LambdaFault(status: 500, type: "ServiceException", message: "\(error)", capitalised: true)
            if case .full = error { fault = .throttled }
            Self.send(fault, id, on: connection, retryAfter: fault.status == 429)
        }
    }

    /// Who is not allowed to invoke is not told either what could be invoked.
    private func authorize(_ request: HTTPRequest, _ raw: UnsafeRawBufferPointer, _ caller: Caller) throws(LambdaFault) {
        let reference = try reference(request, raw)
        let context = requestContext(
            peer: request.connection.peerHost, userAgent: nil, epochSeconds: Loop.epochMilliseconds / 1000)
        let resource = control.arn(reference.name, reference.qualifier)
        if let sentence = caller.refusal("lambda:\(LambdaActions.invoke)", on: resource, context) { throw .denied(sentence) }
    }

    private func reference(_ request: HTTPRequest, _ raw: UnsafeRawBufferPointer) throws(LambdaFault) -> FunctionReference {
        try FunctionReference(
            String(decoding: percentDecode(raw, plusIsSpace: false) ?? Array(raw), as: UTF8.self),
            queryQualifier: queryValue(request.query, "Qualifier"), form: .namespaced, region: control.region, accountID: control.accountID)
    }

    private func resolve(_ request: HTTPRequest, _ raw: UnsafeRawBufferPointer) throws(LambdaFault) -> (FunctionEntry, Resolution) {
        let qualifier = queryValue(request.query, "Qualifier")
        // The usual case: a bare name, found without making a string.
        if qualifier == nil, let function = invoker.snapshot.function(named: raw), let resolution = function.resolve(qualifier: nil) {
            return (function, resolution)
        }
        let reference = try reference(request, raw)
        let shown = control.arn(reference.name, reference.qualifier ?? "$LATEST")
        guard let function = invoker.snapshot.function(named: reference.name),
            let resolution = function.resolve(qualifier: reference.qualifier, draw: invoker.randomBits())
        else { throw .notFound("Function not found: \(shown)") }
        return (function, resolution)
    }

    /// The event of an Invoke: its body, which must be JSON; nothing is `{}`.
    private func event(_ request: HTTPRequest) throws(LambdaFault) -> UnsafeRawBufferPointer {
        let empty: StaticString = "{}"
        let event =
            request.body.isEmpty ? UnsafeRawBufferPointer(start: empty.utf8Start, count: empty.utf8CodeUnitCount) : request.body
        if let problem = JSONCheck.validate(event) {
            throw LambdaFault(
                status: 400, type: "InvalidRequestContentException",
                message: "Could not parse request body into json: Could not parse payload into json: \(problem.reason) (offset \(problem.offset))")
        }
        return event
    }

    private func invoke(
        _ request: HTTPRequest, _ kind: InvokeKind, _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, _ arrived: Moment
    ) throws(LambdaFault) {
        let event = try event(request)
        let context = ByteBuffer(capacity: 16)
        if let given = request.header(.amzClientContext) {
            guard given.count <= 3583, Base64.decode(given, into: context), JSONCheck.validate(context.bytes) == nil else {
                throw LambdaFault(
                    status: 400, type: "InvalidRequestContentException",
                    message: "Client context must be a valid Base64-encoded JSON object.")
            }
        }
        let logType = request.header(.amzLogType)
        let wantsTail = logType.map { $0.elementsEqual("Tail".utf8) } ?? false
        if let logType, !wantsTail, !logType.elementsEqual("None".utf8) {
            throw .validation(String(decoding: logType, as: UTF8.self), at: "logType", .oneOf(["None", "Tail"]))
        }
        if kind == .stream {
            let message = makeMessage(request, id, function, resolution, context, event)
            return InvokeStreamClient.invoke(
                request.connection, invoker, function, resolution, message, arrived: arrived, wantsLogTail: wantsTail)
        }
        var ticket: MemoTicket?
        if let rule = invoker.memo.plan(of: resolution.version, of: function)?.rule {
            switch recall(rule, event, context.bytes, wantsTail, arrived) {
            case .hit(let hit, let task):
                InvokeAnswer(AnsweredBy(id, function, resolution), request.connection).send(hit.outcome)
                guard let task else { return }
                let invocation = Invocation(
                    function: function, resolution: resolution,
                    message: makeMessage(request, id, function, resolution, context, event), arrived: arrived, client: NoClient())
                invocation.ticket = task
                return invoker.invoke(invocation)
            case .run(let given): ticket = given
            }
        }
        let client = InvokeClient(request.connection, invoker)
        let invocation = Invocation(
            function: function, resolution: resolution, message: makeMessage(request, id, function, resolution, context, event),
            arrived: arrived, wantsLogTail: wantsTail, client: client)
        invocation.ticket = ticket
        if ticket == nil, !wantsTail {
            var hash = AdviceHash()
            hash.add(context.bytes)
            hash.add(event)
            invocation.adviceHash = hash.value
        }
        client.invocation = invocation
        request.connection.pending = client
        invoker.invoke(invocation)
    }

    /// Semantic 7.4.37: who asks for the log wants a run, which is neither answered from the store nor stored.
    private func recall(
        _ rule: MemoRule, _ event: UnsafeRawBufferPointer, _ context: UnsafeRawBufferPointer, _ wantsTail: Bool, _ now: Moment
    ) -> MemoAnswer {
        let memo = invoker.memo
        if wantsTail { return .run(memo.alone(rule, .bypass("log-tail"))) }
        guard memo.key.make(rule, event: event, context: context) else { return .run(memo.alone(rule, .bypass("nothing-selected"))) }
        return memo.lookup(rule, form: nil, at: now)
    }

    private func makeMessage(
        _ request: HTTPRequest, _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, _ context: ByteBuffer,
        _ event: UnsafeRawBufferPointer
    ) -> InvocationMessage {
        let trace = ByteBuffer(capacity: 64)
        if let given = request.header(.amznTraceID), given.count <= 256 { trace.append(given) }
        let message = beginMessage(
            id, function, resolution, arnPrefix: arnPrefix, trace: trace.bytes, clientContext: context.bytes,
            eventBytes: event.count, scratch: arn)
        message.frame.append(event)
        return message
    }
}

/// Waits for one invocation and answers it as Lambda's Invoke does.
private final class InvokeClient: InvocationClient, PendingAnswer {
    private let connection: HTTPConnection
    private let invoker: Invoker
    /// Until it has finished.
    var invocation: Invocation?

    init(_ connection: HTTPConnection, _ invoker: Invoker) {
        self.connection = connection
        self.invoker = invoker
    }

    func clientWentAway() {
        if let invocation { invoker.cancel(invocation) }
        invocation = nil
    }

    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) {
        self.invocation = nil
        guard connection.isOpen else { return }
        InvokeAnswer(AnsweredBy(invocation), connection).send(outcome)
    }
}

/// How an outcome, just made or stored, goes out.
private struct InvokeAnswer {
    private let by: AnsweredBy
    private let connection: HTTPConnection

    init(_ by: AnsweredBy, _ connection: HTTPConnection) {
        self.by = by
        self.connection = connection
    }

    func send(_ outcome: InvocationOutcome) {
        switch outcome.kind {
        case .result: answer(outcome, isError: false)
        case .functionError: answer(outcome, isError: true)
        case .refused(let refusal): refuse(refusal)
        }
    }

    private func answer(_ outcome: InvocationOutcome, isError: Bool) {
        connection.begin(200)
        let out = connection.output
        appendAnswerFields(by, outcome, to: out)
        if isError { out.append("X-Amz-Function-Error: Unhandled\r\n") }
        if let tail = outcome.logTail {
            out.append("X-Amz-Log-Result: ")
            Base64.encode(UnsafeRawBufferPointer(rebasing: tail.bytes.suffix(Limits.logTailBytes)), into: out)
            out.append("\r\n")
        }
        out.append("Content-Type: application/json\r\n")
        connection.end(outcome.payload)
    }

    private func refuse(_ refusal: Refusal) {
        let fault = LambdaFault(refusal)
        LambdaService.send(fault, by.id, on: connection, retryAfter: fault.status == 429)
    }
}

extension LambdaFault {
    /// What Invoke answers when nothing has run.
    init(_ refusal: Refusal) {
        switch refusal {
        case .cannotStart(let sentence):
            self = LambdaFault(status: 502, type: "InvalidRuntimeException", message: sentence, capitalised: true)
        case .stopping:
            self = LambdaFault(status: 503, type: "ServiceException", message: "Hearth is stopping", capitalised: true)
        default:
            self = .throttled
            extra["Reason"] = refusal.throttleReason
        }
    }
}
