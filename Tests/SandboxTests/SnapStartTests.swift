import Foundation
import TestSupport
import Testing

/// SnapStart of the stock client: forked where AWS would restore it.
@Suite struct SnapStartTests {
    @Test(.enabled(if: RuntimeClient.awslambdaric != nil, "pip cannot install awslambdaric here"))
    func theStockClientIsForkedWithSnapStartAndExecutedWithout() throws {
        let client = try #require(RuntimeClient.awslambdaric)
        let server = try HearthProcess(config: "[sandbox]\nshow = \"\(client.interpreterHome)\"\n")
        let source = """
            import os, random
            from snapshot_restore_py import register_after_restore
            restored, own = [], random.Random()
            register_after_restore(lambda: restored.append(os.getpid()))
            def handler(event, context):
                if event.get("exit"): os._exit(4)
                return [event["n"], os.getpid(), restored, random.random(), own.random(), context.aws_request_id]
            """
        let bootstrap = "#!/bin/sh\nexport PYTHONPATH=$LAMBDA_TASK_ROOT/client:$LAMBDA_TASK_ROOT:$PYTHONPATH\nexec \(client.interpreter) -m awslambdaric $_HANDLER\n"
        func deploy(_ name: String, _ files: [String: String], snapStart: String) throws {
            let manifest = "runtime = \"provided\"\nhandler = \"app.handler\"\ntimeout = 20\nsnap_start = \"\(snapStart)\"\n[concurrency]\nprovisioned = 1\n"
            let place = try TestFunction(name, files: files.merging(["function.toml": manifest]) { $1 }).write(into: server.directory, at: "deployed/\(name)")
            if files["app.py"] != nil { try FileManager.default.copyItem(atPath: client.directory, toPath: "\(place)/client") }
            let result = try server.command(["deploy", place])
            guard result.code == 0 else { throw TestFailure("\(result)\n\(try server.logs(name))") }
        }
        @Sendable func invoke(_ name: String, _ number: Int) throws -> (start: String, answer: [String]) {
            let answer = try server.invoke(name, #"{"n":\#(number)}"#, qualifier: "live")
            guard let parts = answer.json as? [Any], parts.count == 6, parts[5] as? String == answer["x-amzn-RequestId"] else { throw TestFailure("\(answer)") }
            return (answer["X-Hearth-Start"] ?? "", parts.map { "\($0)" })
        }
        try deploy("forked", ["bootstrap": bootstrap, "app.py": source], snapStart: "on")
        #expect(try server.command(["describe", "forked"]).out.contains("fork of process"))
        let answers = try (0..<10).flatMap { burst in try concurrently(10) { try invoke("forked", burst * 10 + $0) } }
        #expect(answers.map(\.answer[0]).compactMap { Int($0) } == Array(0..<100))
        #expect(answers.contains { $0.start == "fork" } && !answers.contains { $0.start == "exec" }, "\(answers.map(\.start))")
        // Each worker ran its hooks once; no two have the same numbers.
        #expect(answers.allSatisfy { $0.answer[2].filter(\.isNumber) == $0.answer[1] }, "\(answers)")
        #expect(Set(answers.map(\.answer[3])).count == 100 && Set(answers.map(\.answer[4])).count == 100)
        let exit = try server.invoke("forked", #"{"exit":1}"#, qualifier: "live")
        #expect(exit.object["errorType"] as? String == "Runtime.ExitError", "\(exit)")
        #expect(try invoke("forked", 7).answer[0] == "7")

        try deploy("executed", ["bootstrap": bootstrap, "app.py": source], snapStart: "off")
        #expect(try server.command(["describe", "executed"]).out.contains("exec: the runtime cannot fork"))
        let pair = try concurrently(2) { try invoke("executed", $0) }
        #expect(pair.map(\.answer[0]) == ["0", "1"] && !pair.contains { $0.start == "fork" })

        // Another client than awslambdaric asks for its first invocation: it does not fork, and is told apart by that.
        let bash = """
            #!/bin/bash
            api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
            while curl -sf -D /tmp/head "$api/next" > /tmp/event; do
                id=$(tr -d '\\r' < /tmp/head | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //Ip')
                curl -s -d '"bash"' "$api/$id/response" > /dev/null
            done
            """
        try deploy("bash", ["bootstrap": bash], snapStart: "on")
        #expect(try server.invoke("bash", qualifier: "live").text == #""bash""#)
        #expect(try server.command(["describe", "bash"]).out.contains("exec: its client is not awslambdaric for Python"))
    }
}
