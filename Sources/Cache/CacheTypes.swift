package import Base

/// An entry's name while it is in the store; never used twice (until 2³² reuses of one record).
package struct EntryID: Hashable, Sendable {
    let index: UInt32
    let generation: UInt32
}

/// Who waits for a fill; given by the caller.
package struct WaiterID: Hashable, Sendable {
    package let rawValue: UInt64

    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// One fill of one key, from its begin to its end.
package struct FlightID: Hashable, Sendable {
    let index: UInt32
    let generation: UInt32
}

package enum Lifetime: Equatable, Sendable {
    case forever
    case ttl(Span)
    /// As the entry that is replaced has it (redis's KEEPTTL); `forever` when there is none.
    case unchanged
}

/// How an answer may be stored and served.
package struct StorePolicy: Equatable, Sendable {
    package var lifetime: Lifetime
    /// After its freshness: served while one background fill refreshes it (RFC 5861 §3).
    package var staleWhileRevalidate = Span.zero
    /// After its freshness: served while its origin fails (RFC 5861 §4).
    package var staleIfError = Span.zero
    /// After its freshness: kept for a conditional request, never served as it is.
    package var keep = Span.zero
    /// What a miss costs, in milliseconds of work: the weight of eviction and the Δ of refresh-ahead.
    package var weight: Float = 1
    /// An error or an absence: stored only in namespaces with a `negativeTTL`, for that or for a shorter lifetime, never stale.
    package var isNegative = false
    /// The value came about by changing the one before in place. It means nothing to the store, and stays until the entry is replaced.
    package var isEdited = false
    /// How old it is already, and how often (0…15) it had been asked for when it was last in memory: known of what the second level gives.
    package var age = Span.zero
    package var frequency: UInt8 = 0

    package init(_ lifetime: Lifetime = .forever) { self.lifetime = lifetime }
}

/// A value in the store. The bytes stay where they are until the next call that changes the cache; `Cache.pin` keeps them longer.
package struct Hit {
    package enum State: Sendable { case fresh, stale }

    package let value: UnsafeRawBufferPointer
    package let id: EntryID
    package let state: State
    package let isNegative: Bool
    package let isEdited: Bool
    /// What its miss would cost, in milliseconds of work.
    package let weight: Float
    let storedAt: Tick
    let freshUntil: Tick

    /// From when it was made until it is not fresh any more.
    package var lifeMilliseconds: UInt64 { freshUntil == .max ? .max : freshUntil - min(freshUntil, storedAt) }

    package func age(at now: Moment) -> Span { .milliseconds(now.tick > storedAt ? now.tick - storedAt : 0) }

    /// How long ago its freshness ended.
    package func staleness(at now: Moment) -> Span { .milliseconds(now.tick > freshUntil ? now.tick - freshUntil : 0) }

    /// How long it stays fresh; nil is forever.
    package func freshness(at now: Moment) -> Span? {
        freshUntil == .max ? nil : .milliseconds(freshUntil > now.tick ? freshUntil - now.tick : 0)
    }
}

/// What a lookup that may fill tells its caller to do.
package enum Answer {
    /// Serve it. With a flight: also begin a refresh in the background, as that flight.
    case hit(Hit, refresh: FlightID?)
    /// Run it and report to the flight. `stale`: the stored value, for a conditional request or for when the origin fails.
    case lead(FlightID, stale: Hit?)
    /// Wait: actions will name the waiter.
    case follow(FlightID)
    /// Too many fills are in flight: refuse with Retry-After (semantic 7.1.9).
    case refuse
}

/// What a flight orders for one of its waiters.
package enum FlightAction: Equatable, Sendable {
    /// The leader is gone: this follower leads now. It runs its own request and reports to the flight.
    case lead(WaiterID, FlightID)
    /// There are bytes: `read`, `consume`, and wait for more.
    case data(WaiterID, FlightID)
    /// All bytes are there: read the rest, then `leave`.
    case done(WaiterID, FlightID)
    /// What is being fetched was purged before this waiter asked: look up again.
    case retry(WaiterID)
    /// The answer cannot be shared: run your own.
    case release(WaiterID)
    /// The origin fails and a stale answer may be served: `Cache.staleOnError`.
    case stale(WaiterID)
    /// Nobody could fill it and nothing has been sent yet: answer with an error.
    case fail(WaiterID)
    /// The answer broke off, or the waiter read too slowly: cut its connection (semantic 7.1.3).
    case abort(WaiterID)
}

package enum StoreResult: Equatable, Sendable {
    case stored(EntryID)
    case refused(Refusal)

    package enum Refusal: Sendable {
        /// Above 1/8 of the limit, above the namespace's ceiling, or a key or value that is too long.
        case tooLarge
        /// Nothing may be evicted for it.
        case noRoom
        case noLifetime
        case tooManyTags
        /// It was purged, or the key was written, after its fill had begun.
        case purged
        /// The flight has ended before.
        case noFlight
    }
}

package enum RemovalReason: UInt8, Sendable { case expired, evicted, purged, corrupt }

/// An entry leaves. The key's bytes are valid during the call only; the cache must not be called from it.
package struct Removal {
    package let namespace: NamespaceID
    package let key: UnsafeRawBufferPointer
    package let reason: RemovalReason
}
