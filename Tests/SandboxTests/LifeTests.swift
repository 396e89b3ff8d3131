import Foundation
import TestSupport
import Testing

/// What a worker does between invocations, when it is replaced, and what is left when the server goes.
@Suite struct LifeTests {
    @Test func backgroundWorkRestsBetweenInvocationsUnlessItIsAllowed() throws {
        let marker = "hearth-marker-\(UUID())"
        let start = """
            import subprocess, sys, threading, time
            ticks = sys.modules["app"].__dict__.setdefault("ticks", [])
            def run():
                while True:
                    ticks.append(time.monotonic())
                    time.sleep(0.005)
            threading.Thread(target=run, daemon=True).start()
            subprocess.Popen(["setsid", "sleep", "1000"])
            time.sleep(0.02)
            """
        let look = "import sys, time; ticks = sys.modules['app'].ticks + [time.monotonic()]; result = [len(ticks), max(b - a for a, b in zip(ticks, ticks[1:]))]"
        let server = try HearthProcess(functions: [
            Inside.function("frozen", "[concurrency]\nmax = 1\n", marker: marker), Inside.function("allowed", "background = \"allowed\"\n[concurrency]\nmax = 1\n"),
        ])
        try server.inside("frozen", start)
        func stopped(_ name: String) throws -> Int32 {
            try waitFor("\(name) to be stopped") {
                processes(with: marker).first { state(of: $0) == "T" && command(of: $0).hasPrefix(name) }
            }
        }
        let worker = try stopped("python")
        let child = try stopped("sleep")
        let began = Date()
        try waitFor("half a second") { Date().timeIntervalSince(began) > 0.5 ? () : nil }
        #expect(state(of: worker) == "T" && state(of: child) == "T")
        let rested = Date().timeIntervalSince(began)
        let frozen = try server.inside("frozen", look) as? [Double] ?? []
        #expect(frozen.count == 2 && frozen[1] >= rested, "\(frozen): it ran while it should have rested for \(rested) s")

        // What has left its parents is found in the worker's control group, once that has one of its own.
        func group(_ pid: Int32) -> String { (try? String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)) ?? "" }
        let zygote = try server.waitForZygote(of: "frozen")
        if group(zygote).contains("/hearth-") {
            try waitFor("a control group of the worker's own") { group(worker) != group(zygote) ? () : nil }
            try server.inside("frozen", "import subprocess; subprocess.run(['sh', '-c', 'setsid tail -f /dev/null > /dev/null 2>&1 < /dev/null &'])")
            let daemon = try stopped("tail")
            try server.inside("frozen", "result = 1")
            try waitFor("the daemon to rest again") { state(of: daemon) == "T" ? () : nil }
        }

