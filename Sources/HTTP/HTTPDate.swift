package import Base

/// A time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`, always 29 bytes (RFC 9110 §5.6.7, IMF-fixdate).
package struct HTTPDate: Equatable, Sendable {
    package static let byteCount = 29
    /// 9999-12-31T23:59:59Z: the format has four digits for a year.
    private static let secondsMax: UInt64 = 253_402_300_799

    package let epochSeconds: UInt64

    /// Seconds since 1970-01-01T00:00:00Z; what is after the year 9999 is its last second.
    package init(epochSeconds: UInt64) { self.epochSeconds = min(epochSeconds, Self.secondsMax) }

    /// Writes the 29 bytes to `out`.
    package func write(to out: UnsafeMutablePointer<UInt8>) {
        let days = Int(epochSeconds / 86_400)
        let (year, month, day) = Self.civil(days)
        let second = Int(epochSeconds % 86_400)
        func text(_ at: Int, _ names: StaticString, _ index: Int) {
            for i in 0..<3 { out[at + i] = names.utf8Start[index * 3 + i] }
        }
        func two(_ at: Int, _ value: Int) {
            out[at] = 0x30 + UInt8(value / 10)
            out[at + 1] = 0x30 + UInt8(value % 10)
        }
        let template: StaticString = "Thu, 01 Jan 1970 00:00:00 GMT"
        for at in 0..<Self.byteCount { out[at] = template.utf8Start[at] }
        text(0, "ThuFriSatSunMonTueWed", days % 7)
        two(5, day)
        text(8, "JanFebMarAprMayJunJulAugSepOctNovDec", month - 1)
        two(12, year / 100)
        two(14, year % 100)
        two(17, second / 3600)
        two(20, second / 60 % 60)
        two(23, second % 60)
    }

    /// The Gregorian date of a day counted from 1970-01-01.
    ///
    /// Counts from 1 March of year 0, so that the leap day is the last of a year and a month's length follows
    /// from `(153 m + 2) / 5`, the days before month m.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let fromMarch = (5 * dayOfYear + 2) / 153
        let month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
        let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * fromMarch + 2) / 5 + 1)
    }
}

extension ByteBuffer {
    package func append(_ date: HTTPDate) {
        date.write(to: reserve(HTTPDate.byteCount))
        commit(HTTPDate.byteCount)
    }
}
