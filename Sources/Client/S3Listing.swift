internal import Base
internal import Crypto
internal import Foundation
internal import HTTP
internal import XML

/// An object as a listing shows it.
package struct S3Entry: Sendable {
    package let key: String
    package let size: Int64
    /// As S3 writes it: 2026-11-25T08:42:19.000Z
    package let modified: String
    package let etag: String
    package let storageClass: String
    /// Of a listing of versions.
    package var version: String?
    package var isLatest = true
    package var isDeleteMarker = false
}

package struct S3Page: Sendable {
    package var entries: [S3Entry] = []
    package var prefixes: [String] = []
    /// nil: there is no further page.
    package var next: [(String, String)]?
}

package struct S3Part: Sendable {
    package let number: Int
    package let size: Int64
    package let etag: String
    /// base64; nil: none was stored.
    package let crc64: String?
}

/// Listing, removing, buckets.
extension S3Client {
    /// Names with the time of creation.
    package func buckets() throws(ClientError) -> [(name: String, created: String)] {
        let root = try document(call("GET", nil))
        return (root.first("Buckets")?.all("Bucket") ?? []).map { ($0.text("Name") ?? "", $0.text("CreationDate") ?? "") }
    }

    /// One page of 1,000 keys, from the place where the last ended.
    package func list(_ place: S3Place, delimiter: String = "", after next: [(String, String)] = []) throws(ClientError) -> S3Page {
        var query = [("list-type", "2"), ("encoding-type", "url"), ("prefix", place.key)] + next
        if !delimiter.isEmpty { query.append(("delimiter", delimiter)) }
        let bucket = S3Place(bucket: place.bucket)
        let root = try document(persistently { () throws(ClientError) in try call("GET", bucket, query: query) })
        var page = S3Page(entries: root.all("Contents").map { entry($0) }, prefixes: prefixes(root))
        if let token = root.text("NextContinuationToken") { page.next = [("continuation-token", token)] }
        return page
    }

    /// The same with all versions and delete markers.
    package func listVersions(_ place: S3Place, after next: [(String, String)] = []) throws(ClientError) -> S3Page {
        let query = [("versions", ""), ("encoding-type", "url"), ("prefix", place.key)] + next
        let bucket = S3Place(bucket: place.bucket)
        let root = try document(persistently { () throws(ClientError) in try call("GET", bucket, query: query) })
        var page = S3Page()
        for element in root.children where element.name == "Version" || element.name == "DeleteMarker" {
            var found = entry(element)
            found.version = element.text("VersionId")
            found.isLatest = element.text("IsLatest") == "true"
            found.isDeleteMarker = element.name == "DeleteMarker"
            page.entries.append(found)
        }
        if root.text("IsTruncated") == "true", let key = root.first("NextKeyMarker")?.text {
            page.next = [("key-marker", decoded(key))]
            if let version = root.text("NextVersionIdMarker") { page.next?.append(("version-id-marker", version)) }
        }
        return page
    }

    private func prefixes(_ root: XMLElement) -> [String] { root.all("CommonPrefixes").map { decoded($0.first("Prefix")?.text ?? "") } }

    private func entry(_ element: XMLElement) -> S3Entry {
        S3Entry(
            key: decoded(element.first("Key")?.text ?? ""), size: element.text("Size").flatMap(Int64.init) ?? 0,
            modified: element.text("LastModified") ?? "", etag: (element.text("ETag") ?? "").filter { $0 != "\"" },
            storageClass: element.text("StorageClass") ?? "STANDARD")
    }

    private func decoded(_ text: String) -> String {
        String(decoding: Array(text.utf8).withUnsafeBytes { percentDecode($0, plusIsSpace: true) } ?? Array(text.utf8), as: UTF8.self)
    }

    /// Walks through all pages of a listing.
    package func eachPage(
        _ page: ([(String, String)]) throws(ClientError) -> S3Page, _ body: (S3Page) throws -> Void
    ) throws {
        var next: [(String, String)]? = []
        while let from = next {
            let found = try page(from)
            try body(found)
            next = found.next
        }
    }

