/// The memory that bodies on their way to the origin may take, all uploads together: who wants some waits for its turn.
///
/// Invariants:
///  1. At most `limit` bytes are granted, or what one asked for alone when that is more.
///  2. Grants are given in the order of asking: nobody starves.
///  3. What is granted is a whole part: its body fits, so that it leaves however little its neighbours have.
///
/// Thread rule: the loop's thread.
final class UploadMemory {
    /// A share; goes back with its last reference.
    final class Grant {
        let bytes: Int
        private unowned let memory: UploadMemory

        fileprivate init(_ bytes: Int, _ memory: UploadMemory) {
            self.bytes = bytes
            self.memory = memory
        }

        deinit { memory.giveBack(bytes) }
    }

    private struct Waiter {
        let bytes: Int
        weak var owner: AnyObject?
        let granted: (Grant) -> Void
    }

    let limit: Int
    private(set) var used = 0
    private var waiting: [Waiter] = []

    init(limit: Int) { self.limit = limit }

    /// Calls `granted` now or later; not at all when `owner` has gone meanwhile.
    func ask(_ bytes: Int, for owner: AnyObject, _ granted: @escaping (Grant) -> Void) {
        if waiting.isEmpty, fits(bytes) { return granted(take(bytes)) }
        waiting.append(Waiter(bytes: bytes, owner: owner, granted: granted))
    }

    /// Does anybody wait? Then who could go on with less should.
    var isShort: Bool { !waiting.isEmpty }

    private func fits(_ bytes: Int) -> Bool { used == 0 || used + bytes <= limit }

    private func take(_ bytes: Int) -> Grant {
        used += bytes
        return Grant(bytes, self)
    }

    private func giveBack(_ bytes: Int) {
        used -= bytes
        while let first = waiting.first {
            guard first.owner != nil else {
                waiting.removeFirst()
                continue
            }
            guard fits(first.bytes) else { return }
            waiting.removeFirst()
            first.granted(take(first.bytes))
        }
    }
}
