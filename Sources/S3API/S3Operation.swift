internal import HTTP

/// The calls of S3 that are answered, by the names of the Amazon S3 API Reference.
enum S3Operation: String, Sendable {
    case listBuckets, createBucket, deleteBucket, headBucket, getBucketLocation
    case listObjects, listObjectsV2, listObjectVersions, listMultipartUploads
    case getObject, headObject, putObject, copyObject, deleteObject, deleteObjects, getObjectAttributes, postObject, options
    case getObjectTagging, putObjectTagging, deleteObjectTagging, getObjectACL, putObjectACL
    case getObjectRetention, putObjectRetention, getObjectLegalHold, putObjectLegalHold, restoreObject
    case createMultipartUpload, uploadPart, uploadPartCopy, completeMultipartUpload, abortMultipartUpload, listParts
    case getBucketVersioning, putBucketVersioning, getBucketACL, putBucketACL
    case getBucketPolicy, putBucketPolicy, deleteBucketPolicy, getBucketPolicyStatus
    case getDocument, putDocument, deleteDocument

    /// Which call a request is; throws NotImplemented or MethodNotAllowed.
    init(_ request: S3Request) throws(S3Fault) {
        if request.method == .options {
            self = .options
        } else if request.bucketText == nil {
            guard request.method == .get || request.method == .head else { throw .methodNotAllowed }
            self = .listBuckets
        } else if request.keyBytes == nil {
            self = try Self.ofBucket(request)
        } else {
            self = try Self.ofObject(request)
        }
    }

    /// Sub-resources that S3 has and Hearth has not.
    private static let foreign: Set<String> = [
        "analytics", "inventory", "metrics", "replication", "torrent", "select", "metadataTable", "session", "metadataConfiguration", "abac",
    ]

    private static func ofBucket(_ request: S3Request) throws(S3Fault) -> S3Operation {
        let query = request.query
        if let name = foreign.first(where: { query[$0] != nil }) {
            if name == "replication", request.method == .get {
                throw S3Fault(404, "ReplicationConfigurationNotFoundError", "The replication configuration was not found")
            }
            throw .notImplemented("A header or query you provided implies functionality that is not implemented: \(name)")
        }
        if BucketSetting.named(in: query) != nil {
            switch request.method {
            case .get: return .getDocument
            case .put: return .putDocument
            case .delete: return .deleteDocument
            default: throw .methodNotAllowed
            }
        }
        switch request.method {
        case .get:
            for (name, operation) in bucketReads where query[name] != nil { return operation }
            return query["list-type"] == "2" ? .listObjectsV2 : .listObjects
        case .head: return .headBucket
        case .put:
            for (name, operation) in bucketWrites where query[name] != nil { return operation }
            return .createBucket
        case .delete: return query["policy"] != nil ? .deleteBucketPolicy : .deleteBucket
        case .post: return query["delete"] != nil ? .deleteObjects : .postObject
        default: throw .methodNotAllowed
        }
    }

    private static let bucketReads: [(String, S3Operation)] = [
        ("location", .getBucketLocation), ("versioning", .getBucketVersioning), ("acl", .getBucketACL), ("policy", .getBucketPolicy),
        ("policyStatus", .getBucketPolicyStatus), ("versions", .listObjectVersions), ("uploads", .listMultipartUploads),
    ]
    private static let bucketWrites: [(String, S3Operation)] = [
        ("versioning", .putBucketVersioning), ("acl", .putBucketACL), ("policy", .putBucketPolicy),
    ]

    private static func ofObject(_ request: S3Request) throws(S3Fault) -> S3Operation {
        let query = request.query
        if let name = foreign.first(where: { query[$0] != nil }) {
            throw .notImplemented("A header or query you provided implies functionality that is not implemented: \(name)")
        }
        switch request.method {
        case .get:
            for (name, operation) in objectReads where query[name] != nil { return operation }
            return .getObject
        case .head: return .headObject
        case .put:
            for (name, operation) in objectWrites where query[name] != nil { return operation }
            let isCopy = request.header("x-amz-copy-source") != nil
            if query["uploadId"] != nil || query["partNumber"] != nil { return isCopy ? .uploadPartCopy : .uploadPart }
            return isCopy ? .copyObject : .putObject
        case .delete:
            if query["uploadId"] != nil { return .abortMultipartUpload }
            return query["tagging"] != nil ? .deleteObjectTagging : .deleteObject
        case .post:
            if query["uploads"] != nil { return .createMultipartUpload }
            if query["uploadId"] != nil { return .completeMultipartUpload }
            if query["restore"] != nil { return .restoreObject }
            throw .methodNotAllowed
        default: throw .methodNotAllowed
        }
    }

