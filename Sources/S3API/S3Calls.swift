internal import Base
internal import HTTP
internal import IAM
internal import Objects
internal import XML

/// The calls of S3 over the store: a request and its body in, an answer out. Its extensions hold the calls, one subject a file.
///
/// Thread rule: any thread; the store's waits are `await`s.
struct S3Calls: Sendable {
    let store: ObjectStore
    let region: String
    let accounts: S3Accounts
    let targets: any NotificationTargets
    /// Of lifecycle.
    let dayMilliseconds: Int64
    private let readings = AccessReadings()

    init(
        store: ObjectStore, region: String, accounts: S3Accounts, targets: any NotificationTargets, dayMilliseconds: Int64
    ) {
        self.store = store
        self.region = region
        self.accounts = accounts
        self.targets = targets
        self.dayMilliseconds = dayMilliseconds
    }

    /// Runs what does not take an object's body. `body` is complete.
    func run(_ operation: S3Operation, _ request: S3Request, _ body: [UInt8]) async throws(S3Fault) -> S3Answer {
        switch operation {
        case .listBuckets:
            try request.checkOwnPolicies("s3:ListAllMyBuckets", on: "arn:aws:s3:::*")
            return try await listBuckets(request)
        case .createBucket:
            try request.checkOwnPolicies("s3:CreateBucket", on: "arn:aws:s3:::\(request.bucketText ?? "")")
            return try await createBucket(request, body)
        case .options: return try preflight(request)
        default: break
        }
        let access = try self.access(request)
        let setting = BucketSetting.named(in: request.query)
        if operation != .deleteObjects, !operation.readsObject {
            try access.check(request, operation, key: request.keyBytes.map { String(decoding: $0, as: UTF8.self) }, setting: setting)
        }
        if request.keyBytes == nil { return try await ofBucket(operation, access, request, body, setting) }
        return try await ofObject(operation, access, request, body)
    }

    private func ofBucket(
        _ operation: S3Operation, _ access: BucketAccess, _ request: S3Request, _ body: [UInt8], _ setting: BucketSetting?
    ) async throws(S3Fault) -> S3Answer {
        switch operation {
        case .deleteBucket: return try await deleteBucket(access)
        case .headBucket: return S3Answer(200, [HeaderField("x-amz-bucket-region", region)])
        case .getBucketLocation: return location()
        case .listObjects: return try await listObjects(access, request)
        case .listObjectsV2: return try await listObjectsV2(access, request)
        case .listObjectVersions: return try await listVersions(access, request)
        case .listMultipartUploads: return try await listUploads(access, request)
        case .deleteObjects: return try await deleteObjects(access, request, body)
        case .getBucketVersioning: return versioning(access)
        case .putBucketVersioning: return try await putVersioning(access, body)
        case .getBucketACL: return .document(access.acl.document(accounts))
        case .putBucketACL: return try await putBucketACL(access, request, body)
        case .getBucketPolicy: return S3Answer(200, body: .json(try document(.policy, access.bucket.name)))
        case .putBucketPolicy: return try await putPolicy(access, body)
        case .deleteBucketPolicy: return try await setDocument(.policy, nil, access.bucket.name, answer: .noContent)
        case .getBucketPolicyStatus: return policyStatus(access)
        case .getDocument: return try getSetting(access, setting, request)
        case .putDocument: return try await putSetting(access, setting, request, body)
        case .deleteDocument: return try await deleteSetting(access, setting, request)
        default: throw .methodNotAllowed
        }
    }

    private func ofObject(
        _ operation: S3Operation, _ access: BucketAccess, _ request: S3Request, _ body: [UInt8]
    ) async throws(S3Fault) -> S3Answer {
        switch operation {
        case .getObject: return try await getObject(access, request)
        case .headObject: return try await headObject(access, request)
        case .getObjectAttributes: return try await attributes(access, request)
        case .copyObject: return try await copyObject(access, request)
        case .deleteObject: return try await deleteObject(access, request)
        case .getObjectTagging: return try await getTags(access, request)
        case .putObjectTagging: return try await putTags(access, request, body)
        case .deleteObjectTagging: return try await deleteTags(access, request)
        case .getObjectACL: return try await getObjectACL(access, request)
        case .putObjectACL: return try await putObjectACL(access, request, body)
        case .getObjectRetention: return try await getRetention(access, request)
        case .putObjectRetention: return try await putRetention(access, request, body)
        case .getObjectLegalHold: return try await getLegalHold(access, request)
        case .putObjectLegalHold: return try await putLegalHold(access, request, body)
        case .restoreObject: return try await restore(access, request, body)
        case .createMultipartUpload: return try await createUpload(access, request)
        case .uploadPartCopy: return try await copyPart(access, request)
        case .completeMultipartUpload: return try await completeUpload(access, request, body)
        case .abortMultipartUpload: return try await abortUpload(access, request)
        case .listParts: return try await listParts(access, request)
        default: throw .methodNotAllowed
        }
    }

