internal import Base
internal import Cache
internal import HTTP

/// What becomes of a run's outcome. Pure.
enum MemoVerdict: Equatable {
    /// It is stored and shared, with these tags beside the rule's.
    case store(StorePolicy, tags: [[UInt8]])
    /// It must not be shared: followers run their own. With a time, nobody waits for this key again so long.
    case keepToItself(rememberFor: Span?)
    /// Its worker was lost: the next in line runs.
    case handOver
    /// A refresh has failed: what is stored is served on, and not tried again at once.
    case leaveStale

    /// How a run came to its end.
    enum End {
        /// The worker gave the answer itself.
        case answered
        /// The worker was lost.
        case lost
        /// A timeout, a failed init, a refusal.
        case other
    }

    /// - Parameter isRefresh: the run was to replace a result that is being served.
    static func of(_ outcome: InvocationOutcome, _ end: End, isRefresh: Bool, _ rule: MemoRule) -> MemoVerdict {
        switch outcome.kind {
        case .result: return result(outcome.payload, rule)
        case .functionError where end == .answered:
            // 7.4.38: never, unless the manifest says for how long.
            if let errors = rule.errors { return negative(errors) }
            return isRefresh ? .leaveStale : .keepToItself(rememberFor: nil)
        case .functionError:
            if isRefresh { return .leaveStale }
            return end == .lost ? .handOver : .keepToItself(rememberFor: nil)
        case .refused: return isRefresh ? .leaveStale : .keepToItself(rememberFor: nil)
        }
    }

    private static func result(_ payload: UnsafeRawBufferPointer, _ rule: MemoRule) -> MemoVerdict {
        guard payload.count <= rule.bytesMax else { return .keepToItself(rememberFor: Limits.cacheBypassTime) }
        let wish = AnswerDirectives(payload)
        if wish.forbids || !wish.varies.allSatisfy({ rule.coveredHeaders.contains($0) }) || wish.setsCookies && !wish.isPublic {
            return .keepToItself(rememberFor: Limits.cacheBypassTime)
        }
        let status = wish.status ?? 200
        // A part, or "not changed": an answer to Range or If-None-Match, which are no part of a key.
        if status == 206 || status == 304 { return .keepToItself(rememberFor: nil) }
        if rule.purpose == .route {
            // 7.3.30, 7.3.31: the route's lifetime stands above the answer's, and only 2xx is kept.
            guard (200...299).contains(status) else { return .keepToItself(rememberFor: nil) }
            return .store(StorePolicy(.ttl(rule.ttl)), tags: wish.tags)
        }
        let ttl = wish.ttl ?? rule.ttl
        if status >= 400, wish.ttl == nil {
            if let errors = rule.errors { return negative(errors) }
            return .keepToItself(rememberFor: nil)
        }
        guard ttl > .zero else { return .keepToItself(rememberFor: Limits.cacheBypassTime) }
        var policy = StorePolicy(.ttl(ttl))
        policy.staleWhileRevalidate = wish.staleWhileRevalidate ?? rule.staleWhileRevalidate
        return .store(policy, tags: wish.tags)
    }

    private static func negative(_ ttl: Span) -> MemoVerdict {
        guard ttl > .zero else { return .keepToItself(rememberFor: nil) }
        var policy = StorePolicy(.ttl(ttl))
        policy.isNegative = true
        return .store(policy, tags: [])
    }
}

/// What a result in the form of an HTTP response (`statusCode`, `headers`, `cookies`) says of its own storing.
///
/// `Hearth-Cache-Control` stands for `Cache-Control` where it is there (targeted, RFC 9213 §2.2).
struct AnswerDirectives: Equatable {
    var status: Int?
    /// no-store, no-cache or private.
    var forbids = false
    var isPublic = false
    var ttl: Span?
    var staleWhileRevalidate: Span?
    /// Names of `Vary` in lower case.
    var varies: [[UInt8]] = []
    var setsCookies = false
    /// Of `Cache-Tag`, separated by commas.
    var tags: [[UInt8]] = []

