import Foundation

/// One benchmark: a file in `Benches/` and a row in `benches`.
protocol Bench: Sendable {
    var name: String { get }
    /// One sentence for `dev bench --help`.
    var purpose: String { get }
    /// Starts what it needs, measures, ends it.
    func run(_ setting: BenchSetting) throws -> [Figure]
}

/// All benchmarks, in the order in which they run.
let benches: [any Bench] = [
    HealthzBench(), InvokeBench(), IdleBench(), ColdstartBench(), DensityBench(), MemoBench(), CacheBench(), ObjectsBench(), EdgeBench(),
    LambdaBench(),
]

/// A measured number with what it is held to.
struct Figure {
    enum Goal {
        /// In the figure's own unit.
        case atMost(Double)
        /// Of the peer's number in the same run.
        case atMostTimes(Double)
        case atLeastTimes(Double)
        case atLeast(Double)
        /// Only shown, to explain the others.
        case none
    }

    /// As in `invoke: CPU per request`.
    var name: String
    var unit: String
    var hearth: Double
    /// What Hearth is compared with; its number is nil where it is not installed.
    var peer: (name: String, value: Double?)?
    var goal: Goal

    var ratio: Double? { peer?.value.map { $0 > 0 ? hearth / $0 : .infinity } }

    /// nil: nothing to compare with, or no goal.
    var isMet: Bool? {
        switch goal {
        case .atMost(let bound): hearth <= bound
        case .atLeast(let bound): hearth >= bound
        case .atMostTimes(let factor): ratio.map { $0 <= factor }
        case .atLeastTimes(let factor): ratio.map { $0 >= factor }
        case .none: nil
        }
    }

    var goalText: String {
        switch goal {
        case .atMost(let bound): "≤ \(number(bound)) \(unit)"
        case .atLeast(let bound): "≥ \(number(bound)) \(unit)"
        case .atMostTimes(let factor): "≤ \(number(factor)) ×"
        case .atLeastTimes(let factor): "≥ \(number(factor)) ×"
        case .none: "–"
        }
    }
}

/// Three significant digits, without an exponent.
func number(_ value: Double) -> String {
    let digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 || value == 0 ? 2 : 3
    let text = String(format: "%.\(digits)f", value)
    // "2.00" reads as if it had been measured to that digit.
    return text.contains(".") && value == value.rounded() ? String(text.prefix { $0 != "." }) : text
}
