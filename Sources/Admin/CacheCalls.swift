internal import Base
internal import Cache
internal import Catalog
internal import HTTP
internal import Invoker
internal import Net
internal import UV

/// The calls below `/_hearth/cache/`: what the shared cache holds, why, and orders to let go of it.
struct CacheCalls {
    private let invoker: Invoker
    private let connection: HTTPConnection
    private let traceRequest: (HTTPRequest) -> RequestTrace

    init(_ invoker: Invoker, _ connection: HTTPConnection, _ traceRequest: @escaping (HTTPRequest) -> RequestTrace) {
        self.invoker = invoker
        self.connection = connection
        self.traceRequest = traceRequest
    }

    private var cache: Cache { invoker.memo.cache }

    /// False: there is no such call.
    func handle(_ method: HTTPMethod, _ call: String, _ request: HTTPRequest) -> Bool {
        let body = request.body
        switch (method, call) {
        case (.get, "stats"): Report.send(stats, on: connection)
        case (.get, "advise"): Report.send(AdviceReport(invoker).all, on: connection)
        case (.get, "keys"): keys(queryValue(request.query, "prefix") ?? "", queryValue(request.query, "cursor").flatMap { UInt32($0) } ?? 0)
        case (.post, "purge"): purge(CacheOrder(body))
        case (.post, "explain"): explain(CacheOrder(body), body)
        case (.post, "resize"): resize(CacheOrder(body))
        default: return false
        }
        return true
    }

    private func fail(_ sentence: String, status: Int = 400) { Report.fail(status, sentence, on: connection) }

    // MARK: stats

    private var stats: Report {
        .object([
            ("limit_bytes", .number(Double(cache.limitBytes))), ("used_bytes", .number(Double(cache.usedBytes))),
            ("namespaces", .list(cache.namespaces.map { namespace($0) })), ("functions", .list(functions)),
            ("routes", .list(invoker.memo.routes.map { route($0) })), ("disk", disk),
        ])
    }

    private var disk: Report {
        guard let counters = cache.secondLevel?.counters else { return .null }
        func count(_ value: UInt64) -> Report { .number(Double(value)) }
        return .object([
            ("hits", count(counters.hits)), ("misses", count(counters.misses)), ("stored", count(counters.stored)),
            ("lost", count(counters.lost)), ("expired", count(counters.expired)), ("evicted", count(counters.evicted)),
            ("purged", count(counters.purged)), ("corrupt", count(counters.corrupt)), ("entries", .number(Double(counters.entries))),
            ("bytes", .number(Double(counters.bytes))), ("file_bytes", .number(Double(counters.fileBytes))),
            ("paused", .bool(counters.isPaused)),
        ])
    }

    private func namespace(_ namespace: NamespaceID) -> Report {
        let counters = cache.counters(of: namespace)
        func count(_ value: UInt64) -> Report { .number(Double(value)) }
        let lookups = counters.hits + counters.stale + counters.coalesced + counters.misses
        let served = Double(counters.hits + counters.stale + counters.coalesced)
        return .object([
            ("namespace", .text(cache.settings(of: namespace).name)), ("hits", count(counters.hits)), ("misses", count(counters.misses)),
            ("stale", count(counters.stale)), ("coalesced", count(counters.coalesced)), ("bypassed", count(counters.bypassed)),
            ("hit_ratio", lookups > 0 ? .number((served / Double(lookups) * 10_000).rounded() / 10_000) : .null),
            ("stored", count(counters.stored)), ("refused", count(counters.refused)), ("refreshes", count(counters.refreshes)),
            ("expired", count(counters.expired)), ("evicted", count(counters.evicted)), ("purged", count(counters.purged)),
            ("corrupt", count(counters.corrupt)), ("entries", .number(Double(counters.entries))), ("bytes", .number(Double(counters.bytes))),
        ])
    }

    /// Functions that are memoized, as the front listener serves them.
    private var functions: [Report] {
        invoker.snapshot.functions.compactMap { function in
            guard let rule = invoker.memo.rule(of: function.front.version) else { return nil }
            return .object(
                [("function", .text(function.name)), ("version", .text(function.front.executedVersion))] + MemoReport.members(rule))
        }
    }

    private func route(_ counts: RouteCounts) -> Report {
        .object([
            ("function", .text(counts.function)), ("route", .text(counts.path)), ("hits", .number(Double(counts.hits))),
            ("misses", .number(Double(counts.misses))),
        ])
    }

    // MARK: keys

