/// A row of `versions`.
struct VersionRow {
    static let deleteMarker: Int64 = 1
    static let nullVersion: Int64 = 2
    static let columns =
        "key, seq, nonce, flags, size, etag, parts, modified, class, body, checksum, tags, head, lock, restored"

    var key: [UInt8]
    /// Negative: the newest comes first.
    var seq: Int64
    var nonce: UInt64 = 0
    var flags: Int64 = 0
    var size: Int64 = 0
    var etag: [UInt8] = []
    var parts: Int = 0
    var modified: Int64
    /// Empty: STANDARD.
    var storageClass = ""
    var body: Int64?
    var checksum: [UInt8] = []
    var tags: [UInt8] = []
    var head: [UInt8] = []
    var lock: [UInt8] = []
    var restored: Int64 = 0

    init(key: [UInt8], seq: Int64, modified: Int64) {
        self.key = key
        self.seq = seq
        self.modified = modified
    }

    /// Of `columns`.
    init(_ row: SQLRow) {
        key = row.bytes(0)
        seq = row.int(1)
        nonce = UInt64(bitPattern: row.int(2))
        flags = row.int(3)
        size = row.int(4)
        etag = row.bytes(5)
        parts = Int(row.int(6))
        modified = row.int(7)
        storageClass = row.text(8)
        body = row.optionalInt(9)
        checksum = row.bytes(10)
        tags = row.bytes(11)
        head = row.bytes(12)
        lock = row.bytes(13)
        restored = row.int(14)
    }

    var isDeleteMarker: Bool { flags & Self.deleteMarker != 0 }
    var isNull: Bool { flags & Self.nullVersion != 0 }
    var id: VersionID { isNull ? .null : .numbered(sequence: -seq, nonce: nonce) }
    var tag: ETag { ETag(digest: etag, parts: parts) }

    // Made once: statements are looked up by their text.
    private static let insertion =
        "INSERT INTO versions (bucket, \(columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    private static let selectNewest = "SELECT \(columns) FROM versions WHERE bucket = ? AND key = ? ORDER BY seq LIMIT 1"
    private static let selectNull = "SELECT \(columns) FROM versions WHERE bucket = ? AND key = ? AND flags & 2 ORDER BY seq LIMIT 1"
    private static let selectOne = "SELECT \(columns) FROM versions WHERE bucket = ? AND key = ? AND seq = ?"

    func insert(_ db: Connection, bucket: Int64) throws {
        try db.run(
            Self.insertion,
            .int(bucket), .blob(key), .int(seq), .int(Int64(bitPattern: nonce)), .int(flags), .int(size), .bytes(etag), .int(parts),
            .int(modified), storageClass.isEmpty ? .null : .text(storageClass), .optional(body), .bytes(checksum), .bytes(tags),
            .bytes(head),
            .bytes(lock), restored == 0 ? .null : .int(restored))
    }

    /// The newest version of a key, markers too.
    static func newest(_ db: Connection, bucket: Int64, key: [UInt8]) throws -> VersionRow? {
        try db.first(selectNewest, .int(bucket), .blob(key)) { VersionRow($0) }
    }

    static func null(_ db: Connection, bucket: Int64, key: [UInt8]) throws -> VersionRow? {
        try db.first(selectNull, .int(bucket), .blob(key)) { VersionRow($0) }
    }

    static func find(_ db: Connection, bucket: Int64, key: [UInt8], id: VersionID) throws -> VersionRow? {
        guard case .numbered(let sequence, let nonce) = id else { return try null(db, bucket: bucket, key: key) }
        let row = try db.first(selectOne, .int(bucket), .blob(key), .int(-sequence)) { VersionRow($0) }
        return row.flatMap { $0.nonce == nonce && !$0.isNull ? $0 : nil }
    }

    func version(isLatest: Bool, tier: Tier, expiry: (time: Int64, rule: String)?) throws -> ObjectVersion {
        ObjectVersion(
            key: ObjectKey(stored: key), id: id, isLatest: isLatest, isDeleteMarker: isDeleteMarker, size: size, etag: tag,
            modified: modified,
            storageClass: storageClass.isEmpty ? .standard : StorageClass(storageClass), tier: tier,
            checksum: Checksum(packed: checksum),
            metadata: try Metadata(packed: head), tags: try unpacked(tags: tags), lock: try ObjectLock(packed: lock),
            restoredUntil: restored,
            expiry: expiry, body: body)
    }
}

extension StorageClass {
    /// As stored: STANDARD is empty.
    var stored: String { self == .standard ? "" : name }

    /// Its objects must be restored before they can be read.
    var isArchive: Bool { name == "GLACIER" || name == "DEEP_ARCHIVE" }
    /// Its bytes belong into the cold tier.
    var isCold: Bool { isArchive || name == "STANDARD_IA" || name == "ONEZONE_IA" || name == "GLACIER_IR" }
}

