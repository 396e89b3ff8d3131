internal import Objects
internal import XML

/// The settings of a bucket that are documents: checked when they are put, kept as they came, answered as they are kept.
enum BucketSetting: String, Sendable, CaseIterable {
    case cors, lifecycle, tagging, notification, website, accelerate, encryption, ownershipControls, logging, requestPayment
    case publicAccessBlock
    case objectLock = "object-lock"
    case tiering = "intelligent-tiering"

    static func named(in query: [String: String]) -> BucketSetting? { allCases.first { query[$0.rawValue] != nil } }

    var document: BucketDocument {
        switch self {
        case .cors: .cors
        case .lifecycle: .lifecycle
        case .tagging: .tagging
        case .notification: .notification
        case .website: .website
        case .accelerate: .accelerate
        case .encryption: .encryption
        case .ownershipControls: .ownership
        case .logging: .logging
        case .requestPayment: .requestPayment
        case .publicAccessBlock: .publicAccessBlock
        case .objectLock: .objectLock
        case .tiering: .tiering
        }
    }

    /// Behind `s3:Get` or `s3:Put`.
    var policyName: String {
        switch self {
        case .cors: "BucketCORS"
        case .lifecycle: "LifecycleConfiguration"
        case .tagging: "BucketTagging"
        case .notification: "BucketNotification"
        case .website: "BucketWebsite"
        case .accelerate: "AccelerateConfiguration"
        case .encryption: "EncryptionConfiguration"
        case .ownershipControls: "BucketOwnershipControls"
        case .logging: "BucketLogging"
        case .requestPayment: "BucketRequestPayment"
        case .publicAccessBlock: "BucketPublicAccessBlock"
        case .objectLock: "BucketObjectLockConfiguration"
        case .tiering: "IntelligentTieringConfiguration"
        }
    }

    var root: StaticString {
        switch self {
        case .cors: "CORSConfiguration"
        case .lifecycle: "LifecycleConfiguration"
        case .tagging: "Tagging"
        case .notification: "NotificationConfiguration"
        case .website: "WebsiteConfiguration"
        case .accelerate: "AccelerateConfiguration"
        case .encryption: "ServerSideEncryptionConfiguration"
        case .ownershipControls: "OwnershipControls"
        case .logging: "BucketLoggingStatus"
        case .requestPayment: "RequestPaymentConfiguration"
        case .publicAccessBlock: "PublicAccessBlockConfiguration"
        case .objectLock: "ObjectLockConfiguration"
        case .tiering: "IntelligentTieringConfiguration"
        }
    }

    var canBeDeleted: Bool {
        switch self {
        case .cors, .lifecycle, .tagging, .website, .encryption, .ownershipControls, .publicAccessBlock, .tiering: true
        default: false
        }
    }

    /// What a bucket without the setting answers; nil: an error.
    var missingAnswer: [UInt8]? {
        switch self {
        case .notification, .accelerate, .logging: XMLWriter.document(root) { _ in }
        case .requestPayment: XMLWriter.document(root) { $0.element("Payer", "BucketOwner") }
        default: nil
        }
    }

