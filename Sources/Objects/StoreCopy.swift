internal import Base
internal import Dispatch
internal import Synchronization

/// Server-side copies: bodies are shared, extents are named twice, no byte is written.
extension ObjectStore {
    /// No bytes are copied; they are read only when another checksum must be computed: the copy's ETag is then the MD5 of all bytes.
    package func copy(_ request: CopyRequest, done: @escaping Done<CopyResult>) {
        guard let wanted = request.checksum else { return commit(request, nil, done: done) }
        source(request.source) { [self] answer in
            switch answer {
            case .failure(let error): done(.failure(error))
            case .success(let reader):
                if let known = reader.head.version.checksum, known.algorithm == wanted, known.type == .fullObject {
                    return commit(request, nil, done: done)
                }
                digest(reader, BodyDigests(BodyChecks(checksum: wanted))) { [self] result in
                    switch result {
                    case .failure(let error): done(.failure(error))
                    case .success(let digests): commit(request, (reader.head.version.body, digests.md5, digests.checksum), done: done)
                    }
                }
            }
        }
    }

    /// `digests`: computed of this body; if the source has another by now, the copy is to be asked for again.
    private func commit(
        _ request: CopyRequest, _ digests: (body: Int64?, md5: [UInt8], checksum: Checksum)?, done: @escaping Done<CopyResult>
    ) {
        meta.submit(done) { [self] transaction in
            let db = transaction.db
            let target = try transaction.bucket(request.bucket, in: table)
            let origin = try transaction.bucket(request.source.bucket, in: table)
            let (source, _) = try Versions.resolve(request.source.key, request.source.version, origin, db, now: transaction.now)
            try request.source.conditions.checkSource(etag: source.tag, modified: source.modified)
            try checkReadable(source, now: transaction.now)
            guard source.size <= Limits.objectPartBytesMax else {
                throw ObjectsError.invalidRequest("the source is larger than 5 GiB: copy it in parts")
            }
            var row = source
            row.key = request.key.bytes
            (row.seq, row.nonce, row.flags, row.modified, row.restored) = (0, 0, 0, transaction.now, 0)
            try row.set(
                request.metadata ?? Metadata(packed: source.head), request.tags ?? unpacked(tags: source.tags), request.storageClass,
                request.lock)
            if let digests {
                guard digests.body == source.body else { throw ObjectsError.slowDown }
                (row.etag, row.parts, row.checksum) = (digests.md5, 0, digests.checksum.packed)
            }
            // Before the version that it may replace lets go of it.
            try Bodies.retain(source.body, db)
            let result = try Versions.add(row, to: target, request.conditions, as: .copy, by: request.requester, transaction) {
                source.body
            }
            return CopyResult(result: result, sourceVersion: origin.bucket.versioning == .off ? nil : source.id)
        }
    }

    private func checkReadable(_ row: VersionRow, now: Int64) throws {
        if StorageClass(row.storageClass).isArchive, row.restored <= now { throw ObjectsError.invalidObjectState }
    }

    /// By reference: the source's bytes are read for their digests, not copied.
    package func copyPart(
        _ upload: UploadName, number: Int, from source: CopySource, done: @escaping Done<(part: Part, sourceVersion: VersionID?)>
    ) {
        self.source(source) { [self] answer in
            switch answer {
            case .failure(let error): done(.failure(error))
            case .success(let reader):
                let sourceVersion = reader.head.showsVersion ? reader.head.version.id : nil
                let algorithm = plans.withLock { $0[upload.id.number] } ?? nil
                if let whole = reader.whole {
                    return copySmallPart(upload, number, whole) { done($0.map { ($0, sourceVersion) }) }
                }
                digest(reader, BodyDigests(BodyChecks(checksum: algorithm))) { [self] result in
                    switch result {
                    case .failure(let error): done(.failure(error))
                    case .success(let digests):
                        link(reader, to: upload, number, digests.md5, digests.checksum) { done($0.map { ($0, sourceVersion) }) }
                    }
                }
            }
        }
    }