    /// Some of the keys of results that begin with `prefix`, and where to go on: 0 is the end. At most `keysMax` at a call, because
    /// nothing else is served meanwhile. The cursor's lowest bit tells the namespace.
    private func keys(_ prefix: String, _ cursor: UInt32) {
        let now = invoker.loop.now
        let namespaces = invoker.memo.namespaces
        let namespace = Int(cursor & 1)
        let prefix = Array(prefix.utf8)
        var found: [Report] = []
        let next = cache.scan(namespaces[namespace], from: cursor >> 1, count: Self.keysMax, at: now) { key, hit in
            guard key.starts(with: prefix) else { return }
            found.append(
                .object([
                    ("key", .text(String(decoding: key, as: UTF8.self))), ("namespace", .text(cache.settings(of: namespaces[namespace]).name)),
                    ("state", .text("\(hit.state)")), ("age_ms", .number(hit.age(at: now).milliseconds.rounded())),
                    ("fresh_ms", hit.freshness(at: now).map { .number($0.milliseconds.rounded()) } ?? .null),
                    ("value_bytes", .number(Double(hit.value.count))),
                ]))
        }
        let more = next > 0 ? next << 1 | UInt32(namespace) : namespace == 0 ? 1 : 0
        Report.send(.object([("keys", .list(found)), ("cursor", .number(Double(more)))]), on: connection)
    }

    private static let keysMax = 200

    // MARK: purge

    /// Effective on the next lookup, whatever is in flight (semantic 7.1.4): this runs on the thread that looks up. Answered when what is
    /// on disk is gone too, so that it does not come back after a crash.
    private func purge(_ order: CacheOrder) {
        let now = invoker.loop.now
        if let key = order.key {
            let wasThere = invoker.memo.namespaces.map { cache.purge(key: key, in: $0, soft: order.isSoft, at: now) }.contains(true)
            return confirm([("purged", .text("key")), ("was_there", .bool(wasThere))])
        }
        if let name = order.namespace {
            guard let namespace = cache.namespaces.first(where: { cache.settings(of: $0).name == name }) else {
                let names = cache.namespaces.map { cache.settings(of: $0).name }
                return fail("the cache has no namespace \(name): it has \(names.joined(separator: ", "))", status: 404)
            }
            cache.purge(namespace: namespace, soft: order.isSoft, at: now)
            return confirm([("purged", .text("namespace \(name)"))])
        }
        guard let tag = tag(order) else { return }
        cache.purge(tag: tag, soft: order.isSoft, at: now)
        confirm([("purged", .text("tag \(String(decoding: tag, as: UTF8.self))"))])
    }

    private func confirm(_ members: [(String, Report)]) {
        guard let below = cache.secondLevel else { return Report.send(.object(members), on: connection) }
        below.saved { _ in Report.send(.object(members), on: connection) }
    }

    /// The tag that an order means; nil: it has been refused.
    private func tag(_ order: CacheOrder) -> [UInt8]? {
        if let tag = order.tag {
            guard tag.count <= Limits.cacheTagBytesMax else {
                fail("a tag has at most \(Limits.cacheTagBytesMax) bytes")
                return nil
            }
            return tag
        }
        guard let name = order.function else {
            fail("say what to purge: function, route of a function, tag, key or namespace")
            return nil
        }
        guard let function = invoker.snapshot.function(named: name) else {
            fail("there is no function \(name): see hearth list", status: 404)
            return nil
        }
        if let route = order.route {
            guard function.allVersions.contains(where: { version in version.settings.routes?.contains { $0.path == route } == true }) else {
                fail("function \(name) has no route \(route)", status: 404)
                return nil
            }
            return MemoRule.routeTag(name, route)
        }
        guard let qualifier = order.qualifier else { return Array("function:\(name)".utf8) }
        guard let version = function.resolve(qualifier: qualifier)?.version, let plan = invoker.memo.plan(of: version),
            let rule = plan.rule ?? plan.routes.first?.rule
        else {
            fail("function \(name) has no version \(qualifier) with results to purge", status: 404)
            return nil
        }
        return rule.versionTag
    }

    // MARK: explain

    private func explain(_ order: CacheOrder, _ body: UnsafeRawBufferPointer) {
        let now = invoker.loop.now
        if let request = order.request { return explain(request: request, at: now) }
        if let name = order.function, order.key == nil || invoker.snapshot.function(named: name) != nil {
            guard let function = invoker.snapshot.function(named: name) else {
                return fail("there is no function \(name): see hearth list", status: 404)
            }
            let resolution = order.qualifier == nil ? function.front : function.resolve(qualifier: order.qualifier)
            guard let resolution else { return fail("function \(name) has no version or alias \(order.qualifier ?? "")", status: 404) }
            guard let rule = invoker.memo.rule(of: resolution.version) else {
                return fail("version \(resolution.executedVersion) of \(name) is not memoized: write [memoize] into its function.toml", status: 409)
            }
            let empty: StaticString = "{}"
            let event = order.event?.whole(in: body) ?? UnsafeRawBufferPointer(start: empty.utf8Start, count: empty.utf8CodeUnitCount)
            guard invoker.memo.key.make(rule, event: event, context: UnsafeRawBufferPointer(start: nil, count: 0)) else {
                return fail("memoize.key of \(name) selects nothing of this event, so it always runs", status: 409)
            }
            let key = invoker.memo.key.bytes
            let found = cache.explain(key, in: invoker.memo.namespace, at: now)
            return Report.send(
                MemoReport.explanation(
                    key, found, [("function", .text(name)), ("version", .text(resolution.executedVersion))] + MemoReport.members(rule),
                    would: rule.isOff ? MemoReport.offSentence : nil),
                on: connection)
        }
        guard let key = order.key else { return fail("say which: request, key, or function and event") }
        key.withUnsafeBytes { key in
            let all = cache.namespaces.map { cache.explain(key, in: $0, at: now) }
            let known = all.first { $0.state != .absent } ?? all.first { $0.flights > 0 || $0.departure != nil }
            guard let found = known ?? all.first else { return }
            Report.send(MemoReport.explanation(key, found, []), on: connection)
        }
    }

