package import Base
package import Cache
internal import RESP

/// The key-value face: what all its clients share.
///
///     CacheConnection ──▶ Session.execute ──▶ CommandTable ──▶ handler ──▶ Keyspace (Cache)
///      (or a test)             │                                  │
///                              └── MULTI, paused, subscribed …    └─ modified: WATCH, TRACKING · notify: keyspace events · PubSub
///
///     what is written for another client than the one that asks waits in `pending` until `flushPending`
///
/// Invariants:
///  1. `databases` and the sessions' namespaces agree.
///  2. `observers` is above 0 exactly while a client watches or tracks keys: else a write tells nobody.
///
/// Time comes from `clock`, which whoever calls in moves first; no handler reads another.
///
/// Thread rule: the loop's thread.
package final class CacheService {
    let cache: Cache
    let table: CommandTable
    let options: CacheOptions
    package var clock: Clock
    let started: Clock
    /// Databases that were selected so far; the others have nothing.
    private(set) var databases = [NamespaceID?](repeating: nil, count: Limits.cacheDatabases)
    private var nothing: NamespaceID?
    private(set) var sessions: [UInt64: Session] = [:]
    private var nextID: UInt64 = 1
    let pubsub = PubSub()
    let watches = Watches()
    let tracking = Tracking()
    var settings = Settings()
    let slowLog = SlowLog()
    var statistics = Statistics()
    var random: Random
    /// Clients that have something to be written that they did not ask for just now.
    private var pending: [Session] = []
    /// Called when the first of them has: whoever owns the loop then calls `flushPending` before it sleeps.
    package var onPending: () -> Void = {}
    /// Paused until then: all commands, or those that write.
    var pause: (until: Moment, onlyWrites: Bool)?
    /// Called when clients may go on, and when they may not for some time.
    package var onResume: () -> Void = {}
    package var onPause: (Span) -> Void = { _ in }
    /// Whose command is being carried out. (Strong: a weak reference would slow every other one down.)
    var current: Session?

    package init(cache: Cache, options: CacheOptions, clock: Clock) throws(CacheError) {
        self.cache = cache
        self.options = options
        self.clock = clock
        started = clock
        random = Random(seed: options.seed)
        table = CommandTable(Command.all)
        settings.keepsData = options.keepsData
        var data = NamespaceSettings(name: "data")
        if options.keepsData { data.spillWeightMin = 0 }
        databases[0] = try cache.addNamespace(data)
        let earlier = cache.onRemoval
        cache.onRemoval = { [unowned self] removal in
            earlier?(removal)
            removed(removal)
        }
    }

    // MARK: Databases

    /// The namespace of a database, made when it is first asked for. Nil: there are too many namespaces.
    func namespace(of database: Int) -> NamespaceID? {
        if let known = databases[database] { return known }
        if let view = options.views[database] {
            return cache.namespaces.first { cache.settings(of: $0).name == view } ?? emptyNamespace()
        }
        guard let made = try? cache.addNamespace(settings.namespace(named: "data\(database)")) else { return nil }
        databases[database] = made
        return made
    }

    /// What stands for a view of something that is not there (yet).
    private func emptyNamespace() -> NamespaceID? {
        if let nothing { return nothing }
        nothing = try? cache.addNamespace(NamespaceSettings(name: "nothing"))
        return nothing
    }

    func isView(_ database: Int) -> Bool { options.views[database] != nil }

    /// The namespaces of data, by database.
    var dataNamespaces: [(database: Int, namespace: NamespaceID)] {
        databases.enumerated().compactMap { index, namespace in namespace.map { (index, $0) } }
    }

    func swapDatabases(_ a: Int, _ b: Int) {
        databases.swapAt(a, b)
        for session in sessions.values { session.refreshNamespace() }
    }

    /// Whether commands that need memory are refused as redis does (semantic 7.5.45): nothing may be evicted and the data is at its limit,
    /// or the limit is too low for anything.
    func isFull() -> Bool {
        guard settings.memoryMax > 0 else { return false }
        if settings.memoryMax < Limits.cacheMemoryMaxLeast { return true }
        guard settings.policy == "noeviction" else { return false }
        return dataNamespaces.reduce(0) { $0 + cache.counters(of: $1.namespace).bytes } > settings.memoryMax
    }

    // MARK: Clients

    package func open(door: Door, address: String = "", localAddress: String = "", descriptor: Int32 = 0) -> Session {
        let session = Session(service: self, id: nextID, door: door, address: address, localAddress: localAddress, descriptor: descriptor)
        nextID += 1
        sessions[session.id] = session
        statistics.connections &+= 1
        return session
    }

    func forget(_ session: Session) {
        pubsub.forget(session)
        watches.forget(session)
        tracking.forget(session)
        sessions[session.id] = nil
        if tracking.isEmpty, watches.isEmpty { observers = 0 } else { countObservers() }
    }

    /// The client has something to be written that it does not wait for.
    func wake(_ session: Session) {
        guard !session.isPending, session !== current else { return }
        session.isPending = true
        if pending.isEmpty { onPending() }
        pending.append(session)
    }

    /// Hands what waits to the connections. Call before the loop sleeps.
    package func flushPending() {
        tracking.broadcast(self)
        while !pending.isEmpty {
            let woken = pending
            pending = []
            for session in woken {
                session.isPending = false
                session.transport?.flush()
            }
        }
    }

    func wantTurn() { if pending.isEmpty { onPending() } }

    // MARK: Pauses

    /// Whether this request waits for the end of the pause.
    func mustWait(_ session: Session, _ arguments: Arguments) -> Bool {
        guard let pause else { return false }
        guard clock.now < pause.until else {
            endPause(at: clock.now)
            return false
        }
        guard pause.onlyWrites else { return true }
        guard let command = table.find(arguments[0]) else { return false }
        if session.transaction.isOpen {
            return arguments[0].isWord("exec") && session.transaction.requests.contains { Self.changes($0.command.pointee) }
        }
        return Self.changes(command.pointee)
    }

    private static func changes(_ command: Command) -> Bool {
        command.flags.contains(.write) || command.group == .pubsub && command.flags.contains(.fast)
    }

    /// Lets clients go on when their time has come; else how long they still wait.
    @discardableResult
    package func endPause(at now: Moment) -> Span? {
        guard let pause else { return nil }
        guard now >= pause.until else { return pause.until.since(now) }
        self.pause = nil
        onResume()
        return nil
    }

    // MARK: Who is told of changes

    /// Clients that watch or track keys, and whether events are sent.
    private(set) var observers = 0

    func countObservers() { observers = (watches.isEmpty ? 0 : 1) + (tracking.isEmpty ? 0 : 1) }

    /// A key was written or removed by a command.
    @inline(__always) func modified(_ key: UnsafeRawBufferPointer, in database: Int) {
        statistics.changes &+= 1
        if observers != 0 { tellObservers(key, database) }
    }

    private func tellObservers(_ key: UnsafeRawBufferPointer, _ database: Int) {
        watches.touch(key, database)
        tracking.keyChanged(key, self, by: current)
    }

    @inline(__always) func notify(_ kind: EventKinds, _ event: StaticString, _ key: UnsafeRawBufferPointer, in database: Int) {
        if settings.events.contains(kind) { publishEvent(kind, event, key, database) }
    }

    private func publishEvent(_ kind: EventKinds, _ event: StaticString, _ key: UnsafeRawBufferPointer, _ database: Int) {
        let name = UnsafeRawBufferPointer(start: event.utf8Start, count: event.utf8CodeUnitCount)
        if settings.events.contains(.keyspace) {
            let channel = Array("__keyspace@\(database)__:".utf8) + key
            channel.withUnsafeBytes { _ = pubsub.publish($0, name, self) }
        }
        if settings.events.contains(.keyevent) {
            let channel = Array("__keyevent@\(database)__:\(event)".utf8)
            channel.withUnsafeBytes { _ = pubsub.publish($0, key, self) }
        }
    }

    /// An entry left the cache by itself. (The cache must not be called here.) What is purged is told of by the command that purges: the
    /// sweep behind FLUSHDB reaches the entries of it much later, one by one.
    private func removed(_ removal: Removal) {
        guard removal.reason != .purged, observers != 0 || !settings.events.isEmpty,
            let database = databases.firstIndex(where: { $0 == removal.namespace })
        else { return }
        if observers != 0 {
            watches.touch(removal.key, database)
            tracking.keyChanged(removal.key, self, by: nil)
        }
        if removal.reason == .expired { notify(.expired, "expired", removal.key, in: database) }
        if removal.reason == .evicted { notify(.evicted, "evicted", removal.key, in: database) }
    }
}
