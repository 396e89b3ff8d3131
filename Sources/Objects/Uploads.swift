internal import Base

/// A row of `uploads`.
struct UploadRow: Sendable {
    static let columns = "id, nonce, bucket, key, initiated, class, plan, tags, head, lock"

    let id: UploadID
    let bucket: Int64
    let key: [UInt8]
    let initiated: Int64
    let storageClass: String
    let plan: ChecksumPlan?
    let tags: [UInt8]
    let head: [UInt8]
    let lock: [UInt8]

    /// Of `columns`.
    init(_ row: SQLRow) {
        id = UploadID(number: row.int(0), nonce: UInt64(bitPattern: row.int(1)))
        bucket = row.int(2)
        key = row.bytes(3)
        initiated = row.int(4)
        storageClass = row.text(5)
        plan = ChecksumPlan(packed: row.bytes(6))
        tags = row.bytes(7)
        head = row.bytes(8)
        lock = row.bytes(9)
    }

    func upload(in bucket: BucketName) throws -> Upload {
        Upload(
            id: id, bucket: bucket, key: ObjectKey(stored: key), initiated: initiated,
            storageClass: storageClass.isEmpty ? .standard : StorageClass(storageClass), checksum: plan,
            metadata: try Metadata(packed: head))
    }
}

/// Multipart uploads, inside a transaction.
///
///     create ─▶ parts, each a body of its own ─▶ complete: their extents become one body, nothing is copied
///                                            └─▶ abort: parts are released
enum Uploads {
    static func find(_ name: UploadName, _ entry: BucketEntry, _ db: Connection) throws -> UploadRow {
        let row = try db.first("SELECT \(UploadRow.columns) FROM uploads WHERE id = ?", .int(name.id.number)) { UploadRow($0) }
        guard let row, row.id == name.id, row.bucket == entry.id, row.key == name.key.bytes else { throw ObjectsError.noSuchUpload }
        return row
    }

    /// Adds a part, or puts it in the place of the one with its number.
    static func addPart(
        _ number: Int, of upload: UploadRow, size: Int64, etag: [UInt8], checksum: Checksum, _ transaction: Transaction,
        body: () throws -> Int64?
    ) throws {
        guard (1...Limits.objectPartsMax).contains(number) else { throw ObjectsError.invalidPartNumber }
        let db = transaction.db
        let old = try db.first("SELECT body FROM parts WHERE upload = ? AND number = ?", .int(upload.id.number), .int(number)) {
            $0.optionalInt(0)
        }
        if let old { try Bodies.release(old, transaction) }
        try db.run(
            "INSERT OR REPLACE INTO parts (upload, number, body, size, etag, checksum, modified) VALUES (?, ?, ?, ?, ?, ?, ?)",
            .int(upload.id.number), .int(number), .optional(try body()), .int(size), .blob(etag), .blob(checksum.packed),
            .int(transaction.now))
    }

    static func part(_ row: SQLRow) -> Part {
        Part(
            number: Int(row.int(0)), size: row.int(1), etag: ETag(digest: row.bytes(2)), checksum: Checksum(packed: row.bytes(3)),
            modified: row.int(4))
    }

    static func remove(_ upload: Int64, _ transaction: Transaction) throws {
        let db = transaction.db
        for body in try db.rows("SELECT body FROM parts WHERE upload = ?", .int(upload), body: { $0.optionalInt(0) }) {
            try Bodies.release(body, transaction)
        }
        try db.run("DELETE FROM parts WHERE upload = ?", .int(upload))
        try db.run("DELETE FROM uploads WHERE id = ?", .int(upload))
    }

    // MARK: Complete

    static func complete(
        _ request: CompleteRequest, _ entry: BucketEntry, partBytesMin: Int64, _ transaction: Transaction
    ) throws -> PutResult {
        let db = transaction.db
        let upload: UploadRow
        do { upload = try find(request.upload, entry, db) } catch ObjectsError.noSuchUpload {
            guard let result = try completed(request.upload, entry, db) else { throw ObjectsError.noSuchUpload }
            return result
        }
        let parts = try chosen(request, upload, partBytesMin: partBytesMin, db)
        let size = parts.reduce(0) { $0 + $1.size }
        if let declared = request.size, declared != size {
            throw ObjectsError.invalidRequest("x-amz-mp-object-size is \(declared), but the parts have \(size) bytes")
        }
        guard size <= Limits.objectBytesMax else { throw ObjectsError.entityTooLarge }
        let checksum = try checksum(request, upload, parts)
        let etag = partsETag(parts.map(\.etag.digest))
        var row = VersionRow(key: upload.key, seq: 0, modified: transaction.now)
        row.size = size
        row.etag = etag.digest
        row.parts = etag.parts
        row.checksum = checksum?.packed ?? []
        (row.head, row.tags, row.lock, row.storageClass) = (upload.head, upload.tags, upload.lock, upload.storageClass)
        let result = try Versions.add(row, to: entry, request.conditions, as: .complete, by: request.requester, transaction) {
            try join(upload.id.number, parts, size: size, transaction)
        }
        try db.run("DELETE FROM uploads WHERE id = ?", .int(upload.id.number))
        try remember(upload, row, result, entry, transaction)
        return result
    }

