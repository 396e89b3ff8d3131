package import Base

/// What people are told of forecasts: the lifetime that is worth it, in one sentence.
package enum AdviceSentence {
    /// Stale answers that most accept.
    private static let staleMax = 0.01
    /// A longer lifetime must bring this much more.
    private static let gainMin = 0.01
    /// Below this a store is not worth its memory.
    private static let hitRatioMin = 0.05
    /// Fewer lookups say nothing.
    package static let lookupsMin: UInt64 = 200

    /// - Parameter ttl: as it is now; nil: nothing is stored.
    package static func of(_ forecasts: [TTLForecast], lookups: UInt64, ttl: Span?) -> String {
        guard lookups >= lookupsMin else { return "\(lookups) of \(lookupsMin) lookups seen: not enough to say something" }
        guard let best = best(forecasts) else { return "not worth storing: equal calls come too seldom, or their answers change too often" }
        guard let ttl else { return "memoize with ttl = \(seconds(best.ttl)): \(effect(best))" }
        guard let now = forecasts.last(where: { $0.ttl <= ttl }) else { return "ttl = \(seconds(best.ttl)) instead of \(seconds(ttl)): \(effect(best))" }
        if best.ttl == now.ttl { return "keep ttl = \(seconds(ttl)): \(effect(now))" }
        return "ttl = \(seconds(best.ttl)) instead of \(seconds(ttl)): hits \(percent(now.hitRatio)) → \(percent(best.hitRatio))"
            + ", stale \(percent(now.staleShare)) → \(percent(best.staleShare))"
    }

    /// The longest lifetime that still brings something and serves few stale answers.
    static func best(_ forecasts: [TTLForecast]) -> TTLForecast? {
        var best: TTLForecast?
        for forecast in forecasts where forecast.hitRatio >= hitRatioMin && (forecast.staleShare ?? 0) <= staleMax {
            if forecast.hitRatio >= (best?.hitRatio ?? 0) + gainMin { best = forecast }
        }
        return best
    }

    private static func effect(_ forecast: TTLForecast) -> String {
        "\(percent(forecast.hitRatio)) of calls answered from the store, \(percent(forecast.staleShare)) with stale answers"
    }

    private static func seconds(_ span: Span) -> String { "\(Int(span.seconds))" }

    private static func percent(_ share: Double?) -> String {
        guard let share else { return "unknown" }
        let tenths = Int((share * 1000).rounded())
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
