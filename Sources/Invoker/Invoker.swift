package import Base
package import Cache
package import Catalog
package import IAM
internal import Pool
package import UV

/// What of a function outlives its versions: its log and its count of running invocations.
package final class FunctionState {
    package let name: String
    package let log: FunctionLog
    package var inFlight = 0
    package var reserved: Int?
    /// What is provisioned for all versions together, and what runs beside that.
    var provisioned = 0
    var onDemand = 0
    /// Of a function that is not memoized, from its first invocation on.
    var advised: CacheAdvice.Subject?

    init(name: String, logBytesMax: Int) {
        self.name = name
        log = FunctionLog(outputBytesMax: logBytesMax)
    }
}

package struct InvokerSettings: Sendable {
    /// Invocations in flight on the whole node (the account's concurrency).
    package var concurrencyMax = 1000
    /// Worker processes on the whole node.
    package var workersMax = 256
    package var initTimeout = Limits.initTimeout
    package var logBytesPerFunction = Limits.logBytesPerFunction
    /// An invocation whose result is stored is answered when that is on disk.
    package var writesThrough = false

    package init() {}
}

/// Admits invocations, owns the pools, keeps them in step with the catalogue.
///
/// The walk: `invoke` (memoized?) → `admit` → `VersionPool.arrive` → a worker → `VersionPool.workerAnswered` → `ended` →
/// `Invocation.finished`.
///
/// Thread rule: the loop's thread.
package final class Invoker {
    package let loop: Loop
    package private(set) var settings: InvokerSettings
    package let codeStore: CodeStore
    /// The catalogue as all requests see it; swapped whole after each commit.
    package private(set) var snapshot: CatalogSnapshot
    private var pools: [Int64: VersionPool] = [:]
    private var drainingPools: [VersionPool] = []
    private var states: [String: FunctionState] = [:]
    /// By function, then by version.
    private var metrics: [String: [String: VersionMetrics]] = [:]
    /// Deleted functions that may still run.
    private var departed: Set<String> = []
    private var random: Random
    private var reservedSum = 0
    private var unreservedInFlight = 0
    private var isStopping = false
    private var onStopped: (() -> Void)?
    var workerCount = 0
    private(set) lazy var care = WorkerCare(self)
    /// Results that answer equal invocations.
    package let memo: Memo
    /// Has the keys that workers sign with.
    let keyring: Keyring

    /// - Parameter seed: of request ids and of what is audited.
    package init(
        loop: Loop, snapshot: CatalogSnapshot, codeStore: CodeStore, cache: Cache, keyring: Keyring, settings: InvokerSettings, seed: UInt64
    ) throws(CacheError) {
        self.keyring = keyring
        self.loop = loop
        self.snapshot = .empty
        self.codeStore = codeStore
        self.settings = settings
        random = Random(seed: seed)
        memo = try Memo(cache, seed: random.next())
        memo.invoker = self
        adopt(snapshot)
    }

    package func makeRequestID() -> RequestID { RequestID(from: &random) }

    /// 64 random bits: trace ids, log stream names.
    package func randomBits() -> UInt64 { random.next() }

    func logStream(version: String) -> String {
        let time = UTCTime(epochSeconds: Loop.epochMilliseconds / 1000)
        let hex = String(random.next(), radix: 16) + String(random.next(), radix: 16)
        return "\(time.date.replacing("-", with: "/"))/[\(version)]\(hex)"
    }

    // MARK: Admission

    /// Takes an invocation; `finished` is called once, now or later.
    package func invoke(_ invocation: Invocation) {
        if let ticket = invocation.ticket { memo.join(invocation, ticket) } else { admit(invocation) }
    }

    /// Learns from an invocation of a function that is not memoized what memoization would bring.
    @inline(__always) private func advise(_ invocation: Invocation, _ state: FunctionState) {
        let subject = state.advised ?? memo.advice.subject(state.name, route: nil, at: invocation.arrived)
        state.advised = subject
        if subject.ttls.lookup(invocation.adviceHash, at: invocation.arrived) { invocation.advised = subject }
    }

    /// Through the gates of concurrency into its version's pool.
    func admit(_ invocation: Invocation) {
        if isStopping { return refuseUnadmitted(invocation, .stopping) }
        // The pool knows its function's state without a look at the name.
        let known = pools[invocation.version.rowID]
        let state = known?.function ?? state(of: invocation.function)
        if invocation.adviceHash != 0 { advise(invocation, state) }
        let takesProvisioned = known?.hasUnusedProvision ?? false
        if let reserved = state.reserved {
            // As in Lambda, what is provisioned is taken out of what is reserved: other versions run in the rest.
            guard takesProvisioned || state.onDemand < reserved - state.provisioned else {
                return refuseUnadmitted(invocation, .reservedConcurrency)
            }
        } else {
            guard unreservedInFlight < settings.concurrencyMax - reservedSum else {
                return refuseUnadmitted(invocation, .accountConcurrency)
            }
            unreservedInFlight += 1
        }
        guard let pool = known ?? pool(for: invocation.version, of: invocation.function) else {
            if state.reserved == nil { unreservedInFlight -= 1 }
            return refuseUnadmitted(invocation, .cannotStart("the event loop cannot make another timer"))
        }
        state.inFlight += 1
        invocation.takesProvisioned = takesProvisioned
        if takesProvisioned { pool.provisionedAdmitted += 1 } else { state.onDemand += 1 }
        invocation.countsAsUnreserved = state.reserved == nil
        invocation.isSpillover = pool.isSpillingOver
        pool.arrive(invocation)
    }

    /// Its client has gone. What waits is forgotten, what runs runs on (as in Lambda).
    package func cancel(_ invocation: Invocation) {
        if let ticket = invocation.ticket, memo.forget(invocation, ticket) { return }
        for pool in allPools where pool.cancel(invocation) {
            if let ticket = invocation.ticket { memo.lost(ticket) }
            return
        }
    }

    private func refuseUnadmitted(_ invocation: Invocation, _ refusal: Refusal) {
        count(refusal, metrics(function: invocation.function.name, version: invocation.resolution.version))
        finishRefused(invocation, refusal)
    }

    func refuse(_ invocation: Invocation, _ refusal: Refusal, in pool: VersionPool) {
        count(refusal, pool.metrics)
        ended(invocation, in: pool)
        finishRefused(invocation, refusal)
    }

    private func count(_ refusal: Refusal, _ metrics: VersionMetrics) {
        if let reason = refusal.throttleReason { metrics.throttles[reason, default: 0] += 1 }
    }

    private func finishRefused(_ invocation: Invocation, _ refusal: Refusal) {
        invocation.finished(
            InvocationOutcome(kind: .refused(refusal), payload: UnsafeRawBufferPointer(start: nil, count: 0)))
    }

    /// Gives back what admission took.
    func ended(_ invocation: Invocation, in pool: VersionPool) {
        pool.function.inFlight -= 1
        if invocation.takesProvisioned { pool.provisionedAdmitted -= 1 } else { pool.function.onDemand -= 1 }
        if invocation.countsAsUnreserved { unreservedInFlight -= 1 }
        assert(pool.function.inFlight >= 0 && unreservedInFlight >= 0, "an invocation ended twice")
    }

    /// The account's concurrency and who has it.
    package var account: AccountGauges {
        let states = snapshot.functions.compactMap { self.states[$0.name] }
        var gauges = AccountGauges()
        gauges.limit = settings.concurrencyMax
        gauges.reserved = reservedSum
        gauges.running = states.reduce(0) { $0 + $1.inFlight }
        gauges.unreservedRunning = unreservedInFlight
        gauges.provisionedUnreserved = states.reduce(0) { $0 + ($1.reserved == nil ? $1.provisioned : 0) }
        gauges.onDemandUnreserved = states.reduce(0) { $0 + ($1.reserved == nil ? $1.onDemand : 0) }
        return gauges
    }

    // MARK: Pools

    package var allPools: [VersionPool] { Array(pools.values) + drainingPools }

    package func existingPool(of version: VersionEntry) -> VersionPool? { pools[version.rowID] }

    func pool(for version: VersionEntry, of function: FunctionEntry) -> VersionPool? {
        if let pool = pools[version.rowID] { return pool }
        guard
            let pool = try? VersionPool(
                version: version, function: state(of: function),
                metrics: metrics(function: function.name, version: version), invoker: self)
        else { return nil }
        pools[version.rowID] = pool
        return pool
    }

    package func state(of function: FunctionEntry) -> FunctionState {
        if let state = states[function.name] { return state }
        let state = FunctionState(name: function.name, logBytesMax: settings.logBytesPerFunction)
        state.reserved = function.reserved
        states[function.name] = state
        return state
    }

    package func metrics(function: String, version: VersionEntry) -> VersionMetrics {
        let label = version.number.map(String.init) ?? "$LATEST"
        if let known = metrics[function]?[label] { return known }
        let made = VersionMetrics(function: function, version: label)
        metrics[function, default: [:]][label] = made
        memo.plan(of: version)?.count(into: made)
        return made
    }

    /// All metrics with the gauges of their pool, in order of name and version.
    package var measurements: [(metrics: VersionMetrics, gauges: PoolGauges, pool: VersionPool?)] {
        var pools: [ObjectIdentifier: VersionPool] = [:]
        for pool in self.pools.values { pools[ObjectIdentifier(pool.metrics)] = pool }
        return metrics.sorted { $0.key < $1.key }.flatMap { _, versions in
            versions.sorted { $0.key < $1.key }.map { _, metrics in
                let pool = pools[ObjectIdentifier(metrics)]
                return (metrics, pool?.gauges ?? PoolGauges(), pool)
            }
        }
    }

    /// Forgets the counts of versions that are deleted, and of all but the newest that nothing leads to.
    private func forgetMetrics(of name: String) {
        guard let known = metrics[name] else { return }
        let used = Set(allPools.lazy.filter { $0.function.name == name }.map { ObjectIdentifier($0.metrics) })
        guard let function = snapshot.function(named: name) else {
            metrics[name] = known.filter { used.contains(ObjectIdentifier($0.value)) }
            return
        }
        var numbers = Set(function.versions.keys.sorted().suffix(Limits.metricVersionsMax)).union(function.aliases.values.map(\.version))
        numbers.formUnion(function.aliases.values.compactMap { $0.weight?.version })
        numbers.formUnion(function.provisioned.keys.compactMap { Int($0) })
        metrics[name] = known.filter { label, metrics in
            label == "$LATEST" || Int(label).map { numbers.contains($0) } == true || used.contains(ObjectIdentifier(metrics))
        }
    }

    /// New limits for all that comes; what runs runs on.
    package func configure(_ settings: InvokerSettings) {
        self.settings = settings
        for state in states.values { state.log.outputBytesMax = settings.logBytesPerFunction }
        for pool in pools.values { pool.reconfigure() }
    }

    func poolSettings(for version: VersionEntry, provisioned: Int) -> PoolSettings {
        let concurrency = version.settings.concurrency
        let workersMax = min(concurrency.max ?? settings.workersMax, settings.workersMax)
        return PoolSettings(
            provisioned: min(provisioned, settings.workersMax), workersMax: max(workersMax, provisioned),
            waitingMax: concurrency.queue, waitMax: .seconds(UInt64(concurrency.queueWaitSeconds)),
            keepAlive: .seconds(UInt64(concurrency.keepAliveSeconds)), spares: concurrency.spares ?? 0)
    }

    var isFull: Bool { workerCount >= settings.workersMax }

    /// Is there room for one more process? If not, an idle worker of another version is asked to go; the start is tried
    /// again when one has ended.
    func hasRoomForWorker(asking: VersionEntry) -> Bool {
        if !isFull { return true }
        for pool in pools.values where pool.version.rowID != asking.rowID { if pool.giveUpIdleWorker() { break } }
        return false
    }

    func workerGone() {
        for pool in pools.values { pool.retryStarts() }
        retireUnnamed()
        drained()
    }

    /// A pool that drains may have become empty.
    func drained() {
        drainingPools.removeAll { pool in
            if pool.isEmpty { pool.revokeKey() }
            return pool.isEmpty
        }
        if !departed.isEmpty { forgetDeparted() }
        guard isStopping, let onStopped, allPools.allSatisfy(\.isEmpty) else { return }
        self.onStopped = nil
        onStopped()
    }

    /// Lets go of old versions once nothing of them runs; one that is invoked after all gets a new pool.
    private func retireUnnamed() {
        for (row, pool) in pools where !pool.isNamed && pool.isUnused { remove(pool, row) }
    }

    private func remove(_ pool: VersionPool, _ row: Int64) {
        pools[row] = nil
        drainingPools.append(pool)
        pool.drain()
    }

    // MARK: The catalogue

    /// Takes over a new state of the catalogue: pools that it no longer reaches drain, targets move. Costs by what has changed.
    package func adopt(_ snapshot: CatalogSnapshot) {
        let changes = snapshot.changes(since: self.snapshot)
        self.snapshot = snapshot
        for (old, new) in changes {
            reservedSum += (new?.reserved ?? 0) - (old?.reserved ?? 0)
            memo.adopt(old, new)
            if let new { adopt(new) } else if let old { departed.insert(old.name) }
            let reachable = Set((new?.allVersions ?? []).map(\.rowID))
            for version in old?.allVersions ?? [] where !reachable.contains(version.rowID) {
                if let pool = pools[version.rowID] { remove(pool, version.rowID) }
            }
        }
        retireUnnamed()
        for name in changes.compactMap({ ($0.new ?? $0.old)?.name }) { forgetMetrics(of: name) }
        forgetDeparted()
    }

    private func adopt(_ function: FunctionEntry) {
        let state = state(of: function)
        state.reserved = function.reserved
        var targets: [Int64: (VersionEntry, Int)] = [:]
        for qualifier in function.provisioned.keys {
            for (version, count) in function.provisionedShares(of: qualifier) { targets[version.rowID, default: (version, 0)].1 += count }
        }
        state.provisioned = targets.values.reduce(0) { $0 + $1.1 }
        var named = Set(targets.keys)
        named.insert(function.latest.rowID)
        for alias in function.aliases.values {
            for number in [alias.version, alias.weight?.version ?? alias.version] {
                if let version = function.versions[number] { named.insert(version.rowID) }
            }
        }
        for version in function.allVersions {
            guard let pool = pools[version.rowID] ?? (targets[version.rowID] != nil ? pool(for: version, of: function) : nil)
            else { continue }
            pool.adopt(state, metrics: metrics(function: function.name, version: version))
            pool.provisionedTarget = targets[version.rowID]?.1 ?? 0
            pool.isNamed = named.contains(version.rowID)
        }
    }

    private func forgetDeparted() {
        for name in departed {
            let isBack = snapshot.function(named: name) != nil
            guard isBack || states[name]?.inFlight ?? 0 == 0 else { continue }
            if !isBack {
                states[name] = nil
                forgetMetrics(of: name)
            }
            departed.remove(name)
        }
    }

    // MARK: The end

    /// Refuses what arrives from now on, lets running invocations end, then stops all workers.
    package func stop(_ onStopped: @escaping () -> Void) {
        isStopping = true
        self.onStopped = onStopped
        for pool in pools.values { pool.drain() }
        drained()
    }

    package func killAll() { for pool in allPools { pool.killAll() } }
}
