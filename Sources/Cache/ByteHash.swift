/// A seeded 64-bit hash of bytes: 16 bytes at a time are multiplied to 128 bits and folded.
///
/// Serves as the key's hash (seeded by a secret, so that strangers cannot aim at one bucket) and as the checksum of values.
/// Not cryptographic: equal hashes are never taken for equal keys.
package enum ByteHash {
    private static let k0: UInt64 = 0x9E37_79B9_7F4A_7C15
    private static let k1: UInt64 = 0xD1B5_4A32_D192_ED03
    private static let k2: UInt64 = 0x8CB9_2BA7_2F3D_8DD7
    private static let k3: UInt64 = 0xAEF1_7502_108E_F2D9

    @inline(__always) private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// Two times eight words to one.
    static func fold(_ a: SIMD8<UInt64>, _ b: SIMD8<UInt64>) -> UInt64 {
        let first = fold(a[0] ^ k0, b[0] ^ k1) ^ fold(a[1] ^ k1, b[1] ^ k2) ^ fold(a[2] ^ k2, b[2] ^ k3) ^ fold(a[3] ^ k3, b[3] ^ k0)
        let second = fold(a[4] ^ k1, b[4] ^ k0) ^ fold(a[5] ^ k2, b[5] ^ k1) ^ fold(a[6] ^ k3, b[6] ^ k2) ^ fold(a[7] ^ k0, b[7] ^ k3)
        return fold(first ^ k0, second ^ k1)
    }

    @inline(__always) private static func word(_ bytes: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }

    package static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        let count = bytes.count
        guard let base = bytes.baseAddress, count > 0 else { return fold(seed ^ k1, k2) }
        var state = seed ^ k0
        let first: UInt64
        let last: UInt64
        if count >= 16 {
            if count > 16 { state = body(base, count, state) }
            first = word(base, count - 16)
            last = word(base, count - 8)
        } else if count >= 8 {
            first = word(base, 0)
            last = word(base, count - 8)
        } else if count >= 4 {
            first = UInt64(base.loadUnaligned(as: UInt32.self))
            last = UInt64(base.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        } else {
            first = UInt64(bytes[0]) << 16 | UInt64(bytes[count >> 1]) << 8 | UInt64(bytes[count - 1])
            last = 0
        }
        return fold(k1 ^ state ^ UInt64(count), fold(first ^ k2 ^ seed, last ^ state))
    }

    /// All but the last 16 bytes: four lanes of 16, so that the multiplications overlap, then the rest in one lane.
    private static func body(_ base: UnsafeRawPointer, _ count: Int, _ seed: UInt64) -> UInt64 {
        var at = 0
        var a = seed
        let end = count - 16
        if end >= 64 {
            var b = seed
            var c = seed
            var d = seed
            repeat {
                a = fold(word(base, at) ^ k0, word(base, at + 8) ^ a)
                b = fold(word(base, at + 16) ^ k1, word(base, at + 24) ^ b)
                c = fold(word(base, at + 32) ^ k2, word(base, at + 40) ^ c)
                d = fold(word(base, at + 48) ^ k3, word(base, at + 56) ^ d)
                at += 64
            } while at + 64 <= end
            a ^= fold(b ^ k0, c ^ k1) ^ d
        }
        while at < end {
            a = fold(word(base, at) ^ k3, word(base, at + 8) ^ a)
            at += 16
        }
        return a
    }
}
