internal import COpenSSL

/// A digest of bytes that come in pieces.
///
/// Thread rule: one thread at a time.
package final class DigestStream: @unchecked Sendable {
    package enum Algorithm: Sendable {
        case md5, sha1, sha256
    }

    private let context: OpaquePointer
    private let byteCount: Int

    package init(_ algorithm: Algorithm) {
        guard let made = EVP_MD_CTX_new() else { preconditionFailure("OpenSSL has no memory") }
        context = made
        let type: OpaquePointer?
        switch algorithm {
        case .md5: (type, byteCount) = (EVP_md5(), 16)
        case .sha1: (type, byteCount) = (EVP_sha1(), 20)
        case .sha256: (type, byteCount) = (EVP_sha256(), 32)
        }
        precondition(EVP_DigestInit_ex(context, type, nil) == 1, "OpenSSL cannot hash")
    }

    deinit { EVP_MD_CTX_free(context) }

    package func update(_ bytes: UnsafeRawBufferPointer) {
        precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "OpenSSL cannot hash")
    }

    /// Ends it: no update may follow.
    package func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: byteCount) { out, length in
            precondition(EVP_DigestFinal_ex(context, out.baseAddress, nil) == 1, "OpenSSL cannot hash")
            length = byteCount
        }
    }
}
