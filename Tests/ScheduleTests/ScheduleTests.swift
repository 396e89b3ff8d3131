import Foundation
import Testing

@testable import Schedule

@Suite struct ScheduleTests {
    /// Milliseconds of `2026-03-29T02:30`, on the clocks of a zone; where those show it twice, the first.
    private func time(_ text: String, _ zone: String = "UTC") throws -> Int64 {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: zone)
        format.dateFormat = text.count > 16 ? "yyyy-MM-dd'T'HH:mm:ss" : "yyyy-MM-dd'T'HH:mm"
        return Int64(try #require(format.date(from: text)).timeIntervalSince1970) * 1000
    }

    private func ticks(_ expression: String, from start: String, _ count: Int, zone: String = "UTC") throws -> [String] {
        let schedule = try Schedule(expression, zone: zone)
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: zone)
        format.dateFormat = "EEE yyyy-MM-dd HH:mm"
        let began = try time(start, zone)
        var at = began - 1
        var found: [String] = []
        while found.count < count, let next = schedule.next(after: at, start: began) {
            #expect(next > at && next % 1000 == 0)
            found.append(format.string(from: Date(timeIntervalSince1970: Double(next) / 1000)))
            at = next
        }
        return found
    }

    @Test func eachFieldAndWildcardOfCronMeansWhatAWSSays() throws {
        let cases: [(String, String, [String])] = [
            ("cron(0 10 * * ? *)", "2026-01-01T10:01", ["Fri 2026-01-02 10:00", "Sat 2026-01-03 10:00"]),
            ("cron(15 12 * * ? *)", "2026-12-31T12:15", ["Thu 2026-12-31 12:15", "Fri 2027-01-01 12:15"]),
            ("cron(0 18 ? * MON-FRI *)", "2026-11-27T00:00", ["Fri 2026-11-27 18:00", "Mon 2026-11-30 18:00"]),
            ("cron(0 8 1 * ? *)", "2026-01-02T00:00", ["Sun 2026-02-01 08:00", "Sun 2026-03-01 08:00"]),
            ("cron(0/15 * * * ? *)", "2026-01-01T23:31", ["Thu 2026-01-01 23:45", "Fri 2026-01-02 00:00", "Fri 2026-01-02 00:15"]),
            ("cron(0/10 8-17 ? * 2,6 *)", "2026-01-02T17:45", ["Fri 2026-01-02 17:50", "Mon 2026-01-05 08:00"]),
            ("cron(0 9 L * ? *)", "2027-12-31T10:00", ["Mon 2028-01-31 09:00", "Tue 2028-02-29 09:00", "Fri 2028-03-31 09:00"]),
            ("cron(0 9 ? * 6L *)", "2026-01-01T00:00", ["Fri 2026-01-30 09:00", "Fri 2026-02-27 09:00"]),
            ("cron(0 9 ? * L 2026)", "2026-12-20T00:00", ["Sat 2026-12-26 09:00"]),
            ("cron(0 9 15W * ? *)", "2026-02-01T00:00", ["Mon 2026-02-16 09:00", "Mon 2026-03-16 09:00", "Wed 2026-04-15 09:00"]),
            // Within the month: Saturday the 1st goes to Monday the 3rd, Sunday the 31st to Friday the 29th.
            ("cron(0 9 1W * ? *)", "2026-08-01T00:00", ["Mon 2026-08-03 09:00", "Tue 2026-09-01 09:00"]),
            ("cron(0 9 LW * ? *)", "2026-05-01T00:00", ["Fri 2026-05-29 09:00", "Tue 2026-06-30 09:00"]),
            ("cron(0 9 31W * ? *)", "2026-05-01T00:00", ["Fri 2026-05-29 09:00", "Fri 2026-07-31 09:00"]),
            ("cron(30 6 ? * 6#3 *)", "2026-01-01T00:00", ["Fri 2026-01-16 06:30", "Fri 2026-02-20 06:30"]),
            ("cron(0 0 ? * SUN#5 *)", "2026-01-01T00:00", ["Sun 2026-03-29 00:00", "Sun 2026-05-31 00:00"]),
            ("cron(0 0 29 2 ? *)", "2026-01-01T00:00", ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"]),
            ("cron(0 0 1 jan,JUL ? 2199/1)", "2199-02-01T00:00", ["Mon 2199-07-01 00:00"]),
            ("cron(59 23 31 12 ? 2026-2199/100)", "2026-12-31T23:59", ["Thu 2026-12-31 23:59", "Tue 2126-12-31 23:59"]),
            ("cron(0 0 30 2 ? *)", "2026-01-01T00:00", []), ("cron(0 0 1 1 ? 1970)", "2026-01-01T00:00", []),
            ("at(2027-01-01T09:30:00)", "2026-01-01T00:00", ["Fri 2027-01-01 09:30"]), ("at(2025-01-01T09:30:00)", "2026-01-01T00:00", []),
            ("rate(12 hours)", "2026-01-01T05:00", ["Thu 2026-01-01 05:00", "Thu 2026-01-01 17:00", "Fri 2026-01-02 05:00"]),
        ]
        for (expression, start, wanted) in cases {
            let wantsAll = wanted.count < 2
            let found = try ticks(expression, from: start, wantsAll ? 3 : wanted.count)
            #expect(found == wanted, "\(expression)")
        }
    }

    @Test func whatIsNoScheduleIsRefusedWithTheReason() {
        let cases = [
            ("cron(0 10 * * ?)", "has 5 fields"), ("cron(0 10 * * * *)", "says both"), ("cron(0 10 ? * ? *)", "has ? for both"),
            ("cron(60 10 * * ? *)", "has 60 for minutes: use 0 to 59"), ("cron(0 24 * * ? *)", "hours"), ("cron(0 0 0 * ? *)", "day of month"),
            ("cron(0 0 32W * ? *)", "day of month"), ("cron(0 0 ? * 8 *)", "day of week"), ("cron(0 0 ? * MON#6 *)", "1 to 5"),
            ("cron(0 0 ? 13 MON *)", "month"), ("cron(0 0 ? * FUN *)", "FUN"), ("cron(0 0 1 * ? 1969)", "year"), ("cron(0 0 1 * ? 2200)", "year"),
            ("cron(5-1 0 1 * ? *)", "smaller end"), ("cron(*/0 0 1 * ? *)", "a step"), ("cron(*/x 0 1 * ? *)", "a step"), ("cron(, 0 1 * ? *)", "minutes"),
            ("cron(-1 0 1 * ? *)", "minutes"), ("cron(+1 0 1 * ? *)", "minutes"), ("cron(1,,2 0 1 * ? *)", "minutes"), ("cron(٣ 0 1 * ? *)", "minutes"),
            ("cron(? 0 1 * ? *)", "minutes"), ("cron()", "0 fields"), ("cron(0 0 W * ? *)", "day of month"), ("cron(0 0 ? * # *)", "# "),
            ("rate(0 minutes)", "no rate"), ("rate(5)", "no rate"), ("rate(1.5 hours)", "no rate"), ("rate(5 weeks)", "no rate"), ("rate(-1 days)", "no rate"),
            ("at(2027-02-29T00:00:00)", "no time"), ("at(2027-13-01T00:00:00)", "no time"), ("at(2027-01-01)", "no time"), ("at(2027-01-01T24:00:00)", "no time"),
            ("at(2027-01-01T00:00:00Z)", "no time"), ("", "none of"), ("cron", "none of"), ("every(5 minutes)", "none of"), ("cron(0 10 * * ? *", "none of"),
        ]
        for (expression, says) in cases {
            do {
                _ = try Schedule(expression)
                Issue.record("\(expression) was taken")
            } catch { #expect("\(error)".contains(says), "\(expression): \(error)") }
        }
        #expect(throws: ScheduleError.self) { try Schedule("rate(1 day)", zone: "Europe/Nowhere") }
        #expect(throws: ScheduleError.self) { try Schedule("at(2026-03-29T02:30:00)", zone: "Europe/Berlin") }
    }

    @Test func clocksThatAreMovedLeaveOutWhatTheyDoNotShowAndCountOnceWhatTheyShowTwice() throws {
        let berlin = "Europe/Berlin", newYork = "America/New_York"
        #expect(try ticks("cron(30 2 * * ? *)", from: "2026-03-28T00:00", 3, zone: berlin) == ["Sat 2026-03-28 02:30", "Mon 2026-03-30 02:30", "Tue 2026-03-31 02:30"])
        #expect(try ticks("cron(30 2 * * ? *)", from: "2026-10-24T00:00", 3, zone: berlin) == ["Sat 2026-10-24 02:30", "Sun 2026-10-25 02:30", "Mon 2026-10-26 02:30"])
        // The first of the two, in summer time: 00:30 UTC.
        let fall = try Schedule("cron(30 2 * * ? *)", zone: berlin)
        #expect(try fall.next(after: time("2026-10-24T12:00"), start: 0) == time("2026-10-25T00:30"))
        #expect(try fall.next(after: time("2026-10-25T00:30"), start: 0) == time("2026-10-26T01:30"))
        // Each half hour: 02:00 and 02:30 are not there in spring, and are there once in autumn.
        let halves = try Schedule("cron(0/30 * * * ? *)", zone: newYork)
        func count(_ from: String, _ to: String) throws -> Int {
            var at = try time(from, newYork) - 1
            let end = try time(to, newYork)
            var count = 0
            while let next = halves.next(after: at, start: 0), next < end { (at, count) = (next, count + 1) }
            return count
        }
        #expect(try count("2026-03-08T00:00", "2026-03-09T00:00") == 46 && count("2026-11-01T00:00", "2026-11-02T00:00") == 48)
        // Half an hour (Lord Howe), and a day that there was not (Samoa).
        #expect(try ticks("cron(15 2 * * ? *)", from: "2026-10-03T00:00", 2, zone: "Australia/Lord_Howe") == ["Sat 2026-10-03 02:15", "Mon 2026-10-05 02:15"])
        #expect(try ticks("cron(0 12 * * ? *)", from: "2011-12-29T00:00", 2, zone: "Pacific/Apia") == ["Thu 2011-12-29 12:00", "Sat 2011-12-31 12:00"])
        // A day of a rate is 24 hours, whatever clocks do.
        let rate = try Schedule("rate(1 day)", zone: berlin)
        let start = try time("2026-03-28T12:00", berlin)
        #expect(rate.next(after: start, start: start) == start + 86_400_000 && rate.next(after: start - 1, start: start) == start)
        #expect(rate.next(after: start + 10 * 86_400_000 + 5, start: start) == start + 11 * 86_400_000)
    }

    /// Years against Foundation's calendar, minute by minute where it matters.
    @Test func aYearOfTicksIsWhatANaiveSearchFinds() throws {
        for (expression, zone, matches) in Self.oracles {
            let schedule = try Schedule(expression, zone: zone)
            var calendar = Calendar(identifier: .gregorian)
            calendar.timeZone = try #require(TimeZone(identifier: zone))
            let start = try time("2027-12-01T00:00")
            let end = try time("2029-01-15T00:00")
            var wanted: [Int64] = []
            var seen: Set<DateComponents> = []
            for instant in stride(from: start, to: end, by: 1_800_000) {
                let parts = calendar.dateComponents(
                    [.year, .month, .day, .hour, .minute, .weekday], from: Date(timeIntervalSince1970: Double(instant) / 1000))
                if matches(parts), seen.insert(parts).inserted { wanted.append(instant) }
            }
            var found: [Int64] = []
            var at = start - 1
            while let next = schedule.next(after: at, start: start), next < end {
                found.append(next)
                at = next
            }
            #expect(found == wanted && !wanted.isEmpty, "\(expression) \(zone): \(found.count) for \(wanted.count)")
        }
    }

    private static let oracles: [(String, String, @Sendable (DateComponents) -> Bool)] = [
        ("cron(0/30 * * * ? *)", "America/New_York", { _ in true }),
        ("cron(30 1,2,3 ? * SUN,WED *)", "Europe/Berlin", { $0.minute == 30 && [1, 2, 3].contains($0.hour) && [1, 4].contains($0.weekday) }),
        ("cron(0 0 28-31 2/2 ? *)", "Asia/Kolkata", { $0.minute == 0 && $0.hour == 0 && $0.day! >= 28 && $0.month! % 2 == 0 }),
        ("cron(0 6/6 ? * 3#2 2028)", "Australia/Sydney", { $0.minute == 0 && [6, 12, 18].contains($0.hour) && $0.weekday == 3 && (8...14).contains($0.day!) && $0.year == 2028 }),
        ("cron(30 23 ? MAR-NOV 1-2 *)", "America/St_Johns", { $0.minute == 30 && $0.hour == 23 && (3...11).contains($0.month!) && $0.weekday! <= 2 }),
    ]

    @Test func whatWasMissedIsMadeUpForOnceOrNotAtAll() throws {
        let nightly = try Schedule("cron(0 3 * * ? *)")
        let due = try time("2026-01-01T03:00")
        // In time, and a little late.
        for late: Int64 in [0, 59_999] {
            for rule in MissedTicks.allCases { #expect(rule.tick(due: due, now: due + late, of: nightly, start: 0) == due) }
        }
        // Down for years: one tick, the last; the search takes no time.
        let now = try time("2036-06-15T12:00")
        #expect(MissedTicks.skip.tick(due: due, now: now, of: nightly, start: 0) == nil)
        #expect(try MissedTicks.once.tick(due: due, now: now, of: nightly, start: 0) == time("2036-06-15T03:00"))
        #expect(try nightly.next(after: now, start: 0) == time("2036-06-16T03:00"))
        let minutes = try Schedule("rate(1 minute)")
        #expect(MissedTicks.once.tick(due: due, now: now + 1, of: minutes, start: due) == now)
        let once = try Schedule("at(2026-01-01T03:00:00)")
        #expect(MissedTicks.once.tick(due: due, now: now, of: once, start: 0) == due && once.next(after: now, start: 0) == nil)
        // The busy month lies years back.
        let busy = try Schedule("cron(* * * 1 ? 2026)")
        #expect(try MissedTicks.once.tick(due: due, now: now, of: busy, start: 0) == time("2026-01-31T23:59"))
    }
}
