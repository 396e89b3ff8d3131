/// `*` or a list of entity tags. A tag that cannot be ours (weak, malformed) matches nothing.
package enum ETagCondition: Hashable, Sendable {
    case any
    case oneOf([ETag])

    /// The value of If-Match or If-None-Match; quotes may be missing (SDKs send them so).
    package init(_ text: String) {
        if text.drop(while: { $0 == " " }).hasPrefix("*") {
            self = .any
        } else {
            self = .oneOf(text.split(separator: ",").compactMap { ETag($0) })
        }
    }

    func matches(_ etag: ETag) -> Bool {
        switch self {
        case .any: true
        case .oneOf(let tags): tags.contains(etag)
        }
    }
}

/// Conditions of a read, and of the source of a copy. Times are in seconds since 1970, as HTTP's are.
package struct ReadConditions: Hashable, Sendable {
    package var ifMatch: ETagCondition?
    package var ifNoneMatch: ETagCondition?
    package var ifModifiedSince: Int64?
    package var ifUnmodifiedSince: Int64?

    package init(
        ifMatch: ETagCondition? = nil, ifNoneMatch: ETagCondition? = nil, ifModifiedSince: Int64? = nil, ifUnmodifiedSince: Int64? = nil
    ) {
        self.ifMatch = ifMatch
        self.ifNoneMatch = ifNoneMatch
        self.ifModifiedSince = ifModifiedSince
        self.ifUnmodifiedSince = ifUnmodifiedSince
    }

    package static let none = ReadConditions()

    /// In the order of RFC 9110 §13.2.2: If-Match hides If-Unmodified-Since, If-None-Match hides If-Modified-Since.
    func check(etag: ETag, modified: Int64) throws(ObjectsError) {
        let seconds = modified / 1000
        if let ifMatch {
            guard ifMatch.matches(etag) else { throw .preconditionFailed("If-Match") }
        } else if let ifUnmodifiedSince, seconds > ifUnmodifiedSince {
            throw .preconditionFailed("If-Unmodified-Since")
        }
        if let ifNoneMatch {
            guard !ifNoneMatch.matches(etag) else { throw .notModified(etag: etag, modified: modified) }
        } else if let ifModifiedSince, seconds <= ifModifiedSince {
            throw .notModified(etag: etag, modified: modified)
        }
    }

    /// For the source of a copy, where nothing is answered 304.
    func checkSource(etag: ETag, modified: Int64) throws(ObjectsError) {
        do { try check(etag: etag, modified: modified) } catch {
            if case .notModified = error {
                throw .preconditionFailed(
                    ifNoneMatch == nil ? "x-amz-copy-source-if-modified-since" : "x-amz-copy-source-if-none-match")
            }
            throw error
        }
    }
}

/// Conditions of a write or delete, checked inside the transaction that commits it.
package struct WriteConditions: Hashable, Sendable {
    /// Absent key: `noSuchKey`.
    package var ifMatch: ETagCondition?
    package var ifNoneMatch: ETagCondition?
    /// Of deletes: the whole second, and the size, that the object must have.
    package var ifMatchLastModified: Int64?
    package var ifMatchSize: Int64?

    package init(
        ifMatch: ETagCondition? = nil, ifNoneMatch: ETagCondition? = nil, ifMatchLastModified: Int64? = nil, ifMatchSize: Int64? = nil
    ) {
        self.ifMatch = ifMatch
        self.ifNoneMatch = ifNoneMatch
        self.ifMatchLastModified = ifMatchLastModified
        self.ifMatchSize = ifMatchSize
    }

    package static let none = WriteConditions()
    package static let mustNotExist = WriteConditions(ifNoneMatch: .any)

    var isEmpty: Bool { self == .none }

    /// `current`: the version that readers see now; nil when there is none, or a delete marker.
    func check(etag: ETag?, modified: Int64, size: Int64) throws(ObjectsError) {
        guard let etag else {
            guard ifMatch == nil, ifMatchLastModified == nil, ifMatchSize == nil else { throw .noSuchKey(deleteMarker: nil) }
            return
        }
        if let ifMatch, !ifMatch.matches(etag) { throw .preconditionFailed("If-Match") }
        if let ifNoneMatch, ifNoneMatch.matches(etag) { throw .preconditionFailed("If-None-Match") }
        if let ifMatchLastModified, ifMatchLastModified != modified / 1000 {
            throw .preconditionFailed("x-amz-if-match-last-modified-time")
        }
        if let ifMatchSize, ifMatchSize != size { throw .preconditionFailed("x-amz-if-match-size") }
    }
}
