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
/// Of each key of a `KeySample` eight lifetimes are followed at once, each by the end of the value that it would hold; what a run answers
/// tells whether that value would have been stale.
///
/// Time is an argument. Thread rule: whoever holds it. Takes less than 700 KiB.
package final class TTLAdvisor {
    package static let ttls: [Span] = [1, 5, 15, 60, 300, 900, 3600, 14_400].map(Span.seconds)
    private static let ttlTicks = SIMD8<UInt32>(1000, 5000, 15_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000)
    private static let bits = SIMD8<UInt32>(1, 2, 4, 8, 16, 32, 64, 128)
    /// Above this the sums are halved, so that they follow the traffic.
    private static let sumMax: UInt64 = 1 << 22

    private struct Track {
        /// Of the last answer; 0: none yet.
        var digest: UInt64 = 0
        /// When the value that each lifetime would hold ends, in milliseconds since `began`.
        var ends = SIMD8<UInt32>(repeating: 0)
        /// The change of the answer that each of them would hold.
        var held = SIMD8<UInt8>(repeating: 0)
        var changes: UInt32 = 0
        /// Of the last run.
        var ranAt: UInt32 = 0
        /// Bit i: the last lookup would be a hit of lifetime i.
        var hits: UInt8 = 0
        /// It has become hot and has not been looked up since: what is stored of it is not known.
        var isNew = false
    }

    /// What has been seen.
    private struct Sums {
        var lookups: UInt64 = 0
        var misses = SIMD8<UInt32>(repeating: 0)
        var judged = SIMD8<UInt32>(repeating: 0)
        var stale = SIMD8<UInt32>(repeating: 0)
        var runs: UInt64 = 0
        var trackedLookups: UInt64 = 0
        /// Pairs of runs one after the other, by the binary logarithm of the milliseconds between them: whose answers were equal, and not.
        var equal = [UInt32](repeating: 0, count: 33)
        var unequal = [UInt32](repeating: 0, count: 33)
        var lastAt: Moment

        mutating func halve() {
            lookups /= 2
            runs /= 2
            trackedLookups /= 2
            misses = misses &>> 1
            judged = judged &>> 1
            stale = stale &>> 1
            equal = equal.map { $0 / 2 }
            unequal = unequal.map { $0 / 2 }
        }
    }

    private let began: Moment
    // In memory of its own: each touch of a stored property of a class is checked for exclusive access, which cost more than the rest.
    private let sample: UnsafeMutablePointer<KeySample<Track>>
    private let sums: UnsafeMutablePointer<Sums>

    package init(at now: Moment) {
        began = now
        sample = .allocate(capacity: 1)
        sample.initialize(to: KeySample(keysMax: 3072))
        sums = .allocate(capacity: 1)
        sums.initialize(to: Sums(lastAt: now))
    }

    deinit {
        sample.deinitialize(count: 1)
        sample.deallocate()
        sums.deinitialize(count: 1)
        sums.deallocate()
    }

    private func tick(_ now: Moment) -> UInt32 { UInt32(truncatingIfNeeded: 1 + now.since(began).wholeMilliseconds) }

    // MARK: Watching

    /// Somebody looks up a key, given by a 64-bit hash. True: it is tracked, so that `result` wants to know what a run answers.
    @discardableResult
    package func lookup(_ hash: UInt64, at now: Moment) -> Bool {
        sums.pointee.lastAt = now
        sums.pointee.lookups += 1
        if sums.pointee.lookups > Self.sumMax { sums.pointee.halve() }
        switch sample.pointee.see(hash, Track(ends: SIMD8(repeating: tick(now))), promoted: { Track(isNew: true) }) {
        case .known(let at), .new(let at):
            follow(&sample.pointee[at], tick(now), sample.pointee.weight(at))
            return true
        case .untracked: return false
        }
    }

    @inline(__always) private func follow(_ track: inout Track, _ tick: UInt32, _ weight: UInt32) {
        sums.pointee.trackedLookups += UInt64(weight)
        guard !track.isNew else {
            // its earlier lookups were the tail's: this one fills, and does not count as a miss
            track.isNew = false
            track.ends = Self.ttlTicks &+ SIMD8(repeating: tick)
            return
        }
        // Masks of whole lanes, all ones where the value has ended: comparisons of vectors cost five times as much. Modulo 2³², so that
        // only what lies 24 days apart is taken for the wrong side.
        let now = SIMD8<UInt32>(repeating: tick)
        let ended = SIMD8<UInt32>(repeating: 0) &- ((track.ends &- now &- SIMD8(repeating: 1)) &>> SIMD8(repeating: 31))
        sums.pointee.misses = sums.pointee.misses &+ (SIMD8(repeating: weight) & ended)
        track.ends = (track.ends & ~ended) | ((Self.ttlTicks &+ now) & ended)
        let lanes = Self.bits & ~ended
        let halves = lanes.lowHalf | lanes.highHalf
        track.hits = UInt8(truncatingIfNeeded: halves.x | halves.y | halves.z | halves.w)
    }

    /// A run has answered, or failed to. `digest`: of what it answered; equal answers have equal digests.
    package func result(_ hash: UInt64, digest: UInt64, at now: Moment) {
        guard let at = sample.pointee.find(hash) else { return }
        judge(&sample.pointee[at], max(1, digest), tick(now), sample.pointee.weight(at))
    }

    private func judge(_ track: inout Track, _ digest: UInt64, _ tick: UInt32, _ weight: UInt32) {
        sums.pointee.runs += UInt64(weight)
        if track.digest != 0 {
            let isChanged = track.digest != digest
            let bucket = 32 - (tick - min(tick, track.ranAt)).leadingZeroBitCount
            if isChanged { sums.pointee.unequal[bucket] &+= weight } else { sums.pointee.equal[bucket] &+= weight }
            if isChanged { track.changes &+= 1 }
        }
        let version = UInt8(truncatingIfNeeded: track.changes)
        for index in 0..<8 {
            if track.hits >> UInt8(index) & 1 == 0 {
                track.held[index] = version
            } else {
                sums.pointee.judged[index] &+= weight
                if track.held[index] != version { sums.pointee.stale[index] &+= weight }
            }
        }
        track.digest = digest
        track.ranAt = tick
    }

    // MARK: Telling

    package var lookupsSeen: UInt64 { sums.pointee.lookups }
    package var keysTracked: Int { sample.pointee.keys.count }
    package var lastAt: Moment { sums.pointee.lastAt }
    /// For how long it has watched.
    package var watched: Span { lastAt.since(began) }
    package var bytes: Int { sample.pointee.bytes + 1024 }

    /// One forecast for each of `ttls`. Longer ones than it has watched for are as if everything lived on from then.
    package func forecasts() -> [TTLForecast] {
        let sums = sums.pointee
        let isRunAlways = sums.runs * 10 >= sums.trackedLookups * 9
        let rate = isRunAlways ? nil : changeRate()
        return Self.ttls.enumerated().map { index, ttl in
            let hitRatio = sums.lookups == 0 ? 0 : max(0, 1 - Double(sums.misses[index]) / Double(sums.lookups))
            var share: Double?
            if isRunAlways {
                if sums.judged[index] > 0 {
                    share = hitRatio * Double(sums.stale[index]) / Double(sums.judged[index])
                } else if sums.runs > 0 {
                    share = 0
                }
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
        let (equal, unequal) = (sums.pointee.equal, sums.pointee.unequal)
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
