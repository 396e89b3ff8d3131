import Base
import EventQueue
import Testing

@Suite struct RetryRuleTests {
    private func event(attempts: Int = 0, refusals: Int = 0) -> QueuedEvent {
        QueuedEvent(
            sequence: 1, id: RequestID(high: 1, low: 2), function: "f", qualifier: nil, accepted: 1_000_000,
            progress: EventProgress(due: 0, attempts: attempts, refusals: refusals), source: "invoke")
    }

    /// Follows an event through outcomes, each at the moment it is due; what became of it, and after how many seconds.
    private func follow(_ rule: RetryRule, _ attempts: [RetryRule.Attempt]) -> String {
        var event = event()
        var now = event.accepted
        for attempt in attempts {
            switch rule.judge(attempt, event, at: now) {
            case .done: return "done after \((now - event.accepted) / 1000)"
            case .giveUp(let condition): return "\(condition.rawValue) after \((now - event.accepted) / 1000)"
            case .again(let progress):
                event.progress = progress
                now = progress.due
            }
        }
        return "waits until \((now - event.accepted) / 1000), attempts \(event.progress.attempts)"
    }

    @Test func failuresAreRetriedAfterOneMinuteAndThenTwo() {
        let rule = RetryRule()
        #expect(follow(rule, [.failed]) == "waits until 60, attempts 1" && follow(rule, [.failed, .failed]) == "waits until 180, attempts 2")
        #expect(follow(rule, [.failed, .failed, .failed]) == "RetriesExhausted after 180")
        #expect(follow(rule, [.failed, .failed, .succeeded]) == "done after 180" && follow(rule, [.succeeded]) == "done after 0")
        #expect(follow(RetryRule(retriesMax: 0), [.failed]) == "RetriesExhausted after 0")
        #expect(follow(RetryRule(retriesMax: 1, delaySeconds: 3), [.failed, .failed]) == "RetriesExhausted after 3")
        #expect(follow(rule, [.reservedIsZero]) == "ZeroReservedConcurrency after 0")
    }

    @Test func refusalsBackOffToFiveMinutesAndCountAsNoAttempt() {
        let rule = RetryRule()
        #expect(follow(rule, [.refused]) == "waits until 1, attempts 0" && follow(rule, [.refused, .refused, .refused]) == "waits until 7, attempts 0")
        // 1 + 2 + … + 256, then 300 each, up to six hours.
        #expect(follow(rule, Array(repeating: .refused, count: 10)) == "waits until 811, attempts 0")
        #expect(follow(rule, Array(repeating: .refused, count: 200)) == "EventAgeExceeded after 21511")
        // One that ran makes the next refusal the first again.
        #expect(follow(rule, [.refused, .refused, .failed, .refused]) == "waits until 64, attempts 1")
    }

    @Test func nothingIsTriedBeyondItsAge() {
        let rule = RetryRule(ageMaxSeconds: 100)
        #expect(follow(rule, [.failed, .failed]) == "EventAgeExceeded after 60" && follow(rule, [.failed, .succeeded]) == "done after 60")
        #expect(!rule.isTooOld(event(), at: 1_100_000) && rule.isTooOld(event(), at: 1_100_001))
    }
}
