internal import Base
package import Cache

/// A lookup that waits for the disk.
struct Question {
    let keys: [[UInt8]]
    let hashes: [UInt64]
    let space: SQLiteSecondLevel.Space
    let answer: ([SecondLevelValue?]) -> Void
}

/// An entry for a warm start.
package struct WarmEntry {
    package let namespace: NamespaceID
    package let key: [UInt8]
    package let value: SecondLevelValue
}

/// What comes from the disk.
extension SQLiteSecondLevel {
    package func mayHold(_ key: UnsafeRawBufferPointer, in namespace: NamespaceID) -> Bool {
        guard isOpen, let space = space(namespace) else { return false }
        let hash = hash(key, space)
        switch waiting[hash]?.kind {
        case .row: return true
        case .removal: return false
        case nil: return mayBeOnDisk(hash)
        }
    }

    package func get(_ keys: [[UInt8]], in namespace: NamespaceID, answer: @escaping ([SecondLevelValue?]) -> Void) {
        guard isOpen, let space = space(namespace), asked.count < Limits.diskAskedMax else {
            return post(Later { answer(keys.map { _ in nil }) }.run)
        }
        let hashes = keys.map { $0.withUnsafeBytes { hash($0, space) } }
        asked.append(Question(keys: keys, hashes: hashes, space: space, answer: answer))
        planRead()
    }

    /// What is asked in one turn of the loop goes together.
    private func planRead() {
        guard !isReadPlanned, reading == nil else { return }
        isReadPlanned = true
        let loop = LoopSide(self, 0)
        post { loop.any?.read() }
    }

    private func read() {
        isReadPlanned = false
        guard reading == nil, !asked.isEmpty else { return }
        var count = 0
        var keys = 0
        while count < asked.count, keys < Limits.diskReadsMax {
            keys += asked[count].keys.count
            count += 1
        }
        reading = Array(asked.prefix(count))
        asked.removeFirst(count)
        changedWhileReading = []
        let hashes = (reading ?? []).flatMap(\.hashes).filter { waiting[$0] == nil && isOpen && mayBeOnDisk($0) }
        guard !hashes.isEmpty else { return answer([]) }
        let loop = LoopSide(self, fileNumber)
        threads.read { [post] reader in
            let result = Result { () throws(DiskError) in try reader.get().rows(hashes, bytesMax: Limits.diskReadBytesMax) }
            post { loop.any?.found(result, of: loop) }
        }
    }

    private func found(_ result: Result<[FoundRow], DiskError>, of loop: LoopSide) {
        switch result {
        case .success(let rows): answer(loop.current == nil ? [] : rows)
        case .failure(let error):
            answer([])
            if loop.current != nil { fail(error, takesBack: false) }
        }
    }

    private func answer(_ rows: [FoundRow]) {
        let questions = reading ?? []
        reading = nil
        let byHash = Dictionary(rows.map { ($0.row.hash, $0) }, uniquingKeysWith: { first, _ in first })
        let now = life()
        let answers = questions.map { question in
            zip(question.keys, question.hashes).map { value(of: $0, $1, question.space, byHash[$1], at: now) }
        }
        forgetLanded()
        settling?.isForReading = false
        settleLedger()
        if !asked.isEmpty { planRead() }
        for (question, values) in zip(questions, answers) { question.answer(values) }
    }

    private func value(of key: [UInt8], _ hash: UInt64, _ space: Space, _ found: FoundRow?, at now: UInt64) -> SecondLevelValue? {
        let value: SecondLevelValue?
        switch waiting[hash]?.kind {
        case .row(let row, let record):
            value =
                key.withUnsafeBytes { isSame($0, row.key) } && row.namespace == space.row && !isPurged(row, row.key)
                ? row.policy(at: now).map { SecondLevelValue(value: Array(row.value), tags: record.tags, policy: $0) } : nil
        case .removal: value = nil
        case nil:
            let isChanged = changedWhileReading.contains(hash)
            value = isChanged ? nil : found.flatMap { $0.key == key && $0.row.namespace == space.row ? judge($0, at: now) : nil }
        }
        if value == nil { counts.misses += 1 } else { counts.hits += 1 }
        return value
    }

    private func isSame(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool { a.count == b.count && a.elementsEqual(b) }

    /// A row that was read, held to everything but its key.
    private func judge(_ found: FoundRow, at now: UInt64) -> SecondLevelValue? {
        let row = found.row
        guard !found.isCorrupt else {
            counts.corrupt += 1
            found.key.withUnsafeBytes { key in
                if let namespace = namespace(of: row.namespace) { purge(.key(Array(key), namespace), soft: false) }
            }
            return nil
        }
        guard !found.key.withUnsafeBytes({ isPurged(row, $0) }), let policy = row.policy(at: now) else { return nil }
        uses[row.hash, default: 0] += 1
        return SecondLevelValue(value: found.value, tags: row.tags.withUnsafeBytes(PackedTags.unpack), policy: policy)
    }

    // MARK: The warm start

    /// Offers the most worthwhile entries, a page a turn, until `take` answers false. Namespaces that are not in `use` are skipped.
    package func warm(_ take: @escaping ([WarmEntry]) -> Bool) {
        takeWarm = take
        warmOn()
    }

    func warmOn() {
        guard !isWarming, isOpen, takeWarm != nil, !best.isEmpty else { return }
        isWarming = true
        changedWhileWarming = []
        let hashes = Array(best.suffix(Limits.diskWarmRows).reversed())
        let loop = LoopSide(self, fileNumber)
        threads.read { [post] reader in
            let result = Result { () throws(DiskError) in try reader.get().rows(hashes, bytesMax: Limits.diskWarmBytes) }
            post { loop.any?.warmed(result, hashes, of: loop) }
        }
    }

    private func warmed(_ result: Result<[FoundRow], DiskError>, _ hashes: [UInt64], of loop: LoopSide) {
        isWarming = false
        guard loop.current != nil else { return }
        guard let rows = try? result.get() else {
            best = []
            settling?.isForWarming = false
            return settleLedger()
        }
        // all up to the last row that came are done; what is not there any more is done too
        let reached = rows.last.flatMap { row in hashes.lastIndex(of: row.row.hash) }
        let isCut = rows.reduce(0) { $0 + $1.value.count } >= Limits.diskWarmBytes
        best.removeLast(isCut ? (reached ?? hashes.count - 1) + 1 : hashes.count)
        let now = life()
        let entries = rows.compactMap { found -> WarmEntry? in
            let hash = found.row.hash
            guard waiting[hash] == nil, !changedWhileWarming.contains(hash), let namespace = namespace(of: found.row.namespace) else {
                return nil
            }
            return judge(found, at: now).map { WarmEntry(namespace: namespace, key: found.key, value: $0) }
        }
        settling?.isForWarming = false
        settleLedger()
        if takeWarm?(entries) == true { warmOn() } else { best = [] }
    }
}
