internal import Base
internal import Catalog
internal import HTTP
package import Invoker
package import Net
internal import Sandbox
internal import UV

/// The front listener's functions: `http://FRONT/NAME/…` with Lambda's function-URL payload format 2.0 both ways.
package final class FunctionURLService: HTTPService {
    private let invoker: Invoker
    private let arnPrefix: String
    /// The port that `x-forwarded-port` tells.
    package var port = 0
    private let trace = ByteBuffer(capacity: 64)
    private let arn = ByteBuffer(capacity: 256)
    private let scratch = FunctionURLResponse.Scratch()

    /// - Parameter arnPrefix: `arn:aws:lambda:REGION:ACCOUNT:function:`
    package init(invoker: Invoker, arnPrefix: String) {
        self.invoker = invoker
        self.arnPrefix = arnPrefix
    }

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.eventBytesMax }

    package func handle(_ request: HTTPRequest) {
        let path = request.path
        // "/NAME" or "/NAME/rest"
        var end = 1
        while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
        let name = UnsafeRawBufferPointer(rebasing: path[min(1, path.count)..<end])
        guard let function = invoker.snapshot.function(named: name) else { return notFound(request, name) }
        let rest = UnsafeRawBufferPointer(rebasing: path[end...])
        let root: StaticString = "/"
        let rawPath = rest.isEmpty ? UnsafeRawBufferPointer(start: root.utf8Start, count: 1) : rest
        invoke(function, request, rawPath: rawPath)
    }

    private func invoke(_ function: FunctionEntry, _ request: HTTPRequest, rawPath: UnsafeRawBufferPointer) {
        let arrived = invoker.loop.now
        let id = invoker.makeRequestID()
        guard let rule = invoker.memo.rule(of: function.front.version) else {
            return run(makeMessage(function, request, rawPath, id), function, request, arrived, nil)
        }
        recall(rule, function, request, rawPath, id, arrived)
    }

    /// Answers from the store of results, or runs.
    private func recall(
        _ rule: MemoRule, _ function: FunctionEntry, _ request: HTTPRequest, _ rawPath: UnsafeRawBufferPointer, _ id: RequestID,
        _ arrived: Moment
    ) {
        var message: InvocationMessage?
        if rule.form.needsEvent { message = makeMessage(function, request, rawPath, id) }
        guard RequestKey.isMemoized(request) else {
            let ticket = invoker.memo.alone(rule, .bypass("method"))
            return run(message ?? makeMessage(function, request, rawPath, id), function, request, arrived, ticket)
        }
        guard RequestKey.make(invoker.memo.key, rule, request, rawPath, event: message?.event) else {
            let ticket = invoker.memo.alone(rule, .bypass("nothing-selected"))
            return run(message ?? makeMessage(function, request, rawPath, id), function, request, arrived, ticket)
        }
        switch invoker.memo.lookup(rule, at: arrived) {
        case .hit(let hit, let ticket):
            FunctionURLAnswer(AnsweredBy(id, function, function.front), request.connection, invoker, scratch).send(hit.outcome)
            guard let ticket else { return }
            let invocation = Invocation(
                function: function, resolution: function.front, message: message ?? makeMessage(function, request, rawPath, id),
                arrived: arrived, client: NoClient())
            invocation.ticket = ticket
            invoker.invoke(invocation)
        case .run(let ticket):
            run(message ?? makeMessage(function, request, rawPath, id), function, request, arrived, ticket)
        }
    }

    private func makeMessage(
        _ function: FunctionEntry, _ request: HTTPRequest, _ rawPath: UnsafeRawBufferPointer, _ id: RequestID
    ) -> InvocationMessage {
        // A trace goes on; none is begun here.
        trace.clear()
        if let given = request.header(.amznTraceID), given.count <= 256 { trace.append(given) }
        let event = FunctionURLEvent(
            request: request, function: function.name, rawPath: rawPath, requestID: id, traceID: trace.bytes,
            epochMilliseconds: Loop.epochMilliseconds, port: port)
        let message = LambdaAPI.makeMessage(
            id, function, function.front, arnPrefix: arnPrefix, trace: trace.bytes,
            clientContext: UnsafeRawBufferPointer(start: nil, count: 0), eventBytes: event.bytesExpected, scratch: arn)
        event.write(to: message.frame)
        return message
    }

    private func run(
        _ message: InvocationMessage, _ function: FunctionEntry, _ request: HTTPRequest, _ arrived: Moment, _ ticket: MemoTicket?
    ) {
        let client = FunctionURLClient(request.connection, invoker, scratch)
        let invocation = Invocation(
            function: function, resolution: function.front, message: message, arrived: arrived, client: client)
        invocation.ticket = ticket
        client.invocation = invocation
        request.connection.pending = client
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

/// A message to a worker whose event is still to be appended. `arn` is a buffer of the caller's, used up.
func makeMessage(
    _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, arnPrefix: String,
    trace: UnsafeRawBufferPointer, clientContext: UnsafeRawBufferPointer, eventBytes: Int, scratch arn: ByteBuffer
) -> InvocationMessage {
    // The ARN in the form in which the function was asked for.
    arn.clear()
    arn.append(arnPrefix)
    arn.append(function.nameBytes)
    if let qualifier = resolution.qualifier {
        arn.append(UInt8(ascii: ":"))
        arn.append(qualifier)
    }
    var version = resolution.executedVersion
    return version.withUTF8 { version in
        InvocationMessage(
            id: id, version: UnsafeRawBufferPointer(version), functionARN: arn.bytes, traceID: trace,
            clientContext: clientContext, eventBytes: eventBytes)
    }
}

/// Waits for one invocation and turns its result into an HTTP response.
private final class FunctionURLClient: InvocationClient, PendingAnswer {
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let scratch: FunctionURLResponse.Scratch
    /// Until it has finished.
    var invocation: Invocation?

    init(_ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLResponse.Scratch) {
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
        FunctionURLAnswer(AnsweredBy(invocation), connection, invoker, scratch).send(outcome)
    }
}

/// How an outcome, just made or stored, goes out.
private struct FunctionURLAnswer {
    private let by: AnsweredBy
    private let connection: HTTPConnection
    private let invoker: Invoker
    private let scratch: FunctionURLResponse.Scratch

    init(_ by: AnsweredBy, _ connection: HTTPConnection, _ invoker: Invoker, _ scratch: FunctionURLResponse.Scratch) {
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