    /// Removes up to 1,000 objects, or versions, in one call. Answers those that the server would not remove, with its words.
    package func remove(_ entries: [S3Entry], from bucket: String) throws(ClientError) -> [(key: String, why: String)] {
        let document = XMLWriter.document("Delete") { xml in
            xml.element("Quiet", true)
            for entry in entries {
                xml.element("Object") {
                    $0.element("Key", entry.key)
                    $0.optional("VersionId", entry.version)
                }
            }
        }
        let md5 = base64(document.withUnsafeBytes { Digest.md5($0) })
        let response = try persistently { () throws(ClientError) in
            try send("POST", S3Place(bucket: bucket), [("delete", "")], [("content-md5", md5)], document)
        }
        return try self.document(response).all("Error").map { ($0.first("Key")?.text ?? "", $0.text("Message") ?? $0.text("Code") ?? "") }
    }

    /// A call whose body is a document.
    func send(
        _ method: String, _ place: S3Place, _ query: [(String, String)], _ headers: [(name: String, value: String)], _ document: [UInt8],
        lane: ClientLane? = nil
    ) throws(ClientError) -> ClientResponse {
        var result: Result<ClientResponse, ClientError> = .failure(.broken(endpoint: endpoint))
        document.withUnsafeBytes { bytes in
            do throws(ClientError) {
                result = .success(try call(method, place, query: query, headers: headers, body: bytes, lane: lane))
            } catch { result = .failure(error) }
        }
        return try result.get()
    }

    /// Uploads under way whose key begins so.
    package func uploads(_ place: S3Place) throws(ClientError) -> [(key: String, id: String)] {
        var all: [(String, String)] = []
        var next: [(String, String)]? = []
        while let from = next {
            let query = [("uploads", ""), ("encoding-type", "url"), ("prefix", place.key)] + from
            let bucket = S3Place(bucket: place.bucket)
            let root = try document(persistently { () throws(ClientError) in try call("GET", bucket, query: query) })
            all += root.all("Upload").map { (decoded($0.first("Key")?.text ?? ""), $0.text("UploadId") ?? "") }
            next = nil
            if root.text("IsTruncated") == "true", let key = root.first("NextKeyMarker")?.text, let id = root.text("NextUploadIdMarker") {
                next = [("key-marker", decoded(key)), ("upload-id-marker", id)]
            }
        }
        return all
    }

    package func abort(_ place: S3Place, upload: String) throws(ClientError) {
        _ = try persistently { () throws(ClientError) in try call("DELETE", place, query: [("uploadId", upload)]) }
    }

    /// All parts of an upload that have arrived.
    func parts(_ place: S3Place, upload: String) throws(ClientError) -> [S3Part] {
        var all: [S3Part] = []
        while true {
            let marker = all.last?.number ?? 0
            let root = try document(
                persistently { () throws(ClientError) in
                    try call("GET", place, query: [("uploadId", upload), ("part-number-marker", "\(marker)")])
                })
            all += root.all("Part").compactMap { part in
                guard let number = part.text("PartNumber").flatMap(Int.init), let size = part.text("Size").flatMap(Int64.init) else { return nil }
                return S3Part(
                    number: number, size: size, etag: (part.text("ETag") ?? "").filter { $0 != "\"" }, crc64: part.text("ChecksumCRC64NVME"))
            }
            guard root.text("IsTruncated") == "true", let last = all.last, last.number > marker else { return all }
        }
    }
}

func base64(_ bytes: [UInt8]) -> String {
    let out = ByteBuffer()
    bytes.withUnsafeBytes { Base64.encode($0, into: out) }
    return out.string
}

/// The body of CompleteMultipartUpload.
func completeDocument(_ parts: [(number: Int, etag: String)]) -> [UInt8] {
    XMLWriter.document("CompleteMultipartUpload") { xml in
        for part in parts {
            xml.element("Part") {
                $0.element("PartNumber", part.number)
                $0.element("ETag", "\"\(part.etag)\"")
            }
        }
    }
}
