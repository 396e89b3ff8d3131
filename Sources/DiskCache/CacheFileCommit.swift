internal import Base
internal import GRDBSQLite

/// The statements of a transaction, prepared once.
final class Statements {
    let bytesOf: Statement
    let putEntry: Statement
    let putContent: Statement
    let removeEntry: Statement
    let removeContent: Statement
    let use: Statement
    let age: Statement
    let putPurge: Statement
    let settlePurges: Statement
    let putNamespace: Statement
    let saveState: Statement
    let window: Statement
    let keyAndTags: Statement
    let pageCount: Statement
    let vacantCount: Statement

    init(_ connection: OpaquePointer) throws(DiskError) {
        func make(_ sql: String) throws(DiskError) -> Statement { try Statement(connection, sql) }
        bytesOf = try make("SELECT bytes FROM entries WHERE hash = ?")
        putEntry = try make("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?12, ?9, ?10, ?11)")
        putContent = try make("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)")
        removeEntry = try make("DELETE FROM entries WHERE hash = ?")
        removeContent = try make("DELETE FROM contents WHERE hash = ?")
        use = try make("UPDATE entries SET frequency = min(15, frequency + ?2) WHERE hash = ?1")
        age = try make("UPDATE entries SET frequency = frequency / 2 WHERE hash = ?")
        putPurge = try make("INSERT INTO purges VALUES (?1, ?2, ?4, ?3)")
        settlePurges = try make("DELETE FROM purges WHERE sequence <= ?")
        putNamespace = try make("INSERT OR REPLACE INTO namespaces VALUES (?1, ?3, ?2)")
        saveState = try make("UPDATE state SET sequence = ?1, life = ?2, uptime = ?3, machine_run = ?5, run = ?4")
        window = try make(
            "SELECT hash, sequence, namespace, fresh, weight, frequency, bytes, tagged FROM entries WHERE hash >= ? ORDER BY hash LIMIT ?")
        keyAndTags = try make("SELECT key, tags FROM contents WHERE hash = ?")
        pageCount = try make("PRAGMA page_count")
        vacantCount = try make("PRAGMA freelist_count")
    }
}

/// One transaction: what was ordered, then a step of the sweep, then room.
extension CacheFile {
    func commit(_ batch: Batch) throws(DiskError) -> Outcome {
        guard let statements else { throw DiskError(code: SQLITE_MISUSE, description: "the file is closed") }
        return try within {
            if batch.isSynced { try Statement.execute(connection, "PRAGMA synchronous = FULL") }
            defer { if batch.isSynced { try? Statement.execute(connection, "PRAGMA synchronous = NORMAL") } }
            try Statement.execute(connection, "BEGIN IMMEDIATE")
            let before = (rowBytes, hand, roundSequence)
            do {
                let outcome = try write(batch, statements)
                try Statement.execute(connection, "COMMIT")
                bytesSinceCheckpoint += batch.bytes
                return outcome
            } catch {
                // fails when the error has ended the transaction already
                try? Statement.execute(connection, "ROLLBACK")
                (rowBytes, hand, roundSequence) = before
                throw error
            }
        }
    }

    private func write(_ batch: Batch, _ statements: Statements) throws(DiskError) -> Outcome {
        var outcome = Outcome()
        for namespace in batch.namespaces { try put(namespace, statements) }
        for purge in batch.purges { try put(purge, statements) }
        for hash in batch.removals where try remove(hash, statements) { outcome.removed.append(hash) }
        try makeRoom(batch, statements, &outcome)
        for row in batch.rows where try put(row, statements) { outcome.added.append(row.hash) }
        for (hash, count) in batch.uses {
            statements.use.bind(Int64(bitPattern: hash), Int64(count))
            try statements.use.run()
        }
        try sweep(batch, statements, &outcome)
        statements.saveState.bind(Int64(batch.sequence), Int64(batch.stamp.life), Int64(batch.stamp.uptime), batch.run)
        try batch.stamp.machineRun.withRawBytes { bytes throws(DiskError) in
            statements.saveState.bind(5, text: bytes)
            try statements.saveState.run()
        }
        outcome.rowBytes = rowBytes
        outcome.fileBytes = try number(statements.pageCount) * Limits.diskPageBytes
        return outcome
    }

    // MARK: Rows

