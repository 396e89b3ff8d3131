internal import Objects
internal import XML

/// What can be changed of an object without writing it anew: tags, list, retention, legal hold, restore.
extension S3Calls {
    private func version(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> Head {
        let get = GetRequest(bucket: access.bucket.name, key: try request.key(), version: try request.versionID())
        return try await wait { store.head(get, done: $0) }
    }

    private func versionField(_ access: BucketAccess, _ version: ObjectVersion) -> [HeaderField] {
        access.bucket.versioning == .off ? [] : [HeaderField("x-amz-version-id", version.id.description)]
    }

    private func change(_ access: BucketAccess, _ request: S3Request, _ change: ObjectStore.Change) async throws(S3Fault) -> ObjectVersion {
        let key = try request.key(), id = try request.versionID()
        return try await wait { store.change(key, version: id, in: access.bucket.name, change, done: $0) }
    }

    // MARK: tags

    func getTags(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let head = try await version(access, request)
        return .document(Tags.document(head.version.tags), versionField(access, head.version))
    }

    func putTags(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        try Self.checkDigest(request, body)
        guard let root = try? XMLReader.read(body) else { throw .malformedXML }
        let changed = try await change(access, request, .tags(try Tags.parse(root, max: Tags.objectMax)))
        return S3Answer(200, versionField(access, changed))
    }

    func deleteTags(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let changed = try await change(access, request, .tags([]))
        return S3Answer(204, versionField(access, changed))
    }

    // MARK: lists

    func getObjectACL(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let head = try await version(access, request)
        try check(access, request, head.version, .getObjectACL)
        return .document(acl(of: head.version, access).document(accounts), versionField(access, head.version))
    }

    func putObjectACL(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let head = try await version(access, request)
        try check(access, request, head.version, .putObjectACL)
        let owner = acl(of: head.version, access).owner
        let given = try givenACL(access, request, body, owner: owner)
        let isDefault = given == .privateTo(access.bucket.owner)
        let changed = try await change(access, request, .acl(isDefault ? [] : given.document(accounts)))
        return S3Answer(200, versionField(access, changed))
    }

    // MARK: Object Lock

    private func requireLock(_ access: BucketAccess) throws(S3Fault) {
        guard canLock(access) else { throw .invalidRequest("Bucket is missing Object Lock Configuration") }
    }

    func getRetention(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        try requireLock(access)
        let lock = try await version(access, request).version.lock
        guard let mode = lock.mode else {
            throw S3Fault(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
        }
        return .document(
            XMLWriter.document("Retention") {
                $0.element("Mode", LockRule.name(mode))
                $0.element("RetainUntilDate", Dates.iso(milliseconds: lock.retainUntil))
            })
    }

    func putRetention(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        try requireLock(access)
        guard let root = try? XMLReader.read(body), root.name == "Retention" else { throw .malformedXML }
        let bypasses = request.header("x-amz-bypass-governance-retention")?.lowercased() == "true"
        if root.children.isEmpty {
            _ = try await change(access, request, .retention(nil, until: 0, bypassGovernance: bypasses))
            return .empty
        }
        let mode = try LockRule.mode(root.text("Mode"))
        guard let text = root.text("RetainUntilDate"), let until = Dates.milliseconds(iso: text) else { throw .malformedXML }
        guard until > request.now else { throw .invalidArgument("The retain until date must be in the future!") }
        if try await version(access, request).version.lock.mode == .governance, mode != .governance, !bypasses { throw .accessDenied }
        _ = try await change(access, request, .retention(mode, until: until, bypassGovernance: bypasses))
        return .empty
    }

    func getLegalHold(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        try requireLock(access)
        let lock = try await version(access, request).version.lock
        return .document(XMLWriter.document("LegalHold") { $0.element("Status", lock.legalHold ? "ON" : "OFF") })
    }

    func putLegalHold(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        try requireLock(access)
        guard let root = try? XMLReader.read(body), root.name == "LegalHold", let status = root.text("Status"), status == "ON" || status == "OFF"
        else { throw .malformedXML }
        _ = try await change(access, request, .legalHold(status == "ON"))
        return .empty
    }

    // MARK: archives

    /// What is at hand is restored when it is asked for: it is set until when it may be read. What lies in the archive is fetched first.
    func restore(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let head = try await version(access, request)
        guard ["GLACIER", "DEEP_ARCHIVE"].contains(head.version.storageClass.name) else {
            throw S3Fault(403, "InvalidObjectState", "Restore is not allowed for the object's current storage class")
        }
        guard let root = try? XMLReader.read(body), root.name == "RestoreRequest", let days = root.text("Days").flatMap(Int64.init),
            (1...36_500).contains(days)
        else { throw .malformedXML }
        if head.version.restoredUntil < 0 { throw S3Fault(409, "RestoreAlreadyInProgress", "Object restore is already in progress") }
        guard head.version.tier != .archive else {
            _ = try await change(access, request, .restore(days: Int(days)))
            return S3Answer(202)
        }
        _ = try await change(access, request, .restored(until: request.now + days * dayMilliseconds))
        return S3Answer(head.version.restoredUntil > request.now ? 200 : 202)
    }
}
