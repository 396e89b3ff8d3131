/// What a body must turn out to be, and which digests are computed of it.
package struct BodyChecks: Hashable, Sendable {
    /// Bytes; nil when it is not declared (a chunked body).
    package var size: Int64?
    /// `Content-MD5`, 16 bytes.
    package var md5: [UInt8]?
    /// The payload's SHA-256 that the signature covers, 32 bytes.
    package var sha256: [UInt8]?
    /// What to compute and store; CRC64NVME when nil, as S3 does.
    package var checksum: ChecksumAlgorithm?
    /// Its value where it came before the body; a trailer's is given to `finish`.
    package var checksumValue: [UInt8]?

    package init(
        size: Int64? = nil, md5: [UInt8]? = nil, sha256: [UInt8]? = nil, checksum: ChecksumAlgorithm? = nil,
        checksumValue: [UInt8]? = nil
    ) {
        self.size = size
        self.md5 = md5
        self.sha256 = sha256
        self.checksum = checksum
        self.checksumValue = checksumValue
    }
}

package struct PutRequest: Sendable {
    package var bucket: BucketName
    package var key: ObjectKey
    package var metadata: Metadata
    package var tags: [Field]
    package var storageClass: StorageClass
    package var lock: ObjectLock
    package var body: BodyChecks
    package var conditions: WriteConditions
    /// A put or a form's post, for those who are told of it.
    package var kind = ObjectEventKind.put
    package var requester = Requester.node

    package init(
        bucket: BucketName, key: ObjectKey, metadata: Metadata = Metadata(), tags: [Field] = [], storageClass: StorageClass = .standard,
        lock: ObjectLock = ObjectLock(), body: BodyChecks = BodyChecks(), conditions: WriteConditions = .none
    ) {
        self.bucket = bucket
        self.key = key
        self.metadata = metadata
        self.tags = tags
        self.storageClass = storageClass
        self.lock = lock
        self.body = body
        self.conditions = conditions
    }
}

/// Answer to a put, a copy or a completed upload.
package struct PutResult: Sendable {
    package let etag: ETag
    /// nil in a bucket whose versioning was never enabled.
    package let version: VersionID?
    package let size: Int64
    package let modified: Int64
    package let checksum: Checksum?
    package let expiry: (time: Int64, rule: String)?
}

/// `bytes=` of a Range field: the door has parsed it, the store resolves it against the size.
package enum RangeRequest: Hashable, Sendable {
    /// `a-` or `a-b` (both included).
    case from(Int64, through: Int64?)
    /// `-n`
    case suffix(Int64)

    /// nil: unsatisfiable.
    func resolve(size: Int64) -> Range<Int64>? {
        switch self {
        case .from(let first, let last):
            guard first < size, last.map({ $0 >= first }) ?? true else { return nil }
            return first..<min(last ?? size - 1, size - 1) + 1
        case .suffix(let count):
            guard count > 0, size > 0 else { return nil }
            return max(0, size - count)..<size
        }
    }
}

/// Which object, which version, which bytes.
package struct GetRequest: Sendable {
    package var bucket: BucketName
    package var key: ObjectKey
    /// nil: the newest.
    package var version: VersionID?
    package var range: RangeRequest?
    /// Of an object uploaded in parts; not with a range.
    package var partNumber: Int?
    package var conditions: ReadConditions

    package init(
        bucket: BucketName, key: ObjectKey, version: VersionID? = nil, range: RangeRequest? = nil, partNumber: Int? = nil,
        conditions: ReadConditions = .none
    ) {
        self.bucket = bucket
        self.key = key
        self.version = version
        self.range = range
        self.partNumber = partNumber
        self.conditions = conditions
    }
}

/// Answer to a head, and what a reader carries.
package struct Head: Sendable {
    package let version: ObjectVersion
    /// The bytes that the request asks for; the whole body without a range or part number.
    package let range: Range<Int64>
    /// The answer is 206 with `Content-Range`.
    package let isPartial: Bool
    /// `x-amz-mp-parts-count`: for reads of one part.
    package let partsCount: Int?
    /// In a bucket whose versioning was never enabled nothing is said about versions.
    package let showsVersion: Bool
}

package struct DeleteRequest: Sendable {
    package var key: ObjectKey
    /// nil: the newest, which in a versioned bucket gets a delete marker on top.
    package var version: VersionID?
    package var conditions: WriteConditions
    package var requester = Requester.node

    package init(key: ObjectKey, version: VersionID? = nil, conditions: WriteConditions = .none) {
        self.key = key
        self.version = version
        self.conditions = conditions
    }
}

