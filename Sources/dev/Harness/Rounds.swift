import Foundation

/// A server under load.
protocol Contestant: AnyObject {
    var name: String { get }
    var child: Child { get }
    /// Where and what the load is to ask.
    var target: (port: UInt16, path: String, body: String) { get }
}

/// What one round with one contestant gave.
struct Sample {
    var requestsPerSecond: Double
    var p50: Double
    var cpuPerRequest: Double
}

/// The medians of all rounds, by contestant's name.
struct Medians {
    private var samples: [String: [Sample]] = [:]

    fileprivate mutating func add(_ name: String, _ sample: Sample) { samples[name, default: []].append(sample) }

    func value(_ name: String, _ field: KeyPath<Sample, Double>) -> Double? {
        guard let values = samples[name]?.map({ $0[keyPath: field] }).sorted() else { return nil }
        return (values[(values.count - 1) / 2] + values[values.count / 2]) / 2
    }
}

extension BenchSetting {
    /// Loads the contestants in turn, round after round, while all of them are alive.
    func measure(_ contestants: [any Contestant], connections: Int) throws -> Medians {
        var medians = Medians()
        // Brings code and connections to where they will be.
        for contestant in contestants { _ = try LoadClient.run(load(contestant, connections, seconds: 0.5)) }
        waitForQuiet()
        for round in 1...rounds {
            for contestant in contestants {
                let sample = try sample(contestant, connections, round)
                medians.add(contestant.name, sample)
            }
        }
        return medians
    }

    private func load(_ contestant: any Contestant, _ connections: Int, seconds: Double) -> Load {
        let target = contestant.target
        return Load(
            port: target.port, path: target.path, connections: connections, seconds: seconds, body: target.body)
    }

    private func sample(_ contestant: any Contestant, _ connections: Int, _ round: Int) throws -> Sample {
        let (machine, own, tree) = (MachineLoad(), clock(), ProcessTree(root: contestant.child.pid))
        let result = try LoadClient.run(load(contestant, connections, seconds: seconds))
        let used = ProcessTree(root: contestant.child.pid).cpuMicroseconds(since: tree)
        let mine = Double(clock() - own) / Double(CLOCKS_PER_SEC)
        let others = MachineLoad().busySeconds(since: machine) - mine - used / 1e6
        let sample = Sample(
            requestsPerSecond: result.requestsPerSecond, p50: result.p50, cpuPerRequest: used / Double(max(1, result.completed)))
        note(
            "  round \(round), c=\(connections), \(contestant.name): \(number(sample.requestsPerSecond)) req/s, "
                + "p50 \(number(sample.p50)) µs, CPU \(number(sample.cpuPerRequest)) µs/request"
                + " (the client's \(number(mine * 1e6 / Double(max(1, result.completed)))))"
                + (result.reconnects > 0 ? ", \(result.reconnects) reconnects" : "")
                + (others / result.seconds > 0.1 ? ", others used \(number(others / result.seconds)) cores" : ""))
        return sample
    }
}
