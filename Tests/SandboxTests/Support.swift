import Foundation
import TestSupport

/// Who runs the server: root, whose functions get users of their own, or somebody else, in whose place all functions run.
enum Runner: String, CaseIterable {
    case root, user

    /// Why the tests of walls cannot be run here; nil when they can.
    static let missing: String? = {
        guard geteuid() == 0 else { return "the tests need root, to be others too" }
        let attempt = try? run(["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "unshare", "-Ur", "true"])
        return attempt?.code == 0 ? nil : "users who are not root may make no user namespaces here"
    }()

    var uid: UInt32? { self == .user ? 54321 : nil }
}

/// A function that does what its event says in Python: what can be done from inside is tried from here.
enum Inside {
    static let source = #"""
        import os

        def handler(event, context):
            scope = {"event": event, "context": context}
            exec(event["code"], scope)
            return scope.get("result")
        """#

    /// - Parameters:
    ///   - executed: its workers are started by exec, because its init leaves a thread.
    ///   - marker: an environment variable by which its processes are found.
    static func function(
        _ name: String, _ manifest: String = "", executed: Bool = false, marker: String = "", before: String = ""
    ) -> TestFunction {
        let thread = executed ? "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n" : ""
        let environment = marker.isEmpty ? "" : "\n[environment]\nMARKER = \"\(marker)\"\n"
        return .python(name, before + thread + source, manifest: (manifest.contains("timeout") ? "" : "timeout = 30\n") + manifest + environment)
    }
}

extension HearthProcess {
    /// Has a function of `Inside` execute `code` and gives what it left in `result`; fails when the invocation does.
    @discardableResult
    func inside(_ name: String, _ code: String, _ event: [String: Any] = [:], seconds: Double = 60) throws -> Any? {
        let answer = try invoke(name, try eventText(event.merging(["code": code]) { $1 }), seconds: seconds)
        guard answer.status == 200, answer["X-Amz-Function-Error"] == nil else { throw TestFailure("\(name): \(answer)\n\(try logs(name))") }
        return answer.json
    }

    /// The same for code that ends the invocation with an error; gives Lambda's error object and the log.
    func failInside(_ name: String, _ code: String, seconds: Double = 60) throws -> (type: String, message: String, log: String) {
        let (answer, log) = try invokeWithLog(name, try eventText(["code": code]), seconds: seconds)
        guard answer.status == 200, answer["X-Amz-Function-Error"] != nil else { throw TestFailure("no error: \(answer)") }
        return (answer.object["errorType"] as? String ?? "", answer.object["errorMessage"] as? String ?? "", log)
    }

    /// The zygote's process, from what `hearth describe` says; nil while there is none.
    func zygote(of name: String) throws -> Int32? {
        let said = try command(["describe", name]).out
        return said.firstMatch(of: #/fork of process (\d+)/#).flatMap { Int32($0.1) }
    }

    func waitForZygote(of name: String) throws -> Int32 { try waitFor("a zygote of \(name)") { try zygote(of: name) } }
}

/// A process's state as the kernel writes it: R, S, D, T, Z …; nil when it is gone.
func state(of pid: Int32) -> Character? {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else { return nil }
    return text[text.index(end, offsetBy: 2)...].first
}

func command(of pid: Int32) -> String { (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) ?? "" }
