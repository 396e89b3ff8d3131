internal import Objects
internal import XML

/// Server-side encryption as requests name it. SSE-S3 (`AES256`) is recorded with the object and answered; the bytes rest as the disk keeps
/// them. What would need keys of the client's or of a key service is refused: an object must not look safer than it is.
enum Encryption {
    static let field = "x-amz-server-side-encryption"
    private static let customer = "x-amz-server-side-encryption-customer-"

    /// The algorithm that a write asks for, or that its bucket gives all its objects.
    static func ofWrite(_ request: S3Request, bucketDefault: [UInt8]?) throws(S3Fault) -> String? {
        let algorithm = request.header(field)
        try refuseCustomerKeys(request, algorithm)
        if let algorithm {
            try known(algorithm)
            return algorithm
        }
        guard let bucketDefault, let root = try? XMLReader.read(bucketDefault) else { return nil }
        return root.first("Rule")?.first("ApplyServerSideEncryptionByDefault")?.text("SSEAlgorithm")
    }

    /// A read names nothing: the object knows.
    static func checkRead(_ request: S3Request) throws(S3Fault) {
        guard request.header(field) == nil else {
            throw .invalidArgument("x-amz-server-side-encryption header is not supported for this operation.", name: field)
        }
        try refuseCustomerKeys(request, nil)
    }

    private static func refuseCustomerKeys(_ request: S3Request, _ algorithm: String?) throws(S3Fault) {
        let names = ["algorithm", "key", "key-md5"].map { customer + $0 }
        let given = names.filter { request.header($0) != nil }
        guard !given.isEmpty else { return }
        guard algorithm == nil else { throw .invalidArgument("Server Side Encryption with Customer provided key is incompatible with the encryption method specified") }
        guard given.count == names.count else {
            throw .invalidArgument("Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm, key and key MD5.")
        }
        throw .notImplemented("Server-side encryption with customer provided keys is not implemented")
    }

    private static func known(_ algorithm: String) throws(S3Fault) {
        switch algorithm {
        case "AES256": return
        case "aws:kms", "aws:kms:dsse", "aws:fsx":
            throw .notImplemented("Server-side encryption with \(algorithm) is not implemented: there is no key service")
        default: throw .invalidArgument("The encryption method specified is not supported", name: field, value: algorithm)
        }
    }

    /// `ServerSideEncryptionConfiguration`.
    static func check(_ root: XMLElement) throws(S3Fault) {
        guard let rule = root.first("Rule"), root.children.count == 1 else { throw .malformedXML }
        guard let algorithm = rule.first("ApplyServerSideEncryptionByDefault")?.text("SSEAlgorithm") else { throw .malformedXML }
        try known(algorithm)
    }
}
