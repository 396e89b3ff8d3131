/// What happens to the versions of a key, inside a transaction.
///
///     versioning    put                                     delete without a version
///     off           replaces the null version               removes the null version
///     enabled       adds a numbered version                 adds a numbered delete marker
///     suspended     replaces the null version               replaces the null version by a null delete marker
enum Versions {
    /// Adds `row` as the newest version of its key, if the conditions hold. `body` is made only then.
    static func add(
        _ row: VersionRow, to entry: BucketEntry, _ conditions: WriteConditions, as kind: ObjectEventKind, by requester: Requester,
        _ transaction: Transaction, body: () throws -> Int64?
    ) throws -> PutResult {
        let db = transaction.db
        var row = row
        let versioning = entry.bucket.versioning
        // In a bucket without versions the newest row is the one to be replaced.
        let newest = versioning == .off || !conditions.isEmpty ? try VersionRow.newest(db, bucket: entry.id, key: row.key) : nil
        try check(conditions, newest, entry, now: transaction.now)
        if versioning == .enabled {
            row.nonce = transaction.nextNonce()
        } else {
            row.flags |= VersionRow.nullVersion
            let replaced = versioning == .off ? newest : try VersionRow.null(db, bucket: entry.id, key: row.key)
            if let replaced { try remove(replaced, entry, transaction) }
        }
        row.seq = -transaction.nextSequence()
        row.body = try body()
        try row.insert(db, bucket: entry.id)
        if StorageClass(row.storageClass).isCold { transaction.holdsCold(entry.bucket.name) }
        try transaction.tell(kind, row, in: entry, by: requester)
        return PutResult(
            etag: row.tag, version: versioning == .off ? nil : row.id, size: row.size, modified: row.modified,
            checksum: Checksum(packed: row.checksum), expiry: entry.expiry(row))
    }

    private static func check(_ conditions: WriteConditions, _ newest: VersionRow?, _ entry: BucketEntry, now: Int64) throws {
        guard !conditions.isEmpty else { return }
        let seen = newest.flatMap { $0.isDeleteMarker || entry.isExpired($0, now: now) ? nil : $0 }
        try conditions.check(etag: seen?.tag, modified: seen?.modified ?? 0, size: seen?.size ?? 0)
    }

    /// Takes the row out and its body's reference away.
    static func remove(_ row: VersionRow, _ entry: BucketEntry, _ transaction: Transaction) throws {
        try transaction.db.run(
            "DELETE FROM versions WHERE bucket = ? AND key = ? AND seq = ?", .int(entry.id), .blob(row.key), .int(row.seq))
        try Bodies.release(row.body, transaction)
    }

    // MARK: Read

    /// The version asked for, which is no marker and not expired; and whether it is the newest.
    static func resolve(
        _ key: ObjectKey, _ version: VersionID?, _ entry: BucketEntry, _ db: Connection, now: Int64
    ) throws -> (row: VersionRow, isLatest: Bool) {
        let newest = try VersionRow.newest(db, bucket: entry.id, key: key.bytes)
        guard let version else {
            guard let newest, !entry.isExpired(newest, now: now) else { throw ObjectsError.noSuchKey(deleteMarker: nil) }
            guard !newest.isDeleteMarker else { throw ObjectsError.noSuchKey(deleteMarker: newest.id) }
            return (newest, true)
        }
        let found = newest?.id == version ? newest : try VersionRow.find(db, bucket: entry.id, key: key.bytes, id: version)
        guard let found else { throw ObjectsError.noSuchVersion }
        guard !found.isDeleteMarker else { throw ObjectsError.methodNotAllowed(deleteMarker: found.id, modified: found.modified) }
        let isLatest = found.seq == newest?.seq
        if isLatest, entry.bucket.versioning == .off, entry.isExpired(found, now: now) { throw ObjectsError.noSuchVersion }
        return (found, isLatest)
    }

    static func head(_ request: GetRequest, _ entry: BucketEntry, _ db: Connection, now: Int64) throws -> Head {
        let (row, isLatest) = try resolve(request.key, request.version, entry, db, now: now)
        try request.conditions.check(etag: row.tag, modified: row.modified)
        let version = try row.version(
            isLatest: isLatest, tier: try Bodies.tier(row.body, db), expiry: isLatest ? entry.expiry(row) : nil)
        var range = 0..<row.size
        var partsCount: Int?
        if let number = request.partNumber {
            guard request.range == nil else {
                throw ObjectsError.invalidRequest("a range and a part number cannot be asked for together")
            }
            range = try part(number, of: row, db)
            partsCount = row.parts
        } else if let wanted = request.range {
            guard let resolved = wanted.resolve(size: row.size) else { throw ObjectsError.invalidRange(size: row.size) }
            range = resolved
        }
        return Head(
            version: version, range: range, isPartial: request.range != nil || request.partNumber != nil,
            partsCount: partsCount == 0 ? nil : partsCount,
            showsVersion: entry.bucket.versioning != .off)
    }

