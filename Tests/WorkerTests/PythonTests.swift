import Foundation
import TestSupport
import Testing

/// The bundled Python client on the running server.
@Suite struct PythonTests {
    private static let source = #"""
        import json, logging, os, resource, subprocess, sys, time

        log = logging.getLogger()
        served = 0

        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("no text")

        class Ended(BaseException):
            pass

        def handler(event, context):
            global served
            served += 1
            return globals()[event["do"]](event, context)

        def about(event, context):
            left = context.get_remaining_time_in_millis()
            client = context.client_context
            return {
                "names": [context.function_name, context.function_version, context.invoked_function_arn],
                "limits": [context.memory_limit_in_mb, 0 < left <= 2000],
                "log": [context.log_group_name, context.log_stream_name],
                "id": context.aws_request_id,
                "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
                "client": client and [client.custom, client.env, client.client.app_title, client.client.installation_id],
                "tenant": context.tenant_id,
                "environment": {key: os.environ.get(key) for key in (
                    "AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "MINE", "AWS_EXECUTION_ENV", "TZ", "_X_AMZN_TRACE_ID",
                    "AWS_LAMBDA_INITIALIZATION_TYPE")},
                "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"],
            }

        def value(event, context): return eval(event["python"])
        def length(event, context): return len(event["text"])
        def big(event, context): return "x" * event["bytes"]
        def fail(event, context): raise eval(event["python"])
        def leave(event, context): sys.exit(event.get("code"))
        def die(event, context):
            print("last words", end="" if event.get("silent") else "\n")
            os.kill(os.getpid(), event["signal"])
        def sleep(event, context):
            print("about to sleep")
            time.sleep(event["seconds"])
        def note(event, context):
            with open("/tmp/note", "a") as file: file.write("x")
            return [served, os.path.getsize("/tmp/note")]
        def grow(event, context): return len(bytearray(event["mib"] << 20))
        def bounded(event, context):
            resource.setrlimit(resource.RLIMIT_AS, (256 << 20, resource.RLIM_INFINITY))
            return len(bytearray(1 << 30))
        def close(event, context):
            sys.stdout.close()
            return "closed"
        def speak(event, context):
            print("first")
            sys.stderr.write("second\n")
            subprocess.run(["echo", "third"])
            log.warning("fourth")
            log.info("too quiet")
            context.log("fifth\n")
            print("é \ud800 last", end="")
        """#

    private static let manifest = "timeout = 2\n[environment]\nMINE = \"of mine\"\n[concurrency]\nprovisioned = 1\n"

    @Test func aHandlerGetsLambdasContextAndItsResultsAndErrorsComeBackInLambdasWords() throws {
        let server = try HearthProcess(functions: [.python("f", Self.source, manifest: Self.manifest)])
        let context = Data(#"{"custom":{"a":"1"},"env":{"b":"2"},"client":{"app_title":"T","installation_id":"I"}}"#.utf8)
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        let about = try server.invoke(
            "f", #"{"do":"about"}"#, qualifier: "live",
            headers: [("X-Amz-Client-Context", context.base64EncodedString()), ("X-Amzn-Trace-Id", trace)])
        let said = about.object
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live"
        #expect(said["names"] as? [String] == ["f", "1", arn], "\(about)")
        let limits = said["limits"] as? [Any]
        #expect(limits?.first as? String == "128" && limits?.last as? Bool == true, "\(about)")
        #expect((said["log"] as? [String])?.first == "/aws/lambda/f")
        #expect((said["log"] as? [String])?.last?.contains(#/^\d{4}/\d\d/\d\d/\[1\][0-9a-f]+$/#) == true, "\(about)")
        #expect(said["id"] as? String == about["x-amzn-RequestId"])
        #expect("\(said["client"] ?? "")".contains("T") && said["tenant"] is NSNull && said["cwd"] as? Bool == true, "\(about)")
        let environment = said["environment"] as? [String: String] ?? [:]
        #expect(
            environment["_HANDLER"] == "app.handler" && environment["MINE"] == "of mine" && environment["TZ"] == ":UTC"
                && environment["_X_AMZN_TRACE_ID"] == trace && environment["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency"
                && environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3", "\(environment)")
        let next = try server.invoke("f", #"{"do":"about"}"#, qualifier: "live").object["environment"] as? [String: Any]
        #expect(next?["MINE"] as? String == "of mine" && next?["_X_AMZN_TRACE_ID"] is NSNull, "the trace id of the invocation before: \(next ?? [:])")

        // What Python writes as JSON, and what it cannot.
        for (python, json) in [
            ("None", "null"), (#"{"a": [1, 2.5, True], "é": "😀"}"#, #"{"a":[1,2.5,true],"é":"😀"}"#), (#""\ud800""#, #""\ud800""#),
            ("float('nan')", "NaN"), ("__import__('decimal').Decimal('1.5')", "1.5"), ("{1: 2}", #"{"1":2}"#),
        ] {
            let answer = try server.invoke("f", try eventText(["do": "value", "python": python]))
            #expect(answer.text == json && answer["X-Amz-Function-Error"] == nil, "\(python): \(answer)")
        }
        for (python, words) in [
            ("{1, 2}", "Object of type set is not JSON serializable"), ("b'x'", "Object of type bytes is not JSON serializable"),
            ("(lambda a: a.append(a) or a)([])", "recursion"), ("{(1, 2): 3}", "keys must be"),
        ] {
            let answer = try server.invoke("f", try eventText(["do": "value", "python": python]))
            let message = answer.object["errorMessage"] as? String ?? ""
            #expect(
                answer.object["errorType"] as? String == "Runtime.MarshalError" && message.hasPrefix("Unable to marshal response: ")
                    && message.contains(words) && answer.object["stackTrace"] as? [String] == [], "\(python): \(answer)")
        }
        for (python, type, message) in [
            ("ValueError('bad é 😀')", "ValueError", "bad é 😀"), ("KeyError('k')", "KeyError", "'k'"),
            ("Odd()", "Odd", "<Odd whose text cannot be had>"),
        ] {
            let (answer, log) = try server.invokeWithLog("f", try eventText(["do": "fail", "python": python]))
            let trace = answer.object["stackTrace"] as? [String] ?? []
            #expect(answer.status == 200 && answer["X-Amz-Function-Error"] == "Unhandled")
            #expect(
                answer.object["errorType"] as? String == type && answer.object["requestId"] as? String == answer["x-amzn-RequestId"]
                    && trace.count == 2 && trace.last?.contains("in fail") == true, "\(answer)")
            #expect(answer.object["errorMessage"] as? String == message, "\(answer)")
            #expect(
                log.contains("[ERROR] \(type): ") && log.contains("Traceback (most recent call last):\n  File \"")
                    && log.contains("Status: error"), "\(log)")
        }
    }

    @Test func aLoneSurrogateInAnErrorIsEscapedNotLost() throws {
        let server = try HearthProcess(functions: [.python("f", Self.source, manifest: Self.manifest)])
        let answer = try server.invoke("f", #"{"do":"fail","python":"ValueError('é \\ud800')"}"#)
        #expect(answer.text.hasPrefix(#"{"errorMessage": "é \ud800", "errorType": "ValueError""#), "\(answer)")
    }

    @Test func anEndOfTheProcessIsTheErrorOfItsInvocationAndLosesNoLine() throws {
        let server = try HearthProcess(functions: [.python("f", Self.source, manifest: Self.manifest)])
        for (event, words) in [
            (#"{"do":"leave"}"#, "Runtime exited without providing a reason"),
            (#"{"do":"leave","code":3}"#, "Runtime exited with error: exit status 3"),
            (#"{"do":"fail","python":"Ended()"}"#, "Runtime exited with error: exit status 1"),
            (#"{"do":"die","signal":11}"#, "Runtime exited with error: signal: segmentation fault"),
            (#"{"do":"die","signal":9}"#, "Runtime exited with error: signal: killed"),
        ] {
            let (answer, log) = try server.invokeWithLog("f", event)
            let id = answer["x-amzn-RequestId"] ?? ""
            #expect(answer.status == 200 && answer["X-Amz-Function-Error"] == "Unhandled")
            #expect(
                answer.text == #"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: \#(id) Error: \#(words)"}"#, "\(event): \(answer)")
            #expect(log.hasPrefix("START RequestId: \(id) Version: $LATEST\n") && log.contains("\nEND RequestId: \(id)\nREPORT"), "\(log)")
            if event.contains("die") { #expect(log.contains("last words\n"), "\(log)") }
        }
        let (late, log) = try server.invokeWithLog("f", #"{"do":"sleep","seconds":60}"#)
        #expect(late.object["errorType"] as? String == "Sandbox.Timedout" && late["X-Amz-Function-Error"] == "Unhandled", "\(late)")
        #expect(late.object["errorMessage"] as? String == "RequestId: \(late["x-amzn-RequestId"] ?? "") Error: Task timed out after 2.00 seconds")
        #expect(log.contains("about to sleep\n") && log.contains("Task timed out after 2.00 seconds") && log.contains("Status: timeout"), "\(log)")
        // Not an end of the process: memory that it may not have, a standard output that it has closed.
        let refused = try server.invoke("f", #"{"do":"bounded"}"#)
        #expect(refused.object["errorType"] as? String == "MemoryError", "\(refused)")
        #expect(try server.invoke("f", #"{"do":"close"}"#).text == #""closed""#)
        #expect(try server.invoke("f", #"{"do":"close"}"#).object["errorType"] == nil, "a closed output ends no worker")
        #expect(try server.metric("hearth_crashes_total", ["function": "f"]) == 5)
    }

    @Test func theLogIsInOrderAndTheReportHasTheRealPeak() throws {
        let server = try HearthProcess(functions: [.python("f", Self.source, manifest: Self.manifest)])
        let (answer, log) = try server.invokeWithLog("f", #"{"do":"speak"}"#)
        let id = answer["x-amzn-RequestId"] ?? ""
        let lines = log.components(separatedBy: "\n")
        #expect(lines.count == 10 && lines[0] == "START RequestId: \(id) Version: $LATEST", "\(log)")
        #expect(Array(lines[1...3]) == ["first", "second", "third"], "\(log)")
        #expect(lines[4].contains(#/^\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t.{36}\tfourth$/#) && lines[4].contains(id), "\(log)")
        #expect(lines[5] == "fifth" && lines[6] == #"é \ud800 last"# && lines[7] == "END RequestId: \(id)", "\(log)")
        #expect(
            lines[8].contains(#/^REPORT RequestId: .{36}\tDuration: [0-9.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\t$/#),
            "\(lines[8])")

        func peak(_ log: String) -> Int { log.firstMatch(of: #/Max Memory Used: (\d+) MB/#).flatMap { Int($0.1) } ?? -1 }
        let before = peak(log)
        let after = peak(try server.invokeWithLog("f", #"{"do":"grow","mib":64}"#).log)
        #expect(after >= before + 60 && after < before + 90, "\(before) MB, then \(after) MB")

        // One worker: its globals and its /tmp live on.
        #expect(try server.invoke("f", #"{"do":"note"}"#).text == "[3,1]")
        #expect(try server.invoke("f", #"{"do":"note"}"#).text == "[4,2]")
    }

    /// The log is read before an answer is judged: what a child prints just then must not land in the answer's bytes.
    @Test func anAnswerIsWhatTheHandlerReturnedWhateverAChildPrintsMeanwhile() throws {
        let source = """
            import subprocess
            child = None

            def handler(event, context):
                global child
                child = child or subprocess.Popen(["sh", "-c", "while :; do echo spam spam spam; done"])
                return "x" * 300

            """
        let server = try HearthProcess(functions: [.python("f", source, manifest: "[concurrency]\nprovisioned = 1\nmax = 1\n")])
        let wanted = "\"" + String(repeating: "x", count: 300) + "\""
        let wrong = try (0..<500).map { _ in try server.invoke("f").text }.filter { $0 != wanted }
        #expect(wrong.isEmpty, "\(wrong.count): \(wrong.first ?? "")")
    }

    @Test func sixMebibytesGoThroughAndMoreIsRefusedInLambdasWords() throws {
        let server = try HearthProcess(functions: [.python("f", Self.source, manifest: "timeout = 30\n[concurrency]\nprovisioned = 1\n")])
        let limit = 6_291_556
        let whole = try server.invoke("f", #"{"do":"big","bytes":\#(limit - 2)}"#)
        #expect(whole.body.count == limit && whole["X-Amz-Function-Error"] == nil)
        for bytes in [limit - 1, limit + 100_000, 2 * limit] {
            let answer = try server.invoke("f", #"{"do":"big","bytes":\#(bytes)}"#)
            #expect(
                answer.text == #"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#,
                "\(bytes) bytes: \(answer.text.prefix(300))")
        }
        let event = #"{"do":"length","text":"\#(String(repeating: "é", count: 3_000_000))"}"#
        #expect(try server.invoke("f", event).text == "3000000")
        #expect(try server.invoke("f", event + String(repeating: " ", count: limit)).status == 413)
        #expect(try server.metric("hearth_crashes_total") == 0)
    }

    @Test func anInitThatFailsMakesTheDeployFailWithItsReasonAndAnInvocationToo() throws {
        let server = try HearthProcess()
        let good = "def handler(event, context): return 'old'\n"
        for (name, source, words) in [
            ("syntax", "def handler(e, c:\n  pass\n", ["Runtime.UserCodeSyntaxError: Syntax error in module 'app': '(' was never closed", "app.py\" Line 1"]),
            ("missing", "import nosuchmodule\n" + good, ["Runtime.ImportModuleError: Unable to import module 'app': No module named 'nosuchmodule'", "line 1, in <module>"]),
            ("nohandler", "x = 1\n", ["Runtime.HandlerNotFound: Handler 'handler' missing on module 'app'"]),
            ("raises", "def deep(): raise ValueError('at import')\ndeep()\n" + good, ["ValueError: at import", "in deep", "raise ValueError"]),
            ("leaves", "print('bye')\nimport sys\nsys.exit()\n" + good, ["Runtime.ExitError", "Runtime exited without providing a reason"]),
            ("exits", "import sys\nsys.exit(3)\n" + good, ["Runtime.ExitError", "exit status 3"]),
            ("dies", "import os\nos.kill(os.getpid(), 9)\n" + good, ["Runtime.ExitError", "signal: killed"]),
        ] {
            try server.deploy(.python(name, good))
            let result = try server.deployment(.python(name, source))
            #expect(result.code == 1 && result.err.contains("version 2 of \(name) cannot start, traffic stays where it was"), "\(result)")
            for part in words { #expect(result.err.contains(part), "\(name): \(result)") }
            #expect(try server.get("/\(name)/").text == "old", "the old version keeps serving")
        }
        for (handler, words) in [("other.handler", "No module named 'other'"), ("deep/app.handler", "No module named 'deep'")] {
            let function = TestFunction("lost", files: ["app.py": good, "function.toml": "runtime = \"python3\"\nhandler = \"\(handler)\"\n"])
            #expect(try server.deployment(function).err.contains(words))
        }
        // Through Invoke, $LATEST is the version that cannot start. The log says what it printed.
        let (exits, _) = try server.invokeWithLog("exits")
        let id = exits["x-amzn-RequestId"] ?? ""
        #expect(exits.text == #"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: \#(id) Error: Runtime exited with error: exit status 3"}"#)
        #expect(exits["X-Amz-Function-Error"] == "Unhandled" && exits["X-Hearth-Start"] == "exec" && exits["X-Amz-Executed-Version"] == "$LATEST")
        let raises = try server.invoke("raises")
        #expect(raises.object["errorType"] as? String == "ValueError" && raises.object["requestId"] as? String == "", "\(raises)")
        #expect(try server.logs("leaves").contains("bye\n"))
    }

    @Test func anInitThatHangsIsKilledAtItsLimit() throws {
        let server = try HearthProcess()
        let began = Date()
        let result = try server.deployment(.python("hangs", "print('hanging')\nimport time\ntime.sleep(600)\n"))
        #expect(result.code == 1 && result.err.contains("Init timed out after 10.00 seconds"), "\(result)")
        #expect(Date().timeIntervalSince(began) >= 9.5)
        #expect(try server.logs("hangs").contains("hanging\n"))
    }
}