    /// The bucket of a request with what it says of access; throws InvalidBucketName, NoSuchBucket.
    func access(_ request: S3Request) throws(S3Fault) -> BucketAccess {
        let access = try self.access(request.bucket())
        if let owner = request.header("x-amz-expected-bucket-owner"), owner != access.bucket.owner { throw .accessDenied }
        return access
    }

    func access(_ name: BucketName) throws(S3Fault) -> BucketAccess {
        guard let bucket = store.bucket(name) else { throw S3Fault(.noSuchBucket(name.text)) }
        let documents = AccessReadings.Documents(
            policy: stored(.policy, name), acl: stored(.acl, name), block: stored(.publicAccessBlock, name), owner: bucket.owner)
        let reading = readings.get(name, documents) { documents in
            // It was read when it was put. One that cannot be read any more must not open the bucket.
            let policy = documents.policy.map { (try? bucketPolicy($0, of: name.text)) ?? .closed }
            var block = PublicAccessBlock()
            if let bytes = documents.block, let root = try? XMLReader.read(bytes), let stored = try? PublicAccessBlock(root) {
                block = stored
            }
            return AccessReadings.Reading(policy: policy, acl: acl(documents.acl, owner: documents.owner), block: block)
        }
        return BucketAccess(bucket: bucket, acl: reading.acl, policy: reading.policy, block: reading.block)
    }

    /// A list as it is kept: nothing stands for private.
    func acl(_ bytes: [UInt8]?, owner: String) -> ACL {
        guard let bytes, !bytes.isEmpty, let acl = try? ACL(document: bytes, accounts: nil) else { return .privateTo(owner) }
        return acl
    }

    func stored(_ kind: BucketDocument, _ name: BucketName) -> [UInt8]? { try? store.document(kind, of: name) }

    func document(_ kind: BucketDocument, _ name: BucketName) throws(S3Fault) -> [UInt8] {
        do { return try store.document(kind, of: name) } catch { throw S3Fault(error) }
    }

    func setDocument(
        _ kind: BucketDocument, _ bytes: [UInt8]?, _ name: BucketName, answer: S3Answer = .empty
    ) async throws(S3Fault) -> S3Answer {
        try await wait { store.setDocument(kind, bytes, of: name, done: $0) }
        return answer
    }

    /// The CORS fields for a request that a browser sent; none without Origin or rules.
    func corsFields(_ request: S3Request) -> [HeaderField] {
        guard let origin = request.header("origin"), let text = request.bucketText, let name = try? BucketName(text),
            let bytes = stored(.cors, name), let cors = CORS(stored: bytes)
        else { return [] }
        let method = request.header("access-control-request-method") ?? Self.name(of: request.method)
        return cors.fields(origin: origin, method: method)
    }

    private static func name(of method: HTTPMethod) -> String {
        switch method {
        case .get: "GET"
        case .head: "HEAD"
        case .put: "PUT"
        case .post: "POST"
        case .delete: "DELETE"
        default: ""
        }
    }

    private func preflight(_ request: S3Request) throws(S3Fault) -> S3Answer {
        guard let origin = request.header("origin") else {
            throw S3Fault(400, "BadRequest", "Insufficient information. Origin request header needed.")
        }
        guard let method = request.header("access-control-request-method") else {
            throw S3Fault(400, "BadRequest", "Invalid Access-Control-Request-Method: null")
        }
        let forbidden = S3Fault(403, "AccessForbidden", "CORSResponse: This CORS request is not allowed.")
        guard request.bucketText != nil, let bytes = stored(.cors, try request.bucket()), let cors = CORS(stored: bytes) else {
            throw forbidden
        }
        let headers = (request.header("access-control-request-headers") ?? "").split(separator: ",").map { $0.filter { $0 != " " } }
        guard let fields = cors.preflight(origin: origin, method: method, headers: headers) else { throw forbidden }
        return S3Answer(200, fields)
    }
}

/// Waits for the store, and says its errors in S3's words.
func wait<Value: Sendable>(_ start: (@escaping ObjectStore.Done<Value>) -> Void) async throws(S3Fault) -> Value {
    let result = await withCheckedContinuation { continuation in start { continuation.resume(returning: $0) } }
    switch result {
    case .success(let value): return value
    case .failure(let error): throw S3Fault(error)
    }
}
