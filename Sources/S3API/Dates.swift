internal import Base
internal import HTTP

/// Times as S3 writes and reads them.
enum Dates {
    /// `2026-11-25T04:00:00.000Z`
    static func iso(milliseconds: Int64) -> String {
        let time = UTCTime(epochSeconds: UInt64(max(0, milliseconds) / 1000))
        return "\(time.date)T\(time.time).\(UTCTime.pad(Int(max(0, milliseconds) % 1000), 3))Z"
    }

    /// `2026-11-25T04:00:00Z`
    static func isoSeconds(milliseconds: Int64) -> String {
        let time = UTCTime(epochSeconds: UInt64(max(0, milliseconds) / 1000))
        return "\(time.date)T\(time.time)Z"
    }

    /// `Wed, 25 Nov 2026 04:00:00 GMT`
    static func http(milliseconds: Int64) -> String {
        let buffer = ByteBuffer(capacity: 32)
        buffer.append(HTTPDate(epochSeconds: UInt64(max(0, milliseconds) / 1000)))
        return buffer.string
    }

    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Seconds since 1970 of an HTTP date: `Wed, 25 Nov 2026 04:00:00 GMT` (also with `-0000`, as Python's mail
    /// package writes it), or of an ISO 8601 one; nil for what is neither.
    static func seconds(_ text: String) -> Int64? {
        let parts = text.split(separator: " ").map(String.init)
        if parts.count == 6, let month = months.firstIndex(of: parts[2]) {
            guard let day = Int(parts[1]), let year = Int(parts[3]), let time = clock(parts[4]) else { return nil }
            return epoch(year, month + 1, day).map { $0 + time }
        }
        return milliseconds(iso: text).map { $0 / 1000 }
    }

    /// `2026-11-25`, `2026-11-25T04:00:00Z`, with or without a fraction, `+00:00` or nothing for `Z`; also without `-` and `:`.
    static func milliseconds(iso text: String) -> Int64? {
        let halves = text.split(separator: "T", maxSplits: 1, omittingEmptySubsequences: false)
        guard let date = halves.first else { return nil }
        let numbers = date.filter { $0 != "-" }
        guard numbers.utf8.count == 8, numbers.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let year = Int(numbers.prefix(4)),
            let month = Int(numbers.dropFirst(4).prefix(2)), let day = Int(numbers.suffix(2)), let days = epoch(year, month, day)
        else { return nil }
        guard halves.count == 2 else { return days * 1000 }
        var rest = halves[1]
        for zone in ["Z", "+00:00", "-00:00", "+0000"] where rest.hasSuffix(zone) { rest = rest.dropLast(zone.count) }
        let pieces = rest.split(separator: ".", omittingEmptySubsequences: false)
        guard pieces.count <= 2, let time = clock(String(pieces[0])) else { return nil }
        var fraction: Int64 = 0
        if pieces.count == 2 {
            let digits = pieces[1].prefix(3)
            guard !digits.isEmpty, pieces[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let value = Int64(digits) else { return nil }
            fraction = value * [100, 10, 1][digits.count - 1]
        }
        return (days + time) * 1000 + fraction
    }

    /// Seconds of `04:05:06` or `040506`.
    private static func clock(_ text: String) -> Int64? {
        let digits = text.filter { $0 != ":" }
        guard digits.utf8.count == 6, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let hour = Int64(digits.prefix(2)),
            let minute = Int64(digits.dropFirst(2).prefix(2)), let second = Int64(digits.suffix(2)), hour < 24, minute < 60, second <= 60
        else { return nil }
        return hour * 3600 + minute * 60 + second
    }

    /// Seconds of the beginning of a day (Howard Hinnant's days from civil).
    private static func epoch(_ year: Int, _ month: Int, _ day: Int) -> Int64? {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1970...9999).contains(year), (1...12).contains(month) else { return nil }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        guard day >= 1, day <= lengths[month - 1] + (month == 2 && isLeap ? 1 : 0) else { return nil }
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return Int64(era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468) * 86_400
    }
}
