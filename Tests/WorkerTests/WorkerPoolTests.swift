import Foundation
import TestSupport
import Testing

/// Pools with real processes: who serves, who waits, who is refused, what replaces what has died.
@Suite struct WorkerPoolTests {
    private static let source = #"""
        import os, signal, subprocess, threading, time

        inside = 0

        def handler(event, context):
            global inside
            inside += 1
            try:
                overlap = inside > 1
                if "seconds" in event: time.sleep(event["seconds"])
                if "exit" in event: os._exit(event["exit"])
                if "signal" in event: os.kill(os.getpid(), event["signal"])
                if "later" in event: threading.Timer(event["later"], lambda: os.kill(os.getpid(), 9)).start()
                if "child" in event:
                    open("/tmp/kept", "w").write("kept")
                    command = ["sleep", "300"] if event["child"] == "group" else ["setsid", "sleep", "300"]
                    subprocess.Popen(command)
                    time.sleep(60)
                if "kept" in event: return os.path.exists("/tmp/kept")
                return {"worker": os.getpid(), "overlap": overlap, "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
            finally:
                inside -= 1
        """#

    private static func function(_ concurrency: String, timeout: Int = 10, marker: String = "", name: String = "f") -> TestFunction {
        .python(name, source, manifest: "timeout = \(timeout)\n[environment]\nMARKER = \"\(marker)\"\n[concurrency]\n\(concurrency)\n")
    }

    private static func timings(_ answer: WireResponse) -> [String: Double] {
        var timings: [String: Double] = [:]
        for part in (answer["Server-Timing"] ?? "").components(separatedBy: ", ") {
            let pair = part.components(separatedBy: ";dur=")
            if pair.count == 2 { timings[pair[0]] = Double(pair[1]) }
        }
        return timings
    }

    /// A spare is one more worker that is idle when a second call comes; and no reason to stop another function's worker.
    @Test func aSpareServesTheSecondCallWithoutAStart() throws {
        let source = "exports.handler = (e) => new Promise((done) => setTimeout(() => done(id), e.ms ?? 0));\nconst id = Math.random();\n"
        let spares = "[concurrency]\nprovisioned = 0\nspares = 1"
        let server = try HearthProcess(functions: [.node("n", source, manifest: spares)], config: "[limits]\nworkers = 4\n")
        #expect(try server.invoke("n")["X-Hearth-Start"] == "exec")
        try server.waitForMetric("hearth_workers", ["function": "n", "state": "idle"], 2)
        let both = try concurrently(2) { _ in try server.invoke("n", #"{"ms":300}"#) }
        #expect(both.allSatisfy { $0["X-Hearth-Start"] == "warm" } && Set(both.map(\.text)).count == 2, "\(both)")
        try server.waitForMetric("hearth_workers", ["function": "n", "state": "idle"], 3)
        #expect(try server.metric("hearth_cold_starts_total", ["function": "n"]) == 1)

        let full = try HearthProcess(
            functions: [.node("n", source, manifest: spares), Self.function("provisioned = 0", name: "p")], config: "[limits]\nworkers = 2\n")
        let worker = try full.invoke("p").object["worker"] as? Int
        for _ in 1...3 { #expect(try full.invoke("n").status == 200) }
        let again = try full.invoke("p")
        #expect(again["X-Hearth-Start"] == "warm" && again.object["worker"] as? Int == worker, "\(again)")
    }

    @Test func provisionedWorkersAreThereFirstServeOneAtATimeAndComeBack() throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess(functions: [Self.function("provisioned = 2\nmax = 2", marker: marker)])
        #expect(try server.call("GET", "/_hearth/readyz").status == 200)
        #expect(try server.metric("hearth_provisioned_concurrency_available", ["function": "f"]) == 2)
        let first = try server.invoke("f")
        #expect(first["X-Hearth-Start"] == "provisioned" && Self.timings(first)["init"] == 0, "\(first)")
        #expect(first.object["type"] as? String == "provisioned-concurrency")
        // Eight at once on two workers: they wait, and no worker runs two at a time.
        let began = Date()
        let answers = try concurrently(8) { _ in try server.invoke("f", #"{"seconds":0.1}"#) }
        #expect(answers.allSatisfy { $0.status == 200 && $0.object["overlap"] as? Bool == false }, "\(answers)")
        #expect(Set(answers.compactMap { $0.object["worker"] as? Int }).count == 2)
        #expect(Date().timeIntervalSince(began) >= 0.4, "two workers cannot do it faster")
        #expect((answers.compactMap { Self.timings($0)["queue"] }.max() ?? 0) >= 100, "\(answers.map { Self.timings($0) })")
        #expect(try server.metric("hearth_cold_starts_total", ["function": "f"]) == 0)

        // One dies while it is idle: a new one takes its place before anybody asks.
        let started = try server.metric("hearth_init_seconds_count", ["function": "f"])
        #expect(try server.invoke("f", #"{"later":0.05}"#).status == 200)
        try server.waitForMetric("hearth_init_seconds_count", ["function": "f"], started + 1)
        try server.waitForMetric("hearth_workers", ["function": "f", "state": "idle"], 2)
        #expect(try server.invoke("f")["X-Hearth-Start"] == "provisioned")
        #expect(try server.metric("hearth_crashes_total", ["function": "f"]) == 0, "no invocation was inside")

        // What nothing leads to any more does not stay provisioned.
        #expect(!processes(with: marker).isEmpty)
        #expect(try server.command(["remove", "f"]).code == 0)
        try waitFor("the end of the removed function's workers") { processes(with: marker).isEmpty ? () : nil }
    }

    @Test func aQueueIsBoundedInLengthAndInTimeAndReservedConcurrencyIsACeiling() throws {
        let server = try HearthProcess(functions: [
            Self.function("provisioned = 1\nmax = 1\nqueue = 2\nqueue_wait = 1"), Self.function("reserved = 0", name: "off"),
            Self.function("provisioned = 1\nreserved = 1", name: "one"), Self.function("provisioned = 1", name: "other"),
        ])
        let running = Background(threads: 1) { _ in try? server.invoke("f", #"{"seconds":2.5}"#) }
        try server.waitForMetric("hearth_concurrent_executions", ["function": "f"], 1)
        let waiting = Background(threads: 2) { _ in try? server.invoke("f") }
        try server.waitForMetric("hearth_queue_depth", ["function": "f"], 2)
        func check(_ answer: WireResponse?, _ reason: String, _ what: Comment) {
            #expect(answer?.status == 429 && answer?["x-amzn-ErrorType"] == "TooManyRequestsException", what)
            #expect(answer?.object["Reason"] as? String == reason && answer?.object["message"] as? String == "Rate Exceeded.", what)
            #expect(answer?.object["Type"] as? String == "User" && answer?["Retry-After"] != nil, what)
        }
        check(try server.invoke("f"), "ConcurrentInvocationLimitExceeded", "the queue is full")
        let asked = Date()
        for answer in waiting.stop() { check(answer, "ConcurrentInvocationLimitExceeded", "it waited for a second") }
        #expect(Date().timeIntervalSince(asked) < 2, "they were refused before the worker was free")
        #expect(running.stop().first??.status == 200)
        #expect(try server.metric("hearth_throttles_total", ["function": "f"]) == 3)

        check(try server.invoke("off"), "ReservedFunctionConcurrentInvocationLimitExceeded", "reserved 0")
        let url = try server.get("/off/")
        #expect(url.status == 429 && url.object["Reason"] as? String == "ReservedFunctionConcurrentInvocationLimitExceeded", "\(url)")
        let only = Background(threads: 1) { _ in try? server.invoke("one", #"{"seconds":1}"#) }
        try server.waitForMetric("hearth_concurrent_executions", ["function": "one"], 1)
        check(try server.invoke("one"), "ReservedFunctionConcurrentInvocationLimitExceeded", "reserved 1, one inside")
        #expect(try server.invoke("other").status == 200, "another function's ceiling is its own")
        #expect(only.stop().first??.status == 200)
        #expect(try server.invoke("one").status == 200)
    }

    @Test(arguments: ["on", "off"]) func aTimeoutEndsTheWholeTreeAndKeepsTheScratchDirectory(isolation: String) throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess(
            functions: [Self.function("provisioned = 1\nmax = 1", timeout: 1, marker: marker)], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        func sleepers() -> [Int32] {
            processes(with: marker).filter { (try? String(contentsOfFile: "/proc/\($0)/comm", encoding: .utf8)) == "sleep\n" }
        }
        for child in ["group", "session"] {
            let caller = Background(threads: 1) { _ in try? server.invoke("f", #"{"child":"\#(child)"}"#) }
            try waitFor("the grandchild") { sleepers().isEmpty ? nil : () }
            let late = try #require(caller.stop().first ?? nil)
            #expect(late.status == 200 && late["X-Amz-Function-Error"] == "Unhandled")
            #expect(late.object["errorMessage"] as? String == "RequestId: \(late["x-amzn-RequestId"] ?? "") Error: Task timed out after 1.00 seconds")
            try waitFor("the grandchild (\(child)) to be gone") { sleepers().isEmpty ? () : nil }
        }
        let url = try server.request("POST", "/f/", headers: [("Content-Type", "application/json")], body: Array("{}".utf8))
        #expect(url.status == 200, "\(url)")
        #expect(try server.metric("hearth_timeouts_total", ["function": "f"]) == 2)
        if isolation == "off" { unlink("/tmp/kept") }
    }

    @Test func aCrashIsTheErrorOfOneInvocationAndNobodyElse() throws {
        let server = try HearthProcess(functions: [Self.function("provisioned = 3\nmax = 3")])
        for (event, words) in [(#"{"exit":3}"#, "exit status 3"), (#"{"signal":11}"#, "segmentation fault"), (#"{"signal":9}"#, "killed")] {
            let answers = try concurrently(8) { index in
                // The crashing one runs beside two others, with five more waiting.
                try server.invoke("f", index == 3 ? event : #"{"seconds":0.2}"#)
            }
            for (index, answer) in answers.enumerated() {
                let message = answer.object["errorMessage"] as? String
                #expect(answer.status == 200 && (answer["X-Amz-Function-Error"] != nil) == (index == 3), "\(index): \(answer)")
                if index == 3 { #expect(message?.hasSuffix(words) == true && answer.object["errorType"] as? String == "Runtime.ExitError", "\(answer)") }
            }
        }
        let url = try server.request("GET", "/f/?x")
        #expect(url.status == 200 && url["X-Amz-Function-Error"] == nil)
        try server.waitForMetric("hearth_provisioned_concurrency_available", ["function": "f"], 3)
        #expect(try server.metric("hearth_crashes_total", ["function": "f"]) == 3)
    }

    @Test func everyColdStartHasItsReasonItsPhasesAndItsHeader() throws {
        let shown = try TemporaryDirectory()
        chmod(shown.path, 0o755)
        // (Node, because a fork of an initialised Python would be too quick to be waited for.)
        let slow = """
            const until = Date.now() + 1000;
            while (Date.now() < until);
            if (!require('node:fs').existsSync('\(shown.path)/may-start')) throw new Error('not yet');
            exports.handler = async () => 1;
            """
        try shown.write("may-start", "")
        let server = try HearthProcess(
            functions: [
                Self.function("provisioned = 0\nkeep_alive = 1\nmax = 2", timeout: 1, name: "d"), Self.function("provisioned = 1\nmax = 3", name: "p"),
                .node("s", slow, manifest: "[concurrency]\nprovisioned = 0"),
            ], config: "[sandbox]\nisolation = \"off\"\n")
        func colds(_ name: String, _ reason: String, _ type: String? = nil) throws -> Double {
            try server.metric("hearth_cold_starts_total", ["function": name, "reason": reason].merging(type.map { ["init_type": $0] } ?? [:]) { $1 })
        }
        // A new $LATEST that nothing has ever run.
        let change = try server.call("PUT", "/2015-03-31/functions/d/configuration", body: #"{"Description":"changed"}"#)
        #expect(change.status == 200, "\(change)")
        let first = try server.invoke("d")
        let isCold = ["fork", "exec"].contains(first["X-Hearth-Start"] ?? "") && (Self.timings(first)["init"] ?? 0) > 0
        #expect(isCold && first.object["type"] as? String == "on-demand", "\(first)")
        #expect(try colds("d", "first") == 1)
        let warm = try server.invoke("d")
        #expect(warm["X-Hearth-Start"] == "warm" && Self.timings(warm)["init"] == 0 && (Self.timings(warm)["run"] ?? 0) > 0, "\(warm)")
        let both = try concurrently(2) { _ in try server.invoke("d", #"{"seconds":0.6}"#) }
        #expect(both.filter { $0["X-Hearth-Start"] != "warm" }.count == 1, "\(both)")
        #expect(try colds("d", "scale_up") == 1)
        // Idle for longer than their keep-alive, both go.
        try server.waitForMetric("hearth_workers", ["function": "d"], 0)
        #expect(try server.invoke("d").status == 200)
        #expect(try colds("d", "evicted") == 1)
        _ = try server.invoke("d", #"{"exit":1}"#)
        #expect(try server.invoke("d").status == 200)
        #expect(try colds("d", "crash") == 1)
        _ = try server.invoke("d", #"{"seconds":9}"#)
        #expect(try server.invoke("d").status == 200)
        #expect(try colds("d", "timeout") == 1)
        for phase in ["queue", "spawn", "runtime", "handler_import"] {
            #expect(try server.metric("hearth_cold_start_phase_seconds_count", ["function": "d", "phase": phase]) == 5, "\(phase)")
        }

        let spilled = try concurrently(2) { _ in try server.invoke("p", #"{"seconds":0.5}"#) }
        #expect(Set(spilled.compactMap { $0.object["type"] as? String }) == ["provisioned-concurrency", "on-demand"], "\(spilled)")
        #expect(try colds("p", "spillover") == 1)
        #expect(try server.metric("hearth_provisioned_concurrency_spillover_invocations_total", ["function": "p"]) == 1)

        // Provisioned concurrency has been asked for and is not there yet: who comes now waits for its init.
        try server.waitForMetric("hearth_workers", ["function": "s"], 0)
        #expect(try server.command(["scale", "s", "--provisioned", "1"]).code == 0)
        let early = try server.invoke("s", qualifier: "live")
        #expect(early.text == "1" && early["X-Hearth-Start"] != "warm" && early["X-Hearth-Start"] != "provisioned", "\(early)")
        #expect(try colds("s", "deploy", "provisioned") == 1)
        // An init that fails answers one invocation; the start after it says so.
        unlink("\(shown.path)/may-start")
        #expect(try server.call("PUT", "/2015-03-31/functions/s/configuration", body: #"{"Description":"changed"}"#).status == 200)
        #expect(try server.invoke("s").object["errorMessage"] as? String == "not yet")
        #expect(try server.metric("hearth_init_failures_total", ["function": "s"]) == 1)
        try shown.write("may-start", "")
        #expect(try server.invoke("s").text == "1")
        #expect(try colds("s", "init_failed") == 1)
    }
}
