internal import IAM
internal import Objects
internal import XML

/// What a bucket has to say about who may do what, read from memory.
struct BucketAccess: Sendable {
    let bucket: Bucket
    let acl: ACL
    let policy: Policy?
    let block: PublicAccessBlock

    /// The bucket's owner, a policy or a list must allow it; a policy that denies outweighs all but the owner's own hold on the policy.
    /// Whoever is not the owner of an account has what the account has as far as its own policies allow.
    ///
    /// - Parameters:
    ///   - object: the list of the object that is read; nil: the bucket's decides.
    ///   - isVersion: one version of the object is meant; nil: as the query says.
    func check(
        _ request: S3Request, _ operation: S3Operation, key: String?, setting: BucketSetting? = nil, object: ACL? = nil,
        isVersion: Bool? = nil
    ) throws(S3Fault) {
        let action = operation.action(version: isVersion ?? (request.query["versionId"]?.isEmpty == false), setting: setting)
        let ask = Ask(request, action: action, resource: arn(key), policy: policy)
        // The owner's account, but for those of it whose policies do not allow it.
        let isOwner = request.account?.id == bucket.owner && ask.own == .allowed
        switch operation {
        case .getBucketPolicy, .putBucketPolicy, .deleteBucketPolicy:
            if isOwner, request.caller?.isRoot == true { return }
        default: break
        }
        try judge(ask, isOwner, operation, object)
        // What a write says beside the object itself asks for actions of its own (Service Authorization Reference).
        guard let caller = request.caller, !caller.isRoot, operation.writesObject else { return }
        for action in request.actionsBesideWriting {
            let further = Ask(request, action: action, resource: arn(key), policy: policy)
            guard further.isAllowed(by: bucket.owner) else { throw further.fault }
        }
    }

    private func judge(_ ask: Ask, _ isOwner: Bool, _ operation: S3Operation, _ object: ACL?) throws(S3Fault) {
        if ask.own == .denied || ask.policy == .denied { throw ask.fault }
        let request = ask.request
        // RestrictPublicBuckets: a public policy serves the owner's account only.
        let isRestricted = block.restrictsBuckets && policy?.isPublic == true && request.account?.id != bucket.owner
        if !isRestricted, ask.isAllowedByPolicy(of: bucket.owner) { return }
        let account = ask.own == .allowed ? request.account : nil
        if let object, operation.readsObject {
            if isOwner, object.owner == bucket.owner { return }
            guard let permission = operation.permission,
                object.allows(permission, to: account, ignoresPublic: block.ignoresACLs) || isOwner && operation == .headObject
            else { throw ask.fault }
            return
        }
        if isOwner { return }
        guard let permission = operation.permission, acl.allows(permission, to: account, ignoresPublic: block.ignoresACLs) else {
            throw ask.fault
        }
    }

    private func arn(_ key: String?) -> String { "arn:aws:s3:::\(bucket.name)" + (key.map { "/\($0)" } ?? "") }

    /// Whether the requester may know that a key is not there.
    func mayList(_ request: S3Request) -> Bool {
        (try? check(request, .listObjects, key: nil)) != nil
    }
}

/// One action on one resource, and what the policies of who asks and of the bucket say to it.
struct Ask {
    let request: S3Request
    private let action: String
    private let resource: String
    /// Of the caller's own policies.
    let own: Policy.Verdict
    /// Of the bucket's.
    let policy: Policy.Verdict

    init(_ request: S3Request, action: String, resource: String, policy: Policy?) {
        self.request = request
        self.action = action
        self.resource = resource
        let caller = request.caller
        // The usual case has no policy to ask, and needs no context.
        let context = policy == nil && caller?.isRoot != false ? [:] : Self.context(request)
        own = caller?.verdict(action, on: resource, context) ?? .silent
        let whole = caller?.context(context) ?? context
        self.policy = policy?.verdict(Policy.Question(action: action, resource: resource, caller: caller, context: whole)) ?? .silent
    }

    /// A policy that names a caller is enough for those of the bucket's account; others, and whoever is named by account only, need their
    /// own account's consent too (IAM User Guide, "Cross-account policy evaluation logic").
    func isAllowedByPolicy(of owner: String) -> Bool {
        switch policy {
        case .allowed: own == .allowed || request.caller == nil || request.account?.id == owner
        case .delegated: own == .allowed
        case .denied, .silent: false
        }
    }

    func isAllowed(by owner: String) -> Bool {
        guard own != .denied, policy != .denied else { return false }
        return isAllowedByPolicy(of: owner) || own == .allowed && request.account?.id == owner
    }

    /// AccessDenied; those who are not the owner of an account are told which action their policies lack.
    var fault: S3Fault {
        guard let caller = request.caller, !caller.isRoot else { return .accessDenied }
        let source = own == .denied ? "an identity-based policy" : "a resource-based policy"
        let verdict: Policy.Verdict = own == .denied || policy == .denied ? .denied : own
        return caller.refusal(action, on: "\"\(resource)\"", verdict, source: source).map { S3Fault(403, "AccessDenied", $0) } ?? .accessDenied
    }

    /// The condition keys that a request has.
    private static func context(_ request: S3Request) -> [String: String] {
        var context = requestContext(
            peer: request.peer, userAgent: request.header("user-agent"), epochSeconds: UInt64(max(0, request.now) / 1000))
        context["aws:referer"] = request.header("referer")
        for name in ["prefix", "delimiter", "max-keys"] { context["s3:\(name)"] = request.query[name] }
        context["s3:versionid"] = request.query["versionId"]
        for (name, value) in request.headers where name.hasPrefix("x-amz-") { context["s3:\(name)"] = value }
        return context
    }
}

extension S3Request {
    /// Throws AccessDenied if the policies of who asks do not allow what concerns no bucket that is there.
    func checkOwnPolicies(_ action: String, on resource: String) throws(S3Fault) {
        guard let caller, !caller.isRoot else { return }
        let ask = Ask(self, action: action, resource: resource, policy: nil)
        guard ask.own == .allowed else { throw ask.fault }
    }

    fileprivate var actionsBesideWriting: [String] {
        var actions: [String] = []
        if headers.keys.contains(where: { $0 == "x-amz-acl" || $0.hasPrefix("x-amz-grant-") }) { actions.append("s3:PutObjectAcl") }
        if headers["x-amz-tagging"] != nil { actions.append("s3:PutObjectTagging") }
        if headers["x-amz-object-lock-mode"] != nil { actions.append("s3:PutObjectRetention") }
        if headers["x-amz-object-lock-legal-hold"] != nil { actions.append("s3:PutObjectLegalHold") }
        if headers["x-amz-bypass-governance-retention"]?.lowercased() == "true" { actions.append("s3:BypassGovernanceRetention") }
        return actions
    }
}

/// PublicAccessBlockConfiguration.
struct PublicAccessBlock: Sendable {
    var blocksACLs = false
    var ignoresACLs = false
    var blocksPolicy = false
    var restrictsBuckets = false

    init() {}

    init(_ root: XMLElement) throws(S3Fault) {
        func flag(_ name: String) throws(S3Fault) -> Bool {
            switch root.text(name)?.lowercased() {
            case nil, "false": return false
            case "true": return true
            default: throw .malformedXML
            }
        }
        blocksACLs = try flag("BlockPublicAcls")
        ignoresACLs = try flag("IgnorePublicAcls")
        blocksPolicy = try flag("BlockPublicPolicy")
        restrictsBuckets = try flag("RestrictPublicBuckets")
    }
}
