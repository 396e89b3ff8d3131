internal import Objects
internal import XML

/// What a bucket has to say about who may do what, read from memory.
struct BucketAccess: Sendable {
    let bucket: Bucket
    let acl: ACL
    let policy: Policy?
    let block: PublicAccessBlock

    /// The bucket's owner, a policy or a list must allow it; a policy that denies outweighs all but the owner's own hold on the policy.
    ///
    /// - Parameter object: the list of the object that is read; nil: the bucket's decides.
    func check(
        _ request: S3Request, _ operation: S3Operation, key: String?, setting: BucketSetting? = nil, object: ACL? = nil
    ) throws(S3Fault) {
        let isOwner = request.account?.id == bucket.owner
        let verdict = policyVerdict(request, operation, key: key, setting: setting)
        switch operation {
        case .getBucketPolicy, .putBucketPolicy, .deleteBucketPolicy:
            if isOwner { return }
        default: break
        }
        switch verdict {
        case .denied: throw .accessDenied
        case .allowed: return
        case .silent: break
        }
        if let object, operation.readsObject {
            if isOwner, object.owner == bucket.owner { return }
            guard let permission = operation.permission,
                object.allows(permission, to: request.account, ignoresPublic: block.ignoresACLs) || isOwner && operation == .headObject
            else { throw .accessDenied }
            return
        }
        if isOwner { return }
        guard let permission = operation.permission, acl.allows(permission, to: request.account, ignoresPublic: block.ignoresACLs) else {
            throw .accessDenied
        }
    }

    /// Whether the requester may know that a key is not there.
    func mayList(_ request: S3Request) -> Bool {
        (try? check(request, .listObjects, key: nil)) != nil
    }

    private func policyVerdict(_ request: S3Request, _ operation: S3Operation, key: String?, setting: BucketSetting?) -> Policy.Verdict {
        guard let policy else { return .silent }
        let resource = "arn:aws:s3:::\(bucket.name)" + (key.map { "/\($0)" } ?? "")
        let action = operation.action(version: request.query["versionId"]?.isEmpty == false, setting: setting)
        let verdict = policy.verdict(
            Policy.Question(action: action, resource: resource, account: request.account, context: Self.context(request)))
        // RestrictPublicBuckets: a public policy serves the owner's account only.
        if verdict == .allowed, block.restrictsBuckets, policy.isPublic, request.account?.id != bucket.owner { return .silent }
        return verdict
    }

    /// The condition keys that a request has.
    private static func context(_ request: S3Request) -> [String: String] {
        var context = ["aws:securetransport": "false", "aws:sourceip": request.peer]
        for (name, key) in [("user-agent", "aws:useragent"), ("referer", "aws:referer")] { context[key] = request.header(name) }
        for name in ["prefix", "delimiter", "max-keys"] { context["s3:\(name)"] = request.query[name] }
        context["s3:versionid"] = request.query["versionId"]
        for (name, value) in request.headers where name.hasPrefix("x-amz-") { context["s3:\(name)"] = value }
        if let account = request.account {
            context["aws:principalaccount"] = account.id
            context["aws:principalarn"] = "arn:aws:iam::\(account.id):root"
            context["aws:username"] = account.name
        }
        return context
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
