import ArgumentParser
import Foundation

/// Measures what the Specification page promises, beside the peers that are installed.
struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure Hearth beside its peers, against the goals.",
        discussion: """
            Starts the release build of hearth and every peer that is installed, all alive at once, and loads them in \
            turn; each figure is the median of the rounds. CPU time is that of a server's whole process tree. Judge \
            ratios: absolute numbers move with the machine.

            \(benches.map { "\($0.name): \($0.purpose)" }.joined(separator: "\n"))
            """)

    @Argument(help: "Benchmarks to run; all of them if none is named.") var names: [String] = []
    @Option(help: "Rounds per figure.") var rounds = 3
    @Option(help: "Seconds of load per round and server.") var seconds = 3.0
    @Option(help: "Seconds to wait, at the most, for a machine that is quiet.") var patience = 60.0
    @Option(help: "Functions of the density benchmark.") var functions = 1000
    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Exit with status 1 when a goal is missed.") var check = false

    func validate() throws {
        for name in names where !benches.contains(where: { $0.name == name }) {
            throw ValidationError("there is no benchmark \(name): choose from \(benches.map(\.name).joined(separator: ", "))")
        }
        guard rounds > 0, seconds > 0, functions > 0 else {
            throw ValidationError("rounds, seconds and functions must be more than 0")
        }
    }

    func run() throws {
        #if DEBUG
            throw Failure("a debug build measures nothing: swift run -c release dev bench")
        #else
            let setting = try BenchSetting(rounds: rounds, seconds: seconds, patience: patience, functions: functions)
            defer { setting.remove() }
            setting.explainMissingPeers()
            var figures: [Figure] = []
            for bench in benches where names.isEmpty || names.contains(bench.name) {
                note("\(bench.name): \(bench.purpose)")
                figures += try bench.run(setting)
            }
            print(json ? try FigureTable.json(figures) : FigureTable.text(figures))
            let missed = figures.filter { $0.isMet == false }
            if check, !missed.isEmpty { throw Failure("missed: \(missed.map(\.name).joined(separator: "; "))") }
        #endif
    }
}
