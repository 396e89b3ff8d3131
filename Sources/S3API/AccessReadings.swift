internal import IAM
internal import Objects
internal import Synchronization

/// What the documents of buckets say of access: read once for as long as they stay what they are, not once a request.
///
/// Thread rule: any thread.
final class AccessReadings: Sendable {
    /// As they are kept; nil: the bucket has none.
    struct Documents: Equatable, Sendable {
        let policy: [UInt8]?
        let acl: [UInt8]?
        let block: [UInt8]?
        let owner: String
    }

    struct Reading: Sendable {
        let policy: Policy?
        let acl: ACL
        let block: PublicAccessBlock
    }

    private static let bucketsMax = 256
    private let all = Mutex<[String: (documents: Documents, reading: Reading)]>([:])

    /// The reading of these documents; `read` makes it if they are new.
    func get(_ bucket: BucketName, _ documents: Documents, _ read: (Documents) -> Reading) -> Reading {
        if let known = all.withLock({ $0[bucket.text] }), known.documents == documents { return known.reading }
        let reading = read(documents)
        all.withLock { all in
            if all.count >= Self.bucketsMax { all.removeAll() }
            all[bucket.text] = (documents, reading)
        }
        return reading
    }
}
