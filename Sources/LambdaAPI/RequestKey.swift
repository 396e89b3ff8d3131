internal import Base
internal import HTTP
internal import Invoker
internal import Net

/// What makes two requests to a function URL equal: what they ask for, and of their sender what the rule says.
///
/// Headers beside those are no part of it, and time, address and request id never are: a function whose answer varies with one says so
/// in `Vary`, and is then not stored.
enum RequestKey {
    /// Methods that ask for something: the others ask that something be done.
    static func isMemoized(_ request: HTTPRequest) -> Bool {
        switch request.head.method {
        case .get, .head, .post: true
        default: false
        }
    }

    /// Makes the key; false when nothing of the event is selected. `event`: for rules that need it.
    static func make(
        _ key: MemoKey, _ rule: MemoRule, _ request: HTTPRequest, _ rawPath: UnsafeRawBufferPointer, event: UnsafeRawBufferPointer?
    ) -> Bool {
        key.begin(rule, .functionURL)
        if let event {
            // The method decides what becomes of the body, whatever the expression selects.
            key.add(request.slice(request.head.methodRange))
            guard key.add(event: event, rule.form) else { return false }
        } else {
            key.add(
                method: request.slice(request.head.methodRange), path: rawPath, query: request.query,
                type: request.body.isEmpty ? UnsafeRawBufferPointer(start: nil, count: 0) : request.header(.contentType) ?? UnsafeRawBufferPointer(start: nil, count: 0),
                body: request.body, rule.form)
        }
        switch rule.identity {
        case .none: break
        case .caller:
            addAll("authorization", request, to: key)
            addAll("cookie", request, to: key)
        case .header(let name): name.withUnsafeBytes { addAll($0, request, to: key) }
        }
        key.end(rule)
        return true
    }

    private static func addAll(_ name: StaticString, _ request: HTTPRequest, to key: MemoKey) {
        addAll(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), request, to: key)
    }

    /// Every line of a field, in order: which of two Cookie lines counts is the function's business.
    private static func addAll(_ name: UnsafeRawBufferPointer, _ request: HTTPRequest, to key: MemoKey) {
        for index in 0..<request.head.headerCount where equalsIgnoringCase(request.slice(request.head.headerName(index)), name) {
            key.add(name)
            key.add(request.slice(request.head.headerValue(index)))
        }
    }
}
