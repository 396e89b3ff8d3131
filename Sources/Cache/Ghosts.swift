/// How often evicted keys had been asked for: a memory of 16 bits a key (12 of its hash, 4 of frequency), four to a word.
///
/// At most twice as many keys as there are residents (at least 1,000) are remembered; then all frequencies are halved and the zeros
/// forgotten (reference C3). Two keys that share a word and 12 bits share a frequency: that costs a little accuracy, never an answer.
/// It is kept in 64 segments that grow and are halved one by one, so that no call takes long.
///
/// Thread rule: whoever holds it.
struct Ghosts: ~Copyable {
    private struct Segment {
        var words: UnsafeMutablePointer<UInt64>
        /// Words, a power of two.
        var size: Int
        var count = 0
    }

    private static let segmentCount = 64
    private let segments: UnsafeMutablePointer<Segment>

    init() {
        segments = .allocate(capacity: Self.segmentCount)
        for at in 0..<Self.segmentCount { (segments + at).initialize(to: Segment(words: Self.words(8), size: 8)) }
    }

    deinit {
        for at in 0..<Self.segmentCount { segments[at].words.deallocate() }
        segments.deallocate()
    }

    private static func words(_ count: Int) -> UnsafeMutablePointer<UInt64> {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: count)
        words.initialize(repeating: 0, count: count)
        return words
    }

    private static func fingerprint(_ hash: UInt64) -> UInt64 { hash >> 52 }
    private static func segment(_ hash: UInt64) -> Int { Int(hash >> 46) & (segmentCount - 1) }

    var count: Int { (0..<Self.segmentCount).reduce(0) { $0 + segments[$1].count } }
    var bytes: Int { (0..<Self.segmentCount).reduce(0) { $0 + segments[$1].size * 8 } }

    func frequency(of hash: UInt64) -> UInt8 {
        let segment = segments[Self.segment(hash)]
        let word = segment.words[Int(hash & UInt64(segment.size - 1))]
        for cell in 0..<4 as Range<UInt64> {
            let bits = word >> (cell * 16) & 0xFFFF
            if bits >> 4 == Self.fingerprint(hash), bits & 15 != 0 { return UInt8(bits & 15) }
        }
        return 0
    }

    /// Remembers a key that has left while `residents` stay.
    mutating func remember(_ hash: UInt64, frequency: UInt8, residents: Int) {
        guard frequency > 0 else { return }
        let segment = segments + Self.segment(hash)
        let most = 2 * max(1000, residents) / Self.segmentCount
        if segment.pointee.size * 4 < most * 3 / 2 { grow(segment) }
        let word = segment.pointee.words + Int(hash & UInt64(segment.pointee.size - 1))
        let cell = place(of: Self.fingerprint(hash), in: word.pointee)
        if word.pointee >> (cell * 16) & 15 == 0 { segment.pointee.count += 1 }
        word.pointee &= ~(0xFFFF << (cell * 16))
        word.pointee |= (Self.fingerprint(hash) << 4 | UInt64(min(frequency, 15))) << (cell * 16)
        if segment.pointee.count > most { halve(segment) }
    }

    /// The key's own cell, else a free one, else the least frequent.
    private func place(of fingerprint: UInt64, in word: UInt64) -> UInt64 {
        var least: (cell: UInt64, frequency: UInt64) = (0, 16)
        for cell in 0..<4 as Range<UInt64> {
            let bits = word >> (cell * 16) & 0xFFFF
            if bits & 15 != 0, bits >> 4 == fingerprint { return cell }
            if bits & 15 < least.frequency { least = (cell, bits & 15) }
        }
        return least.cell
    }

    /// Each word is copied to both of its successors; the half that is wrong is never asked for and ages away.
    private mutating func grow(_ segment: UnsafeMutablePointer<Segment>) {
        let old = segment.pointee
        segment.pointee.words = Self.words(old.size * 2)
        segment.pointee.words.update(from: old.words, count: old.size)
        (segment.pointee.words + old.size).update(from: old.words, count: old.size)
        segment.pointee.size *= 2
        segment.pointee.count *= 2
        old.words.deallocate()
    }

    /// All four cells of a word at once; a cell whose frequency falls to zero is cleared.
    private mutating func halve(_ segment: UnsafeMutablePointer<Segment>) {
        let words = segment.pointee.words
        segment.pointee.count = 0
        for at in 0..<segment.pointee.size where words[at] != 0 {
            let halves = words[at] >> 1 & 0x0007_0007_0007_0007
            let alive = (halves &+ 0x0007_0007_0007_0007) >> 3 & 0x0001_0001_0001_0001
            words[at] = (words[at] & 0xFFF0_FFF0_FFF0_FFF0 | halves) & (alive &* 0xFFFF)
            segment.pointee.count += alive.nonzeroBitCount
        }
    }
}
