internal import Base
internal import CSandbox
internal import Glibc
internal import UV

/// A process that Hearth started or was given: who it is, how to end it, how it ended.
///
/// The pidfd names the process for as long as this object lives, whatever becomes of the number.
///
/// Thread rule: the loop's thread.
final class ProcessHandle {
    let pid: pid_t
    private let pidfd: CInt
    private var watch: Poll?

    /// Takes `pidfd` over.
    init(pid: pid_t, pidfd: CInt) {
        self.pid = pid
        self.pidfd = pidfd
    }

    /// Takes over the pidfd of somebody else's child; nil when the process cannot be seen from here.
    init?(pidfd: CInt) {
        let pid = hearth_pid_of(pidfd)
        guard pid > 0 else {
            Glibc.close(pidfd)
            return nil
        }
        self.pid = pid
        self.pidfd = pidfd
    }

    deinit { Glibc.close(pidfd) }

    /// Calls back once, when the process has ended.
    func onExit(_ loop: Loop, _ body: @escaping (WorkerExit) -> Void) throws(UVError) {
        let watch = try Poll(loop: loop, descriptor: pidfd)
        self.watch = watch
        try watch.start { [unowned self] _ in
            guard let exit = collect() else { return }
            release()
            body(exit)
        }
    }

    /// Stops watching; the handle can then be let go.
    func release() {
        watch?.close()
        watch = nil
    }

    private func collect() -> WorkerExit? {
        var status: Int32 = -1
        var signal: Int32 = -1
        guard hearth_collect(pidfd, &status, &signal) == 1 else { return nil }
        return signal >= 0 ? .signal(signal) : .status(status)
    }

    /// Kills the process and everything in its group.
    func kill() {
        hearth_kill_group(pid, SIGKILL)
        hearth_signal(pidfd, SIGKILL)
    }

    /// Kills what an ended process left behind in its group.
    func killGroup() { hearth_kill_group(pid, SIGKILL) }

    func signalGroup(_ number: Int32) { if pid > 1 { Glibc.kill(-pid, number) } }
}

extension WorkerExit {
    /// From the status that `waitpid` gives (wait(2)).
    init(waitStatus status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .status((status >> 8) & 0xFF) : .signal(signal)
    }
}