    init(_ payload: UnsafeRawBufferPointer) {
        guard payload.first == UInt8(ascii: "{"), JSONCheck.validate(payload) == nil, let members = JSONMembers(payload) else { return }
        var headers: JSONValue?
        for member in members {
            let name = member.name.slice(payload)
            if JSONText.equals(name, "statusCode") {
                status = JSONText.integer(member.value.range.slice(payload))
            } else if JSONText.equals(name, "headers") {
                headers = member.value
            } else if JSONText.equals(name, "cookies"), member.value.kind == .array {
                setsCookies = JSONElements(payload, of: member.value)?.contains { _ in true } == true
            }
        }
        // Without a status code it is data that happens to have such a member.
        guard status != nil else {
            setsCookies = false
            return
        }
        if let headers, headers.kind == .object { read(headers, payload) }
    }

    private mutating func read(_ headers: JSONValue, _ payload: UnsafeRawBufferPointer) {
        guard let members = JSONMembers(payload, of: headers) else { return }
        var control: [UInt8]?
        var targeted: [UInt8]?
        for member in members where member.value.kind == .string {
            guard let raw = JSONText.decode(member.name.slice(payload)), let value = JSONText.decode(member.value.range.slice(payload))
            else { continue }
            switch Self.lower(raw[...]) {
            case Array("cache-control".utf8): control = value
            case Array("hearth-cache-control".utf8): targeted = value
            case Array("vary".utf8): varies = Self.list(value).map { Self.lower($0) }
            case Array("set-cookie".utf8): setsCookies = true
            case Array("cache-tag".utf8):
                tags = Self.list(value).filter { $0.count <= Limits.cacheTagBytesMax }.prefix(Limits.memoTagsMax).map { Array($0) }
            default: break
            }
        }
        if let control = targeted ?? control { readControl(control) }
    }

    /// RFC 9111 §5.2.2; of a directive that is there twice the first counts (reference 7.2.13).
    private mutating func readControl(_ value: [UInt8]) {
        var maxAge: Span?
        var shared: Span?
        for directive in Self.list(value) {
            let equals = directive.firstIndex(of: UInt8(ascii: "=")) ?? directive.endIndex
            let argument = directive[equals...].dropFirst()
            switch String(decoding: Self.lower(directive[..<equals]), as: UTF8.self) {
            case "no-store", "no-cache", "private": forbids = true
            case "public": isPublic = true
            case "max-age": maxAge = maxAge ?? Self.seconds(argument)
            case "s-maxage": shared = shared ?? Self.seconds(argument)
            case "stale-while-revalidate": staleWhileRevalidate = staleWhileRevalidate ?? Self.seconds(argument)
            default: break
            }
        }
        ttl = shared ?? maxAge
    }

    /// Digits, or digits in quotes; no number is no lifetime (RFC 9111 §4.2.1 has it stale). At most a year, as for the edge.
    private static func seconds(_ text: ArraySlice<UInt8>) -> Span {
        var digits = text
        if digits.first == UInt8(ascii: "\""), digits.last == UInt8(ascii: "\""), digits.count >= 2 { digits = digits.dropFirst().dropLast() }
        var number: UInt64 = 0
        for digit in digits {
            guard (48...57).contains(digit) else { return .zero }
            number = min(number * 10 + UInt64(digit - 48), Limits.memoSecondsMax)
        }
        return .seconds(number)
    }

    private static func lower(_ bytes: ArraySlice<UInt8>) -> [UInt8] { bytes.map { (65...90).contains($0) ? $0 | 0x20 : $0 } }

    /// The members of a list field without the space around them.
    private static func list(_ value: [UInt8]) -> [ArraySlice<UInt8>] {
        value.split(separator: UInt8(ascii: ",")).compactMap { part in
            let start = part.drop { $0 == 0x20 || $0 == 0x09 }
            let end = start.lastIndex { $0 != 0x20 && $0 != 0x09 }
            return end.map { start[...$0] }
        }
    }
}
