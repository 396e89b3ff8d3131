internal import Objects
internal import XML

/// ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads.
extension S3Calls {
    /// What the four have in common.
    private struct Page {
        let prefix: String
        let delimiter: String
        let keysMax: Int
        let isEncoded: Bool

        init(_ request: S3Request, count: String) throws(S3Fault) {
            prefix = request.query["prefix"] ?? ""
            delimiter = request.query["delimiter"] ?? ""
            keysMax = min(try request.number(count, default: ListRequest.keysMax), ListRequest.keysMax)
            switch request.query["encoding-type"] {
            case nil, "": isEncoded = false
            case "url": isEncoded = true
            case let other: throw .invalidArgument("Invalid Encoding Method specified in Request", name: "encoding-type", value: other)
            }
        }

        func text(_ bytes: [UInt8]) -> [UInt8] { isEncoded ? Array(S3Request.percentEncode(bytes).utf8) : bytes }
        func text(_ string: String) -> [UInt8] { text(Array(string.utf8)) }

        func writePrefixes(_ prefixes: [[UInt8]], to xml: XMLWriter) {
            for prefix in prefixes { xml.element("CommonPrefixes") { $0.element("Prefix", text(prefix)) } }
        }

        func writeHead(
            _ name: BucketName, to xml: XMLWriter, keys: StaticString = "MaxKeys", nameElement: StaticString = "Name", encodesPrefix: Bool = true
        ) {
            xml.element(nameElement, name.text)
            xml.element("Prefix", encodesPrefix ? text(prefix) : Array(prefix.utf8))
            if !delimiter.isEmpty { xml.element("Delimiter", text(delimiter)) }
            xml.element(keys, keysMax)
            if isEncoded { xml.element("EncodingType", "url") }
        }
    }

    private func write(_ object: ListedObject, _ page: Page, owner: String?, to xml: XMLWriter) {
        xml.element("Key", page.text(object.key.bytes))
        xml.element("LastModified", Dates.iso(milliseconds: object.modified))
        xml.element("ETag", "\"\(object.etag)\"")
        if let checksum = object.checksum {
            xml.element("ChecksumAlgorithm", checksum.algorithm.name)
            xml.element("ChecksumType", checksum.type.name)
        }
        xml.element("Size", object.size)
        if let owner { xml.element("Owner") { accounts.write(owner, to: $0) } }
        xml.element("StorageClass", object.storageClass.name)
    }

    private func objects(_ access: BucketAccess, _ page: Page, after: [UInt8]) async throws(S3Fault) -> ListPage {
        let list = ListRequest(
            bucket: access.bucket.name, prefix: Array(page.prefix.utf8), delimiter: Array(page.delimiter.utf8), after: after,
            keysMax: page.keysMax)
        return try await wait { store.list(list, done: $0) }
    }

    func listObjects(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let page = try Page(request, count: "max-keys")
        let marker = request.query["marker"] ?? ""
        let found = try await objects(access, page, after: Array(marker.utf8))
        return .document(
            XMLWriter.document("ListBucketResult") { xml in
                // botocore decodes the prefix of every listing but this one.
                page.writeHead(access.bucket.name, to: xml, encodesPrefix: false)
                xml.element("Marker", page.text(marker))
                xml.element("IsTruncated", found.next != nil)
                if let next = found.next, !page.delimiter.isEmpty { xml.element("NextMarker", page.text(next)) }
                for object in found.objects {
                    xml.element("Contents") { write(object, page, owner: access.bucket.owner, to: $0) }
                }
                page.writePrefixes(found.prefixes, to: xml)
            })
    }

    func listObjectsV2(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let page = try Page(request, count: "max-keys")
        let startAfter = request.query["start-after"]
        let token = request.query["continuation-token"]
        var after = Array((startAfter ?? "").utf8)
        if let token, !token.isEmpty {
            guard let place = S3Request.decodeBase64(token), !place.isEmpty else {
                throw .invalidArgument("The continuation token provided is incorrect", name: "continuation-token", value: token)
            }
            after = place
        }
        let found = try await objects(access, page, after: after)
        let owner = request.query["fetch-owner"] == "true" ? access.bucket.owner : nil
        return .document(
            XMLWriter.document("ListBucketResult") { xml in
                page.writeHead(access.bucket.name, to: xml)
                if let startAfter { xml.element("StartAfter", page.text(startAfter)) }
                if let token { xml.element("ContinuationToken", token) }
                xml.element("KeyCount", found.objects.count + found.prefixes.count)
                xml.element("IsTruncated", found.next != nil)
                if let next = found.next { xml.element("NextContinuationToken", S3Request.encodeBase64(next)) }
                for object in found.objects { xml.element("Contents") { write(object, page, owner: owner, to: $0) } }
                page.writePrefixes(found.prefixes, to: xml)
            })
    }

