package import Base

/// When entries that wait go to the second level: together, as one of many in a transaction costs a tenth (performance reference, 4a), and
/// soon, as what has not gone is lost with the process.
package struct WriteBehind {
    private var since: Moment?

    package init() {}

    /// The moment at which the next batch is due; nil: nothing waits.
    package mutating func due(waiting: Int, at now: Moment) -> Moment? {
        guard waiting > 0 else {
            since = nil
            return nil
        }
        let began = since ?? now
        since = began
        return waiting >= Limits.diskWriteCount ? now : began + Limits.diskWriteDelay
    }

    /// A batch has gone: what still waits begins to wait now.
    package mutating func sent() { since = nil }
}
