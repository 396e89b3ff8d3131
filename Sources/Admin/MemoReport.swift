internal import Base
internal import Cache
internal import Invoker

/// What is told of memoization: by `cache stats`, `cache explain` and `describe`.
enum MemoReport {
    static func members(_ rule: MemoRule) -> [(String, Report)] {
        let counts = rule.metrics
        return [
            ("ttl_s", .number(rule.ttl.seconds)), ("key_form", .text(rule.keyText)), ("identity", .text(rule.identityText)),
            ("state", .text(rule.isOff ? "off: an audit found that equal events give different results; other code or configuration begins anew" : "on")),
            ("memoized", .number(Double(counts?.memoized ?? 0))), ("runs", .number(Double(counts?.invocations ?? 0))),
            ("audits", .number(Double(counts?.memoAudits ?? 0))),
        ]
    }

    /// Of a function that an audit has switched off.
    static let offSentence = "run: an audit found that equal events give different results"

    /// What made the key of a request.
    static func trace(_ trace: RequestTrace) -> [(String, Report)] {
        [("function", .text(trace.function)), ("version", .text(trace.version)), ("route", trace.route.map { .text($0) } ?? .null)]
            + (trace.rule.map(members) ?? [])
            + [("parts", .list(trace.parts.map { .object([("name", .text($0.name)), ("value", .text($0.value))]) }))]
    }

    /// - Parameter would: what a lookup would do, where that does not follow from the entry.
    static func explanation(
        _ key: UnsafeRawBufferPointer, _ found: Explanation, _ more: [(String, Report)], would: String? = nil
    ) -> Report {
        func milliseconds(_ span: Span?) -> Report { span.map { .number($0.milliseconds.rounded()) } ?? .null }
        return .object(
            [("key", .text(String(decoding: key, as: UTF8.self))), ("namespace", .text(found.namespace))] + more + [
                ("would", .text(would ?? sentence(found))), ("entry", .text(found.state.rawValue)), ("age_ms", milliseconds(found.age)),
                ("fresh_ms", milliseconds(found.freshness)), ("life_ms", milliseconds(found.life)),
                ("value_bytes", .number(Double(found.valueBytes))), ("charged_bytes", .number(Double(found.chargedBytes))),
                ("cost_ms", .number((Double(found.weight) * 1000).rounded() / 1000)), ("frequency", .number(Double(found.frequency))),
                ("tags", .list(found.tags.map { .text($0) })), ("left", found.departure.map { .text("\($0)") } ?? .null),
                ("fills", .number(Double(found.flights))), ("waiting", .number(Double(found.followers))),
            ])
    }

    /// What a lookup would do now, and why.
    private static func sentence(_ found: Explanation) -> String {
        switch found.state {
        case .fresh, .negative: return "hit: it is fresh"
        case .stale:
            let why = found.isSoftPurged ? "it was purged softly" : "its time has passed"
            return "stale: \(why), so one invocation refreshes it and all are answered with it until then, or wait for that one if it is too old"
        case .bypass: return "run: the last answer must not be shared, so nobody waits for this key"
        case .absent where found.flights > 0: return "wait: an equal invocation is running"
        case .absent:
            guard let departure = found.departure else { return "run: it has not been stored, or left so long ago that it is forgotten" }
            switch departure {
            case .expired: return "run: its time has passed and it was removed"
            case .evicted: return "run: it was removed for space"
            case .purged: return "run: it was purged"
            case .corrupt: return "run: its checksum was wrong, so it was dropped"
            }
        }
    }
}
