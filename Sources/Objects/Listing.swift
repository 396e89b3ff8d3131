/// Which keys a page may hold, and where it begins.
package struct ListRequest: Sendable {
    package static let keysMax = 1000
    package var bucket: BucketName
    package var prefix: [UInt8]
    /// Keys that hold it after the prefix are shown as one common prefix; empty: none.
    package var delimiter: [UInt8]
    /// The page begins after this key (or common prefix): `marker`, `start-after`, or `ListPage.next` of the page before.
    package var after: [UInt8]
    /// 0 gives an empty page that is not truncated; more than 1,000 count as 1,000. Common prefixes count too.
    package var keysMax: Int

    package init(bucket: BucketName, prefix: [UInt8] = [], delimiter: [UInt8] = [], after: [UInt8] = [], keysMax: Int = Self.keysMax) {
        self.bucket = bucket
        self.prefix = prefix
        self.delimiter = delimiter
        self.after = after
        self.keysMax = keysMax
    }
}

/// What a listing shows of an object.
package struct ListedObject: Sendable {
    package let key: ObjectKey
    package let size: Int64
    package let etag: ETag
    package let modified: Int64
    package let storageClass: StorageClass
    package let checksum: (algorithm: ChecksumAlgorithm, type: ChecksumType)?
}

/// One page, in the order of bytes.
package struct ListPage: Sendable {
    package var objects: [ListedObject] = []
    package var prefixes: [[UInt8]] = []
    /// The last key or common prefix of a truncated page: `after` of the next; nil at the end.
    package var next: [UInt8]?
}

/// Versions and delete markers, in the order of keys and newest first.
package struct VersionsRequest: Sendable {
    package var bucket: BucketName
    package var prefix: [UInt8]
    package var delimiter: [UInt8]
    package var afterKey: [UInt8]
    /// With `afterKey`: begin after this version of it; nil: after all its versions.
    package var afterVersion: VersionID?
    package var keysMax: Int

    package init(
        bucket: BucketName, prefix: [UInt8] = [], delimiter: [UInt8] = [], afterKey: [UInt8] = [], afterVersion: VersionID? = nil,
        keysMax: Int = ListRequest.keysMax
    ) {
        self.bucket = bucket
        self.prefix = prefix
        self.delimiter = delimiter
        self.afterKey = afterKey
        self.afterVersion = afterVersion
        self.keysMax = keysMax
    }
}

package struct ListedVersion: Sendable {
    package let object: ListedObject
    package let id: VersionID
    package let isLatest: Bool
    package let isDeleteMarker: Bool
}

package struct VersionsPage: Sendable {
    package var versions: [ListedVersion] = []
    package var prefixes: [[UInt8]] = []
    /// `next-key-marker` and `next-version-id-marker`; without a version after a common prefix.
    package var next: (key: [UInt8], version: VersionID?)?
}

/// Uploads under way, in the order of keys, then of their creation.
package struct UploadsRequest: Sendable {
    package var bucket: BucketName
    package var prefix: [UInt8]
    package var delimiter: [UInt8]
    package var afterKey: [UInt8]
    /// With `afterKey`: begin after this upload of it; nil: after all its uploads.
    package var afterUpload: UploadID?
    package var uploadsMax: Int

    package init(
        bucket: BucketName, prefix: [UInt8] = [], delimiter: [UInt8] = [], afterKey: [UInt8] = [], afterUpload: UploadID? = nil,
        uploadsMax: Int = ListRequest.keysMax
    ) {
        self.bucket = bucket
        self.prefix = prefix
        self.delimiter = delimiter
        self.afterKey = afterKey
        self.afterUpload = afterUpload
        self.uploadsMax = uploadsMax
    }
}

package struct UploadsPage: Sendable {
    package var uploads: [Upload] = []
    package var prefixes: [[UInt8]] = []
    package var next: (key: [UInt8], upload: UploadID?)?
}

/// Parts of an upload or of an object, ascending.
package struct PartsPage: Sendable {
    package var parts: [Part] = []
    /// `next-part-number-marker`; nil at the end.
    package var next: Int?
    /// All parts of the object or upload, not only this page's.
    package var total = 0
}
