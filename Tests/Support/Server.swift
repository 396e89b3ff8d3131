import Foundation

/// What a test does with a running server.
extension HearthProcess {
    /// Invokes and returns the answer with its log.
    package func invokeWithLog(_ name: String, _ event: String = "{}", seconds: Double = 60) throws -> (answer: WireResponse, log: String) {
        let answer = try invoke(name, event, headers: [("X-Amz-Log-Type", "Tail")], seconds: seconds)
        let log = answer["X-Amz-Log-Result"].flatMap { Data(base64Encoded: $0) } ?? Data()
        return (answer, String(decoding: log, as: UTF8.self))
    }

    /// The sum of a metric's series that have all of `labels`.
    package func metric(_ name: String, _ labels: [String: String] = [:]) throws -> Double {
        let text = try call("GET", "/_hearth/metrics").text
        var sum = 0.0
        for line in text.split(separator: "\n") where line.hasPrefix(name + "{") || line.hasPrefix(name + " ") {
            guard labels.allSatisfy({ line.contains("\($0.key)=\"\($0.value)\"") }), let space = line.lastIndex(of: " ") else { continue }
            sum += Double(line[line.index(after: space)...]) ?? 0
        }
        return sum
    }

    package func waitForMetric(_ name: String, _ labels: [String: String] = [:], _ wanted: Double, seconds: Double = 20) throws {
        try waitFor("\(name) \(labels) to be \(wanted)", seconds: seconds) {
            try metric(name, labels) == wanted ? () : nil
        }
    }

    /// Makes the function of a test and deploys it; fails with what the command said.
    @discardableResult
    package func deploy(_ function: TestFunction, arguments: [String] = []) throws -> String {
        let result = try deployment(function, arguments: arguments)
        guard result.code == 0 else { throw TestFailure("deploying \(function.name): \(result)") }
        return result.out
    }

    /// The same without judging how it ended.
    package func deployment(_ function: TestFunction, arguments: [String] = []) throws -> CommandResult {
        // Beside functions/: what lies there is deployed by the server itself.
        try command(["deploy", try function.write(into: directory, at: "deployed/\(function.name)")] + arguments)
    }

    package func logs(_ name: String) throws -> String { try command(["logs", name]).out }
}

/// Runs `count` calls of `body` at the same time, each on a thread of its own, and returns their results in order.
package func concurrently<T: Sendable>(_ count: Int, _ body: @escaping @Sendable (Int) throws -> T) throws -> [T] {
    let results = Results<T>(count)
    let threads = DispatchGroup()
    for index in 0..<count {
        threads.enter()
        Thread.detachNewThread {
            results.set(index, Result { try body(index) })
            threads.leave()
        }
    }
    threads.wait()
    return try results.all()
}

private final class Results<T: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var values: [Result<T, any Error>?]

    init(_ count: Int) { values = Array(repeating: nil, count: count) }

    func set(_ index: Int, _ value: Result<T, any Error>) { lock.withLock { values[index] = value } }
    func all() throws -> [T] { try lock.withLock { try values.compactMap { try $0?.get() } } }
}

/// Something that goes on in the background until it is told to stop; then gives what it has counted.
package final class Background<T: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var isOver = false
    private let group = DispatchGroup()
    private var results: [T] = []

    /// - Parameter body: called with a question: go on?
    package init(threads: Int, _ body: @escaping @Sendable (() -> Bool) -> T) {
        for _ in 0..<threads {
            group.enter()
            Thread.detachNewThread { [self] in
                let result = body { self.lock.withLock { !self.isOver } }
                lock.withLock { results.append(result) }
                group.leave()
            }
        }
    }

    package func stop() -> [T] {
        lock.withLock { isOver = true }
        group.wait()
        return lock.withLock { results }
    }
}

/// Processes of this machine whose environment holds `marker`. (A worker's manifest sets it.)
package func processes(with marker: String) -> [Int32] {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return all.compactMap { Int32($0) }.filter { pid in
        guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else { return false }
        return bytes.range(of: Data(marker.utf8)) != nil
    }
}

/// JSON text of an event.
package func eventText(_ object: [String: Any]) throws -> String {
    String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
}