    /// The bytes of one part; an object that was put whole has one.
    private static func part(_ number: Int, of row: VersionRow, _ db: Connection) throws -> Range<Int64> {
        guard (1...10_000).contains(number) else { throw ObjectsError.invalidPartNumber }
        guard row.parts > 0, let body = row.body else {
            guard number == 1 else { throw ObjectsError.noSuchPart }
            return 0..<row.size
        }
        // Numbers need not be consecutive: the n-th part counts.
        var start: Int64 = 0
        var range: Range<Int64>?
        var seen = 0
        try db.each("SELECT size FROM body_parts WHERE body = ? ORDER BY number", .int(body)) { part in
            seen += 1
            let size = part.int(0)
            if seen == number {
                range = start..<start + size
                return false
            }
            start += size
            return true
        }
        guard let range else { throw ObjectsError.noSuchPart }
        return range
    }

    // MARK: Delete

    static func delete(
        _ request: DeleteRequest, _ entry: BucketEntry, _ bypass: Bool, _ transaction: Transaction
    ) throws -> DeleteResult {
        let db = transaction.db
        let newest = try VersionRow.newest(db, bucket: entry.id, key: request.key.bytes)
        guard let wanted = request.version else {
            try checkDelete(request.conditions, newest, entry, now: transaction.now)
            // Without a condition a marker is made even then.
            if newest == nil, !request.conditions.isEmpty { return DeleteResult(isDeleteMarker: false, version: nil) }
            return try deleteNewest(request.key.bytes, newest, entry, transaction, by: request.requester)
        }
        let found = newest?.id == wanted ? newest : try VersionRow.find(db, bucket: entry.id, key: request.key.bytes, id: wanted)
        try checkDelete(request.conditions, found, entry, now: transaction.now)
        guard let found else { return DeleteResult(isDeleteMarker: false, version: wanted) }
        try checkLock(found, bypass, now: transaction.now)
        try remove(found, entry, transaction)
        try transaction.tell(.delete, found, in: entry, by: request.requester)
        return DeleteResult(isDeleteMarker: found.isDeleteMarker, version: wanted)
    }

    /// A condition on what is not there: nothing to delete, and no error (S3's DELETE is idempotent). A delete marker is there, but has
    /// neither ETag nor size.
    private static func checkDelete(_ conditions: WriteConditions, _ row: VersionRow?, _ entry: BucketEntry, now: Int64) throws {
        guard !conditions.isEmpty, let row, !entry.isExpired(row, now: now) else { return }
        guard !row.isDeleteMarker else {
            guard conditions == WriteConditions(ifMatch: .any) else { throw ObjectsError.preconditionFailed("If-Match") }
            return
        }
        try check(conditions, row, entry, now: now)
    }

    static func checkLock(_ row: VersionRow, _ bypass: Bool, now: Int64) throws {
        guard !row.lock.isEmpty else { return }
        let lock = try ObjectLock(packed: row.lock)
        guard !lock.legalHold else { throw ObjectsError.accessDenied("the version is under legal hold") }
        guard let mode = lock.mode, lock.retainUntil > now else { return }
        guard mode == .governance, bypass else { throw ObjectsError.accessDenied("the version is under retention") }
    }

    /// What DELETE without a version does, and expiry: of that, which nobody asked for, nobody is told (S3 has kinds of its own for it).
    static func deleteNewest(
        _ key: [UInt8], _ newest: VersionRow?, _ entry: BucketEntry, _ transaction: Transaction, by requester: Requester? = nil
    ) throws -> DeleteResult {
        let db = transaction.db
        guard entry.bucket.versioning != .off else {
            if let newest {
                try remove(newest, entry, transaction)
                if let requester { try transaction.tell(.delete, newest, in: entry, by: requester) }
            }
            return DeleteResult(isDeleteMarker: false, version: nil)
        }
        var marker = VersionRow(key: key, seq: 0, modified: transaction.now)
        marker.flags = VersionRow.deleteMarker
        if entry.bucket.versioning == .enabled {
            marker.nonce = transaction.nextNonce()
        } else {
            marker.flags |= VersionRow.nullVersion
            if let null = try VersionRow.null(db, bucket: entry.id, key: key) { try remove(null, entry, transaction) }
        }
        marker.seq = -transaction.nextSequence()
        try marker.insert(db, bucket: entry.id)
        if let requester { try transaction.tell(.deleteMarker, marker, in: entry, by: requester) }
        return DeleteResult(isDeleteMarker: true, version: marker.id)
    }
}
