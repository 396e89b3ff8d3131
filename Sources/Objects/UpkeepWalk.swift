internal import Synchronization

/// A walk through the versions of all buckets that have rules, in steps.
struct UpkeepWalk: Sendable {
    /// Those still to be walked; the first is under way.
    var buckets: [BucketName]
    var key: [UInt8] = []
    var seq = Int64.min
    /// Of the key that the walk is in: when its last seen version was made, and how many noncurrent ones were seen.
    var isInKey = false
    var newerModified: Int64 = 0
    var noncurrent = 0
    /// In this bucket: a version whose class belongs into another tier than hot, and that may have to move again.
    var sawCold = false

    init(buckets: [BucketName]) { self.buckets = buckets }

    var isDone: Bool { buckets.isEmpty }

    mutating func endBucket() {
        buckets.removeFirst()
        (key, seq, isInKey, newerModified, noncurrent, sawCold) = ([], .min, false, 0, 0, false)
    }
}

extension ObjectStore {
    /// What is to be done to one version.
    private enum Action: Sendable {
        case expire(due: Int64)
        case removeNoncurrent
        case removeLoneMarker
        case transition(StorageClass)
        case move(body: Int64, to: Tier)
    }

    private struct Order: Sendable {
        let key: [UInt8]
        let seq: Int64
        let action: Action
    }

    /// Looks at up to `rowsMax` rows and does what is due; each order is checked again in its transaction.
    func step(_ walk: inout UpkeepWalk, rowsMax: Int, now: Int64, _ report: inout UpkeepReport) throws {
        var left = rowsMax
        while left > 0, let name = walk.buckets.first {
            guard let entry = table.find(name) else {
                walk.endBucket()
                continue
            }
            // Said again by whoever puts one meanwhile, and at the end of the walk if it has seen one.
            if walk.key.isEmpty, walk.seq == .min { table.change(name) { $0.holdsCold = false } }
            var place = walk
            var seen = 0
            let limit = left
            let orders = try reads.readNow { db in
                var orders: [Order] = []
                try db.each(
                    "SELECT \(VersionRow.columns) FROM versions WHERE bucket = ? AND (key, seq) > (?, ?) ORDER BY key, seq LIMIT ?",
                    .int(entry.id), .blob(place.key), .int(place.seq), .int(limit)
                ) { row in
                    seen += 1
                    let version = VersionRow(row)
                    if let action = try due(version, &place, entry, db, now: now) {
                        orders.append(Order(key: version.key, seq: version.seq, action: action))
                    }
                    return true
                }
                return orders
            }
            walk = place
            left -= seen
            report.examined += seen
            for start in stride(from: 0, to: orders.count, by: 64) {
                try perform(Array(orders[start..<min(start + 64, orders.count)]), entry, now: now, &report)
            }
            if seen < limit {
                if walk.sawCold { table.change(name) { $0.holdsCold = true } }
                walk.endBucket()
            }
        }
    }

    private func due(_ row: VersionRow, _ walk: inout UpkeepWalk, _ entry: BucketEntry, _ db: Connection, now: Int64) throws -> Action?
    {
        let isLatest = !walk.isInKey || walk.key != row.key
        if isLatest { walk.noncurrent = 0 }
        let (replaced, newer) = (walk.newerModified, walk.noncurrent)
        (walk.key, walk.seq, walk.isInKey, walk.newerModified) = (row.key, row.seq, true, row.modified)
        if !isLatest { walk.noncurrent += 1 }
        let lifecycle = entry.lifecycle
        let storageClass = StorageClass(row.storageClass)
        let placed = storageClass.isCold ? try demotion(row, [], entry, db, now: now) : nil
        // Restored ones go back some day.
        if placed != nil || storageClass.isArchive && row.restored != 0 { walk.sawCold = true }
        let tags = try unpacked(tags: row.tags)
        guard isLatest else {
            if lifecycle.expiresNoncurrent(key: row.key, size: row.size, tags: tags, replaced: replaced, newer: newer, now: now) {
                return .removeNoncurrent
            }
            return transition(row, tags, lifecycle, replaced: replaced, newer: newer, now: now) ?? placed
        }
        if row.isDeleteMarker {
            return lifecycle.expiresLoneMarker(key: row.key, made: row.modified, now: now) ? .removeLoneMarker : nil
        }
        if let expiry = entry.expiry(row), expiry.time <= now { return .expire(due: expiry.time) }
        if let action = transition(row, tags, lifecycle, replaced: nil, newer: 0, now: now) { return action }
        return try placed ?? demotion(row, tags, entry, db, now: now)
    }

    private func transition(
        _ row: VersionRow, _ tags: [Field], _ lifecycle: Lifecycle, replaced: Int64?, newer: Int, now: Int64
    ) -> Action? {
        guard !row.isDeleteMarker, !lifecycle.isEmpty else { return nil }
        let target = lifecycle.transition(
            key: row.key, size: row.size, tags: tags, made: row.modified, replaced: replaced, newer: newer, now: now)
        guard let target, target.stored != row.storageClass else { return nil }
        return .transition(target)
    }

