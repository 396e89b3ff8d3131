package import Base
internal import Catalog
internal import HTTP
package import IAM
package import Invoker
package import Net
internal import Sandbox
internal import SigV4
internal import UV

/// The front listener's functions: `http://FRONT/NAME/…` and `http://FRONT/NAME:ALIAS/…`, for whom their function URLs let in; with
/// Lambda's function-URL payload format 2.0 both ways.
package final class FunctionURLService: HTTPService {
    let invoker: Invoker
    private let arnPrefix: String
    /// The port that `x-forwarded-port` tells.
    package var port = 0
    private let trace = ByteBuffer(capacity: 64)
    private let arn = ByteBuffer(capacity: 256)
    private let scratch = FunctionURLRenderer.Scratch()
    private let verifier: Verifier
    private let account: String

    /// - Parameters:
    ///   - arnPrefix: `arn:aws:lambda:REGION:ACCOUNT:function:`
    ///   - keyring: whose callers may use URLs with AWS_IAM and have cached responses made anew, if their policies allow it.
    package init(invoker: Invoker, arnPrefix: String, keyring: Keyring) {
        verifier = Verifier(keyring)
        account = keyring.account
        self.invoker = invoker
        self.arnPrefix = arnPrefix
    }

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.eventBytesMax }

    package func handle(_ request: HTTPRequest) {
        let target = target(of: request)
        guard let function = invoker.snapshot.function(named: target.name) else { return notFound(request, target.name) }
        guard let (url, resolution) = resolve(target, function) else { return URLRefusal.forbidden(request, invoker) }
        admit(request, function, url, resolution, target.rawPath)
    }

    /// The function URL that a request goes to and the version that serves it; nil: there is no such alias.
    func resolve(_ target: Target, _ function: FunctionEntry) -> (FunctionURL?, Resolution)? {
        guard let raw = target.alias else { return (function.frontURL, function.front(draw: invoker.randomBits())) }
        let alias = String(decoding: raw, as: UTF8.self)
        guard let resolution = function.resolve(qualifier: alias, draw: invoker.randomBits()) else { return nil }
        return (function.url(ofAlias: alias), resolution)
    }

    /// What a path names.
    struct Target {
        let name: UnsafeRawBufferPointer
        let alias: UnsafeRawBufferPointer?
        let rawPath: UnsafeRawBufferPointer
    }

    /// Of "/NAME", "/NAME/rest" or "/NAME:ALIAS/rest".
    @inline(__always) func target(of request: HTTPRequest) -> Target {
        let path = request.path
        var end = 1
        var colon: Int?
        while end < path.count, path[end] != UInt8(ascii: "/") {
            if path[end] == UInt8(ascii: ":"), colon == nil { colon = end }
            end += 1
        }
        let rest = UnsafeRawBufferPointer(rebasing: path[end...])
        let root: StaticString = "/"
        return Target(
            name: UnsafeRawBufferPointer(rebasing: path[min(1, path.count)..<(colon ?? end)]),
            alias: colon.map { UnsafeRawBufferPointer(rebasing: path[($0 + 1)..<end]) },
            rawPath: rest.isEmpty ? UnsafeRawBufferPointer(start: root.utf8Start, count: 1) : rest)
    }

    /// Past the URL's own gates: is there one, may this caller use it?
    private func admit(
        _ request: HTTPRequest, _ function: FunctionEntry, _ url: FunctionURL?, _ resolution: Resolution, _ rawPath: UnsafeRawBufferPointer
    ) {
        guard let url else { return URLRefusal.noURL(request, invoker, function) }
        var call = Call(
            request: request, function: function, resolution: resolution, rawPath: rawPath, id: invoker.makeRequestID(),
            arrived: invoker.loop.now)
        call.isBuffered = url.settings.invokeMode != FunctionURL.streaming
        if let settings = url.settings.cors {
            let cors = CORS(settings: settings)
            if cors.answerPreflight(request) { return }
            call.cors = cors.fields(for: request)
            call.hasCORS = true
        }
        if url.isSigned {
            guard let caller = signer(request) else { return URLRefusal.unsigned(request, invoker, call.cors) }
            guard may(caller, "lambda:InvokeFunctionUrl", call) else { return URLRefusal.forbidden(request, invoker, call.cors) }
            call.caller = caller
        } else if !url.isOpen {
            return URLRefusal.forbidden(request, invoker, call.cors)
        }
        invoke(call)
    }

    private func invoke(_ call: Call) {
        let request = call.request
        guard let plan = invoker.memo.plan(of: call.resolution.version, of: call.function) else { return run(call, nil) }
        if let route = plan.route(method: request.slice(request.head.methodRange), path: call.rawPath) { return recall(route, call) }
        guard let rule = plan.rule else { return run(call, nil) }
        recall(rule, call)
    }

    /// One request on its way.
    struct Call {
        let request: HTTPRequest
        let function: FunctionEntry
        let resolution: Resolution
        let rawPath: UnsafeRawBufferPointer
        let id: RequestID
        let arrived: Moment
        /// Who has signed it, where that is asked for.
        var caller: Identity?
        /// Fields for pages of other origins; nil: none.
        var cors: [UInt8]?
        /// Does the URL say what pages of other origins may? Then the function does not.
        var hasCORS = false
        /// Is the URL's mode BUFFERED?
        var isBuffered = false
        /// Once it is made.
        var message: InvocationMessage?
        /// A warning that its answer carries.
        var warning: StaticString?

        var by: AnsweredBy { AnsweredBy(id, function, resolution, warning: warning, cors: cors, hasCORS: hasCORS) }
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
        let isRefresh = wantsNew && mayMakeAnew(call)
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

    /// Is it signed by somebody who may have a cached response made anew?
    func mayMakeAnew(_ call: Call) -> Bool {
        signer(call.request).map { may($0, "execute-api:InvalidateCache", call) } ?? false
    }

    private func may(_ identity: Identity, _ action: String, _ call: Call) -> Bool {
        let context = requestContext(
            peer: call.request.connection.peerHost, userAgent: nil, epochSeconds: Loop.epochMilliseconds / 1000)
        return identity.caller.account == account
            && identity.caller.refusal(action, on: arnPrefix + call.function.name, context) == nil
    }

    /// Who has signed a request; nil: nobody who is known here.
    private func signer(_ request: HTTPRequest) -> Identity? {
        guard request.header(.authorization) != nil else { return nil }
        return try? verifier.verify(
            signedParts(of: request), body: request.body, services: ["lambda"], epochSeconds: Loop.epochMilliseconds / 1000)
    }

    private func lookUp(_ rule: MemoRule, _ call: Call) {
        switch invoker.memo.lookup(rule, form: self, at: call.arrived) {
        case .hit(let hit, let ticket):
            FunctionURLAnswer(call.by, call.request.connection, invoker, scratch).send(hit.outcome)
            guard let ticket else { return }
            let invocation = Invocation(
                function: call.function, resolution: call.resolution, message: call.message ?? makeMessage(call),
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
            epochMilliseconds: Loop.epochMilliseconds, port: port, caller: call.caller)
        let message = beginMessage(
            call.id, call.function, call.resolution, arnPrefix: arnPrefix, trace: trace.bytes,
            clientContext: UnsafeRawBufferPointer(start: nil, count: 0), eventBytes: event.bytesExpected, scratch: arn)
        event.write(to: message.frame)
        return message
    }

    private func run(_ call: Call, _ ticket: MemoTicket?) {
        let client = FunctionURLClient(call.request.connection, invoker, scratch, call.by, isBuffered: call.isBuffered)
        let invocation = Invocation(
            function: call.function, resolution: call.resolution, message: call.message ?? makeMessage(call), arrived: call.arrived,
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
            for (index, function) in invoker.snapshot.functions.filter({ $0.frontURL?.isOpen == true }).enumerated() {
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
    private let by: AnsweredBy
    /// Must an answer that comes in pieces be had whole?
    private let isBuffered: Bool
    /// Until it has finished.
    var invocation: Invocation?
    private var stream: FunctionURLStream?

    init(_ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLRenderer.Scratch, _ by: AnsweredBy, isBuffered: Bool) {
        self.by = by
        self.isBuffered = isBuffered
        self.connection = connection
        self.invoker = invoker
        self.scratch = scratch
    }

    func clientWentAway() {
        if let invocation { invoker.cancel(invocation) }
        invocation = nil
        stream?.readerIsReady()
    }

    func canWrite() { stream?.readerIsReady() }

    func begins(_ invocation: Invocation, _ stream: ResponseStream) -> (any ResponseStreamTaker)? {
        if isBuffered { return nil }
        self.stream = FunctionURLStream(by, stream, connection, invoker, scratch)
        return self.stream
    }

    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) {
        self.invocation = nil
        guard connection.isOpen else { return }
        if let stream { return stream.finished(outcome) }
        FunctionURLAnswer(by, connection, invoker, scratch).send(outcome)
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
