import Foundation
import TestSupport
import Testing

/// Functions in Swift, built by their own build command, on the running server. One server and one copy of the library,
/// because it takes the compiler some seconds.
@Suite struct DeployedTests {
    private static let primes = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path + "/functions/primes"

    private let handler = """
        import HearthFunction

        struct Event: Decodable { var action: String, number: Int? }
        struct Unhappy: Error, CustomStringConvertible { var description: String }
        var calls = 0

        await run { (event: Event, context) async throws -> [String: String] in
            calls += 1
            switch event.action {
            case "context":
                print("a line for", context.requestID)
                return [
                    "id": context.requestID, "name": context.functionName, "version": context.functionVersion,
                    "arn": context.invokedFunctionARN, "client": String(decoding: context.clientContext, as: UTF8.self),
                    "memory": "\\(context.memoryLimit)", "soon": "\\(context.remainingTime > .zero && context.remainingTime <= .seconds(3))",
                ]
            case "sleep":
                try await Task.sleep(for: .milliseconds(event.number ?? 1))
                async let one = 1
                return ["calls": "\\(calls)", "sum": "\\(await one + 1)"]
            case "throw": throw Unhappy(description: "said \\"no\\"")
            case "large": return ["text": String(repeating: "x", count: event.number ?? 0)]
            case "crash":
                print("before the crash")
                fatalError("on purpose")
            default: return [:]
            }
        }

        """

