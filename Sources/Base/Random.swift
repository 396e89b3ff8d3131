/// A seeded generator (xoshiro256**, Blackman and Vigna 2018): the same seed gives the same run.
///
/// For request ids, jitter and tests; never for secrets.
package struct Random: RandomNumberGenerator, Sendable {
    private var a: UInt64, b: UInt64, c: UInt64, d: UInt64

    /// Seeds the four words with splitmix64, as the authors advise.
    package init(seed: UInt64) {
        var state = seed
        func splitmix() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        a = splitmix()
        b = splitmix()
        c = splitmix()
        d = splitmix()
    }

    package mutating func next() -> UInt64 {
        let scrambled = b &* 5
        let result = ((scrambled << 7) | (scrambled >> 57)) &* 9
        let shifted = b << 17
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = (d << 45) | (d >> 19)
        return result
    }
}