    func listVersions(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let page = try Page(request, count: "max-keys")
        let keyMarker = request.query["key-marker"] ?? ""
        let versionMarker = request.query["version-id-marker"] ?? ""
        guard versionMarker.isEmpty || !keyMarker.isEmpty else {
            throw .invalidArgument("A version-id marker cannot be specified without a key marker.", name: "version-id-marker", value: versionMarker)
        }
        var list = VersionsRequest(
            bucket: access.bucket.name, prefix: Array(page.prefix.utf8), delimiter: Array(page.delimiter.utf8),
            afterKey: Array(keyMarker.utf8), keysMax: page.keysMax)
        if !versionMarker.isEmpty {
            do { list.afterVersion = try VersionID(versionMarker) } catch {
                throw .invalidArgument("Invalid version id specified", name: "version-id-marker", value: versionMarker)
            }
        }
        let found = try await wait { store.listVersions(list, done: $0) }
        return .document(
            XMLWriter.document("ListVersionsResult") { xml in
                page.writeHead(access.bucket.name, to: xml)
                xml.element("KeyMarker", page.text(keyMarker))
                xml.element("VersionIdMarker", versionMarker)
                xml.element("IsTruncated", found.next != nil)
                if let next = found.next {
                    xml.element("NextKeyMarker", page.text(next.key))
                    if let version = next.version { xml.element("NextVersionIdMarker", version.description) }
                }
                for version in found.versions { write(version, page, access, to: xml) }
                page.writePrefixes(found.prefixes, to: xml)
            })
    }

    private func write(_ version: ListedVersion, _ page: Page, _ access: BucketAccess, to xml: XMLWriter) {
        xml.element(version.isDeleteMarker ? "DeleteMarker" : "Version") { xml in
            xml.element("VersionId", version.id.description)
            xml.element("IsLatest", version.isLatest)
            guard version.isDeleteMarker else { return write(version.object, page, owner: access.bucket.owner, to: xml) }
            xml.element("Key", page.text(version.object.key.bytes))
            xml.element("LastModified", Dates.iso(milliseconds: version.object.modified))
            xml.element("Owner") { accounts.write(access.bucket.owner, to: $0) }
        }
    }

    func listUploads(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let page = try Page(request, count: "max-uploads")
        let keyMarker = request.query["key-marker"] ?? ""
        let idMarker = request.query["upload-id-marker"] ?? ""
        var list = UploadsRequest(
            bucket: access.bucket.name, prefix: Array(page.prefix.utf8), delimiter: Array(page.delimiter.utf8),
            afterKey: Array(keyMarker.utf8), uploadsMax: page.keysMax)
        if !idMarker.isEmpty, !keyMarker.isEmpty {
            do { list.afterUpload = try UploadID(idMarker) } catch {
                throw .invalidArgument("Invalid uploadId marker", name: "upload-id-marker", value: idMarker)
            }
        }
        let found = try await wait { store.listUploads(list, done: $0) }
        return .document(
            XMLWriter.document("ListMultipartUploadsResult") { xml in
                page.writeHead(access.bucket.name, to: xml, keys: "MaxUploads", nameElement: "Bucket")
                xml.element("KeyMarker", page.text(keyMarker))
                xml.element("UploadIdMarker", idMarker)
                if let next = found.next {
                    xml.element("NextKeyMarker", page.text(next.key))
                    if let upload = next.upload { xml.element("NextUploadIdMarker", upload.description) }
                }
                xml.element("IsTruncated", found.next != nil)
                for upload in found.uploads { write(upload, page, access, to: xml) }
                page.writePrefixes(found.prefixes, to: xml)
            })
    }

    private func write(_ upload: Upload, _ page: Page, _ access: BucketAccess, to xml: XMLWriter) {
        xml.element("Upload") { xml in
            xml.element("Key", page.text(upload.key.bytes))
            xml.element("UploadId", upload.id.description)
            let owner = acl(upload.metadata.acl, owner: access.bucket.owner).owner
            xml.element("Initiator") { accounts.write(owner, to: $0) }
            xml.element("Owner") { accounts.write(owner, to: $0) }
            xml.element("StorageClass", upload.storageClass.name)
            xml.element("Initiated", Dates.iso(milliseconds: upload.initiated))
            if let plan = upload.checksum {
                xml.element("ChecksumAlgorithm", plan.algorithm.name)
                xml.element("ChecksumType", plan.type.name)
            }
        }
    }
}
