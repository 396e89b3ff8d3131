import Foundation
import TestSupport
import Testing

/// Workers that speak the Lambda Runtime API: stock clients and a bootstrap in shell.
@Suite struct RuntimeAPITests {
    private static let shell = #"""
        #!/usr/bin/env bash
        api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime"
        if [ -n "${FAIL_INIT:-}" ]; then
            curl -sS -d '{"errorMessage":"no database","errorType":"Init.Database","stackTrace":["here"]}' "$api/init/error"
            exit 1
        fi
        headers=$(mktemp)
        answer() { curl -sS -o /dev/null -d "$1" "$api/invocation/$id/response"; }
        code() { curl -sS -o /dev/null -w '%{http_code}' "$@"; }
        while true; do
            event=$(curl -sS --fail -D "$headers" "$api/invocation/next") || exit 1
            id=$(tr -d '\r' <"$headers" | awk 'tolower($1) == "lambda-runtime-aws-request-id:" { print $2 }')
            case "$event" in
                *headers*) answer "$(tr -d '\r\n' <"$headers")" ;;
                *address*) answer "\"$AWS_LAMBDA_RUNTIME_API\"" ;;
                *again*) again=$(curl -sS "$api/invocation/next"); answer "$again" ;;
                *wrong*) wrong=$(code -d 1 "$api/invocation/00000000-0000-4000-8000-000000000000/response")
                    late=$(code -d 1 "$api/init/error"); none=$(code "$api/nothing"); answer "\"$wrong $late $none\"" ;;
                *twice*) answer '"once"'; code -d '"twice"' "$api/invocation/$id/response" ;;
                *error*) echo "about to fail"; curl -sS -o /dev/null -d '{"errorMessage":"mine","errorType":"My.Error"}' "$api/invocation/$id/error" ;;
                *chunked*) printf '"in pieces"' | curl -sS -o /dev/null -H 'Transfer-Encoding: chunked' --data-binary @- "$api/invocation/$id/response" ;;
                *trailers*) exec 5<>"/dev/tcp/${AWS_LAMBDA_RUNTIME_API%:*}/${AWS_LAMBDA_RUNTIME_API#*:}"
                    printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n6\r\n"with \r\n9\r\ntrailers"\r\n0\r\nLambda-Runtime-Function-Error-Type: none\r\n\r\n' "$id" >&5
                    read -r _ <&5; exec 5>&- ;;
                *stuck*) answer '"stuck"'; sleep 600 ;;
                *leave*) exit 7 ;;
                *big*) head -c 6500000 /dev/zero | tr '\0' x | curl -sS -o /dev/null --data-binary @- "$api/invocation/$id/response" ;;
                *) answer "$event" ;;
            esac
        done
        """#

    private static func function(_ name: String, _ more: String = "") -> TestFunction {
        TestFunction(
            name, files: ["bootstrap": shell, "function.toml": "runtime = \"provided.al2023\"\ntimeout = 3\n[concurrency]\nprovisioned = 1\n\(more)\n"])
    }

    @Test func aBootstrapInShellIsServedAsTheManualSaysAndItsMistakesAreRefused() throws {
        let server = try HearthProcess(functions: [Self.function("b")])
        let context = Data(#"{"custom":{}}"#.utf8).base64EncodedString()
        let before = (Date().timeIntervalSince1970 * 1000).rounded(.down)
        let headers = try server.invoke(
            "b", #"{"headers":1}"#, qualifier: "live", headers: [("X-Amz-Client-Context", context), ("X-Amzn-Trace-Id", "Root=1-abc;Sampled=1")]).text
        for part in [
            "Content-Type: application/json", "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:b:live",
            "Lambda-Runtime-Trace-Id: Root=1-abc;Sampled=1", #"Lambda-Runtime-Client-Context: {"custom":{}}"#, "Lambda-Runtime-Aws-Request-Id: ",
        ] { #expect(headers.contains(part), "\(headers)") }
        let deadline = headers.firstMatch(of: #/Deadline-Ms: (\d{13})/#).flatMap { Double($0.1) } ?? 0
        #expect(deadline >= before + 3000 && deadline < before + 60_000, "\(headers)")

        for (event, wanted) in [
            (#"{"a":1}"#, #"{"a":1}"#), (#"{"again":1}"#, #"{"again":1}"#), (#"{"wrong":1}"#, #""400 403 404""#), (#"{"twice":1}"#, #""once""#),
            (#"{"chunked":1}"#, #""in pieces""#), (#"{"trailers":1}"#, #""with trailers""#),
        ] {
            let answer = try server.invoke("b", event)
            #expect(answer.text == wanted && answer["X-Amz-Function-Error"] == nil, "\(event): \(answer)")
        }
        let (error, log) = try server.invokeWithLog("b", #"{"error":1}"#)
        #expect(error.text == #"{"errorMessage":"mine","errorType":"My.Error"}"# && error["X-Amz-Function-Error"] == "Unhandled", "\(error)")
        #expect(log.contains("about to fail\n") && log.contains("Max Memory Used: ") && !log.contains("Max Memory Used: 0 MB"), "\(log)")
        let big = try server.invoke("b", #"{"big":1}"#)
        #expect(big.object["errorType"] as? String == "Function.ResponseSizeTooLarge", "\(big.text.prefix(300))")
        #expect(try server.metric("hearth_crashes_total") == 0)

        let gone = try server.invoke("b", #"{"leave":1}"#)
        #expect((gone.object["errorMessage"] as? String)?.hasSuffix("Error: Runtime exited with error: exit status 7") == true, "\(gone)")
        // It answers, but never asks for more: killed when its time is over, and replaced.
        #expect(try server.invoke("b", #"{"stuck":1}"#).text == #""stuck""#)
        #expect(try server.invoke("b", #"{"b":2}"#).text == #"{"b":2}"#)
        try waitFor("the stuck worker to be killed") { try server.logs("b").contains("did not ask for its next invocation in time") ? () : nil }
        try server.waitForMetric("hearth_provisioned_concurrency_available", [:], 1)

        let result = try server.deployment(Self.function("i", "[environment]\nFAIL_INIT = \"1\""))
        #expect(result.code == 1 && result.err.contains("Init.Database: no database") && result.err.contains("here"), "\(result)")
    }

    @Test(arguments: ["on", "off"]) func anotherProcessOfTheMachineTakesNoInvocation(isolation: String) throws {
        let server = try HearthProcess(functions: [Self.function("b")], config: "[sandbox]\nisolation = \"\(isolation)\"\n")
        let address = String((try server.invoke("b", #"{"address":1}"#).json as? String ?? "").split(separator: "/").last ?? "")
        // A worker in a network of its own cannot be reached at all.
        if let stranger = try? Wire(address) {
            try stranger.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try stranger.isClosed(), "the stranger was answered")
            if isolation == "off" { #expect(try server.logs("b").contains("a process that is not of this worker")) }
        }
        for number in 1...5 { #expect(try server.invoke("b", #"{"n":\#(number)}"#).text == #"{"n":\#(number)}"#) }
    }

    @Test(.enabled(if: RuntimeClient.awslambdaric != nil, "pip cannot install awslambdaric here"))
    func awsLambdaRICServesTwoHundredInvocations() throws {
        let client = try #require(RuntimeClient.awslambdaric)
        let server = try HearthProcess(config: "[sandbox]\nshow = \"\(client.interpreterHome)\"\n")
        let source = """
            import os, sys
            n = 0
            def handler(event, context):
                global n
                n += 1
                if event.get("fail"): raise KeyError("k")
                if event.get("leave"): os._exit(9)
                if event.get("big"): return "x" * 6_291_555
                return {"n": n, "got": event, "id": context.aws_request_id, "left": context.get_remaining_time_in_millis() > 0,
                        "arn": context.invoked_function_arn, "client": context.client_context and context.client_context.custom}
            """
        let bootstrap = "#!/bin/sh\nexport PYTHONPATH=/var/task/client:$LAMBDA_TASK_ROOT/client:$LAMBDA_TASK_ROOT\nexec \(client.interpreter) -m awslambdaric $_HANDLER\n"
        func deploy(_ name: String, _ source: String, handler: String = "app.handler") throws -> CommandResult {
            let function = TestFunction(
                name, files: [
                    "bootstrap": bootstrap, "app.py": source,
                    "function.toml": "runtime = \"provided\"\nhandler = \"\(handler)\"\ntimeout = 5\n[concurrency]\nprovisioned = 1\nmax = 1\n",
                ])
            let place = try function.write(into: server.directory, at: "deployed/\(name)")
            if !FileManager.default.fileExists(atPath: "\(place)/client") {
                try FileManager.default.copyItem(atPath: client.directory, toPath: "\(place)/client")
            }
            return try server.command(["deploy", place])
        }
        let deployed = try deploy("ric", source)
        guard deployed.code == 0 else { throw TestFailure("\(deployed)\n\(try server.logs("ric"))") }
        for number in 1...200 {
            let answer = try server.invoke("ric", #"{"é":\#(number)}"#)
            #expect(
                answer.object["n"] as? Int == number && answer.object["got"] as? [String: Int] == ["é": number]
                    && answer.object["id"] as? String == answer["x-amzn-RequestId"], "\(answer)")
        }
        let context = Data(#"{"custom":{"a":"b"}}"#.utf8).base64EncodedString()
        #expect(try server.invoke("ric", "{}", headers: [("X-Amz-Client-Context", context)]).text.contains(#""client": {"a": "b"}"#))
        let error = try server.invoke("ric", #"{"fail":1}"#)
        #expect(error.object["errorType"] as? String == "KeyError" && error["X-Amz-Function-Error"] == "Unhandled", "\(error)")
        #expect(try server.invoke("ric", #"{"big":1}"#).object["errorType"] as? String == "Function.ResponseSizeTooLarge")
        #expect(try server.invoke("ric", #"{"leave":1}"#).object["errorType"] as? String == "Runtime.ExitError")
        #expect(try server.invoke("ric").object["n"] as? Int == 1)
        let broken = try deploy("broken", "import nosuchmodule\n")
        #expect(broken.code == 1 && broken.err.contains("Runtime.ImportModuleError") && broken.err.contains("nosuchmodule"), "\(broken)")
    }
}
