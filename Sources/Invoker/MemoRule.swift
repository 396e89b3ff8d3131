package import Base
package import Cache
package import Catalog
internal import Crypto
package import HTTP

/// What of the caller is part of the key.
package enum MemoIdentity: Equatable, Sendable {
    /// All callers share results.
    case none
    /// What a request tells of its sender: Authorization and Cookie.
    case caller
    /// A request header, by its name in lower case.
    case header([UInt8])

    init(_ text: String) {
        self =
            switch text {
            case "none": .none
            case "caller": .caller
            default: .header(Array(text.lowercased().utf8))
            }
    }

    /// Names in lower case.
    var headers: [[UInt8]] {
        switch self {
        case .none: []
        case .caller: [Array("authorization".utf8), Array("cookie".utf8)]
        case .header(let name): [name]
        }
    }
}

/// How results of one version, or of one of its routes, are kept: its settings, made ready for the hit path.
///
/// Thread rule: the loop's thread.
package final class MemoRule {
    /// What the keeping is for: it decides which answers are kept.
    enum Purpose: UInt8 { case memo = 1, route = 2 }

    package let function: String
    package let version: VersionEntry
    package let form: EventForm
    package let identity: MemoIdentity
    /// As they are written in the manifest.
    package let keyText: String
    package let identityText: String
    let purpose: Purpose
    package let namespace: NamespaceID
    /// Zero: only answers that say so themselves are kept.
    package let ttl: Span
    let staleWhileRevalidate: Span
    let errors: Span?
    let bytesMax: Int
    let auditShare: Double
    /// Request headers that are part of the key, in lower case: an answer may vary with them.
    let coveredHeaders: [[UInt8]]
    /// Of all that can change a result beside the event and its caller: 32 bytes.
    let scope: [UInt8]
    /// `NAME/SCOPE/` with 16 digits of the scope.
    let keyPrefix: [UInt8]
    let tags: [[UInt8]]
    /// Set by the invoker when it begins to count for this version.
    package internal(set) var metrics: VersionMetrics?
    /// Of a route.
    let counts: RouteCounts?
    /// Set at its first lookup.
    var advised: CacheAdvice.Subject?
    /// An audit has found that equal events do not give equal results.
    package internal(set) var isOff = false
    var isAuditing = false

    /// `[memoize]`
    init(function: String, version: VersionEntry, _ settings: FunctionSettings.Memoize, in namespace: NamespaceID) {
        self.function = function
        self.version = version
        self.namespace = namespace
        purpose = .memo
        counts = nil
        // Bad forms are refused before a version has them; an older Hearth's are taken literally.
        form = (try? EventForm(settings.key)) ?? .raw
        identity = MemoIdentity(settings.identity)
        keyText = settings.key
        identityText = settings.identity
        ttl = .seconds(UInt64(max(0, settings.ttl)))
        staleWhileRevalidate = .seconds(UInt64(max(0, settings.staleWhileRevalidate ?? 0)))
        errors = settings.errors.map { .seconds(UInt64(max(0, $0))) }
        bytesMax = settings.maxBytes ?? Int.max
        auditShare = settings.audit ?? 0
        coveredHeaders = identity.headers
        let scope = MemoScope(function, version, [settings.key, settings.identity])
        self.scope = scope.digest
        keyPrefix = scope.keyPrefix
        tags = scope.tags
    }

    /// `[[route]]`
    init(
        function: String, version: VersionEntry, _ route: FunctionSettings.Route, headers: [[UInt8]], in namespace: NamespaceID,
        counts: RouteCounts
    ) {
        self.function = function
        self.version = version
        self.namespace = namespace
        self.counts = counts
        purpose = .route
        form = .raw
        identity = MemoIdentity(route.identity)
        keyText = route.key.joined(separator: ",")
        identityText = route.identity
        ttl = .seconds(UInt64(max(0, route.ttl)))
        staleWhileRevalidate = .zero
        errors = nil
        bytesMax = Int.max
        auditShare = 0
        coveredHeaders = headers + identity.headers
        let scope = MemoScope(function, version, ["route", route.path, route.identity] + route.methods + ["/"] + route.key)
        self.scope = scope.digest
        keyPrefix = scope.keyPrefix
        tags = scope.tags + [Self.routeTag(function, route.path)]
    }

    /// The tag of all results of this version, and of others with the same code and configuration.
    package var versionTag: [UInt8] { tags[1] }

    package static func routeTag(_ function: String, _ path: String) -> [UInt8] { Array("route:\(function)\(path)".utf8) }
}

