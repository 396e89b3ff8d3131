internal import Base
package import Cache

/// The second level of the cache, in one SQLite file: it survives `kill -9`.
///
///     put ─▶ waiting ─ end of the turn ─▶ writer: one transaction ─▶ landed: `members` knows the hash
///     purge ─▶ ledger, or waiting        (the next batch goes when this one has landed)
///     get ─ members: surely not ─▶ nil;  waiting ─▶ its bytes;  else asked ─▶ reader: one transaction ─▶ held to ledger and clock
///
///     open ── the disk refuses ──▶ paused (30 s) ─ next put ─▶ open          what it holds is still read
///      ▲ └── damage, or a purge that cannot be written ──▶ closed ──▶ set aside or removed
///      └───────────────── a new file ─────────────────────────┘
///
/// Invariants:
///  1. A value is answered only when its whole key is equal, its checksum holds, its time is not over and no purge up to now means it.
///  2. What `waiting` says of a hash is newer than the file. It is forgotten when the file says the same.
///  3. `members` has every hash of the file that is not in `waiting`, once `isComplete`.
///  4. One batch and one set of lookups are under way at most.
///  5. A removal that the file does not take ends the file: after a restart it must not say what was taken back.
///
/// A soft purge removes here: what is stale is worth no disk.
///
/// Thread rule: the loop's thread; SQLite runs on `DiskThreads`.
package final class SQLiteSecondLevel: SecondLevel {
    struct Space {
        let row: Int64
        let seed: UInt64
    }

    struct Waiting {
        enum Kind {
            case removal
            /// The record keeps the row's bytes.
            case row(Row, SecondLevelRecord)
        }

        let kind: Kind
        let sequence: UInt64
        var isSent = false
    }

    enum State: Equatable {
        case open
        /// Rows are not written before this uptime.
        case paused(until: UInt64)
        /// There is no file; `until` is when one is tried again, nil: it is being opened.
        case closed(until: UInt64?)
    }

    /// A sweep that has been everywhere; its purges are forgotten when what was read meanwhile has been held to them.
    struct Settling {
        let sequence: UInt64
        var isForReading: Bool
        var isForWarming: Bool
    }

    /// A batch on its way to the disk. Its records keep the bytes that the writer reads.
    struct Sent {
        var hashes: [(hash: UInt64, sequence: UInt64)] = []
        var records: [SecondLevelRecord] = []
        var namespaces: [FileContents.Namespace] = []
        var dones: [(Bool) -> Void] = []
        var takesBack = false
    }

    let threads: DiskThreads
    let readClock: () -> DiskTime
    let post: @Sendable (@escaping @Sendable () -> Void) -> Void
    private let nameOf: (NamespaceID) -> String
    private let warn: (String) -> Void
    private let path: String
    private let warmBytes: Int

    private(set) var state = State.closed(until: nil)
    private var seed: UInt64
    private var clock: LifeClock
    private(set) var run: Int64 = 0
    var sequence: UInt64 = 0
    var ledger = PurgeLedger()
    private var known: [FileContents.Namespace] = []
    private var spaces: [Space?] = []

    var members = Membership()
    /// False: the walk over the file has not ended, so it may hold anything.
    var isComplete = false
    var waiting: [UInt64: Waiting] = [:]
    /// Hashes whose newest order has not been sent, oldest first; some more than once.
    var unsent: [UInt64] = []
    var unsentPurges: [PurgeLedger.Entry] = []
    var unsentNamespaces: [FileContents.Namespace] = []
    var waitingBytes = 0
    var waitingRemovals = 0
    var uses: [UInt64: Int] = [:]
    var dones: [(Bool) -> Void] = []
    var sent: Sent?
    /// Orders that are on disk and have not been forgotten in `waiting`.
    var landedHashes: [(hash: UInt64, sequence: UInt64)] = []
    var isSendPlanned = false
    var isSweepOwed = false
    var settling: Settling?

    var asked: [Question] = []
    var reading: [Question]?
    var isReadPlanned = false
    /// Hashes that were put or purged while the reader was looking, for a lookup and for the warm start.
    var changedWhileReading: Set<UInt64> = []
    var changedWhileWarming: Set<UInt64> = []
    /// What is left to load at a warm start, most worthwhile first (from its end).
    var best: [UInt64] = []
    var isWarming = false
    var takeWarm: (([WarmEntry]) -> Bool)?
    /// Counts the files: an answer about another file is none.
    private(set) var fileNumber = 0
    private var isWarned = false

    var counts = SecondLevelCounters()

    /// Opens `path` or makes it. A damaged or foreign file is set aside and told of in one message to `warn`; so is a disk that refuses.
    ///
    /// - Parameters:
    ///   - seed: secret; used when the file is made.
    ///   - warmBytes: how much of the most worthwhile `warm` offers.
    ///   - nameOf: by which name a namespace is found again.
    ///   - post: runs what it is given on the loop's thread, soon; called from any thread.
    package init(
        path: String, limitBytes: Int, warmBytes: Int = 0, seed: UInt64, nameOf: @escaping (NamespaceID) -> String,
        clock readClock: @escaping () -> DiskTime, post: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void,
        warn: @escaping (String) -> Void
    ) {
        self.path = path
        self.warmBytes = warmBytes
        self.seed = seed
        self.nameOf = nameOf
        self.readClock = readClock
        self.post = post
        self.warn = warn
        threads = DiskThreads(path: path, limitBytes: limitBytes)
        clock = LifeClock(saved: nil, at: readClock())
        do throws(DiskError) {
            adopt(try threads.start(seed: seed))
        } catch {
            if error.isDamage { setAside(error) } else { pause(error, closing: true) }
        }
    }

    // MARK: Files

    /// Takes up what a file says that was just opened, and has it walked through.
    private func adopt(_ contents: FileContents) {
        fileNumber += 1
        seed = contents.seed
        run = contents.run
        sequence = contents.sequence
        known = contents.namespaces
        clock = LifeClock(saved: contents.stamp, at: readClock())
        for purge in contents.purges { ledger.note(purge) }
        state = .open
        if clock.hasLostTime { order(.everything, 0, []) }
        isSweepOwed = !ledger.isEmpty
        let life = clock.now(readClock())
        let loop = LoopSide(self, fileNumber)
        threads.write { [post, warmBytes] file in
            guard let file else { return }
            let result = Result { () throws(DiskError) in try file.inventory(warmBytes: warmBytes, at: life) }
            post { loop.current?.walked(result) }
        }
    }

    private func walked(_ result: Result<Inventory, DiskError>) {
        switch result {
        case .failure(let error): fail(error, takesBack: false)
        case .success(let inventory):
            members = inventory.members
            isComplete = true
            counts.bytes = inventory.rowBytes
            best = inventory.best
            planSend()
            warmOn()
        }
    }

    /// What is in memory about a file that is no more.
    private func forget() {
        fileNumber += 1
        for done in dones { done(false) }
        (landedHashes, settling) = ([], nil)
        (dones, waiting, unsent, unsentPurges, unsentNamespaces, uses, best) = ([], [:], [], [], [], [:], [])
        (waitingBytes, waitingRemovals, isSweepOwed, isComplete) = (0, 0, false, false)
        (members, ledger, known, spaces) = (Membership(), PurgeLedger(), [], [])
    }

    /// The disk or the file has answered with an error. `takesBack`: a removal is not written.
    func fail(_ error: DiskError, takesBack: Bool) {
        if error.isDamage { return setAside(error) }
        pause(error, closing: takesBack)
    }

    private func setAside(_ error: DiskError) {
        forget()
        state = .closed(until: nil)
        let wall = readClock().wall
        let loop = LoopSide(self, fileNumber)
        threads.replace(aside: wall, seed: seed) { [post] aside, result in
            post { loop.current?.replaced(error, aside ?? "", result) }
        }
    }

    private func replaced(_ error: DiskError, _ aside: String, _ result: Result<FileContents, DiskError>) {
        warn("\(path) cannot be used (\(error)): it is now \(aside), which may be deleted; the cache starts without it")
        opened(result)
    }

    private func opened(_ result: Result<FileContents, DiskError>) {
        switch result {
        case .success(let contents): adopt(contents)
        case .failure(let error): pause(error, closing: true)
        }
    }

    private func pause(_ error: DiskError, closing: Bool) {
        let until = readClock().uptime + Limits.diskPause.wholeMilliseconds
        if !isWarned {
            warn(
                "\(path) cannot be written (\(error)): the cache goes on in memory\(closing ? "" : ", reads what is there"), and tries again "
                    + "every \(Int(Limits.diskPause.seconds)) s; make room on the disk, or set cache.disk = 0")
        }
        isWarned = true
        counts.isPaused = true
        if case .closed = state, fileNumber == 0 { return state = .closed(until: until) }
        guard closing else { return state = .paused(until: until) }
        forget()
        state = .closed(until: until)
        threads.remove()
    }

    /// A batch has come to the disk.
    func recovered() {
        isWarned = false
        counts.isPaused = false
        if case .paused = state { state = .open }
    }

    /// True: rows may be put now. After a pause this tries the disk again.
    func isAccepting() -> Bool {
        switch state {
        case .open: return true
        case .paused(let until):
            guard readClock().uptime >= until else { return false }
            state = .open
            return true
        case .closed(let until):
            guard let until, readClock().uptime >= until else { return false }
            state = .closed(until: nil)
            let loop = LoopSide(self, fileNumber)
            threads.replace(aside: nil, seed: seed) { [post] _, result in post { loop.current?.opened(result) } }
            return false
        }
    }

    /// Writes what waits, and closes the file; waits for the disk. For the end of the server.
    package func stop() {
        var last: (Batch, Sent)?
        if isOpen, !unsent.isEmpty || !unsentPurges.isEmpty { last = takeBatch(entriesMax: .max, bytesMax: .max) }
        threads.stop(last: last?.0)
        for done in last?.1.dones ?? [] { done(true) }
        forget()
        state = .closed(until: .max)
    }

    // MARK: Namespaces, keys, time

    var isOpen: Bool { if case .closed = state { false } else { true } }

    func life() -> UInt64 { clock.now(readClock()) }
    var stamp: LifeClock.Stamp { clock.stamp }

    /// Says that a namespace is in use in this run of the server; to be called before anything in it is written or purged. One that a run
    /// did not use is emptied: what it holds may have been written or purged since without being told of here.
    package func use(_ namespace: NamespaceID) { _ = space(namespace) }

    func space(_ namespace: NamespaceID) -> Space? {
        let index = Int(namespace.rawValue)
        if index < spaces.count, let space = spaces[index] { return space }
        guard isOpen else { return nil }
        let name = nameOf(namespace)
        var entry = known.first { $0.name == name }
        if let old = entry, old.run < run - 1 { order(.namespace, old.row, []) }
        let row = entry?.row ?? (known.map(\.row).max() ?? 0) + 1
        entry = FileContents.Namespace(row: row, name: name, run: run)
        known.removeAll { $0.name == name }
        if let entry {
            known.append(entry)
            unsentNamespaces.append(entry)
        }
        let space = Space(row: row, seed: name.hashSeed ^ seed)
        while spaces.count <= index { spaces.append(nil) }
        spaces[index] = space
        planSend()
        return space
    }

    func namespace(of row: Int64) -> NamespaceID? {
        spaces.firstIndex { $0?.row == row }.map { NamespaceID(rawValue: UInt16($0)) }
    }

    /// What it has counted, with what it holds now.
    package var counters: SecondLevelCounters {
        var counters = counts
        counters.entries = members.count
        return counters
    }
}

/// The way back to the loop: a level that is gone, or that has another file by now, is not called.
struct LoopSide: @unchecked Sendable {
    private weak var level: SQLiteSecondLevel?
    private let fileNumber: Int

    init(_ level: SQLiteSecondLevel, _ fileNumber: Int) {
        self.level = level
        self.fileNumber = fileNumber
    }

    /// On the loop's thread only.
    var current: SQLiteSecondLevel? { level?.fileNumber == fileNumber ? level : nil }
    var any: SQLiteSecondLevel? { level }
}

extension String {
    fileprivate var hashSeed: UInt64 {
        var seed: UInt64 = 0
        withRawBytes { seed = ByteHash.hash($0, seed: 0) }
        return seed
    }
}
