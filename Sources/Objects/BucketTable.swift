internal import Synchronization

/// What is known of a bucket without asking the disk.
struct BucketEntry: Sendable {
    let id: Int64
    var bucket: Bucket
    var documents: [BucketDocument: [UInt8]]
    var lifecycle: Lifecycle
    var tiering: [TieringRule] = []
    var notifications: [NotificationRule] = []
    /// There may be versions whose class belongs into another tier than they are in: until a walk has found none.
    var holdsCold = true
}

/// All buckets, in memory. Changed by commits only, on the writer's queue; so what an order of the writer reads here is true in its
/// transaction.
///
/// Thread rule: any thread.
final class BucketTable: Sendable {
    private let entries = Mutex<[String: BucketEntry]>([:])

    func load(_ db: Connection, day: Int64) throws {
        var documents: [Int64: [BucketDocument: [UInt8]]] = [:]
        try db.each("SELECT bucket, kind, bytes FROM documents") { row in
            if let kind = BucketDocument(rawValue: row.text(1)) { documents[row.int(0), default: [:]][kind] = row.bytes(2) }
            return true
        }
        let all = try db.rows("SELECT id, name, owner, created, versioning, object_lock FROM buckets") { row in
            BucketEntry(
                id: row.int(0),
                bucket: Bucket(
                    name: try BucketName(row.text(1)), owner: row.text(2), created: row.int(3),
                    versioning: Versioning(rawValue: Int(row.int(4))) ?? .off, hasObjectLock: row.int(5) == 1),
                documents: documents[row.int(0)] ?? [:], lifecycle: Lifecycle(rules: [], day: day))
        }
        entries.withLock { $0 = Dictionary(all.map { ($0.bucket.name.text, $0) }) { first, _ in first } }
    }

    func find(_ name: BucketName) -> BucketEntry? { entries.withLock { $0[name.text] } }

    func get(_ name: BucketName) throws -> BucketEntry {
        guard let entry = find(name) else { throw ObjectsError.noSuchBucket(name.text) }
        return entry
    }

    /// By name.
    var all: [BucketEntry] { entries.withLock { Array($0.values) }.sorted { $0.bucket.name.text < $1.bucket.name.text } }

    func put(_ entry: BucketEntry) { entries.withLock { $0[entry.bucket.name.text] = entry } }
    func remove(_ name: BucketName) { entries.withLock { _ = $0.removeValue(forKey: name.text) } }

    /// Does nothing without the bucket.
    func change(_ name: BucketName, _ body: (inout BucketEntry) -> Void) {
        entries.withLock { entries in
            guard var entry = entries[name.text] else { return }
            body(&entry)
            entries[name.text] = entry
        }
    }
}
