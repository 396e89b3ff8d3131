/// A point on the machine's monotonic clock, in nanoseconds.
///
/// Policy modules never read a clock: they are handed a moment.
package struct Moment: Hashable, Comparable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static let zero = Moment(nanoseconds: 0)

    package static func < (a: Moment, b: Moment) -> Bool { a.nanoseconds < b.nanoseconds }

    package static func + (a: Moment, b: Span) -> Moment { Moment(nanoseconds: a.nanoseconds &+ b.nanoseconds) }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    package func since(_ earlier: Moment) -> Span {
        Span(nanoseconds: nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0)
    }
}

/// A length of time, in nanoseconds, never negative.
package struct Span: Hashable, Comparable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static let zero = Span(nanoseconds: 0)
    package static func microseconds(_ n: UInt64) -> Span { Span(nanoseconds: n &* 1_000) }
    package static func milliseconds(_ n: UInt64) -> Span { Span(nanoseconds: n &* 1_000_000) }
    package static func seconds(_ n: UInt64) -> Span { Span(nanoseconds: n &* 1_000_000_000) }

    package static func < (a: Span, b: Span) -> Bool { a.nanoseconds < b.nanoseconds }
    package static func + (a: Span, b: Span) -> Span { Span(nanoseconds: a.nanoseconds &+ b.nanoseconds) }

    package var milliseconds: Double { Double(nanoseconds) / 1e6 }
    package var seconds: Double { Double(nanoseconds) / 1e9 }
    package var wholeMilliseconds: UInt64 { nanoseconds / 1_000_000 }
}
