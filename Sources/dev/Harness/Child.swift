import Foundation
import Glibc

/// A program that this one started and that must not outlive it.
///
///     init ──▶ running ──stop()──▶ gone
///
/// Invariants:
///  1. A running child is in `Children`, so that a signal which ends us ends it too.
///
/// Thread rule: the main thread.
final class Child {
    let name: String
    let pid: pid_t
    /// Where its output goes.
    let log: String
    private var isRunning = true

    /// Starts `command` (found on PATH) with its output in a file.
    init(_ name: String, _ command: [String], log: String) throws {
        self.name = name
        self.log = log
        pid = try Self.spawn(command, log: log)
        Children.add(pid)
    }

    /// Runs `command` with our own output and waits for its end; returns its exit status, or 128 and its signal's number.
    static func run(_ command: [String], log: String? = nil) throws -> Int32 {
        let pid = try spawn(command, log: log)
        Children.add(pid)
        defer { Children.remove(pid) }
        return collect(pid, options: 0) ?? -1
    }

    private static func spawn(_ command: [String], log: String?) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let log {
            posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        // A shell that runs us in the background ignores SIGINT, and servers would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, command[0], &actions, &attributes, arguments, environ)
        guard error == 0 else { throw Failure("cannot start \(command[0]): \(String(cString: strerror(error)))") }
        return pid
    }

    private static func collect(_ pid: pid_t, options: Int32) -> Int32? {
        var status: Int32 = 0
        var result = waitpid(pid, &status, options)
        while result < 0, errno == EINTR { result = waitpid(pid, &status, options) }
        guard result == pid else { return nil }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    /// Has it ended by itself?
    var hasEnded: Bool {
        if isRunning, Self.collect(pid, options: WNOHANG) != nil { gone() }
        return !isRunning
    }

    /// The last lines of its output, for a failure's sentence.
    var lastOutput: String {
        let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        return text.split(separator: "\n").suffix(5).joined(separator: " | ")
    }

    /// Ends it: asks (every server here ends at once on SIGINT), and kills whatever is left of its tree after five seconds.
    func stop() {
        guard !hasEnded else { return }
        kill(pid, SIGINT)
        for _ in 0..<500 where !hasEnded { usleep(10_000) }
        guard !hasEnded else { return }
        for process in ProcessTree(root: pid).members { kill(process, SIGKILL) }
        _ = Self.collect(pid, options: 0)
        gone()
    }

    private func gone() {
        isRunning = false
        Children.remove(pid)
    }
}

/// The running children, where a signal handler can read them: a fixed array, a free place is 0.
private enum Children {
    private static let placeCount = 64
    nonisolated(unsafe) private static let places: UnsafeMutablePointer<pid_t> = {
        let places = UnsafeMutablePointer<pid_t>.allocate(capacity: placeCount)
        places.initialize(repeating: 0, count: placeCount)
        for number in [SIGINT, SIGTERM, SIGHUP] { signal(number, endAll) }
        return places
    }()

    private static let endAll: @convention(c) (CInt) -> Void = { number in
        for place in 0..<placeCount where places[place] > 0 { kill(places[place], SIGINT) }
        _exit(128 + number)
    }

    static func add(_ pid: pid_t) {
        if let free = (0..<placeCount).first(where: { places[$0] == 0 }) { places[free] = pid }
    }

    static func remove(_ pid: pid_t) {
        if let place = (0..<placeCount).first(where: { places[$0] == pid }) { places[place] = 0 }
    }
}
