package import Base
package import Cache
package import Catalog
internal import UV

/// Memoization: answers invocations from stored results of the same version and event, before any gate of the pool.
///
///     door: key ─▶ lookup ─┬─ hit ─────────────────────▶ the door answers        (stale, or chosen for an audit: and one runs behind it)
///                          └─ run: a ticket             ─▶ Invoker.invoke ─▶ join
///     join ─┬─ leads ─▶ missed ─▶ second level ─▶ admitted, runs ─▶ finished ─▶ stored, it and its followers are answered
///           ├─ follows: waits here, takes no worker and no concurrency
///           └─ alone: admitted, runs, is answered
///     a leader that is lost hands over to its first follower; an answer that must not be shared sends the followers to run their own
///
/// Invariants:
///  1. Every follower is in `waiting` until it is answered, leads, runs alone or its client goes.
///  2. Every flight that a lookup has begun is finished, released or aborted: a ticket that leads or refreshes does so at its end.
///  3. What a follower or a later lookup gets was made by the same code and configuration, for an equal event and caller (7.4.36).
///
/// Thread rule: the loop's thread.
package final class Memo {
    package let cache: Cache
    package let namespace: NamespaceID
    package let routeNamespace: NamespaceID
    /// All that hold results.
    package var namespaces: [NamespaceID] { [namespace, routeNamespace] }
    package let key = MemoKey()
    /// Set by the invoker, which owns this.
    unowned var invoker: Invoker!
    package let advice: CacheAdvice
    /// By the version's row: an index, not a dictionary, because every memoized hit passes here.
    private var plans: [MemoPlan?] = []
    /// By function and path: counts outlive versions.
    private var routeCounts: [String: [String: RouteCounts]] = [:]
    private var waiting: [UInt64: Invocation] = [:]
    private var waiters: UInt64 = 0
    private let value = ByteBuffer()
    private var random: Random
    /// Scopes that an audit has switched off, by function: what the catalogue has, and what is on its way there.
    private var impure: [String: Set<[UInt8]>] = [:]
    /// Told of each one that an audit switches off, so that it stays so after a restart.
    package var onImpure: (_ function: String, _ scope: [UInt8]) -> Void = { _, _ in }

    init(_ cache: Cache, seed: UInt64) throws(CacheError) {
        self.cache = cache
        advice = CacheAdvice(cache, at: Loop.now)
        random = Random(seed: seed)
        var settings = NamespaceSettings(name: "memo")
        // Lifetimes are cut by up to a tenth, never lengthened: what was stored together does not expire together (reference D3).
        settings.jitter = Self.jitter
        settings.negativeTTL = Limits.memoErrorsMax
        if cache.secondLevel != nil { settings.spillWeightMin = Limits.memoDiskWeightMin }
        namespace = try cache.addNamespace(settings)
        settings.name = "route"
        routeNamespace = try cache.addNamespace(settings)
    }

    private static let jitter = 0.05

    // MARK: Rules

    /// How the results of what a caller has asked for are kept; nil: they are not, or the function is switched off.
    @inline(__always) package func plan(of version: VersionEntry, of function: FunctionEntry) -> MemoPlan? {
        function.reserved == 0 ? nil : plan(of: version)
    }

    /// How this version's results are kept; nil: they are not.
    @inline(__always) package func plan(of version: VersionEntry) -> MemoPlan? {
        let row = Int(version.rowID)
        return row < plans.count ? plans[row] : nil
    }

    @inline(__always) package func rule(of version: VersionEntry) -> MemoRule? { plan(of: version)?.rule }

    /// Counts of all routes that a function has or had, in order.
    package var routes: [RouteCounts] {
        routeCounts.sorted { $0.key < $1.key }.flatMap { $0.value.values.sorted { $0.path < $1.path } }
    }

    /// Takes over a function's new state.
    func adopt(_ old: FunctionEntry?, _ new: FunctionEntry?) {
        if let new, !new.impureScopes.isEmpty { impure[new.name, default: []].formUnion(new.impureScopes) }
        for version in new?.allVersions ?? [] {
            guard version.settings.memoize != nil || version.settings.routes != nil, let new else { continue }
            let row = Int(version.rowID)
            if row >= plans.count { plans += Array(repeating: nil, count: row + 1 - plans.count) }
            // A row's code and settings never change; its number, and with that its counts, may.
            if let known = plans[row], known.version.number == version.number { continue }
            plans[row] = plan(new.name, version)
        }
        let rows = Set((new?.allVersions ?? []).map(\.rowID))
        for version in old?.allVersions ?? [] where !rows.contains(version.rowID) && Int(version.rowID) < plans.count {
            plans[Int(version.rowID)] = nil
        }
        if new == nil, let old {
            // Another function of this name is another function, even if it is the same.
            Array("function:\(old.name)".utf8).withUnsafeBytes { cache.purge(tag: $0, soft: false, at: invoker.loop.now) }
            impure[old.name] = nil
            advice.forget(old.name)
            routeCounts[old.name] = nil
        }
    }

    private func plan(_ function: String, _ version: VersionEntry) -> MemoPlan {
        let rule = version.settings.memoize.map { MemoRule(function: function, version: version, $0, in: namespace) }
        if let rule { rule.isOff = impure[function]?.contains(rule.scope) == true }
        let routes = (version.settings.routes ?? []).compactMap { route in
            RouteRule(function, version, route, in: routeNamespace, counts: counts(function, route.path))
        }
        return MemoPlan(version: version, rule: rule, routes: routes)
    }

    private func counts(_ function: String, _ path: String) -> RouteCounts {
        if let known = routeCounts[function]?[path] { return known }
        let made = RouteCounts(function: function, path: path)
        routeCounts[function, default: [:]][path] = made
        return made
    }

    /// Removes the entry of the key that was just made: its lookup runs (7.3.29).
    package func forgetKey(_ rule: MemoRule, at now: Moment) { cache.remove(key.bytes, in: rule.namespace, at: now) }

    // MARK: The walk

    /// Looks up the key that was just made with `key`. `form`: of the door, for what is stored.
    package func lookup(_ rule: MemoRule, form: (any ResultForm)?, at now: Moment) -> MemoAnswer {
        if rule.isOff { return .run(alone(rule, .bypass("impure"))) }
        waiters &+= 1
        let waiter = WaiterID(waiters)
        let subject = subject(of: rule, at: now)
        let hash = CacheAdvice.hash(key.bytes)
        let isTracked = subject.ttls.lookup(hash, at: now)
        switch cache.fetch(key.bytes, in: rule.namespace, waiter: waiter, at: now) {
        case .hit(let hit, refresh: let flight):
            count(rule)
            advice.observe(subject, hash, keyCount: key.bytes.count, hit, at: now)
            let found = describe(hit, at: now)
            if let flight { return .hit(found, ticket(rule, waiter, form, .refresh(flight))) }
            guard rule.auditShare > 0, !rule.isAuditing, chance(rule.auditShare) else { return .hit(found, nil) }
            rule.isAuditing = true
            return .hit(found, ticket(rule, waiter, form, .audit(cache.pin(hit))))
        case .lead(let flight, stale: _):
            if let counts = rule.counts { counts.misses &+= 1 }
            let ticket = ticket(rule, waiter, form, .lead(flight))
            ticket.adviceHash = isTracked ? hash : 0
            return .run(ticket)
        case .follow(let flight):
            if let counts = rule.counts { counts.hits &+= 1 }
            return .run(ticket(rule, waiter, form, .follow(flight)))
        case .refuse: return .run(alone(rule, .bypass("too-many-fills")))
        }
    }

    @inline(__always) private func subject(of rule: MemoRule, at now: Moment) -> CacheAdvice.Subject {
        if let known = rule.advised { return known }
        let made = advice.subject(rule.function, route: rule.counts?.path, at: now)
        rule.advised = made
        return made
    }

    /// Of its version; after a restart there may be hits before there is a pool.
    @inline(__always) private func counts(of rule: MemoRule) -> VersionMetrics {
        rule.metrics ?? invoker.metrics(function: rule.function, version: rule.version)
    }

    @inline(__always) private func count(_ rule: MemoRule) {
        counts(of: rule).memoized &+= 1
        if let counts = rule.counts { counts.hits &+= 1 }
    }

    /// A ticket for an invocation that has no key, or must not be answered from the store.
    package func alone(_ rule: MemoRule, _ status: MemoStatus) -> MemoTicket {
        MemoTicket(rule, WaiterID(0), [], nil, .alone(status), self)
    }

    private func ticket(
        _ rule: MemoRule, _ waiter: WaiterID, _ form: (any ResultForm)?, _ role: MemoTicket.Role
    ) -> MemoTicket {
        MemoTicket(rule, waiter, Array(key.bytes), form, role, self)
    }

    private func describe(_ hit: Hit, at now: Moment) -> MemoHit {
        let isStale = hit.state == .stale
        let left = isStale ? hit.staleness(at: now) : hit.freshness(at: now) ?? .zero
        let seconds = Int64(left.nanoseconds / 1_000_000_000)
        let status = MemoStatus.hit(
            age: hit.age(at: now), ttl: isStale ? -seconds : seconds, saved: StoredResult.run(hit.value), isStale: isStale)
        return StoredResult.hit(hit.value, status)
    }

    /// Takes in an invocation with a ticket.
    func join(_ invocation: Invocation, _ ticket: MemoTicket) {
        switch ticket.role {
        case .lead(let flight): missed(invocation, ticket, flight)
        case .follow: waiting[ticket.waiter.rawValue] = invocation
        case .refresh, .audit, .alone: invoker.admit(invocation)
        }
    }

    /// Nothing is stored in memory for this invocation, which leads its flight: the second level is asked, unless it surely has nothing.
    /// Meanwhile equal invocations wait as followers.
    private func missed(_ invocation: Invocation, _ ticket: MemoTicket, _ flight: FlightID) {
        let namespace = ticket.rule.namespace
        guard let below = cache.secondLevel, ticket.key.withUnsafeBytes({ below.mayHold($0, in: namespace) }) else {
            return invoker.admit(invocation)
        }
        ticket.isReading = true
        below.get([ticket.key], in: namespace) { [weak self] found in
            ticket.isReading = false
            guard let self else { return }
            if let stored = found[0], stored.value.count >= StoredResult.headBytes { return take(stored, invocation, ticket, flight) }
            if ticket.isForsaken { abandon(flight) } else { invoker.admit(invocation) }
        }
    }

    /// A second level had it: the leader and its followers are answered without a run, and it is in memory from now on.
    ///
    /// - Parameter stored: a value as `StoredResult` writes it, with the tags and the lifetime that it had.
    private func take(_ stored: SecondLevelValue, _ invocation: Invocation, _ ticket: MemoTicket, _ flight: FlightID) {
        let now = invoker.loop.now
        stored.value.withUnsafeBytes { value in
            var actions: [FlightAction] = []
            withTags(stored.tags) { cache.head(flight, policy: stored.policy, tags: $0, expected: value.count, at: now, into: &actions) }
            cache.append(flight, value, at: now, into: &actions)
            cache.finish(flight, isFromSecondLevel: true, at: now, into: &actions)
            var ttl: Int64 = 0
            if case .ttl(let span) = stored.policy.lifetime { ttl = Int64(span.seconds) }
            let status = MemoStatus.hit(age: stored.policy.age, ttl: ttl, saved: StoredResult.run(value), isStale: false)
            let outcome = StoredResult.hit(value, status).outcome
            count(ticket.rule)
            if !ticket.isForsaken { invocation.answer(outcome) }
            deliver(actions, outcome)
        }
    }

    /// An invocation with a ticket has run, or was refused.
    func finished(_ invocation: Invocation, _ ticket: MemoTicket, _ outcome: InvocationOutcome) {
        var outcome = outcome
        switch ticket.role {
        case .lead(let flight), .refresh(let flight):
            var actions: [FlightAction] = []
            let entry = land(invocation, ticket, flight, outcome, &actions)
            learn(ticket, outcome)
            if invoker.settings.writesThrough, let entry { return writeThrough(entry, invocation, outcome, actions) }
            conclude(invocation, outcome, isStored: entry != nil, actions)
        case .audit(let pinned): audited(invocation, ticket, pinned, outcome)
        case .alone(let status):
            outcome.memo = status
            invocation.answer(outcome)
        case .follow: preconditionFailure("1: a follower does not run")
        }
    }

    private func learn(_ ticket: MemoTicket, _ outcome: InvocationOutcome) {
        guard let subject = ticket.rule.advised else { return }
        let now = invoker.loop.now
        subject.result(ticket.adviceHash, outcome, at: now)
        ticket.key.withUnsafeBytes { key in
            guard let stored = cache.peek(key, in: ticket.rule.namespace, at: now) else { return }
            advice.observe(subject, CacheAdvice.hash(key), keyCount: key.count, stored, at: now)
        }
    }

    private func conclude(_ invocation: Invocation, _ outcome: InvocationOutcome, isStored: Bool, _ actions: [FlightAction]) {
        var outcome = outcome
        outcome.memo = .miss(stored: isStored)
        invocation.answer(outcome)
        outcome.memo = .coalesced(stored: isStored)
        deliver(actions, outcome)
    }

    /// Nobody is answered before the result is on disk. (When the disk does not take it, they are answered all the same.)
    private func writeThrough(_ entry: EntryID, _ invocation: Invocation, _ outcome: InvocationOutcome, _ actions: [FlightAction]) {
        guard let below = cache.secondLevel, let record = cache.secondLevelRecord(entry, at: invoker.loop.now) else {
            return conclude(invocation, outcome, isStored: true, actions)
        }
        below.put([record]) { [self] _ in
            // the worker's bytes are gone by now: the stored ones say the same
            var stored = StoredResult.hit(record.value, .none).outcome
            (stored.queue, stored.initTime, stored.run) = (outcome.queue, outcome.initTime, outcome.run)
            (stored.start, stored.logTail) = (outcome.start, outcome.logTail)
            conclude(invocation, stored, isStored: true, actions)
        }
    }

    /// Reports the end of a run to its flight; the entry, when its result was stored.
    private func land(
        _ invocation: Invocation, _ ticket: MemoTicket, _ flight: FlightID, _ outcome: InvocationOutcome, _ actions: inout [FlightAction]
    ) -> EntryID? {
        let now = invoker.loop.now
        var isRefresh = false
        if case .refresh = ticket.role { isRefresh = true }
        let end: MemoVerdict.End = invocation.isAnswered ? .answered : invocation.isLost ? .lost : .other
        switch MemoVerdict.of(outcome, end, isRefresh: isRefresh, ticket.rule) {
        case .store(var policy, let extra):
            policy.weight = Float(max(1, outcome.run.milliseconds))
            if case .ttl(let span) = policy.lifetime {
                policy.lifetime = .ttl(Span(nanoseconds: UInt64(Double(span.nanoseconds) * (1 - Self.jitter))))
            }
            var isError = false
            if case .functionError = outcome.kind { isError = true }
            guard StoredResult.write(outcome.payload, isError: isError, run: outcome.run, form: ticket.form, to: value) else {
                cache.release(flight, rememberFor: nil, at: now, into: &actions)
                return nil
            }
            withTags(ticket.rule.tags + extra) {
                cache.head(flight, policy: policy, tags: $0, expected: value.count, at: now, into: &actions)
            }
            cache.append(flight, value.bytes, at: now, into: &actions)
            let result = cache.finish(flight, at: now, into: &actions)
            value.clear()
            if case .stored(let entry) = result { return entry }
        case .keepToItself(let time): cache.release(flight, rememberFor: time, at: now, into: &actions)
        case .handOver: cache.abort(flight, .leaderGone, at: now, into: &actions)
        case .leaveStale: cache.abort(flight, .originFailed, at: now, into: &actions)
        }
        return nil
    }

    /// Does what a flight orders for those who waited. `outcome`: what the others get, while its payload lasts.
    private func deliver(_ actions: [FlightAction], _ outcome: InvocationOutcome?) {
        for action in actions {
            switch action {
            case .done(let waiter, let flight):
                cache.leave(flight, waiter)
                guard let follower = waiting.removeValue(forKey: waiter.rawValue), var outcome else { continue }
                outcome.queue = invoker.loop.now.since(follower.arrived)
                outcome.initTime = .zero
                outcome.run = .zero
                follower.answer(outcome)
            // One piece: what has been appended is done with in the same call.
            case .data: break
            case .lead(let waiter, let flight):
                guard let heir = waiting.removeValue(forKey: waiter.rawValue), let ticket = heir.ticket else { continue }
                ticket.role = .lead(flight)
                invoker.admit(heir)
            case .retry(let waiter):
                if let follower = waiting.removeValue(forKey: waiter.rawValue) { lookAgain(follower) }
            case .stale(let waiter):
                if let follower = waiting.removeValue(forKey: waiter.rawValue) { answerStale(follower) }
            case .release(let waiter), .fail(let waiter), .abort(let waiter):
                if let follower = waiting.removeValue(forKey: waiter.rawValue) { runAlone(follower) }
            }
        }
    }

    private func runAlone(_ invocation: Invocation) {
        invocation.ticket?.role = .alone(.miss(stored: false))
        invoker.admit(invocation)
    }

    /// What it waited for was purged after it had begun and before this one asked.
    private func lookAgain(_ invocation: Invocation) {
        guard let ticket = invocation.ticket else { return }
        let now = invoker.loop.now
        let answer = ticket.key.withUnsafeBytes { cache.fetch($0, in: ticket.rule.namespace, waiter: ticket.waiter, at: now) }
        switch answer {
        case .hit(let hit, refresh: let flight):
            invocation.answer(describe(hit, at: now).outcome)
            // Whoever asks next refreshes it.
            if let flight { abandon(flight) }
        case .lead(let flight, stale: _):
            ticket.role = .lead(flight)
            missed(invocation, ticket, flight)
        case .follow(let flight):
            ticket.role = .follow(flight)
            waiting[ticket.waiter.rawValue] = invocation
        case .refuse: runAlone(invocation)
        }
    }

    private func answerStale(_ invocation: Invocation) {
        guard let ticket = invocation.ticket else { return }
        let now = invoker.loop.now
        let hit = ticket.key.withUnsafeBytes { cache.staleOnError($0, in: ticket.rule.namespace, at: now) }
        guard let hit else { return runAlone(invocation) }
        invocation.answer(describe(hit, at: now).outcome)
    }

    private func withTags(_ tags: [[UInt8]], _ body: ([UnsafeRawBufferPointer]) -> Void) {
        // One block behind the other, so that all pointers hold at once.
        let all = ByteBuffer(capacity: 256)
        for tag in tags { all.append(tag) }
        var at = 0
        body(
            tags.map { tag in
                defer { at += tag.count }
                return UnsafeRawBufferPointer(rebasing: all.bytes[at..<at + tag.count])
            })
    }

    // MARK: Those who go

    /// A client has gone. True: its invocation waited here and is forgotten.
    func forget(_ invocation: Invocation, _ ticket: MemoTicket) -> Bool {
        if ticket.isReading {
            ticket.isForsaken = true
            return true
        }
        guard case .follow(let flight) = ticket.role, waiting.removeValue(forKey: ticket.waiter.rawValue) != nil else { return false }
        cache.leave(flight, ticket.waiter)
        return true
    }

    /// A leader was taken out of its pool's queue because its client has gone: the next in line leads (7.1.8).
    func lost(_ ticket: MemoTicket) {
        switch ticket.role {
        case .lead(let flight), .refresh(let flight): abandon(flight)
        case .audit: ticket.rule.isAuditing = false
        case .alone, .follow: break
        }
    }

    private func abandon(_ flight: FlightID) {
        var actions: [FlightAction] = []
        cache.abort(flight, .leaderGone, at: invoker.loop.now, into: &actions)
        deliver(actions, nil)
    }

    // MARK: Audits

    private func chance(_ share: Double) -> Bool { Double(random.next() >> 11) * 0x1p-53 < share }

    /// A result was made anew to be compared with the stored one (7.4.42).
    private func audited(_ invocation: Invocation, _ ticket: MemoTicket, _ pinned: PinnedValue, _ outcome: InvocationOutcome) {
        let rule = ticket.rule
        rule.isAuditing = false
        let isError: Bool
        switch outcome.kind {
        case .result: isError = false
        case .functionError where invocation.isAnswered: isError = true
        // A timeout, a crash or a refusal says nothing of the function's purity.
        case .functionError, .refused: return
        }
        counts(of: rule).memoAudits &+= 1
        let isWritten = StoredResult.write(outcome.payload, isError: isError, run: outcome.run, form: ticket.form, to: value)
        defer { value.clear() }
        // All but the time that the run took.
        if isWritten, value.bytes.dropFirst(4).elementsEqual(pinned.value.dropFirst(4)) { return }
        guard !rule.isOff else { return }
        counts(of: rule).memoImpure &+= 1
        impure[rule.function, default: []].insert(rule.scope)
        onImpure(rule.function, rule.scope)
        for plan in plans where plan?.rule?.scope == rule.scope { plan?.rule?.isOff = true }
        rule.versionTag.withUnsafeBytes { cache.purge(tag: $0, soft: false, at: invoker.loop.now) }
        let version = invocation.resolution.executedVersion
        invoker.state(of: invocation.function).log.note(
            "memoization is off for version \(version): equal events gave different results (key \(String(decoding: ticket.key, as: UTF8.self)))",
            invocation.id, version: version, epochMilliseconds: Loop.epochMilliseconds)
    }
}
