package import Base

/// Watches what is asked of the whole cache and predicts what it would answer with other sizes (reference C5).
///
/// For each size a small copy of the eviction policy (`Eviction`) runs over the keys of a `KeySample`; a key of its tail takes the room of
/// all that it stands for. Queues hold hashes with stamps; one that is not its key's any more is skipped.
///
/// Time is an argument. Thread rule: whoever holds it. Takes less than 1 MiB.
package final class SizeAdvisor {
    /// Of the cache's limit: ½, 1, 2, 4.
    package static let sizes = [0.5, 1, 2, 4]
    private static let count = 4
    private static let usesMax = 1 << 8

    /// What one size would hold of a key.
    private struct Held {
        var stamp: UInt64 = 0
        /// Milliseconds since `began`.
        var end: UInt32 = 0
        var frequency: UInt8 = 0
        var hits: UInt8 = 0
        var isIn = false
    }

    private struct Track {
        var held: (Held, Held, Held, Held) = (Held(), Held(), Held(), Held())
        var charge: UInt32
        var weight: Float
        var isNew = false

        /// Counts a hit for each size that has it; bit i of the result: size i has it not.
        @inline(__always) mutating func touch(_ tick: UInt32) -> UInt8 {
            Self.touch(&held.0, tick, 1) | Self.touch(&held.1, tick, 2) | Self.touch(&held.2, tick, 4) | Self.touch(&held.3, tick, 8)
        }

        @inline(__always) private static func touch(_ held: inout Held, _ tick: UInt32, _ bit: UInt8) -> UInt8 {
            guard held.isIn, tick < held.end else { return bit }
            if held.hits < 15 { held.hits += 1 }
            return 0
        }

        subscript(size: Int) -> Held {
            get {
                switch size {
                case 0: held.0
                case 1: held.1
                case 2: held.2
                default: held.3
                }
            }
            set {
                switch size {
                case 0: held.0 = newValue
                case 1: held.1 = newValue
                case 2: held.2 = newValue
                default: held.3 = newValue
                }
            }
        }
    }

    /// One size's copy of the policy.
    private struct Copy {
        var queues = [[(hash: UInt64, stamp: UInt64)]](repeating: [], count: Eviction.classes)
        var starts = [Int](repeating: 0, count: Eviction.classes)
        var level: UInt64 = 0
        var hotBytes = 0
        var tailBytes = 0
    }

    private struct Sums {
        var lookups: UInt64 = 0
        var hotLookups: UInt64 = 0
        var hotMisses = SIMD4<UInt64>(repeating: 0)
        /// Of the tail's keys that are tracked.
        var tailLookups: UInt64 = 0
        var tailMisses = SIMD4<UInt64>(repeating: 0)
    }

    package let limitBytes: Int
    private let began: Moment
    private var sample = KeySample<Track>(keysMax: 2560)
    private var copies = [Copy](repeating: Copy(), count: count)
    private var sums: [Sums] = []

    /// For a cache of `limitBytes`; a cache that is resized needs another advisor.
    package init(limitBytes: Int, at now: Moment) {
        self.limitBytes = limitBytes
        began = now
        sample.onLeaving = { [unowned self] key in account(key, -1, isHot: key.isHot) }
        sample.onChange = { [unowned self] key in
            account(key, -1, isHot: !key.isHot)
            account(key, 1, isHot: key.isHot)
        }
    }

    private func account(_ key: KeySample<Track>.Key, _ sign: Int, isHot: Bool) {
        for size in 0..<Self.count where key.track[size].isIn { add(Int(key.track.charge) * sign, isHot, size) }
    }

    private func add(_ bytes: Int, _ isHot: Bool, _ size: Int) {
        if isHot { copies[size].hotBytes += bytes } else { copies[size].tailBytes += bytes }
    }

    private func used(_ size: Int) -> Int { copies[size].hotBytes + copies[size].tailBytes * Int(sample.period) }

    // MARK: Watching

    /// A key was answered, from the store or by a run whose answer is stored: it takes `charge` bytes, a miss costs `weight`, and its
    /// lifetime is `ttl` milliseconds. `use`: a small number by which its hit ratio is kept apart (a function, a route).
    package func observe(_ hash: UInt64, use: Int, charge: Int, weight: Float, ttl: UInt64, at now: Moment) {
        guard use < Self.usesMax else { return }
        while sums.count <= use { sums.append(Sums()) }
        sums[use].lookups += 1
        let charge = UInt32(clamping: charge)
        switch sample.see(hash, Track(charge: charge, weight: weight), promoted: { Track(charge: charge, weight: weight, isNew: true) }) {
        case .untracked: return
        case .known(let at), .new(let at):
            if sample.keys[at].isHot { sums[use].hotLookups += 1 } else { sums[use].tailLookups += UInt64(sample.period) }
            let tick = UInt32(truncatingIfNeeded: now.since(began).wholeMilliseconds)
            let missing = sample[at].touch(tick)
            if missing == 0, sample[at].charge == charge { return }
            for size in 0..<Self.count { resize(at, size, to: charge) }
            for size in 0..<Self.count where missing >> UInt8(size) & 1 == 1 { fill(at, size, use, weight, UInt32(clamping: ttl), tick) }
            sample[at].isNew = false
        }
        for size in 0..<Self.count { makeRoom(size) }
    }

    private func resize(_ at: Int, _ size: Int, to charge: UInt32) {
        if sample[at][size].isIn { add(Int(charge) - Int(sample[at].charge), sample.keys[at].isHot, size) }
        if size == Self.count - 1 { sample[at].charge = charge }
    }

    /// A size had it not, or not fresh any more: it has it now.
    private func fill(_ at: Int, _ size: Int, _ use: Int, _ weight: Float, _ ttl: UInt32, _ tick: UInt32) {
        if sample.keys[at].isHot {
            if !sample[at].isNew { sums[use].hotMisses[size] += 1 }
        } else {
            sums[use].tailMisses[size] += UInt64(sample.period)
        }
        sample[at].weight = weight
        var held = sample[at][size]
        held.end = tick > .max - ttl ? .max : tick + ttl
        if !held.isIn {
            held.isIn = true
            add(Int(sample[at].charge), sample.keys[at].isHot, size)
            held.frequency = min(15, 1 + held.frequency)
            enqueue(sample.keys[at].hash, &held, sample[at].charge, weight, size)
        }
        sample[at][size] = held
    }

    private func enqueue(_ hash: UInt64, _ held: inout Held, _ charge: UInt32, _ weight: Float, _ size: Int) {
        let rank = Eviction.rank(frequency: held.frequency, weight: weight, size: Int(charge))
        held.stamp = copies[size].level + 1 << UInt64(rank)
        held.hits = 0
        copies[size].queues[rank].append((hash, held.stamp))
    }

    private func makeRoom(_ size: Int) {
        let limit = Int(Double(limitBytes) * Self.sizes[size])
        while used(size) > limit, let rank = least(size) {
            let (hash, stamp) = copies[size].queues[rank][copies[size].starts[rank]]
            pop(rank, size)
            guard let at = sample.find(hash), sample[at][size].isIn, sample[at][size].stamp == stamp else { continue }
            copies[size].level = max(copies[size].level, stamp)
            var held = sample[at][size]
            held.frequency = min(15, held.frequency + held.hits)
            if held.hits > 0 {
                enqueue(hash, &held, sample[at].charge, sample[at].weight, size)
            } else {
                held.isIn = false
                add(-Int(sample[at].charge), sample.keys[at].isHot, size)
            }
            sample[at][size] = held
        }
    }

    /// The class whose head has the smallest stamp.
    private func least(_ size: Int) -> Int? {
        var best: (rank: Int, stamp: UInt64)?
        for rank in 0..<Eviction.classes where copies[size].starts[rank] < copies[size].queues[rank].count {
            let stamp = copies[size].queues[rank][copies[size].starts[rank]].stamp
            if stamp < best?.stamp ?? .max { best = (rank, stamp) }
        }
        return best?.rank
    }

    private func pop(_ rank: Int, _ size: Int) {
        copies[size].starts[rank] += 1
        guard copies[size].starts[rank] > 64, copies[size].starts[rank] * 2 > copies[size].queues[rank].count else { return }
        copies[size].queues[rank].removeFirst(copies[size].starts[rank])
        copies[size].starts[rank] = 0
    }

    // MARK: Telling

    /// The hit ratio of one use at each of `sizes`; nil: it has not been seen.
    package func hitRatios(use: Int) -> [Double]? {
        guard use < sums.count, sums[use].lookups > 0 else { return nil }
        let sums = sums[use]
        // the tail's lookups are known: only the share of its misses is the sample's
        let tail = sums.tailLookups == 0 ? 0 : Double(sums.lookups - sums.hotLookups) / Double(sums.tailLookups)
        return (0..<Self.count).map {
            max(0, 1 - (Double(sums.hotMisses[$0]) + Double(sums.tailMisses[$0]) * tail) / Double(sums.lookups))
        }
    }

    package var bytes: Int {
        sample.bytes + copies.reduce(0) { $0 + $1.queues.reduce(0) { $0 + $1.capacity * 16 } } + sums.capacity * MemoryLayout<Sums>.stride
    }
}
