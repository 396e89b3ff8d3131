internal import Base
internal import Catalog
internal import Sandbox
internal import UV

/// Looks after workers beside the walk: kills what uses more memory than its function has, and freezes what has been
/// idle for a moment, as Lambda freezes what has answered.
///
/// One timer for all, which runs only while there is something to look at: a loaded server pays one look in `period`
/// for each busy worker, a frozen one nothing. What a worker has started is looked for in one look of `looksForOthers`, as finding it costs
/// several times as much; workers take turns with that. A worker that is busy again within `idleBeforeFreeze` is never stopped,
/// so that the warm path has no system call for it.
///
/// Thread rule: the loop's thread.
final class WorkerCare {
    /// A worker that allocates as fast as the kernel can give gets about 150 MB beyond its limit in this time, where no
    /// memory cgroup stops it earlier.
    private static let period = Span.milliseconds(100)
    private static let idleBeforeFreeze = Span.milliseconds(50)

    private static let looksForOthers: UInt32 = 10

    private unowned let invoker: Invoker
    private let timer: Timer?
    private var isRunning = false
    private var looks: UInt32 = 0

    init(_ invoker: Invoker) {
        self.invoker = invoker
        timer = try? Timer(loop: invoker.loop)
        timer?.unreference()
    }

    deinit { timer?.close() }

    /// A worker has become busy.
    func begin() {
        guard !isRunning else { return }
        isRunning = true
        timer?.start(after: Self.period, repeating: Self.period) { [unowned self] in look() }
    }

    private func look() {
        let now = invoker.loop.now
        looks &+= 1
        var goesOn = false
        for pool in invoker.allPools {
            for slot in pool.slots.values {
                if slot.call != nil {
                    checkMemory(slot, of: pool)
                    goesOn = true
                } else if pool.freezesIdle, slot.worker.times.ready != .zero, !slot.worker.isFrozen {
                    if now.since(slot.idleSince) >= Self.idleBeforeFreeze, slot.deadline.nanoseconds == .max {
                        slot.worker.freeze()
                    } else {
                        goesOn = true
                    }
                }
            }
        }
        guard !goesOn else { return }
        isRunning = false
        timer?.stop()
    }

    private func checkMemory(_ slot: VersionPool.Slot, of pool: VersionPool) {
        let isTurn = (looks &+ UInt32(truncatingIfNeeded: slot.worker.pid)) % Self.looksForOthers == 0
        let used = slot.worker.usedKiB(limitKiB: pool.version.settings.memorySize * 1024, withOthers: isTurn) / 1024
        guard used > pool.version.settings.memorySize, slot.overuseMegabytes == nil else { return }
        slot.overuseMegabytes = used
        slot.worker.peakKiB = max(slot.worker.peakKiB, UInt32(clamping: used * 1024))
        slot.worker.kill()
    }
}

extension VersionPool {
    /// Are workers stopped between invocations?
    var freezesIdle: Bool { version.settings.concurrency.allowsBackground != true }
}
