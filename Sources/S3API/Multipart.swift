internal import Objects
internal import XML

/// Multipart uploads but for their parts' bodies.
extension S3Calls {
    func uploadName(_ access: BucketAccess, _ request: S3Request) throws(S3Fault) -> UploadName {
        guard let id = try? UploadID(request.query["uploadId"] ?? "") else { throw .noSuchUpload }
        return UploadName(bucket: access.bucket.name, key: try request.key(), id: id)
    }

    func createUpload(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let encryption = try Encryption.ofWrite(request, bucketDefault: stored(.encryption, access.bucket.name))
        let plan = try Self.plan(request)
        let create = UploadRequest(
            bucket: access.bucket.name, key: try request.key(), metadata: try metadata(access, request, encryption: encryption),
            tags: try tags(request), storageClass: try storageClass(request), lock: try lock(access, request), checksum: plan)
        let upload = try await wait { store.createUpload(create, done: $0) }
        var fields: [HeaderField] = []
        if let plan {
            fields.append(HeaderField("x-amz-checksum-algorithm", plan.algorithm.name))
            fields.append(HeaderField("x-amz-checksum-type", plan.type.name))
        }
        if let encryption { fields.append(HeaderField(Encryption.field, encryption)) }
        return .document(
            XMLWriter.document("InitiateMultipartUploadResult") { xml in
                xml.element("Bucket", upload.bucket.text)
                xml.element("Key", upload.key.bytes)
                xml.element("UploadId", upload.id.description)
            }, fields)
    }

    /// Which checksum the upload is to have.
    private static func plan(_ request: S3Request) throws(S3Fault) -> ChecksumPlan? {
        let typeText = request.header("x-amz-checksum-type")
        guard let text = request.header("x-amz-checksum-algorithm") else {
            guard typeText == nil else {
                throw .invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
            }
            return nil
        }
        guard let algorithm = ChecksumAlgorithm(name: text) else {
            throw .invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
        }
        let type: ChecksumType
        switch typeText?.uppercased() {
        case nil: type = algorithm == .crc64nvme ? .fullObject : .composite
        case "COMPOSITE": type = .composite
        case "FULL_OBJECT": type = .fullObject
        default: throw .invalidRequest("Value for x-amz-checksum-type header is invalid.")
        }
        let isPossible = type == .fullObject ? algorithm.isCombinable : algorithm != .crc64nvme
        guard isPossible else {
            throw .invalidRequest("The \(type.name) checksum type cannot be used with the \(algorithm.name.lowercased()) checksum algorithm.")
        }
        return ChecksumPlan(algorithm, type)
    }

    func completeUpload(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let name = try uploadName(access, request)
        guard let root = try? XMLReader.read(body), root.name == "CompleteMultipartUpload", !root.children.isEmpty else { throw .malformedXML }
        guard root.children.count <= 10_000 else { throw .malformedXML }
        var parts: [CompletedPart] = []
        for item in root.children {
            guard item.name == "Part", let text = item.text("PartNumber"), let number = Int(text), (1...10_000).contains(number),
                let etagText = item.text("ETag")
            else { throw .malformedXML }
            guard let etag = ETag(etagText) else { throw S3Fault(.invalidPart(number: number)) }
            var checksum: [UInt8]?
            for algorithm in ChecksumAlgorithm.allCases {
                if let value = item.text("\(ChecksumFields.element(algorithm))") { checksum = try ChecksumFields.value(value, algorithm) }
            }
            // A part that was sent again may be listed again: the last one is meant.
            if parts.last?.number == number { parts.removeLast() }
            parts.append(CompletedPart(number: number, etag: etag, checksum: checksum))
        }
        var complete = CompleteRequest(upload: name, parts: parts, conditions: Self.writeConditions(request))
        complete.requester = request.requester
        try Self.expectations(request, parts.count, into: &complete)
        // A completed upload is asked for in vain: it is the answer to the first request that names the encryption.
        let upload: Upload? = try? await wait { store.upload(name, done: $0) }
        let result: PutResult = try await wait { store.complete(complete, done: $0) }
        let scheme = "http://\(request.host)"
        return .document(
            XMLWriter.document("CompleteMultipartUploadResult") { xml in
                xml.element("Location", "\(scheme)/\(access.bucket.name)/\(S3Request.percentEncode(name.key.bytes))")
                xml.element("Bucket", access.bucket.name.text)
                xml.element("Key", name.key.bytes)
                xml.element("ETag", "\"\(result.etag)\"")
                ChecksumFields.write(result.checksum, parts: result.etag.parts, to: xml)
            },
            Self.fields(result, encryption: upload?.metadata.header(Encryption.field), parts: result.etag.parts).filter {
                $0.name != "ETag" && !$0.name.hasPrefix("x-amz-checksum")
            })
    }