    /// The parts named, held to the rules: ascending, there, as the client saw them, large enough.
    private static func chosen(_ request: CompleteRequest, _ upload: UploadRow, partBytesMin: Int64, _ db: Connection) throws -> [Part]
    {
        guard !request.parts.isEmpty else { throw ObjectsError.invalidRequest("you must specify at least one part") }
        for (a, b) in zip(request.parts, request.parts.dropFirst()) where a.number >= b.number { throw ObjectsError.invalidPartOrder }
        let known = try db.rows(
            "SELECT number, size, etag, checksum, modified FROM parts WHERE upload = ? ORDER BY number", .int(upload.id.number),
            body: part)
        let byNumber = Dictionary(known.map { ($0.number, $0) }) { first, _ in first }
        var parts: [Part] = []
        for (index, wanted) in request.parts.enumerated() {
            guard let part = byNumber[wanted.number], part.etag == wanted.etag,
                wanted.checksum.map({ $0 == part.checksum?.value }) ?? true
            else {
                throw ObjectsError.invalidPart(number: wanted.number)
            }
            if index < request.parts.count - 1, part.size < partBytesMin {
                throw ObjectsError.entityTooSmall(number: part.number, bytes: part.size)
            }
            parts.append(part)
        }
        return parts
    }

    private static func checksum(_ request: CompleteRequest, _ upload: UploadRow, _ parts: [Part]) throws -> Checksum? {
        let plan = upload.plan ?? ChecksumPlan(.crc64nvme, .fullObject)
        if let type = request.checksumType, type != plan.type {
            throw ObjectsError.invalidRequest("the upload was created with the checksum type \(plan.type.name), not \(type.name)")
        }
        let checksum =
            plan.type == .composite
            ? PartChecksums.composite(plan.algorithm, parts.map(\.checksum))
            : PartChecksums.whole(plan.algorithm, parts.map { ($0.checksum, $0.size) })
        if let expected = request.checksum {
            guard expected.algorithm == plan.algorithm else {
                throw ObjectsError.invalidRequest("the upload was created with \(plan.algorithm.name), not \(expected.algorithm.name)")
            }
            guard expected.value == checksum?.value else { throw ObjectsError.badDigest(plan.algorithm.name) }
        }
        return checksum
    }

    /// Makes one body of the parts' extents, end to end. Four statements, whatever the number of parts.
    private static func join(_ upload: Int64, _ parts: [Part], size: Int64, _ transaction: Transaction) throws -> Int64? {
        let db = transaction.db
        let chosen = Set(parts.map(\.number))
        for (number, body) in try db.rows(
            "SELECT number, body FROM parts WHERE upload = ?", .int(upload), body: { (Int($0.int(0)), $0.optionalInt(1)) })
        where !chosen.contains(number) {
            try Bodies.release(body, transaction)
            try db.run("DELETE FROM parts WHERE upload = ? AND number = ?", .int(upload), .int(number))
        }
        guard size > 0 else {
            try db.run("DELETE FROM parts WHERE upload = ?", .int(upload))
            return nil
        }
        let body = transaction.nextBody()
        try db.run("INSERT INTO bodies (id, refs, size, tier) VALUES (?, 1, ?, 0)", .int(body), .int(size))
        try db.run(
            """
            INSERT INTO extents (body, start, size, blob, blob_start)
            SELECT ?1, offset + start, extents.size, blob, blob_start
            FROM (SELECT body AS part, sum(size) OVER (ORDER BY number) - size AS offset FROM parts WHERE upload = ?2)
            JOIN extents ON extents.body = part
            """, .int(body), .int(upload))
        try db.run(
            "INSERT INTO body_parts SELECT ?, number, size, etag, checksum, modified FROM parts WHERE upload = ?", .int(body),
            .int(upload))
        try db.run("DELETE FROM extents WHERE body IN (SELECT body FROM parts WHERE upload = ?)", .int(upload))
        try db.run("DELETE FROM bodies WHERE id IN (SELECT body FROM parts WHERE upload = ?)", .int(upload))
        try db.run("DELETE FROM parts WHERE upload = ?", .int(upload))
        return body
    }

    /// Keeps the answer for a client that did not get it.
    private static func remember(
        _ upload: UploadRow, _ row: VersionRow, _ result: PutResult, _ entry: BucketEntry, _ transaction: Transaction
    ) throws {
        var (seq, nonce): (Int64, UInt64) = (0, 0)
        if case .numbered(let sequence, let digits)? = result.version { (seq, nonce) = (sequence, digits) }
        let flags = result.version == nil ? 0 : result.version == .null ? 2 : 1
        try transaction.db.run(
            """
            INSERT INTO completed (upload, nonce, bucket, key, until, seq, version_nonce, flags, size, etag, parts, modified, checksum)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """, .int(upload.id.number), .int(Int64(bitPattern: upload.id.nonce)), .int(entry.id), .blob(upload.key),
            .int(transaction.now + Limits.objectCompletedMilliseconds), .int(seq), .int(Int64(bitPattern: nonce)), .int(flags),
            .int(result.size), .blob(result.etag.digest), .int(result.etag.parts), .int(result.modified), .bytes(row.checksum))
    }

    private static func completed(_ name: UploadName, _ entry: BucketEntry, _ db: Connection) throws -> PutResult? {
        try db.first(
            """
            SELECT seq, version_nonce, flags, size, etag, parts, modified, checksum FROM completed
            WHERE upload = ? AND nonce = ? AND bucket = ? AND key = ?
            """, .int(name.id.number), .int(Int64(bitPattern: name.id.nonce)), .int(entry.id), .blob(name.key.bytes)
        ) { row in
            let version: VersionID? =
                switch row.int(2) {
                case 0: nil
                case 2: .null
                default: .numbered(sequence: row.int(0), nonce: UInt64(bitPattern: row.int(1)))
                }
            return PutResult(
                etag: ETag(digest: row.bytes(4), parts: Int(row.int(5))), version: version, size: row.int(3), modified: row.int(6),
                checksum: Checksum(packed: row.bytes(7)), expiry: nil)
        }
    }
}
