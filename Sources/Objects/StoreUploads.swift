internal import Base
internal import Synchronization

/// Multipart uploads.
extension ObjectStore {
    package func createUpload(_ request: UploadRequest, done: @escaping Done<Upload>) {
        meta.submit(done) { [self] transaction in
            let db = transaction.db
            let entry = try transaction.bucket(request.bucket, in: table)
            if let plan = request.checksum {
                let isPossible = plan.type == .composite ? plan.algorithm != .crc64nvme : plan.algorithm.isCombinable
                guard isPossible else {
                    throw ObjectsError.invalidRequest("the \(plan.type.name) checksum type cannot be used with \(plan.algorithm.name)")
                }
            }
            var row = VersionRow(key: request.key.bytes, seq: 0, modified: transaction.now)
            try row.set(request.metadata, request.tags, request.storageClass, request.lock)
            let nonce = transaction.nextNonce()
            try db.run(
                "INSERT INTO uploads (nonce, bucket, key, initiated, class, plan, tags, head, lock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                .int(Int64(bitPattern: nonce)), .int(entry.id), .blob(row.key), .int(transaction.now),
                row.storageClass.isEmpty ? .null : .text(row.storageClass), .bytes(request.checksum?.packed ?? []), .bytes(row.tags),
                .bytes(row.head), .bytes(row.lock))
            let id = UploadID(number: db.lastRowID, nonce: nonce)
            let algorithm = request.checksum?.algorithm
            transaction.afterCommit { [self] in plans.withLock { $0[id.number] = algorithm } }
            return Upload(
                id: id, bucket: request.bucket, key: request.key, initiated: transaction.now, storageClass: request.storageClass,
                checksum: request.checksum, metadata: request.metadata)
        }
    }

    /// `number`: 1 to 10,000, checked by `finish`. Of the same number, the part finished last counts. Without an algorithm in `body`
    /// the upload's is used.
    package func putPart(_ upload: UploadName, number: Int, body checks: BodyChecks) -> ObjectWriter {
        var checks = checks
        let isChosen = checks.checksum != nil
        if !isChosen { checks.checksum = plans.withLock { $0[upload.id.number] } ?? nil }
        // Never inline: parts become extents of one body.
        return writer(checks: checks, inlineBytesMax: 0) { [self] body, done in
            meta.submit(done) { [table] transaction in
                let row = try Uploads.find(upload, try transaction.bucket(upload.bucket, in: table), transaction.db)
                let expected = row.plan?.algorithm ?? .crc64nvme
                guard body.checksum.algorithm == expected || (isChosen && row.plan == nil) else {
                    throw ObjectsError.invalidRequest(
                        "checksum type mismatch: the upload has \(expected.name), the part \(body.checksum.algorithm.name)")
                }
                try Uploads.addPart(
                    number, of: row, size: body.size, etag: body.md5, checksum: body.checksum, transaction,
                    body: { try Bodies.insert(body.bytes, size: body.size, transaction) })
                return PutResult(
                    etag: ETag(digest: body.md5), version: nil, size: body.size, modified: transaction.now, checksum: body.checksum,
                    expiry: nil)
            }
        }
    }

    package func upload(_ upload: UploadName, done: @escaping Done<Upload>) {
        reads.read(done) { [table] db in
            try Uploads.find(upload, try table.get(upload.bucket), db).upload(in: upload.bucket)
        }
    }

    package func parts(
        ofUpload upload: UploadName, after number: Int = 0, partsMax: Int = 1000, done: @escaping Done<(Upload, PartsPage)>
    ) {
        reads.read(done) { [table] db in
            let row = try Uploads.find(upload, try table.get(upload.bucket), db)
            let count = max(0, min(partsMax, ListRequest.keysMax))
            var page = PartsPage()
            page.parts = try db.rows(
                "SELECT number, size, etag, checksum, modified FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
                .int(upload.id.number), .int(number), .int(count + 1), body: Uploads.part)
            page.cut(to: count)
            page.total = try db.first("SELECT count(*) FROM parts WHERE upload = ?", .int(upload.id.number)) { Int($0.int(0)) } ?? 0
            return (try row.upload(in: upload.bucket), page)
        }
    }

    /// Of a completed object: its parts; empty for one that was put whole (GetObjectAttributes).
    package func parts(of request: GetRequest, after number: Int = 0, partsMax: Int = 1000, done: @escaping Done<(Head, PartsPage)>) {
        reads.read(done) { [self] db in
            let head = try Versions.head(request, try table.get(request.bucket), db, now: options.clock())
            var page = PartsPage()
            guard let body = head.version.body, head.version.etag.parts > 0 else { return (head, page) }
            let count = max(0, min(partsMax, ListRequest.keysMax))
            page.parts = try db.rows(
                "SELECT number, size, etag, checksum, modified FROM body_parts WHERE body = ? AND number > ? ORDER BY number LIMIT ?",
                .int(body), .int(number), .int(count + 1), body: Uploads.part)
            page.cut(to: count)
            page.total = head.version.etag.parts
            return (head, page)
        }
    }

    /// Asked again after it succeeded, it answers the same again (for 7 days).
    package func complete(_ request: CompleteRequest, done: @escaping Done<PutResult>) {
        meta.submit(done) { [self] transaction in
            let result = try Uploads.complete(
                request, try transaction.bucket(request.upload.bucket, in: table), partBytesMin: options.partBytesMin, transaction)
            transaction.afterCommit { [self] in plans.withLock { _ = $0.removeValue(forKey: request.upload.id.number) } }
            return result
        }
    }

    package func abort(_ upload: UploadName, done: @escaping Done<Void>) {
        meta.submit(done) { [self] transaction in
            _ = try Uploads.find(upload, try transaction.bucket(upload.bucket, in: table), transaction.db)
            try Uploads.remove(upload.id.number, transaction)
            transaction.afterCommit { [self] in plans.withLock { _ = $0.removeValue(forKey: upload.id.number) } }
        }
    }
}

extension PartsPage {
    fileprivate mutating func cut(to count: Int) {
        guard parts.count > count else { return }
        parts.removeLast(parts.count - count)
        next = parts.last?.number
    }
}
