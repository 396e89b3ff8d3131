package import AsyncInvoke
internal import Base
package import Catalog
internal import Crypto
internal import Dispatch
internal import HTTP
package import IAM
package import Invoker
package import Net
package import Objects
internal import UV

/// Hearth's own calls below `/_hearth/`: health, metrics, statistics, logs, and the moves of an alias.
///
/// Open to everybody who reaches the listener: `healthz`, `readyz`, `metrics`, and `code/…` with its token. All else has
/// been signed.
package final class AdminService: HTTPService {
    let invoker: Invoker
    let catalog: Catalog
    let events: EventDispatcher
    let store: ObjectStore
    let sources: any EventSources
    let keyring: Keyring
    private let arnPrefix: String
    private let tokenKey: [UInt8]
    let queue = DispatchQueue(label: "hearth.admin")
    /// The functions of the start that could not be deployed; nil: they are being deployed.
    package var undeployed: [String]?
    /// What the front listener's cache would do with a request; set by whoever knows that listener.
    package var traceRequest: (HTTPRequest) -> RequestTrace = { _ in RequestTrace() }
    private var promoting: Set<String> = []

    /// - Parameters:
    ///   - arnPrefix: `arn:aws:lambda:REGION:ACCOUNT:function:`
    ///   - secret: signs the addresses of packages.
    package init(
        invoker: Invoker, catalog: Catalog, events: EventDispatcher, store: ObjectStore, sources: any EventSources,
        keyring: Keyring, arnPrefix: String, secret: String
    ) {
        self.keyring = keyring
        self.arnPrefix = arnPrefix
        self.invoker = invoker
        self.store = store
        self.events = events
        self.sources = sources
        self.catalog = catalog
        tokenKey = Array(secret.utf8)
    }

    var loop: Loop { invoker.loop }

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { 64 * 1024 }

    private static let healthzPath: StaticString = "/_hearth/healthz"

    /// Does this path need no signature?
    package static func isOpen(_ path: UnsafeRawBufferPointer) -> Bool {
        if isHealthz(path) { return true }
        let text = String(decoding: path, as: UTF8.self)
        return text == "/_hearth/readyz" || text == "/_hearth/metrics" || text.hasPrefix("/_hearth/code/")
    }

    private static func isHealthz(_ path: UnsafeRawBufferPointer) -> Bool {
        path.elementsEqual(UnsafeRawBufferPointer(start: healthzPath.utf8Start, count: healthzPath.utf8CodeUnitCount))
    }

    /// Answers what needs no signature.
    package func handle(_ request: HTTPRequest) {
        if Self.isHealthz(request.path) { return request.connection.respond(200, text: "ok\n") }
        answer(request, parts(of: request))
    }

    /// - Parameter caller: who has signed it.
    package func handle(_ request: HTTPRequest, as caller: Caller) {
        let parts = parts(of: request)
        if !caller.isRoot, let sentence = refusal(request, parts, caller) { return Report.fail(403, sentence, on: request.connection) }
        answer(request, parts)
    }

    private func parts(of request: HTTPRequest) -> [String] {
        request.path.split(separator: UInt8(ascii: "/")).dropFirst().map { part in
            let raw = UnsafeRawBufferPointer(rebasing: part)
            return String(decoding: percentDecode(raw, plusIsSpace: false) ?? Array(raw), as: UTF8.self)
        }
    }

    /// The action of a call is `hearth:Read…` or `hearth:Change…` with the first part of its path: `hearth:ChangeCache`, `hearth:ReadKeys`;
    /// what is about a function has that as its resource.
    private func refusal(_ request: HTTPRequest, _ parts: [String], _ caller: Caller) -> String? {
        let name = parts.first ?? ""
        let isRead = request.head.method == .get || request.head.method == .head
        let action = "hearth:\(isRead ? "Read" : "Change")\(name.prefix(1).uppercased())\(name.dropFirst())"
        let resource = name == "functions" && parts.count > 1 ? arnPrefix + parts[1] : "*"
        let context = requestContext(peer: request.connection.peerHost, userAgent: nil, epochSeconds: Loop.epochMilliseconds / 1000)
        return caller.refusal(action, on: resource, context)
    }

    private func answer(_ request: HTTPRequest, _ parts: [String]) {
        let connection = request.connection
        let method = request.head.method == .head ? HTTPMethod.get : request.head.method
        switch (method, parts.first ?? "", parts.count) {
        case (.get, "readyz", 1): readiness(connection)
        case (.get, "metrics", 1): metrics(connection)
        case (.get, "code", 2): code(parts[1], token: queryValue(request.query, "token") ?? "", connection)
        case (.get, "stats", 1): Report.send(Report.stats(invoker), on: connection)
        case (.get, "functions", 2):
            guard let function = invoker.snapshot.function(named: parts[1]) else { return noFunction(parts[1], connection) }
            Report.send(Report.describe(function, invoker), on: connection)
        case (.get, "functions", 3) where parts[2] == "logs":
            guard let function = invoker.snapshot.function(named: parts[1]) else { return noFunction(parts[1], connection) }
            LogStream(
                invoker.state(of: function).log, connection, follows: queryValue(request.query, "follow") == "1",
                coldOnly: queryValue(request.query, "cold") == "1", isJSON: queryValue(request.query, "json") == "1",
                last: queryValue(request.query, "last").flatMap { Int($0) }
            ).begin()
        case (.post, "functions", 3) where parts[2] == "promote":
            promote(parts[1], MoveOrder(request.body), connection)
        case (.post, "functions", 3) where parts[2] == "rollback":
            rollBack(parts[1], MoveOrder(request.body), connection)
        case (.put, "functions", 3) where parts[2] == "sources":
            guard invoker.snapshot.function(named: parts[1]) != nil else { return noFunction(parts[1], connection) }
            setSources(of: parts[1], request)
        case (.get, "schedules", 1): listSchedules(request)
        case (_, "cache", 2) where CacheCalls(invoker, connection, traceRequest).handle(method, parts[1], request): break
        case (_, "keys", _): keys(method, Array(parts.dropFirst()), request)
        case (_, "objects", _): objects(method, Array(parts.dropFirst()), request)
        case (_, "async", _): asynchronous(method, Array(parts.dropFirst()), request)
        default: Report.fail(404, "Hearth has no call \(request.text(request.head.path))", on: connection)
        }
    }

    private func noFunction(_ name: String, _ connection: HTTPConnection) {
        Report.fail(404, "there is no function \(name): see hearth list", on: connection)
    }

    /// Ready: what can be deployed is (one broken directory keeps no other from serving), and every provisioned worker is initialised.
    private func readiness(_ connection: HTTPConnection) {
        let waiting = invoker.measurements.filter { $0.gauges.provisionedReady < $0.gauges.provisionedTarget }
        let body = ByteBuffer()
        let isReady = undeployed != nil && waiting.isEmpty
        body.append(isReady ? "ready" : "not ready:")
        if let undeployed, !undeployed.isEmpty { body.append("\(isReady ? ", but for" : "") \(undeployed.joined(separator: ", ")): not deployed;") }
        if undeployed == nil { body.append(" functions are being deployed;") }
        for (metrics, gauges, _) in waiting {
            body.append(" \(metrics.function):\(metrics.version) has \(gauges.provisionedReady) of \(gauges.provisionedTarget) workers;")
        }
        body.append("\n")
        connection.respond(isReady ? 200 : 503, type: "text/plain; charset=utf-8", body.bytes)
    }

    private func metrics(_ connection: HTTPConnection) {
        let exposition = Exposition(invoker, events.counters)
        let box = LoopBound(connection, on: invoker.loop)
        store.statistics { [queue, remote = invoker.loop.remote] objects in
            queue.async {
                var exposition = exposition
                exposition.objects = try? objects.get()
                let body = ByteBuffer(capacity: 64 * 1024)
                exposition.write(to: body)
                let text = Array(body.bytes)
                remote.post { text.withUnsafeBytes { box.wrapped.respond(200, type: "text/plain; version=0.0.4; charset=utf-8", $0) } }
            }
        }
    }

    // MARK: Packages

    /// The path under which a package can be fetched without a signature (`Code.Location` of GetFunction).
    package static func codePath(digest: String, secret: String) -> String {
        let name = hex(Array(digest.utf8))
        return "/_hearth/code/\(name)?token=\(hex(hmacSHA256(key: Array(secret.utf8), name)))"
    }

    private func code(_ name: String, token: String, _ connection: HTTPConnection) {
        guard equalsInConstantTime(Array(hex(hmacSHA256(key: tokenKey, name)).utf8), Array(token.utf8)),
            let digest = bytes(ofHex: name)
        else { return Report.fail(403, "the address of the package is not valid", on: connection) }
        let box = LoopBound(connection, on: invoker.loop)
        queue.async { [catalog, remote = invoker.loop.remote] in
            let zip = try? catalog.code(digest: String(decoding: digest, as: UTF8.self))
            remote.post {
                guard let zip else { return Report.fail(404, "the package is gone", on: box.wrapped) }
                zip.withUnsafeBytes { box.wrapped.respond(200, type: "application/zip", $0) }
            }
        }
    }

    private func bytes(ofHex text: String) -> [UInt8]? {
        guard text.utf8.count % 2 == 0 else { return nil }
        let digits = Array(text.utf8)
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    // MARK: Moves of an alias

    /// Points an alias back to the version before, the way `promote` does.
    private func rollBack(_ name: String, _ order: MoveOrder, _ connection: HTTPConnection) {
        guard let function = invoker.snapshot.function(named: name) else { return noFunction(name, connection) }
        guard let alias = function.aliases[order.alias] else {
            return Report.fail(404, "function \(name) has no alias \(order.alias)", on: connection)
        }
        guard let previous = alias.previous, function.versions[previous] != nil else {
            return Report.fail(
                409, "\(CatalogError.nothingToRollBack(function: name, alias: order.alias))", on: connection)
        }
        var order = order
        order.version = previous
        order.provisioned = function.provisioned[order.alias] ?? 0
        promote(name, order, connection)
    }

    /// Make before break: the version's workers first, then the alias and its provisioned concurrency in one commit.
    private func promote(_ name: String, _ order: MoveOrder, _ connection: HTTPConnection) {
        guard let function = invoker.snapshot.function(named: name) else { return noFunction(name, connection) }
        guard let number = order.version, let version = function.versions[number] else {
            return Report.fail(404, "function \(name) has no version \(order.version.map(String.init) ?? "")", on: connection)
        }
        guard promoting.insert(name).inserted else {
            return Report.fail(409, "another deployment of \(name) is under way: wait for it", on: connection)
        }
        guard let promotion = Promotion(version, of: function, in: invoker) else {
            promoting.remove(name)
            return Report.fail(500, "no pool can be made for \(name)", on: connection)
        }
        let provisioned = order.provisioned ?? function.provisioned[order.alias] ?? 0
        promotion.prepare(provisioned: provisioned) { [self] result in
            switch result {
            case .ready(let workers):
                commit(name, order.alias, number, provisioned, workers, promotion, connection)
            case .initFailed(let error):
                promotion.release()
                promoting.remove(name)
                Report.sendInitFailure(error, on: connection)
            case .cannotStart(let sentence):
                promotion.release()
                promoting.remove(name)
                Report.fail(422, sentence, on: connection)
            }
        }
    }

    private func commit(
        _ name: String, _ alias: String, _ number: Int, _ provisioned: Int, _ workers: Int, _ promotion: Promotion,
        _ connection: HTTPConnection
    ) {
        let box = LoopBound((self, promotion, connection), on: invoker.loop)
        queue.async { [catalog, remote = invoker.loop.remote] in
            var failure: CatalogError?
            var previous: Int?
            do throws(CatalogError) {
                previous = try catalog.moveAlias(alias, of: name, to: number, provisioned: provisioned).1.previous
            } catch { failure = error }
            remote.post { [failure, previous] in
                let (service, promotion, connection) = box.wrapped
                // The new snapshot was posted before this: the pool's own target has taken over.
                promotion.release()
                service.promoting.remove(name)
                if let failure { return Report.fail(409, failure.description, on: connection) }
                Report.send(
                    .object([
                        ("function", .text(name)), ("alias", .text(alias)), ("version", .number(Double(number))),
                        ("previous", previous.map { .number(Double($0)) } ?? .null), ("workers", .number(Double(workers))),
                    ]), on: connection)
            }
        }
    }
}
