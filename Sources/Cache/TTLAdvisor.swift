package import Base
import Glibc

/// What one lifetime would bring.
package struct TTLForecast: Equatable, Sendable {
    package let ttl: Span
    /// The share of lookups that would be answered from the store, with memory enough.
    package let hitRatio: Double
    /// The share of lookups that would be answered with what the origin would not say any more; nil: nothing is known of changes.
    package let staleShare: Double?
}

/// Watches the lookups of one use of the cache (a function, a route) and predicts what other lifetimes would bring (reference C5).
///
///     lookup ─┬─ tracked: eight lifetimes are followed at once, each by the end of its stored value
///             ├─ of the sample: tracked from now on          hot keys: all of them, each counts once
///             └─ neither: counted; may become hot            the tail: one key of `period`, each counts `period` times
///     result ── of a tracked key: has the answer changed?
///
/// Hot keys are followed exactly, because whether one of them falls into a sample or not is what makes samples err. While there is room
/// every key is tracked; when there is none, the 512 most asked for become hot, and of the others every second one goes. Later a hot key
/// that has cooled gives its place to one that is asked for more.
///
/// Invariants:
///  1. A key of the tail is tracked exactly if its hash is of the sample.
///  2. `tracked` is at most `keysMax`; memory is bounded by it (below 700 KiB).
///
/// Time is an argument. Thread rule: whoever holds it.
package final class TTLAdvisor {
    package static let ttls: [Span] = [1, 5, 15, 60, 300, 900, 3600, 14_400].map(Span.seconds)
    private static let ttlTicks = SIMD8<UInt32>(1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000)
    private static let keysMax = 3072
    private static let hotMax = 512
    private static let candidatesCount = 4096
    /// Every so many lookups it is seen what is hot now.
    private static let round = 1 << 14
    private static let promotionsMax = 64
    /// Above this the sums are halved, so that they follow the traffic.
    private static let sumMax: UInt64 = 1 << 22

    private struct Key {
        var hash: UInt64
        /// Of the last answer; 0: none yet.
        var digest: UInt64 = 0
        /// When the value that each lifetime would hold ends, in milliseconds since `began`.
        var ends: SIMD8<UInt32>
        /// The change of the answer that each of them would hold.
        var held = SIMD8<UInt8>(repeating: 0)
        var count: UInt32 = 1
        var changes: UInt32 = 0
        /// Of the last run.
        var ranAt: UInt32 = 0
        /// Bit i: the last lookup would be a hit of lifetime i.
        var hits: UInt8 = 0
        var isHot: Bool
        /// It has become hot and has not been looked up since: what is stored of it is not known.
        var isNew = false
    }

    private struct Candidate {
        var hash: UInt64 = 0
        var count: UInt32 = 0
    }

    private let began: Moment
    private var keys: [Key] = []
    /// Hash to place in `keys`, plus 1; open addressing.
    private var table = [UInt16](repeating: 0, count: 64)
    private var candidates: [Candidate] = []
    /// One of so many keys of the tail is tracked; a power of two.
    private var period: UInt64 = 1
    private var roundLeft = round

    private var lookups: UInt64 = 0
    private var misses = SIMD8<UInt32>(repeating: 0)
    private var judged = SIMD8<UInt32>(repeating: 0)
    private var stale = SIMD8<UInt32>(repeating: 0)
    private var runs: UInt64 = 0
    private var trackedLookups: UInt64 = 0
    /// Pairs of runs one after the other, by the binary logarithm of the milliseconds between them: whose answers were equal, and not.
    private var equal = [UInt32](repeating: 0, count: 33)
    private var unequal = [UInt32](repeating: 0, count: 33)
    private(set) package var lastAt: Moment

    package init(at now: Moment) {
        began = now
        lastAt = now
    }

    private func tick(_ now: Moment) -> UInt32 { UInt32(truncatingIfNeeded: 1 + now.since(began).wholeMilliseconds) }

    // MARK: Watching

    /// Somebody looks up a key, given by a 64-bit hash. True: it is tracked, so that `result` wants to know what a run answers.
    @discardableResult
    package func lookup(_ hash: UInt64, at now: Moment) -> Bool {
        lastAt = now
        lookups += 1
        roundLeft -= 1
        if roundLeft == 0 { endRound() }
        let tick = tick(now)
        let at = find(hash)
        if period > 1, at.map({ !keys[$0].isHot }) ?? true { consider(hash) }
        if let at { follow(at, tick) } else if isOfSample(hash) { track(hash, tick) } else { return false }
        return true
    }

    @inline(__always) private func isOfSample(_ hash: UInt64) -> Bool { (hash >> 24) & (period - 1) == 0 }

    @inline(__always) private func follow(_ at: Int, _ tick: UInt32) {
        let weight = keys[at].isHot ? 1 : UInt32(truncatingIfNeeded: period)
        trackedLookups += UInt64(weight)
        if keys[at].count < .max { keys[at].count += 1 }
        guard !keys[at].isNew else {
            // its earlier lookups were the tail's: this one fills, and does not count as a miss
            keys[at].isNew = false
            keys[at].ends = Self.ttlTicks &+ SIMD8(repeating: tick)
            return
        }
        let isMiss = keys[at].ends .<= SIMD8(repeating: tick)
        misses.replace(with: misses &+ SIMD8(repeating: weight), where: isMiss)
        keys[at].ends.replace(with: Self.ttlTicks &+ SIMD8(repeating: tick), where: isMiss)
        var hits: UInt8 = 0
        for index in 0..<8 where !isMiss[index] { hits |= 1 << UInt8(index) }
        keys[at].hits = hits
    }

    private func track(_ hash: UInt64, _ tick: UInt32) {
        let weight = UInt32(truncatingIfNeeded: period)
        misses &+= SIMD8(repeating: weight)
        trackedLookups += UInt64(weight)
        insert(Key(hash: hash, ends: Self.ttlTicks &+ SIMD8(repeating: tick), isHot: false))
        while keys.count >= Self.keysMax { thin() }
    }

    /// A run has answered, or failed to. `digest`: of what it answered; equal answers have equal digests.
    package func result(_ hash: UInt64, digest: UInt64, at now: Moment) {
        guard let at = find(hash) else { return }
        let tick = tick(now)
        let weight = keys[at].isHot ? 1 : UInt32(truncatingIfNeeded: period)
        runs += UInt64(weight)
        let digest = max(1, digest)
        if keys[at].digest != 0 {
            let isChanged = keys[at].digest != digest
            let bucket = 32 - (tick - min(tick, keys[at].ranAt)).leadingZeroBitCount
            if isChanged { unequal[bucket] &+= weight } else { equal[bucket] &+= weight }
            if isChanged { keys[at].changes &+= 1 }
        }
        let version = UInt8(truncatingIfNeeded: keys[at].changes)
        for index in 0..<8 {
            if keys[at].hits >> UInt8(index) & 1 == 0 {
                keys[at].held[index] = version
            } else {
                judged[index] &+= weight
                if keys[at].held[index] != version { stale[index] &+= weight }
            }
        }
        keys[at].digest = digest
        keys[at].ranAt = tick
    }

    // MARK: Who is tracked

    /// Half of the tail goes. The first time, the hot keys are found.
    private func thin() {
        if period == 1 {
            for at in keys.indices.sorted(by: { keys[$0].count > keys[$1].count }).prefix(Self.hotMax) { keys[at].isHot = true }
            candidates = Array(repeating: Candidate(), count: Self.candidatesCount)
        }
        period *= 2
        keys.removeAll { !$0.isHot && !isOfSample($0.hash) }
        fillTable()
    }

    /// A key of the tail is counted when it is most of what comes to its slot (Boyer and Moore's majority vote).
    @inline(__always) private func consider(_ hash: UInt64) {
        let slot = slot(hash)
        if candidates[slot].hash == hash {
            candidates[slot].count += 1
        } else if candidates[slot].count == 0 {
            candidates[slot] = Candidate(hash: hash, count: 1)
        } else {
            candidates[slot].count -= 1
        }
    }

    private func slot(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 8) & (Self.candidatesCount - 1) }

    private func endRound() {
        roundLeft = Self.round
        if period > 1 { promote() }
        for at in keys.indices { keys[at].count /= 2 }
        for at in candidates.indices { candidates[at].count /= 2 }
        guard lookups > Self.sumMax else { return }
        lookups /= 2
        runs /= 2
        trackedLookups /= 2
        misses = misses &>> 1
        judged = judged &>> 1
        stale = stale &>> 1
        equal = equal.map { $0 / 2 }
        unequal = unequal.map { $0 / 2 }
    }

    /// Keys of the tail that are asked for more than the coolest hot ones take their places. Whether a key is of the sample must not matter
    /// here, or those that are would not stand for the others any more.
    private func promote() {
        let hottest = candidates.filter { $0.count > 4 }.sorted { $0.count > $1.count }.prefix(Self.promotionsMax)
        let coolest = keys.indices.filter { keys[$0].isHot }.sorted { keys[$0].count < keys[$1].count }
        var gone: Set<UInt64> = []
        for (candidate, cool) in zip(hottest, coolest) where candidate.count > keys[cool].count + keys[cool].count / 4 {
            keys[cool].isHot = false
            if !isOfSample(keys[cool].hash) { gone.insert(keys[cool].hash) }
            candidates[slot(candidate.hash)] = Candidate()
            if let at = find(candidate.hash) {
                keys[at].isHot = true
            } else {
                keys.append(Key(hash: candidate.hash, ends: SIMD8(repeating: 0), count: candidate.count, isHot: true, isNew: true))
            }
        }
        keys.removeAll { gone.contains($0.hash) }
        fillTable()
    }

    // MARK: The table

    @inline(__always) private func find(_ hash: UInt64) -> Int? {
        let mask = table.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while table[slot] != 0 {
            let at = Int(table[slot]) - 1
            if keys[at].hash == hash { return at }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private func insert(_ key: Key) {
        keys.append(key)
        if keys.count * 2 > table.count { fillTable() } else { place(keys.count - 1) }
    }

    private func place(_ at: Int) {
        var slot = Int(truncatingIfNeeded: keys[at].hash) & (table.count - 1)
        while table[slot] != 0 { slot = (slot + 1) & (table.count - 1) }
        table[slot] = UInt16(at + 1)
    }

    private func fillTable() {
        var size = 64
        while size < keys.count * 3 { size *= 2 }
        table = [UInt16](repeating: 0, count: size)
        for at in keys.indices { place(at) }
    }

    // MARK: Telling

    package var lookupsSeen: UInt64 { lookups }
    package var keysTracked: Int { keys.count }
    /// For how long it has watched.
    package var watched: Span { lastAt.since(began) }
    package var bytes: Int {
        keys.capacity * MemoryLayout<Key>.stride + table.capacity * 2 + candidates.capacity * MemoryLayout<Candidate>.stride + 1024
    }

    /// One forecast for each of `ttls`. Longer ones than it has watched for are as if everything lived on from then.
    package func forecasts() -> [TTLForecast] {
        let isRunAlways = runs * 10 >= trackedLookups * 9
        let rate = isRunAlways ? nil : changeRate()
        return Self.ttls.enumerated().map { index, ttl in
            let hitRatio = lookups == 0 ? 0 : max(0, 1 - Double(misses[index]) / Double(lookups))
            var share: Double?
            if isRunAlways {
                if judged[index] > 0 { share = hitRatio * Double(stale[index]) / Double(judged[index]) } else if runs > 0 { share = 0 }
            } else if let rate {
                share = hitRatio * Self.staleAmongHits(rate * ttl.seconds)
            }
            return TTLForecast(ttl: ttl, hitRatio: hitRatio, staleShare: share)
        }
    }

    /// Hits come at any time of a value's life alike: the mean of 1 − e^(−λa) over ages a from 0 to the lifetime.
    private static func staleAmongHits(_ changes: Double) -> Double {
        changes < 1e-6 ? changes / 2 : 1 + Glibc.expm1(-changes) / changes
    }

    /// Changes a second, most likely after what the pairs of runs say: of a run d seconds after another, 1 − e^(−λd) differ. nil: no pairs.
    func changeRate() -> Double? {
        let pairs = (0..<33).map { (span: 1.5 * Glibc.exp2(Double($0 - 1)) / 1000, same: Double(equal[$0]), changed: Double(unequal[$0])) }
        guard pairs.contains(where: { $0.same + $0.changed > 0 }) else { return nil }
        guard pairs.contains(where: { $0.changed > 0 }) else { return 0 }
        let sameTime = pairs.reduce(0) { $0 + $1.same * $1.span }
        var low = 1e-9
        var high = 1e4
        for _ in 0..<80 {
            let rate = (low * high).squareRoot()
            let slope = pairs.reduce(-sameTime) { $0 + ($1.changed > 0 ? $1.changed * $1.span / Glibc.expm1(rate * $1.span) : 0) }
            if slope > 0 { low = rate } else { high = rate }
        }
        return (low * high).squareRoot()
    }
}
