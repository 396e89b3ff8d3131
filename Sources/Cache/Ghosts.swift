/// How often evicted keys had been asked for: a memory of 16 bits a key (12 of its hash, 4 of frequency), four to a word.
///
/// At most twice as many keys as there are residents (at least 1,000) are remembered; then all frequencies are halved and the zeros
/// forgotten (reference C3). Two keys that share a word and 12 bits share a frequency: that costs a little accuracy, never an answer.
///
/// Thread rule: whoever holds it.
struct Ghosts: ~Copyable {
    private var words: UnsafeMutablePointer<UInt64>
    /// Words, a power of two.
    private var size = 256
    private(set) var count = 0

    init() {
        words = .allocate(capacity: size)
        words.initialize(repeating: 0, count: size)
    }

    deinit { words.deallocate() }

    private static func fingerprint(_ hash: UInt64) -> UInt64 { hash >> 52 }

    func frequency(of hash: UInt64) -> UInt8 {
        let word = words[Int(hash & UInt64(size - 1))]
        for cell in 0..<4 as Range<UInt64> {
            let bits = word >> (cell * 16) & 0xFFFF
            if bits >> 4 == Self.fingerprint(hash), bits & 15 != 0 { return UInt8(bits & 15) }
        }
        return 0
    }

    /// Remembers a key that has left while `residents` stay.
    mutating func remember(_ hash: UInt64, frequency: UInt8, residents: Int) {
        guard frequency > 0 else { return }
        let most = 2 * max(1000, residents)
        if size * 4 < most * 3 / 2 { grow() }
        let at = Int(hash & UInt64(size - 1))
        let cell = place(of: Self.fingerprint(hash), in: words[at])
        if words[at] >> (cell * 16) & 15 == 0 { count += 1 }
        words[at] &= ~(0xFFFF << (cell * 16))
        words[at] |= (Self.fingerprint(hash) << 4 | UInt64(min(frequency, 15))) << (cell * 16)
        if count > most { halve() }
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
    private mutating func grow() {
        let bigger = UnsafeMutablePointer<UInt64>.allocate(capacity: size * 2)
        bigger.initialize(from: words, count: size)
        (bigger + size).initialize(from: words, count: size)
        words.deallocate()
        words = bigger
        size *= 2
        count *= 2
    }

    private mutating func halve() {
        count = 0
        for at in 0..<size where words[at] != 0 {
            for cell in 0..<4 as Range<UInt64> {
                let bits = words[at] >> (cell * 16) & 0xFFFF
                let half = (bits & 15) >> 1
                words[at] &= ~(0xFFFF << (cell * 16))
                guard half > 0 else { continue }
                words[at] |= (bits & 0xFFF0 | half) << (cell * 16)
                count += 1
            }
        }
    }

    var bytes: Int { size * 8 }
}
