internal import Objects
internal import SigV4
internal import XML

/// Why S3 refuses, in its words (Amazon S3 API Reference, "Error responses").
struct S3Fault: Error, Sendable {
    let status: Int
    let code: String
    let message: String
    /// Fields of the answer beside those of every answer.
    var fields: [HeaderField] = []
    /// Elements of the document beside those of every error.
    var details: [(name: StaticString, value: String)] = []

    init(_ status: Int, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    static let accessDenied = S3Fault(403, "AccessDenied", "Access Denied")
    static let malformedXML = S3Fault(
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    static let malformedACL = S3Fault(
        400, "MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")
    static let methodNotAllowed = S3Fault(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    static let missingLength = S3Fault(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    static let entityTooLarge = S3Fault(
        400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
    static let incompleteBody = S3Fault(
        400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
    static let invalidDigest = S3Fault(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
    static let noSuchUpload = S3Fault(
        404, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")

    static func invalidArgument(_ message: String, name: String? = nil, value: String? = nil) -> S3Fault {
        var fault = S3Fault(400, "InvalidArgument", message)
        if let name { fault.details.append(("ArgumentName", name)) }
        if let value { fault.details.append(("ArgumentValue", value)) }
        return fault
    }

    static func invalidRequest(_ message: String) -> S3Fault { S3Fault(400, "InvalidRequest", message) }
    static func invalidTag(_ message: String) -> S3Fault { S3Fault(400, "InvalidTag", message) }
    static func notImplemented(_ message: String) -> S3Fault { S3Fault(501, "NotImplemented", message) }

    init(_ refusal: S3Refusal) {
        self.init(refusal.status, refusal.code, refusal.message)
        if let text = refusal.stringToSign { details.append(("StringToSign", text)) }
        if let text = refusal.canonicalRequest { details.append(("CanonicalRequest", text)) }
    }

    init(_ error: ObjectsError) {
        let message = error.description.prefix(1).uppercased() + error.description.dropFirst()
        self.init(Self.status(of: error), error.code, message)
        switch error {
        case .noSuchKey(let marker?):
            fields = [HeaderField("x-amz-delete-marker", "true"), HeaderField("x-amz-version-id", marker.description)]
        case .noSuchKey: fields = [HeaderField("x-amz-delete-marker", "false")]
        case .methodNotAllowed(let marker, let modified):
            fields = [
                HeaderField("x-amz-delete-marker", "true"), HeaderField("x-amz-version-id", marker.description),
                HeaderField("Allow", "DELETE"), HeaderField("Last-Modified", Dates.http(milliseconds: modified)),
            ]
        case .notModified(let etag, let modified):
            fields = [HeaderField("ETag", "\"\(etag)\""), HeaderField("Last-Modified", Dates.http(milliseconds: modified))]
        case .invalidRange(let size):
            fields = [HeaderField("Content-Range", "bytes */\(size)")]
            details = [("ActualObjectSize", String(size))]
        case .preconditionFailed(let condition): details = [("Condition", condition)]
        case .invalidBucketName(let name), .noSuchBucket(let name): details = [("BucketName", name)]
        case .slowDown: fields = [HeaderField("Retry-After", "1")]
        default: break
        }
    }

    private static func status(of error: ObjectsError) -> Int {
        switch error {
        case .bucketAlreadyExists, .bucketNotEmpty: 409
        case .noSuchBucket, .noSuchConfiguration, .noSuchKey, .noSuchVersion, .noSuchUpload: 404
        case .methodNotAllowed: 405
        case .noSuchPart, .invalidRange: 416
        case .notModified: 304
        case .preconditionFailed: 412
        case .accessDenied, .invalidObjectState: 403
        case .insufficientStorage, .slowDown: 503
        case .damaged, .storage: 500
        default: 400
        }
    }

    /// The document of an error.
    func document(resource: String, requestID: String, hostID: String) -> [UInt8] {
        XMLWriter.document("Error", isNamespaced: false) { xml in
            xml.element("Code", code)
            xml.element("Message", message)
            for detail in details { xml.element(detail.name, detail.value) }
            xml.element("Resource", resource)
            xml.element("RequestId", requestID)
            xml.element("HostId", hostID)
        }
    }
}

/// A field of a request or answer.
struct HeaderField: Hashable, Sendable {
    let name: String
    let value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}
