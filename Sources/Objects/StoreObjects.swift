internal import Base
internal import Dispatch
internal import Synchronization

/// Objects: put, head, get, delete, copy, change.
extension ObjectStore {
    // MARK: Put

    /// Begins a put. Nothing is visible, and nothing needs to be undone, until `finish`.
    package func put(_ request: PutRequest) -> ObjectWriter {
        writer(checks: request.body, inlineBytesMax: options.inlineBytesMax) { [self] body, done in
            meta.submit(done) { [table] transaction in
                let entry = try transaction.bucket(request.bucket, in: table)
                var row = VersionRow(key: request.key.bytes, seq: 0, modified: transaction.now)
                row.size = body.size
                row.etag = body.md5
                row.checksum = body.checksum.packed
                try row.set(request.metadata, request.tags, request.storageClass, request.lock)
                return try Versions.add(row, to: entry, request.conditions, as: request.kind, by: request.requester, transaction) {
                    try Bodies.insert(body.bytes, size: body.size, transaction)
                }
            }
        }
    }

    func writer(checks: BodyChecks, inlineBytesMax: Int, commit: @escaping ObjectWriter.Commit) -> ObjectWriter {
        ObjectWriter(
            pool: pool, lane: pick(digestLanes), files: pick(hot), checks: checks, inlineBytesMax: inlineBytesMax,
            runBytesMax: options.segmentBytes, commit: commit)
    }

    // MARK: Read

    package func head(_ request: GetRequest, done: @escaping Done<Head>) {
        reads.read(done) { [self] db in try Versions.head(request, try table.get(request.bucket), db, now: options.clock()) }
    }

    /// Errors that are answers: `notModified`, `preconditionFailed`, `invalidRange`, `methodNotAllowed`.
    package func get(_ request: GetRequest, done: @escaping Done<ObjectReader>) {
        reads.read(done) { [self] db in
            let (entry, now) = (try table.get(request.bucket), options.clock())
            let head = try Versions.head(request, entry, db, now: now)
            if head.version.storageClass.isArchive, head.version.restoredUntil <= now { throw ObjectsError.invalidObjectState }
            recordAccess(head.version, entry, at: now)
            return try reader(head, db)
        }
    }

    func recordAccess(_ version: ObjectVersion, _ entry: BucketEntry, at time: Int64) {
        // Smaller ones are not monitored.
        guard let body = version.body, version.size >= TieringRule.bytesMin, !entry.tiering.isEmpty else { return }
        let rule = entry.tiering.first { version.key.bytes.starts(with: $0.prefix) && $0.tags.allSatisfy(version.tags.contains) }
        accesses.record(
            body, at: time, isCold: version.tier == .cold,
            promoteAfter: version.storageClass.isCold ? nil : rule.map { max(1, $0.promoteAfter) })
    }

    /// Of a head whose transaction is still open in `db`, so that no file it needs can have gone.
    func reader(_ head: Head, _ db: Connection) throws -> ObjectReader {
        guard let body = head.version.body, !head.range.isEmpty else {
            return ObjectReader(head: head, whole: [], extents: [], queue: pick(bodyLanes), pool: readPool)
        }
        if let data = try Bodies.inlineData(body, db) {
            guard Int64(data.count) >= head.range.upperBound else {
                throw ObjectsError.damaged("meta.sqlite is damaged: a body is too short")
            }
            let whole =
                head.range == 0..<Int64(data.count) ? data : Array(data[Int(head.range.lowerBound)..<Int(head.range.upperBound)])
            return ObjectReader(head: head, whole: whole, extents: [], queue: pick(bodyLanes), pool: readPool)
        }
        return ObjectReader(head: head, whole: nil, extents: try extents(body, head.range, db), queue: pick(bodyLanes), pool: readPool)
    }

    func extents(_ body: Int64, _ range: Range<Int64>, _ db: Connection) throws -> [Extent] {
        var pins: [Int64: SegmentPin] = [:]
        return try Bodies.pieces(body, range, db).map { piece in
            if pins[piece.segment] == nil {
                guard let segment = segments[piece.segment] else {
                    throw ObjectsError.damaged("\(segments.path(piece.segment, .hot)) is missing")
                }
                pins[piece.segment] = SegmentPin(segment, .reading)
            }
            guard let pin = pins[piece.segment] else { throw ObjectsError.aborted }
            return Extent(start: piece.start, size: piece.size, pin: pin, base: piece.base, blobStart: piece.blobStart)
        }
    }

    // MARK: Delete

    package func delete(
        _ request: DeleteRequest, in bucket: BucketName, bypassGovernance: Bool = false, done: @escaping Done<DeleteResult>
    ) {
        meta.submit(done) { [table] transaction in
            try Versions.delete(request, try transaction.bucket(bucket, in: table), bypassGovernance, transaction)
        }
    }