    /// Throws MalformedXML and other refusals for a document that is not of this setting.
    func check(_ root: XMLElement, for bucket: Bucket) throws(S3Fault) {
        guard root.name == "\(self.root)" else { throw .malformedXML }
        switch self {
        case .cors: _ = try CORS(root)
        case .lifecycle: _ = try LifecycleDocument.rules(root)
        case .tagging: _ = try Tags.parse(root, max: Tags.bucketMax)
        case .accelerate: try Self.oneOf(root.text("Status"), ["Enabled", "Suspended"])
        case .requestPayment:
            try Self.oneOf(root.text("Payer"), ["BucketOwner", "Requester"])
            guard root.text("Payer") == "BucketOwner" else { throw .notImplemented("Requester pays is not implemented") }
        case .ownershipControls:
            try Self.oneOf(
                root.first("Rule")?.text("ObjectOwnership"), ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"])
        case .publicAccessBlock: _ = try PublicAccessBlock(root)
        case .encryption: try Encryption.check(root)
        case .objectLock:
            guard bucket.hasObjectLock || bucket.versioning == .enabled else {
                throw S3Fault(409, "InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
            }
            _ = try LockRule(root)
        case .logging:
            guard root.children.isEmpty else { throw .notImplemented("Server access logging is not implemented") }
        case .website:
            guard root.first("IndexDocument")?.text("Suffix") != nil || root.first("RedirectAllRequestsTo")?.text("HostName") != nil else {
                throw .malformedXML
            }
        case .tiering: _ = try TieringDocument.rule(root)
        case .notification: _ = try NotificationDocument.rules(root)
        }
    }

    private static func oneOf(_ text: String?, _ words: Set<String>) throws(S3Fault) {
        guard let text, words.contains(text) else { throw .malformedXML }
    }
}

/// Tags of buckets and objects.
enum Tags {
    static let objectMax = 10
    static let bucketMax = 50

    /// Of a document `Tagging`.
    static func parse(_ root: XMLElement, max: Int) throws(S3Fault) -> [Field] {
        guard root.name == "Tagging", let set = root.first("TagSet") else { throw .malformedXML }
        var tags: [Field] = []
        for item in set.children {
            guard item.name == "Tag", let key = item.first("Key")?.text, let value = item.first("Value")?.text else { throw .malformedXML }
            tags.append(Field(key, value))
        }
        try check(tags, max: max)
        return tags
    }

    /// Of the field `x-amz-tagging`: `a=1&b=2`.
    static func parse(header text: String) throws(S3Fault) -> [Field] {
        var tags: [Field] = []
        for part in text.split(separator: "&") {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let rest = halves.count > 1 ? String(halves[1]) : ""
            guard let key = S3Request.decodeForm(String(halves[0])), let value = S3Request.decodeForm(rest) else {
                throw .invalidArgument(
                    "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
            }
            tags.append(Field(key, value))
        }
        try check(tags, max: objectMax)
        return tags.sorted { $0.name < $1.name }
    }

    private static func check(_ tags: [Field], max: Int) throws(S3Fault) {
        guard tags.count <= max else {
            throw max == objectMax
                ? S3Fault(400, "InvalidTag", "Object tags cannot be greater than 10") : .invalidTag("Bucket tag count cannot be greater than 50")
        }
        guard Set(tags.map(\.name)).count == tags.count else { throw .invalidTag("Cannot provide multiple Tags with the same key") }
        for tag in tags {
            guard (1...128).contains(tag.name.count) else { throw .invalidTag("The TagKey you have provided is invalid") }
            guard tag.value.count <= 256 else { throw .invalidTag("The TagValue you have provided is invalid") }
            if max == bucketMax, tag.name.hasPrefix("aws:") { throw .invalidTag("System tags cannot be added/updated by requester") }
        }
    }

    static func document(_ tags: [Field]) -> [UInt8] {
        XMLWriter.document("Tagging") { xml in
            xml.element("TagSet") { xml in
                for tag in tags {
                    xml.element("Tag") {
                        $0.element("Key", tag.name)
                        $0.element("Value", tag.value)
                    }
                }
            }
        }
    }
}

/// The default retention of a bucket with Object Lock.
struct LockRule: Sendable {
    let mode: ObjectLock.Mode
    let milliseconds: Int64

    /// nil: the document has no rule.
    init?(_ root: XMLElement) throws(S3Fault) {
        guard root.text("ObjectLockEnabled") == "Enabled" else { throw .malformedXML }
        guard let rule = root.first("Rule") else { return nil }
        guard let retention = rule.first("DefaultRetention") else { throw .malformedXML }
        mode = try Self.mode(retention.text("Mode"))
        let days = retention.text("Days"), years = retention.text("Years")
        guard (days == nil) != (years == nil), let text = days ?? years else { throw .malformedXML }
        guard let number = Int64(text), number > 0, number <= (days == nil ? 100 : 36_500) else {
            throw S3Fault(400, "InvalidRetentionPeriod", "Default retention period must be a positive integer value")
        }
        milliseconds = number * (days == nil ? 365 : 1) * Lifecycle.dayMilliseconds
    }

    static func mode(_ text: String?) throws(S3Fault) -> ObjectLock.Mode {
        switch text {
        case "GOVERNANCE": return .governance
        case "COMPLIANCE": return .compliance
        default: throw .malformedXML
        }
    }

    static func name(_ mode: ObjectLock.Mode) -> String { mode == .governance ? "GOVERNANCE" : "COMPLIANCE" }
}
