internal import Base
package import Cache

/// What goes to the disk: rows, removals, purges, in batches.
extension SQLiteSecondLevel {
    // MARK: Orders

    package func put(_ records: [SecondLevelRecord], done: ((Bool) -> Void)?) {
        guard isAccepting() else { return lose(records.count, done) }
        let now = life()
        var isWhole = true
        for record in records where !record.policy.isNegative {
            guard let space = space(record.namespace) else { continue }
            sequence += 1
            let row = Row(record, hash: hash(record.key, space), sequence: sequence, namespace: space.row, at: now)
            guard waitingBytes + row.bytes <= Limits.diskWaitingBytesMax else {
                counts.lost += 1
                isWhole = false
                // the older value that it may hold must not outlive this one
                remove(row.hash)
                continue
            }
            wait(row.hash, .row(row, record))
        }
        if let done {
            if isWhole { dones.append(done) } else { post(Later { done(false) }.run) }
        }
        planSend()
    }

    package func saved(_ done: @escaping (Bool) -> Void) {
        guard isOpen else { return post(Later { done(true) }.run) }
        dones.append(done)
        planSend()
    }

    /// More would wait in memory for long.
    package var isBehind: Bool { waitingBytes > Limits.diskWaitingBytesMax / 2 }

    private func lose(_ count: Int, _ done: ((Bool) -> Void)?) {
        counts.lost += UInt64(count)
        if let done { post(Later { done(false) }.run) }
    }

    package func purge(_ purge: SecondLevelPurge, soft: Bool) {
        guard isOpen else { return }
        switch purge {
        case .key(let key, let namespace):
            guard let space = space(namespace) else { return }
            remove(key.withUnsafeBytes { hash($0, space) })
        case .prefix(let prefix, let namespace):
            guard let space = space(namespace) else { return }
            order(.prefix, space.row, prefix)
        case .tag(let tag): order(.tag, 0, tag)
        case .namespace(let namespace):
            guard let space = space(namespace) else { return }
            order(.namespace, space.row, [])
        }
    }

    /// A purge of more than one key: noted in constant time.
    func order(_ kind: PurgeLedger.Entry.Kind, _ namespace: Int64, _ name: [UInt8]) {
        if isComplete, members.count == 0, waiting.isEmpty, sent == nil { return }
        sequence += 1
        let entry = ledger.bounded(
            .init(kind: kind, namespace: namespace, name: name, sequence: sequence), tagsMax: Limits.diskTagPurgesMax,
            prefixesMax: Limits.diskPrefixPurgesMax)
        ledger.note(entry)
        unsentPurges.append(entry)
        planSend()
    }

    private func remove(_ hash: UInt64) {
        guard waiting[hash] != nil || mayBeOnDisk(hash) else { return }
        sequence += 1
        wait(hash, .removal)
        if waitingRemovals > Limits.diskWaitingRemovalsMax {
            return fail(DiskError(code: 0, description: "it does not keep up"), takesBack: true)
        }
        planSend()
    }

    private func wait(_ hash: UInt64, _ kind: Waiting.Kind) {
        forgetWaiting(hash)
        switch kind {
        case .row(let row, _): waitingBytes += row.bytes
        case .removal: waitingRemovals += 1
        }
        waiting[hash] = Waiting(kind: kind, sequence: sequence)
        unsent.append(hash)
        noteChange(hash)
    }

    private func noteChange(_ hash: UInt64) {
        if reading != nil { changedWhileReading.insert(hash) }
        if isWarming { changedWhileWarming.insert(hash) }
    }

    private func forgetWaiting(_ hash: UInt64) {
        guard let old = waiting.removeValue(forKey: hash) else { return }
        switch old.kind {
        case .row(let row, _): waitingBytes -= row.bytes
        case .removal: waitingRemovals -= 1
        }
    }

    // MARK: Batches

    /// What is ordered in one turn of the loop goes together.
    func planSend() {
        guard !isSendPlanned, sent == nil, isOpen else { return }
        isSendPlanned = true
        let loop = LoopSide(self, 0)
        post { loop.any?.send() }
    }

    private func send() {
        isSendPlanned = false
        guard sent == nil, isOpen else { return }
        let hasOrders = !unsent.isEmpty || !unsentPurges.isEmpty || !unsentNamespaces.isEmpty || !dones.isEmpty
        guard hasOrders || isSweepOwed && state == .open || uses.count > Limits.diskBatchEntriesMax else { return }
        let (batch, sent) = takeBatch(entriesMax: Limits.diskBatchEntriesMax, bytesMax: Limits.diskBatchBytesMax)
        self.sent = sent
        let loop = LoopSide(self, fileNumber)
        threads.write { [post] file in
            let result = Result { () throws(DiskError) in
                guard let file else { throw DiskError(code: 0, description: "it is closed") }
                return try file.commit(batch)
            }
            post { loop.any?.landed(result, of: loop) }
            try? file?.tidy()
        }
    }

