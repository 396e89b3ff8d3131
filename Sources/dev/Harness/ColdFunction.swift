import Foundation
import Glibc

/// A function whose workers are ended before each request, so that every request starts one.
///
/// Thread rule: the main thread.
final class ColdFunction {
    let server: HearthServer
    let name: String
    let path: String
    /// What the `X-Hearth-Start` of a start that counts says.
    let expected: String
    /// Times to the first byte of the starts that count, in milliseconds.
    private(set) var times: [Double] = []
    /// Starts of another kind, which do not count.
    private(set) var others: [String: Int] = [:]
    private let front: TimedConnection
    private let api: TimedConnection

    /// - Parameter query: what is asked, behind the function's address.
    init(_ server: HearthServer, _ name: String, query: String = "", expects expected: String) throws {
        self.server = server
        path = "/\(name)/\(query)"
        self.name = name
        self.expected = expected
        front = try TimedConnection(port: server.ports.front)
        api = try TimedConnection(port: server.ports.api)
    }

    var workers: [pid_t] { FunctionProcesses(of: name, below: server.child.pid).workers }

    /// Kills the workers and waits until the server knows that none is left.
    func endWorkers() throws {
        for _ in 0..<2000 {
            let found = workers
            for pid in found { kill(pid, SIGKILL) }
            if try found.isEmpty && !hasWorkers() {
                // What the kernel still has to clear away is no part of the next start.
                usleep(20_000)
                return
            }
            usleep(2000)
        }
        throw Failure("the workers of \(name) do not end: \(server.child.lastOutput)")
    }

    private func hasWorkers() throws -> Bool {
        try api.ask("/_hearth/metrics").body.split(separator: "\n").contains {
            $0.hasPrefix("hearth_workers{function=\"\(name)\"") && !$0.hasSuffix(" 0")
        }
    }

    /// One cold start.
    func start() throws {
        try endWorkers()
        take(try front.ask(path))
    }

    /// Sends a request that no worker is there for; `receive` takes its answer.
    func beginStart() throws {
        try endWorkers()
        try front.send(path)
    }

    /// Has the answer begun to come?
    var isAnswered: Bool {
        var waiting = pollfd(fd: front.socket, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, 0) != 0
    }

    func endStart() throws { take(try front.receive(path)) }

    func invoke(_ rest: String = "") throws {
        let answer = try front.ask(path + rest)
        guard answer.status == 200 else { throw Failure("\(name) was answered \(answer.status): \(answer.body)") }
    }

    private func take(_ answer: TimedConnection.Answer) {
        let kind = answer.status == 200 ? answer.start : "status \(answer.status)"
        if kind == expected { times.append(answer.milliseconds) } else { others[kind, default: 0] += 1 }
    }

    /// Says what was measured; a function of which nothing counts is a failure.
    func conclude() throws {
        let rest = others.map { "\($0.value) × \($0.key)" }.joined(separator: ", ")
        guard !times.isEmpty else { throw Failure("\(name): no start was a \(expected) (\(rest)): \(server.child.lastOutput)") }
        note(
            "  \(name), \(expected): \(times.count) starts, p50 \(number(times.p50)) ms, p99 \(number(times.p99)) ms"
                + (rest.isEmpty ? "" : ", not counted: \(rest)"))
    }
}
