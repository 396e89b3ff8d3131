import Foundation
import TestSupport
import Testing

/// The server dies, is told to end, finds damaged files or a full disk.
@Suite struct ServerFaultTests {
    private static func function(_ answer: Int, marker: String = "", name: String = "f") -> TestFunction {
        .python(
            name, """
            import subprocess, time
            def handler(event, context):
                if event.get("child"): subprocess.Popen(["sleep", "300"])
                time.sleep(event.get("seconds", 0))
                return \(answer)
            """, manifest: "timeout = 60\n[environment]\nMARKER = \"\(marker)\"")
    }

    @Test func killedAtAnyInstantItLosesNoAcknowledgedDeploymentAndLeavesNoWorker() throws {
        var random = SeededRandom(seed: ProcessInfo.processInfo.environment["HEARTH_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max))
        print("kill loop: HEARTH_SEED=\(random.seed)")
        let directory = try TemporaryDirectory()
        let marker = "hearth-marker-\(UUID())"
        var acknowledged = 0
        var begun = 0
        for round in 1...8 {
            let server = try HearthProcess(directory: directory)
            if acknowledged > 0 {
                let served = try server.get("/f/")
                #expect((acknowledged...begun).contains(Int(served.text) ?? -1), "round \(round): \(acknowledged) acknowledged, \(begun) begun, served: \(served)")
                #expect(try server.command(["describe", "f"]).out.contains("callable"))
            }
            let busy = acknowledged > 0 ? Background(threads: 1) { _ in _ = try? server.invoke("f", #"{"seconds":50,"child":1}"#, qualifier: "live") } : nil
            let killer = Background(threads: 1) { [delay = 100_000 + random.next() % 900_000] _ in
                usleep(UInt32(delay))
                try? server.killAtOnce()
            }
            while server.child.status == nil {
                begun += 1
                guard try server.deployment(Self.function(begun, marker: marker)).code == 0 else { break }
                acknowledged = begun
            }
            _ = killer.stop()
            _ = busy?.stop()
            try waitFor("the workers to end with their server (round \(round))", seconds: 10) { processes(with: marker).isEmpty ? () : nil }
        }
        #expect(acknowledged > 0)
        // And a last time in peace.
        let server = try HearthProcess(directory: directory)
        #expect(try server.deploy(Self.function(begun + 1, marker: marker)).contains("deployed f"))
        #expect(try server.get("/f/").text == "\(begun + 1)")
    }

    @Test func aFirstSignalLetsInvocationsEndAndASecondDoesNot() throws {
        let marker = "hearth-marker-\(UUID())"
        for signals in [1, 2] {
            let server = try HearthProcess(functions: [Self.function(5, marker: marker)])
            let seconds = signals == 1 ? 1.5 : 50
            let caller = Background(threads: 1) { _ in try? server.invoke("f", "{\"seconds\":\(seconds)}") }
            let url = Background(threads: 1) { _ in try? server.get("/f/") }
            #expect(url.stop().first??.text == "5" || signals > 0)
            try server.waitForMetric("hearth_concurrent_executions", ["function": "f"], 1)
            server.child.signal(SIGTERM)
            try waitFor("the word about stopping") { server.log.contains("stopping") ? () : nil }
            #expect(throws: TestFailure.self, "no new connections") { _ = try Wire(server.front) }
            if signals == 2 { server.child.signal(SIGTERM) }
            #expect(try server.child.waitForExit(seconds: 10) == .exited(0))
            let answer = caller.stop().first ?? nil
            if signals == 1 { #expect(answer?.text == "5" && answer?.status == 200, "\(String(describing: answer))") } else { #expect(answer == nil) }
            try waitFor("the workers to be gone", seconds: 10) { processes(with: marker).isEmpty ? () : nil }
        }
    }

    @Test func damagedAndHalfWrittenCodeIsMadeWholeAtTheNextStart() throws {
        let directory = try TemporaryDirectory()
        let code = "\(directory.path)/data/code"
        func packages() -> Set<String> { Set((try? FileManager.default.contentsOfDirectory(atPath: code)) ?? []) }
        do {
            let server = try HearthProcess(functions: [Self.function(1, name: "a"), Self.function(2, name: "b")], directory: directory)
            #expect(try server.get("/a/").text == "1")
            try server.killAtOnce()
        }
        let whole = packages()
        #expect(whole.count == 2)
        for (index, name) in whole.sorted().enumerated() {
            if index == 0 { truncate("\(code)/\(name)/app.py", 10) } else { unlink("\(code)/\(name)/app.py") }
        }
        try directory.write("data/code/\(whole.first ?? "")x.partial/app.py", "half")
        try directory.write("data/code/nobody_knows_it_/app.py", "old")
        let server = try HearthProcess(directory: directory)
        #expect(try server.get("/a/").text == "1" && server.get("/b/").text == "2")
        #expect(packages() == whole, "leftovers are removed")
        // Unpacked anew too when somebody removes it under the running server.
        try FileManager.default.removeItem(atPath: code)
        #expect(try server.deploy(Self.function(3, name: "c")).contains("deployed c"))
        #expect(try server.get("/c/").text == "3")
    }

    @Test func aSecondServerOnTheSameDataIsRefusedInOneSentence() throws {
        let server = try HearthProcess(functions: [Self.function(1)])
        let second = try server.command(["serve", "--data", "\(server.directory.path)/data", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"])
        #expect(second.code == 1 && second.err.split(separator: "\n").count == 1 && second.err.contains("another Hearth uses this data directory"), "\(second)")
        let taken = try server.command(["serve", "--data", "\(server.directory.path)/other", "--front", server.front, "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"])
        #expect(taken.code == 1 && taken.err.split(separator: "\n").count == 1 && taken.err.contains("\(server.front) is in use"), "\(taken)")
        #expect(try server.get("/f/").text == "1")
    }

    @Test(.enabled(if: canMount, "only root can mount a small disk"))
    func aFullDiskFailsTheDeployInOneSentenceAndTheServerGoesOn() throws {
        let directory = try TemporaryDirectory()
        let data = "\(directory.path)/data"
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
        guard try run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data]).code == 0 else { throw TestFailure("cannot mount") }
        defer { _ = try? run(["umount", "-l", data]) }
        let server = try HearthProcess(functions: [Self.function(1)], directory: directory)
        var random = SeededRandom(seed: 1)
        let ballast = (0..<100_000).map { _ in String(random.next(), radix: 36) }.joined()
        var failure: CommandResult?
        for number in 0..<20 where failure == nil {
            let big = TestFunction(
                "big", files: [
                    "app.py": "def handler(event, context): return \(number)\n", "ballast": "\(number)" + ballast,
                    "function.toml": "runtime = \"python3\"\nhandler = \"app.handler\"\n",
                ])
            let result = try server.deployment(big)
            if result.code != 0 { failure = result }
        }
        let said = try #require(failure)
        #expect(said.code == 1 && said.err.split(separator: "\n").count == 1 && (said.err.contains("full") || said.err.contains("No space left")), "\(said)")
        for _ in 0..<20 { #expect(try server.get("/f/").text == "1") }
        #expect(try server.metric("hearth_errors_total", ["function": "f"]) == 0)
        // With room again, deployments work again.
        _ = try run(["mount", "-o", "remount,size=64m", data])
        #expect(try server.deploy(Self.function(2)).contains("deployed f version 2"))
        #expect(try server.get("/f/").text == "2")
    }

    private static let canMount: Bool = {
        guard geteuid() == 0, let place = try? TemporaryDirectory() else { return false }
        defer { _ = try? run(["umount", "-l", place.path]) }
        return (try? run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place.path]).code) == 0
    }()
}

/// SplitMix64 (Steele et al., OOPSLA 2014): the same numbers from the same seed.
struct SeededRandom {
    let seed: UInt64
    private var state: UInt64

    init(seed: UInt64) { (self.seed, state) = (seed, seed) }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