    /// True: there was none of this hash.
    private func put(_ row: Row, _ statements: Statements) throws(DiskError) -> Bool {
        let hash = Int64(bitPattern: row.hash)
        let old = try bytes(of: hash, statements)
        rowBytes += row.bytes - (old ?? 0)
        statements.putEntry.bind(
            hash, Int64(row.sequence), row.namespace, Int64(row.storedAt), Int64(row.freshUntil), Int64(row.staleWhileRevalidate),
            Int64(row.staleIfError), Int64(row.keep), Int64(row.frequency), Int64(row.bytes), row.tags.isEmpty ? 0 : 1)
        statements.putEntry.bind(12, Double(row.weight))
        try statements.putEntry.run()
        statements.putContent.bind(hash, Int64(bitPattern: row.checksum))
        statements.putContent.bind(4, bytes: row.key)
        statements.putContent.bind(5, bytes: row.value)
        try row.tags.withRawBytes { tags throws(DiskError) in
            statements.putContent.bind(3, bytes: tags)
            try statements.putContent.run()
        }
        return old == nil
    }

    private func bytes(of hash: Int64, _ statements: Statements) throws(DiskError) -> Int? {
        statements.bytesOf.bind(hash)
        defer { statements.bytesOf.reset() }
        return try statements.bytesOf.step() ? Int(statements.bytesOf.integer(0)) : nil
    }

    private func remove(_ hash: UInt64, _ statements: Statements) throws(DiskError) -> Bool {
        let hash = Int64(bitPattern: hash)
        guard let bytes = try bytes(of: hash, statements) else { return false }
        rowBytes -= bytes
        statements.removeEntry.bind(hash)
        try statements.removeEntry.run()
        statements.removeContent.bind(hash)
        try statements.removeContent.run()
        return true
    }

    private func put(_ namespace: FileContents.Namespace, _ statements: Statements) throws(DiskError) {
        statements.putNamespace.bind(namespace.row, namespace.run)
        try namespace.name.withRawBytes { name throws(DiskError) in
            statements.putNamespace.bind(3, text: name)
            try statements.putNamespace.run()
        }
    }

    private func put(_ purge: PurgeLedger.Entry, _ statements: Statements) throws(DiskError) {
        statements.putPurge.bind(purge.kind.rawValue, purge.namespace, Int64(purge.sequence))
        try purge.name.withRawBytes { name throws(DiskError) in
            statements.putPurge.bind(4, bytes: name)
            try statements.putPurge.run()
        }
    }

    private func number(_ statement: Statement) throws(DiskError) -> Int {
        defer { statement.reset() }
        return try statement.step() ? Int(statement.integer(0)) : 0
    }

    // MARK: The sweep

    /// What the sweep and eviction need to know of a row.
    private struct Candidate {
        let hash: Int64
        let sequence: UInt64
        let namespace: Int64
        let freshUntil: UInt64
        let worth: Double
        let frequency: Int64
        let bytes: Int
        let isTagged: Bool
    }

    /// The next rows from the hand on; moves it behind them, and to the start after the last.
    private func next(_ count: Int, _ statements: Statements) throws(DiskError) -> [Candidate] {
        var candidates: [Candidate] = []
        let window = statements.window
        window.bind(hand, Int64(count))
        defer { window.reset() }
        while try window.step() {
            candidates.append(
                Candidate(
                    hash: window.integer(0), sequence: UInt64(window.integer(1)), namespace: window.integer(2),
                    freshUntil: UInt64(window.integer(3)),
                    worth: Self.worth(weight: window.real(4), frequency: window.integer(5), bytes: Int(window.integer(6))),
                    frequency: window.integer(5), bytes: Int(window.integer(6)), isTagged: window.integer(7) != 0))
        }
        if let last = candidates.last, candidates.count == count, last.hash < .max { hand = last.hash + 1 } else { hand = .min }
        return candidates
    }

    /// Removes rows that are expired or purged: some in each transaction, and many while a purge is not settled.
    private func sweep(_ batch: Batch, _ statements: Statements, _ outcome: inout Outcome) throws(DiskError) {
        guard rowBytes > 0 || !batch.ledger.isEmpty else { return }
        if hand == .min { roundSequence = batch.ledger.newest }
        let isDue = !batch.ledger.isEmpty
        for candidate in try next(isDue ? Limits.diskSweepRows : min(Limits.diskSweepRows, 16 + batch.rows.count), statements) {
            _ = try keep(candidate, batch, statements, &outcome)
        }
        guard isDue else { return }
        if hand == .min, roundSequence > 0 {
            statements.settlePurges.bind(Int64(roundSequence))
            try statements.settlePurges.run()
            outcome.settled = roundSequence
        }
        outcome.isOwed = outcome.settled.map { $0 < batch.ledger.newest } ?? true
    }