    /// Each on its own: one result a request, in their order. Fails as a whole only without the bucket, or when the disk does.
    package func delete(
        _ requests: [DeleteRequest], in bucket: BucketName, bypassGovernance: Bool = false,
        done: @escaping Done<[Result<DeleteResult, ObjectsError>]>
    ) {
        meta.submit(done) { [table] transaction in
            let entry = try transaction.bucket(bucket, in: table)
            // What is refused is refused before it changes anything, so one savepoint serves all.
            return try requests.map { request in
                do { return .success(try Versions.delete(request, entry, bypassGovernance, transaction)) } catch let error
                    as ObjectsError
                {
                    if error.isRefusal { return .failure(error) }
                    throw error
                }
            }
        }
    }

    // MARK: Change

    /// Answers the version that it changed.
    package func change(
        _ key: ObjectKey, version: VersionID? = nil, in bucket: BucketName, _ change: Change, done: @escaping Done<ObjectVersion>
    ) {
        meta.submit(done) { [self] transaction in
            let db = transaction.db
            let entry = try transaction.bucket(bucket, in: table)
            var (row, isLatest) = try Versions.resolve(key, version, entry, db, now: transaction.now)
            try row.apply(change, entry.bucket, now: transaction.now)
            try db.run(
                "UPDATE versions SET tags = ?, head = ?, lock = ?, restored = ? WHERE bucket = ? AND key = ? AND seq = ?",
                .bytes(row.tags),
                .bytes(row.head), .bytes(row.lock), row.restored == 0 ? .null : .int(row.restored), .int(entry.id), .blob(row.key),
                .int(row.seq))
            if case .restore = change { transaction.afterCommit { [self] in fetchRestores() } }
            return try row.version(isLatest: isLatest, tier: try Bodies.tier(row.body, db), expiry: isLatest ? entry.expiry(row) : nil)
        }
    }
}

extension ObjectStore {
    private func fetchRestores() {
        careQueue.async { [self] in
            var report = UpkeepReport()
            // What fails now is tried again by upkeep.
            try? restorePending(&report)
        }
    }
}

extension ObjectsError {
    /// It is the request that is wrong, and nothing has been changed.
    var isRefusal: Bool {
        switch self {
        case .insufficientStorage, .damaged, .storage, .aborted: false
        default: true
        }
    }
}

extension BucketEntry {
    /// When the newest version of its key goes, and by which rule.
    func expiry(_ row: VersionRow) -> (time: Int64, rule: String)? {
        guard !lifecycle.isEmpty, !row.isDeleteMarker else { return nil }
        return lifecycle.expiry(key: row.key, size: row.size, tags: (try? unpacked(tags: row.tags)) ?? [], made: row.modified)
    }

    /// Gone to every reader from the second on that a rule names, whenever it is removed.
    func isExpired(_ row: VersionRow, now: Int64) -> Bool { expiry(row).map { $0.time <= now } ?? false }
}

extension VersionRow {
    mutating func set(_ metadata: Metadata, _ tags: [Field], _ storageClass: StorageClass, _ lock: ObjectLock) throws {
        guard metadata.userBytes <= Metadata.userBytesMax else { throw ObjectsError.metadataTooLarge }
        head = metadata.packed
        self.tags = packed(tags: tags)
        self.storageClass = storageClass.stored
        self.lock = lock.packed
    }

    fileprivate mutating func apply(_ change: ObjectStore.Change, _ bucket: Bucket, now: Int64) throws {
        var lock = try ObjectLock(packed: lock)
        switch change {
        case .tags(let tags): self.tags = packed(tags: tags)
        case .acl(let acl):
            var metadata = try Metadata(packed: head)
            metadata.acl = acl
            head = metadata.packed
        case .restored(let until):
            guard StorageClass(storageClass).isArchive else { throw ObjectsError.invalidObjectState }
            restored = until
        case .restore(let days):
            guard StorageClass(storageClass).isArchive else { throw ObjectsError.invalidObjectState }
            restored = -Int64(days)
        case .legalHold(let isHeld):
            guard bucket.hasObjectLock else { throw ObjectsError.invalidRequest("the bucket has no Object Lock configuration") }
            lock.legalHold = isHeld
        case .retention(let mode, let until, let bypass):
            guard bucket.hasObjectLock else { throw ObjectsError.invalidRequest("the bucket has no Object Lock configuration") }
            if let held = lock.mode, lock.retainUntil > now {
                let weakens = mode == nil || until < lock.retainUntil || (held == .compliance && mode != .compliance)
                guard !weakens || (held == .governance && bypass) else {
                    throw ObjectsError.accessDenied("the version is under retention")
                }
            }
            lock.mode = mode
            lock.retainUntil = mode == nil ? 0 : until
        }
        self.lock = lock.packed
    }
}
