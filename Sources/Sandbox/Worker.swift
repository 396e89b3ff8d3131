package import Base
internal import CSandbox
internal import Glibc
package import UV

/// What a worker tells the pool that it belongs to. Called on the loop's thread.
package protocol WorkerOwner: AnyObject {
    /// Initialised: it can be given an invocation.
    func workerReady(_ worker: Worker)
    /// Its init failed with this JSON error; its exit follows.
    func workerInitFailed(_ worker: Worker, error: UnsafeRawBufferPointer)
    /// It has answered its invocation; all that it had written to its log by then has been reported.
    func workerAnswered(_ worker: Worker, _ answer: WorkerAnswer)
    /// It answers its invocation in pieces, which follow; `type`: what they are (a media type). `workerAnswered` ends them.
    func workerStreams(_ worker: Worker, type: UnsafeRawBufferPointer)
    /// The next piece. `pauseStream` holds it back.
    func workerStreamed(_ worker: Worker, _ bytes: UnsafeRawBufferPointer)
    /// It asked for the next invocation (only after an answer that did not imply that).
    func workerFree(_ worker: Worker)
    /// It has said what makes no sense and is being killed: it is to be given nothing more. Its exit follows.
    func workerFaulted(_ worker: Worker)
    /// It wrote to its standard output or error.
    func workerWrote(_ worker: Worker, _ bytes: UnsafeRawBufferPointer)
    /// The process is gone. Last call.
    func workerExited(_ worker: Worker, _ exit: WorkerExit)
}

package struct WorkerAnswer {
    package enum Kind { case result, error, tooLarge }
    package let kind: Kind
    /// Valid during the call only. Of a result that came in pieces: empty.
    package let payload: UnsafeRawBufferPointer
    /// Is the worker free with this answer, or does it still have to ask for the next invocation?
    package let impliesFree: Bool
}

package enum WorkerExit: Equatable, Sendable {
    case status(Int32)
    case signal(Int32)

    /// Lambda's words for it.
    package var lambdaReason: String {
        switch self {
        case .status(0): "Runtime exited without providing a reason"
        case .status(let status): "Runtime exited with error: exit status \(status)"
        case .signal(let number): "Runtime exited with error: signal: \(Self.name(ofSignal: number))"
        }
    }

    private static func name(ofSignal number: Int32) -> String {
        switch number {
        case SIGKILL: "killed"
        case SIGSEGV: "segmentation fault"
        case SIGABRT: "aborted"
        case SIGTERM: "terminated"
        case SIGBUS: "bus error"
        case SIGILL: "illegal instruction"
        case SIGFPE: "floating point exception"
        case SIGPIPE: "broken pipe"
        case SIGHUP: "hangup"
        case SIGINT: "interrupt"
        default: "signal \(number)"
        }
    }
}

/// When the steps of a start happened.
package struct StartTimes: Sendable {
    /// The start was ordered.
    package var ordered = Moment.zero
    /// The process executes its program; of a forked worker: its first instruction.
    package var spawned = Moment.zero
    /// The client's first instruction (bundled clients only, else equal to `spawned`).
    package var runtimeUp = Moment.zero
    package var importBegan = Moment.zero
    package var importEnded = Moment.zero
    /// A forked worker's first instruction; zero for one that was executed.
    package var forked = Moment.zero
    package var ready = Moment.zero

    /// The worker was forked from a zygote whose own start these times then tell too, if the order waited for it.
    mutating func begin(forkedAt moment: Moment, from zygote: StartTimes) {
        forked = moment
        let waited = zygote.ready > ordered
        spawned = waited ? max(zygote.spawned, ordered) : moment
        runtimeUp = waited ? max(zygote.runtimeUp, spawned) : moment
        importBegan = waited ? max(zygote.importBegan, runtimeUp) : moment
        importEnded = waited ? max(zygote.importEnded, importBegan) : moment
    }

    /// Did the start take no more than a fork of what was initialised already?
    package var isFork: Bool { forked != .zero && spawned == forked }

    package var total: Span { ready.since(ordered) }
    package var spawn: Span { spawned.since(ordered) }
    package var runtime: Span { importBegan.since(spawned) }
    package var handlerImport: Span { (forked == .zero ? ready : forked).since(importBegan) }
    /// From the fork to readiness: what a copy of an initialised process has left to do.
    package var restore: Span { forked == .zero ? .zero : ready.since(forked) }
}

