internal import HTTP
internal import Objects
internal import XML

/// CopyObject and UploadPartCopy.
extension S3Calls {
    /// `x-amz-copy-source`: `[/]bucket/key[?versionId=…]`, percent-encoded; the requester must be allowed to read it.
    private func source(_ request: S3Request, range: ClosedRange<Int64>? = nil) async throws(S3Fault) -> CopySource {
        let text = request.header("x-amz-copy-source") ?? ""
        let invalid = S3Fault.invalidArgument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", name: "x-amz-copy-source", value: text)
        let halves = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let raw = Array(halves[0].utf8)
        guard var path = raw.withUnsafeBytes({ percentDecode($0, plusIsSpace: false) }) else { throw invalid }
        if path.first == UInt8(ascii: "/") { path.removeFirst() }
        guard let slash = path.firstIndex(of: UInt8(ascii: "/")), slash + 1 < path.count else { throw invalid }
        var source: CopySource
        do {
            source = CopySource(
                bucket: try BucketName(String(decoding: path[..<slash], as: UTF8.self)), key: try ObjectKey(Array(path[(slash + 1)...])))
        } catch { throw S3Fault(error) }
        if halves.count > 1 {
            guard halves[1].hasPrefix("versionId="), let version = try? VersionID(String(halves[1].dropFirst("versionId=".count))) else {
                throw .invalidArgument("Invalid version id specified", name: "x-amz-copy-source", value: text)
            }
            source.version = version
        }
        source.conditions = Self.conditions(request, prefix: "x-amz-copy-source-")
        source.range = range
        try await checkReadable(source, request)
        return source
    }

    private func checkReadable(_ source: CopySource, _ request: S3Request) async throws(S3Fault) {
        let access = try self.access(source.bucket)
        let get = GetRequest(bucket: source.bucket, key: source.key, version: source.version)
        let head: Head = try await wait { store.head(get, done: $0) }
        try check(access, request, head.version, .getObject)
        if let range = source.range, range.upperBound >= head.version.size { throw S3Fault(.invalidRange(size: head.version.size)) }
    }

    func copyObject(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let source = try await source(request)
        let key = try request.key()
        let replacesMetadata = try Self.directive(request, "x-amz-metadata-directive")
        let replacesTags = try Self.directive(request, "x-amz-tagging-directive")
        let isItself = source.bucket == access.bucket.name && source.key == key && source.version == nil
        let changesSomething =
            replacesMetadata || replacesTags || request.header("x-amz-storage-class") != nil
            || request.header("x-amz-website-redirect-location") != nil || request.header(Encryption.field) != nil
        guard !isItself || changesSomething else {
            throw .invalidRequest(
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
        }
        let encryption = try Encryption.ofWrite(request, bucketDefault: stored(.encryption, access.bucket.name))
        var copy = CopyRequest(source: source, bucket: access.bucket.name, key: key)
        let given = try metadata(access, request, encryption: encryption)
        copy.metadata = replacesMetadata ? given : try await carried(source, given, encryption)
        copy.tags = replacesTags ? try tags(request) : nil
        copy.storageClass = try storageClass(request)
        copy.lock = try lock(access, request)
        copy.requester = request.requester
        copy.conditions = Self.writeConditions(request)
        if let text = request.header("x-amz-checksum-algorithm") {
            guard let algorithm = ChecksumAlgorithm(name: text) else { throw .invalidRequest("Checksum algorithm provided is unsupported.") }
            copy.checksum = algorithm
        }
        let copied: CopyResult = try await wait { store.copy(copy, done: $0) }
        var fields = Self.fields(copied.result, encryption: encryption, parts: copied.result.etag.parts).filter {
            $0.name != "ETag" && !$0.name.hasPrefix("x-amz-checksum")
        }
        if let version = copied.sourceVersion { fields.append(HeaderField("x-amz-copy-source-version-id", version.description)) }
        return .document(
            XMLWriter.document("CopyObjectResult") { xml in
                xml.element("LastModified", Dates.iso(milliseconds: copied.result.modified))
                xml.element("ETag", "\"\(copied.result.etag)\"")
                ChecksumFields.write(copied.result.checksum, parts: copied.result.etag.parts, to: xml)
            }, fields)
    }

    /// The source's metadata, but the copy's own list and encryption.
    private func carried(_ source: CopySource, _ given: Metadata, _ encryption: String?) async throws(S3Fault) -> Metadata {
        let get = GetRequest(bucket: source.bucket, key: source.key, version: source.version)
        let head: Head = try await wait { store.head(get, done: $0) }
        var metadata = head.version.metadata
        metadata.acl = given.acl
        metadata.headers.removeAll { $0.name == Encryption.field || $0.name == "x-amz-website-redirect-location" }
        metadata.headers += given.headers.filter { $0.name == Encryption.field || $0.name == "x-amz-website-redirect-location" }
        return metadata
    }

    /// COPY or REPLACE.
    private static func directive(_ request: S3Request, _ name: String) throws(S3Fault) -> Bool {
        switch request.header(name) {
        case nil, "COPY": return false
        case "REPLACE": return true
        case let other?: throw .invalidArgument("Unknown directive: \(other)", name: name, value: other)
        }
    }

    func copyPart(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let name = try uploadName(access, request)
        guard let number = Int(request.query["partNumber"] ?? ""), (1...10_000).contains(number) else {
            throw .invalidArgument("Part number must be an integer between 1 and 10000, inclusive")
        }
        var range: ClosedRange<Int64>?
        if let text = request.header("x-amz-copy-source-range") {
            guard case .from(let first, let last?)? = RangeField.parse(text) else {
                throw .invalidArgument(
                    "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
                    name: "x-amz-copy-source-range", value: text)
            }
            range = first...last
        }
        let source = try await source(request, range: range)
        let copied = try await wait { store.copyPart(name, number: number, from: source, done: $0) }
        var fields = copied.sourceVersion.map { [HeaderField("x-amz-copy-source-version-id", $0.description)] } ?? []
        let upload: Upload = try await wait { store.upload(name, done: $0) }
        if let encryption = upload.metadata.header(Encryption.field) { fields.append(HeaderField(Encryption.field, encryption)) }
        return .document(
            XMLWriter.document("CopyPartResult") { xml in
                xml.element("LastModified", Dates.iso(milliseconds: copied.part.modified))
                xml.element("ETag", "\"\(copied.part.etag)\"")
                ChecksumFields.write(copied.part.checksum, parts: 0, to: xml, withType: false)
            }, fields)
    }
}
