import Base
import Cache
import RESP

/// What commands do with keys of the session's database: reading, storing, and telling those who watch.
extension Session {
    /// The value, counted as a use. The bytes are valid until the cache is changed.
    @inline(__always) func read(_ key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        if let hit = service.cache.get(key, in: namespace, at: service.clock.now) { return hit.value }
        return missed(key)
    }

    private func missed(_ key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        // what is stale is no use to its owner, but a view shows what is there
        if isView, let hit = service.cache.peek(key, in: namespace, at: service.clock.now) { return hit.value }
        service.notify(.keyMiss, "keymiss", key, in: database)
        return nil
    }

    /// What is there, without being counted.
    @inline(__always) func look(_ key: UnsafeRawBufferPointer) -> Hit? { service.cache.peek(key, in: namespace, at: service.clock.now) }

    func explain(_ key: UnsafeRawBufferPointer) -> Explanation { service.cache.explain(key, in: namespace, at: service.clock.now) }

    /// Milliseconds that it has left; nil: it does not expire.
    func left(_ hit: Hit) -> Int64? { hit.freshness(at: service.clock.now).map { Int64($0.wholeMilliseconds) } }

    /// Stores a value and tells of it. `event` is what the command is called in keyspace events; `isEdited`: a
    /// part of the value before has been changed.
    func store(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ lifetime: Lifetime = .forever, event: StaticString = "set",
        kind: EventKinds = .string, isEdited: Bool = false
    ) throws(Fault) {
        try put(key, value, lifetime, isEdited)
        service.modified(key, in: database)
        service.notify(kind, event, key, in: database)
    }

    private func put(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ lifetime: Lifetime, _ isEdited: Bool
    ) throws(Fault) {
        var policy = StorePolicy(lifetime)
        policy.isEdited = isEdited
        policy.weight = service.settings.weight(lifetime)
        // read before it is there: whether it is new is only asked when somebody wants to hear of it
        let isNew = service.settings.events.contains(.newKey) && look(key) == nil
        switch service.cache.set(key, value, in: namespace, policy: policy, at: service.clock.now) {
        case .stored: break
        case .refused(.noRoom): throw .noRoom
        case .refused(.noLifetime): remove(key)
        case .refused: throw service.isFull() ? .noRoom : .tooLarge
        }
        if isNew { service.notify(.newKey, "new", key, in: database) }
    }

    /// Removes a key and tells of it; false: it was not there.
    @discardableResult
    func remove(_ key: UnsafeRawBufferPointer, event: StaticString = "del") -> Bool {
        guard service.cache.remove(key, in: namespace, at: service.clock.now) else { return false }
        service.modified(key, in: database)
        service.notify(.generic, event, key, in: database)
        return true
    }

    /// Gives a key another lifetime, or removes it when that is over already.
    func expire(_ key: UnsafeRawBufferPointer, milliseconds: Int64) {
        if milliseconds <= 0 {
            remove(key)
            return
        }
        _ = service.cache.expire(key, in: namespace, lifetime(milliseconds), at: service.clock.now)
        service.modified(key, in: database)
        service.notify(.generic, "expire", key, in: database)
    }

    func lifetime(_ milliseconds: Int64) -> Lifetime {
        .ttl(.milliseconds(UInt64(max(0, min(milliseconds, Limits.cacheLifetimeMillisecondsMax)))))
    }
}

/// A lifetime as commands give it: `EX`, `PX`, `EXAT`, `PXAT`.
enum LifetimeUnit: Sendable {
    case seconds, milliseconds, atSeconds, atMilliseconds

    @inline(__always) init?(_ word: UnsafeRawBufferPointer) {
        if word.isWord("ex") { self = .seconds } else if word.isWord("px") { self = .milliseconds } else if word.isWord("exat") {
            self = .atSeconds
        } else if word.isWord("pxat") {
            self = .atMilliseconds
        } else {
            return nil
        }
    }

    var isAbsolute: Bool { self == .atSeconds || self == .atMilliseconds }

    /// Milliseconds from now on; below 1: it is over. Nil: out of range.
    func milliseconds(_ value: Int64, at clock: Clock) -> Int64? {
        var value = value
        if self == .seconds || self == .atSeconds {
            let (product, over) = value.multipliedReportingOverflow(by: 1_000)
            guard !over else { return nil }
            value = product
        }
        if isAbsolute {
            let (left, over) = value.subtractingReportingOverflow(clock.epoch)
            return over ? .min : left
        }
        // as a moment it must be one, too
        return value.addingReportingOverflow(clock.epoch).overflow ? nil : value
    }

    /// Of SET and its like, where it must be above 0.
    func positive(_ word: UnsafeRawBufferPointer, at clock: Clock, _ command: StaticName) throws(Fault) -> Int64 {
        let value = try Numbers.need(word)
        guard value > 0, let milliseconds = milliseconds(value, at: clock) else { throw .invalidExpire(command) }
        return milliseconds
    }
}