    @Test func aSwiftFunctionIsMadeBuiltDeployedAndAnswers() throws {
        let server = try HearthProcess()
        let place = try TemporaryDirectory()
        let directory = place.path + "/fn"
        func deploy() throws -> String {
            let result = try server.command(["deploy", directory], seconds: 600)
            try #require(result.code == 0, "\(result)\n\(server.log)")
            return result.out
        }
        try #require(try server.command(["init", "--runtime", "swift", directory]).code == 0)
        #expect(try deploy().hasPrefix("deployed fn version 1"))
        #expect(try server.invoke("fn", #"{"name":"Ada"}"#).text == #"{"message":"It works, Ada."}"#)
        let missing = try server.invoke("fn", #"{"name":[]}"#)
        #expect(missing["X-Amz-Function-Error"] == "Unhandled" && missing.object["errorType"] as? String == "Runtime.UnmarshalError")
        #expect(missing.object["errorMessage"] as? String == "name: expected String, found an array")
        #expect(try deploy().hasPrefix("up to date"), "what is built already is not a new version")

        try saysWhereItBelongs(directory + "/bootstrap")

        // Only what is needed to run is in the package.
        let built = try #require(FileManager.default.attributesOfItem(atPath: directory + "/bootstrap")[.size] as? Int)
        let code = try server.call("GET", "/2015-03-31/functions/fn").object["Configuration"] as? [String: Any]
        #expect((code?["CodeSize"] as? Int ?? .max) < built && code?["Runtime"] as? String == "swift")

        try FileManager.default.removeItem(atPath: directory + "/main.swift")
        try place.write("fn/main.swift", handler)
        #expect(try deploy().hasPrefix("deployed fn version 2"))
        try actsAsItsHandlerSays(server)

        for file in ["main.swift", "primes.swift"] {
            try place.write("fn/\(file)", String(contentsOfFile: "\(Self.primes)/\(file)", encoding: .utf8))
        }
        #expect(try deploy().hasPrefix("deployed fn version 3"))
        try takesNumbersApart(server)
    }

    private func actsAsItsHandlerSays(_ server: HearthProcess) throws {
        let client = #"{"custom":{"a":"b"}}"#
        let context = try server.invoke(
            "fn", #"{"action":"context"}"#, qualifier: "live",
            headers: [("X-Amz-Client-Context", Data(client.utf8).base64EncodedString()), ("X-Amz-Log-Type", "Tail")])
        let told = try #require(context.json as? [String: String], "\(context)")
        #expect(told["id"] == context["x-amzn-RequestId"] && told["name"] == "fn" && told["version"] == "2" && told["client"] == client)
        #expect(told["arn"]?.hasSuffix(":function:fn:live") == true && told["memory"] == "128" && told["soon"] == "true")
        let tail = Data(base64Encoded: context["X-Amz-Log-Result"] ?? "").map { String(decoding: $0, as: UTF8.self) }
        #expect(tail?.contains("a line for \(told["id"] ?? "?")\n") == true, "\(tail ?? "no tail")")
        for calls in 2...4 {
            #expect(try server.invoke("fn", #"{"action":"sleep","number":5}"#).json as? [String: String] == ["calls": "\(calls)", "sum": "2"])
        }
        let unhappy = try server.invoke("fn", #"{"action":"throw"}"#)
        #expect(unhappy.text == #"{"errorType":"Unhappy","errorMessage":"said \"no\"","stackTrace":[]}"#)
        #expect(unhappy["X-Amz-Function-Error"] == "Unhandled")
        // Beyond what a pipe holds and what one read takes, in both directions; and beyond the limit.
        let large = try server.invoke("fn", #"{"action":"large","number":3000000,"more":"\#(String(repeating: "y", count: 2_000_000))"}"#)
        #expect(large.body.count == 3_000_011)
        #expect(try server.invoke("fn", #"{"action":"large","number":7000000}"#).object["errorType"] as? String == "Function.ResponseSizeTooLarge")
        let crash = try server.invoke("fn", #"{"action":"crash"}"#)
        #expect(crash.object["errorType"] as? String == "Runtime.ExitError", "\(crash)")
        #expect(try server.command(["logs", "fn"]).out.contains("before the crash"))
        #expect(try server.invoke("fn", #"{"action":"sleep"}"#).json as? [String: String] == ["calls": "1", "sum": "2"])
    }

    private func takesNumbersApart(_ server: HearthProcess) throws {
        for (n, factors) in [
            (0, []), (1, []), (2, [2]), (97, [97]), (60, [2, 2, 3, 5]), (1681, [41, 41]), (600_851_475_143, [71, 839, 1471, 6857]),
            (18_446_744_073_709_551_615, [3, 5, 17, 257, 641, 65537, 6_700_417]),
            (18_446_744_073_709_551_557, [18_446_744_073_709_551_557]),
        ] as [(UInt64, [UInt64])] {
            let answer = try server.get("/fn/?n=\(n)")
            let list = factors.map(String.init).joined(separator: ",")
            #expect(answer.text == #"{"n":\#(n),"isPrime":\#(factors == [n]),"factors":[\#(list)]}"#)
            #expect(answer.status == 200 && answer["Content-Type"] == "application/json")
        }
        #expect(try server.invoke("fn", #"{"n":12}"#).text == #"{"n":12,"isPrime":false,"factors":[2,2,3]}"#)
        #expect(try server.get("/fn/?n=x").status == 400 && server.get("/fn/60").text.contains("[2,2,3,5]"))
    }

    private func saysWhereItBelongs(_ program: String) throws {
        let alone = try run([program])
        #expect(alone.code == 1 && alone.err == "this is a Hearth function and does nothing by itself: deploy its directory with hearth deploy\n")
        let elsewhere = try run([program], environment: ["AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"])
        #expect(elsewhere.code == 1 && elsewhere.out.isEmpty && elsewhere.err.contains("deploy it with runtime = \"swift\""))
    }

    @Test func aFunctionThatCannotBeBuiltIsNamedAndTheOthersAreServed() throws {
        let server = try HearthProcess(functions: [
            TestFunction(
                "broken", files: ["function.toml": "runtime = \"swift\"\nbuild = \"no-such-compiler main.swift\"\n", "main.swift": ""]),
            .python("fine", "def handler(event, context):\n    return 1\n"),
        ])
        #expect(server.log.contains("failed to deploy broken: the build command") && server.log.contains("exit code 127"), "\(server.log)")
        #expect(try server.invoke("fine").text == "1")
        #expect(try server.command(["init", "--runtime", "cobol", server.directory.path + "/x"]).code == 2)
    }
}
