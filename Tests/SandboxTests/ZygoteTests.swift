import Foundation
import TestSupport
import Testing

/// The process from which workers are forked: what it runs when, when it is not forked, what follows its end, and what it can
/// do to others when it is hostile.
@Suite struct ZygoteTests {
    private static let hooks = #"""
        import os
        from snapshot_restore_py import register_after_restore, register_before_snapshot
        import socket
        order = []
        def note(what, *, who=None): order.append([what, os.getpid()])
        register_before_snapshot(note, "before 1")
        register_before_snapshot(note, "before 2", who="x")
        register_after_restore(note, "after 1")
        @register_after_restore
        def last():
            note("after 2")
            if os.environ.get("FAILS"): raise ConnectionError("no database")
        # With hooks an open socket is taken to be looked after.
        held = socket.socket()
        """# + "\n"

    @Test(.enabled(if: RuntimeClient.awslambdaric != nil, "pip cannot install snapshot_restore_py here"))
    func hooksRunBeforeTheForkOnceAndAfterItInEachWorkerInAWSsOrder() throws {
        let package = try #require(RuntimeClient.awslambdaric).directory + "/snapshot_restore_py.py"
        let library = try String(contentsOfFile: package, encoding: .utf8)
        func function(_ name: String, _ manifest: String) -> TestFunction {
            let inside = Inside.function(name, manifest, before: Self.hooks)
            return TestFunction(name, files: inside.files.merging(["snapshot_restore_py.py": library]) { $1 })
        }
        let server = try HearthProcess(functions: [function("f", "[concurrency]\nprovisioned = 2\n")])
        let look = "import os, sys, time; time.sleep(0.3); result = [str(os.getpid())] + [f'{what} {pid}' for what, pid in sys.modules['app'].order]"
        let seen = try concurrently(2) { _ in try server.inside("f", look) as? [String] ?? [] }
        #expect(Set(seen.map(\.first)).count == 2, "two workers")
        let zygote = seen[0].dropFirst().first?.split(separator: " ").last ?? "none"
        for order in seen {
            #expect(order.dropFirst() == ["before 2 \(zygote)", "before 1 \(zygote)", "after 1 \(order[0])", "after 2 \(order[0])"], "\(seen)")
        }
        let failing = try server.deployment(function("failing", "[environment]\nFAILS = \"1\"\n"))
        #expect(failing.code == 1 && failing.err.contains("ConnectionError: no database"), "\(failing)")
        let answer = try server.invoke("failing")
        #expect(answer.object["errorType"] as? String == "ConnectionError" && answer["X-Amz-Function-Error"] == "Unhandled", "\(answer)")
        #expect(try server.metric("hearth_init_failures_total", ["function": "failing"]) >= 2)
        #expect(try server.invoke("f", #"{"code":"result=1"}"#).text == "1")
    }

    @Test func whatAForkWouldLoseIsStartedByExecAndDescribeSaysWhy() throws {
        let socket = "import socket\nheld = socket.socket()\n"
        let server = try HearthProcess(functions: [
            Inside.function("thread", executed: true), Inside.function("socket", before: socket), Inside.function("forked"),
        ])
        for (name, words) in [("thread", "exec: its init left 2 threads"), ("socket", "exec: its init left 1 open socket"), ("forked", "fork of process")] {
            #expect(try server.command(["describe", name]).out.contains(words), "\(name)")
            _ = try server.invoke(name, #"{"code":"import os; os._exit(0)"}"#)
            let cold = try server.invoke(name, #"{"code":"result = 1"}"#)
            #expect(cold.text == "1", "\(cold)")
            let kind = name == "forked" ? "fork" : "exec"
            #expect(["provisioned", "warm", kind].contains(cold["X-Hearth-Start"] ?? ""), "\(cold)")
        }
    }

    @Test(arguments: ["on", "off"]) func aZygoteThatDiesIsReplacedAndItsWorkersServeOnAndLeaveNothing(isolation: String) throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess(
            functions: [Inside.function("f", "[concurrency]\nprovisioned = 1\nmax = 2\n", marker: marker)], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        let who = "import os; result = os.getpid()"
        let worker = try server.inside("f", who) as? Int
        let settled = processes(with: marker).count
        let first = try server.waitForZygote(of: "f")
        // Within its first second it would be replaced only at the next start.
        let born = Date()
        try waitFor("the zygote to be a second old") { Date().timeIntervalSince(born) > 1.1 ? () : nil }
        kill(first, SIGKILL)
        let second = try waitFor("another zygote") { try server.zygote(of: "f").flatMap { $0 == first ? nil : $0 } }
        #expect(try server.inside("f", who) as? Int == worker, "the worker lives on")
        #expect(kill(second, 0) == 0)
        // A daemon of the orphaned worker ends with it, and with the last worker its whole sandbox.
        _ = try server.inside("f", "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)")
        try waitFor("two sandboxes and the daemon") { processes(with: marker).count > settled + 1 ? () : nil }
        let answer = try server.failInside("f", "import os; os._exit(7)")
        #expect(answer.type == "Runtime.ExitError", "\(answer)")
        let next = try server.invoke("f", try eventText(["code": who]))
        #expect(next.status == 200 && next["X-Amz-Function-Error"] == nil, "\(next)")
        try waitFor("the old sandbox's processes to be gone") { processes(with: marker).count <= settled ? () : nil }
        #expect(try server.zygote(of: "f") == second)
    }

    /// What its init can do to the server: each is ended by the pool, and another function does not notice.
    @Test func aHostileZygoteEndsOnlyItself() throws {
        let marker = "hearth-marker-\(UUID())"
        func hostile(_ body: String) -> String {
            """
            import os, signal, socket, struct, sys, time
            hearth_zygote = sys.modules.get("hearth_zygote")
            send = hearth_zygote and hearth_zygote.Control.send
            def lie(control, kind, body=b"", descriptors=()):
            \(body.split(separator: "\n", omittingEmptySubsequences: false).map { "    " + $0 }.joined(separator: "\n"))
            if hearth_zygote: hearth_zygote.Control.send = lie

