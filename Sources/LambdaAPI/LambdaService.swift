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

    package init(invoker: Invoker, control: LambdaControl, events: EventDispatcher) {
        self.invoker = invoker
        self.events = events
        self.control = control
        arnPrefix = control.arn("")
    }

    private static let invocationsPath: StaticString = "/invocations"

    private func isInvoke(_ request: HTTPRequest) -> Bool {
        request.head.method == .post && invokeName(request.path) != nil
    }

    /// `/2015-03-31/functions/{F}/invocations`: the bytes of `{F}`.
    private func invokeName(_ path: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let prefix: StaticString = "/2015-03-31/functions/"
        var end = path.count
        if end > 0, path[end - 1] == UInt8(ascii: "/") { end -= 1 }
        let suffix = Self.invocationsPath
        guard end > prefix.utf8CodeUnitCount + suffix.utf8CodeUnitCount,
            UnsafeRawBufferPointer(rebasing: path[..<prefix.utf8CodeUnitCount]).elementsEqual(
                UnsafeRawBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount)),
            UnsafeRawBufferPointer(rebasing: path[(end - suffix.utf8CodeUnitCount)..<end]).elementsEqual(
                UnsafeRawBufferPointer(start: suffix.utf8Start, count: suffix.utf8CodeUnitCount))
        else { return nil }
        return UnsafeRawBufferPointer(rebasing: path[prefix.utf8CodeUnitCount..<end - suffix.utf8CodeUnitCount])
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
        if request.head.method == .post, let name = invokeName(request.path) { return invoke(request, name, caller) }
        var query: [String: String] = [:]
        for part in request.query.split(separator: UInt8(ascii: "&")) {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
                let raw = UnsafeRawBufferPointer(rebasing: bytes)
                return String(decoding: percentDecode(raw, plusIsSpace: true) ?? Array(raw), as: UTF8.self)
            }
            query[text(pair[0])] = pair.count > 1 ? text(pair[1]) : ""
        }
        let path = request.path.split(separator: UInt8(ascii: "/")).map { part in
            let raw = UnsafeRawBufferPointer(rebasing: part)
            return String(decoding: percentDecode(raw, plusIsSpace: false) ?? Array(raw), as: UTF8.self)
        }
        let call = ControlRequest(
            method: request.text(request.head.methodRange), path: path, query: query, body: Array(request.body),
            host: request.header(.host).map { String(decoding: $0, as: UTF8.self) } ?? "", epochMilliseconds: Int64(Loop.epochMilliseconds),
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
        guard let requested = function.provisioned[qualifier], let resolution = function.resolve(qualifier: qualifier) else {
            return nil
        }
        let pool = invoker.existingPool(of: resolution.version)
        let ready = min(requested, pool?.gauges.provisionedReady ?? 0)
        let inUse = pool?.gauges.provisionedInUse ?? 0
        let failure = pool?.cannotStart ?? pool?.initError.map { String(decoding: $0, as: UTF8.self) }
        let status = ready >= requested ? "READY" : failure != nil ? "FAILED" : "IN_PROGRESS"
        return ProvisionedConfiguration(
            FunctionArn: withARN ? control.arn(function.name, qualifier) : nil,
            RequestedProvisionedConcurrentExecutions: requested,
            AvailableProvisionedConcurrentExecutions: max(0, ready - inUse), AllocatedProvisionedConcurrentExecutions: ready,
            Status: status, StatusReason: status == "FAILED" ? "FUNCTION_ERROR_INIT_FAILURE: \(failure ?? "")" : nil,
            LastModified: FunctionConfiguration.time(resolution.version.lastModifiedMilliseconds))
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

    private func invoke(_ request: HTTPRequest, _ name: UnsafeRawBufferPointer, _ caller: Caller) {
        let arrived = invoker.loop.now
        let id = invoker.makeRequestID()
        do throws(LambdaFault) {
            if !caller.isRoot { try authorize(request, name, caller) }
            let (function, resolution) = try resolve(request, name)
            let type = request.header(.amzInvocationType).map { String(decoding: $0, as: UTF8.self) } ?? "RequestResponse"
            switch type {
            case "RequestResponse": try invoke(request, id, function, resolution, arrived)
            case "DryRun":
                request.connection.begin(204)
                request.connection.output.appendField("x-amzn-RequestId", id)
                request.connection.endWithoutBody()
            case "Event": try accept(request, id, function, resolution)
            default:
                throw .validation(type, at: "invocationType", .oneOf(["Event", "RequestResponse", "DryRun"]))
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
            let resolution = function.resolve(qualifier: reference.qualifier)
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
        _ request: HTTPRequest, _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, _ arrived: Moment
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
        let wantsTail = request.header(.amzLogType).map { $0.elementsEqual("Tail".utf8) } ?? false
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
        var fault: LambdaFault
        switch refusal {
        case .cannotStart(let sentence):
            fault = LambdaFault(status: 502, type: "InvalidRuntimeException", message: sentence, capitalised: true)
        case .stopping:
            fault = LambdaFault(status: 503, type: "ServiceException", message: "Hearth is stopping", capitalised: true)
        default:
            fault = .throttled
            fault.extra["Reason"] = refusal.throttleReason
        }
        LambdaService.send(fault, by.id, on: connection, retryAfter: fault.status == 429)
    }
}
