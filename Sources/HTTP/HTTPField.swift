import Base

/// The header names that parsers recognise while they read, so that finding them later costs one look.
///
/// A name gets its row here when something in the runtime asks for it; every other name is found by a scan.
package enum HTTPField: UInt8, CaseIterable, Sendable {
    // the five that the parsers act upon come first
    case host, connection, contentLength, transferEncoding, expect
    case accept, acceptEncoding, authorization, cacheControl, contentEncoding, contentType, cookie, date, etag
    case ifMatch, ifModifiedSince, ifNoneMatch, ifUnmodifiedSince, lastModified, location, origin, range,
        referer
    case server, setCookie, trailer, upgrade, userAgent
    case forwardedFor, forwardedPort, forwardedProto
    case amzClientContext, amzContentSHA256, amzDate, amzExecutedVersion, amzFunctionError, amzInvocationType
    case amzLogResult, amzLogType, amzSecurityToken, amzTarget, amzUserAgent
    case amznErrorType, amznRequestID, amznTraceID
    case lambdaErrorType, lambdaRequestID, lambdaResponseMode
    case hearthStart

    /// The name as it is compared: in lower case.
    package var name: StaticString {
        switch self {
        case .host: "host"
        case .connection: "connection"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .expect: "expect"
        case .accept: "accept"
        case .acceptEncoding: "accept-encoding"
        case .authorization: "authorization"
        case .cacheControl: "cache-control"
        case .contentEncoding: "content-encoding"
        case .contentType: "content-type"
        case .cookie: "cookie"
        case .date: "date"
        case .etag: "etag"
        case .ifMatch: "if-match"
        case .ifModifiedSince: "if-modified-since"
        case .ifNoneMatch: "if-none-match"
        case .ifUnmodifiedSince: "if-unmodified-since"
        case .lastModified: "last-modified"
        case .location: "location"
        case .origin: "origin"
        case .range: "range"
        case .referer: "referer"
        case .server: "server"
        case .setCookie: "set-cookie"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .userAgent: "user-agent"
        case .forwardedFor: "x-forwarded-for"
        case .forwardedPort: "x-forwarded-port"
        case .forwardedProto: "x-forwarded-proto"
        case .amzClientContext: "x-amz-client-context"
        case .amzContentSHA256: "x-amz-content-sha256"
        case .amzDate: "x-amz-date"
        case .amzExecutedVersion: "x-amz-executed-version"
        case .amzFunctionError: "x-amz-function-error"
        case .amzInvocationType: "x-amz-invocation-type"
        case .amzLogResult: "x-amz-log-result"
        case .amzLogType: "x-amz-log-type"
        case .amzSecurityToken: "x-amz-security-token"
        case .amzTarget: "x-amz-target"
        case .amzUserAgent: "x-amz-user-agent"
        case .amznErrorType: "x-amzn-errortype"
        case .amznRequestID: "x-amzn-requestid"
        case .amznTraceID: "x-amzn-trace-id"
        case .lambdaErrorType: "lambda-runtime-function-error-type"
        case .lambdaRequestID: "lambda-runtime-aws-request-id"
        case .lambdaResponseMode: "lambda-runtime-function-response-mode"
        case .hearthStart: "x-hearth-start"
        }
    }
}

/// Finds the `HTTPField` of a name: a perfect hash of its length and three of its bytes, then one comparison.
///
/// Immutable once made. The multiplier is searched for then: a new row above needs no new constant.
final class FieldNames {
    private struct Row {
        let name: UnsafePointer<UInt8>
        let count: Int
    }

    private static let slotBits: UInt64 = 9
    private static let noField = UInt8.max
    private let slots: UnsafeMutablePointer<UInt8>
    private let rows: UnsafeMutablePointer<Row>
    private let multiplier: UInt64

    /// Nothing in it changes after `init`: safe to share.
    nonisolated(unsafe) static let shared = FieldNames()

    private init() {
        let fields = HTTPField.allCases
        let rows = UnsafeMutablePointer<Row>.allocate(capacity: fields.count)
        for (at, field) in fields.enumerated() {
            (rows + at).initialize(to: Row(name: field.name.utf8Start, count: field.name.utf8CodeUnitCount))
        }
        let slots = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << Self.slotBits)
        func fits(_ multiplier: UInt64) -> Bool {
            slots.initialize(repeating: Self.noField, count: 1 << Self.slotBits)
            for at in fields.indices {
                let slot = Self.slot(rows[at].name, rows[at].count, multiplier)
                if slots[slot] != Self.noField { return false }
                slots[slot] = UInt8(at)
            }
            return true
        }
        // one in eleven fits with 50 rows in 512 slots; none does when two rows agree in all that is hashed
        var random = Random(seed: 1)
        var multiplier = random.next() | 1
        var tries = 1
        while !fits(multiplier) {
            precondition(tries < 100_000, "two rows of HTTPField share length, first, middle and last byte")
            multiplier = random.next() | 1
            tries += 1
        }
        self.multiplier = multiplier
        self.rows = rows
        self.slots = slots
    }

    /// The low five bits of a letter do not depend on its case.
    @inline(__always)
    private static func slot(_ name: UnsafePointer<UInt8>, _ count: Int, _ multiplier: UInt64) -> Int {
        let ends = UInt64(name[0] & 31) | UInt64(name[count &- 1] & 31) &<< 5
        let key = ends | UInt64(name[count &>> 1] & 31) &<< 10 | UInt64(truncatingIfNeeded: count) &<< 15
        return Int(truncatingIfNeeded: (key &* multiplier) &>> (64 - slotBits))
    }

    /// The field of a name of `count` bytes (at least 1) in any case.
    @inline(__always)
    func field(_ name: UnsafePointer<UInt8>, _ count: Int) -> UInt8? {
        let at = slots[Self.slot(name, count, multiplier)]
        guard at != Self.noField else { return nil }
        let row = rows[Int(at)]
        guard row.count == count else { return nil }
        return Self.matches(name, row.name, count) ? at : nil
    }

    /// Compares a name with a row, eight bytes at a time, the last eight overlapping the ones before.
    ///
    /// Setting bit 5 makes letters lower case. What else it could confuse does not matter here: rows hold
    /// only letters, digits and "-", and of the bytes that become one of those only the upper-case letters
    /// are in tokens.
    @inline(__always)
    private static func matches(
        _ name: UnsafePointer<UInt8>, _ row: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        let lower = Word.lowBits &* 0x20
        guard count >= 8 else {
            var at = 0
            while at < count {
                if name[at] | 0x20 != row[at] { return false }
                at &+= 1
            }
            return true
        }
        var at = 0
        while at &+ 8 < count {
            if Word.load(name + at) | lower != Word.load(row + at) { return false }
            at &+= 8
        }
        return Word.load(name + (count &- 8)) | lower == Word.load(row + (count &- 8))
    }
}