            """
        }
        let lies = [
            // The socket's other end is the server, and the kernel names it (SO_PEERPIDFD, Linux 6.5).
            "server": """
                if kind == 4: descriptors = (socket.socket(fileno=os.dup(3)).getsockopt(1, 77),)
                send(control, kind, body, descriptors)
                """,
            "itself": "if kind == 4: descriptors = (os.pidfd_open(os.getpid()),)\nsend(control, kind, body, descriptors)",
            "nothing": "send(control, kind, body, (os.open('/dev/null', 0),) if kind == 4 else descriptors)",
            "tookBack": "send(control, kind, body, descriptors)\nif kind == 4: time.sleep(0.2); send(control, 6, body + bytes(4))",
            "garbage": "send(control, kind, body, descriptors)\nif kind == 1: send(control, 200, b'x' * 60000)",
            "empty": "send(control, kind, body, descriptors)\nif kind == 1: control.socket.send(b'')",
            "silent": "if kind != 4: send(control, kind, body, descriptors)",
            "deaf": "send(control, kind, body, descriptors)\nif kind == 1: os.kill(os.getpid(), signal.SIGSTOP)",
            "mute": "send(control, kind, body, descriptors)\nif kind == 4: os.kill(os.getpid(), signal.SIGSTOP)",
            "untrue": "send(control, kind, body, descriptors)\nif kind == 4: send(control, 5, body + bytes(4))",
            "stays": "send(control, 3 if kind == 1 else kind, b'I will not', descriptors)\nif kind == 1: time.sleep(1000)",
            "flood": "send(control, kind, body, descriptors)\nwhile kind == 1: send(control, 5, struct.pack('<Ii', 99, 0))",
        ]
        let server = try HearthProcess(functions: [Inside.function("good")])
        for (name, body) in lies {
            try Inside.function(name, "timeout = 1\n[concurrency]\nprovisioned = 0\nqueue_wait = 3\n", marker: marker, before: hostile(body)).write(into: server.directory, at: "deployed/\(name)")
        }
        let outcomes = try concurrently(lies.count) { index in
            let name = lies.keys.sorted()[index]
            _ = try server.command(["deploy", "\(server.directory.path)/deployed/\(name)"])
            // A worker's end is what the zygote must tell of.
            guard let answer = try? server.invoke(name, #"{"code":"import time; time.sleep(1000)"}"#, seconds: 30) else {
                return "\(name): no answer; \(try server.command(["describe", name]).out)\n\(try server.logs(name).suffix(2000))"
            }
            return "\(name): \(answer.status) \(answer["X-Amz-Function-Error"] ?? "-") \(answer.object["errorType"] as? String ?? answer.text)"
        }
        for outcome in outcomes {
            let isEnded = outcome.contains(": 200 Unhandled Sandbox.Timedout") || outcome.contains(": 200 Unhandled Runtime.ExitError")
            // One that serves no order keeps its invocations waiting for as long as the queue lets them.
            let hasWaited = ["deaf", "silent"].contains { outcome.hasPrefix("\($0): 429 ") }
            #expect(isEnded || hasWaited, "\(outcome)")
            #expect(try server.inside("good", "result = 1", seconds: 10) as? Int == 1)
        }
        #expect(server.child.status == nil, "\(server.log)")
        #expect(try server.metric("hearth_concurrent_executions") == 0)
        for name in lies.keys { #expect(try server.command(["remove", name]).code == 0) }
        try waitFor("nothing of them to be left") { processes(with: marker).isEmpty ? () : nil }
    }
}
