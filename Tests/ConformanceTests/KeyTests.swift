import Foundation
import SigV4
import TestSupport
import Testing

/// `hearth keys`, what its keys may do on every door, and the keys of functions.
@Suite struct KeyTests {
    private static let echo = "def handler(event, context):\n    return event\n"
    /// Runs the Python of its event, with boto3's clients at hand: made when the module is imported, before workers are forked.
    private static let inside = #"""
        import os
        import boto3
        s3 = boto3.client("s3")
        aws = boto3.client("lambda")

        def attempt(call, **arguments):
            try:
                call(**arguments)
            except Exception as error:
                return getattr(error, "response", {"Error": {"Code": repr(error)}})["Error"]["Code"]
            return "fine"

        def handler(event, context):
            scope = {"s3": s3, "aws": aws, "boto3": boto3, "os": os, "attempt": attempt}
            exec(event["code"], scope)
            return scope.get("result")
        """#
    private static let thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    private static let wished = "timeout = 60\nmemory_size = 256\nbuckets = [\"given\", \"taken:rw\"]\n"

    static let server = Result {
        try HearthProcess(functions: [
            .python("free", echo), .python("guarded", echo), .python("forked", inside, manifest: wished),
            .python("executed", thread + inside, manifest: wished),
            .python(
                "chosen", inside,
                manifest: #"timeout = 60"# + "\n" + #"policy = '{"Statement":{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:*:*:function:free"}}'"#),
            .node("script", "exports.handler = async () => process.env"),
            TestFunction("shell", files: ["function.toml": "runtime = \"provided\"\nbuckets = [\"given\"]\n", "bootstrap": shell]),
            .python("alone", "import os\ndef handler(event, context):\n    return dict(os.environ)\n", manifest: "network = \"none\"\n"),
        ])
    }

    private static let shell = #"""
        #!/usr/bin/env bash
        api="http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation"
        while true; do
            id=$(curl -sS --fail -D - -o /dev/null "$api/next" | tr -d '\r' | awk 'tolower($1) == "lambda-runtime-aws-request-id:" { print $2 }')
            curl -sS -o /dev/null --data-binary "{\"AWS_ACCESS_KEY_ID\":\"$AWS_ACCESS_KEY_ID\",\"AWS_SECRET_ACCESS_KEY\":\"$AWS_SECRET_ACCESS_KEY\",\"AWS_SESSION_TOKEN\":\"$AWS_SESSION_TOKEN\",\"AWS_ENDPOINT_URL\":\"$AWS_ENDPOINT_URL\"}" "$api/$id/response"
        done
        """#

    private static let policies: [(name: String, policy: String?)] = [
        (
            "reader",
            #"""
            {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::vault/pub/*"},
            {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::vault","Condition":{"StringLike":{"s3:prefix":"pub/*"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}]}
            """#
        ),
        ("writer", #"{"Statement":{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::attic/drop/*"}}"#),
        (
            "most",
            #"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":["s3:Delete*","lambda:deletefunction"],"Resource":"*"}]}"#
        ),
        (
            "caller",
            #"{"Statement":[{"Effect":"Allow","Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:000000000000:function:fre?"},{"Effect":"Allow","Action":"lambda:Get*","Resource":"*"}]}"#
        ),
        ("nobody", nil), ("disabled", #"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#),
    ]

    @discardableResult
    private func keys(
        _ arguments: String..., failing: Bool = false, at location: SourceLocation = #_sourceLocation
    ) throws -> CommandResult {
        let result = try Self.server.get().command(["keys"] + arguments)
        #expect((result.code != 0) == failing, "\(arguments): \(result)", sourceLocation: location)
        return result
    }

    private func object(_ result: CommandResult) -> [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any] ?? [:]
    }

    private func make(_ name: String, _ policy: String?) throws -> Credentials {
        let made = object(try keys(["create", name, "--json"] + (policy.map { ["--policy", $0] } ?? [])))
        return Credentials(
            accessKeyID: try #require(made["access_key_id"] as? String), secretAccessKey: try #require(made["secret_access_key"] as? String))
    }

    private func keys(_ arguments: [String]) throws -> CommandResult {
        let result = try Self.server.get().command(["keys"] + arguments)
        #expect(result.code == 0, "\(arguments): \(result)")
        return result
    }

    @Test(.enabled(if: AWSClients.python != nil, "no python3 here has boto3: pip install boto3, or apt-get install python3-boto3"))
    func boto3MayDoWhatItsKeysPolicyAllowsAndNothingElse() throws {
        let server = try Self.server.get()
        var made: [String: [String: String]] = [:]
        for (name, policy) in Self.policies {
            let key = try make(name, policy)
            made[name] = ["access_key_id": key.accessKeyID, "secret_access_key": key.secretAccessKey]
        }
        try keys("disable", "disabled")
        for (name, seconds) in [("temporary", "900"), ("brief", "3")] {
            let told = object(try keys("temporary", "reader", "--seconds", seconds))
            #expect(told["Version"] as? Int == 1 && (told["Expiration"] as? String)?.hasSuffix("Z") == true, "\(told)")
            made[name] = [
                "access_key_id": told["AccessKeyId"] as? String ?? "", "secret_access_key": told["SecretAccessKey"] as? String ?? "",
                "session_token": told["SessionToken"] as? String ?? "",
            ]
        }
        let environment = try AWSClients.environment(server).merging(
            ["HEARTH_KEYS": String(decoding: JSONSerialization.data(withJSONObject: made), as: UTF8.self)]) { $1 }
        let result = try run([try #require(AWSClients.python), "\(AWSClients.scripts)/keys.py"], environment: environment, seconds: 180)
        let report = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        let failed = report?["failed"] as? [String] ?? ["\(result)"]
        #expect(result.code == 0 && failed.isEmpty && report?["checks"] as? Int == 8, "\(failed.joined(separator: "\n"))")
        #expect(server.child.status == nil, "the server died: \(server.log)")
    }

    @Test func keysAreMadeShownChangedSwitchedOffAndRemoved() throws {
        let server = try Self.server.get()
        let file = try TemporaryDirectory()
        try file.write("policy.json", #"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"hearth:Read*","Resource":"*"}]}"#)
        let made = try keys("create", "cli", "--policy", "\(file.path)/policy.json")
        #expect(made.out.contains("export AWS_ACCESS_KEY_ID='AKIA") && made.out.contains("export AWS_SECRET_ACCESS_KEY='"))
        let shell = server.environment.merging(
            Dictionary(uniqueKeysWithValues: made.out.split(separator: "\n").map { line in
                let parts = line.dropFirst("export ".count).split(separator: "=", maxSplits: 1)
                return (String(parts[0]), String(parts[1].dropFirst().dropLast()))
            })) { $1 }
        func asCLI(_ arguments: String...) throws -> CommandResult {
            try HearthProcess.cli(arguments, directory: file.path, environment: shell.filter { $0.key != "HEARTH_DATA" })
        }
        #expect(try asCLI("stats").code == 0 && asCLI("keys", "list").out.contains("cli"))
        for refused in [try asCLI("list"), try asCLI("keys", "create", "other"), try asCLI("keys", "temporary", "cli"), try asCLI("cache", "purge", "--namespace", "1")] {
            #expect(refused.code == 1 && refused.err.contains("User: arn:aws:iam::000000000000:user/cli is not authorized to perform: "), "\(refused)")
        }
        #expect(try asCLI("keys", "remove", "cli").err.contains("perform: hearth:ChangeKeys on resource: *"))
        #expect(try asCLI("describe", "free").code == 0)
        // Another policy holds at once.
        try keys("policy", "cli", #"{"Statement":{"Effect":"Allow","Action":"hearth:ReadFunctions","Resource":"arn:aws:lambda:*:*:function:free"}}"#)
        #expect(try asCLI("describe", "free").code == 0 && asCLI("describe", "guarded").code == 1 && asCLI("stats").code == 1)
        let shown = object(try keys("show", "cli", "--json"))
        #expect((shown["policy"] as? [String: Any])?["Statement"] != nil && shown["enabled"] as? Bool == true && shown["secret_access_key"] == nil)
        #expect(try keys("show", "cli").out.contains("hearth:ReadFunctions") && keys("list").out.contains(#/cli +AKIA\w+ +enabled +1\n/#))
        try keys("disable", "cli")
        #expect(try asCLI("describe", "free").err.contains("does not know these credentials") && keys("list").out.contains("disabled"))
        let off = try keys("temporary", "cli", failing: true)
        #expect(off.err.contains("the key cli is disabled"))
        try keys("enable", "cli")
        #expect(try asCLI("describe", "free").code == 0)
        #expect(try keys("create", "cli", failing: true).err.contains("there is an access key cli already"))
        for (arguments, words) in [
            (["create", "bad name"], "letters, digits"), (["create", "x", "--policy", "{\"Statement\":[]}"], "Statement"), (["create", "x", "--policy", "/nowhere"], "/nowhere"),
            (["policy", "cli", "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\",\"Condition\":{\"Magic\":{\"a\":\"b\"}}}}"], "Magic"),
            (["show", "nobody-at-all"], "there is no access key"), (["remove", "nobody-at-all"], "there is no access key"), (["temporary", "cli", "--seconds", "0"], "129600"),
        ] {
            let result = try server.command(["keys"] + arguments)
            #expect(result.code == 1 && result.err.contains(words), "\(arguments): \(result)")
        }
        try keys("remove", "cli")
        #expect(try asCLI("describe", "free").code == 1 && !keys("list").out.contains("cli"))
        for file in ["catalog.sqlite", "catalog.sqlite-wal"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(server.directory.path)/data/\(file)")
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(file): secrets are their owner's")
        }
    }

    /// Keys, and temporary ones made of them, are there after a restart; those of functions are not.
    @Test func keysSurviveARestartAndThoseOfFunctionsDoNot() throws {
        let place = try TemporaryDirectory()
        var first: HearthProcess? = try HearthProcess(functions: [.python("env", "import os\ndef handler(event, context):\n    return dict(os.environ)\n", manifest: "buckets = [\"b-1\"]\n")], directory: place)
        let own = try #require(try first?.invoke("env").object as? [String: String])
        let policy = #"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#
        let made = object(try #require(try first?.command(["keys", "create", "kept", "--policy", policy, "--json"])))
        let brief = object(try #require(try first?.command(["keys", "temporary", "kept"])))
        let key = Credentials(accessKeyID: made["access_key_id"] as? String ?? "", secretAccessKey: made["secret_access_key"] as? String ?? "")
        let temporary = Credentials(
            accessKeyID: brief["AccessKeyId"] as? String ?? "", secretAccessKey: brief["SecretAccessKey"] as? String ?? "",
            sessionToken: brief["SessionToken"] as? String)
        func status(_ server: HearthProcess?, _ credentials: Credentials) throws -> Int {
            try #require(server).call("GET", "/b-1", service: "s3", as: credentials).status
        }
        #expect(try first?.call("PUT", "/b-1", service: "s3").status == 200)
        #expect(try status(first, key) == 200 && status(first, temporary) == 200 && status(first, Self.credentials(own)) == 200)
        try first?.killAtOnce()
        first = nil
        let second = try HearthProcess(directory: place)
        #expect(try status(second, key) == 200 && status(second, temporary) == 200 && status(second, Self.credentials(own)) == 400)
        let now = try #require(try second.invoke("env").object as? [String: String])
        #expect(try now["AWS_ACCESS_KEY_ID"] != own["AWS_ACCESS_KEY_ID"] && status(second, Self.credentials(now)) == 200)
        // A version that goes takes its key along.
        #expect(try second.command(["remove", "env"]).code == 0)
        try waitFor("the end of a removed function's key", seconds: 30) { try status(second, Self.credentials(now)) == 400 ? () : nil }
    }

    private static func credentials(_ environment: [String: String]) -> Credentials {
        Credentials(
            accessKeyID: environment["AWS_ACCESS_KEY_ID"] ?? "", secretAccessKey: environment["AWS_SECRET_ACCESS_KEY"] ?? "",
            sessionToken: environment["AWS_SESSION_TOKEN"])
    }

    @Test(.enabled(if: AWSClients.python != nil, "no python3 here has boto3: pip install boto3, or apt-get install python3-boto3"))
    func boto3InAHandlerReachesTheFunctionsBucketsAndNothingElse() throws {
        let server = try Self.server.get()
        for bucket in ["given", "taken", "hidden"] {
            #expect(try server.call("PUT", "/\(bucket)", service: "s3").status == 200)
            #expect(try server.call("PUT", "/\(bucket)/a", body: "text", service: "s3").status == 200)
        }
        let code = """
            result = [
                s3.get_object(Bucket="given", Key="a")["Body"].read().decode(), attempt(s3.put_object, Bucket="given", Key="b", Body=b""),
                attempt(s3.put_object, Bucket="taken", Key="b", Body=b"x" * 100000), attempt(s3.delete_object, Bucket="taken", Key="b"),
                attempt(s3.list_objects_v2, Bucket="taken"), attempt(s3.get_object, Bucket="hidden", Key="a"), attempt(s3.list_objects_v2, Bucket="hidden"),
                attempt(s3.list_buckets), attempt(s3.put_bucket_policy, Bucket="taken", Policy="{}"),
                attempt(s3.put_object, Bucket="taken", Key="c", Body=b"", ACL="public-read"),
                attempt(aws.list_functions), attempt(aws.invoke, FunctionName="free"), attempt(boto3.client("lambda").get_function, FunctionName="forked"),
            ]
            """
        let wanted = [
            "text", "AccessDenied", "fine", "fine", "fine", "AccessDenied", "AccessDenied", "AccessDenied", "AccessDenied", "AccessDenied", "AccessDeniedException",
            "AccessDeniedException", "AccessDeniedException",
        ]
        for name in ["forked", "executed"] {
            let body = try JSONSerialization.data(withJSONObject: ["code": code])
            let answer = try server.invoke(name, String(decoding: body, as: UTF8.self))
            #expect(answer.json as? [String] == wanted, "\(name): \(answer)\n\(server.log)")
        }
        let chosen = try server.invoke("chosen", #"{"code":"result = [attempt(aws.invoke, FunctionName='free'), attempt(aws.invoke, FunctionName='guarded'), attempt(s3.list_buckets)]"}"#)
        #expect(chosen.json as? [String] == ["fine", "AccessDeniedException", "AccessDenied"], "\(chosen)")
    }

    /// Every runtime gets the variables that AWS's SDKs look for; a function without a network gets none.
    @Test func everyRuntimeGetsAKeyOfItsFunctionsOwn() throws {
        let server = try Self.server.get()
        _ = try server.call("PUT", "/given", service: "s3")
        var ids: Set<String> = []
        for (name, status) in [("script", 403), ("shell", 200)] {
            let told = try #require(try server.invoke(name).object as? [String: String], "\(name)")
            #expect(told["AWS_ENDPOINT_URL"] == "http://\(server.api)" && told["AWS_ACCESS_KEY_ID"]?.hasPrefix("ASIA") == true, "\(name): \(told)")
            ids.insert(told["AWS_ACCESS_KEY_ID"] ?? "")
            let key = Self.credentials(told)
            #expect(try server.call("GET", "/given", service: "s3", as: key).status == status, "\(name)")
            let lone = Credentials(accessKeyID: key.accessKeyID, secretAccessKey: key.secretAccessKey)
            #expect(try server.call("GET", "/given", service: "s3", as: lone).text.contains("InvalidAccessKeyId"), "\(name): without its token")
            let call = try server.call("GET", "/2015-03-31/functions/", as: key)
            #expect(call.status == 403 && call.text.contains("arn:aws:sts::000000000000:assumed-role/hearth/\(name)"), "\(name): \(call)")
            #expect(try server.call("GET", "/_hearth/keys", as: key).status == 403)
        }
        #expect(ids.count == 2)
        let alone = try #require(try server.invoke("alone").object as? [String: String])
        #expect(alone["AWS_REGION"] == "us-east-1" && alone["AWS_ENDPOINT_URL"] == nil && alone["AWS_ACCESS_KEY_ID"] == nil)
    }

    /// Who may deploy cannot give a function, and with it itself, what it has not.
    @Test func givingAFunctionPermissionsNeedsPassRole() throws {
        let server = try Self.server.get()
        let deployer = try make("deployer", #"{"Statement":{"Effect":"Allow","Action":"lambda:*","Resource":"*"}}"#)
        let passer = try make("passer", #"{"Statement":{"Effect":"Allow","Action":["lambda:*","iam:PassRole"],"Resource":"*"}}"#)
        let path = "/2015-03-31/functions/guarded/configuration"
        func put(_ access: String, _ key: Credentials?) throws -> WireResponse { try server.call("PUT", path, body: "{\"Timeout\":5,\"HearthAccess\":\(access)}", as: key) }
        let refused = try put(#"{"buckets":["given:rw"]}"#, deployer)
        #expect(refused.status == 403 && refused["x-amzn-errortype"] == "AccessDeniedException" && refused.text.contains("iam:PassRole"), "\(refused)")
        #expect(try put(#"{}"#, deployer).status == 200 && put(#"{"buckets":["given:rw"]}"#, passer).status == 200)
        // What the function has already may be said again, and taken away.
        #expect(try put(#"{"buckets":["given:rw"]}"#, deployer).status == 200 && put(#"{"buckets":[]}"#, deployer).status == 200)
        for (bad, words) in [
            (#"{"buckets":["Not A Bucket"]}"#, "hearthAccess.buckets"), (#"{"buckets":["given:w"]}"#, "hearthAccess.buckets"), (#"{"policy":"{}"}"#, "Missing required field Statement"),
            (#"{"policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\",\"Principal\":\"*\"}}"}"#, "principal"),
        ] {
            let answer = try put(bad, nil)
            #expect(answer.status == 400 && answer.text.contains(words), "\(bad): \(answer)")
        }
    }
}