    private static let objectReads: [(String, S3Operation)] = [
        ("tagging", .getObjectTagging), ("acl", .getObjectACL), ("attributes", .getObjectAttributes), ("retention", .getObjectRetention),
        ("legal-hold", .getObjectLegalHold), ("uploadId", .listParts),
    ]
    private static let objectWrites: [(String, S3Operation)] = [
        ("tagging", .putObjectTagging), ("acl", .putObjectACL), ("retention", .putObjectRetention), ("legal-hold", .putObjectLegalHold),
    ]

    /// The body is an object's or a part's, of any length.
    var takesObjectBody: Bool { self == .putObject || self == .uploadPart }

    /// As policies name what is done (Service Authorization Reference, "Actions defined by Amazon S3").
    func action(version: Bool, setting: BucketSetting?) -> String {
        let versioned = version ? "Version" : ""
        return switch self {
        case .listBuckets: "s3:ListAllMyBuckets"
        case .createBucket: "s3:CreateBucket"
        case .deleteBucket: "s3:DeleteBucket"
        case .headBucket, .listObjects, .listObjectsV2: "s3:ListBucket"
        case .getBucketLocation: "s3:GetBucketLocation"
        case .listObjectVersions: "s3:ListBucketVersions"
        case .listMultipartUploads: "s3:ListBucketMultipartUploads"
        case .getObject, .headObject: "s3:GetObject\(versioned)"
        case .getObjectAttributes: "s3:GetObject\(versioned)Attributes"
        case .putObject, .copyObject, .postObject, .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload:
            "s3:PutObject"
        case .deleteObject, .deleteObjects: "s3:DeleteObject\(versioned)"
        case .getObjectTagging: "s3:GetObject\(versioned)Tagging"
        case .putObjectTagging: "s3:PutObject\(versioned)Tagging"
        case .deleteObjectTagging: "s3:DeleteObject\(versioned)Tagging"
        case .getObjectACL: "s3:GetObject\(versioned)Acl"
        case .putObjectACL: "s3:PutObject\(versioned)Acl"
        case .getObjectRetention: "s3:GetObjectRetention"
        case .putObjectRetention: "s3:PutObjectRetention"
        case .getObjectLegalHold: "s3:GetObjectLegalHold"
        case .putObjectLegalHold: "s3:PutObjectLegalHold"
        case .restoreObject: "s3:RestoreObject"
        case .abortMultipartUpload: "s3:AbortMultipartUpload"
        case .listParts: "s3:ListMultipartUploadParts"
        case .getBucketVersioning: "s3:GetBucketVersioning"
        case .putBucketVersioning: "s3:PutBucketVersioning"
        case .getBucketACL: "s3:GetBucketAcl"
        case .putBucketACL: "s3:PutBucketAcl"
        case .getBucketPolicy: "s3:GetBucketPolicy"
        case .putBucketPolicy: "s3:PutBucketPolicy"
        case .deleteBucketPolicy: "s3:DeleteBucketPolicy"
        case .getBucketPolicyStatus: "s3:GetBucketPolicyStatus"
        case .options: "s3:GetBucketCORS"
        case .getDocument: "s3:Get\(setting?.policyName ?? "")"
        case .putDocument, .deleteDocument: "s3:Put\(setting?.policyName ?? "")"
        }
    }

    /// What an access control list must grant for it; nil: only the owner may (Access control list overview, "Mapping of ACL permissions").
    var permission: ACL.Permission? {
        switch self {
        case .headBucket, .listObjects, .listObjectsV2, .listObjectVersions, .listMultipartUploads, .getObject, .headObject,
            .getObjectAttributes:
            .read
        case .putObject, .copyObject, .postObject, .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload,
            .deleteObject, .deleteObjects, .abortMultipartUpload, .listParts:
            .write
        case .getBucketACL, .getObjectACL: .readACP
        case .putBucketACL, .putObjectACL: .writeACP
        default: nil
        }
    }

    /// Its headers may say more than the object: a list, tags, a lock, that a lock be passed over.
    var writesObject: Bool {
        switch self {
        case .putObject, .copyObject, .postObject, .createMultipartUpload, .deleteObject, .deleteObjects, .putObjectRetention: true
        default: false
        }
    }

    /// It is about an object that is there: the object's list decides, not the bucket's.
    var readsObject: Bool {
        switch self {
        case .getObject, .headObject, .getObjectAttributes, .getObjectACL, .putObjectACL: true
        default: false
        }
    }
}
