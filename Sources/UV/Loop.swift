package import Base
internal import CUV
internal import Glibc
internal import Synchronization

/// One libuv loop and everything confined to it.
///
/// Thread rule: a `Loop` and all that hangs on it is used by the thread that runs it; only `remote` may leave that
/// thread. `Remote` is also a Swift executor, so that `async` code can live on the loop.
package final class Loop {
    let raw: UnsafeMutablePointer<uv_loop_t>
    /// What other threads may hold.
    package let remote = Remote()
    /// The bytes of one read; shared by all streams of the loop, overwritten by the next read.
    let readBuffer: UnsafeMutableRawBufferPointer
    private var wakeUp: Poll?
    private var jobs: Prepare?

    package init() throws(UVError) {
        raw = .allocate(capacity: 1)
        readBuffer = .allocate(byteCount: Limits.readBufferBytes, alignment: 64)
        try UVError.check(uv_loop_init(raw), "start the event loop")
        let poll = try Poll(loop: self, descriptor: remote.wakeUpDescriptor)
        let prepare = try Prepare(loop: self)
        wakeUp = poll
        jobs = prepare
        poll.unreference()
        try poll.start { [remote] _ in remote.drainInbox() }
        prepare.onTurn = { [remote, unowned prepare] in
            prepare.stop()
            remote.drainLocal()
        }
        remote.wantTurn = { prepare.start() }
    }

    /// The machine's monotonic time, read now (about 25 ns).
    package var now: Moment { Self.now }

    package static var now: Moment {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(nanoseconds: UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }

    /// Milliseconds since 1970.
    package static var epochMilliseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) &* 1_000 &+ UInt64(time.tv_nsec) / 1_000_000
    }

    /// Seconds since 1970, as of the kernel's last tick (a few ns to read).
    package static var epochSecondsCoarse: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME_COARSE, &time)
        return UInt64(time.tv_sec)
    }

    /// Runs on this thread until `stop`, or until nothing is left to wait for.
    package func run() {
        remote.claim()
        uv_run(raw, UV_RUN_DEFAULT)
    }

    package func stop() { uv_stop(raw) }

    /// From now on a block of a megabyte or more goes back to the kernel when it is freed.
    ///
    /// By itself malloc keeps what was once needed: it raises both thresholds to the largest block that was ever freed
    /// (mallopt(3)), so that one deployed package of 8 MB would stay in the server for ever.
    package static func returnBigBlocks() { cuv_return_big_blocks() }

    /// Starts a task that stays on the loop between its suspensions. The only way to start one here.
    @discardableResult
    package func task(_ body: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        Task(executorPreference: remote, operation: body)
    }
}

/// A value of the loop's thread that may be carried through other threads, but touched only on the loop.
package struct LoopBound<Value>: @unchecked Sendable {
    private let value: Value
    private let remote: Loop.Remote

    package init(_ value: Value, on loop: Loop) {
        self.value = value
        remote = loop.remote
    }

    /// The value; traps off the loop's thread.
    package var wrapped: Value {
        remote.checkIsolated()
        return value
    }
}

extension Loop {
    /// The part of a loop that other threads may hold: posts closures, runs `async` jobs.
    ///
    /// Woken through an eventfd under `uv_poll_t`: `uv_async_t` of libuv 1.44 spins while its sender is in `write`.
    package final class Remote: SerialExecutor, TaskExecutor, @unchecked Sendable {
        private enum Work {
            case job(UnownedJob)
            case closure(@Sendable () -> Void)
        }

        let wakeUpDescriptor = cuv_eventfd()
        private let inbox = Mutex<[Work]>([])
        private let thread = Atomic<UInt>(0)
        /// Loop-confined: work queued from the loop's own thread.
        private var local: [Work] = []
        /// Loop-confined: swapped with `local`, so that neither gives up its memory.
        private var spare: [Work] = []
        /// Loop-confined: asks for `drainLocal` before the loop sleeps.
        var wantTurn: () -> Void = {}

        deinit { Glibc.close(wakeUpDescriptor) }

        /// Makes the calling thread the loop's.
        func claim() { thread.store(UInt(pthread_self()), ordering: .relaxed) }

        package var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

        /// Runs `body` on the loop's thread, soon; callable from any thread.
        package func post(_ body: @escaping @Sendable () -> Void) { add(.closure(body)) }

        package func enqueue(_ job: consuming ExecutorJob) { add(.job(UnownedJob(job))) }

        private func add(_ work: Work) {
            if isCurrent {
                if local.isEmpty { wantTurn() }
                local.append(work)
                return
            }
            let wasEmpty = inbox.withLock { inbox in
                defer { inbox.append(work) }
                return inbox.isEmpty
            }
            guard wasEmpty else { return }
            var one: UInt64 = 1
            _ = write(wakeUpDescriptor, &one, 8)
        }

        func drainInbox() {
            var count: UInt64 = 0
            _ = read(wakeUpDescriptor, &count, 8)
            let arrived = inbox.withLock { inbox in
                defer { inbox = [] }
                return inbox
            }
            for work in arrived { run(work) }
        }

        func drainLocal() {
            while !local.isEmpty {
                swap(&local, &spare)
                for work in spare { run(work) }
                spare.removeAll(keepingCapacity: true)
            }
        }

        private func run(_ work: Work) {
            switch work {
            case .closure(let body): body()
            case .job(let job):
                job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            }
        }

        package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

        package func checkIsolated() { precondition(isCurrent, "used off the loop's thread") }

        package func isIsolatingCurrentContext() -> Bool? { isCurrent }
    }
}
