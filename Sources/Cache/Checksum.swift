/// The checksum of stored values, made to be verified at each hit: eight lanes of 64-bit words, each with a sum and a sum of sums (Fletcher
/// 1982, with words of 64 bits), folded to one word at the end. Short values are hashed.
///
/// A change within one 8-byte word changes the sums for certain, another change nearly so: two equal changes to the uppermost bits of two
/// words of one lane can cancel out. Twice as fast as `ByteHash`: 19 against 40 ns for 1 KiB.
package enum Checksum {
    package static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        guard bytes.count >= 256, let base = bytes.baseAddress else { return ByteHash.hash(bytes, seed: seed) }
        let end = bytes.count - 64
        var sum = SIMD8<UInt64>(repeating: seed)
        var sums = SIMD8<UInt64>(repeating: UInt64(bytes.count))
        var at = 0
        while at < end {
            sum &+= base.loadUnaligned(fromByteOffset: at, as: SIMD8<UInt64>.self)
            sums &+= sum
            at += 64
        }
        // the last 64 bytes, some of them for the second time
        sum &+= base.loadUnaligned(fromByteOffset: end, as: SIMD8<UInt64>.self)
        sums &+= sum
        return ByteHash.fold(sum, sums)
    }
}
