package import Base
package import Objects
package import UV

/// Moves the store's background work: a step a while, one after the other, and sooner again while there is more to do.
///
/// Thread rule: the loop's thread.
package final class S3Upkeep {
    private let store: ObjectStore
    private let loop: Loop
    private let timer: Timer
    private let interval: Span
    private var isStopped = false

    /// - Parameter day: what lifecycle takes for a day: a tenth of it, and a minute at most, is how late an object may expire.
    package init(store: ObjectStore, loop: Loop, day: Span) throws(UVError) {
        self.store = store
        self.loop = loop
        interval = min(max(Span(nanoseconds: day.nanoseconds / 10), .milliseconds(200)), .seconds(60))
        timer = try Timer(loop: loop)
        timer.unreference()
    }

    package func start() { plan(after: interval) }

    package func stop() {
        isStopped = true
        timer.stop()
    }

    private func plan(after span: Span) {
        guard !isStopped else { return }
        timer.start(after: span) { [unowned self] in step() }
    }

    private func step() {
        let box = LoopBound(self, on: loop)
        store.upkeep { [remote = loop.remote] result in
            // A step that failed (a full disk) is tried again as late as any.
            let isDone = (try? result.get().isRoundComplete) ?? true
            remote.post { box.wrapped.plan(after: isDone ? box.wrapped.interval : .milliseconds(10)) }
        }
    }
}
