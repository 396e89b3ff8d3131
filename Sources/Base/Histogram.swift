/// Counts of times in log-linear buckets: 8 a power of two, so a quantile is exact within 12.5 %.
///
/// Holds 1 µs to 73 minutes; shorter and longer times fall in the first and last bucket. Recording is one addition.
/// (A fixed array of 256 counts: the Prometheus buckets and the percentiles of `hearth stats` come from the same one.)
package struct Histogram: Sendable {
    private static let bucketCount = 8 * 29
    private var buckets = [UInt64](repeating: 0, count: bucketCount)
    package private(set) var count: UInt64 = 0
    package private(set) var sum: Span = .zero

    package init() {}

    private static func bucket(of span: Span) -> Int {
        let microseconds = span.nanoseconds / 1_000
        if microseconds < 8 { return Int(microseconds) }
        let power = 63 - microseconds.leadingZeroBitCount
        let index = (power - 2) * 8 + Int((microseconds >> UInt64(power - 3)) & 7)
        return min(index, bucketCount - 1)
    }

    /// The first time, in nanoseconds, that is above bucket `index`.
    private static func upperBound(of index: Int) -> UInt64 {
        if index < 8 { return UInt64(index + 1) * 1_000 }
        let power = UInt64(index / 8 + 2)
        return ((UInt64(8 + index % 8) + 1) << (power - 3)) * 1_000
    }

    package mutating func record(_ span: Span) {
        buckets[Self.bucket(of: span)] &+= 1
        count &+= 1
        sum.nanoseconds &+= span.nanoseconds
    }

    /// The time that `fraction` (0…1) of the recorded times do not exceed, within a bucket's width; zero when empty.
    package func quantile(_ fraction: Double) -> Span {
        guard count > 0 else { return .zero }
        let rank = max(1, UInt64((Double(count) * fraction).rounded(.up)))
        var seen: UInt64 = 0
        for (index, n) in buckets.enumerated() {
            seen += n
            if seen >= rank { return Span(nanoseconds: Self.upperBound(of: index)) }
        }
        return Span(nanoseconds: Self.upperBound(of: Self.bucketCount - 1))
    }

    /// How many recorded times are at most `bound`, counting a bucket when it lies wholly at or below it.
    package func countAtMost(_ bound: Span) -> UInt64 {
        var seen: UInt64 = 0
        for (index, n) in buckets.enumerated() {
            if Self.upperBound(of: index) > bound.nanoseconds { break }
            seen += n
        }
        return seen
    }

    package mutating func merge(_ other: Histogram) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        count &+= other.count
        sum.nanoseconds &+= other.sum.nanoseconds
    }
}
