package import Foundation

/// What a command left behind.
package struct CommandResult: Sendable, CustomStringConvertible {
    package let status: ExitStatus
    package let out: String
    package let err: String

    /// The exit code; 128 and the signal's number after a signal, as a shell counts.
    package var code: Int {
        switch status {
        case .exited(let code): code
        case .signalled(let signal): 128 + signal
        }
    }

    package var description: String { "exit \(code)\nstdout: \(out)\nstderr: \(err)" }
}

package enum ExitStatus: Equatable, Sendable {
    case exited(Int)
    case signalled(Int)
}

/// Something that a test waited for and that did not come, or a system call that failed.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A process that a test started. It has no standard input, and writes into files.
///
/// (Not `Foundation.Process`: that one's exit handlers need threads which blocking tests keep busy.)
package final class Child: @unchecked Sendable {
    package let pid: pid_t
    private let lock = NSLock()
    private var known: ExitStatus?

    /// - Parameters:
    ///   - arguments: the program's path or name first.
    ///   - environment: added to this process's own; an empty text removes a variable.
    package init(
        _ arguments: [String], directory: String? = nil, environment: [String: String] = [:], input: String = "/dev/null",
        output: String, errors: String
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own, and the signals of a fresh login: the test runner may ignore some.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        let all = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            .filter { !$0.value.isEmpty }.map { "\($0.key)=\($0.value)" }
        // (Glibc shows Swift no posix_spawn_file_actions_addchdir_np; env becomes the command, with the same pid.)
        let arguments = (directory.map { ["/usr/bin/env", "--chdir=\($0)"] } ?? []) + arguments
        var argv = arguments.map { strdup($0) } + [nil]
        var envp = all.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, arguments[0], &actions, &attributes, &argv, &envp)
        guard error == 0 else { throw TestFailure("cannot start \(arguments[0]): \(String(cString: strerror(error)))") }
        self.pid = pid
    }

    /// How it ended; nil while it runs.
    package var status: ExitStatus? {
        lock.withLock {
            if let known { return known }
            var raw: CInt = 0
            guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
            known = raw & 0x7f == 0 ? .exited(Int(raw >> 8 & 0xff)) : .signalled(Int(raw & 0x7f))
            return known
        }
    }

    package func signal(_ number: CInt) { if status == nil { kill(pid, number) } }

    package func waitForExit(seconds: Double = 30) throws -> ExitStatus {
        try waitFor("process \(pid) to end", seconds: seconds) { status }
    }

    /// Ends the whole process group.
    package func killGroup() {
        guard status == nil else { return }
        kill(-pid, SIGKILL)
        _ = try? waitForExit()
    }
}

/// Asks `condition` until it gives something; fails with what was awaited when the deadline passes.
package func waitFor<T>(_ what: String, seconds: Double = 30, _ condition: () throws -> T?) throws -> T {
    let end = Date().addingTimeInterval(seconds)
    while true {
        if let value = try condition() { return value }
        guard Date() < end else { throw TestFailure("waited \(seconds) s for \(what)") }
        usleep(5000)
    }
}

/// Runs a command to its end and returns what it said.
package func run(
    _ arguments: [String], directory: String? = nil, environment: [String: String] = [:], input: String? = nil,
    seconds: Double = 60
) throws -> CommandResult {
    let scratch = try TemporaryDirectory()
    if let input { try scratch.write("in", input) }
    let child = try Child(
        arguments, directory: directory, environment: environment, input: input == nil ? "/dev/null" : scratch.path + "/in",
        output: scratch.path + "/out", errors: scratch.path + "/err")
    defer { child.killGroup() }
    let status = try? child.waitForExit(seconds: seconds)
    let (out, err) = (scratch.read("out"), scratch.read("err"))
    guard let status else {
        throw TestFailure("\(arguments.joined(separator: " ")) did not end in \(seconds) s\nstdout: \(out)\nstderr: \(err)")
    }
    return CommandResult(status: status, out: out, err: err)
}

/// A directory that goes with its owner.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init(in parent: String = "/tmp") throws {
        var template = Array("\(parent)/hearth-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestFailure("mkdtemp: \(String(cString: strerror(errno)))") }
        path = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } } ?? ""
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// Writes a file, with the directories above it.
    package func write(_ name: String, _ text: String, mode: Int = 0o644) throws {
        let file = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        chmod(file, mode_t(mode))
    }

    package func read(_ name: String) -> String {
        FileManager.default.contents(atPath: "\(path)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
