import Foundation
import TestSupport
import Testing

/// Handlers that misuse what they were given: their own invocation fails with Lambda's error, and nobody else's does.
@Suite struct HostileWorkerTests {
    private static let timedOut = ("Sandbox.Timedout", "Task timed out after 1.00 seconds")
    private static let killed = ("Runtime.ExitError", "signal: killed")

    @Test func whatAWorkerSaysOutOfTurnEndsItAndThePoolRecovers() throws {
        let server = try HearthProcess(functions: [
            Inside.function("f", "timeout = 1\n[concurrency]\nprovisioned = 1\nmax = 1\n"), Inside.function("other"),
        ])
        let frame = "import os, struct, time, signal, sys\ndef frame(kind, body, claim=None): return struct.pack('<IB', claim or len(body) + 1, kind) + body\n"
        let cases: [(what: String, code: String, error: (String, String), line: String?)] = [
            ("closes its pipes", "os.close(4); os.close(3); time.sleep(60)", Self.timedOut, nil),
            ("garbage", "os.write(4, b'\\xff' * 100); time.sleep(60)", Self.killed, "a frame of unknown kind"),
            ("an empty frame", "os.write(4, bytes(5)); time.sleep(60)", Self.killed, "a frame of unknown kind"),
            ("half a frame", "os.write(4, frame(3, b'1234', 1000)); time.sleep(60)", Self.timedOut, nil),
            ("a huge claim", "os.write(4, frame(3, b'1234', 0xffffffff)); time.sleep(60)", Self.timedOut, nil),
            ("a huge claim of no answer", "os.write(4, frame(1, b'1234', 0xffffffff)); time.sleep(60)", Self.killed, "a frame over the limit"),
            ("ready again", "os.write(4, frame(1, bytes(30))); time.sleep(60)", Self.killed, "a frame out of turn"),
            ("a short answer", "os.write(4, frame(3, b'12')); time.sleep(60)", Self.killed, "a frame out of turn"),
            ("another's answer", "os.write(4, frame(6, bytes(12) + b'1')); time.sleep(60)", Self.killed, "an answer to another invocation"),
            ("a piece before its stream", "os.write(4, frame(9, bytes(8) + b'1')); time.sleep(60)", Self.killed, "a frame out of turn"),
            ("another's stream", "os.write(4, frame(8, bytes(8))); time.sleep(60)", Self.killed, "an answer to another invocation"),
            ("a stream in a stream", "mark = context.aws_request_id[-8:].encode(); os.write(4, frame(8, mark) * 2); time.sleep(60)", Self.killed, "a frame out of turn"),
            ("ignores what may be ignored", "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGTERM); os.abort()", ("Runtime.ExitError", "aborted"), nil),
            ("stops itself", "os.kill(os.getpid(), signal.SIGSTOP)", Self.timedOut, nil),
            ("stops its zygote", "os.kill(os.getppid(), signal.SIGSTOP); time.sleep(60)", Self.timedOut, nil),
            ("kills everybody", "os.kill(-1, signal.SIGKILL); os._exit(5)", Self.killed, nil),
        ]
        for test in cases {
            let others = Background(threads: 1) { goesOn in
                var failed = 0
                while goesOn() { if (try? server.inside("other", "result = 1", seconds: 10)) as? Int != 1 { failed += 1 } }
                return failed
            }
            let crashes = try server.metric("hearth_crashes_total", ["function": "f"]) + server.metric("hearth_timeouts_total", ["function": "f"])
            let error = try server.failInside("f", frame + test.code)
            #expect(error.type == test.error.0 && error.message.hasSuffix(test.error.1), "\(test.what): \(error)")
            if let line = test.line { #expect(error.log.components(separatedBy: "hearth: the worker sent \(line) and was killed\n").count == 2, "\(test.what): \(error.log)") }
            #expect(try server.inside("f", "result = 1") as? Int == 1, "\(test.what): the pool recovers")
            let counted = try server.metric("hearth_crashes_total", ["function": "f"]) + server.metric("hearth_timeouts_total", ["function": "f"])
            #expect(counted == crashes + 1, "\(test.what)")
            #expect(others.stop() == [0], "\(test.what): others")
        }
        // The answer stands; the second one ends the worker, in whose place another comes.
        let twice = try server.inside("f", frame + "os.write(4, frame(3, bytes(4) + b'\"first\"') * 2); time.sleep(60)", seconds: 10)
        #expect(twice as? String == "first")
        #expect(try server.inside("f", "result = 1") as? Int == 1)
        #expect(try server.logs("f").contains("hearth: the worker sent a frame out of turn and was killed"))
        // A child of the handler comes back from it too, while the next invocation runs, and all have their own answers.
        let forking = "import os, time\nchild = os.fork() == 0\nif child: time.sleep(event['wait'])\nresult = 'child' if child else 'parent'"
        #expect(try server.inside("f", forking, ["wait": 0.3], seconds: 10) as? String == "parent")
        let next = try server.invoke("f", try eventText(["code": "import time; time.sleep(0.8); result = 'next'"]), seconds: 10)
        #expect(next.text == #""next""# || next.object["errorType"] as? String == "Runtime.ExitError", "\(next)")
        #expect(try server.inside("f", "result = 1") as? Int == 1)
        // A hundred megabytes without a line's end, with the log's tail asked for.
        let (loud, _) = try server.invokeWithLog("f", try eventText(["code": frame + "block = b'x' * (1 << 20)\nfor _ in range(100): os.write(1, block)\nresult = 'done'"]))
        #expect(loud.text == #""done""# && loud["X-Amz-Log-Result"] != nil, "\(loud.status)")
        let memory = try String(contentsOfFile: "/proc/\(server.child.pid)/status", encoding: .utf8)
        let peak = memory.firstMatch(of: #/VmHWM:\s+(\d+) kB/#).flatMap { Int($0.1) } ?? .max
        #expect(peak < 150_000, "the server held the log: \(peak) KiB")
    }

    @Test(arguments: ["on", "off"]) func whatEndsOfAWorkerEndsWhole(isolation: String) throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess(
            functions: [
                Inside.function("forked", "timeout = 2\n[concurrency]\nprovisioned = 1\nmax = 1\n", marker: marker),
                Inside.function("executed", "timeout = 2\n[concurrency]\nprovisioned = 1\nmax = 1\n", executed: true, marker: marker), Inside.function("other"),
            ], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        let daemon = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)\n"
        let settled = processes(with: marker).count
        for name in ["forked", "executed"] {
            for end in ["os._exit(3)", "time.sleep(60)"] {
                _ = try server.failInside(name, daemon + end)
                #expect(try server.inside(name, "result = 1") as? Int == 1)
                try waitFor("the daemon of \(name) to be gone") { processes(with: marker).count <= settled ? () : nil }
            }
        }
        guard isolation == "on" else { return }
        // Without walls only the machine's own limits hold a fork bomb.
        let bomb = "import os, time\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: time.sleep(0.02)\n"
        for name in ["forked", "executed"] {
            let others = Background(threads: 1) { goesOn in
                var served = 0
                while goesOn() { if (try? server.inside("other", "result = 1", seconds: 30)) as? Int == 1 { served += 1 } }
                return served
            }
            let error = try server.failInside(name, bomb)
            // At its time's end, or before that at the memory limit of its control group, which a thousand processes reach.
            #expect(["Sandbox.Timedout", "Runtime.ExitError"].contains(error.type), "\(error)")
            #expect(others.stop()[0] > 0, "others were served meanwhile")
            try waitFor("the bomb to be gone", seconds: 60) { processes(with: marker).count <= settled ? () : nil }
            #expect(try server.inside(name, "result = 1") as? Int == 1)
        }
    }

    @Test func memoryBeyondTheLimitIsToldInOneLine() throws {
        let server = try HearthProcess(functions: [Inside.function("f", "timeout = 20\n[concurrency]\nmax = 1\n"), Inside.function("g", executed: true)])
        for name in ["f", "g"] {
            let error = try server.failInside(name, "import time\nheld = [b'x' * (20 << 20) for _ in range(12)]\ntime.sleep(15)")
            #expect(error.type == "Runtime.ExitError" && error.message.hasSuffix("signal: killed"), "\(error)")
            #expect(error.log.components(separatedBy: "the worker was killed: it used").count == 2, "\(error.log)")
            #expect(error.log.contains("and the function has 128 MB"), "\(error.log)")
            #expect(try server.inside(name, "result = 1") as? Int == 1)
            #expect(try server.metric("hearth_crashes_total", ["function": name]) == 1)
            // What the function starts counts too, and what forks share counts once.
            let shared = "import os, time\nheld = bytearray(b'x') * (70 << 20)\nif os.fork() == 0: time.sleep(2); os._exit(0)\ntime.sleep(1)\nresult = 'shared'"
            #expect(try server.inside(name, shared) as? String == "shared")
            let started = "import subprocess, sys, time\nfor _ in range(3): subprocess.Popen([sys.executable, '-c', 'held = bytearray(b\\'x\\') * (60 << 20); import time; time.sleep(15)'])\ntime.sleep(15)"
            let together = try server.failInside(name, started)
            #expect(together.log.components(separatedBy: "the worker was killed: it used").count == 2, "\(together)")
        }
    }
}
