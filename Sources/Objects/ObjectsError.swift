/// Why the store refused. Each case is one error code of S3; `code` is that code.
package enum ObjectsError: Error, Equatable, CustomStringConvertible {
    case invalidBucketName(String)
    case bucketAlreadyExists(owner: String)
    case bucketNotEmpty
    case noSuchBucket(String)
    /// No such document of the bucket: the door knows which code its kind has (NoSuchCORSConfiguration …).
    case noSuchConfiguration(BucketDocument)
    case invalidKey
    case keyTooLong(Int)
    /// `deleteMarker`: the newest version is this marker (`x-amz-delete-marker: true`, `x-amz-version-id`).
    case noSuchKey(deleteMarker: VersionID?)
    case noSuchVersion
    case invalidVersionID(String)
    /// The version asked for is a delete marker: 405.
    case methodNotAllowed(deleteMarker: VersionID, modified: Int64)
    case metadataTooLarge
    case noSuchUpload
    case invalidPartNumber
    /// A part named in Complete is missing or has another ETag or checksum.
    case invalidPart(number: Int)
    case invalidPartOrder
    /// `partNumber=` of a read is beyond the object's parts: 416.
    case noSuchPart
    case entityTooSmall(number: Int, bytes: Int64)
    case entityTooLarge
    /// The sent checksum or Content-MD5 is not that of the body.
    case badDigest(String)
    /// `x-amz-content-sha256` is not the body's.
    case contentSHA256Mismatch
    /// The body is shorter or longer than declared.
    case incompleteBody
    /// 304; carries what the answer's fields need.
    case notModified(etag: ETag, modified: Int64)
    case preconditionFailed(String)
    case invalidRange(size: Int64)
    case invalidRequest(String)
    case invalidArgument(String)
    /// An archived object, not restored.
    case invalidObjectState
    /// Held by retention or legal hold.
    case accessDenied(String)
    /// The disk is full, or the store's own bound is reached: 507 in spirit, 503 on the wire.
    case insufficientStorage
    /// Too much at once; to be asked again.
    case slowDown
    /// A file is damaged; the sentence names it. 500.
    case damaged(String)
    /// The database failed; the sentence says how. 500.
    case storage(String)
    /// The writer was aborted, or the store closed.
    case aborted

    /// S3's code (API reference, Error responses).
    package var code: String {
        switch self {
        case .invalidBucketName: "InvalidBucketName"
        case .bucketAlreadyExists: "BucketAlreadyExists"
        case .bucketNotEmpty: "BucketNotEmpty"
        case .noSuchBucket: "NoSuchBucket"
        case .noSuchConfiguration(let kind): kind.missingCode
        case .invalidKey, .invalidArgument, .invalidVersionID, .invalidPartNumber: "InvalidArgument"
        case .keyTooLong: "KeyTooLongError"
        case .noSuchKey: "NoSuchKey"
        case .noSuchVersion: "NoSuchVersion"
        case .methodNotAllowed: "MethodNotAllowed"
        case .metadataTooLarge: "MetadataTooLarge"
        case .noSuchUpload: "NoSuchUpload"
        case .invalidPart: "InvalidPart"
        case .invalidPartOrder: "InvalidPartOrder"
        case .noSuchPart: "InvalidPartNumber"
        case .entityTooSmall: "EntityTooSmall"
        case .entityTooLarge: "EntityTooLarge"
        case .badDigest: "BadDigest"
        case .contentSHA256Mismatch: "XAmzContentSHA256Mismatch"
        case .incompleteBody: "IncompleteBody"
        case .notModified: "NotModified"
        case .preconditionFailed: "PreconditionFailed"
        case .invalidRange: "InvalidRange"
        case .invalidRequest: "InvalidRequest"
        case .invalidObjectState: "InvalidObjectState"
        case .accessDenied: "AccessDenied"
        case .insufficientStorage: "InsufficientStorage"
        case .slowDown: "SlowDown"
        case .damaged, .storage: "InternalError"
        case .aborted: "RequestTimeout"
        }
    }

    package var description: String {
        switch self {
        case .invalidBucketName(let name): "\(name) is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens"
        case .bucketAlreadyExists: "a bucket of this name exists"
        case .bucketNotEmpty: "the bucket you tried to delete is not empty"
        case .noSuchBucket(let name): "there is no bucket \(name)"
        case .noSuchConfiguration(let kind): "the bucket has no \(kind.rawValue) configuration"
        case .invalidKey: "a key is 1 to 1,024 bytes of UTF-8"
        case .keyTooLong(let bytes): "the key has \(bytes) bytes; at most 1,024"
        case .noSuchKey: "the specified key does not exist"
        case .noSuchVersion: "the specified version does not exist"
        case .invalidVersionID(let id): "\(id) is no version id"
        case .methodNotAllowed: "the version is a delete marker: it can only be deleted"
        case .metadataTooLarge: "user metadata has more than 2 KiB"
        case .noSuchUpload: "the upload does not exist: it may have been completed or aborted"
        case .invalidPartNumber: "part numbers are 1 to 10,000"
        case .invalidPart(let number): "part \(number) was not uploaded, or has another ETag or checksum"
        case .invalidPartOrder: "parts must be listed in ascending order"
        case .noSuchPart: "the object has fewer parts"
        case .entityTooSmall(let number, let bytes): "part \(number) has \(bytes) bytes; at least 5 MiB, except for the last"
        case .entityTooLarge: "the body is larger than the largest that is allowed"
        case .badDigest(let what): "the \(what) you sent is not that of the body"
        case .contentSHA256Mismatch: "x-amz-content-sha256 is not that of the body"
        case .incompleteBody: "the body has not the number of bytes that was declared"
        case .notModified: "not modified"
        case .preconditionFailed(let condition): "\(condition) does not hold"
        case .invalidRange(let size): "the range lies outside of the object's \(size) bytes"
        case .invalidRequest(let sentence), .invalidArgument(let sentence), .accessDenied(let sentence): sentence
        case .invalidObjectState: "the object is archived: restore it first"
        case .insufficientStorage: "the disk is full"
        case .slowDown: "too many requests at once"
        case .damaged(let sentence), .storage(let sentence): sentence
        case .aborted: "the upload was given up"
        }
    }
}
