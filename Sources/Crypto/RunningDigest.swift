internal import COpenSSL

/// A digest of bytes that come piece by piece.
///
/// Thread rule: one thread at a time.
package final class RunningDigest {
    package enum Algorithm: Sendable { case md5, sha1, sha256 }

    private let context: OpaquePointer
    private let algorithm: Algorithm

    package init(_ algorithm: Algorithm) {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("OpenSSL has no memory for a digest") }
        self.context = context
        self.algorithm = algorithm
        begin()
    }

    deinit { EVP_MD_CTX_free(context) }

    private func begin() {
        let method =
            switch algorithm {
            case .md5: EVP_md5()
            case .sha1: EVP_sha1()
            case .sha256: Digest.sha256Algorithm
            }
        precondition(EVP_DigestInit_ex(context, method, nil) == 1, "OpenSSL cannot begin a digest")
    }

    package func add(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        precondition(EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1, "OpenSSL cannot hash")
    }

    /// The digest of what was added, and begins anew.
    package func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { out, length in
            guard let base = out.baseAddress else { return }
            length = finish(into: base)
        }
    }

    /// The same into the caller's 32 bytes, without an allocation; how many there are.
    @discardableResult
    package func finish(into out: UnsafeMutablePointer<UInt8>) -> Int {
        var count: UInt32 = 0
        precondition(EVP_DigestFinal_ex(context, out, &count) == 1, "OpenSSL cannot end a digest")
        begin()
        return Int(count)
    }
}