/// Bodies and what they are made of, inside a transaction.
enum Bodies {
    /// Makes a body, with one reference, of what a writer has written; nil for no bytes.
    static func insert(_ bytes: WrittenBody.Bytes, size: Int64, _ transaction: Transaction) throws -> Int64? {
        guard size > 0 else { return nil }
        let db = transaction.db
        let id = transaction.nextBody()
        switch bytes {
        case .inline(let data):
            try db.run("INSERT INTO bodies (id, refs, size, tier, data) VALUES (?, 1, ?, 0, ?)", .int(id), .int(size), .blob(data))
        case .runs(let runs):
            try db.run("INSERT INTO bodies (id, refs, size, tier) VALUES (?, 1, ?, 0)", .int(id), .int(size))
            var start: Int64 = 0
            for run in runs {
                let blob = transaction.nextBlob()
                try db.run(
                    "INSERT INTO blobs (id, refs, segment, base, size, stored) VALUES (?, 1, ?, ?, ?, ?)", .int(blob),
                    .int(run.pin.segment.id),
                    .int(run.base), .int(run.size), .int(run.stored))
                try insertExtent(db, body: id, start: start, size: run.size, blob: blob, blobStart: 0)
                transaction.account(run.pin.segment.id, size: run.size, stored: run.stored)
                start += run.size
            }
        }
        return id
    }

    static func insertExtent(_ db: Connection, body: Int64, start: Int64, size: Int64, blob: Int64, blobStart: Int64) throws {
        try db.run(
            "INSERT INTO extents (body, start, size, blob, blob_start) VALUES (?, ?, ?, ?, ?)", .int(body), .int(start), .int(size),
            .int(blob),
            .int(blobStart))
    }

    static func retain(_ body: Int64?, _ db: Connection) throws {
        guard let body else { return }
        try db.run("UPDATE bodies SET refs = refs + 1 WHERE id = ?", .int(body))
    }

    /// Takes a reference away; with the last one the body goes, and every blob that nothing else names.
    static func release(_ body: Int64?, _ transaction: Transaction) throws {
        guard let body else { return }
        let db = transaction.db
        let left = try db.first("UPDATE bodies SET refs = refs - 1 WHERE id = ? RETURNING refs, data IS NULL", .int(body)) {
            ($0.int(0), $0.int(1) == 1)
        }
        guard let left, left.0 == 0 else { return }
        try db.run("DELETE FROM bodies WHERE id = ?", .int(body))
        guard left.1 else { return }
        for blob in try db.rows("SELECT blob FROM extents WHERE body = ?", .int(body), body: { $0.int(0) }) {
            try releaseBlob(blob, transaction)
        }
        try db.run("DELETE FROM extents WHERE body = ?", .int(body))
        try db.run("DELETE FROM body_parts WHERE body = ?", .int(body))
        try db.run("DELETE FROM access WHERE body = ?", .int(body))
    }

    private static func releaseBlob(_ blob: Int64, _ transaction: Transaction) throws {
        let db = transaction.db
        let left = try db.first("UPDATE blobs SET refs = refs - 1 WHERE id = ? RETURNING refs, segment, size, stored", .int(blob)) {
            (refs: $0.int(0), segment: $0.int(1), size: $0.int(2), stored: $0.int(3))
        }
        guard let left, left.refs == 0 else { return }
        try db.run("DELETE FROM blobs WHERE id = ?", .int(blob))
        transaction.account(left.segment, size: -left.size, stored: -left.stored)
    }

    static func tier(_ body: Int64?, _ db: Connection) throws -> Tier {
        guard let body else { return .hot }
        return try db.first("SELECT tier FROM bodies WHERE id = ?", .int(body)) { Tier(rawValue: Int($0.int(0))) ?? .hot } ?? .hot
    }

    static func inlineData(_ body: Int64, _ db: Connection) throws -> [UInt8]? {
        try db.first("SELECT data FROM bodies WHERE id = ?", .int(body)) { $0.isNull(0) ? nil : $0.bytes(0) } ?? nil
    }

    /// A stored extent: which bytes of which blob.
    struct Piece: Sendable {
        let start: Int64
        let size: Int64
        let blob: Int64
        let blobStart: Int64
        let segment: Int64
        let base: Int64
    }

    /// The extents that a range of a body touches, in order.
    static func pieces(_ body: Int64, _ range: Range<Int64>, _ db: Connection) throws -> [Piece] {
        guard !range.isEmpty else { return [] }
        return try db.rows(
            """
            SELECT start, extents.size, blob, blob_start, segment, base FROM extents JOIN blobs ON blobs.id = blob
            WHERE body = ?1 AND start < ?3
              AND start >= coalesce((SELECT max(start) FROM extents WHERE body = ?1 AND start <= ?2), 0) ORDER BY start
            """, .int(body), .int(range.lowerBound), .int(range.upperBound)
        ) {
            Piece(start: $0.int(0), size: $0.int(1), blob: $0.int(2), blobStart: $0.int(3), segment: $0.int(4), base: $0.int(5))
        }
    }
}
