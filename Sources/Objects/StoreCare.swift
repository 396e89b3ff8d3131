internal import Base
internal import Dispatch
internal import Foundation
internal import Synchronization

/// Where the background work stands.
struct CareState: Sendable {
    var accessesFlushed: Int64 = 0
    var roundBegan: Int64 = 0
    /// nil: between two rounds.
    var walk: UpkeepWalk?
    var expired = 0
    var demoted = 0
    var promoted = 0
    var archived = 0
    /// When the last round ended.
    var archivedBefore = 0
    var lagMilliseconds: Int64 = 0
}

extension ObjectStore {
    /// Access times go to disk this often.
    private static let accessFlushMilliseconds: Int64 = 60_000
    /// Buckets with rules are walked no more often than this, and than ten times a day.
    private static let roundMilliseconds: Int64 = 60_000
    private static let openReadersMax = 64

    /// One step of the background work (lifecycle, tiers, access times, compaction), which looks at `rowsMax` rows at most. The server
    /// calls it by a timer, one call at a time.
    package func upkeep(rowsMax: Int = 2_000, done: @escaping Done<UpkeepReport>) {
        inBackground(done) { [self] in
            let now = options.clock()
            var report = UpkeepReport()
            try? restorePending(&report)
            if accesses.hasCold || now - care.withLock({ $0.accessesFlushed }) >= Self.accessFlushMilliseconds {
                try flushAccesses(&report)
            }
            let walk: UpkeepWalk? = care.withLock { care in
                if care.walk == nil, now - care.roundBegan >= min(Self.roundMilliseconds, options.day / 10) {
                    care.roundBegan = now
                    care.walk = UpkeepWalk(
                        buckets: table.all.filter { !$0.lifecycle.isEmpty || !$0.tiering.isEmpty || $0.holdsCold }.map(\.bucket.name))
                }
                return care.walk
            }
            guard var walk else {
                report.isRoundComplete = true
                return report
            }
            try step(&walk, rowsMax: rowsMax, now: now, &report)
            if walk.isDone {
                try finishRound(now: now, &report)
                report.isRoundComplete = true
            }
            let (left, result) = (walk.isDone ? nil : walk, report)
            care.withLock { care in
                care.walk = left
                care.expired += result.expired
                care.demoted += result.demoted
                care.promoted += result.promoted
                care.archived += result.archived
            }
            return report
        }
    }

    private func finishRound(now: Int64, _ report: inout UpkeepReport) throws {
        try abortUploads(now: now, &report)
        try commitNow { try $0.db.run("DELETE FROM completed WHERE until < ?", .int(now)) }
        try compactNow(liveFraction: 0.5)
        let (archived, before) = care.withLock { care in
            defer { care.archivedBefore = care.archived }
            return (care.archived, care.archivedBefore)
        }
        // An archive that cannot be reached keeps nothing else from its care; what did not go goes the next time.
        try? shipArchives(isQuiet: archived == before)
        segments.closeIdleReaders(keeping: Self.openReadersMax)
        pool.trim()
        readPool.trim()
    }

    /// Uploads that a rule, or the age of `abortUploadsDays`, ends.
    private func abortUploads(now: Int64, _ report: inout UpkeepReport) throws {
        let entries = Dictionary(table.all.map { ($0.id, $0) }) { first, _ in first }
        let due = try reads.readNow { db in
            try db.rows("SELECT \(UploadRow.columns) FROM uploads", body: { UploadRow($0) }).filter { upload in
                let byRule = entries[upload.bucket]?.lifecycle.abort(key: upload.key, initiated: upload.initiated)?.time ?? .max
                return min(byRule, upload.initiated + Int64(options.abortUploadsDays) * options.day) <= now
            }
        }
        for upload in due {
            try commitNow { transaction in
                guard try transaction.db.first("SELECT 1 FROM uploads WHERE id = ?", .int(upload.id.number), body: { _ in true }) != nil
                else { return }
                try Uploads.remove(upload.id.number, transaction)
            }
            plans.withLock { _ = $0.removeValue(forKey: upload.id.number) }
            report.aborted += 1
        }
    }

    // MARK: Access

