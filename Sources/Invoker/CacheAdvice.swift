internal import Base
package import Cache

/// What is learnt from the traffic about lifetimes and sizes: for each memoized function and cached route from its lookups, and for
/// functions that are not memoized from their invocations, so that it can be told what memoization would bring.
///
/// Thread rule: the loop's thread.
package final class CacheAdvice {
    /// A function, or one of its routes.
    package final class Subject {
        package let function: String
        package let route: String?
        package let ttls: TTLAdvisor
        /// By which `sizes` knows it.
        fileprivate let use: Int

        fileprivate init(_ function: String, _ route: String?, _ use: Int, at now: Moment) {
            self.function = function
            self.route = route
            self.use = use
            ttls = TTLAdvisor(at: now)
        }

        /// What a run has answered. `hash`: of a tracked key.
        func result(_ hash: UInt64, _ outcome: InvocationOutcome, at now: Moment) {
            guard hash != 0, case .result = outcome.kind else { return }
            ttls.result(hash, digest: Checksum.of(outcome.payload, seed: 1), at: now)
        }
    }

    private let cache: Cache
    private var subjects: [String: [String: Subject]] = [:]
    private var uses = 0
    private var sizes: SizeAdvisor

    init(_ cache: Cache, at now: Moment) {
        self.cache = cache
        sizes = SizeAdvisor(limitBytes: cache.limitBytes, at: now)
    }

    func subject(_ function: String, route: String?, at now: Moment) -> Subject {
        if let known = subjects[function]?[route ?? ""] { return known }
        let made = Subject(function, route, uses, at: now)
        uses += 1
        subjects[function, default: [:]][route ?? ""] = made
        return made
    }

    /// Its function is gone.
    func forget(_ function: String) { subjects[function] = nil }

    /// By which a memoized key is known here; never 0.
    @inline(__always) static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 { ByteHash.hash(key, seed: 0) | 1 }

    /// A stored result was served, or has just been stored.
    func observe(_ subject: Subject, _ hash: UInt64, keyCount: Int, _ hit: Hit, at now: Moment) {
        if sizes.limitBytes != cache.limitBytes { sizes = SizeAdvisor(limitBytes: cache.limitBytes, at: now) }
        let charge = Cache.charge(key: keyCount, value: hit.value.count)
        sizes.observe(hash, use: subject.use, charge: charge, weight: hit.weight, ttl: hit.lifeMilliseconds, at: now)
    }

    // MARK: Telling

    /// In the order of their names.
    package var all: [Subject] {
        subjects.sorted { $0.key < $1.key }.flatMap { $0.value.sorted { $0.key < $1.key }.map(\.value) }
    }

    /// The hit ratio of a subject with the cache at each of `SizeAdvisor.sizes`; nil: nothing of it has been stored.
    package func hitRatios(_ subject: Subject) -> [Double]? { sizes.hitRatios(use: subject.use) }
}

/// What makes two invocations equal, for advice about functions that are not memoized: cheap, and only that.
package struct AdviceHash {
    /// Never 0.
    package var value: UInt64 { state | 1 }
    private var state: UInt64 = 0x4856_5448

    package init() {}

    package mutating func add(_ part: UnsafeRawBufferPointer) { state = ByteHash.hash(part, seed: state) }
}
