/// When something is to happen: `rate(5 minutes)`, `cron(0 8 ? * MON-FRI *)`, `at(2027-01-01T09:30:00)`, on the clocks of a time zone, as
/// EventBridge Scheduler reads them (its User Guide, "Schedule types"). Pure: instants are arguments, in milliseconds since 1970.
///
/// Daylight saving: a time that the clocks are put forward over is left out, one that they show twice counts once, the first time. A rate
/// is a duration, on which clocks have no influence: `rate(1 day)` is 24 hours.
package struct Schedule: Sendable {
    private enum Form {
        case rate(Int64)
        case cron(Cron)
        case at(Int64)
    }

    package let expression: String
    private let form: Form
    private let zone: Zone

    package init(_ expression: String, zone name: String = "UTC") throws(ScheduleError) {
        guard let zone = Zone(name) else { throw ScheduleError("has the time zone \(name), which is not known: write for example Europe/Berlin") }
        self.zone = zone
        self.expression = expression
        guard let open = expression.firstIndex(of: "("), expression.last == ")" else { throw Self.unknown }
        let inside = expression[expression.index(after: open)...].dropLast()
        switch expression[..<open] {
        case "rate": form = .rate(try Self.rate(inside))
        case "cron": form = .cron(try Cron(inside))
        case "at": form = .at(try Self.at(inside, zone))
        default: throw Self.unknown
        }
    }

    private static let unknown = ScheduleError("is none of rate(VALUE UNIT), cron(…) with six fields and at(yyyy-mm-ddThh:mm:ss)")

    private static func rate(_ text: Substring) throws(ScheduleError) -> Int64 {
        let words = text.split(separator: " ")
        let units: [Substring: Int64] = [
            "minute": 60_000, "minutes": 60_000, "hour": 3_600_000, "hours": 3_600_000, "day": 86_400_000, "days": 86_400_000,
        ]
        guard words.count == 2, let count = Int64(words[0]), (1...1_000_000).contains(count), let unit = units[words[1]] else {
            throw ScheduleError("is no rate: write a whole number from 1 and minutes, hours or days, as in rate(5 minutes)")
        }
        return count * unit
    }

    private static func at(_ text: Substring, _ zone: Zone) throws(ScheduleError) -> Int64 {
        let numbers = text.split { "-T:".contains($0) }.compactMap { $0.allSatisfy(\.isNumber) ? Int($0) : nil }
        let shape = text.map { $0.isNumber ? "0" : $0 }
        guard String(shape) == "0000-00-00T00:00:00", numbers.count == 6, (1...12).contains(numbers[1]),
            (1...Days.count(year: numbers[0], month: numbers[1])).contains(numbers[2]), numbers[3] < 24, numbers[4] < 60, numbers[5] < 60
        else { throw ScheduleError("is no time: write at(yyyy-mm-ddThh:mm:ss)") }
        let day = Days.number(year: numbers[0], month: numbers[1], day: numbers[2])
        guard let instant = zone.instant(LocalTime(day: day, hour: numbers[3], minute: numbers[4], second: numbers[5])) else {
            throw ScheduleError("names a time that the clocks of its zone are put forward over: there is no such time")
        }
        return instant * 1000
    }

    /// The first tick after `time`; nil: there is none any more.
    ///
    /// - Parameter start: of a rate, which ticks then for the first time.
    package func next(after time: Int64, start: Int64) -> Int64? {
        switch form {
        case .rate(let period): time < start ? start : start + ((time - start) / period + 1) * period
        case .cron(let cron): cron.next(after: Days.quotient(time, 1000), in: zone).map { $0 * 1000 }
        case .at(let instant): instant > time ? instant : nil
        }
    }

    /// The last tick that is not after `time`, of those from `first` on, which is one.
    package func last(from first: Int64, through time: Int64, start: Int64) -> Int64 {
        // Behind `early` there is a tick up to `time`, behind `late` there is none.
        var early = first - 1, late = time
        while late - early > 1 {
            let middle = early + (late - early) / 2
            if let tick = next(after: middle, start: start), tick <= time { early = middle } else { late = middle }
        }
        return next(after: early, start: start) ?? first
    }
}

/// What becomes of ticks that nobody was there for (the node was down for a minute or longer).
package enum MissedTicks: String, Sendable, CaseIterable {
    /// However many there were, one is made up for, at once.
    case once
    /// They are gone.
    case skip

    /// From so many milliseconds on a tick is not late but missed.
    package static let lateness: Int64 = 60_000

    /// What is to be told at `now` of a schedule whose next tick, `due`, has come: the tick's time, or nothing.
    package func tick(due: Int64, now: Int64, of schedule: Schedule, start: Int64) -> Int64? {
        guard now - due >= Self.lateness else { return due }
        return self == .once ? schedule.last(from: due, through: now, start: start) : nil
    }
}

/// Why an expression is none; a sentence that goes on after the expression.
package struct ScheduleError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
