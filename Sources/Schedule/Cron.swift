/// AWS's cron: minutes, hours, day of month, month, day of week, year (EventBridge Scheduler User Guide, "Cron-based schedules").
///
/// One of the two days is `?`. `L` is the last day of the month, or (`6L`) its last Friday; `15W` the weekday nearest to the 15th within
/// the month; `6#3` its third Friday.
struct Cron: Hashable, Sendable {
    private enum MonthDay: Hashable { case each(Set<Int>), last, nearestWeekday(Int), lastWeekday }
    private enum WeekDay: Hashable { case each(Set<Int>), last(Int), nth(Int, Int) }
    private enum Choice: Hashable { case ofMonth([MonthDay]), ofWeek([WeekDay]) }

    private let minutes: [Int]
    private let hours: [Int]
    private let months: Set<Int>
    private let years: Set<Int>
    private let days: Choice

    static let years = 1970...2199

    init(_ text: Substring) throws(ScheduleError) {
        let fields = text.split(separator: " ").map { $0.uppercased() }
        guard fields.count == 6 else {
            throw ScheduleError("has \(fields.count) fields: cron needs minutes, hours, day of month, month, day of week and year")
        }
        minutes = try Self.values(fields[0], Field(name: "minutes", range: 0...59)).sorted()
        hours = try Self.values(fields[1], Field(name: "hours", range: 0...23)).sorted()
        months = try Self.values(fields[3], Field(name: "month", range: 1...12, names: Self.monthNames))
        years = try Self.values(fields[5], Field(name: "year", range: Self.years))
        switch (fields[2], fields[4]) {
        case ("?", "?"): throw ScheduleError("has ? for both days: say one of day of month and day of week")
        case (let day, "?"): days = .ofMonth(try Self.parts(day, Self.monthDay))
        case ("?", let day): days = .ofWeek(try Self.parts(day, Self.weekDay))
        default: throw ScheduleError("says both day of month and day of week: write ? for one of them")
        }
    }

    // MARK: Reading

    private struct Field {
        let name: String
        let range: ClosedRange<Int>
        var names: [String] = []

        /// The number of a name is its place, counted from the range's first.
        func number(_ text: Substring) throws(ScheduleError) -> Int {
            let number = names.firstIndex(of: String(text)).map { $0 + range.lowerBound } ?? (text.allSatisfy(\.isASCII) ? Int(text) : nil)
            guard let number, range.contains(number), text.first != "+" else {
                throw ScheduleError("has \(text) for \(name): use \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
    }

    private static let monthNames = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    private static let monthField = Field(name: "day of month", range: 1...31)
    private static let weekField = Field(name: "day of week", range: 1...7, names: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])

    private static func parts<T>(_ text: String, _ read: (Substring) throws(ScheduleError) -> T) throws(ScheduleError) -> [T] {
        var all: [T] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) { all.append(try read(part)) }
        return all
    }

    private static func values(_ text: String, _ field: Field) throws(ScheduleError) -> Set<Int> {
        var all: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) { all.formUnion(try values(part, field)) }
        return all
    }

    /// `*`, `5`, `1-5`, and each of them with a step: `*/10`, `5/10` (from 5 on), `1-30/10`.
    private static func values(_ part: Substring, _ field: Field) throws(ScheduleError) -> Set<Int> {
        let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var step: Int?
        if halves.count == 2 {
            guard let number = Int(halves[1]), number > 0, number <= field.range.upperBound else {
                throw ScheduleError("has /\(halves[1]) for \(field.name): a step is a whole number from 1")
            }
            step = number
        }
        let base = halves[0]
        let bounds: ClosedRange<Int>
        if base == "*" {
            bounds = field.range
        } else if let dash = base.firstIndex(of: "-"), dash > base.startIndex {
            let first = try field.number(base[..<dash]), last = try field.number(base[base.index(after: dash)...])
            guard first <= last else { throw ScheduleError("has \(base) for \(field.name): a range begins with its smaller end") }
            bounds = first...last
        } else {
            let first = try field.number(base)
            bounds = first...(step == nil ? first : field.range.upperBound)
        }
        return Set(stride(from: bounds.lowerBound, through: bounds.upperBound, by: step ?? 1))
    }