    /// Puts on disk what was read when, and brings back what has been read often enough.
    func flushAccesses(_ report: inout UpkeepReport) throws {
        let all = accesses.drain()
        let now = options.clock()
        care.withLock { $0.accessesFlushed = now }
        guard !all.isEmpty else { return }
        let back: [Int64] = try commitNow { transaction in
            var back: [Int64] = []
            for (body, access) in all {
                // Only of bodies that are still there.
                let hits = try transaction.db.first(
                    """
                    INSERT INTO access (body, time, hits) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM bodies WHERE id = ?1)
                    ON CONFLICT DO UPDATE SET time = max(time, excluded.time), hits = hits + excluded.hits RETURNING hits
                    """, .int(body), .int(access.time), .int(access.isCold ? access.hits : 0)
                ) { Int($0.int(0)) }
                if access.isCold, let hits, let enough = access.promoteAfter, hits >= enough { back.append(body) }
            }
            return back
        }
        // What cannot be moved now (damaged, a full disk) serves from where it is.
        for body in back where (try? moveBody(body, to: .hot)) ?? false { report.promoted += 1 }
    }

    /// Moves the blobs of a body and says so in its row. False: it has gone meanwhile, or was there.
    func moveBody(_ body: Int64, to tier: Tier) throws -> Bool {
        let blobs = try reads.readNow { db in
            try db.rows(
                """
                SELECT DISTINCT blobs.id, segment, base, blobs.size, stored FROM extents JOIN blobs ON blobs.id = blob
                JOIN segments ON segments.id = segment WHERE body = ? AND segments.tier <> ?
                """, .int(body), .int(tier.rawValue)
            ) { PlacedBlob(id: $0.int(0), segment: $0.int(1), base: $0.int(2), size: $0.int(3), stored: $0.int(4)) }
        }
        for blob in blobs { _ = try move(blob, to: tier) }
        return try commitNow { transaction in
            let db = transaction.db
            try db.run(
                "UPDATE bodies SET tier = ? WHERE id = ? AND tier <> ? AND data IS NULL", .int(tier.rawValue), .int(body),
                .int(tier.rawValue))
            guard db.changes == 1 else { return false }
            try db.run("UPDATE access SET hits = 0 WHERE body = ?", .int(body))
            return true
        }
    }

    // MARK: Statistics

    package func statistics(done: @escaping Done<StoreStatistics>) {
        reads.read(done) { [self] db in
            var all = StoreStatistics()
            for segment in segments.all {
                let numbers = segment.numbers
                func add(_ tier: inout StoreStatistics.OfTier) {
                    tier.bytes += numbers.liveSize
                    tier.storedBytes += numbers.liveStored
                    tier.fileBytes += fileSize(segment.path)
                    tier.files += 1
                }
                switch segment.tier {
                case .hot: add(&all.hot)
                case .cold: add(&all.cold)
                case .archive: add(&all.archive)
                }
            }
            all.buckets = table.all.count
            all.uploads = try db.first("SELECT count(*) FROM uploads") { Int($0.int(0)) } ?? 0
            all.metaBytes = fileSize(db.path) + fileSize(db.path + "-wal")
            all.bufferedBytes = pool.bufferedBytes
            care.withLock { care in
                all.lifecycleExpired = care.expired
                all.lifecycleLagMilliseconds = care.lagMilliseconds
                all.demoted = care.demoted
                all.promoted = care.promoted
            }
            return all
        }
    }

    // MARK: Queues

    /// Runs background work on its own queue.
    func inBackground<T: Sendable>(_ done: @escaping Done<T>, _ work: @escaping @Sendable () throws -> T) {
        careQueue.async { done(Result { try work() }.mapError { $0 as? ObjectsError ?? .storage("\($0)") }) }
    }

    /// Submits an order and waits for its commit; for the care queue only.
    func commitNow<T: Sendable>(_ work: @escaping (Transaction) throws -> T) throws -> T {
        let isDone = DispatchSemaphore(value: 0)
        let answer = Mutex<Result<T, ObjectsError>>(.failure(.aborted))
        meta.submit(
            { result in
                answer.withLock { $0 = result }
                isDone.signal()
            }, work)
        isDone.wait()
        return try answer.withLock { $0 }.get()
    }
}

/// 0 when there is none.
func fileSize(_ path: String) -> Int64 {
    ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.int64Value ?? 0
}
