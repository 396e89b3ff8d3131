package import Base

/// The time of one turn of the loop: monotonic for lifetimes, and what it means on the calendar.
///
/// The two are kept a fixed number of milliseconds apart, so that what PEXPIREAT sets is what PEXPIRETIME answers to the
/// millisecond; only when the wall clock has moved by more than rounding does the distance follow it (lifetimes stay as they are).
package struct Clock: Sendable {
    package private(set) var now: Moment
    private var offset: Int64
    /// Differences up to this are rounding of two clocks, not a step of one.
    private static let slack: Int64 = 2

    package init(now: Moment, epochMilliseconds: UInt64) {
        self.now = now
        offset = Int64(epochMilliseconds) - Int64(now.nanoseconds / 1_000_000)
    }

    package mutating func advance(to now: Moment, epochMilliseconds: UInt64) {
        self.now = now
        let measured = Int64(epochMilliseconds) - Int64(now.nanoseconds / 1_000_000)
        if abs(measured - offset) > Self.slack { offset = measured }
    }

    /// Only the monotonic part.
    package mutating func advance(to now: Moment) { self.now = now }

    /// Milliseconds since 1970.
    package var epoch: Int64 { Int64(now.nanoseconds / 1_000_000) + offset }
    package var epochMicroseconds: Int64 { Int64(now.nanoseconds / 1_000) + offset * 1_000 }
}
