internal import Objects
internal import SigV4
internal import XML

/// PutObject and UploadPart up to their bodies, and what all writes read from their requests.
extension S3Calls {
    /// What takes the body of a request, and what answers when it is stored.
    struct Intake: Sendable {
        let writer: ObjectWriter
        /// The trailer that carries the checksum; nil: it came before the body, or not at all.
        let trailer: ChecksumAlgorithm?
        let answer: @Sendable (PutResult) -> S3Answer
    }

    /// Judges everything that can be judged before the body; nothing of it changes the store.
    func intake(
        _ operation: S3Operation, _ request: S3Request, payload: S3Authorization.Payload, length: Int64?
    ) throws(S3Fault) -> Intake {
        let access = try self.access(request)
        let key = try request.key()
        try access.check(request, operation, key: key.description)
        let checks = try checks(request, payload: payload, length: length)
        let sent = try ChecksumFields.sent(request)
        let trailer = sent.flatMap { $0.value == nil && request.header("x-amz-trailer") != nil ? $0.algorithm : nil }
        if operation == .uploadPart {
            let upload = try uploadName(access, request)
            guard let number = Int(request.query["partNumber"] ?? ""), (1...10_000).contains(number) else {
                throw .invalidArgument("Part number must be an integer between 1 and 10000, inclusive", name: "partNumber", value: request.query["partNumber"] ?? "")
            }
            let writer = store.putPart(upload, number: number, body: checks)
            return Intake(writer: writer, trailer: trailer) { result in
                S3Answer(200, [HeaderField("ETag", "\"\(result.etag)\"")] + ChecksumFields.fields(result.checksum, parts: 0).prefix(1))
            }
        }
        let encryption = try Encryption.ofWrite(request, bucketDefault: stored(.encryption, access.bucket.name))
        var put = PutRequest(
            bucket: access.bucket.name, key: key, metadata: try metadata(access, request, encryption: encryption),
            tags: try tags(request), storageClass: try storageClass(request), lock: try lock(access, request), body: checks,
            conditions: Self.writeConditions(request))
        put.requester = request.requester
        return Intake(writer: store.put(put), trailer: trailer) { result in
            S3Answer(200, Self.fields(result, encryption: encryption, parts: 0))
        }
    }

    static func fields(_ result: PutResult, encryption: String?, parts: Int) -> [HeaderField] {
        var fields = [HeaderField("ETag", "\"\(result.etag)\"")]
        // Of a bucket whose versioning is suspended nothing is said of the null version.
        if let version = result.version, version != .null { fields.append(HeaderField("x-amz-version-id", version.description)) }
        fields += ChecksumFields.fields(result.checksum, parts: parts)
        fields += expiry(result.expiry)
        if let encryption { fields.append(HeaderField(Encryption.field, encryption)) }
        return fields
    }

    /// What the body must turn out to be.
    private func checks(_ request: S3Request, payload: S3Authorization.Payload, length: Int64?) throws(S3Fault) -> BodyChecks {
        var checks = BodyChecks(size: length, md5: try request.contentMD5())
        if case .digest(let digits) = payload { checks.sha256 = Self.bytes(hex: digits) }
        if let sent = try ChecksumFields.sent(request) {
            checks.checksum = sent.algorithm
            checks.checksumValue = sent.value
        }
        return checks
    }

