import Testing

@testable import Pool

@Suite struct RecycleRuleTests {
    /// The invocation after which a worker is spent, whose peak after invocation n is `peak(n)`; nil: not within 10,000.
    private func end(_ rule: RecycleRule, _ peak: (Int) -> Int) -> Int? {
        var life = RecycleRule.Life(peakKiB: peak(0))
        return (1...10_000).first { rule.isSpent(&life, peakKiB: peak($0)) }
    }

    private func rule(_ invocations: Int? = nil, growth: Int? = nil, trend: Bool = false) -> RecycleRule {
        RecycleRule(invocationsMax: invocations, growthMaxKiB: growth, followsTrend: trend, memoryKiB: 128 * 1024)
    }

    @Test func aWorkerIsSpentAfterItsInvocationsOrItsGrowth() {
        #expect(end(rule(), { _ in 10_000 }) == nil && rule().isOff)
        #expect(end(rule(100), { _ in 10_000 }) == 100 && !rule(100).isOff)
        #expect(end(rule(growth: 1000), { 10_000 + $0 * 10 }) == 101)
        #expect(end(rule(50, growth: 1000), { 10_000 + $0 * 10 }) == 50)
    }

    @Test func aSteadyLeakIsRetiredBeforeItsMemoryEndsAndAFillingCacheIsNot() throws {
        let leak: (Int) -> Int = { 20_000 + $0 * 20 }
        let last = try #require(end(rule(trend: true), leak))
        #expect(leak(last) < 128 * 1024 && leak(last + 9 * RecycleRule.window) > 128 * 1024, "\(last)")
        #expect(end(rule(trend: true), { 20_000 + min($0, 400) * 100 }) == nil)
        #expect(end(rule(trend: true), { 20_000 + ($0 / 700) * 1000 }) == nil, "it grows now and then")
    }
}
