/// Keys that are followed for advice, chosen so that they stand for all of them (reference C5).
///
///     seen ─┬─ tracked already
///           ├─ of the sample: tracked from now on          hot keys: all of them, each counts once
///           └─ neither: may become hot                     the tail: one key of `period`, each counts `period` times
///
/// Hot keys are followed exactly, because whether one of them falls into a sample or not is what makes samples err. While there is room
/// every key is tracked; when there is none, the 512 most asked for become hot, and of the others every second one goes. Later a hot key
/// that has cooled gives its place to one that is asked for more.
///
/// Invariants:
///  1. A key of the tail is tracked exactly if its hash is of the sample.
///  2. At most `keysMax` are tracked.
///
/// Thread rule: whoever holds it.
struct KeySample<Track> {
    struct Key {
        let hash: UInt64
        var count: UInt32
        var isHot = false
        var track: Track
    }

    private struct Candidate {
        var hash: UInt64 = 0
        var count: UInt32 = 0
    }

    private static var hotMax: Int { 512 }
    private static var candidatesCount: Int { 4096 }
    /// Every so many it is seen what is hot now.
    private static var round: Int { 1 << 14 }
    private static var promotionsMax: Int { 64 }

    private let keysMax: Int
    private(set) var keys: [Key] = []
    /// Hash to place in `keys`, plus 1; open addressing.
    private var table = [UInt16](repeating: 0, count: 64)
    private var candidates: [Candidate] = []
    /// One of so many keys of the tail is tracked; a power of two.
    private(set) var period: UInt32 = 1
    private var roundLeft = round
    /// Told of keys that are no longer tracked, and of those that change between hot and tail.
    var onLeaving: ((Key) -> Void)?
    var onChange: ((Key) -> Void)?

    init(keysMax: Int) { self.keysMax = keysMax }

    subscript(at: Int) -> Track {
        get { keys[at].track }
        _modify { yield &keys[at].track }
    }

    /// For how many keys this one stands.
    @inline(__always) func weight(_ at: Int) -> UInt32 { keys[at].isHot ? 1 : period }

    enum Seen { case known(Int), new(Int), untracked }

    /// A key is asked for. New ones are tracked as `track` when they are of the sample. Places hold until the next call.
    @inline(__always) mutating func see(_ hash: UInt64, _ track: @autoclosure () -> Track, promoted: () -> Track) -> Seen {
        roundLeft -= 1
        if roundLeft == 0 { endRound(promoted) }
        let at = find(hash)
        if period > 1, at.map({ !keys[$0].isHot }) ?? true { consider(hash) }
        if let at {
            if keys[at].count < .max { keys[at].count += 1 }
            return .known(at)
        }
        guard isOfSample(hash) else { return .untracked }
        insert(Key(hash: hash, count: 1, track: track()))
        while keys.count >= keysMax { thin() }
        return find(hash).map { .new($0) } ?? .untracked
    }

    @inline(__always) private func isOfSample(_ hash: UInt64) -> Bool { Self.isOfSample(hash, period) }
    @inline(__always) private static func isOfSample(_ hash: UInt64, _ period: UInt32) -> Bool { (hash >> 24) & UInt64(period - 1) == 0 }

    /// Half of the tail goes. The first time, the hot keys are found.
    private mutating func thin() {
        if period == 1 {
            for at in keys.indices.sorted(by: { keys[$0].count > keys[$1].count }).prefix(Self.hotMax) { makeHot(at, true) }
            candidates = Array(repeating: Candidate(), count: Self.candidatesCount)
        }
        period *= 2
        let period = period
        remove { !$0.isHot && !Self.isOfSample($0.hash, period) }
    }

    private mutating func makeHot(_ at: Int, _ isHot: Bool) {
        keys[at].isHot = isHot
        onChange?(keys[at])
    }

    private mutating func remove(_ isGone: (Key) -> Bool) {
        if let onLeaving { for key in keys where isGone(key) { onLeaving(key) } }
        keys.removeAll(where: isGone)
        fillTable()
    }

    /// A key of the tail is counted when it is most of what comes to its slot (Boyer and Moore's majority vote).
    @inline(__always) private mutating func consider(_ hash: UInt64) {
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

    private mutating func endRound(_ promoted: () -> Track) {
        roundLeft = Self.round
        if period > 1 { promote(promoted) }
        for at in keys.indices { keys[at].count /= 2 }
        for at in candidates.indices { candidates[at].count /= 2 }
    }

    /// Keys of the tail that are asked for more than the coolest hot ones take their places. Whether a key is of the sample must not matter
    /// here, or those that are would not stand for the others any more.
    private mutating func promote(_ promoted: () -> Track) {
        let hottest = candidates.filter { $0.count > 4 }.sorted { $0.count > $1.count }.prefix(Self.promotionsMax)
        let coolest = keys.indices.filter { keys[$0].isHot }.sorted { keys[$0].count < keys[$1].count }
        var gone: Set<UInt64> = []
        for (candidate, cool) in zip(hottest, coolest) where candidate.count > keys[cool].count + keys[cool].count / 4 {
            candidates[slot(candidate.hash)] = Candidate()
            makeHot(cool, false)
            if !isOfSample(keys[cool].hash) { gone.insert(keys[cool].hash) }
            if let at = find(candidate.hash) {
                makeHot(at, true)
            } else {
                keys.append(Key(hash: candidate.hash, count: candidate.count, isHot: true, track: promoted()))
            }
        }
        remove { gone.contains($0.hash) }
    }

    // MARK: The table

    @inline(__always) func find(_ hash: UInt64) -> Int? {
        let mask = table.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while table[slot] != 0 {
            let at = Int(table[slot]) - 1
            if keys[at].hash == hash { return at }
            slot = (slot + 1) & mask
        }
        return nil
    }

    private mutating func insert(_ key: Key) {
        // the last step of growth is to what may be, not to twice as much as is
        if keys.count == keys.capacity, keys.count >= keysMax / 3 { keys.reserveCapacity(keysMax + Self.promotionsMax) }
        keys.append(key)
        if keys.count * 2 > table.count { fillTable() } else { place(keys.count - 1) }
    }

    private mutating func place(_ at: Int) {
        var slot = Int(truncatingIfNeeded: keys[at].hash) & (table.count - 1)
        while table[slot] != 0 { slot = (slot + 1) & (table.count - 1) }
        table[slot] = UInt16(at + 1)
    }

    private mutating func fillTable() {
        var size = 64
        while size < keys.count * 3 { size *= 2 }
        table = [UInt16](repeating: 0, count: size)
        for at in keys.indices { place(at) }
    }

    var bytes: Int {
        keys.capacity * MemoryLayout<Key>.stride + table.capacity * 2 + candidates.capacity * MemoryLayout<Candidate>.stride
    }
}