/// What a key belongs to: function, code and the configuration that can change a result (semantic 7.4.36).
private struct MemoScope {
    let digest: [UInt8]
    let keyPrefix: [UInt8]
    let tags: [[UInt8]]

    /// - Parameter more: what of the rule itself decides which events are equal.
    init(_ function: String, _ version: VersionEntry, _ more: [String]) {
        let own = Self.digest(function, version, [])
        digest = Self.digest(function, version, more)
        keyPrefix = Array("\(function)/\(hex(Array(digest.prefix(8))))/".utf8)
        tags = [Array("function:\(function)".utf8), Array("version:\(function)/\(hex(Array(own.prefix(8))))".utf8)]
    }

    /// Lengths stand before all parts, so that no two configurations are written alike.
    private static func digest(_ function: String, _ version: VersionEntry, _ more: [String]) -> [UInt8] {
        let settings = version.settings
        let text = ByteBuffer()
        func add(_ part: String) {
            text.append(littleEndian: UInt32(part.utf8.count))
            text.append(part)
        }
        for part in [function, version.codeDigest, settings.runtime, settings.handler] + more { add(part) }
        for number in [settings.memorySize, settings.timeout, settings.ephemeralStorage, settings.concurrency.isOffline == true ? 1 : 0] {
            text.append(littleEndian: Int64(number))
        }
        for (name, value) in settings.environment.sorted(by: { $0.key < $1.key }) {
            add(name)
            add(value)
        }
        // What was made with other permissions is no answer.
        if let access = settings.access { for part in (access.buckets ?? []) + ["/", access.policy ?? ""] { add(part) } }
        return Digest.sha256(text.bytes)
    }
}

/// Makes keys: what makes two invocations equal is collected, and its digest is written behind the version's prefix. Nothing is allocated.
///
///     NAME/SCOPE/DIGEST      SHA-256 of scope, door, event, caller; 64 digits
///
/// Thread rule: the loop's thread; one key at a time.
package final class MemoKey {
    private let parts = ByteBuffer(capacity: 4096)
    private let text = ByteBuffer(capacity: 256)
    private let sha256 = RunningDigest(.sha256)
    private let digest = UnsafeMutablePointer<UInt8>.allocate(capacity: 32)

    deinit { digest.deallocate() }

    /// How an invocation came: results of one door are in a form of their own.
    package enum Door: UInt8 { case invoke = 1, functionURL = 2, route = 3 }

    /// The key of an event that came by Invoke; false when nothing of it is selected. (All who may invoke are one caller: the node has one
    /// pair of credentials.)
    package func make(_ rule: MemoRule, event: UnsafeRawBufferPointer, context: UnsafeRawBufferPointer) -> Bool {
        begin(rule, .invoke)
        add(context)
        guard add(event: event, rule.form) else { return false }
        end(rule)
        return true
    }

    package func begin(_ rule: MemoRule, _ door: Door) {
        parts.clear()
        parts.append(rule.scope)
        parts.append(door.rawValue)
    }

    /// One part, whatever its bytes: its length stands before it.
    package func add(_ part: UnsafeRawBufferPointer) {
        parts.append(littleEndian: UInt32(part.count))
        parts.append(part)
    }

    /// Behind parts of which there may be any number: a mark that no length is.
    package func endList() { parts.append(littleEndian: UInt32.max) }

    /// The part of the event that the rule's form selects; false when it selects nothing, so that there is no key.
    package func add(event: UnsafeRawBufferPointer, _ form: EventForm) -> Bool {
        let at = parts.count
        parts.append(littleEndian: UInt64(0))
        guard form.write(event, to: parts) else { return false }
        parts.overwrite(at: at, littleEndian: UInt64(parts.count - at))
        return true
    }

    /// What a request to a function URL asks for. `jcs` makes its body canonical, if that is JSON; a selection needs the whole event.
    package func add(
        method: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer, query: UnsafeRawBufferPointer, type: UnsafeRawBufferPointer,
        body: UnsafeRawBufferPointer, _ form: EventForm
    ) {
        add(method)
        add(path)
        add(query)
        add(type)
        if !body.isEmpty { _ = add(event: body, form) }
    }

    package func end(_ rule: MemoRule) {
        sha256.add(parts.bytes)
        sha256.finish(into: digest)
        text.clear()
        text.append(rule.keyPrefix)
        let room = text.reserve(64)
        for index in 0..<32 {
            room[2 * index] = Self.digit(digest[index] >> 4)
            room[2 * index + 1] = Self.digit(digest[index] & 15)
        }
        text.commit(64)
    }

    @inline(__always) private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }

    /// Of the last `end`.
    package var bytes: UnsafeRawBufferPointer { text.bytes }
}