    /// What a request to the front listener would find.
    private func explain(request bytes: [UInt8], at now: Moment) {
        let parser = HTTPRequestParser()
        bytes.withUnsafeBytes { bytes in
            guard (try? parser.parse(bytes)) == true else {
                return fail("request is no HTTP/1.1 request: a request line, a Host field, fields, an empty line, a body")
            }
            let body = UnsafeRawBufferPointer(rebasing: bytes[parser.headBytes...])
            let trace = traceRequest(HTTPRequest(connection: connection, head: parser, bytes: bytes, body: body))
            let members = MemoReport.trace(trace)
            switch trace.end {
            case .unknown: fail("no function named '\(trace.function)' is deployed: see hearth list", status: 404)
            case .runs(let why): Report.send(.object([("would", .text("run: \(why)"))] + members), on: connection)
            case .refused:
                Report.send(.object([("would", .text("403: it asks for a new answer and is not signed"))] + members), on: connection)
            case .lookup(let key, let isRefresh):
                guard let rule = trace.rule else { return }
                key.withUnsafeBytes { key in
                    let found = cache.explain(key, in: rule.namespace, at: now)
                    let would = isRefresh ? "run: the request is signed and asks for a new answer" : nil
                    let off = rule.isOff ? MemoReport.offSentence : nil
                    Report.send(MemoReport.explanation(key, found, members, would: off ?? would), on: connection)
                }
            }
        }
    }

    // MARK: resize

    /// To more at once; to less by evicting what is worth least, a little at a time (7.3.33). At the next start runtime.toml has its say.
    private func resize(_ order: CacheOrder) {
        guard let bytes = order.bytes, bytes >= 1 << 20 else { return fail("bytes is missing or below 1048576: say how much the cache may take") }
        do throws(CacheError) { try cache.resize(limitBytes: bytes) } catch { return fail("\(error)", status: 409) }
        Report.send(
            .object([("limit_bytes", .number(Double(cache.limitBytes))), ("used_bytes", .number(Double(cache.usedBytes)))]), on: connection)
    }
}

extension Cache {
    fileprivate func purge(key: [UInt8], in namespace: NamespaceID, soft: Bool, at now: Moment) -> Bool {
        key.withUnsafeBytes { purge(key: $0, in: namespace, soft: soft, at: now) }
    }

    fileprivate func purge(tag: [UInt8], soft: Bool, at now: Moment) { tag.withUnsafeBytes { purge(tag: $0, soft: soft, at: now) } }
}

/// The body of these calls: `{"function": "hello", "qualifier": "live", "event": {…}}`, `{"tag": "…", "soft": true}` and so on.
private struct CacheOrder {
    var function: String?
    var route: String?
    var qualifier: String?
    var namespace: String?
    var key: [UInt8]?
    var tag: [UInt8]?
    /// Of HTTP, whole.
    var request: [UInt8]?
    var event: JSONValue?
    var bytes: Int?
    var isSoft = false

    init(_ body: UnsafeRawBufferPointer) {
        guard JSONCheck.validate(body) == nil, let members = JSONMembers(body) else { return }
        for member in members {
            let raw = member.value.range.slice(body)
            let text = member.value.kind == .string ? JSONText.decode(raw) : nil
            switch member.name.string(body) {
            case "function": function = text.map { String(decoding: $0, as: UTF8.self) }
            case "route": route = text.map { String(decoding: $0, as: UTF8.self) }
            case "qualifier": qualifier = text.map { String(decoding: $0, as: UTF8.self) }
            case "namespace": namespace = text.map { String(decoding: $0, as: UTF8.self) }
            case "key": key = text
            case "tag": tag = text
            case "request": request = text
            case "event": event = member.value
            case "bytes": bytes = JSONText.integer(raw)
            case "soft": isSoft = member.value.kind == .bool(true)
            default: break
            }
        }
    }
}
