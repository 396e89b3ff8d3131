internal import Base
internal import Catalog
internal import HTTP
package import Invoker
package import Net
internal import Sandbox
internal import UV

/// What a request would be answered with just now, and why: the walk of `FunctionURLService.handle`, without a step that changes anything.
extension FunctionURLService {
    package func explain(_ request: HTTPRequest) -> RequestTrace {
        var trace = RequestTrace()
        let target = target(of: request)
        trace.function = String(decoding: target.name.prefix(64), as: UTF8.self)
        guard let function = invoker.snapshot.function(named: target.name), let (_, resolution) = resolve(target, function) else {
            return trace
        }
        trace.version = resolution.executedVersion
        let call = Call(
            request: request, function: function, resolution: resolution, rawPath: target.rawPath, id: invoker.makeRequestID(),
            arrived: invoker.loop.now)
        guard let plan = invoker.memo.plan(of: resolution.version, of: function) else {
            trace.end = .runs(function.reserved == 0 ? "the function is switched off" : "it has neither [memoize] nor a [[route]]")
            return trace
        }
        if let route = plan.route(method: request.slice(request.head.methodRange), path: target.rawPath) {
            explain(route, call, &trace)
        } else if let rule = plan.rule {
            explain(rule, call, &trace)
        } else {
            trace.end = .runs("no route means its method and path, and the function has no [memoize]")
        }
        return trace
    }

    private func explain(_ route: RouteRule, _ call: Call, _ trace: inout RequestTrace) {
        let (request, rawPath) = (call.request, call.rawPath)
        trace.rule = route.rule
        trace.route = route.path
        guard !route.isOff else { return trace.end = .runs("the ttl of its route is 0") }
        let wantsNew = RequestKey.asksForNew(request)
        let isRefresh = wantsNew && mayMakeAnew(call)
        if wantsNew, !isRefresh, route.unauthorized == .fail { return trace.end = .refused }
        RequestKey.make(invoker.memo.key, route, request, rawPath, isSigned: isRefresh)
        trace.end = .lookup(key: Array(invoker.memo.key.bytes), isRefresh: isRefresh)
        trace.add("method", request.slice(request.head.methodRange))
        for part in route.parts {
            switch part {
            case .path: trace.add("path", rawPath)
            case .query: trace.add("query", request.query)
            case .parameter(let name):
                trace.add("path.\(text(name))", route.pattern.parameter(name, in: rawPath) ?? UnsafeRawBufferPointer(start: nil, count: 0))
            case .queryValue(let name): addQuery(name, request.query, &trace)
            case .header(let name): addAll(name, request, "header.\(text(name))", &trace)
            }
        }
        if request.head.method != .get, request.head.method != .head { trace.add("body", request.body) }
        addCaller(route.rule, request, isSigned: isRefresh, &trace)
    }

    private func explain(_ rule: MemoRule, _ call: Call, _ trace: inout RequestTrace) {
        trace.rule = rule
        guard RequestKey.isMemoized(call.request) else { return trace.end = .runs("its method asks for more than an answer") }
        let event = rule.form.needsEvent ? makeMessage(call).event : nil
        guard RequestKey.make(invoker.memo.key, rule, call.request, call.rawPath, event: event) else {
            return trace.end = .runs("memoize.key selects nothing of its event")
        }
        trace.end = .lookup(key: Array(invoker.memo.key.bytes), isRefresh: false)
        trace.add("method", call.request.slice(call.request.head.methodRange))
        if rule.form.needsEvent {
            trace.parts.append(("selected by", rule.keyText))
        } else {
            trace.add("path", call.rawPath)
            trace.add("query", call.request.query)
            if !call.request.body.isEmpty {
                trace.add("content-type", call.request.header(.contentType) ?? UnsafeRawBufferPointer(start: nil, count: 0))
                trace.add("body", call.request.body)
            }
        }
        addCaller(rule, call.request, isSigned: false, &trace)
    }

    /// Secrets are not shown: whether they are there.
    private func addCaller(_ rule: MemoRule, _ request: HTTPRequest, isSigned: Bool, _ trace: inout RequestTrace) {
        switch rule.identity {
        case .none: trace.parts.append(("caller", "all callers share it"))
        case .caller:
            let hasAuthorization = !isSigned && request.header(.authorization) != nil
            let present = (hasAuthorization ? ["Authorization"] : []) + (request.header(.cookie) != nil ? ["Cookie"] : [])
            trace.parts.append(("caller", present.isEmpty ? "without Authorization and Cookie" : "by \(present.joined(separator: " and "))"))
        case .header(let name): addAll(name, request, "caller by \(text(name))", &trace)
        }
    }

    private func addAll(_ name: [UInt8], _ request: HTTPRequest, _ label: String, _ trace: inout RequestTrace) {
        var values: [String] = []
        for index in 0..<request.head.headerCount {
            let isMeant = name.withUnsafeBytes { equalsIgnoringCase(request.slice(request.head.headerName(index)), $0) }
            if isMeant { values.append(request.text(request.head.headerValue(index))) }
        }
        trace.parts.append((label, values.isEmpty ? "none" : values.joined(separator: ", ")))
    }

    private func addQuery(_ name: [UInt8], _ query: UnsafeRawBufferPointer, _ trace: inout RequestTrace) {
        var values: [String] = []
        for item in QueryItems(query) {
            let raw = item.name.slice(query)
            guard raw.elementsEqual(name) || percentDecode(raw, plusIsSpace: true) == name else { continue }
            values.append(item.value.map { String(decoding: $0.slice(query), as: UTF8.self) } ?? "")
        }
        trace.parts.append(("query.\(text(name))", values.isEmpty ? "none" : values.joined(separator: ", ")))
    }

    private func text(_ name: [UInt8]) -> String { String(decoding: name, as: UTF8.self) }
}
