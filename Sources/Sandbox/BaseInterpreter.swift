internal import Base
internal import CSandbox
internal import Glibc
internal import UV

/// An initialised interpreter that runs nobody's code: the zygotes of all its versions are forked from it, each into a sandbox
/// of its own, and share the memory of what every one of them has. (Sources/hearth-base, Runtimes/python/hearth_base.py)
///
///     down ──order──▶ up ──(ended, silent)──▶ down            down twice without a fork: given up
///
/// Invariants:
///  1. At most one order is under way: the answer that comes is its answer.
///  2. Who orders gets a process, or nil and nothing is left of the order: then the version's zygote is executed.
///
/// Thread rule: the spawner's thread, which waits for the answer: a fraction of a millisecond, and the start of an
/// interpreter once.
final class BaseInterpreter {
    private static let startMilliseconds: Int32 = 10_000
    private static let answerMilliseconds: Int32 = 5_000
    /// Room for what `/proc` shows of a zygote's environment; Lambda's bound for one is 4 KiB.
    private static let environmentRoom = 16 * 1024

    private let command: [String]
    private var process: ProcessHandle?
    private var control: CInt = -1
    private var endedInVain = 0

    init(_ command: [String]) { self.command = command }

    /// Forks a zygote into the sandbox that `line` describes.
    ///
    /// - Parameters:
    ///   - line: hearth-init's command line.
    ///   - descriptors: the log, the zygote's control socket, the status socket; they stay the caller's.
    func fork(
        line: [String], environment: [String], namespaces: Int32, descriptors: [CInt]
    ) -> (pid: pid_t, pidfd: CInt)? {
        let words = bytes(of: line)
        let variables = bytes(of: environment)
        var order: [UInt8] = []
        for number in [UInt32(bitPattern: namespaces), UInt32(line.count), UInt32(words.count), UInt32(variables.count)] {
            withUnsafeBytes(of: number) { order += $0 }
        }
        withUnsafeBytes(of: UInt64(Limits.openFilesMax)) { order += $0 }
        order += words + variables
        while endedInVain < 2 {
            if process != nil || start() {
                if hearth_send_packet(control, order, order.count, descriptors, Int32(descriptors.count)) == 0,
                    let answer = receive(Self.answerMilliseconds)
                {
                    endedInVain = 0
                    return answer.pid > 0 && answer.pidfd >= 0 ? answer : nil
                }
            }
            end()
            endedInVain += 1
        }
        return nil
    }

    private func bytes(of strings: [String]) -> [UInt8] { strings.flatMap { Array($0.utf8) + [0] } }

    private func start() -> Bool {
        var theirs: CInt = -1
        guard hearth_packet_pair(&control, &theirs) == 0 else { return false }
        defer { Glibc.close(theirs) }
        // As every version's, so that the C library is in the state that they expect; then room to show theirs in.
        let environment = WorkerRecipe.locale + ["LD_BIND_NOW=1", "HEARTH_ROOM=" + String(repeating: "-", count: Self.environmentRoom)]
        do throws(SpawnFailure) {
            process = ProcessHandle(try spawnProgram(command[0], command, environment, [-1, 2, 2, theirs], in: "/"))
        } catch {
            return false
        }
        return receive(Self.startMilliseconds) != nil
    }

    /// The next answer: the process that was made, or -1.
    private func receive(_ milliseconds: Int32) -> (pid: pid_t, pidfd: CInt)? {
        var waiting = pollfd(fd: control, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, milliseconds) == 1 else { return nil }
        var told: (pid: Int32, error: Int32) = (-1, 0)
        var pidfd: CInt = -1
        let count = hearth_receive_packet(control, &told, 8, &pidfd)
        guard count == 8 else { return nil }
        return (told.pid, pidfd)
    }

    private func end() {
        if let process {
            process.kill()
            _ = process.waitForSuccess()
            self.process = nil
        }
        // What it has made too late must not stay beside what is made in its place.
        while control >= 0, let late = receive(0) {
            guard late.pidfd >= 0 else { continue }
            hearth_signal(late.pidfd, SIGKILL)
            Glibc.close(late.pidfd)
        }
        if control >= 0 { Glibc.close(control) }
        control = -1
    }
}
