import Foundation

/// What all benchmarks of one run share: rounds, a directory that goes with the run, the binary under test.
final class BenchSetting {
    let rounds: Int
    let seconds: Double
    private let patience: Double
    /// How many functions the density benchmark deploys.
    let functions: Int
    /// Removed at the end of the run.
    let directory: String
    /// The release build of the server, beside this program.
    let hearth: String

    init(rounds: Int, seconds: Double, patience: Double, functions: Int) throws {
        self.rounds = rounds
        self.seconds = seconds
        self.patience = patience
        self.functions = functions
        guard FileManager.default.fileExists(atPath: "functions/hello/app.py") else {
            throw Failure("there is no functions/hello here: run this from the package's top directory")
        }
        let status = try Child.run(["swift", "build", "-c", "release", "--product", "hearth"], log: "/dev/null")
        guard status == 0 else { throw Failure("hearth does not build: swift build -c release --product hearth says why") }
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        hearth = own.deletingLastPathComponent().path + "/hearth"
        // Like with like: uwsgi's plugin always runs the distribution's Python. (Another build of the same version was
        // measured to cost half as much again.)
        setenv("PATH", "/usr/bin:/bin:" + (ProcessInfo.processInfo.environment["PATH"] ?? ""), 1)
        var template = Array((NSTemporaryDirectory() + "hearth-bench-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("cannot make a temporary directory: \(String(cString: strerror(errno)))") }
        directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    func remove() { try? FileManager.default.removeItem(atPath: directory) }

    /// A new directory for one server.
    func makeDirectory(_ name: String) throws -> String {
        let path = "\(directory)/\(name)-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Writes a function into the directory `functions`: `app.py` and a manifest.
    ///
    /// - Parameter manifest: lines of function.toml beside runtime and handler; tables last.
    func addFunction(_ name: String, in functions: String, python: String, manifest: String) throws {
        let directory = "\(functions)/\(name)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try python.write(toFile: "\(directory)/app.py", atomically: false, encoding: .utf8)
        let text = "runtime = \"python3\"\nhandler = \"app.handler\"\n\(manifest)\n"
        try text.write(toFile: "\(directory)/function.toml", atomically: false, encoding: .utf8)
    }

    func explainMissingPeers() {
        let missing = Peer.all.filter { !$0.isInstalled }
        guard !missing.isEmpty else { return }
        note("not installed, so not compared: " + missing.map { "\($0.name) (\($0.howToInstall))" }.joined(separator: "; "))
    }

    /// Waits until other programs leave the machine alone, for as long as patience lasts.
    func waitForQuiet() {
        let deadline = Date(timeIntervalSinceNow: patience)
        var share = 0.0
        repeat {
            let before = MachineLoad()
            Thread.sleep(forTimeInterval: 1)
            share = MachineLoad().share(since: before)
            if share < 0.1 { return }
        } while Date() < deadline
        note("  the machine is busy (\(Int(share * 100)) %): trust ratios of CPU time only")
    }
}