    private static func bytes(hex text: String) -> [UInt8] {
        let digits = text.utf8.map { $0 < 0x3A ? $0 - 0x30 : $0 - 0x57 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    static func writeConditions(_ request: S3Request) -> WriteConditions {
        WriteConditions(
            ifMatch: request.header("if-match").map { ETagCondition($0) },
            ifNoneMatch: request.header("if-none-match").map { ETagCondition($0) })
    }

    private static let keptFields: Set<String> = [
        "content-type", "content-language", "content-disposition", "cache-control", "expires", "content-encoding",
        "x-amz-website-redirect-location",
    ]

    /// Content headers, user metadata and the list that a write gives its object.
    func metadata(_ access: BucketAccess, _ request: S3Request, encryption: String?) throws(S3Fault) -> Metadata {
        var metadata = Metadata()
        for (name, value) in request.headers.sorted(by: { $0.key < $1.key }) {
            if Self.keptFields.contains(name) {
                // `aws-chunked` is how the body came, not what it is.
                let kept = name == "content-encoding" ? Self.withoutChunked(value) : value
                if !kept.isEmpty { metadata.headers.append(Field(name, kept)) }
            } else if name.hasPrefix("x-amz-meta-") {
                metadata.user.append(Field(String(name.dropFirst("x-amz-meta-".count)), value))
            }
        }
        if let encryption { metadata.headers.append(Field(Encryption.field, encryption)) }
        metadata.acl = try objectACL(access, request)
        return metadata
    }

    private static func withoutChunked(_ value: String) -> String {
        value.split(separator: ",").map { $0.filter { $0 != " " } }.filter { $0.lowercased() != "aws-chunked" }.joined(separator: ", ")
    }

    /// The list of a new object, as it is kept; empty: private to the bucket's owner.
    private func objectACL(_ access: BucketAccess, _ request: S3Request) throws(S3Fault) -> [UInt8] {
        let ownership = ownership(access.bucket.name), canned = request.header("x-amz-acl")
        let isEnforced = ownership == "BucketOwnerEnforced"
        let isHandedOver = isEnforced || ownership == "BucketOwnerPreferred" && canned == "bucket-owner-full-control"
        let owner = isHandedOver ? access.bucket.owner : request.account?.id ?? access.bucket.owner
        guard let acl = try ACL(headers: request, owner: owner, bucketOwner: access.bucket.owner, accounts: accounts) else {
            return owner == access.bucket.owner ? [] : ACL.privateTo(owner).document(accounts)
        }
        if isEnforced {
            guard canned == "bucket-owner-full-control" else {
                throw S3Fault(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
            }
            return []
        }
        if access.block.blocksACLs, acl.isPublic { throw .accessDenied }
        return acl == .privateTo(access.bucket.owner) ? [] : acl.document(accounts)
    }

    func tags(_ request: S3Request) throws(S3Fault) -> [Field] {
        guard let text = request.header("x-amz-tagging") else { return [] }
        return try Tags.parse(header: text)
    }

    func storageClass(_ request: S3Request) throws(S3Fault) -> StorageClass {
        guard let name = request.header("x-amz-storage-class") else { return .standard }
        guard let known = StorageClasses.named(name) else {
            throw S3Fault(400, "InvalidStorageClass", "The storage class you specified is not valid")
        }
        return known
    }

    /// Retention and legal hold that a write asks for, or that its bucket gives all its objects.
    func lock(_ access: BucketAccess, _ request: S3Request) throws(S3Fault) -> ObjectLock {
        var lock = ObjectLock()
        let mode = request.header("x-amz-object-lock-mode"), until = request.header("x-amz-object-lock-retain-until-date")
        let hold = request.header("x-amz-object-lock-legal-hold")
        let rule = stored(.objectLock, access.bucket.name).flatMap { try? XMLReader.read($0) }.flatMap { try? LockRule($0) }
        guard mode != nil || until != nil || hold != nil else {
            if let rule { (lock.mode, lock.retainUntil) = (rule.mode, request.now + rule.milliseconds) }
            return lock
        }
        guard canLock(access) else { throw .invalidRequest("Bucket is missing Object Lock Configuration") }
        if let hold {
            guard hold == "ON" || hold == "OFF" else { throw .invalidArgument("Legal Hold must be either of 'ON' or 'OFF'") }
            lock.legalHold = hold == "ON"
        }
        guard mode != nil || until != nil else {
            if let rule { (lock.mode, lock.retainUntil) = (rule.mode, request.now + rule.milliseconds) }
            return lock
        }
        guard let mode, let until else {
            throw .invalidArgument("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
        }
        guard let known = try? LockRule.mode(mode) else { throw .invalidArgument("Unknown wormMode directive.") }
        guard let time = Dates.milliseconds(iso: until) else { throw .invalidArgument("The retain until date must be provided in ISO 8601 format") }
        guard time > request.now else { throw .invalidArgument("The retain until date must be in the future!") }
        (lock.mode, lock.retainUntil) = (known, time)
        return lock
    }

    func canLock(_ access: BucketAccess) -> Bool { access.bucket.hasObjectLock || stored(.objectLock, access.bucket.name) != nil }
}