        try server.inside("allowed", start)
        let before = try server.inside("allowed", look) as? [Double] ?? []
        let pause = Date()
        try waitFor("half a second") { Date().timeIntervalSince(pause) > 0.5 ? () : nil }
        let after = try server.inside("allowed", look) as? [Double] ?? []
        #expect(after[0] - before[0] >= 20, "\(before) \(after): it rested")
    }

    @Test func recyclingNeverFailsAnInvocation() throws {
        let server = try HearthProcess(functions: [
            Inside.function("counted", "[concurrency]\nprovisioned = 2\nmax = 4\n[recycle]\ninvocations = 5\n"),
            Inside.function("grown", "[concurrency]\nprovisioned = 1\nmax = 2\n[recycle]\ngrowth = 20\n"),
        ])
        let code = "import os, sys; sys.modules['app'].__dict__.setdefault('kept', []).append(b'x' * event.get('bytes', 1)); result = [os.getpid(), len(sys.modules['app'].kept)]"
        let counted = try concurrently(8) { _ in try (0..<25).map { _ in try server.inside("counted", code) as? [Int] ?? [] } }.joined()
        #expect(counted.allSatisfy { $0.count == 2 && (1...5).contains($0[1]) }, "\(Array(counted))")
        #expect(Set(counted.map { $0[0] }).count >= 40)
        let grown = try concurrently(2) { _ in
            try (0..<30).map { _ in try server.inside("grown", code, ["bytes": 4 << 20]) as? [Int] ?? [] }
        }.joined()
        #expect(grown.allSatisfy { $0.count == 2 && $0[1] <= 12 }, "\(Array(grown))")
        #expect(Set(grown.map { $0[0] }).count >= 4, "\(Array(grown))")
        #expect(try server.metric("hearth_crashes_total") == 0)
        #expect(try server.metric("hearth_errors_total") == 0)
    }

    @Test(arguments: ["on", "off"]) func nothingSurvivesAServerThatIsKilled(isolation: String) throws {
        let marker = "hearth-marker-\(UUID())"
        let environment = "timeout = 60\n[environment]\nMARKER = \"\(marker)\"\n"
        let bootstrap = """
            #!/bin/bash
            curl -s "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" > /dev/null
            (setsid sleep 1000 &)
            while :; do :; done
            """
        let server = try HearthProcess(
            functions: [
                Inside.function("forked", "timeout = 60\n", marker: marker), Inside.function("executed", "timeout = 60\n", executed: true, marker: marker),
                .node(
                    "node", "exports.handler = async () => { require('child_process').spawn('setsid', ['sleep', '1000'], {detached: true}); for (;;); }",
                    manifest: environment),
                TestFunction("bash", files: ["bootstrap": bootstrap, "function.toml": "runtime = \"provided\"\n" + environment]),
            ], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        let loop = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)\nwhile True: pass"
        let callers = ["forked", "executed", "node", "bash"].map { name in
            Background(threads: 1) { _ in try? server.invoke(name, (try? eventText(["code": loop])) ?? "") }
        }
        try waitFor("four busy workers") { try server.metric("hearth_concurrent_executions") == 4 ? () : nil }
        // A zygote, three hearth-inits at the least, four workers and their daemons.
        try waitFor("their daemons") { processes(with: marker).count >= 12 ? () : nil }
        let groups = Set(processes(with: marker).flatMap(Self.groups))
        try server.killAtOnce()
        for caller in callers { _ = caller.stop() }
        try waitFor("nothing to be left of it", seconds: 20) { processes(with: marker).isEmpty ? () : nil }
        try waitFor("its base to be gone") { Self.isMentioned(server.directory.path) ? nil : () }
        // Another server on the machine clears up, later if not at once.
        let next = try HearthProcess(functions: [], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        try waitFor("its control groups to be gone (\(groups))") { groups.contains { FileManager.default.fileExists(atPath: $0) } ? nil : () }
        #expect(next.child.status == nil)
    }

    /// The directories of this server's control groups (version 1) that a process is in.
    private static func groups(of pid: Int32) -> [String] {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map { $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false) }
            .filter { $0.count == 3 && $0[2].contains("/hearth-") }.map { "/sys/fs/cgroup/\($0[1])\($0[2])" }
    }

    /// Does any process have the text in its command line?
    private static func isMentioned(_ text: String) -> Bool {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.contains { pid in
            FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")?.range(of: Data((text + "/data/runtimes").utf8)) != nil
        }
    }

    @Test func aServerThatEndsAmidStartsLeavesNothing() throws {
        let marker = "hearth-marker-\(UUID())"
        for signals in [1, 2] {
            let names = (0..<6).map { "f\($0)" }
            let server = try HearthProcess(functions: names.map { Inside.function($0, "[concurrency]\nprovisioned = 0\n", executed: true, marker: marker) })
            for name in names { _ = try? server.failInside(name, "import os; os._exit(0)") }
            let callers = names.map { name in Background(threads: 2) { _ in try? server.invoke(name, #"{"code":"result = 1"}"#) } }
            try waitFor("starts") { try server.metric("hearth_workers", ["state": "starting"]) > 0 ? () : nil }
            for _ in 0..<signals { server.child.signal(SIGTERM) }
            #expect(try server.child.waitForExit(seconds: 30) == .exited(0))
            for caller in callers { _ = caller.stop() }
            try waitFor("the workers to be gone", seconds: 10) { processes(with: marker).isEmpty ? () : nil }
        }
    }

    @Test func aStartWithoutDescriptorsIsAnsweredAndLeavesNone() throws {
        let server = try HearthProcess(functions: [
            Inside.function("executed", "[concurrency]\nprovisioned = 0\n", executed: true), Inside.function("forked", "[concurrency]\nprovisioned = 0\n"),
        ])
        func limit(_ bound: Int) throws { #expect(try run(["prlimit", "--pid", "\(server.child.pid)", "--nofile=\(bound):"]).code == 0) }
        func descriptors() throws -> [Int] {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.child.pid)/fd").compactMap { Int($0) }.sorted()
        }
        /// The bound below which there are so many free numbers.
        func bound(leaving room: Int, in taken: [Int]) -> Int {
            var free = room
            var bound = 0
            while free > 0 {
                if !taken.contains(bound) { free -= 1 }
                bound += 1
            }
            return bound
        }
        func settle(_ name: String) throws {
            _ = try? server.failInside(name, "import os; os._exit(0)")
            if let zygote = try server.zygote(of: name) { kill(zygote, SIGKILL) }
            try waitFor("no process of \(name)") { try server.metric("hearth_workers", ["function": name]) == 0 ? () : nil }
        }
        for name in ["executed", "forked"] {
            try settle(name)
            var before = try descriptors()
            try waitFor("the descriptors to be closed") {
                let now = try descriptors()
                defer { before = now }
                return now == before ? () : nil
            }
            for room in [1, 2, 3, 4, 5, 6, 7] {
                try limit(bound(leaving: room, in: try descriptors()))
                let answer = try? server.invoke(name, #"{"code":"result = 1"}"#, seconds: 20)
                #expect(answer?.text != "1" || room > 4, "\(name) with \(room) descriptors: \(String(describing: answer))")
                try limit(20_000)
                #expect(try server.inside(name, "result = 1", seconds: 20) as? Int == 1, "\(name) after \(room)")
                try settle(name)
            }
            try waitFor("the descriptors to be as many as before") { try descriptors().count <= before.count ? () : nil }
        }
    }
}
