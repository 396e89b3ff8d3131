import Base

/// Keys whose origin fails: not probed again before their pause is over, which doubles with each failure (reference D3, nginx#1000).
struct FailingOrigins {
    private var pauses: [UInt64: (retryAt: Tick, pause: Span)] = [:]

    func isPaused(_ hash: UInt64, at tick: Tick) -> Bool {
        guard !pauses.isEmpty, let entry = pauses[hash] else { return false }
        return tick < entry.retryAt
    }

    mutating func failed(_ hash: UInt64, at tick: Tick) {
        guard pauses[hash] != nil || pauses.count < Limits.cacheFailingKeysMax else { return }
        let last = pauses[hash]?.pause ?? .zero
        let pause = min(max(Limits.cacheProbePause, last + last), Limits.cacheProbePauseMax)
        pauses[hash] = (tick + pause.wholeMilliseconds, pause)
    }

    mutating func recovered(_ hash: UInt64) { if !pauses.isEmpty { pauses[hash] = nil } }

    var count: Int { pauses.count }
}