    private static func monthDay(_ part: Substring) throws(ScheduleError) -> MonthDay {
        if part == "L" { return .last }
        if part == "LW" || part == "WL" { return .lastWeekday }
        if part.last == "W" { return .nearestWeekday(try monthField.number(part.dropLast())) }
        return .each(try values(part, monthField))
    }

    private static func weekDay(_ part: Substring) throws(ScheduleError) -> WeekDay {
        // The last day of the week.
        if part == "L" { return .each([7]) }
        if part.last == "L" { return .last(try weekField.number(part.dropLast())) }
        if let hash = part.firstIndex(of: "#") {
            guard let which = Int(part[part.index(after: hash)...]), (1...5).contains(which) else {
                throw ScheduleError("has \(part) for day of week: behind # stands which of the month, 1 to 5")
            }
            return .nth(try weekField.number(part[..<hash]), which)
        }
        return .each(try values(part, weekField))
    }

    // MARK: Asking

    /// The first instant after `time` (seconds since 1970) at which clocks of the zone show what this says; nil: none before 2200. What the
    /// clocks are put forward over is left out, what they show twice counts once.
    func next(after time: Int64, in zone: Zone) -> Int64? {
        let start = zone.local(time)
        let today = Days.date(start.day)
        for year in Self.years where year >= today.year && years.contains(year) {
            let isThisYear = year == today.year
            for month in (isThisYear ? today.month : 1)...12 where months.contains(month) {
                let first = Days.number(year: year, month: month, day: 1)
                for day in days(year: year, month: month) {
                    let number = first + Int64(day) - 1
                    guard number >= start.day else { continue }
                    if let found = next(after: time, onDay: number, from: start, in: zone) { return found }
                }
            }
        }
        return nil
    }

    private func next(after time: Int64, onDay day: Int64, from start: LocalTime, in zone: Zone) -> Int64? {
        for hour in hours where LocalTime(day: day, hour: hour, minute: 59, second: 59).seconds >= start.seconds {
            for minute in minutes {
                let local = LocalTime(day: day, hour: hour, minute: minute)
                guard local.seconds >= start.seconds, let instant = zone.instant(local), instant > time else { continue }
                return instant
            }
        }
        return nil
    }

    /// The days of a month that count, ascending.
    private func days(year: Int, month: Int) -> [Int] {
        let count = Days.count(year: year, month: month)
        let first = Days.number(year: year, month: month, day: 1)
        func weekday(_ day: Int) -> Int { Days.weekday(first + Int64(day) - 1) }
        var found: Set<Int> = []
        switch days {
        case .ofMonth(let all):
            for one in all {
                switch one {
                case .each(let days): found.formUnion(days.filter { $0 <= count })
                case .last: found.insert(count)
                case .nearestWeekday(let day):
                    if day <= count { found.insert(Self.nearestWeekday(day, weekday(day), count)) }
                case .lastWeekday: found.insert(Self.nearestWeekday(count, weekday(count), count))
                }
            }
        case .ofWeek(let all):
            for one in all {
                switch one {
                case .each(let days): found.formUnion((1...count).filter { days.contains(weekday($0)) })
                case .last(let day): found.formUnion((count - 6...count).filter { weekday($0) == day })
                case .nth(let day, let which):
                    found.formUnion((1...count).filter { weekday($0) == day && ($0 + 6) / 7 == which })
                }
            }
        }
        return found.sorted()
    }

    /// Saturday's is the Friday before, Sunday's the Monday after, but within the month.
    private static func nearestWeekday(_ day: Int, _ weekday: Int, _ count: Int) -> Int {
        switch weekday {
        case 7: day > 1 ? day - 1 : day + 2
        case 1: day < count ? day + 1 : day - 2
        default: day
        }
    }
}