/// What a delete did; a key or version that was not there is no error.
package struct DeleteResult: Sendable {
    /// A marker was made, or the version deleted was one.
    package let isDeleteMarker: Bool
    /// The marker made, or the version deleted.
    package let version: VersionID?
}

/// The source of a server-side copy.
package struct CopySource: Sendable {
    package var bucket: BucketName
    package var key: ObjectKey
    package var version: VersionID?
    package var conditions: ReadConditions
    /// Of UploadPartCopy: first and last byte, both included.
    package var range: ClosedRange<Int64>?

    package init(
        bucket: BucketName, key: ObjectKey, version: VersionID? = nil, conditions: ReadConditions = .none,
        range: ClosedRange<Int64>? = nil
    ) {
        self.bucket = bucket
        self.key = key
        self.version = version
        self.conditions = conditions
        self.range = range
    }
}

/// A copy: what is nil is taken from the source.
package struct CopyRequest: Sendable {
    package var source: CopySource
    package var bucket: BucketName
    package var key: ObjectKey
    /// nil: copy the source's (`x-amz-metadata-directive: COPY`). A copy onto itself must change something: the door checks.
    package var metadata: Metadata?
    package var tags: [Field]?
    package var storageClass: StorageClass
    package var lock: ObjectLock
    /// nil: keep the source's checksum.
    package var checksum: ChecksumAlgorithm?
    package var conditions: WriteConditions
    package var requester = Requester.node

    package init(
        source: CopySource, bucket: BucketName, key: ObjectKey, metadata: Metadata? = nil, tags: [Field]? = nil,
        storageClass: StorageClass = .standard, lock: ObjectLock = ObjectLock(), checksum: ChecksumAlgorithm? = nil,
        conditions: WriteConditions = .none
    ) {
        self.source = source
        self.bucket = bucket
        self.key = key
        self.metadata = metadata
        self.tags = tags
        self.storageClass = storageClass
        self.lock = lock
        self.checksum = checksum
        self.conditions = conditions
    }
}

package struct CopyResult: Sendable {
    package let result: PutResult
    /// The version copied; nil in a bucket whose versioning was never enabled.
    package let sourceVersion: VersionID?
}

package struct UploadRequest: Sendable {
    package var bucket: BucketName
    package var key: ObjectKey
    package var metadata: Metadata
    package var tags: [Field]
    package var storageClass: StorageClass
    package var lock: ObjectLock
    /// nil: CRC64NVME over the whole object is computed and stored.
    package var checksum: ChecksumPlan?

    package init(
        bucket: BucketName, key: ObjectKey, metadata: Metadata = Metadata(), tags: [Field] = [], storageClass: StorageClass = .standard,
        lock: ObjectLock = ObjectLock(), checksum: ChecksumPlan? = nil
    ) {
        self.bucket = bucket
        self.key = key
        self.metadata = metadata
        self.tags = tags
        self.storageClass = storageClass
        self.lock = lock
        self.checksum = checksum
    }
}

/// Which upload; the key must be the one it was created with.
package struct UploadName: Hashable, Sendable {
    package var bucket: BucketName
    package var key: ObjectKey
    package var id: UploadID

    package init(bucket: BucketName, key: ObjectKey, id: UploadID) {
        self.bucket = bucket
        self.key = key
        self.id = id
    }
}

package struct CompletedPart: Hashable, Sendable {
    package var number: Int
    package var etag: ETag
    package var checksum: [UInt8]?

    package init(number: Int, etag: ETag, checksum: [UInt8]? = nil) {
        self.number = number
        self.etag = etag
        self.checksum = checksum
    }
}

package struct CompleteRequest: Sendable {
    package var upload: UploadName
    /// As listed by the client, in its order.
    package var parts: [CompletedPart]
    /// `x-amz-mp-object-size`
    package var size: Int64?
    package var checksumType: ChecksumType?
    /// The whole object's value, where the client knows it.
    package var checksum: Checksum?
    package var conditions: WriteConditions
    package var requester = Requester.node

    package init(
        upload: UploadName, parts: [CompletedPart], size: Int64? = nil, checksumType: ChecksumType? = nil, checksum: Checksum? = nil,
        conditions: WriteConditions = .none
    ) {
        self.upload = upload
        self.parts = parts
        self.size = size
        self.checksumType = checksumType
        self.checksum = checksum
        self.conditions = conditions
    }
}
