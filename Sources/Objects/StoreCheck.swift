internal import Base
internal import Dispatch
internal import Foundation

/// Proving that the store is whole.
extension ObjectStore {
    /// Reads every chunk and holds every count to what it counts, beside running requests.
    package func check(bytesPerSecond: Int64? = nil, done: @escaping Done<CheckReport>) {
        DispatchQueue(label: "hearth.objects.check").async { [self] in
            do {
                var report = CheckReport()
                try checkCounts(&report)
                try checkChunks(&report, bytesPerSecond)
                for segment in segments.all {
                    let numbers = segment.numbers
                    report.deadBytes += max(0, numbers.stored - numbers.liveStored)
                    if numbers.isAway { try checkArchive(segment, &report) }
                    guard numbers.isSealed, !numbers.isAway else { continue }
                    let pin = SegmentPin(segment, .reading)
                    do { if let damage = try pin.segment.damage() { report.fault("\(segment.path) is damaged: \(damage)") } } catch {
                        report.fault("\(error)")
                    }
                }
                done(.success(report))
            } catch { done(.failure(error as? ObjectsError ?? .storage("\(error)"))) }
        }
    }

    /// One read transaction on a connection of its own, so that what is compared belongs together.
    private func checkCounts(_ report: inout CheckReport) throws {
        let db = try Connection(path: options.directory + "/meta.sqlite", readonly: true)
        defer { db.close() }
        try db.execute("BEGIN")
        let queries: [(String, String)] = [
            ("PRAGMA quick_check(100)", "meta.sqlite: "),
            (
                """
                WITH used AS (SELECT body, count(*) AS n FROM (SELECT body FROM versions WHERE body IS NOT NULL
                UNION ALL SELECT body FROM parts WHERE body IS NOT NULL) GROUP BY body)
                SELECT id || ' has ' || refs || ' references, used ' || coalesce(n, 0) || ' times' FROM bodies
                LEFT JOIN used ON body = id WHERE refs <> coalesce(n, 0)
                """, "body "
            ),
            (
                """
                SELECT body || ' is missing' FROM (SELECT body FROM versions WHERE body IS NOT NULL
                UNION ALL SELECT body FROM parts WHERE body IS NOT NULL) WHERE body NOT IN (SELECT id FROM bodies)
                """, "body "
            ),
            (
                """
                SELECT id || ' has ' || refs || ' references, used ' || coalesce(n, 0) || ' times' FROM blobs
                LEFT JOIN (SELECT blob, count(*) AS n FROM extents GROUP BY blob) ON blob = id WHERE refs <> coalesce(n, 0)
                """, "blob "
            ),
            (
                """
                SELECT body || ' at ' || start FROM (SELECT body, start, blob, blob_start, size,
                lag(start + size, 1, 0) OVER (PARTITION BY body ORDER BY start) AS wanted FROM extents) AS e
                LEFT JOIN blobs ON blobs.id = blob
                WHERE start <> wanted OR blobs.id IS NULL OR blob_start + e.size > blobs.size
                """, "extents do not join: body "
            ),
            (
                """
                SELECT id FROM bodies LEFT JOIN (SELECT body, sum(size) AS n FROM extents GROUP BY body) ON body = id
                WHERE size <> coalesce(length(data), n, 0)
                """, "another size than its extents has body "
            ),
            (
                """
                SELECT segments.id || ' says ' || live_size || ' and ' || live_stored || ' bytes live, its blobs '
                || coalesce(size, 0) || ' and ' || coalesce(stored, 0) FROM segments
                LEFT JOIN (SELECT segment, sum(size) AS size, sum(stored) AS stored FROM blobs GROUP BY segment) ON segment = segments.id
                WHERE live_size <> coalesce(size, 0) OR live_stored <> coalesce(stored, 0)
                """, "segment "
            ),
            ("SELECT id || ' lies in no file' FROM blobs WHERE segment NOT IN (SELECT id FROM segments)", "blob "),
            (
                """
                SELECT count(*) || ' versions of deleted buckets' FROM versions WHERE bucket NOT IN (SELECT id FROM buckets)
                HAVING count(*) > 0
                """,
                ""
            ),
        ]
        for (sql, prefix) in queries {
            try db.each(sql) { row in
                let text = row.text(0)
                if text != "ok" { report.fault(prefix + text) }
                return true
            }
        }
        report.versions = try db.first("SELECT count(*) FROM versions") { Int($0.int(0)) } ?? 0
        try db.execute("COMMIT")
    }

    private func checkChunks(_ report: inout CheckReport, _ bytesPerSecond: Int64?) throws {
        var last: Int64 = 0
        while true {
            let blobs = try placedBlobs("id > ?", last, limit: 64)
            guard let end = blobs.last else { return }
            last = end.id
            for blob in blobs {
                report.blobs += 1
                var moved = blob
                // A blob that moves while it is read is read again where it is then.
                while let sentence = fault(of: moved, &report) {
                    let now = try placedBlobs("id = ?", blob.id, limit: 1).first
                    if let now, now.segment != moved.segment || now.base != moved.base {
                        moved = now
                    } else {
                        if now != nil { report.fault(sentence) }
                        break
                    }
                }
                if let bytesPerSecond { usleep(UInt32(min(blob.stored * 1_000_000 / max(1, bytesPerSecond), 10_000_000))) }
            }
        }
    }

    private func checkArchive(_ segment: Segment, _ report: inout CheckReport) throws {
        let name = (segment.path as NSString).lastPathComponent
        guard let place = options.archive else { return report.fault("\(name) lies in an archive that is not configured any more") }
        do throws(ObjectsError) {
            if try place.size(of: name) == nil { report.fault("\(name) is missing in the archive") }
        } catch { report.fault("the archive cannot be asked for \(name): \(error)") }
    }

    private func placedBlobs(_ condition: String, _ value: Int64, limit: Int) throws -> [PlacedBlob] {
        try reads.readNow { db in
            try db.rows(
                "SELECT id, segment, base, size, stored FROM blobs WHERE \(condition) ORDER BY id LIMIT ?", .int(value), .int(limit)
            ) {
                PlacedBlob(id: $0.int(0), segment: $0.int(1), base: $0.int(2), size: $0.int(3), stored: $0.int(4))
            }
        }
    }

    /// What is wrong with a blob's rows.
    private func fault(of blob: PlacedBlob, _ report: inout CheckReport) -> String? {
        guard let segment = segments[blob.segment] else { return "blob \(blob.id) lies in a file that is missing" }
        // Its rows would have to be fetched.
        if segment.numbers.isAway { return nil }
        let pin = SegmentPin(segment, .reading)
        var at: Int64 = 0
        while at < blob.size {
            do {
                let count = try pin.segment.read(base: blob.base, chunk: at / Int64(Limits.objectChunkBytes)) { $0.count }
                guard Int64(count) == min(Int64(Limits.objectChunkBytes), blob.size - at) else {
                    return "\(segment.path): a chunk of blob \(blob.id) has \(count) bytes"
                }
                at += Int64(count)
                report.chunks += 1
                report.bytes += Int64(count)
            } catch { return "\(error)" }
        }
        return nil
    }
}
