package import Base
internal import Catalog
internal import HTTP
package import Invoker
package import Net
internal import Sandbox
package import SigV4
internal import UV

/// The front listener's functions: `http://FRONT/NAME/…` with Lambda's function-URL payload format 2.0 both ways.
package final class FunctionURLService: HTTPService {
    let invoker: Invoker
    private let arnPrefix: String
    /// The port that `x-forwarded-port` tells.
    package var port = 0
    private let trace = ByteBuffer(capacity: 64)
    private let arn = ByteBuffer(capacity: 256)
    private let scratch = FunctionURLRenderer.Scratch()
    private let verifier: Verifier

    /// - Parameters:
    ///   - arnPrefix: `arn:aws:lambda:REGION:ACCOUNT:function:`
    ///   - credentials: of the node, whose owner may have routes made anew.
    package init(invoker: Invoker, arnPrefix: String, credentials: Credentials) {
        verifier = Verifier { $0 == credentials.accessKeyID ? credentials.secretAccessKey : nil }
        self.invoker = invoker
        self.arnPrefix = arnPrefix
    }

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.eventBytesMax }

    package func handle(_ request: HTTPRequest) {
        let (name, rawPath) = target(of: request)
        guard let function = invoker.snapshot.function(named: name) else { return notFound(request, name) }
        invoke(function, request, rawPath: rawPath)
    }

    /// Of "/NAME" or "/NAME/rest".
    @inline(__always) func target(of request: HTTPRequest) -> (name: UnsafeRawBufferPointer, rawPath: UnsafeRawBufferPointer) {
        let path = request.path
        var end = 1
        while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
        let rest = UnsafeRawBufferPointer(rebasing: path[end...])
        let root: StaticString = "/"
        return (
            UnsafeRawBufferPointer(rebasing: path[min(1, path.count)..<end]),
            rest.isEmpty ? UnsafeRawBufferPointer(start: root.utf8Start, count: 1) : rest
        )
    }

    private func invoke(_ function: FunctionEntry, _ request: HTTPRequest, rawPath: UnsafeRawBufferPointer) {
        let call = Call(request: request, function: function, rawPath: rawPath, id: invoker.makeRequestID(), arrived: invoker.loop.now)
        guard let plan = invoker.memo.plan(of: function.front.version, of: function) else { return run(call, nil) }
        if let route = plan.route(method: request.slice(request.head.methodRange), path: rawPath) { return recall(route, call) }
        guard let rule = plan.rule else { return run(call, nil) }
        recall(rule, call)
    }

    /// One request on its way.
    struct Call {
        let request: HTTPRequest
        let function: FunctionEntry
        let rawPath: UnsafeRawBufferPointer
        let id: RequestID
        let arrived: Moment
        /// Once it is made.
        var message: InvocationMessage?
        /// A warning that its answer carries.
        var warning: StaticString?
    }

    /// A memoized function: answered from the store of results, or run.
    private func recall(_ rule: MemoRule, _ call: Call) {
        var call = call
        if rule.form.needsEvent { call.message = makeMessage(call) }
        guard RequestKey.isMemoized(call.request) else { return run(call, invoker.memo.alone(rule, .bypass("method"))) }
        guard RequestKey.make(invoker.memo.key, rule, call.request, call.rawPath, event: call.message?.event) else {
            return run(call, invoker.memo.alone(rule, .bypass("nothing-selected")))
        }
        lookUp(rule, call)
    }

    /// A route whose responses are cached (7.3.26 to 7.3.34).
    private func recall(_ route: RouteRule, _ call: Call) {
        if route.isOff { return run(call, invoker.memo.alone(route.rule, .bypass("route-off"))) }
        var call = call
        let wantsNew = RequestKey.asksForNew(call.request)
        let isRefresh = wantsNew && isSigned(call.request)
        if wantsNew, !isRefresh {
            switch route.unauthorized {
            case .fail:
                let body: StaticString =
                    "{\"message\":\"Cache-Control: max-age=0 is for requests that are signed with the credentials of this Hearth.\"}\n"
                return call.request.connection.respond(
                    403, type: "application/json", UnsafeRawBufferPointer(start: body.utf8Start, count: body.utf8CodeUnitCount))
            case .warn: call.warning = "199 hearth \"Cache-Control was ignored: the request is not signed\""
            case .ignore: break
            }
        }
        RequestKey.make(invoker.memo.key, route, call.request, call.rawPath, isSigned: isRefresh)
        if isRefresh { invoker.memo.forgetKey(route.rule, at: call.arrived) }
        lookUp(route.rule, call)
    }

    /// Is it signed with the node's credentials?
    func isSigned(_ request: HTTPRequest) -> Bool {
        guard request.header(.authorization) != nil else { return false }
        return (try? verifier.verify(
            signedParts(of: request), body: request.body, services: ["lambda"], epochSeconds: Loop.epochMilliseconds / 1000)) != nil
    }

    private func lookUp(_ rule: MemoRule, _ call: Call) {
        switch invoker.memo.lookup(rule, form: self, at: call.arrived) {
        case .hit(let hit, let ticket):
            let by = AnsweredBy(call.id, call.function, call.function.front, warning: call.warning)
            FunctionURLAnswer(by, call.request.connection, invoker, scratch).send(hit.outcome)
            guard let ticket else { return }
            let invocation = Invocation(
                function: call.function, resolution: call.function.front, message: call.message ?? makeMessage(call),
                arrived: call.arrived, client: NoClient())
            invocation.ticket = ticket
            invoker.invoke(invocation)
        case .run(let ticket): run(call, ticket)
        }
    }

    func makeMessage(_ call: Call) -> InvocationMessage {
        // A trace goes on; none is begun here.
        trace.clear()
        if let given = call.request.header(.amznTraceID), given.count <= 256 { trace.append(given) }
        let event = FunctionURLEvent(
            request: call.request, function: call.function.name, rawPath: call.rawPath, requestID: call.id, traceID: trace.bytes,
            epochMilliseconds: Loop.epochMilliseconds, port: port)
        let message = beginMessage(
            call.id, call.function, call.function.front, arnPrefix: arnPrefix, trace: trace.bytes,
            clientContext: UnsafeRawBufferPointer(start: nil, count: 0), eventBytes: event.bytesExpected, scratch: arn)
        event.write(to: message.frame)
        return message
    }

    private func run(_ call: Call, _ ticket: MemoTicket?) {
        let client = FunctionURLClient(call.request.connection, invoker, scratch, warning: call.warning)
        let invocation = Invocation(
            function: call.function, resolution: call.function.front, message: call.message ?? makeMessage(call), arrived: call.arrived,
            client: client)
        invocation.ticket = ticket
        if ticket == nil, RequestKey.isMemoized(call.request) { invocation.adviceHash = RequestKey.hash(call.request, call.rawPath) }
        client.invocation = invocation
        call.request.connection.pending = client
        invoker.invoke(invocation)
    }

    private func notFound(_ request: HTTPRequest, _ name: UnsafeRawBufferPointer) {
        let body = ByteBuffer()
        if request.path.count == 1 {
            body.append(#"{"message":"Functions are at /NAME/.","functions":["#)
            for (index, function) in invoker.snapshot.functions.enumerated() {
                if index > 0 { body.append(",") }
                body.append(jsonString: "/\(function.name)/")
            }
            body.append("]}\n")
            return request.connection.respond(200, type: "application/json", body.bytes)
        }
        body.append(#"{"message":"#)
        body.append(jsonString: "No function named '\(String(decoding: name.prefix(64), as: UTF8.self))' is deployed: see hearth list.")
        body.append("}\n")
        request.connection.respond(404, type: "application/json", body.bytes)
    }
}

extension FunctionURLService: ResultForm {
    /// What is no response is not kept: its author is to see it in the log each time.
    package func encode(_ payload: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool {
        guard let (status, body) = try? FunctionURLRenderer(payload: payload, scratch: scratch).render() else { return false }
        RenderedResponse.write(status, scratch.fields.bytes, body, to: out)
        return true
    }
}

/// Waits for one invocation and turns its result into an HTTP response.
private final class FunctionURLClient: InvocationClient, PendingAnswer {
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let scratch: FunctionURLRenderer.Scratch
    private let warning: StaticString?
    /// Until it has finished.
    var invocation: Invocation?

    init(_ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLRenderer.Scratch, warning: StaticString?) {
        self.warning = warning
        self.connection = connection
        self.invoker = invoker
        self.scratch = scratch
    }

    func clientWentAway() {
        if let invocation { invoker.cancel(invocation) }
        invocation = nil
    }

    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) {
        self.invocation = nil
        guard connection.isOpen else { return }
        FunctionURLAnswer(AnsweredBy(invocation, warning: warning), connection, invoker, scratch).send(outcome)
    }
}

/// How an outcome, just made or stored, goes out.
private struct FunctionURLAnswer {
    private let by: AnsweredBy
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let scratch: FunctionURLRenderer.Scratch

    init(_ by: AnsweredBy, _ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLRenderer.Scratch) {
        self.by = by
        self.connection = connection
        self.invoker = invoker
        self.scratch = scratch
    }

    func send(_ outcome: InvocationOutcome) {
        switch outcome.kind {
        case .result:
            FunctionURLResponse(by: by, outcome: outcome, connection: connection, invoker: invoker, scratch: scratch).send()
        case .functionError:
            // What went wrong stands in the function's log; the public is not told.
            respond(502, "Internal Server Error", outcome)
        case .refused(let refusal):
            switch refusal {
            case .cannotStart: respond(502, "Internal Server Error", outcome)
            case .stopping: respond(503, "Service Unavailable", outcome)
            default: throttle(refusal, outcome)
            }
        }
    }

    private func respond(_ status: Int, _ text: StaticString, _ outcome: InvocationOutcome) {
        connection.begin(status)
        appendAnswerFields(by, outcome, to: connection.output)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\n")
        connection.end(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private func throttle(_ refusal: Refusal, _ outcome: InvocationOutcome) {
        connection.begin(429)
        appendAnswerFields(by, outcome, to: connection.output)
        connection.output.append("Content-Type: application/json\r\nRetry-After: 1\r\n")
        var body = #"{"Reason":"\#(refusal.throttleReason ?? "")","Type":"User","message":"Rate Exceeded."}"#
        body.withUTF8 { connection.end(UnsafeRawBufferPointer($0)) }
    }
}
