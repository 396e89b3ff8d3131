internal import Foundation

/// A place's time of day, by the time zone database.
package struct Zone: Sendable {
    private let zone: TimeZone

    /// nil: there is no such zone. Names are those of the database (`Europe/Berlin`, `UTC`).
    package init?(_ name: String) {
        guard let zone = TimeZone(identifier: name) else { return nil }
        self.zone = zone
    }

    /// Seconds east of UTC, at an instant in seconds since 1970.
    func offset(at instant: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(instant))))
    }

    /// What clocks show at an instant.
    func local(_ instant: Int64) -> LocalTime { LocalTime(seconds: instant + offset(at: instant)) }

    /// The instant at which clocks show `time`: the first, where they show it twice; nil, where they are put forward over it.
    func instant(_ time: LocalTime) -> Int64? {
        // Before and after a change of the clocks, which are a day apart at the most.
        [offset(at: time.seconds - 86_400), offset(at: time.seconds + 86_400)]
            .map { (instant: time.seconds - $0, offset: $0) }
            .filter { offset(at: $0.instant) == $0.offset }
            .map(\.instant).min()
    }
}

/// What a calendar and a clock on the wall show: Gregorian, to the second.
package struct LocalTime: Hashable, Sendable {
    /// Since 1970, as if the wall were in Greenwich.
    package let seconds: Int64

    package init(seconds: Int64) { self.seconds = seconds }

    init(day: Int64, hour: Int, minute: Int, second: Int = 0) {
        seconds = day * 86_400 + Int64(hour * 3600 + minute * 60 + second)
    }

    var day: Int64 { Days.quotient(seconds, 86_400) }
    var secondOfDay: Int { Int(seconds - day * 86_400) }
}

/// Days since 1970 of the Gregorian calendar.
enum Days {
    /// Rounded down.
    static func quotient(_ a: Int64, _ b: Int64) -> Int64 { a >= 0 ? a / b : -((-a + b - 1) / b) }

    /// Years are counted from March, so that the leap day is the last: 400 of them have 146,097 days.
    static func number(year: Int, month: Int, day: Int) -> Int64 {
        let year = Int64(month <= 2 ? year - 1 : year)
        let era = quotient(year, 400)
        let yearOfEra = year - era * 400
        let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    static func date(_ number: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = number + 719_468
        let era = quotient(shifted, 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = Int(monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9)
        return (Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0), month, Int(dayOfYear - (153 * monthFromMarch + 2) / 5) + 1)
    }

    /// 1 is Sunday, as in AWS's cron.
    static func weekday(_ number: Int64) -> Int { Int(number + 4 - quotient(number + 4, 7) * 7) + 1 }

    static func count(year: Int, month: Int) -> Int {
        let next = month == 12 ? Self.number(year: year + 1, month: 1, day: 1) : Self.number(year: year, month: month + 1, day: 1)
        return Int(next - Self.number(year: year, month: month, day: 1))
    }
}
