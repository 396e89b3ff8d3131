/// One statement of a policy: who may or must not do what with which, and when.
struct Statement: Sendable {
    /// How a statement means whoever asks.
    enum Match: Sendable { case exact, account }

    let allows: Bool
    private let principals: Principals?
    private let actions: [Wildcard]
    private let isNotAction: Bool
    let resources: [Wildcard]
    private let isNotResource: Bool
    private let conditions: [Condition]

    private static let fields: Set<String> = [
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
    ]

    static let denyingAll = Statement()

    private init() {
        (allows, principals, conditions) = (false, nil, [])
        (actions, isNotAction, resources, isNotResource) = ([Wildcard("*")], false, [Wildcard("*")], false)
    }

    init(_ value: PolicyJSON, _ kind: Policy.Kind, hasVariables: Bool) throws(PolicyError) {
        guard case .object(let fields) = value else { throw PolicyError("A statement must be an object") }
        if let unknown = fields.keys.first(where: { !Self.fields.contains($0) }) { throw PolicyError("Unknown field \(unknown)") }
        guard let effect = fields["Effect"]?.text, effect == "Allow" || effect == "Deny" else {
            throw PolicyError("Invalid effect: \(fields["Effect"]?.text ?? "none"); it must be Allow or Deny")
        }
        allows = effect == "Allow"
        let named = try Self.either("Action", fields)
        isNotAction = named.isNot
        actions = named.texts.map { Wildcard($0, ignoresCase: true) }
        for action in named.texts where action != "*" {
            let parts = action.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                throw PolicyError("Invalid action \(action): actions must be prefaced by a vendor, e.g. s3:GetObject")
            }
        }
        let about = try Self.either("Resource", fields)
        isNotResource = about.isNot
        resources = about.texts.map { Wildcard($0, hasVariables: hasVariables) }
        for resource in about.texts where resource != "*" && !resource.hasPrefix("arn:") {
            throw PolicyError("Resource \(resource) must be in ARN format or \"*\".")
        }
        switch kind {
        case .identity:
            guard fields["Principal"] == nil, fields["NotPrincipal"] == nil else {
                throw PolicyError("Policy document should not specify a principal.")
            }
            principals = nil
        case .resource: principals = try Principals(fields)
        }
        conditions = try Condition.list(fields["Condition"], hasVariables: hasVariables)
    }

    /// `Action` or `NotAction`, `Resource` or `NotResource`: one of them, with one text at least.
    private static func either(_ name: String, _ fields: [String: PolicyJSON]) throws(PolicyError) -> (texts: [String], isNot: Bool) {
        let not = "Not\(name)"
        guard fields[name] == nil || fields[not] == nil else { throw PolicyError("Statement has both \(name) and \(not)") }
        guard let value = fields[name] ?? fields[not] else { throw PolicyError("Missing required field \(name)") }
        guard let texts = value.texts, !texts.isEmpty else { throw PolicyError("Missing required field \(name): it must be a text or a list of texts") }
        return (texts, fields[name] == nil)
    }

    /// nil: it says nothing of the question.
    func applies(to question: Policy.Question) -> Match? {
        guard actions.contains(where: { $0.matches(question.action) }) != isNotAction else { return nil }
        guard resources.contains(where: { $0.matches(question.resource, question.context) }) != isNotResource else { return nil }
        guard let match = principals.map({ $0.match(question.caller) }) ?? .exact else { return nil }
        guard conditions.allSatisfy({ $0.holds(question.context) }) else { return nil }
        return match
    }

    var isPublic: Bool {
        guard allows, principals?.isEverybody == true else { return false }
        return !conditions.contains(where: \.isNarrowing)
    }
}

/// `Principal` or `NotPrincipal` of a resource-based policy.
private struct Principals: Sendable {
    private static let kinds: Set<String> = ["AWS", "Service", "CanonicalUser", "Federated"]

    private let isNot: Bool
    private let isAll: Bool
    /// Account numbers and ARNs.
    private var names: Set<String> = []
    private var services: Set<String> = []

    init(_ fields: [String: PolicyJSON]) throws(PolicyError) {
        guard fields["Principal"] == nil || fields["NotPrincipal"] == nil else {
            throw PolicyError("Statement has both Principal and NotPrincipal")
        }
        isNot = fields["Principal"] == nil
        guard let value = fields["Principal"] ?? fields["NotPrincipal"] else { throw PolicyError("Missing required field Principal") }
        if let text = value.text {
            guard text == "*" else { throw PolicyError("Invalid principal in policy: \(text)") }
            isAll = true
            return
        }
        guard case .object(let lists) = value, !lists.isEmpty else { throw PolicyError("Invalid principal in policy") }
        for (kind, list) in lists {
            guard Self.kinds.contains(kind), let texts = list.texts, !texts.isEmpty else {
                throw PolicyError("Invalid principal in policy: \(kind)")
            }
            if kind == "Service" { services.formUnion(texts) } else { names.formUnion(texts) }
        }
        isAll = names.contains("*")
    }

    var isEverybody: Bool { isAll && !isNot }

    func match(_ caller: Caller?) -> Statement.Match? {
        let found = find(caller)
        if isNot { return found == nil ? .exact : nil }
        return found
    }

    private func find(_ caller: Caller?) -> Statement.Match? {
        if isAll { return .exact }
        guard let caller else { return nil }
        if caller.kind == .service { return services.contains(caller.arn) ? .exact : nil }
        if caller.arns.contains(where: names.contains) { return .exact }
        guard names.contains(caller.account) || names.contains("arn:aws:iam::\(caller.account):root") else { return nil }
        return caller.isRoot ? .exact : .account
    }
}
