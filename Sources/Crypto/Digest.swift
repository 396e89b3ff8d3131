internal import COpenSSL

/// Digests over OpenSSL, whose code uses the processor's own instructions for them.
package enum Digest {
    /// Looked up once: a look-up costs more than hashing a small message, and what OpenSSL 3 does not fetch it looks up at each use.
    nonisolated(unsafe) static let sha256Algorithm = EVP_MD_fetch(nil, "SHA256", nil)
    nonisolated(unsafe) private static let sha1Algorithm = EVP_sha1()
    nonisolated(unsafe) private static let md5Algorithm = EVP_md5()

    package static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] { hash(bytes, sha256Algorithm, 32) }
    package static func sha1(_ bytes: UnsafeRawBufferPointer) -> [UInt8] { hash(bytes, sha1Algorithm, 20) }
    package static func md5(_ bytes: UnsafeRawBufferPointer) -> [UInt8] { hash(bytes, md5Algorithm, 16) }

    package static func sha256(_ text: String) -> [UInt8] {
        var text = text
        return text.withUTF8 { sha256(UnsafeRawBufferPointer($0)) }
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer, _ algorithm: OpaquePointer?, _ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { out, length in
            let status = EVP_Digest(bytes.baseAddress, bytes.count, out.baseAddress, nil, algorithm, nil)
            precondition(status == 1, "OpenSSL cannot hash")
            length = count
        }
    }
}

/// HMAC-SHA-256 (RFC 2104).
package func hmacSHA256(key: [UInt8], _ message: UnsafeRawBufferPointer) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 32) { out, length in
        var count: UInt32 = 0
        let result = HMAC(
            EVP_sha256(), key, Int32(key.count), message.baseAddress?.assumingMemoryBound(to: UInt8.self),
            message.count, out.baseAddress, &count)
        precondition(result != nil, "OpenSSL cannot compute an HMAC")
        length = 32
    }
}

package func hmacSHA256(key: [UInt8], _ message: String) -> [UInt8] {
    var message = message
    return message.withUTF8 { hmacSHA256(key: key, UnsafeRawBufferPointer($0)) }
}

/// HMAC-SHA-1, for signatures of old that still verify; not for anything new.
package func hmacSHA1(key: [UInt8], _ message: String) -> [UInt8] {
    var message = message
    return message.withUTF8 { bytes in
        [UInt8](unsafeUninitializedCapacity: 20) { out, length in
            var count: UInt32 = 0
            let result = HMAC(EVP_sha1(), key, Int32(key.count), bytes.baseAddress, bytes.count, out.baseAddress, &count)
            precondition(result != nil, "OpenSSL cannot compute an HMAC")
            length = 20
        }
    }
}

/// Compares in a time that does not depend on where the first difference is.
package func equalsInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
}

/// Bytes from the operating system's generator by way of OpenSSL's.
package func randomBytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { out, length in
        precondition(RAND_bytes(out.baseAddress, Int32(count)) == 1, "OpenSSL has no random bytes")
        length = count
    }
}

/// Lower-case hexadecimal digits.
package func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 2)
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