package struct SpawnFailure: Error, CustomStringConvertible {
    package let program: String
    package let step: String
    package let code: Int32
    package var description: String { "cannot start \(program): \(step): \(String(cString: strerror(code)))" }
}

/// An anonymous pipe: its read end, then its write end.
func makePipe(for program: String) throws(SpawnFailure) -> (readEnd: CInt, writeEnd: CInt) {
    var ends: (CInt, CInt) = (-1, -1)
    guard hearth_pipe(&ends.0, &ends.1) == 0 else { throw SpawnFailure(program: program, step: "make a pipe", code: errno) }
    return ends
}

/// One process that serves one version, one invocation at a time.
///
///     ordered ──(spawned | forked)──▶ starting ──▶ idle ◀──▶ busy          any ──▶ stopping ──▶ exited
///
/// The process arrives after the worker: a worker that is stopped or killed before that stops or kills it when it comes.
///
/// The process is hostile from its first instruction: whatever it sends is checked, and what makes no sense kills it.
/// Its end is known from its pidfd, or from the zygote that forked it; closed pipes only lead there.
///
/// Thread rule: the loop's thread.
package class Worker {
    package let tag: UInt32
    package let loop: Loop
    /// Held until the exit: a weak reference would make every retain of it slow.
    private(set) var owner: (any WorkerOwner)?
    package var times = StartTimes()
    /// Of a forked worker: when its zygote came to be.
    var zygoteTimes: StartTimes?
    /// Highest resident memory so far, in KiB; 0 = unknown.
    package var peakKiB: UInt32 = 0
    /// nil before the process is known, and after its end.
    private(set) var process: ProcessHandle? {
        didSet { if process != nil { hasBeen = true } }
    }
    /// Has a process ever been known?
    package private(set) var hasBeen = false
    private var log: Pipe?
    private var killTimer: Timer?
    /// Killed before the process was known.
    private var isDoomed = false
    private var isAskedToStop = false
    private(set) var hasExited = false

    init(tag: UInt32, loop: Loop, owner: any WorkerOwner) {
        self.tag = tag
        self.loop = loop
        self.owner = owner
    }

    package var pid: Int32 { process?.pid ?? -1 }

    /// Makes the protocol's pipes, if it has some; gives the ends that the child gets from number 3 on.
    func openProtocol() throws -> [CInt] { [] }

    /// Sends one invocation to an idle worker.
    package func send(_ message: InvocationMessage) {}

    /// Reads no more of an answer that comes in pieces, until `resumeStream`.
    package func pauseStream() {}
    package func resumeStream() {}

    /// Tells the process that it is no longer needed.
    func requestStop() {}

    /// Frees the protocol's handles, after the exit.
    func closeProtocol() {}

    /// Makes the pipes and begins to listen. A failure leaves nothing behind.
    ///
    /// - Returns: the child's ends, which are the caller's to close.
    func openPipes() throws -> (log: CInt, protocolEnds: [CInt]) {
        let (readEnd, writeEnd) = try makePipe(for: "worker")
        do {
            let log = try Pipe(loop: loop, descriptor: readEnd)
            self.log = log
            let ends = try openProtocol()
            log.delegate = LogReader(worker: self)
            log.startReading()
            return (writeEnd, ends)
        } catch {
            Glibc.close(writeEnd)
            abandon()
            throw error
        }
    }

    /// The process is known now; `watches`: its end is to be seen from here.
    func adopt(_ process: ProcessHandle, watches: Bool = true) throws {
        guard !hasExited else { return }
        self.process = process
        if watches { try process.onExit(loop) { [self] in exited($0) } }
        if isDoomed { return process.kill() }
        if isAskedToStop { requestStop() }
        processIsKnown()
    }

    /// The process has been found out; what had to wait for that goes on.
    func processIsKnown() {}

    /// Stopped by the kernel, with its group, until it is needed.
    package private(set) var isFrozen = false

    /// Stops an idle worker: what it does in the background waits until the next invocation.
    package func freeze() {
        guard !hasExited, !isFrozen, let process else { return }
        isFrozen = true
        process.freeze()
    }

    package func thaw() {
        guard isFrozen else { return }
        isFrozen = false
        process?.thaw()
    }

    /// Memory of the process and, when `withOthers`, of those that it has started, in KiB now; 0 = unknown.
    ///
    /// What several of them share is looked at closely, which takes a millisecond, only when it matters: when all of it, counted
    /// for each of them, would be more than `limitKiB`.
    package func usedKiB(limitKiB: Int, withOthers: Bool) -> Int {
        guard let process else { return 0 }
        let own = ProcessMemory.residentKiB(of: process.program)
        let others = own > limitKiB || !withOthers ? [] : process.others
        guard !others.isEmpty, others.reduce(own, { $0 + ProcessMemory.residentKiB(of: $1) }) > limitKiB else { return own }
        return max(own, others.union([process.program]).reduce(0) { $0 + ProcessMemory.proportionalKiB(of: $1) })
    }

    /// Reports what the process has written up to now.
    package func drainLog() { log?.drainNow() }

    /// Ends the process: asks, and after the grace kills. One that is not there yet is asked when it is.
    package func stop(grace: Span = Limits.killGrace) {
        guard !hasExited, killTimer == nil else { return }
        isAskedToStop = true
        thaw()
        requestStop()
        guard let timer = try? Timer(loop: loop) else { return kill() }
        killTimer = timer
        timer.unreference()
        timer.start(after: grace) { [weak self] in self?.kill() }
    }

    /// Kills the process and everything in its group, now.
    package func kill() {
        guard !hasExited else { return }
        guard let process else {
            isDoomed = true
            return
        }
        process.kill()
    }

    /// The process is gone; told by its pidfd or by its zygote.
    func exited(_ exit: WorkerExit) {
        guard !hasExited else { return }
        hasExited = true
        // What it left behind must not outlive it; and a zygote may say that a worker has ended which has not.
        process?.kill()
        process?.forget()
        if let failure = process?.failure { wrote("hearth: the sandbox could not be made: \(failure)\n") }
        drainLog()
        drainProtocol()
        killTimer?.close()
        killTimer = nil
        closeProtocol()
        log?.close()
        log = nil
        process = nil
        owner?.workerExited(self, exit)
        owner = nil
    }

    /// No process has come about: frees everything and tells nobody.
    func abandon() {
        owner = nil
        exited(.status(0))
    }

    /// Takes what the process sent before it ended.
    func drainProtocol() {}

    private func wrote(_ line: String) {
        var line = line
        line.withUTF8 { wrote(UnsafeRawBufferPointer($0)) }
    }

    func wrote(_ bytes: UnsafeRawBufferPointer) { owner?.workerWrote(self, bytes) }

    /// The highest resident memory that the kernel counted for the process, in KiB (`VmHWM`, proc(5)); 0 = unknown.
    func readPeakKiB() -> UInt32 { UInt32(clamping: ProcessMemory.peakKiB(of: process?.program ?? -1)) }
}

/// Passes a log pipe's bytes on.
private final class LogReader: StreamDelegate {
    /// The cycle ends when the pipe is closed.
    private let worker: Worker

    init(worker: Worker) { self.worker = worker }

    func received(_ bytes: UnsafeRawBufferPointer) { worker.wrote(bytes) }
    func ended(error: CInt) {}
    func drained() {}
}
