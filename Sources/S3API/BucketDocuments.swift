internal import HTTP
internal import Objects
internal import XML

/// The settings of a bucket that are documents (`BucketSetting`).
extension S3Calls {
    func getSetting(_ access: BucketAccess, _ setting: BucketSetting?, _ request: S3Request) throws(S3Fault) -> S3Answer {
        guard let setting else { throw .methodNotAllowed }
        let name = access.bucket.name
        if setting == .tiering { return try tiering(name, request) }
        if let bytes = stored(setting.document, name) { return .document(bytes) }
        if setting == .objectLock, access.bucket.hasObjectLock {
            return .document(XMLWriter.document(setting.root) { $0.element("ObjectLockEnabled", "Enabled") })
        }
        if let bytes = setting.missingAnswer { return .document(bytes) }
        throw S3Fault(.noSuchConfiguration(setting.document))
    }

    func putSetting(
        _ access: BucketAccess, _ setting: BucketSetting?, _ request: S3Request, _ body: [UInt8]
    ) async throws(S3Fault) -> S3Answer {
        guard let setting else { throw .methodNotAllowed }
        try Self.checkDigest(request, body)
        guard var root = try? XMLReader.read(body) else { throw .malformedXML }
        try setting.check(root, for: access.bucket)
        let name = access.bucket.name
        if setting == .ownershipControls, root.first("Rule")?.text("ObjectOwnership") == "BucketOwnerEnforced",
            access.acl != .privateTo(access.bucket.owner)
        {
            throw S3Fault(
                400, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
        }
        switch setting {
        case .tiering: return try await putTiering(name, root, request)
        case .notification: return try await putNotifications(name, root, request)
        case .lifecycle:
            root = LifecycleDocument.named(root)
            let rules = try LifecycleDocument.rules(root).filter(\.isEnabled).map(\.rule)
            _ = try await setDocument(.lifecycle, root.document, name)
            store.setLifecycle(LifecycleDocument.graced(rules, now: request.now, day: dayMilliseconds), of: name)
            return .empty
        default:
            let answer: S3Answer = setting == .tagging ? .noContent : .empty
            return try await setDocument(setting.document, root.document, name, answer: answer)
        }
    }

    func deleteSetting(_ access: BucketAccess, _ setting: BucketSetting?, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        guard let setting, setting.canBeDeleted else { throw .methodNotAllowed }
        let name = access.bucket.name
        if setting == .tiering { return try await deleteTiering(name, request) }
        let answer = try await setDocument(setting.document, nil, name, answer: .noContent)
        if setting == .lifecycle { store.setLifecycle([], of: name) }
        return answer
    }

    /// Content-MD5 or a checksum that came with a document must be the body's.
    static func checkDigest(_ request: S3Request, _ body: [UInt8]) throws(S3Fault) {
        if let expected = try request.contentMD5(), expected != ChecksumFields.md5(body) { throw S3Fault(.badDigest("Content-MD5")) }
        if let (algorithm, value) = try ChecksumFields.sent(request), let value,
            ChecksumFields.digest(algorithm, body) != value
        {
            throw S3Fault(.badDigest("x-amz-checksum-\(algorithm.name.lowercased())"))
        }
    }

    // MARK: Intelligent-Tiering, of which a bucket may have several

    private func tieringRoot(_ name: BucketName) -> XMLElement {
        stored(.tiering, name).flatMap { try? XMLReader.read($0) } ?? XMLElement(name: "\(TieringDocument.root)")
    }

    private func tiering(_ name: BucketName, _ request: S3Request) throws(S3Fault) -> S3Answer {
        var root = tieringRoot(name)
        guard let id = request.query["id"] else {
            var truncated = XMLElement(name: "IsTruncated")
            truncated.text = "false"
            root.children.insert(truncated, at: 0)
            return .document(root.document)
        }
        guard let found = root.children.first(where: { $0.text("Id") == id }) else { throw S3Fault(.noSuchConfiguration(.tiering)) }
        return .document(found.document)
    }

    private func putTiering(_ name: BucketName, _ item: XMLElement, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        guard let id = request.query["id"], id == item.text("Id") else { throw .invalidArgument("The id does not match the configuration's") }
        var root = tieringRoot(name)
        root.children.removeAll { $0.text("Id") == id }
        root.children.append(item)
        guard root.children.count <= 1000 else { throw S3Fault(400, "TooManyConfigurations", "At most 1,000 configurations a bucket") }
        return try await keepTiering(root, name, answer: .empty)
    }

    private func deleteTiering(_ name: BucketName, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        var root = tieringRoot(name)
        let before = root.children.count
        root.children.removeAll { $0.text("Id") == request.query["id"] }
        guard root.children.count < before else { throw S3Fault(.noSuchConfiguration(.tiering)) }
        return try await keepTiering(root, name, answer: .noContent)
    }

    private func keepTiering(_ root: XMLElement, _ name: BucketName, answer: S3Answer) async throws(S3Fault) -> S3Answer {
        let bytes = root.children.isEmpty ? nil : root.document
        _ = try await setDocument(.tiering, bytes, name)
        store.setTiering(bytes.map(TieringDocument.enabled) ?? [], of: name)
        return answer
    }
}
