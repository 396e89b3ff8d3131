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
            let none = UnsafeRawBufferPointer(start: nil, count: 0)
            key.add(
                method: request.slice(request.head.methodRange), path: rawPath, query: request.query,
                type: request.body.isEmpty ? none : request.header(.contentType) ?? none, body: request.body, rule.form)
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

    /// The key of a route: what it lists, the body where the method has one, and the caller (7.3.27, 7.3.28, 7.3.34).
    ///
    /// - Parameter isSigned: by the node's owner, who makes it anew for those who send no Authorization.
    static func make(_ key: MemoKey, _ route: RouteRule, _ request: HTTPRequest, _ rawPath: UnsafeRawBufferPointer, isSigned: Bool) {
        let rule = route.rule
        key.begin(rule, .route)
        key.add(request.slice(request.head.methodRange))
        for part in route.parts {
            switch part {
            case .path: key.add(rawPath)
            case .query: key.add(request.query)
            case .parameter(let name):
                key.add(route.pattern.parameter(name, in: rawPath) ?? UnsafeRawBufferPointer(start: nil, count: 0))
            case .queryValue(let name): addQuery(name, request.query, to: key)
            case .header(let name): name.withUnsafeBytes { addAll($0, request, to: key) }
            }
            key.endList()
        }
        if request.head.method != .get, request.head.method != .head { key.add(request.body) }
        switch rule.identity {
        case .none: break
        case .caller:
            if !isSigned { addAll("authorization", request, to: key) }
            addAll("cookie", request, to: key)
        case .header(let name): name.withUnsafeBytes { addAll($0, request, to: key) }
        }
        key.end(rule)
    }

    /// All values of one name, as a multi-value query string has them.
    private static func addQuery(_ name: [UInt8], _ query: UnsafeRawBufferPointer, to key: MemoKey) {
        for item in QueryItems(query) {
            let raw = item.name.slice(query)
            guard raw.elementsEqual(name) || percentDecode(raw, plusIsSpace: true) == name else { continue }
            guard let value = item.value?.slice(query) else {
                key.add(UnsafeRawBufferPointer(start: nil, count: 0))
                continue
            }
            if let decoded = percentDecode(value, plusIsSpace: true) { decoded.withUnsafeBytes { key.add($0) } } else { key.add(value) }
        }
    }

    /// Does a request ask that its answer be made anew? (RFC 9111 §5.2.1.1, §5.2.1.4)
    static func asksForNew(_ request: HTTPRequest) -> Bool {
        guard let control = request.header(.cacheControl) else { return false }
        return control.split(separator: UInt8(ascii: ",")).contains { part in
            let bare = UnsafeRawBufferPointer(rebasing: part.drop { $0 == 0x20 || $0 == 0x09 })
            let directive = UnsafeRawBufferPointer(rebasing: bare.prefix { $0 != 0x20 && $0 != 0x09 })
            return equalsIgnoringCase(directive, "max-age=0") || equalsIgnoringCase(directive, "no-cache")
        }
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
