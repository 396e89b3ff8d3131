/// When a worker has served enough: after a number of invocations, when it has grown by too much, or when its growth
/// would soon take it over its memory. Pure; asked after each answer, before the worker takes another call.
package struct RecycleRule: Equatable, Sendable {
    /// Invocations that a worker serves; nil: any number.
    package var invocationsMax: Int?
    /// KiB that a worker may grow beyond what it had when it was ready; nil: any.
    package var growthMaxKiB: Int?
    /// Retire a worker that grows steadily before it reaches `memoryKiB`?
    package var followsTrend: Bool
    /// The function's memory.
    package var memoryKiB: Int

    package init(invocationsMax: Int?, growthMaxKiB: Int?, followsTrend: Bool, memoryKiB: Int) {
        self.invocationsMax = invocationsMax
        self.growthMaxKiB = growthMaxKiB
        self.followsTrend = followsTrend
        self.memoryKiB = memoryKiB
    }

    package var isOff: Bool { invocationsMax == nil && growthMaxKiB == nil && !followsTrend }

    /// Invocations between two looks at the trend.
    static let window = 128
    /// Windows in a row in which a worker must have grown to be called a leak: caches fill at first, and then stop.
    static let windowsGrown = 4
    /// It is retired when this many more windows like the last ones would take it over its memory.
    static let windowsAhead = 8

    /// The life of one worker, as far as the rule needs it.
    package struct Life: Sendable {
        package private(set) var invocations = 0
        fileprivate let firstKiB: Int
        fileprivate var windowKiB: Int
        fileprivate var grownInARow = 0
        fileprivate var grownKiB = 0

        /// - Parameter peakKiB: highest resident memory when the worker was ready.
        package init(peakKiB: Int) {
            firstKiB = peakKiB
            windowKiB = peakKiB
        }

        fileprivate mutating func count() { invocations += 1 }
    }

    /// Notes an answer and says whether the worker should serve no more.
    package func isSpent(_ life: inout Life, peakKiB: Int) -> Bool {
        life.count()
        if let invocationsMax, life.invocations >= invocationsMax { return true }
        if let growthMaxKiB, peakKiB - life.firstKiB > growthMaxKiB { return true }
        guard followsTrend, life.invocations % Self.window == 0 else { return false }
        let grown = peakKiB - life.windowKiB
        life.windowKiB = peakKiB
        life.grownInARow = grown > 0 ? life.grownInARow + 1 : 0
        life.grownKiB = grown > 0 ? life.grownKiB + grown : 0
        guard life.grownInARow >= Self.windowsGrown else { return false }
        // Growth that wears off is a cache filling up.
        return peakKiB + min(grown, life.grownKiB / life.grownInARow) * Self.windowsAhead > memoryKiB
    }
}
