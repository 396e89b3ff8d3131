internal import HTTP
internal import Objects
internal import XML

/// GetObject, HeadObject, GetObjectAttributes.
extension S3Calls {
    func getObject(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let get = try readRequest(access, request)
        let reader: ObjectReader
        do { reader = try await wait { store.get(get, done: $0) } } catch { throw hidden(error, access, request) }
        try check(access, request, reader.head.version, .getObject)
        let overrides = try Self.overrides(request)
        let part = try await partChecksum(get, request)
        return S3Answer(reader.head.isPartial ? 206 : 200, fields(reader.head, request, overrides) + part, body: .object(reader))
    }

    func headObject(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let get = try readRequest(access, request)
        let head: Head
        do { head = try await wait { store.head(get, done: $0) } } catch { throw hidden(error, access, request) }
        try check(access, request, head.version, .headObject)
        let overrides = try Self.overrides(request)
        return S3Answer(
            head.isPartial ? 206 : 200, fields(head, request, overrides) + (try await partChecksum(get, request)),
            body: .length(Int64(head.range.count)))
    }

    private static func wantsChecksum(_ request: S3Request) -> Bool { request.header("x-amz-checksum-mode")?.uppercased() == "ENABLED" }

    /// The checksum of the one part that is read.
    private func partChecksum(_ get: GetRequest, _ request: S3Request) async throws(S3Fault) -> [HeaderField] {
        guard Self.wantsChecksum(request), let number = get.partNumber else { return [] }
        let found = try await wait { store.parts(of: get, after: number - 1, partsMax: 1, done: $0) }
        guard let part = found.1.parts.first, part.number == number, let checksum = part.checksum, let whole = found.0.version.checksum
        else { return [] }
        return [
            HeaderField(ChecksumFields.name(checksum.algorithm), S3Request.encodeBase64(checksum.value)),
            HeaderField("x-amz-checksum-type", whole.type.name),
        ]
    }

    private func readRequest(_ access: BucketAccess, _ request: S3Request) throws(S3Fault) -> GetRequest {
        try Encryption.checkRead(request)
        var get = GetRequest(bucket: access.bucket.name, key: try request.key(), version: try request.versionID())
        get.range = RangeField.parse(request.header("range"))
        if let text = request.query["partNumber"] {
            guard let number = Int(text), (1...10_000).contains(number) else {
                throw .invalidArgument("Part number must be an integer between 1 and 10000, inclusive", name: "partNumber", value: text)
            }
            guard request.header("range") == nil else { throw .invalidRequest("Cannot specify both Range header and partNumber query parameter") }
            get.partNumber = number
        }
        get.conditions = Self.conditions(request, prefix: "")
        return get
    }

    /// `if-match` … or, with a prefix, `x-amz-copy-source-if-match` …
    static func conditions(_ request: S3Request, prefix: String) -> ReadConditions {
        ReadConditions(
            ifMatch: request.header(prefix + "if-match").map { ETagCondition($0) },
            ifNoneMatch: request.header(prefix + "if-none-match").map { ETagCondition($0) },
            ifModifiedSince: request.header(prefix + "if-modified-since").flatMap(Dates.seconds),
            ifUnmodifiedSince: request.header(prefix + "if-unmodified-since").flatMap(Dates.seconds))
    }

    /// Whoever may not list a bucket is not told which keys are missing.
    private func hidden(_ fault: S3Fault, _ access: BucketAccess, _ request: S3Request) -> S3Fault {
        let isMissing = fault.code == "NoSuchKey" || fault.code == "NoSuchVersion"
        if isMissing { return access.mayList(request) ? fault : .accessDenied }
        return (try? access.check(request, .getObject, key: request.keyBytes.map { String(decoding: $0, as: UTF8.self) })) == nil
            && access.acl.isPublic == false && request.account == nil && fault.status >= 400 ? .accessDenied : fault
    }

    /// The list of a version.
    func acl(of version: ObjectVersion, _ access: BucketAccess) -> ACL { acl(version.metadata.acl, owner: access.bucket.owner) }

