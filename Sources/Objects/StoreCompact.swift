internal import Base
internal import Crypto
internal import Dispatch
internal import Synchronization
internal import Zstd

/// Moving blobs between files: to give back space, and between tiers.
extension ObjectStore {
    /// A blob and where it is.
    struct PlacedBlob: Sendable {
        let id: Int64
        let segment: Int64
        let base: Int64
        let size: Int64
        let stored: Int64
    }

    /// Gives back the space of what was deleted: files of which less than `liveFraction` is needed are rewritten.
    package func compact(liveFraction: Double = 0.5, done: @escaping Done<CompactReport>) {
        inBackground(done) { [self] in try compactNow(liveFraction: liveFraction) }
    }

    /// On the care queue.
    @discardableResult
    func compactNow(liveFraction: Double) throws -> CompactReport {
        // What is still being written to takes part when much of it is dead.
        for writer in writers {
            if let id = writer.activeID, let segment = segments[id], isWorthCompacting(segment, liveFraction) { try writer.rollNow() }
        }
        meta.queue.sync {}
        var report = CompactReport()
        for segment in segments.all where segment.numbers.isSealed && isWorthCompacting(segment, liveFraction) {
            // What is damaged stays where it is, and keeps no other file from being rewritten.
            do { try empty(segment, &report) } catch ObjectsError.damaged { continue }
        }
        return report
    }

    func isWorthCompacting(_ segment: Segment, _ liveFraction: Double) -> Bool {
        let numbers = segment.numbers
        // Less than a chunk of dead bytes is not worth a file.
        return !numbers.isAway && numbers.stored - numbers.liveStored > Int64(Limits.objectChunkBytes)
            && (liveFraction >= 1 || Double(numbers.liveStored) < Double(numbers.stored) * liveFraction)
    }

    /// Moves all blobs out of a sealed file and removes it.
    private func empty(_ segment: Segment, _ report: inout CompactReport) throws {
        let id = segment.id
        while true {
            let blobs = try reads.readNow { db in
                try db.rows("SELECT id, segment, base, size, stored FROM blobs WHERE segment = ? LIMIT 64", .int(id)) {
                    PlacedBlob(id: $0.int(0), segment: $0.int(1), base: $0.int(2), size: $0.int(3), stored: $0.int(4))
                }
            }
            guard !blobs.isEmpty else { break }
            for blob in blobs { report.bytesMoved += try move(blob, to: segment.tier) }
        }
        // A blob whose writer pinned the file before it was sealed has been committed by now, or never will be.
        let isGone = try commitNow { transaction in
            guard try transaction.db.first("SELECT 1 FROM blobs WHERE segment = ? LIMIT 1", .int(id), body: { _ in true }) == nil else {
                return false
            }
            try transaction.db.run("DELETE FROM segments WHERE id = ?", .int(id))
            return true
        }
        guard isGone else { return }
        report.filesRemoved += 1
        report.bytesFreed += segment.numbers.stored
        segments.remove(id)
    }

    /// Copies a blob's rows into the open file of a tier, then points the blob there, if it is still where it was. Answers the bytes
    /// written. A crash at any point leaves one whole copy that is pointed to.
    func move(_ blob: PlacedBlob, to tier: Tier) throws -> Int64 {
        guard let from = segments[blob.segment] else { throw ObjectsError.damaged("\(segments.path(blob.segment, tier)) is missing") }
        let pin = SegmentPin(from, .reading)
        let writer = tier == .hot ? pick(hot) : tier == .cold ? cold : archive
        let (target, base) = try writer.begin()
        var chunk: Int64 = 0
        var stored: Int64 = 0
        let rows = RowBatch(writer: writer, segment: target.segment)
        while chunk * Int64(Limits.objectChunkBytes) < blob.size {
            let row = try pin.segment.read(base: blob.base, chunk: chunk) { bytes in
                let packed = tier != .hot ? Zstd.shared.compress(bytes, level: 3) : nil
                return OwnedRow(
                    id: Segment.rowID(base: base, chunk: chunk), raw: packed == nil ? 0 : bytes.count, bytes: packed ?? Array(bytes))
            }
            stored += Int64(row.bytes.count)
            try rows.add(row)
            chunk += 1
        }
        try rows.flush()
        let (targetID, size) = (target.segment.id, blob.size)
        let written = stored
        try commitNow { transaction in
            let db = transaction.db
            try db.run(
                "UPDATE blobs SET segment = ?, base = ?, stored = ? WHERE id = ? AND segment = ? AND base = ?", .int(targetID),
                .int(base),
                .int(written), .int(blob.id), .int(blob.segment), .int(blob.base))
            // It was deleted meanwhile: the copy is dead weight.
            guard db.changes == 1 else { return }
            transaction.account(blob.segment, size: -size, stored: -blob.stored)
            transaction.account(targetID, size: size, stored: written)
        }
        withExtendedLifetime(target) {}
        return stored
    }
}

/// A row with bytes of its own.
final class OwnedRow: Sendable {
    let id: Int64
    let raw: Int
    let bytes: [UInt8]

    init(id: Int64, raw: Int, bytes: [UInt8]) {
        self.id = id
        self.raw = raw
        self.bytes = bytes
    }
}

/// Rows of background work on their way into a file, a few megabytes at a time.
///
/// Thread rule: one thread, which may wait.
private final class RowBatch: @unchecked Sendable {
    private static let bytesMax = 2 << 20
    private let writer: SegmentWriter
    private let segment: Segment
    private let group = DispatchGroup()
    private let failure = Mutex<ObjectsError?>(nil)
    private var bytes = 0

    init(writer: SegmentWriter, segment: Segment) {
        self.writer = writer
        self.segment = segment
    }

    func add(_ row: OwnedRow) throws {
        bytes += row.bytes.count
        group.enter()
        // The array's storage stays where it is as long as its owner lives.
        row.bytes.withUnsafeBytes { bytes in
            writer.append(
                Segment.Row(id: row.id, crc: checksumOfRow(bytes), raw: row.raw, bytes: bytes), to: segment, owner: row
            ) { [self] error in
                if let error { failure.withLock { $0 = error } }
                group.leave()
            }
        }
        if bytes > Self.bytesMax { try flush() }
    }

    /// Waits until all rows are on disk.
    func flush() throws {
        group.wait()
        bytes = 0
        if let error = failure.withLock({ $0 }) { throw error }
    }
}
