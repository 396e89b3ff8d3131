import Base
import Testing

@testable import Cache

@Suite struct AdviceSentenceTests {
    private func forecasts(_ rows: (UInt64, Double, Double?)...) -> [TTLForecast] {
        rows.map { TTLForecast(ttl: .seconds($0.0), hitRatio: $0.1, staleShare: $0.2) }
    }

    @Test func theLongestLifetimeThatIsWorthItAndTrueIsAdvised() {
        let all = forecasts(
            (1, 0.1, 0), (60, 0.5, 0.002), (300, 0.661, 0.003), (900, 0.77, 0.009), (3600, 0.775, 0.0095), (14_400, 0.9, 0.2))
        #expect(AdviceSentence.of(all, lookups: 5000, ttl: .seconds(300)) == "ttl = 900 instead of 300: hits 66.1 % → 77.0 %, stale 0.3 % → 0.9 %")
        #expect(AdviceSentence.of(all, lookups: 5000, ttl: nil) == "memoize with ttl = 900: 77.0 % of calls answered from the store, 0.9 % with stale answers")
        #expect(AdviceSentence.of(all, lookups: 5000, ttl: .seconds(1200)).hasPrefix("keep ttl = 1200: 77.0 %"))
        #expect(AdviceSentence.of(all, lookups: 199, ttl: nil) == "199 of 200 lookups seen: not enough to say something")
        #expect(AdviceSentence.of(forecasts((1, 0.01, 0), (60, 0.9, 0.5)), lookups: 900, ttl: nil).hasPrefix("not worth storing"))
        #expect(AdviceSentence.of(forecasts((60, 0.5, nil)), lookups: 900, ttl: nil).hasSuffix("unknown with stale answers"))
    }
}