    /// What the client says the whole must be.
    private static func expectations(_ request: S3Request, _ count: Int, into complete: inout CompleteRequest) throws(S3Fault) {
        if let text = request.header("x-amz-mp-object-size") {
            guard let size = Int64(text), size >= 0 else { throw .invalidRequest("Value for x-amz-mp-object-size header is invalid.") }
            complete.size = size
        }
        switch request.header("x-amz-checksum-type")?.uppercased() {
        case nil: break
        case "COMPOSITE": complete.checksumType = .composite
        case "FULL_OBJECT": complete.checksumType = .fullObject
        default: throw .invalidRequest("Value for x-amz-checksum-type header is invalid.")
        }
        for algorithm in ChecksumAlgorithm.allCases {
            guard let text = request.header(ChecksumFields.name(algorithm)) else { continue }
            guard complete.checksum == nil else { throw .invalidRequest("Expecting a single x-amz-checksum- header") }
            let halves = text.split(separator: "-", maxSplits: 1)
            let isComposite = halves.count == 2
            guard !isComposite || halves[1] == "\(count)" else { throw S3Fault(.badDigest(algorithm.name)) }
            // A composite value without its count is accepted where the type says that it is one.
            let type: ChecksumType = isComposite || complete.checksumType == .composite ? .composite : .fullObject
            complete.checksum = Checksum(algorithm, try ChecksumFields.value(String(halves.first ?? ""), algorithm), type: type)
        }
    }

    func abortUpload(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let name = try uploadName(access, request)
        try await wait { store.abort(name, done: $0) }
        return .noContent
    }

    func listParts(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let name = try uploadName(access, request)
        let most = min(try request.number("max-parts", default: 1000), 1000)
        let marker = try request.number("part-number-marker", default: 0)
        let found = try await wait { store.parts(ofUpload: name, after: marker, partsMax: most, done: $0) }
        let (upload, page) = found
        return .document(
            XMLWriter.document("ListPartsResult") { xml in
                xml.element("Bucket", access.bucket.name.text)
                xml.element("Key", name.key.bytes)
                xml.element("UploadId", upload.id.description)
                let owner = acl(upload.metadata.acl, owner: access.bucket.owner).owner
                xml.element("Initiator") { accounts.write(owner, to: $0) }
                xml.element("Owner") { accounts.write(owner, to: $0) }
                xml.element("StorageClass", upload.storageClass.name)
                xml.element("PartNumberMarker", marker)
                xml.element("NextPartNumberMarker", page.next ?? page.parts.last?.number ?? 0)
                xml.element("MaxParts", most)
                xml.element("IsTruncated", page.next != nil)
                if let plan = upload.checksum {
                    xml.element("ChecksumAlgorithm", plan.algorithm.name)
                    xml.element("ChecksumType", plan.type.name)
                }
                for part in page.parts {
                    xml.element("Part") {
                        $0.element("PartNumber", part.number)
                        $0.element("LastModified", Dates.iso(milliseconds: part.modified))
                        $0.element("ETag", "\"\(part.etag)\"")
                        $0.element("Size", part.size)
                        if upload.checksum != nil { ChecksumFields.write(part.checksum, parts: 0, to: $0, withType: false) }
                    }
                }
            })
    }
}
