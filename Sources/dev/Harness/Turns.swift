import Foundation
import Synchronization

/// 0, 1, 2 … to whoever asks next, on any thread, until one fails.
final class Turns: Sendable {
    private let taken = Atomic<Int>(0)
    private let failed = Mutex<(any Error)?>(nil)
    private let count: Int

    init(_ count: Int) { self.count = count }

    var failure: (any Error)? { failed.withLock { $0 } }

    func next() -> Int? {
        let number = taken.add(1, ordering: .relaxed).oldValue
        return number < count && failure == nil ? number : nil
    }

    func fail(_ error: any Error) { failed.withLock { $0 = $0 ?? error } }
}

/// Runs `body` on so many threads at once, more than there are processors too, and waits.
func runThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    let group = DispatchGroup()
    for _ in 0..<count {
        group.enter()
        Thread {
            body()
            group.leave()
        }.start()
    }
    group.wait()
}