    func check(_ access: BucketAccess, _ request: S3Request, _ version: ObjectVersion, _ operation: S3Operation) throws(S3Fault) {
        try access.check(request, operation, key: version.key.description, object: acl(of: version, access))
    }

    private static let overridable: [(query: String, field: String)] = [
        ("response-content-type", "Content-Type"), ("response-content-language", "Content-Language"), ("response-expires", "Expires"),
        ("response-cache-control", "Cache-Control"), ("response-content-disposition", "Content-Disposition"),
        ("response-content-encoding", "Content-Encoding"),
    ]

    /// Fields that the query replaces; only a signed request may (anonymous ones could make others' browsers read something else).
    private static func overrides(_ request: S3Request) throws(S3Fault) -> [HeaderField] {
        let given = overridable.compactMap { pair in request.query[pair.query].map { HeaderField(pair.field, $0) } }
        guard given.isEmpty || request.account != nil else {
            throw .invalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
        }
        return given
    }

    private func fields(_ head: Head, _ request: S3Request, _ overrides: [HeaderField]) -> [HeaderField] {
        let version = head.version
        var fields = overrides
        let replaced = Set(overrides.map { $0.name.lowercased() })
        if version.metadata.header("content-type") == nil, !replaced.contains("content-type") {
            fields.append(HeaderField("Content-Type", "binary/octet-stream"))
        }
        for field in version.metadata.headers where !replaced.contains(field.name) { fields.append(HeaderField(field.name, field.value)) }
        fields.append(HeaderField("Last-Modified", Dates.http(milliseconds: version.modified)))
        fields.append(HeaderField("ETag", "\"\(version.etag)\""))
        fields.append(HeaderField("Accept-Ranges", "bytes"))
        if head.isPartial {
            fields.append(HeaderField("Content-Range", "bytes \(head.range.lowerBound)-\(head.range.upperBound - 1)/\(version.size)"))
        }
        if head.showsVersion { fields.append(HeaderField("x-amz-version-id", version.id.description)) }
        for field in version.metadata.user { fields.append(HeaderField("x-amz-meta-\(field.name)", field.value)) }
        if version.storageClass != .standard { fields.append(HeaderField("x-amz-storage-class", version.storageClass.name)) }
        if !version.tags.isEmpty { fields.append(HeaderField("x-amz-tagging-count", String(version.tags.count))) }
        fields += Self.expiry(version.expiry)
        fields += Self.lock(version.lock)
        if version.restoredUntil < 0 {
            fields.append(HeaderField("x-amz-restore", "ongoing-request=\"true\""))
        } else if version.restoredUntil > 0 {
            let until = Dates.http(milliseconds: version.restoredUntil)
            fields.append(HeaderField("x-amz-restore", "ongoing-request=\"false\", expiry-date=\"\(until)\""))
        }
        if let count = head.partsCount { fields.append(HeaderField("x-amz-mp-parts-count", String(count))) }
        // Of a range nothing is known but its bytes: a client would hold them to the whole object's checksum.
        let isWhole = !head.isPartial || head.range.count == Int(version.size)
        if Self.wantsChecksum(request), isWhole, request.query["partNumber"] == nil || version.etag.parts == 0 {
            fields += ChecksumFields.fields(version.checksum, parts: version.etag.parts)
        }
        return fields
    }

    static func expiry(_ expiry: (time: Int64, rule: String)?) -> [HeaderField] {
        guard let expiry else { return [] }
        let rule = S3Request.percentEncode(Array(expiry.rule.utf8))
        return [HeaderField("x-amz-expiration", "expiry-date=\"\(Dates.http(milliseconds: expiry.time))\", rule-id=\"\(rule)\"")]
    }

    private static func lock(_ lock: ObjectLock) -> [HeaderField] {
        var fields: [HeaderField] = []
        if let mode = lock.mode {
            fields.append(HeaderField("x-amz-object-lock-mode", LockRule.name(mode)))
            fields.append(HeaderField("x-amz-object-lock-retain-until-date", Dates.iso(milliseconds: lock.retainUntil)))
        }
        if lock.legalHold { fields.append(HeaderField("x-amz-object-lock-legal-hold", "ON")) }
        return fields
    }

