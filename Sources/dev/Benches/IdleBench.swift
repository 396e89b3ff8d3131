import Foundation

/// What Hearth costs while nobody asks anything of it.
struct IdleBench: Bench {
    let name = "idle"
    let purpose = "the shipped functions, one provisioned worker each, and no requests for 20 seconds"
    private let seconds = 20.0

    func run(_ setting: BenchSetting) throws -> [Figure] {
        let hearth = try HearthServer(setting, functions: "functions", .front, path: "/hello/", body: Peer.greeting)
        defer { hearth.child.stop() }
        // What starts leave behind (imports, garbage) is not idleness.
        Thread.sleep(forTimeInterval: 2)
        let before = ProcessTree(root: hearth.child.pid)
        Thread.sleep(forTimeInterval: seconds)
        let used = ProcessTree(root: hearth.child.pid).cpuMicroseconds(since: before)
        return [
            Figure(name: "idle: CPU, of one core", unit: "%", hearth: used / (seconds * 1e6) * 100, goal: .atMost(0.5)),
            Figure(
                name: "idle: resident memory of the server", unit: "MiB", hearth: ProcessTree.residentMiB(of: hearth.child.pid),
                goal: .atMost(40)),
        ]
    }
}
