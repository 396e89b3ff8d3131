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
    /// It asked for the next invocation (only after an answer that did not imply that).
    func workerFree(_ worker: Worker)
    /// It wrote to its standard output or error.
    func workerWrote(_ worker: Worker, _ bytes: UnsafeRawBufferPointer)
    /// The process is gone. Last call.
    func workerExited(_ worker: Worker, _ exit: WorkerExit)
}

package struct WorkerAnswer {
    package enum Kind { case result, error, tooLarge }
    package let kind: Kind
    /// Valid during the call only.
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
    /// The process executes its program.
    package var spawned = Moment.zero
    /// The client's first instruction (bundled clients only, else equal to `spawned`).
    package var runtimeUp = Moment.zero
    package var importBegan = Moment.zero
    package var importEnded = Moment.zero
    package var ready = Moment.zero

    package var total: Span { ready.since(ordered) }
    package var spawn: Span { spawned.since(ordered) }
    package var runtime: Span { importBegan.since(spawned) }
    package var handlerImport: Span { ready.since(importBegan) }
}

package struct SpawnFailure: Error, CustomStringConvertible {
    package let program: String
    package let step: String
    package let code: Int32
    package var description: String { "cannot start \(program): \(step): \(String(cString: strerror(code)))" }
}

/// One process that serves one version, one invocation at a time.
///
///     (spawned) ──▶ starting ──▶ idle ◀──▶ busy          any ──▶ stopping ──▶ exited
///
/// The process is hostile from its first instruction: whatever it sends is checked, and what makes no sense kills it.
/// Its end is known from its pidfd alone; closed pipes only lead there.
///
/// Thread rule: the loop's thread.
package class Worker {
    package let tag: UInt32
    package let loop: Loop
    /// Held until the exit: a weak reference would make every retain of it slow.
    private(set) var owner: (any WorkerOwner)?
    package var times = StartTimes()
    /// Highest resident memory so far, in KiB; 0 = unknown.
    package var peakKiB: UInt32 = 0
    private(set) var pid: pid_t = -1
    /// Threads after init; more than one cannot be forked.
    package var threadCount = 1
    private var pidfd: CInt = -1
    private var exitWatch: Poll?
    private var log: Pipe?
    private var killTimer: Timer?
    private(set) var hasExited = false

    init(tag: UInt32, loop: Loop, owner: any WorkerOwner) {
        self.tag = tag
        self.loop = loop
        self.owner = owner
    }

    deinit {
        if pidfd >= 0 { Glibc.close(pidfd) }
    }

    /// Descriptors that the child gets from number 3 on; the worker's copies are closed after the spawn.
    func childDescriptors() throws -> [CInt] { [] }

    /// Sends one invocation to an idle worker.
    package func send(_ message: InvocationMessage) {}

    /// Tells the process that it is no longer needed.
    func requestStop() {}

    /// Frees the protocol's handles, after the exit.
    func closeProtocol() {}

    /// Spawns the process. A failure leaves nothing behind.
    func spawn(_ recipe: WorkerRecipe, environment: [String]) throws {
        var readEnd: CInt = -1
        var writeEnd: CInt = -1
        guard hearth_pipe(&readEnd, &writeEnd) == 0 else {
            throw SpawnFailure(program: recipe.program, step: "make a log pipe", code: errno)
        }
        defer { Glibc.close(writeEnd) }
        let log = try Pipe(loop: loop, descriptor: readEnd)
        var spawned = hearth_spawned()
        do {
            let extra = try childDescriptors()
            defer { for descriptor in extra { Glibc.close(descriptor) } }
            try start(recipe, environment: environment, descriptors: [-1, writeEnd, writeEnd] + extra, &spawned)
        } catch {
            log.close()
            closeProtocol()
            throw error
        }
        pid = spawned.pid
        pidfd = spawned.pidfd
        times.spawned = loop.now
        self.log = log
        log.delegate = LogReader(worker: self)
        log.startReading()
        let watch = try Poll(loop: loop, descriptor: pidfd)
        exitWatch = watch
        try watch.start { [weak self] _ in self?.collectExit() }
    }

    private func start(
        _ recipe: WorkerRecipe, environment: [String], descriptors: [CInt], _ spawned: inout hearth_spawned
    ) throws(SpawnFailure) {
        let status = withCStrings(recipe.arguments) { arguments in
            withCStrings(environment) { environment in
                recipe.program.withCString { program in
                    recipe.directory.withCString { directory in
                        descriptors.withUnsafeBufferPointer { descriptors in
                            var what = hearth_spawn(
                                path: program, arguments: arguments, environment: environment, directory: directory,
                                descriptors: descriptors.baseAddress, descriptor_count: Int32(descriptors.count),
                                open_files_max: 1024)
                            return hearth_spawn(&what, &spawned)
                        }
                    }
                }
            }
        }
        guard status != 0 else { return }
        let step = spawned.step.map { String(cString: $0) } ?? "start"
        throw SpawnFailure(program: recipe.program, step: step, code: spawned.error)
    }

    /// Reports what the process has written up to now.
    package func drainLog() { log?.drainNow() }

    /// Ends the process: asks, and after the grace kills.
    package func stop(grace: Span = Limits.killGrace) {
        guard !hasExited, killTimer == nil else { return }
        requestStop()
        guard let timer = try? Timer(loop: loop) else { return kill() }
        killTimer = timer
        timer.unreference()
        timer.start(after: grace) { [weak self] in self?.kill() }
    }

    /// Kills the process and everything in its group, now.
    package func kill() {
        guard !hasExited, pid > 0 else { return }
        hearth_kill_group(pid, SIGKILL)
        Glibc.kill(pid, SIGKILL)
    }

    private func collectExit() {
        var status: Int32 = -1
        var signal: Int32 = -1
        guard !hasExited, hearth_collect(pidfd, &status, &signal) == 1 else { return }
        hasExited = true
        // What it left behind in its group must not outlive it.
        hearth_kill_group(pid, SIGKILL)
        drainLog()
        drainProtocol()
        killTimer?.close()
        killTimer = nil
        exitWatch?.close()
        exitWatch = nil
        closeProtocol()
        log?.close()
        log = nil
        owner?.workerExited(self, signal >= 0 ? .signal(signal) : .status(status))
        owner = nil
    }

    /// Takes what the process sent before it ended.
    func drainProtocol() {}

    func wrote(_ bytes: UnsafeRawBufferPointer) { owner?.workerWrote(self, bytes) }

    /// The highest resident memory that the kernel counted for the process, in KiB (`VmHWM`, proc(5)); 0 = unknown.
    func readPeakKiB() -> UInt32 {
        let file = open("/proc/\(pid)/status", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { Glibc.close(file) }
        return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { room in
            let count = read(file, room.baseAddress, room.count)
            guard count > 0 else { return 0 }
            let text = String(decoding: UnsafeRawBufferPointer(rebasing: room[..<count]), as: UTF8.self)
            guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }) else { return 0 }
            return UInt32(line.filter(\.isNumber)) ?? 0
        }
    }
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

/// Calls `body` with a NULL-ended array of C strings.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
}
