import Base
import Cache
import UV

/// The node's one cache, and the clock that moves it.
///
/// Who stores something need not think of the timer: before the loop sleeps, it is set to when the cache has something to do next.
///
/// Thread rule: the loop's thread.
final class SharedCache {
    let cache: Cache
    private let timer: Timer
    private let turn: Prepare
    /// For when the timer is set; nil: it is not.
    private var wake: Moment?
    private var hasMore = false

    init(loop: Loop, limitBytes: Int, seed: UInt64) throws {
        cache = Cache(limitBytes: limitBytes, seed: seed, at: loop.now)
        timer = try Timer(loop: loop)
        turn = try Prepare(loop: loop)
        timer.unreference()
        turn.unreference()
        turn.onTurn = { [unowned self] in plan() }
        turn.start()
    }

    /// Another limit; when it is lower, what is worth least leaves a little at a time.
    func resize(limitBytes: Int) throws {
        try cache.resize(limitBytes: limitBytes)
        hasMore = true
    }

    private func plan() {
        let due = hasMore ? .zero : cache.nextWake
        guard due != wake else { return }
        wake = due
        guard let due else { return timer.stop() }
        timer.start(after: due.since(Loop.now)) { [unowned self] in
            wake = nil
            hasMore = cache.advance(to: Loop.now)
        }
    }
}
