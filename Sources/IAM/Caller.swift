/// Who asks, once a signature has shown it: an account's owner, an access key of its, a function, or a service of this node.
package final class Caller: Sendable {
    package enum Kind: Sendable {
        /// The owner of an account, who may do everything in it.
        case root
        /// An access key that `hearth keys` has made.
        case user
        /// The workers of a function.
        case function
        /// A part of the node, named as AWS names its services: `s3.amazonaws.com`.
        case service
    }

    package let kind: Kind
    /// Twelve digits.
    package let account: String
    package let name: String
    package let arn: String
    /// Those by which a policy may name it: its own, and that of a function's role.
    let arns: [String]
    private let policies: [Policy]

    package var isRoot: Bool { kind == .root }

    private init(_ kind: Kind, account: String, name: String, arns: [String], policies: [Policy]) {
        self.kind = kind
        self.account = account
        self.name = name
        self.arns = arns
        self.policies = policies
        arn = arns[0]
    }

    package static func root(account: String, name: String = "root") -> Caller {
        Caller(.root, account: account, name: name, arns: ["arn:aws:iam::\(account):root"], policies: [])
    }

    package static func user(_ name: String, account: String, policies: [Policy]) -> Caller {
        Caller(.user, account: account, name: name, arns: ["arn:aws:iam::\(account):user/\(name)"], policies: policies)
    }

    /// - Parameter role: the ARN of the function's role; workers have assumed it, in a session with the function's name.
    package static func function(_ name: String, account: String, role: String, policies: [Policy]) -> Caller {
        let roleName = role.split(separator: "/").last.map(String.init) ?? "hearth"
        return Caller(
            .function, account: account, name: name, arns: ["arn:aws:sts::\(account):assumed-role/\(roleName)/\(name)", role], policies: policies)
    }

    package static func service(_ name: String, account: String) -> Caller {
        Caller(.service, account: account, name: name, arns: [name], policies: [])
    }

    /// What its own policies say.
    package func verdict(_ action: String, on resource: String, _ context: [String: String]) -> Policy.Verdict {
        if isRoot { return .allowed }
        let question = Policy.Question(action: action, resource: resource, caller: self, context: self.context(context))
        var verdict = Policy.Verdict.silent
        for policy in policies {
            switch policy.verdict(question) {
            case .denied: return .denied
            case .allowed, .delegated: verdict = .allowed
            case .silent: break
            }
        }
        return verdict
    }

    /// Why it may not do something by its own policies alone, in AWS's words; nil: it may.
    package func refusal(_ action: String, on resource: String, _ context: [String: String] = [:]) -> String? {
        if isRoot { return nil }
        return refusal(action, on: resource, verdict(action, on: resource, context))
    }

    package func refusal(_ action: String, on resource: String, _ verdict: Policy.Verdict, source: String = "an identity-based policy") -> String? {
        let head = "User: \(arn) is not authorized to perform: \(action) on resource: \(resource)"
        switch verdict {
        case .allowed, .delegated: return nil
        case .denied: return "\(head) with an explicit deny in \(source)"
        case .silent: return "\(head) because no identity-based policy allows the \(action) action"
        }
    }

    /// The request's condition keys with those that tell of the caller (AWS global condition context keys).
    package func context(_ request: [String: String]) -> [String: String] {
        var context = request
        context["aws:principalaccount"] = account
        context["aws:principalarn"] = kind == .function ? arns[1] : arn
        context["aws:userid"] = name
        switch kind {
        case .root: context["aws:principaltype"] = "Account"
        case .user:
            context["aws:principaltype"] = "User"
            context["aws:username"] = name
        case .function: context["aws:principaltype"] = "AssumedRole"
        case .service: context["aws:principalisawsservice"] = "true"
        }
        return context
    }
}