    /// False: the row had to go.
    private func keep(
        _ row: Candidate, _ batch: Batch, _ statements: Statements, _ outcome: inout Outcome
    ) throws(DiskError) -> Bool {
        let isExpired = row.freshUntil <= batch.stamp.life
        if !isExpired {
            guard try isPurged(row, batch.ledger, statements) else { return true }
        }
        let hash = UInt64(bitPattern: row.hash)
        guard try remove(hash, statements) else { return true }
        outcome.removed.append(hash)
        if isExpired { outcome.expired += 1 } else { outcome.purged += 1 }
        return false
    }

    private func isPurged(_ row: Candidate, _ ledger: PurgeLedger, _ statements: Statements) throws(DiskError) -> Bool {
        guard row.sequence < ledger.newest else { return false }
        if ledger.isPurged(namespace: row.namespace, sequence: row.sequence) { return true }
        guard ledger.meansKeys else { return false }
        statements.keyAndTags.bind(row.hash)
        defer { statements.keyAndTags.reset() }
        guard try statements.keyAndTags.step() else { return false }
        return ledger.isPurged(
            namespace: row.namespace, key: statements.keyAndTags.bytes(0), tags: statements.keyAndTags.bytes(1), sequence: row.sequence)
    }

    // MARK: Room

    /// Evicts when the batch would bring the file above its mark: of each sample the quarter that is worth least. As much as that is in
    /// rows: their share of the pages is measured, as pages of a tree that is written at random are never full.
    private func makeRoom(_ batch: Batch, _ statements: Statements, _ outcome: inout Outcome) throws(DiskError) {
        let used = (try number(statements.pageCount) - number(statements.vacantCount)) * Limits.diskPageBytes
        let mark = limitBytes - limitBytes / 16
        guard rowBytes > 0 else { return }
        let density = min(1, max(0.4, Double(rowBytes) / Double(used)))
        var excess = batch.bytes + Int(Double(used - mark) * density)
        for _ in 0..<64 where excess > 0 {
            let freed = try evict(upTo: excess, batch, statements, &outcome)
            excess -= freed
        }
        if excess > 0, rowBytes > 0 { outcome.isOwed = true }
    }

    private func evict(upTo most: Int, _ batch: Batch, _ statements: Statements, _ outcome: inout Outcome) throws(DiskError) -> Int {
        let before = rowBytes
        var kept: [Candidate] = []
        for row in try next(Limits.diskSampleRows, statements) where try keep(row, batch, statements, &outcome) { kept.append(row) }
        let share = max(1, kept.reduce(0) { $0 + $1.bytes } / 4)
        kept.sort { $0.worth < $1.worth }
        var freed = 0
        for row in kept {
            if freed < min(share, most) {
                freed += row.bytes
                _ = try remove(UInt64(bitPattern: row.hash), statements)
                outcome.removed.append(UInt64(bitPattern: row.hash))
                outcome.evicted += 1
            } else if row.frequency > 0 {
                // what was wanted once must be wanted again to stay
                statements.age.bind(row.hash)
                try statements.age.run()
            }
        }
        return before - rowBytes
    }

    // MARK: Between transactions

    /// Moves the log into the file, and gives pages back to the disk that the limit does not allow.
    func tidy() throws(DiskError) {
        guard let statements else { return }
        try within {
            let vacant = try number(statements.vacantCount)
            if vacant > 0, try number(statements.pageCount) * Limits.diskPageBytes > limitBytes {
                try Statement.execute(connection, "PRAGMA incremental_vacuum(\(min(vacant, 1024)))")
                bytesSinceCheckpoint = Limits.diskLogBytes
            }
            guard bytesSinceCheckpoint >= Limits.diskLogBytes else { return }
            bytesSinceCheckpoint = 0
            var pages: Int32 = 0
            var code = sqlite3_wal_checkpoint_v2(connection, nil, SQLITE_CHECKPOINT_PASSIVE, &pages, nil)
            if Int(pages) * Limits.diskPageBytes > 4 * Limits.diskLogBytes {
                code = sqlite3_wal_checkpoint_v2(connection, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
            }
            guard code == SQLITE_OK || code == SQLITE_BUSY else { throw Statement.error(connection, code) }
        }
    }
}

extension String {
    func withRawBytes<E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Void) throws(E) { try Array(utf8).withRawBytes(body) }
}

extension [UInt8] {
    /// `withUnsafeBytes`, with the body's own type of error.
    func withRawBytes<E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Void) throws(E) {
        var failure: E?
        withUnsafeBytes { bytes in
            do throws(E) { try body(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
