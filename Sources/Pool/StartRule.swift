internal import Base

/// Is another on-demand worker worth its start? (The autoscaler's place: a rule, not yet a controller.)
///
/// A start pays when the queue would keep somebody waiting for longer than the start takes. Until both times have been
/// seen once, it does.
struct StartRule {
    /// Weight of the newest time in the means.
    private static let weight = 0.2
    private var meanRun: Double?
    private var meanInit: Double?

    mutating func ran(for span: Span) { meanRun = Self.mean(meanRun, span) }
    mutating func initialised(in span: Span) { meanInit = Self.mean(meanInit, span) }

    private static func mean(_ old: Double?, _ span: Span) -> Double {
        let new = Double(span.nanoseconds)
        return old.map { $0 + weight * (new - $0) } ?? new
    }

    /// - Parameters:
    ///   - waiting: calls that no starting worker is meant for.
    ///   - serving: workers that run a call now.
    ///   - oldestWait: how long the first of the queue has waited.
    func pays(waiting: Int, serving: Int, oldestWait: Span) -> Bool {
        guard let meanRun, let meanInit, serving > 0 else { return true }
        if Double(oldestWait.nanoseconds) >= meanInit { return true }
        return meanRun * Double(waiting) / Double(serving) > meanInit
    }

    /// How long a call waits at the most before a start is judged to pay.
    var patience: Span? { meanInit.map { Span(nanoseconds: UInt64($0.rounded(.up))) } }
}
