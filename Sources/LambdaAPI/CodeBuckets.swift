/// Where the control plane finds packages that lie in a bucket of the same node.
package protocol CodeBuckets: Sendable {
    /// The whole object; blocks. - Parameter version: nil: the newest.
    func object(_ bucket: String, _ key: String, version: String?) throws(CodeBucketFailure) -> [UInt8]
}

/// S3's reason why not.
package struct CodeBucketFailure: Error {
    package let code: String
    package let message: String

    package init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}
