/// When an event is tried again, and when it is given up. Pure.
///
/// After an attempt that ran and failed: once more after a minute, then after two, at most `retriesMax` times. After a refusal (a
/// throttle, or a fault that is not the function's): again after 1 s, doubled each time up to 5 minutes. Nothing is tried when it is
/// older than `ageMaxSeconds`; if the next attempt would come later than that, it is given up at once. (Lambda Developer Guide, "How
/// Lambda handles errors and retries with asynchronous invocation"; recorded 2025-11-25.)
package struct RetryRule: Equatable, Sendable {
    package enum Attempt: Equatable, Sendable {
        case succeeded
        /// The function failed, or its init, or it timed out.
        case failed
        /// Nothing of it ran.
        case refused
        /// The function's reserved concurrency is 0.
        case reservedIsZero
    }

    package enum Verdict: Equatable, Sendable {
        case done
        case again(EventProgress)
        case giveUp(FailureCondition)
    }

    /// 0…2.
    package var retriesMax = 2
    /// 60…21,600.
    package var ageMaxSeconds = 21_600
    /// Seconds before the first retry; the second waits twice as long.
    package var delaySeconds = 60

    package init(retriesMax: Int = 2, ageMaxSeconds: Int = 21_600, delaySeconds: Int = 60) {
        self.retriesMax = retriesMax
        self.ageMaxSeconds = ageMaxSeconds
        self.delaySeconds = delaySeconds
    }

    private static let backoffMaxSeconds = 300

    /// - Parameter now: milliseconds since 1970.
    package func judge(_ attempt: Attempt, _ event: QueuedEvent, at now: Int64) -> Verdict {
        var progress = event.progress
        switch attempt {
        case .succeeded: return .done
        case .reservedIsZero: return .giveUp(.zeroReservedConcurrency)
        case .failed:
            progress.attempts += 1
            progress.refusals = 0
            guard progress.attempts <= retriesMax else { return .giveUp(.retriesExhausted) }
            progress.due = now + Int64(delaySeconds) * 1000 << Int64(progress.attempts - 1)
        case .refused:
            let seconds = min(Self.backoffMaxSeconds, 1 << min(progress.refusals, 9))
            progress.refusals += 1
            progress.due = now + Int64(seconds) * 1000
        }
        guard progress.due <= end(of: event) else { return .giveUp(.eventAgeExceeded) }
        return .again(progress)
    }

    /// May an event still be tried at `now`?
    package func isTooOld(_ event: QueuedEvent, at now: Int64) -> Bool { now > end(of: event) }

    private func end(of event: QueuedEvent) -> Int64 { event.accepted + Int64(ageMaxSeconds) * 1000 }
}