    /// The oldest orders that fit.
    func takeBatch(entriesMax: Int, bytesMax: Int) -> (Batch, Sent) {
        let life = life()
        var batch = Batch(run: run, stamp: stamp)
        var sent = Sent()
        var bytes = 0
        var taken = 0
        while taken < unsent.count, sent.hashes.count < entriesMax, bytes < bytesMax {
            let hash = unsent[taken]
            taken += 1
            guard let order = waiting[hash], !order.isSent else { continue }
            waiting[hash]?.isSent = true
            sent.hashes.append((hash, order.sequence))
            if case .row(let row, let record) = order.kind, row.freshUntil > life, !isPurged(row, row.key) {
                bytes += row.bytes
                batch.rows.append(row)
                sent.records.append(record)
            } else {
                batch.removals.append(hash)
            }
        }
        unsent.removeFirst(taken)
        (batch.purges, batch.namespaces, batch.uses) = (unsentPurges, unsentNamespaces, uses)
        (unsentPurges, unsentNamespaces, uses) = ([], [], [:])
        sent.namespaces = batch.namespaces
        batch.ledger = ledger
        batch.sequence = sequence
        if unsent.isEmpty {
            batch.isSynced = !dones.isEmpty
            (sent.dones, dones) = (dones, [])
        }
        sent.takesBack = batch.takesBack
        return (batch, sent)
    }

    func isPurged(_ row: Row, _ key: UnsafeRawBufferPointer) -> Bool {
        guard row.sequence < ledger.newest else { return false }
        return ledger.isPurged(namespace: row.namespace, sequence: row.sequence)
            || ledger.meansKeys
                && row.tags.withUnsafeBytes { ledger.isPurged(namespace: row.namespace, key: key, tags: $0, sequence: row.sequence) }
    }

    private func landed(_ result: Result<Outcome, DiskError>, of loop: LoopSide) {
        guard let sent else { preconditionFailure("a batch has landed that was not sent") }
        self.sent = nil
        let isWritten = (try? result.get()) != nil
        for done in sent.dones { done(isWritten) }
        guard loop.current != nil else { return planSend() }
        switch result {
        case .success(let outcome):
            landedHashes += sent.hashes
            // a lookup that did not ask the disk for them because they were waiting finds them here
            if reading == nil { forgetLanded() }
            apply(outcome)
            counts.stored += UInt64(sent.records.count)
            recovered()
        case .failure(let error):
            fail(error, takesBack: sent.takesBack)
            guard isOpen else { return }
            unsentNamespaces = sent.namespaces + unsentNamespaces
            takeBackRows()
        }
        planSend()
    }

    func forgetLanded() {
        for (hash, sequence) in landedHashes where waiting[hash]?.sequence == sequence { forgetWaiting(hash) }
        landedHashes = []
    }

    private func apply(_ outcome: Outcome) {
        for hash in outcome.added { members.insert(hash) }
        for hash in outcome.removed { members.remove(hash) }
        counts.expired += UInt64(outcome.expired)
        counts.purged += UInt64(outcome.purged)
        counts.evicted += UInt64(outcome.evicted)
        counts.bytes = outcome.rowBytes
        counts.fileBytes = outcome.fileBytes
        if let settled = outcome.settled {
            // rows that are being read now may be from before the sweep
            settling = Settling(sequence: settled, isForReading: reading != nil, isForWarming: isWarming)
            settleLedger()
        }
        isSweepOwed = outcome.isOwed
    }

    func settleLedger() {
        guard let due = settling, !due.isForReading, !due.isForWarming else { return }
        ledger.settle(due.sequence)
        settling = nil
    }

    /// Rows that the disk does not take: of those that replace one, at least the old one must go.
    private func takeBackRows() {
        for (hash, order) in waiting {
            guard case .row = order.kind else { continue }
            counts.lost += 1
            forgetWaiting(hash)
            remove(hash)
        }
    }

    func hash(_ key: UnsafeRawBufferPointer, _ space: Space) -> UInt64 { ByteHash.hash(key, seed: space.seed) }
    func mayBeOnDisk(_ hash: UInt64) -> Bool { !isComplete || members.mayContain(hash) }
}

/// A closure of the loop's thread on its way to a later turn of the same thread.
struct Later: @unchecked Sendable {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }

    var run: @Sendable () -> Void { { self.body() } }
}
