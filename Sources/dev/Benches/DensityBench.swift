import Foundation

/// Very many small functions, each with its zygote and without a worker, and the first call of each.
struct DensityBench: Bench {
    let name = "density"
    let purpose = "a thousand Python functions (--functions) kept ready: deploy, memory, the first call of each"

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let count = setting.functions
        let directory = try setting.makeDirectory("functions")
        for index in 0..<count {
            // Code of its own, as functions have.
            let python = "def handler(event, context):\n    return \(index)\n"
            try setting.addFunction(
                functionName(index), in: directory, python: python,
                manifest: "[concurrency]\nprovisioned = 0\nkeep_alive = 1")
        }
        let available = MemoryUse.availableMB
        let began = LoadClient.now
        let server = try HearthServer(
            setting, functions: directory, configuration: "[limits]\nworkers = 1000", patience: 60 + count)
        defer { server.child.stop() }
        let deploySeconds = Double(LoadClient.now - began) / 1e9
        try waitUntilNoWorker(server)
        let members = ProcessTree(root: server.child.pid).members
        let memory = MemoryUse(of: members)
        let taken = available - MemoryUse.availableMB
        note("  \(count) functions, \(members.count) processes, deployed in \(number(deploySeconds)) s")
        setting.waitForQuiet()
        let times = try firstCalls(server, count)
        let share = Double(count) / 1000
        return [
            figure("memory of the whole tree, PSS", "MB", memory.proportionalMB, .atMost(2000 * share)),
            figure("memory of the whole tree, private", "MB", memory.privateMB, .atMost(2000 * share)),
            figure("memory that the machine has less, kernel's included", "MB", taken, .none),
            figure("PSS per function", "MB", memory.proportionalMB / Double(count), .none),
            figure("first call, p50", "ms", times.p50, .none),
            figure("first call, p99", "ms", times.p99, .atMost(50)),
            figure("deploy of one function", "ms", deploySeconds * 1000 / Double(count), .none),
        ]
    }

    private func functionName(_ index: Int) -> String { "f\(index)" }

    private func figure(_ name: String, _ unit: String, _ value: Double, _ goal: Figure.Goal) -> Figure {
        Figure(name: "density: \(name)", unit: unit, hearth: value, goal: goal)
    }

    /// Deployments try each version with one worker, which then ends.
    private func waitUntilNoWorker(_ server: HearthServer) throws {
        let api = try TimedConnection(port: server.ports.api)
        for _ in 0..<600 {
            let lines = try api.ask("/_hearth/metrics").body.split(separator: "\n").filter { $0.hasPrefix("hearth_workers{") }
            if lines.allSatisfy({ $0.hasSuffix(" 0") }) { return }
            usleep(100_000)
        }
        throw Failure("workers do not end although nothing asks: \(server.child.lastOutput)")
    }

    private func firstCalls(_ server: HearthServer, _ count: Int) throws -> [Double] {
        let connection = try TimedConnection(port: server.ports.front)
        var times: [Double] = []
        var others: [String: Int] = [:]
        for index in 0..<count {
            let answer = try connection.ask("/\(functionName(index))/")
            guard answer.status == 200, answer.body == String(index) else {
                throw Failure("function \(index) was answered \(answer.status): \(answer.body)")
            }
            times.append(answer.milliseconds)
            if answer.start != "fork" { others[answer.start, default: 0] += 1 }
        }
        for (kind, count) in others { note("  \(count) first calls were answered by a start of kind \(kind)") }
        return times
    }
}
