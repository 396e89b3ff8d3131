import Base
import Glibc
import Testing

@testable import Cache

/// HEARTH_SEED replays a seeded test; HEARTH_BENCH=1 turns the measurements and the long tables on.
enum Run {
    static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    static let isBench = variable("HEARTH_BENCH") == "1"

    /// The seeds of a seeded test: a few, or the one that is asked for.
    static func seeds(_ standard: Range<UInt64>) -> [UInt64] {
        variable("HEARTH_SEED").flatMap { UInt64($0) }.map { [$0] } ?? Array(standard)
    }
}

func at(_ milliseconds: UInt64) -> Moment { Moment(nanoseconds: milliseconds * 1_000_000) }

func waiter(_ n: UInt64) -> WaiterID { WaiterID(n) }

/// A cache with one namespace, its clock, and what it has told; keys and values are strings.
final class Rig {
    let cache: Cache
    let space: NamespaceID
    var now = at(1000)
    var removals: [(key: String, reason: RemovalReason)] = []
    var actions: [FlightAction] = []

    init(limit: Int = 1 << 20, seed: UInt64 = 1, hashMask: UInt64 = .max, _ change: (inout NamespaceSettings) -> Void = { _ in }) throws {
        cache = Cache(limitBytes: limit, seed: seed, at: at(1000), hashMask: hashMask)
        var settings = NamespaceSettings(name: "memo")
        change(&settings)
        space = try cache.addNamespace(settings)
        cache.onRemoval = { [unowned self] in removals.append((String(decoding: $0.key, as: UTF8.self), $0.reason)) }
    }

    /// Moves the clock and lets the cache do all that is due.
    func pass(_ milliseconds: UInt64) {
        now = now + .milliseconds(milliseconds)
        while cache.advance(to: now) {}
    }

    @discardableResult
    func set(_ key: String, _ value: String, _ policy: StorePolicy = StorePolicy(), tags: [String] = [], in other: NamespaceID? = nil)
        -> StoreResult
    {
        withTags(tags) { tags in
            bytes(key) { key in bytes(value) { cache.set(key, $0, in: other ?? space, policy: policy, tags: tags, at: now) } }
        }
    }

    func get(_ key: String, in other: NamespaceID? = nil) -> String? {
        bytes(key) { cache.get($0, in: other ?? space, at: now).map { String(decoding: $0.value, as: UTF8.self) } }
    }

    func peek(_ key: String) -> Hit? { bytes(key) { cache.peek($0, in: space, at: now) } }
    func remove(_ key: String) -> Bool { bytes(key) { cache.remove($0, in: space, at: now) } }
    func explain(_ key: String) -> Explanation { bytes(key) { cache.explain($0, in: space, at: now) } }
    func purge(_ key: String, soft: Bool) -> Bool { bytes(key) { cache.purge(key: $0, in: space, soft: soft, at: now) } }
    func purge(tag: String, soft: Bool = false) { bytes(tag) { cache.purge(tag: $0, soft: soft, at: now) } }
    func purge(prefix: String, soft: Bool = false) { bytes(prefix) { cache.purge(prefix: $0, in: space, soft: soft, at: now) } }
    func fetch(_ key: String, _ n: UInt64 = 0) -> Answer { bytes(key) { cache.fetch($0, in: space, waiter: waiter(n), at: now) } }

    /// A lookup that must lead.
    func lead(_ key: String, _ n: UInt64 = 0) throws -> FlightID {
        guard case .lead(let flight, _) = fetch(key, n) else { throw Unexpected(what: "lookup of \(key) does not lead") }
        return flight
    }

    /// A lookup that must follow.
    func follow(_ key: String, _ n: UInt64) throws -> FlightID {
        guard case .follow(let flight) = fetch(key, n) else { throw Unexpected(what: "lookup of \(key) does not follow") }
        return flight
    }

    func head(_ flight: FlightID, _ policy: StorePolicy = StorePolicy(), tags: [String] = [], expected: Int? = nil) {
        withTags(tags) { cache.head(flight, policy: policy, tags: $0, expected: expected, at: now, into: &actions) }
    }

    func append(_ flight: FlightID, _ text: String) { bytes(text) { cache.append(flight, $0, at: now, into: &actions) } }

    @discardableResult
    func finish(_ flight: FlightID, weight: Float? = nil) -> StoreResult { cache.finish(flight, weight: weight, at: now, into: &actions) }

    /// A whole fill.
    @discardableResult
    func fill(_ flight: FlightID, _ text: String, _ policy: StorePolicy = StorePolicy(), tags: [String] = []) -> StoreResult {
        head(flight, policy, tags: tags)
        append(flight, text)
        return finish(flight)
    }

    func abort(_ flight: FlightID, _ cause: Cache.AbortCause) { cache.abort(flight, cause, at: now, into: &actions) }

    /// All that a follower can read now, consumed.
    func drain(_ flight: FlightID, _ n: UInt64) -> String {
        let rest = cache.read(flight, waiter(n))
        let text = String(decoding: rest, as: UTF8.self)
        cache.consume(flight, waiter(n), rest.count)
        return text
    }

    /// The actions since the last call.
    func take() -> [FlightAction] {
        defer { actions = [] }
        return actions
    }

    var counters: CacheCounters { cache.counters(of: space) }
}

struct Unexpected: Error { let what: String }

func bytes<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    var text = text
    return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
}

func withTags<R>(_ tags: [String], _ body: ([UnsafeRawBufferPointer]) -> R) -> R {
    let copies = tags.map { text in
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: text.utf8.count, alignment: 1)
        copy.copyBytes(from: text.utf8)
        return copy
    }
    defer { copies.forEach { $0.deallocate() } }
    return body(copies.map { UnsafeRawBufferPointer($0) })
}

extension StorePolicy {
    static func ttl(_ milliseconds: UInt64, swr: UInt64 = 0, sie: UInt64 = 0, keep: UInt64 = 0, weight: Float = 1) -> StorePolicy {
        var policy = StorePolicy(.ttl(.milliseconds(milliseconds)))
        policy.staleWhileRevalidate = .milliseconds(swr)
        policy.staleIfError = .milliseconds(sie)
        policy.keep = .milliseconds(keep)
        policy.weight = weight
        return policy
    }

    static func weighing(_ weight: Float) -> StorePolicy {
        var policy = StorePolicy()
        policy.weight = weight
        return policy
    }

    static func negative(_ lifetime: Lifetime = .forever) -> StorePolicy {
        var policy = StorePolicy(lifetime)
        policy.isNegative = true
        return policy
    }
}