    // MARK: GetObjectAttributes

    func attributes(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let wanted = Set((request.header("x-amz-object-attributes") ?? "").split(separator: ",").map { $0.filter { $0 != " " } })
        let known: Set<String> = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
        guard !wanted.isEmpty, wanted.isSubset(of: known) else { throw .invalidArgument("Invalid attribute name specified.") }
        func number(_ name: String, _ missing: Int) throws(S3Fault) -> Int {
            guard let text = request.header(name) else { return missing }
            guard let value = Int(text), value >= 0 else { throw .invalidArgument("\(name) must be a number", name: name, value: text) }
            return value
        }
        let partsMax = min(try number("x-amz-max-parts", 1000), 1000)
        let marker = try number("x-amz-part-number-marker", 0)
        let get = GetRequest(bucket: access.bucket.name, key: try request.key(), version: try request.versionID())
        let found: (Head, PartsPage)
        do { found = try await wait { store.parts(of: get, after: marker, partsMax: partsMax, done: $0) } } catch {
            throw hidden(error, access, request)
        }
        let (head, page) = found
        try check(access, request, head.version, .getObjectAttributes)
        var fields = [HeaderField("Last-Modified", Dates.http(milliseconds: head.version.modified))]
        if head.showsVersion { fields.append(HeaderField("x-amz-version-id", head.version.id.description)) }
        return .document(attributesDocument(head.version, page, wanted, partsMax: partsMax, marker: marker), fields)
    }

    private func attributesDocument(
        _ version: ObjectVersion, _ page: PartsPage, _ wanted: Set<String>, partsMax: Int, marker: Int
    ) -> [UInt8] {
        XMLWriter.document("GetObjectAttributesResponse") { xml in
            if wanted.contains("ETag") { xml.element("ETag", version.etag.description) }
            if wanted.contains("Checksum"), version.checksum != nil {
                xml.element("Checksum") { ChecksumFields.write(version.checksum, parts: version.etag.parts, to: $0) }
            }
            if wanted.contains("ObjectParts"), version.etag.parts > 0 {
                xml.element("ObjectParts") { xml in
                    xml.element("PartsCount", page.total)
                    xml.element("PartNumberMarker", marker)
                    xml.element("NextPartNumberMarker", page.next ?? page.parts.last?.number ?? 0)
                    xml.element("MaxParts", partsMax)
                    xml.element("IsTruncated", page.next != nil)
                    for part in page.parts {
                        xml.element("Part") {
                            $0.element("PartNumber", part.number)
                            $0.element("Size", part.size)
                            // A whole-object checksum says nothing of the parts.
                            guard version.checksum?.type == .composite else { return }
                            ChecksumFields.write(part.checksum, parts: 0, to: $0, withType: false)
                        }
                    }
                }
            }
            if wanted.contains("StorageClass") { xml.element("StorageClass", version.storageClass.name) }
            if wanted.contains("ObjectSize") { xml.element("ObjectSize", version.size) }
        }
    }
}

/// The field Range (RFC 9110 §14.2): one range of bytes. What is malformed, or several ranges, is ignored, as S3 does.
enum RangeField {
    static func parse(_ text: String?) -> RangeRequest? {
        guard let text, text.hasPrefix("bytes=") else { return nil }
        let halves = text.dropFirst(6).filter { $0 != " " }.split(separator: "-", omittingEmptySubsequences: false)
        guard halves.count == 2, halves.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else { return nil }
        if halves[0].isEmpty { return Int64(halves[1]).map { .suffix($0) } }
        guard let first = Int64(halves[0]) else { return nil }
        if halves[1].isEmpty { return .from(first, through: nil) }
        guard let last = Int64(halves[1]), last >= first else { return nil }
        return .from(first, through: last)
    }
}
