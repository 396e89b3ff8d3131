internal import Objects
internal import XML

/// DeleteObject and DeleteObjects.
extension S3Calls {
    private static let keysMax = 1000

    private func bypasses(_ request: S3Request) -> Bool { request.header("x-amz-bypass-governance-retention")?.lowercased() == "true" }

    func deleteObject(_ access: BucketAccess, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        var conditions = WriteConditions(ifMatch: request.header("if-match").map { ETagCondition($0) })
        if let text = request.header("x-amz-if-match-last-modified-time") {
            guard let time = Dates.seconds(text) else { throw .invalidArgument("Invalid x-amz-if-match-last-modified-time") }
            conditions.ifMatchLastModified = time
        }
        if let text = request.header("x-amz-if-match-size") {
            guard let size = Int64(text) else { throw .invalidArgument("Invalid x-amz-if-match-size") }
            conditions.ifMatchSize = size
        }
        var delete = DeleteRequest(key: try request.key(), version: try request.versionID(), conditions: conditions)
        delete.requester = request.requester
        let result: DeleteResult = try await wait { [delete] in
            store.delete(delete, in: access.bucket.name, bypassGovernance: bypasses(request), done: $0)
        }
        var fields: [HeaderField] = []
        if let version = result.version { fields.append(HeaderField("x-amz-version-id", version.description)) }
        if result.isDeleteMarker { fields.append(HeaderField("x-amz-delete-marker", "true")) }
        return S3Answer(204, fields)
    }

    /// One entry of the document.
    private struct Entry {
        let key: String
        let version: String?
        let request: DeleteRequest
    }

    func deleteObjects(_ access: BucketAccess, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        let sent = try ChecksumFields.sent(request)
        guard request.header("content-md5") != nil || sent != nil else {
            throw .invalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
        }
        try Self.checkDigest(request, body)
        guard let root = try? XMLReader.read(body), root.name == "Delete" else { throw .malformedXML }
        let items = root.all("Object")
        guard !items.isEmpty, items.count <= Self.keysMax else { throw .malformedXML }
        let isQuiet = root.text("Quiet") == "true"
        var entries: [Entry] = []
        var errors: [(key: String, version: String?, fault: S3Fault)] = []
        for item in items {
            guard let key = item.first("Key")?.text else { throw .malformedXML }
            let version = item.text("VersionId").flatMap { $0.isEmpty ? nil : $0 }
            do throws(S3Fault) {
                try access.check(request, .deleteObjects, key: key, isVersion: version != nil)
                entries.append(Entry(key: key, version: version, request: try Self.request(item, key: key, version: version)))
            } catch { errors.append((key, version, error)) }
        }
        if entries.isEmpty, let first = errors.first, first.fault.code == "AccessDenied", request.account?.id != access.bucket.owner {
            throw .accessDenied
        }
        let requests = entries.map { entry in
            var delete = entry.request
            delete.requester = request.requester
            return delete
        }
        let results = try await wait {
            store.delete(requests, in: access.bucket.name, bypassGovernance: bypasses(request), done: $0)
        }
        var deleted: [(entry: Entry, result: DeleteResult)] = []
        for (entry, result) in zip(entries, results) {
            switch result {
            case .success(let result): deleted.append((entry, result))
            case .failure(let error): errors.append((entry.key, entry.version, S3Fault(error)))
            }
        }
        return .document(
            XMLWriter.document("DeleteResult") { [deleted, errors] xml in
                if !isQuiet { for item in deleted { Self.write(item.entry, item.result, to: xml) } }
                for error in errors {
                    xml.element("Error") {
                        $0.element("Key", error.key)
                        $0.optional("VersionId", error.version)
                        $0.element("Code", error.fault.code)
                        $0.element("Message", error.fault.message)
                    }
                }
            })
    }

    private static func request(_ item: XMLElement, key: String, version: String?) throws(S3Fault) -> DeleteRequest {
        do {
            var request = DeleteRequest(key: try ObjectKey(key))
            if let version {
                guard let id = try? VersionID(version) else { throw S3Fault(400, "NoSuchVersion", "The specified version does not exist.") }
                request.version = id
            }
            if let etag = item.text("ETag") { request.conditions.ifMatch = ETagCondition(etag) }
            if let text = item.text("LastModifiedTime") {
                guard let time = Dates.seconds(text) else { throw S3Fault.malformedXML }
                request.conditions.ifMatchLastModified = time
            }
            if let text = item.text("Size") {
                guard let size = Int64(text) else { throw S3Fault.malformedXML }
                request.conditions.ifMatchSize = size
            }
            return request
        } catch let fault as S3Fault {
            throw fault
        } catch let error as ObjectsError {
            throw S3Fault(error)
        } catch { throw .malformedXML }
    }

    private static func write(_ entry: Entry, _ result: DeleteResult, to xml: XMLWriter) {
        xml.element("Deleted") { xml in
            xml.element("Key", entry.key)
            xml.optional("VersionId", entry.version)
            guard result.isDeleteMarker else { return }
            xml.element("DeleteMarker", true)
            if let marker = result.version { xml.element("DeleteMarkerVersionId", marker.description) }
        }
    }
}