    private func demotion(_ row: VersionRow, _ tags: [Field], _ entry: BucketEntry, _ db: Connection, now: Int64) throws -> Action? {
        guard let body = row.body, !entry.tiering.isEmpty || StorageClass(row.storageClass).isCold, row.size >= TieringRule.bytesMin
        else { return nil }
        let known = try db.first("SELECT tier, (SELECT time FROM access WHERE body = id) FROM bodies WHERE id = ?", .int(body)) {
            (tier: $0.int(0), accessed: $0.optionalInt(1))
        }
        let isArchived = StorageClass(row.storageClass).isArchive && options.archive != nil
        // Restored, or about to be.
        if isArchived, row.restored < 0 || row.restored > now { return nil }
        if isArchived, let known, known.tier != Int64(Tier.archive.rawValue), try isArchivable(body, db) {
            return .move(body: body, to: .archive)
        }
        guard let known, known.tier == Int64(Tier.hot.rawValue) else { return nil }
        let accessed = max(known.accessed ?? 0, row.modified)
        let storageClass = row.storageClass.isEmpty ? StorageClass.standard : StorageClass(row.storageClass)
        let isDue =
            storageClass.isCold
            || entry.tiering.contains {
                $0.isDue(
                    key: row.key, size: row.size, tags: tags, storageClass: storageClass, accessed: accessed, now: now, day: options.day
                )
            }
        return isDue ? .move(body: body, to: .cold) : nil
    }

    private func perform(_ orders: [Order], _ entry: BucketEntry, now: Int64, _ report: inout UpkeepReport) throws {
        let changed: UpkeepReport = try commitNow { [self] transaction in
            var report = UpkeepReport()
            let entry = try transaction.bucket(entry.bucket.name, in: table)
            for order in orders { try perform(order, entry, now: now, transaction, &report) }
            return report
        }
        report.expired += changed.expired
        report.markersMade += changed.markersMade
        report.transitioned += changed.transitioned
        for order in orders {
            guard case .move(let body, let tier) = order.action, (try? moveBody(body, to: tier)) ?? false else { continue }
            guard tier == .archive else {
                report.demoted += 1
                continue
            }
            report.archived += 1
            // Its restore was asked for again while it moved: nothing has been sent away yet.
            if try isWanted(order, in: entry.id, now: now) { _ = try moveBody(body, to: .hot) }
        }
    }

    private func isWanted(_ order: Order, in bucket: Int64, now: Int64) throws -> Bool {
        try reads.readNow { db in
            try db.first(
                "SELECT 1 FROM versions WHERE bucket = ? AND key = ? AND seq = ? AND restored > ?", .int(bucket), .blob(order.key),
                .int(order.seq), .int(now)
            ) { _ in true } ?? false
        }
    }

    private func perform(
        _ order: Order, _ entry: BucketEntry, now: Int64, _ transaction: Transaction, _ report: inout UpkeepReport
    ) throws {
        let db = transaction.db
        let newest = try VersionRow.newest(db, bucket: entry.id, key: order.key)
        func row() throws -> VersionRow? {
            newest?.seq == order.seq
                ? newest
                : try db.first(
                    "SELECT \(VersionRow.columns) FROM versions WHERE bucket = ? AND key = ? AND seq = ?", .int(entry.id),
                    .blob(order.key),
                    .int(order.seq)
                ) { VersionRow($0) }
        }
        func isHeld(_ row: VersionRow) -> Bool { (try? Versions.checkLock(row, false, now: now)) == nil }
        switch order.action {
        case .expire(let due):
            // Rules or the object may have changed since it was looked at.
            guard let newest, newest.seq == order.seq, entry.isExpired(newest, now: now) else { return }
            guard entry.bucket.versioning != .off || !isHeld(newest) else { return }
            if try Versions.deleteNewest(order.key, newest, entry, transaction).isDeleteMarker { report.markersMade += 1 }
            report.expired += 1
            care.withLock { $0.lagMilliseconds = now - due }
        case .removeNoncurrent:
            guard let row = try row(), newest?.seq != order.seq, !isHeld(row) else { return }
            try Versions.remove(row, entry, transaction)
            report.expired += 1
        case .removeLoneMarker:
            let count = try db.first("SELECT count(*) FROM versions WHERE bucket = ? AND key = ?", .int(entry.id), .blob(order.key)) {
                $0.int(0)
            }
            guard let newest, newest.seq == order.seq, newest.isDeleteMarker, count == 1 else { return }
            try Versions.remove(newest, entry, transaction)
            report.expired += 1
        case .transition(let storageClass):
            guard try row() != nil else { return }
            try db.run(
                "UPDATE versions SET class = ? WHERE bucket = ? AND key = ? AND seq = ?",
                storageClass == .standard ? .null : .text(storageClass.name), .int(entry.id), .blob(order.key), .int(order.seq))
            report.transitioned += 1
        case .move: break
        }
    }
}