    /// Inline bytes have no rows to refer to.
    private func copySmallPart(_ upload: UploadName, _ number: Int, _ bytes: [UInt8], done: @escaping Done<Part>) {
        let writer = putPart(upload, number: number, body: BodyChecks(size: Int64(bytes.count)))
        _ = bytes.withUnsafeBytes { writer.write($0) {} }
        writer.finish { result in
            done(result.map { Part(number: number, size: $0.size, etag: $0.etag, checksum: $0.checksum, modified: $0.modified) })
        }
    }

    private func link(
        _ reader: ObjectReader, to upload: UploadName, _ number: Int, _ md5: [UInt8], _ checksum: Checksum, done: @escaping Done<Part>
    ) {
        let range = reader.head.range
        let size = range.upperBound - range.lowerBound
        meta.submit(done) { [table] transaction in
            let db = transaction.db
            let row = try Uploads.find(upload, try transaction.bucket(upload.bucket, in: table), db)
            let pieces = try reader.head.version.body.map { try Bodies.pieces($0, range, db) } ?? []
            // The source has been deleted while it was read.
            guard let last = pieces.last, last.start + last.size >= range.upperBound else {
                throw ObjectsError.noSuchKey(deleteMarker: nil)
            }
            try Uploads.addPart(number, of: row, size: size, etag: md5, checksum: checksum, transaction) {
                let body = transaction.nextBody()
                try db.run("INSERT INTO bodies (id, refs, size, tier) VALUES (?, 1, ?, 0)", .int(body), .int(size))
                for piece in pieces {
                    let start = max(piece.start, range.lowerBound)
                    let end = min(piece.start + piece.size, range.upperBound)
                    try db.run("UPDATE blobs SET refs = refs + 1 WHERE id = ?", .int(piece.blob))
                    try Bodies.insertExtent(
                        db, body: body, start: start - range.lowerBound, size: end - start, blob: piece.blob,
                        blobStart: piece.blobStart + start - piece.start)
                }
                return body
            }
            return Part(number: number, size: size, etag: ETag(digest: md5), checksum: checksum, modified: transaction.now)
        }
    }

    /// Opens the source of a copy: conditions and range are its own.
    private func source(_ source: CopySource, done: @escaping Done<ObjectReader>) {
        reads.read(done) { [self] db in
            let now = options.clock()
            let entry = try table.get(source.bucket)
            let (row, _) = try Versions.resolve(source.key, source.version, entry, db, now: now)
            try source.conditions.checkSource(etag: row.tag, modified: row.modified)
            try checkReadable(row, now: now)
            var request = GetRequest(bucket: source.bucket, key: source.key, version: source.version)
            if let range = source.range {
                guard range.upperBound < row.size else {
                    throw ObjectsError.invalidArgument(
                        "the range \(range.lowerBound)-\(range.upperBound) lies outside of the source's \(row.size) bytes")
                }
                request.range = .from(range.lowerBound, through: range.upperBound)
            }
            let head = try Versions.head(request, entry, db, now: now)
            guard head.range.upperBound - head.range.lowerBound <= Limits.objectPartBytesMax else { throw ObjectsError.entityTooLarge }
            recordAccess(head.version, entry, at: now)
            return try reader(head, db)
        }
    }

    /// Reads all bytes, a chunk at a time, between other reads.
    private func digest(_ reader: ObjectReader, _ digests: BodyDigests, done: @escaping Done<(md5: [UInt8], checksum: Checksum)>) {
        let queue = pick(bodyLanes)
        @Sendable func step() {
            queue.async {
                do {
                    if try reader.read({ digests.update($0) }) != nil {
                        step()
                    } else {
                        done(.success(try digests.finish(trailer: nil)))
                    }
                } catch { done(.failure(error as? ObjectsError ?? .storage("\(error)"))) }
            }
        }
        step()
    }
}
