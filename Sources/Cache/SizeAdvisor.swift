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
        /// Bit i: class i is not empty.
        var occupied: UInt64 = 0
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
    // In memory of their own: each touch of a stored property of a class is checked for exclusive access, which cost more than the rest.
    private let sample: UnsafeMutablePointer<KeySample<Track>>
    /// One for each size.
    private let copies: UnsafeMutablePointer<Copy>
    /// One for each use.
    private let sums: UnsafeMutablePointer<Sums>

    /// For a cache of `limitBytes`; a cache that is resized needs another advisor.
    package init(limitBytes: Int, at now: Moment) {
        self.limitBytes = limitBytes
        began = now
        sample = .allocate(capacity: 1)
        sample.initialize(to: KeySample(keysMax: 2560))
        copies = .allocate(capacity: Self.count)
        copies.initialize(repeating: Copy(), count: Self.count)
        sums = .allocate(capacity: Self.usesMax)
        sums.initialize(repeating: Sums(), count: Self.usesMax)
        sample.pointee.onLeaving = { [unowned self] key in account(key, -1, isHot: key.isHot) }
        sample.pointee.onChange = { [unowned self] key in
            account(key, -1, isHot: !key.isHot)
            account(key, 1, isHot: key.isHot)
        }
    }

    deinit {
        sample.deinitialize(count: 1)
        sample.deallocate()
        copies.deinitialize(count: Self.count)
        copies.deallocate()
        sums.deallocate()
    }

    private func account(_ key: KeySample<Track>.Key, _ sign: Int, isHot: Bool) {
        for size in 0..<Self.count where key.track[size].isIn { add(Int(key.track.charge) * sign, isHot, size) }
    }

    private func add(_ bytes: Int, _ isHot: Bool, _ size: Int) {
        if isHot { copies[size].hotBytes += bytes } else { copies[size].tailBytes += bytes }
    }

    private func used(_ size: Int) -> Int { copies[size].hotBytes + copies[size].tailBytes * Int(sample.pointee.period) }

    // MARK: Watching

    /// A key was answered, from the store or by a run whose answer is stored: it takes `charge` bytes, a miss costs `weight`, and its
    /// lifetime is `ttl` milliseconds. `use`: a small number by which its hit ratio is kept apart (a function, a route).
    package func observe(_ hash: UInt64, use: Int, charge: Int, weight: Float, ttl: UInt64, at now: Moment) {
        guard use < Self.usesMax else { return }
        sums[use].lookups += 1
        let charge = UInt32(clamping: charge)
        let track = Track(charge: charge, weight: weight)
        switch sample.pointee.see(hash, track, promoted: { Track(charge: charge, weight: weight, isNew: true) }) {
        case .untracked: return
        case .known(let at), .new(let at):
            if sample.pointee.keys[at].isHot { sums[use].hotLookups += 1 } else { sums[use].tailLookups += UInt64(sample.pointee.period) }
            let tick = UInt32(truncatingIfNeeded: now.since(began).wholeMilliseconds)
            let missing = sample.pointee[at].touch(tick)
            if missing == 0, sample.pointee[at].charge == charge { return }
            for size in 0..<Self.count { resize(at, size, to: charge) }
            for size in 0..<Self.count where missing >> UInt8(size) & 1 == 1 { fill(at, size, use, weight, UInt32(clamping: ttl), tick) }
            sample.pointee[at].isNew = false
        }
        for size in 0..<Self.count { makeRoom(size) }
    }

    private func resize(_ at: Int, _ size: Int, to charge: UInt32) {
        if sample.pointee[at][size].isIn { add(Int(charge) - Int(sample.pointee[at].charge), sample.pointee.keys[at].isHot, size) }
        if size == Self.count - 1 { sample.pointee[at].charge = charge }
    }

    /// A size had it not, or not fresh any more: it has it now.
    private func fill(_ at: Int, _ size: Int, _ use: Int, _ weight: Float, _ ttl: UInt32, _ tick: UInt32) {
        if sample.pointee.keys[at].isHot {
            if !sample.pointee[at].isNew { sums[use].hotMisses[size] += 1 }
        } else {
            sums[use].tailMisses[size] += UInt64(sample.pointee.period)
        }
        sample.pointee[at].weight = weight
        var held = sample.pointee[at][size]
        held.end = tick > .max - ttl ? .max : tick + ttl
        if !held.isIn {
            held.isIn = true
            add(Int(sample.pointee[at].charge), sample.pointee.keys[at].isHot, size)
            held.frequency = min(15, 1 + held.frequency)
            enqueue(sample.pointee.keys[at].hash, &held, sample.pointee[at].charge, weight, size)
        }
        sample.pointee[at][size] = held
    }

    private func enqueue(_ hash: UInt64, _ held: inout Held, _ charge: UInt32, _ weight: Float, _ size: Int) {
        let rank = Eviction.rank(frequency: held.frequency, weight: weight, size: Int(charge))
        held.stamp = copies[size].level + 1 << UInt64(rank)
        held.hits = 0
        copies[size].queues[rank].append((hash, held.stamp))
        copies[size].occupied |= 1 << UInt64(rank)
    }

    private func makeRoom(_ size: Int) {
        let limit = Int(Double(limitBytes) * Self.sizes[size])
        while used(size) > limit, let rank = least(size) {
            let (hash, stamp) = copies[size].queues[rank][copies[size].starts[rank]]
            pop(rank, size)
            guard let at = sample.pointee.find(hash), sample.pointee[at][size].isIn, sample.pointee[at][size].stamp == stamp
            else { continue }
            copies[size].level = max(copies[size].level, stamp)
            var held = sample.pointee[at][size]
            held.frequency = min(15, held.frequency + held.hits)
            if held.hits > 0 {
                enqueue(hash, &held, sample.pointee[at].charge, sample.pointee[at].weight, size)
            } else {
                held.isIn = false
                add(-Int(sample.pointee[at].charge), sample.pointee.keys[at].isHot, size)
            }
            sample.pointee[at][size] = held
        }
    }

    /// The class whose head has the smallest stamp.
    private func least(_ size: Int) -> Int? {
        var best: (rank: Int, stamp: UInt64)?
        var occupied = copies[size].occupied
        while occupied != 0 {
            let rank = occupied.trailingZeroBitCount
            occupied &= occupied - 1
            let stamp = copies[size].queues[rank][copies[size].starts[rank]].stamp
            if stamp < best?.stamp ?? .max { best = (rank, stamp) }
        }
        return best?.rank
    }

    private func pop(_ rank: Int, _ size: Int) {
        copies[size].starts[rank] += 1
        if copies[size].starts[rank] == copies[size].queues[rank].count { copies[size].occupied &= ~(1 << UInt64(rank)) }
        guard copies[size].starts[rank] > 64, copies[size].starts[rank] * 2 > copies[size].queues[rank].count else { return }
        copies[size].queues[rank].removeFirst(copies[size].starts[rank])
        copies[size].starts[rank] = 0
    }

    // MARK: Telling

    /// The hit ratio of one use at each of `sizes`; nil: it has not been seen.
    package func hitRatios(use: Int) -> [Double]? {
        guard use < Self.usesMax, sums[use].lookups > 0 else { return nil }
        let sums = sums[use]
        // the tail's lookups are known: only the share of its misses is the sample's
        let tail = sums.tailLookups == 0 ? 0 : Double(sums.lookups - sums.hotLookups) / Double(sums.tailLookups)
        return (0..<Self.count).map {
            max(0, 1 - (Double(sums.hotMisses[$0]) + Double(sums.tailMisses[$0]) * tail) / Double(sums.lookups))
        }
    }

    package var bytes: Int {
        sample.pointee.bytes + (0..<Self.count).reduce(0) { $0 + copies[$1].queues.reduce(0) { $0 + $1.capacity * 16 } }
            + Self.usesMax * MemoryLayout<Sums>.stride
    }
}
