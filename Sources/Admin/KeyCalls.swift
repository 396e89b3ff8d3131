internal import Catalog
internal import Crypto
internal import Dispatch
internal import HTTP
internal import IAM
internal import Invoker
internal import Net
internal import UV

/// `/_hearth/keys`: the access keys of the node, for `hearth keys`.
///
/// A secret is told once, in the answer to its making.
extension AdminService {
    /// `GET keys`, `GET keys/NAME`, `POST keys`, `DELETE keys/NAME`, `POST keys/NAME/enable`, `…/disable`, `…/policy`, `…/temporary`.
    func keys(_ method: HTTPMethod, _ parts: [String], _ request: HTTPRequest) {
        let connection = request.connection
        let order = KeyOrder(request.body)
        switch (method, parts.count, parts.last ?? "") {
        case (.get, 0, _): Report.send(.object([("keys", .list(catalog.accessKeys.map(Self.shown)))]), on: connection)
        case (.post, 0, _): makeKey(order, connection)
        case (.get, 1, let name):
            guard let key = key(named: name) else { return Self.noKey(name, connection) }
            Report.send(Self.shown(key), on: connection)
        case (.delete, 1, let name): change(name, connection) { catalog throws(CatalogError) in try catalog.removeAccessKey(name) }
        case (.post, 2, "enable"), (.post, 2, "disable"):
            let (name, isEnabled) = (parts[0], parts[1] == "enable")
            change(name, connection) { catalog throws(CatalogError) in try catalog.setAccessKey(name, isEnabled: isEnabled) }
        case (.post, 2, "policy"):
            if let problem = Self.problem(with: order.policy) { return Report.fail(400, problem, on: connection) }
            let (name, policy) = (parts[0], order.policy)
            change(name, connection) { catalog throws(CatalogError) in try catalog.setAccessKey(name, policy: policy) }
        case (.post, 2, "temporary"): makeTemporary(parts[0], order, connection)
        default: Report.fail(404, "Hearth has no call \(request.text(request.head.path))", on: connection)
        }
    }

    private func key(named name: String) -> AccessKeyEntry? { catalog.accessKeys.first { $0.name == name } }

    private static func noKey(_ name: String, _ connection: HTTPConnection) {
        Report.fail(404, "\(CatalogError.accessKeyNotFound(name))", on: connection)
    }

    private static func shown(_ key: AccessKeyEntry) -> Report {
        .object([
            ("name", .text(key.name)), ("access_key_id", .text(key.id)), ("enabled", .bool(key.isEnabled)),
            ("created_ms", .number(Double(key.created))), ("policy", key.policy.map { .raw(Array($0.utf8)) } ?? .null),
        ])
    }

    private static func problem(with policy: String?) -> String? {
        guard let policy else { return nil }
        guard policy.utf8.count <= Policy.bytesMax else { return "the policy is longer than \(Policy.bytesMax) bytes" }
        do throws(PolicyError) { _ = try Policy(policy.utf8, kind: .identity) } catch { return "the policy is not valid: \(error)" }
        return nil
    }

    private func makeKey(_ order: KeyOrder, _ connection: HTTPConnection) {
        let name = order.name ?? ""
        guard AccessKeyEntry.isName(name) else {
            return Report.fail(400, "a key's name has 1 to 64 of letters, digits and +=,.@_-; this is \"\(name)\"", on: connection)
        }
        if let problem = Self.problem(with: order.policy) { return Report.fail(400, problem, on: connection) }
        let made = AccessKey(bytes: randomBytes(AccessKey.bytesNeeded))
        let entry = AccessKeyEntry(
            name: name, id: made.id, secret: made.secret, policy: order.policy, created: Int64(Loop.epochMilliseconds))
        let shown = [("name", Report.text(name)), ("access_key_id", .text(made.id)), ("secret_access_key", .text(made.secret))]
        write(connection, .object(shown)) { catalog throws(CatalogError) in try catalog.addAccessKey(entry) }
    }

    private func change(_ name: String, _ connection: HTTPConnection, _ body: @escaping @Sendable (Catalog) throws(CatalogError) -> Void) {
        write(connection, .object([("name", .text(name))]), body)
    }

    /// Off the loop; the answer comes when the keyring has taken it over, for the catalogue told of it first.
    private func write(
        _ connection: HTTPConnection, _ done: Report, _ body: @escaping @Sendable (Catalog) throws(CatalogError) -> Void
    ) {
        let box = LoopBound((connection, done), on: invoker.loop)
        queue.async { [catalog, remote = invoker.loop.remote] in
            var failure: CatalogError?
            do throws(CatalogError) { try body(catalog) } catch { failure = error }
            remote.post { [failure] in
                let (connection, done) = box.wrapped
                switch failure {
                case nil: Report.send(done, on: connection)
                case .accessKeyExists: Report.fail(409, failure?.description ?? "", on: connection)
                case .accessKeyNotFound: Report.fail(404, failure?.description ?? "", on: connection)
                default: Report.fail(500, failure?.description ?? "", on: connection)
                }
            }
        }
    }

    /// Seconds for which a temporary key is good, at the most (STS: 36 hours).
    private static let temporarySecondsMax = 129_600

    private func makeTemporary(_ name: String, _ order: KeyOrder, _ connection: HTTPConnection) {
        let seconds = order.seconds ?? 3600
        guard (1...Self.temporarySecondsMax).contains(seconds) else {
            return Report.fail(400, "a temporary key is good for 1 to \(Self.temporarySecondsMax) seconds, not \(seconds)", on: connection)
        }
        guard let parent = key(named: name) else { return Self.noKey(name, connection) }
        let expiry = Loop.epochMilliseconds / 1000 + UInt64(seconds)
        guard let made = keyring.temporary(of: parent.id, until: expiry, noise: randomBytes(8)) else {
            return Report.fail(409, "the key \(name) is disabled: hearth keys enable \(name)", on: connection)
        }
        Report.send(
            .object([
                ("access_key_id", .text(made.key.id)), ("secret_access_key", .text(made.key.secret)), ("session_token", .text(made.token)),
                ("expires_ms", .number(Double(expiry) * 1000)),
            ]), on: connection)
    }
}

/// `{"name": "ci", "policy": "{…}", "seconds": 900}`
private struct KeyOrder {
    var name: String?
    var policy: String?
    var seconds: Int?

    init(_ body: UnsafeRawBufferPointer) {
        guard JSONCheck.validate(body) == nil, let members = JSONMembers(body) else { return }
        for member in members {
            let raw = member.value.range.slice(body)
            let text = member.value.kind == .string ? JSONText.decode(raw).map { String(decoding: $0, as: UTF8.self) } : nil
            switch member.name.string(body) {
            case "name": name = text
            case "policy": policy = text
            case "seconds": seconds = JSONText.integer(raw)
            default: break
            }
        }
    }
}
