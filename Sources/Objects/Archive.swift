internal import Base
internal import Foundation

/// Where files of the archive tier lie: any S3. Calls block.
package protocol ArchivePlace: Sendable {
    func put(_ path: String, as name: String) throws(ObjectsError)
    func get(_ name: String, into path: String) throws(ObjectsError)
    /// What is not there is no error.
    func remove(_ name: String) throws(ObjectsError)
    /// nil: there is none.
    func size(of name: String) throws(ObjectsError) -> Int64?
}

/// The archive tier: bodies of GLACIER and DEEP_ARCHIVE objects, packed into files that lie elsewhere.
///
///     hot, cold ──its class is an archive's──▶ archive-N.sqlite, here ──sealed, copied──▶ away, and the copy here is removed
///         ▲                                                                                    │
///         └───────────── RestoreObject: the file comes back, the body is moved to hot ◀────────┘
///
/// Invariants:
///  1. A file is removed here after its copy elsewhere has been seen to have its size, and `segments.is_away` says so on disk.
///  2. Only bodies and blobs with one reference go there: nothing that can be read otherwise has to wait for a restore.
///  3. `versions.restored` is the end of a restore; negative: so many days are asked for, and the bytes are not here yet.
///
/// Thread rule: the care queue.
extension ObjectStore {
    /// A file is closed, and goes away, at this size; smaller ones when a round has archived nothing more.
    static let archiveFileBytes: Int64 = 256 << 20

    func shipArchives(isQuiet: Bool) throws {
        guard let place = options.archive else { return }
        if let id = archive.activeID, let stored = segments[id]?.numbers.stored, stored > 0, isQuiet || stored >= Self.archiveFileBytes {
            try archive.rollNow()
            meta.queue.sync {}
        }
        for segment in segments.all where segment.tier == .archive {
            let numbers = segment.numbers
            let name = (segment.path as NSString).lastPathComponent
            if numbers.isAway, numbers.liveStored == 0 {
                try place.remove(name)
                let id = segment.id
                try commitNow { try $0.db.run("DELETE FROM segments WHERE id = ?", .int(id)) }
                segments.remove(id)
            } else if numbers.isSealed, !numbers.isAway, numbers.liveStored > 0 {
                try place.put(segment.path, as: name)
                guard try place.size(of: name) == fileSize(segment.path) else {
                    throw ObjectsError.storage("the archive has another size of \(name) than was sent")
                }
                let id = segment.id
                try commitNow { try $0.db.run("UPDATE segments SET is_away = 1 WHERE id = ?", .int(id)) }
                segment.leave()
            }
        }
    }

    /// Brings back what was asked for by RestoreObject. What fails stays asked for.
    func restorePending(_ report: inout UpkeepReport) throws {
        struct Pending: Sendable {
            let bucket: Int64
            let key: [UInt8]
            let seq: Int64
            let body: Int64
            let days: Int64
        }
        let pending = try reads.readNow { db in
            try db.rows("SELECT bucket, key, seq, body, -restored FROM versions WHERE restored < 0 AND body IS NOT NULL LIMIT 1000") {
                Pending(bucket: $0.int(0), key: $0.bytes(1), seq: $0.int(2), body: $0.int(3), days: $0.int(4))
            }
        }
        for order in pending {
            try bringBack(order.body)
            _ = try moveBody(order.body, to: .hot)
            let (now, day) = (options.clock(), options.day)
            try commitNow {
                try $0.db.run(
                    "UPDATE versions SET restored = ? WHERE bucket = ? AND key = ? AND seq = ? AND restored < 0", .int(now + order.days * day),
                    .int(order.bucket), .blob(order.key), .int(order.seq))
            }
            report.restored += 1
        }
        guard !pending.isEmpty else { return }
        for segment in segments.all where segment.tier == .archive && segment.numbers.isAway { segment.leave() }
    }

    /// Fetches the files that a body lies in.
    private func bringBack(_ body: Int64) throws {
        let ids = try reads.readNow { db in
            try db.rows("SELECT DISTINCT segment FROM extents JOIN blobs ON blobs.id = blob WHERE body = ?", .int(body)) { $0.int(0) }
        }
        for id in ids {
            guard let segment = segments[id], segment.numbers.isAway else { continue }
            if FileManager.default.fileExists(atPath: segment.path) { continue }
            guard let place = options.archive else {
                throw ObjectsError.storage("\(segment.path) lies in an archive that is not configured any more")
            }
            try place.get((segment.path as NSString).lastPathComponent, into: segment.path)
        }
    }

    /// Whether a body may go where reading it takes a restore.
    func isArchivable(_ body: Int64, _ db: Connection) throws -> Bool {
        try db.first(
            """
            SELECT refs = 1 AND data IS NULL AND NOT EXISTS (
                SELECT 1 FROM extents JOIN blobs ON blobs.id = blob WHERE body = ?1 AND blobs.refs > 1
            ) FROM bodies WHERE id = ?1
            """, .int(body)
        ) { $0.int(0) == 1 } ?? false
    }
}

extension Segment {
    /// The file lies in the archive: what is here goes when nobody reads it.
    func leave() {
        setAway()
        whenUnused { [self] in
            closeReader()
            unlink(path)
        }
    }
}
