internal import HTTP
internal import IAM
internal import Objects
internal import XML

/// Buckets and what is set of them.
extension S3Calls {
    func listBuckets(_ request: S3Request) async throws(S3Fault) -> S3Answer {
        let most = try request.number("max-buckets", default: 10_000)
        guard (1...10_000).contains(most) else { throw .invalidArgument("Argument max-buckets must be an integer between 1 and 10000") }
        let prefix = request.query["prefix"] ?? ""
        let after = request.query["continuation-token"] ?? ""
        let own = store.buckets().filter { $0.owner == request.account?.id }
        let found = own.filter { $0.name.text.hasPrefix(prefix) && $0.name.text > after }
        let page = found.prefix(most)
        return .document(
            XMLWriter.document("ListAllMyBucketsResult") { xml in
                xml.element("Owner") { accounts.write(request.account?.id ?? "anonymous", to: $0) }
                xml.element("Buckets") { xml in
                    for bucket in page {
                        xml.element("Bucket") {
                            $0.element("Name", bucket.name.text)
                            $0.element("CreationDate", Dates.iso(milliseconds: bucket.created))
                        }
                    }
                }
                if !prefix.isEmpty { xml.element("Prefix", prefix) }
                if page.count < found.count, let last = page.last { xml.element("ContinuationToken", last.name.text) }
            })
    }

    func createBucket(_ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let name = try request.bucket()
        guard let account = request.account else { throw .accessDenied }
        if !body.isEmpty {
            guard let root = try? XMLReader.read(body), root.name == "CreateBucketConfiguration" else { throw .malformedXML }
            if let asked = root.text("LocationConstraint"), !asked.isEmpty, asked != region, asked != "us-east-1" {
                throw S3Fault(400, "InvalidLocationConstraint", "The specified location-constraint is not valid: this is \(region)")
            }
        }
        let ownership = request.header("x-amz-object-ownership")
        if let ownership, !["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"].contains(ownership) {
            throw .invalidArgument("Invalid x-amz-object-ownership header: \(ownership)", name: "x-amz-object-ownership", value: ownership)
        }
        let acl = try ACL(headers: request, owner: account.id, bucketOwner: account.id, accounts: accounts)
        if ownership == "BucketOwnerEnforced", let acl, acl != .privateTo(account.id) {
            throw S3Fault(400, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
        }
        let hasLock = request.header("x-amz-bucket-object-lock-enabled")?.lowercased() == "true"
        if let old = store.bucket(name) {
            // As in us-east-1, a bucket of one's own may be created again; but not as another.
            guard old.owner == account.id, self.acl(stored(.acl, name), owner: old.owner) == acl ?? .privateTo(account.id) else {
                throw S3Fault(
                    409, "BucketAlreadyExists",
                    "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.")
            }
        } else {
            let made: Bucket = try await wait { store.createBucket(name, owner: account.id, objectLock: hasLock, done: $0) }
            if made.hasObjectLock, made.versioning != .enabled { try await wait { store.setVersioning(.enabled, of: name, done: $0) } }
            if let acl { _ = try await setDocument(.acl, acl.document(accounts), name) }
        }
        if let ownership {
            _ = try await setDocument(.ownership, Self.ownership(ownership), name)
        }
        return S3Answer(200, [HeaderField("Location", "/\(name)")])
    }

    private static func ownership(_ word: String) -> [UInt8] {
        XMLWriter.document("OwnershipControls") { $0.element("Rule") { $0.element("ObjectOwnership", word) } }
    }

    func ownership(_ name: BucketName) -> String? {
        stored(.ownership, name).flatMap { try? XMLReader.read($0) }?.first("Rule")?.text("ObjectOwnership")
    }

    /// ACLs are switched off: what is granted by lists is refused when it is set.
    func isOwnerEnforced(_ name: BucketName) -> Bool { ownership(name) == "BucketOwnerEnforced" }

    func deleteBucket(_ access: BucketAccess) async throws(S3Fault) -> S3Answer {
        try await wait { store.deleteBucket(access.bucket.name, done: $0) }
        return .noContent
    }

    func location() -> S3Answer {
        let xml = XMLElement(name: "LocationConstraint")
        var element = xml
        // S3 says nothing for its first region.
        element.text = region == "us-east-1" ? "" : region
        return .document(element.document)
    }

    func versioning(_ access: BucketAccess) -> S3Answer {
        .document(
            XMLWriter.document("VersioningConfiguration") { xml in
                switch access.bucket.versioning {
                case .off: break
                case .enabled: xml.element("Status", "Enabled")
                case .suspended: xml.element("Status", "Suspended")
                }
            })
    }

    func putVersioning(_ access: BucketAccess, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        guard let root = try? XMLReader.read(body), root.name == "VersioningConfiguration" else { throw .malformedXML }
        if root.text("MfaDelete") == "Enabled" { throw .notImplemented("MFA delete is not implemented") }
        let state: Versioning
        switch root.text("Status") {
        case "Enabled": state = .enabled
        case "Suspended": state = .suspended
        default:
            throw S3Fault(400, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
        }
        if state == .suspended, access.bucket.hasObjectLock || stored(.objectLock, access.bucket.name) != nil {
            throw S3Fault(
                409, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
        }
        try await wait { store.setVersioning(state, of: access.bucket.name, done: $0) }
        return .empty
    }

    func putBucketACL(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let acl = try givenACL(access, request, body, owner: access.bucket.owner)
        return try await setDocument(.acl, acl.document(accounts), access.bucket.name)
    }

    /// The list that a request sets, by field or by document.
    func givenACL(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8], owner: String) throws(S3Fault) -> ACL {
        if isOwnerEnforced(access.bucket.name) { throw S3Fault(400, "AccessControlListNotSupported", "The bucket does not allow ACLs") }
        let given: ACL
        if let fields = try ACL(headers: request, owner: owner, bucketOwner: access.bucket.owner, accounts: accounts) {
            given = fields
        } else {
            guard !body.isEmpty else { throw S3Fault(400, "MissingSecurityHeader", "Your request was missing a required header") }
            given = try ACL(document: body, accounts: accounts)
            guard given.owner == owner else { throw .accessDenied }
        }
        if access.block.blocksACLs, given.isPublic { throw .accessDenied }
        return given
    }

    /// Throws MalformedPolicy, with what is wrong.
    func bucketPolicy(_ json: [UInt8], of bucket: String) throws(S3Fault) -> Policy {
        let policy: Policy
        do throws(PolicyError) { policy = try Policy(json, kind: .resource) } catch {
            throw S3Fault(400, "MalformedPolicy", error.description)
        }
        let arn = "arn:aws:s3:::\(bucket)"
        for text in policy.resources where !(text == "*" || text == arn || text.hasPrefix(arn + "/") || text.hasPrefix("arn:aws:s3:::*")) {
            throw S3Fault(400, "MalformedPolicy", "Policy has invalid resource")
        }
        return policy
    }

    func putPolicy(_ access: BucketAccess, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        guard body.count <= 20 * 1024 else { throw S3Fault(400, "PolicyTooLarge", "Policy exceeds the maximum allowed size of 20 KiB") }
        let policy = try bucketPolicy(body, of: access.bucket.name.text)
        if access.block.blocksPolicy, policy.isPublic { throw .accessDenied }
        return try await setDocument(.policy, body, access.bucket.name, answer: .noContent)
    }

    func policyStatus(_ access: BucketAccess) -> S3Answer {
        let isPublic = access.policy?.isPublic ?? false || access.acl.isPublic
        return .document(XMLWriter.document("PolicyStatus") { $0.element("IsPublic", isPublic) })
    }
}
