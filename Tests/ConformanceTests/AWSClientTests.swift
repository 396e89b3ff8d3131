import Foundation
import TestSupport
import Testing

/// The clients of AWS as they are installed, not modified: boto3 and the `aws` command.
enum AWSClients {
    /// A Python that has boto3; its own path, because a version manager's shim costs a second a call.
    static let python: String? = ["python3", "/usr/bin/python3"].lazy.compactMap { candidate in
        let found = try? run([candidate, "-c", "import sys, boto3; print(sys.executable)"])
        return found?.code == 0 ? found?.out.trimmingCharacters(in: .whitespacesAndNewlines) : nil
    }.first

    static let aws: String? = {
        let beside = python.map { ($0 as NSString).deletingLastPathComponent + "/aws" }
        let all = [beside].compactMap { $0 } + (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/aws" }
        return all.first { access($0, X_OK) == 0 }
    }()

    static let scripts = (#filePath as NSString).deletingLastPathComponent + "/Clients"

    /// Nothing of the user's own AWS configuration takes part.
    static func environment(_ server: HearthProcess) -> [String: String] {
        server.environment.merging([
            "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "cat", "PYTHONDONTWRITEBYTECODE": "1",
        ]) { $1 }
    }
}

@Suite(.serialized) struct AWSClientTests {
    static let server = Result { try HearthProcess(config: "[limits]\nconcurrency = 1000\n") }

    @Test(
        .enabled(if: AWSClients.python != nil, "no python3 here has boto3: pip install boto3, or apt-get install python3-boto3"),
        arguments: ["functions", "invoke", "concurrency", "access", "layers", "refusals", "boundaries", "objects"])
    func boto3Gets(theme: String) throws {
        let server = try Self.server.get()
        let result = try run(
            [try #require(AWSClients.python), "\(AWSClients.scripts)/\(theme).py"], environment: AWSClients.environment(server), seconds: 120)
        let report = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        let failed = report?["failed"] as? [String] ?? ["\(result)"]
        #expect(result.code == 0 && failed.isEmpty && (report?["checks"] as? Int ?? 0) > 0, "\(failed.joined(separator: "\n"))")
        #expect(server.child.status == nil, "the server died: \(server.log)")
    }
}

@Suite struct AWSCommandTests {
    @Test(.enabled(if: AWSClients.aws != nil, "no aws command here: pip install awscli, or apt-get install awscli"))
    func theAWSCommandDeploysInvokesAndRemoves() throws {
        let server = try AWSClientTests.server.get()
        let work = try TemporaryDirectory()
        try work.write("app.py", "def handler(event, context):\n    return {'hello': event['name']}\n")
        let zip = try run([AWSClients.python ?? "python3", "-m", "zipfile", "-c", "code.zip", "app.py"], directory: work.path)
        #expect(zip.code == 0, "\(zip)")
        // The endpoint is named on the command line, the way the README shows it.
        var environment = AWSClients.environment(server)
        environment["AWS_ENDPOINT_URL"] = ""
        func aws(_ arguments: String...) throws -> CommandResult {
            try run(
                [try #require(AWSClients.aws), "lambda"] + arguments + ["--endpoint-url", "http://\(server.api)", "--output", "json"],
                directory: work.path, environment: environment)
        }
        func object(_ result: CommandResult) -> [String: Any] {
            (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any] ?? [:]
        }
        let made = try aws(
            "create-function", "--function-name", "command", "--runtime", "python3.11", "--handler", "app.handler",
            "--role", "arn:aws:iam::000000000000:role/any", "--zip-file", "fileb://code.zip", "--publish")
        #expect(made.code == 0 && object(made)["Version"] as? String == "1", "\(made)")
        #expect(try aws("wait", "function-active-v2", "--function-name", "command").code == 0)
        let invoked = try aws(
            "invoke", "--function-name", "command", "--qualifier", "1", "--payload", Data(#"{"name":"Ada"}"#.utf8).base64EncodedString(), "--log-type", "Tail", "answer.json")
        let isPlain = work.read("answer.json").isEmpty
        // (Version 1 of the command takes the payload as it is, version 2 in base64.)
        let answered = invoked.code == 0 && !isPlain ? invoked : try aws("invoke", "--function-name", "command", "--qualifier", "1", "--payload", #"{"name":"Ada"}"#, "--log-type", "Tail", "answer.json")
        #expect(answered.code == 0 && object(answered)["ExecutedVersion"] as? String == "1" && object(answered)["LogResult"] is String, "\(answered)")
        #expect(work.read("answer.json").filter { $0 != " " } == #"{"hello":"Ada"}"#, "\(work.read("answer.json"))")
        #expect(object(try aws("get-function-configuration", "--function-name", "command"))["State"] as? String == "Active")
        let missing = try aws("get-function", "--function-name", "nothing")
        #expect(missing.code != 0 && missing.err.contains("(ResourceNotFoundException)") && missing.err.contains("Function not found: arn:aws:lambda:"), "\(missing)")
        #expect(try aws("list-functions", "--query", "Functions[].FunctionName").out.contains("\"command\""))
        #expect(try aws("delete-function", "--function-name", "command").code == 0)
    }
}
