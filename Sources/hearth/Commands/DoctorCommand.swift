import ArgumentParser
import Config
import Foundation
import Sandbox

/// Looks at the machine, not at a running Hearth.
struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell what this machine gives Hearth and what it does not: what that costs and how to get it.",
        discussion: "Exits with status 1 when something that the configuration requires is missing.")

    @Option(help: "The configuration file.") var config: String?
    @Flag(help: "Print JSON.") var json = false

    private struct Finding: Encodable {
        let name: String
        let good: Bool
        let sentence: String
    }

    func run() throws {
        let settings = try ConfigFileLoader.load(config)
        let findings = isolation(settings) + interpreters + [memory]
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            printJSON(Array(try encoder.encode(findings)))
        } else {
            for finding in findings {
                say("\(finding.good ? "ok " : "-- ") \(finding.name.padding(toLength: 14, withPad: " ", startingAt: 0)) \(finding.sentence)")
            }
        }
        if settings.isolation == .required, findings.contains(where: { $0.name == "namespaces" && !$0.good }) {
            throw Failure("isolation = \"required\" in the configuration cannot be met on this machine")
        }
    }

    private func isolation(_ settings: RuntimeConfig) -> [Finding] {
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("hearth-doctor-\(getpid())").path
        mkdir(scratch, 0o700)
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        guard
            let isolation = Isolation.probe(
                wanted: settings.isolation != .off, dataDirectory: scratch, shown: settings.sandboxShows)
        else {
            return [Finding(name: "hearth-init", good: false, sentence: "is not beside the hearth executable: build the whole package")]
        }
        return isolation.walls.map { Finding(name: $0.name, good: $0.stands, sentence: $0.sentence) }
    }

    private var interpreters: [Finding] {
        let known = Interpreters()
        return [("python3", "apt-get install python3"), ("nodejs", "apt-get install nodejs")].map { name, install in
            let found = known.find(for: name)
            return Finding(
                name: name, good: found != nil,
                sentence: found?.path ?? "not on PATH: functions of this runtime cannot start; \(install)")
        }
    }

    private var memory: Finding {
        let (cgroups, problem) = Cgroups.find()
        defer { cgroups?.end() }
        return Finding(
            name: "cgroups", good: cgroups != nil,
            sentence: cgroups?.sentence
                ?? "\(problem ?? ""); memory is held by watching each busy worker ten times a second, processes by rlimit")
    }
}
