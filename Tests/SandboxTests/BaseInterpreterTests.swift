import Foundation
import TestSupport
import Testing

/// The interpreter from which zygotes are forked: who is, who is not, and that nothing goes from one function to another.
@Suite struct BaseInterpreterTests {
    /// The command line that a zygote still shows.
    private static func commandLine(_ pid: Int32) -> String {
        String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data(), as: UTF8.self)
    }

    private static func isForked(_ pid: Int32) -> Bool { commandLine(pid).contains("hearth_base.py") }

    /// The base: the only child of the server that is an interpreter and not the first process of a sandbox.
    private static func base(of server: HearthProcess) throws -> Int32 {
        try waitFor("the base") {
            let children = try String(contentsOfFile: "/proc/\(server.child.pid)/task/\(spawner(of: server))/children", encoding: .utf8)
            return children.split(separator: " ").compactMap { Int32($0) }.first { command(of: $0).hasPrefix("python") }
        }
    }

    /// The thread of the server that has children.
    private static func spawner(of server: HearthProcess) throws -> String {
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.child.pid)/task")
        return threads.first { (try? String(contentsOfFile: "/proc/\(server.child.pid)/task/\($0)/children", encoding: .utf8)).map { !$0.isEmpty } ?? false } ?? ""
    }

    @Test func aForkedZygoteIsWhatAnExecutedOneWouldBe() throws {
        let look = #"""
            import ctypes, locale, os, resource, signal, subprocess, sys, time
            libc = ctypes.CDLL(None)
            libc.getenv.restype = ctypes.c_char_p
            status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
            result = {
                "environment": {name: value for name, value in os.environ.items() if name not in ("AWS_LAMBDA_LOG_STREAM_NAME", "MARK", "PYTHONUNBUFFERED", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")},
                "child": sorted(line.partition("=")[0] for line in subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines() if "MARK" not in line and "PYTHON" not in line),
                "getenv": libc.getenv(b"AWS_LAMBDA_FUNCTION_NAME").decode() == os.environ["AWS_LAMBDA_FUNCTION_NAME"], "argv": sys.argv, "path": sys.path,
                "flags": str(sys.flags), "executable": sys.executable, "writes": sys.dont_write_bytecode, "zone": [time.tzname, time.timezone],
                "locale": locale.setlocale(locale.LC_CTYPE), "encoding": [sys.getfilesystemencoding(), sys.stdout.encoding, sys.stdin.name],
                "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals()) if number != signal.SIGCHLD],
                "rights": {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp", "Threads", "SigBlk", "SigIgn", "NSpid")},
                "limits": [resource.getrlimit(number) for number in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)],
                "directory": os.getcwd(), "umask": os.umask(0o22), "context": [context.function_name == os.environ["AWS_LAMBDA_FUNCTION_NAME"], context.memory_limit_in_mb],
                "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:6], "oom": open("/proc/self/oom_score_adj").read(),
                "modules": "colorsys" in sys.modules or "_graphlib" in sys.modules, "group": os.getpgid(0) == os.getpid(), "nice": [os.nice(0), os.sched_getscheduler(0) == os.SCHED_OTHER],
            }
            """#
        let server = try HearthProcess(functions: [
            Inside.function("forked", "memory_size = 256\n[environment]\nMARK = \"a\"\n"),
            // A variable that only the interpreter's start can honour.
            Inside.function("executed", "memory_size = 256\n[environment]\nPYTHONUNBUFFERED = \"\"\nMARK = \"a\"\n"),
            TestFunction("libraries", files: Inside.function("libraries").files.merging(["lib/libx.so.1": "no library"]) { $1 }),
            Inside.function("zoned", "[environment]\nTZ = \"Asia/Tokyo\"\nMARK = \"b\"\n"),
        ])
        let zygotes = try ["forked", "executed", "libraries", "zoned"].map { try server.waitForZygote(of: $0) }
        #expect(zygotes.map(Self.isForked) == [true, false, false, true], "\(zygotes.map(Self.commandLine))")
        let forked = try server.inside("forked", look) as? [String: Any] ?? [:]
        let executed = try server.inside("executed", look) as? [String: Any] ?? [:]
        #expect(forked.count == 22)
        // The zygote, and the server's thread that starts processes, take the processor from nobody; workers are ordinary.
        #expect(try text(forked["nice"] ?? "") == "[0,true]")
        for (name, value) in forked { #expect(try text(value) == text(executed[name] ?? "nothing"), "\(name)") }
        let zoned = try server.inside("zoned", "import os, time; result = [time.tzname[0], time.timezone, os.environ['MARK']]") as? [Any] ?? []
        #expect("\(zoned)" == #"["JST", -32400, "b"]"#, "\(zoned)")
        let shown = (FileManager.default.contents(atPath: "/proc/\(zygotes[3])/environ") ?? Data()).split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        #expect(shown.contains("MARK=b") && shown.contains("TZ=Asia/Tokyo") && !shown.contains("MARK=a"), "\(shown)")
    }

    @Test(arguments: Runner.missing == nil ? Runner.allCases : [.root])
    func nothingOfOneFunctionIsInAnothersMemory(runner: Runner) throws {
        let halves = ["secret-\(UUID())", "-\(UUID())"]
        let secret = halves.joined()
        // A long order, whose end a shorter one after it would not write over.
        let long = TestFunction.python(
            "a", "def handler(event, context): return 1\n", manifest: "[environment]\nSECRET = \"\(String(repeating: secret + " ", count: 20))\"\n")
        let server = try HearthProcess(functions: [long, Inside.function("b")], user: runner.uid)
        let spy = #"""
            secret = "".join(event["halves"]).encode()
            found, bytes = [], 0
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
                for line in maps:
                    begin, end = (int(number, 16) for number in line.split()[0].split("-"))
                    if "r" not in line.split()[1] or "[v" in line or end - begin > 64 << 20: continue
                    try:
                        memory.seek(begin)
                        content = memory.read(end - begin)
                    except (OSError, ValueError, OverflowError): continue
                    bytes += len(content)
                    at = content.find(secret)
                    # Its own copy lies somewhere too, once.
                    while at >= 0:
                        found.append(line.split()[-1])
                        at = content.find(secret, at + 1)
            result = {"found": len(found), "bytes": bytes}
            """#
        let before = try server.inside("b", spy, ["halves": halves]) as? [String: Int] ?? [:]
        #expect(try Self.isForked(server.waitForZygote(of: "b")) && Self.isForked(server.waitForZygote(of: "a")))
        #expect(before["bytes"] ?? 0 > 1 << 20 && before["found"] ?? 99 < 10, "\(before): twenty copies lay in the order")
    }

    @Test func zygotesLiveWithoutTheirBaseAndTheNextOneComesFromAnother() throws {
        let server = try HearthProcess(functions: [Inside.function("a")])
        let base = try Self.base(of: server)
        let first = try server.waitForZygote(of: "a")
        #expect(Self.isForked(first) && Self.isForked(base) && base != first)
        let worker = try server.inside("a", "import os; result = os.getpid()") as? Int
        kill(base, SIGKILL)
        #expect(try server.deployment(Inside.function("b")).code == 0)
        #expect(try server.inside("b", "result = 1") as? Int == 1)
        #expect(try Self.isForked(server.waitForZygote(of: "b")) && Self.base(of: server) != base)
        #expect(try server.inside("a", "import os; result = os.getpid()") as? Int == worker && kill(first, 0) == 0)
        // One that does not answer is given up, and who waits is served by a zygote that is executed, or by another base.
        kill(try Self.base(of: server), SIGSTOP)
        #expect(try server.deployment(Inside.function("c")).code == 0)
        #expect(try server.inside("c", "result = 1") as? Int == 1)
        try waitFor("the dead bases to be collected") {
            processes(below: server.child.pid).allSatisfy { state(of: $0) != "Z" } ? () : nil
        }
    }

    private func text(_ value: Any) throws -> String {
        String(decoding: try JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys]), as: UTF8.self)
    }

    private func processes(below pid: Int32) -> [Int32] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return all.compactMap { Int32($0) }.filter { child in
            guard let text = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else { return false }
            return text[end...].split(separator: " ").dropFirst(2).first.flatMap { Int32($0) } == pid
        }
    }
}
