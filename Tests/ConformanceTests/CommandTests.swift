import Foundation
import TestSupport
import Testing

/// The commands, as their help describes them.
@Suite struct CommandTests {
    private static let echo = """
        import json, time
        def handler(event, context):
            if isinstance(event, dict) and event.get('rawQueryString') == 'sleep': time.sleep(1)
            if isinstance(event, dict) and event.get('raise'): raise KeyError('asked for')
            print('log line', json.dumps(event))
            return event
        """

    /// Tests run at the same time: those that count have a function of their own.
    static let server = Result {
        try HearthProcess(functions: ["steady", "scaled", "logged"].map { .python($0, echo, manifest: "description = \"An echo\"") })
    }

    private func hearth(_ arguments: String..., input: String? = nil, directory: String? = nil) throws -> CommandResult {
        try Self.server.get().command(arguments, directory: directory, input: input)
    }

    private func json(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) -> [String: Any] {
        let object = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        #expect(result.code == 0 && object != nil && result.err.isEmpty, "\(result)", sourceLocation: sourceLocation)
        return object ?? [:]
    }

    @Test func theLayersOfAManifestAreThereAndItsURLIsOpenUntilItIsClosed() throws {
        let server = try Self.server.get()
        let place = try TemporaryDirectory()
        try place.write("python/shared.py", "NAME = 'from a layer'\n")
        let zip = try run([AWSClients.python ?? "python3", "-m", "zipfile", "-c", "layer.zip", "python"], directory: place.path)
        #expect(zip.code == 0, "\(zip)")
        let bytes = try #require(FileManager.default.contents(atPath: place.path + "/layer.zip"))
        let function = TestFunction.python(
            "layered", "import shared\ndef handler(event, context):\n    return shared.NAME\n", manifest: "layers = [\"shared\"]")
        let missing = try server.deployment(function)
        #expect(missing.code == 1 && missing.err.contains("there is no layer shared here"), "\(missing)")
        let body = "{\"Content\":{\"ZipFile\":\"\(bytes.base64EncodedString())\"}}"
        #expect(try server.call("POST", "/2018-10-31/layers/shared/versions", body: body).status == 201)
        try server.deploy(function)
        #expect(try server.get("/layered/").text == "from a layer")
        let configuration = try server.call("GET", "/2015-03-31/functions/layered/configuration").object
        #expect(((configuration["Layers"] as? [[String: Any]])?.first?["Arn"] as? String)?.hasSuffix(":layer:shared:1") == true, "\(configuration)")
        // The URL that hearth deploy made can be closed, and deploying again does not open it.
        #expect(try server.call("PUT", "/2021-10-31/functions/layered/url", body: "{\"AuthType\":\"AWS_IAM\"}").status == 200)
        try server.deploy(function)
        let closed = try server.get("/layered/")
        #expect(closed.status == 403 && closed.text == "{\"Message\":\"Forbidden\"}", "\(closed)")
    }

    @Test func aFunctionIsMadeDeployedChangedRolledBackAndRemoved() throws {
        let place = try TemporaryDirectory()
        let server = try Self.server.get()
        let made = json(try hearth("init", "cycle", "--json", directory: place.path))
        #expect(made["directory"] as? String == place.path + "/cycle" && made["files"] as? [String] == ["function.toml", "app.py"])
        #expect(try hearth("init", "cycle", directory: place.path).err.contains("cycle is there already"))
        #expect(try hearth("init", "not a name", directory: place.path).code == 1)

        let first = json(try hearth("deploy", "cycle", "--json", directory: place.path))
        let url = "http://\(server.front)/cycle/"
        #expect(first["function"] as? String == "cycle" && first["version"] as? Int == 1 && first["new"] as? Bool == true && first["url"] as? String == url, "\(first)")
        #expect(try server.get("/cycle/").object["message"] as? String == "It works.")
        let same = try hearth("deploy", "cycle", directory: place.path)
        #expect(same.code == 0 && same.out.contains("up to date: cycle version 1") && same.out.contains(url), "unchanged code is no new version: \(same)")
        // What is not packed is no change either.
        try place.write("cycle/.hearthignore", "notes/\n*.tmp\n")
        try place.write("cycle/notes/long", "x")
        try place.write("cycle/a.tmp", "x")
        #expect(json(try hearth("deploy", "cycle", "--json", directory: place.path))["new"] as? Bool == false)

        try place.write("cycle/app.py", "def handler(event, context):\n    return 'second'\n")
        let second = try hearth("deploy", "cycle/", directory: place.path)
        #expect(second.out.contains("deployed cycle version 2 in ") && second.err.isEmpty, "no progress without a terminal: \(second)")
        #expect(try server.get("/cycle/").text == "second")
        // A handler that cannot be imported: the traceback, exit code 1, and the old version serves on.
        try place.write("cycle/app.py", "import json\nimport nothing_of_this_name\n")
        let broken = try hearth("deploy", "cycle", directory: place.path)
        for text in ["version 3 of cycle cannot start, traffic stays where it was", "Runtime.ImportModuleError", "No module named 'nothing_of_this_name'", "app.py\", line 2"] {
            #expect(broken.code == 1 && broken.err.contains(text), "\(text): \(broken)")
        }
        #expect(try server.get("/cycle/").text == "second")
        try place.write("cycle/app.py", "def handler(event, context)\n    return 1\n")
        #expect(try hearth("deploy", "cycle", directory: place.path).err.contains("SyntaxError"))
        try place.write("cycle/app.py", "def other(event, context):\n    return 1\n")
        #expect(try hearth("deploy", "cycle", directory: place.path).err.contains("Runtime.HandlerNotFound"))
        #expect(try server.get("/cycle/").text == "second")
        #expect(json(try hearth("describe", "cycle", "--json"))["serves"] as? String == "2")

        let back = json(try hearth("rollback", "cycle", "--json"))
        #expect(back["version"] as? Int == 1 && back["previous"] as? Int == 2, "\(back)")
        #expect(try server.get("/cycle/").object["message"] as? String == "It works.")
        let forth = try hearth("rollback", "cycle")
        #expect(forth.out == "cycle: live is version 2 again (was 1)\n", "\(forth)")
        #expect(try hearth("rollback", "steady").err.contains("has pointed to one version only: there is nothing to roll back to"))

        try place.write("good/app.py", "def handler(event, context):\n    return 'good'\n")
        let named = json(try hearth("deploy", "good", "--name", "renamed", "--alias", "test", "--provisioned", "2", "--json", directory: place.path))
        #expect(named["function"] as? String == "renamed" && named["workers"] as? Int == 2, "\(named)")
        #expect(json(try hearth("invoke", "renamed:test", "--json"))["result"] as? String == "good")
        for name in ["cycle", "renamed"] { #expect(try hearth("remove", name).out == "removed \(name)\n") }
        #expect(try server.get("/cycle/").status == 404)
        #expect(try hearth("remove", "cycle").err.contains("Function not found"))
    }

    @Test func deployingRunsTheBuildCommandAndRefusesWhatCannotBeMeant() throws {
        let place = try TemporaryDirectory()
        try place.write("built/function.toml", "runtime = \"python3\"\nhandler = \"app.handler\"\nbuild = \"printf 'def handler(event, context):\\\\n    return 7\\\\n' > app.py; echo building\"\n")
        let built = try hearth("deploy", "built", directory: place.path)
        #expect(built.code == 0 && built.err == "building\n" && !built.out.contains("building"), "its output is no answer: \(built)")
        #expect(json(try hearth("invoke", "built", "--json"))["result"] as? Int == 7)
        // Both concurrencies may go up or down in one deployment.
        for (provisioned, reserved) in [(3, 6), (1, 2), (4, 4), (2, 2)] {
            try place.write("built/function.toml", "runtime = \"python3\"\nhandler = \"app.handler\"\n[concurrency]\nprovisioned = \(provisioned)\nreserved = \(reserved)\n")
            #expect(try hearth("deploy", "built", directory: place.path).code == 0)
            let described = json(try hearth("describe", "built", "--json"))
            #expect(described["reserved"] as? Int == reserved && (described["workers"] as? [String: Any])?["provisioned"] as? Int == provisioned, "\(described)")
        }
        #expect(try hearth("remove", "built").code == 0)
        try place.write("failing/function.toml", "runtime = \"python3\"\nhandler = \"app.handler\"\nbuild = \"exit 3\"\n")
        try place.write("wrong/function.toml", "runtime = \"python3\"\nhandler = \"app.handler\"\n[concurrency]\nprovisioned = 5\nmax = 2\n")
        try place.write("nothing/readme", "")
        try place.write("not a name/app.py", "")
        let cases = [
            ("failing", "the build command of \(place.path)/failing failed with exit code 3: exit 3"),
            ("wrong", "\(place.path)/wrong/function.toml:5: concurrency.max = 2 is less than concurrency.provisioned = 5: it must be at least that"),
            ("nothing", "\(place.path)/nothing has no function.toml and no file that tells its runtime"), ("missing", "\(place.path)/missing is not a directory"),
            ("nothing/readme", "is not a directory: give the directory of a function"), ("not a name", "not a name cannot be a function's name: use 1 to 64 letters, digits, - and _, or give --name"),
        ]
        for (path, says) in cases {
            let result = try hearth("deploy", path, directory: place.path)
            #expect(result.code == 1 && result.err.contains(says) && result.out.isEmpty, "\(says): \(result)")
        }
    }

    @Test func invokePrintsTheResultAndOneLineOfTimings() throws {
        let place = try TemporaryDirectory()
        try place.write("event.json", "{\"from\": \"file\"}")
        let plain = try hearth("invoke", "steady", "-d", #"{"a":[1,"ä"]}"#)
        #expect(plain.code == 0 && plain.out.filter { $0 != " " } == "{\"a\":[1,\"ä\"]}\n", "\(plain)")
        let timings = #/
            (warm|provisioned|cold\ \(\w+\),\ init\ [\d.]+\ ms)
            \ ·\ queue\ [\d.]+\ ms\ ·\ run\ [\d.]+\ ms\ ·\ total\ [\d.]+\ ms\ ·\ version\ 1\ ·\ [0-9a-f-]{36}\n
            /#
        #expect(plain.err.wholeMatch(of: timings) != nil, "\(plain)")
        #expect(try hearth("invoke", "steady", "-d", "@event.json", directory: place.path).out.contains("file"))
        #expect(try hearth("invoke", "steady", "--event", "-", input: "\"piped\"").out == "\"piped\"\n")
        #expect(try hearth("invoke", "steady").out == "{}\n")
        let tail = try hearth("invoke", "steady", "-d", "[1]", "--tail")
        #expect(tail.err.contains("START RequestId: ") && tail.err.contains("log line [1]\n") && tail.err.contains("\nREPORT RequestId: "))
        let report = json(try hearth("invoke", "steady:1", "-d", "3", "--tail", "--json"))
        #expect(report["result"] as? Int == 3 && report["version"] as? String == "1" && report["function_error"] is NSNull, "\(report)")
        #expect((report["log"] as? String)?.contains("log line 3") == true && report["request_id"] is String && report["start"] is String)
        for key in ["queue_ms", "init_ms", "run_ms", "total_ms"] { #expect(report[key] is Double, "\(key)") }

        let raised = try hearth("invoke", "steady", "-d", #"{"raise":true}"#)
        #expect(raised.code == 1 && raised.out.contains("\"errorType\"") && raised.out.contains("KeyError"), "\(raised)")
        // An event that is no JSON is refused before a worker is touched: nothing stands in the log.
        let before = try hearth("logs", "steady").out
        let cases = [
            (["invoke", "steady", "-d", "{bad"], "Could not parse request body into json"), (["invoke", "nothing"], "Function not found: "),
            (["invoke", "steady:77"], "Function not found: "), (["invoke", "steady", "-d", "@missing.json"], "cannot read missing.json: No such file or directory"),
            (["invoke", "not a name"], "failed to satisfy constraint"),
        ]
        for (arguments, says) in cases {
            let result = try Self.server.get().command(arguments, directory: place.path)
            #expect(result.code == 1 && result.err.contains(says) && result.out.isEmpty && result.err.split(separator: "\n").count == 1, "\(says): \(result)")
        }
        #expect(try hearth("logs", "steady").out == before)
    }

    @Test func listDescribeStatsAndScaleTellAndChangeWhatTheySay() throws {
        let server = try Self.server.get()
        for _ in 0..<3 { _ = try server.get("/scaled/") }
        let listed = try hearth("list")
        #expect(listed.out.contains("FUNCTION") && listed.out.contains("scaled") && listed.out.contains("An echo"), "\(listed)")
        let functions = try #require(json(try hearth("list", "--json"))["Functions"] as? [[String: Any]])
        #expect(functions.contains { $0["FunctionName"] as? String == "scaled" && $0["Description"] as? String == "An echo" })
        let described = try hearth("describe", "scaled")
        for line in ["scaled: An echo", "callable   yes", "serves     version 1 (alias live)", "runtime    python3, handler app.handler, 128 MB, 3 s", "workers    ", "versions   1"] {
            #expect(described.out.contains(line), "\(line): \(described)")
        }
        let description = json(try hearth("describe", "scaled", "--json"))
        #expect(description["callable"] as? Bool == true && description["aliases"] as? [String: Int] == ["live": 1])
        let table = try hearth("stats")
        #expect(table.code == 0 && table.out.contains("COLD") && table.out.contains("scaled"), "\(table)")
        let stats = try #require(json(try hearth("stats", "scaled", "--json"))["functions"] as? [[String: Any]])
        let row = try #require(stats.first { $0["version"] as? String == "1" })
        #expect((row["invocations"] as? Int ?? 0) >= 3 && row["cold_starts"] is Int, "\(row)")
        for key in ["init", "queue", "run"] {
            let times = try #require(row[key] as? [String: Any])
            #expect(times["p50_ms"] is Double && times["p90_ms"] is Double && times["p99_ms"] is Double)
        }
        for command in ["describe", "stats", "logs", "scale"] {
            let arguments = [command, "nothing"] + (command == "scale" ? ["--provisioned", "1"] : [])
            let result = try server.command(arguments)
            #expect(result.code == 1 && result.out.isEmpty && result.err.split(separator: "\n").count == 1, "\(command): \(result)")
        }

        let scaled = json(try hearth("scale", "scaled", "--provisioned", "2", "--reserved", "5", "--json"))
        #expect((scaled["workers"] as? [String: Any])?["provisioned"] as? Int == 2 && scaled["reserved"] as? Int == 5, "\(scaled)")
        try waitFor("the second worker") {
            let workers = json(try hearth("describe", "scaled", "--json"))["workers"] as? [String: Any]
            return workers?["provisioned_ready"] as? Int == 2 ? () : nil
        }
        #expect(try hearth("scale", "scaled", "--reserved", "0").err.isEmpty == false, "provisioned 2 forbids reserved 0")
        // In one command each of both directions comes about, whichever is given first.
        #expect(try hearth("scale", "scaled", "--reserved", "0", "--provisioned", "0").out == "scaled: provisioned 0, reserved 0\n")
        #expect(try hearth("scale", "scaled", "--provisioned", "2", "--reserved", "3").out == "scaled: provisioned 2, reserved 3\n")
        #expect(try hearth("scale", "scaled", "--provisioned", "1", "--reserved", "none").out == "scaled: provisioned 1, reserved none\n")
    }

    @Test func logsAreReadWholeInPartAndAsTheyGrow() throws {
        let server = try Self.server.get()
        #expect(try server.invoke("logged", #"{"mark":"first"}"#, qualifier: "live").status == 200)
        let whole = try hearth("logs", "logged")
        #expect(whole.out.contains("log line {\"mark\": \"first\"}") && whole.out.contains("START RequestId: ") && whole.out.contains("\tMax Memory Used: "), "\(whole)")
        #expect(try hearth("logs", "logged", "--last", "1").out.split(separator: "\n").count == 2, "END and REPORT are one record")
        let records = try hearth("logs", "logged", "--json").out.split(separator: "\n").map { line in
            try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        }
        #expect(records.contains { $0["kind"] as? String == "output" && ($0["text"] as? String)?.contains("first") == true && $0["request_id"] is String })
        #expect(records.contains { $0["kind"] as? String == "end" && $0["status"] as? String == "success" && $0["duration_ms"] is Double })
        let place = try TemporaryDirectory()
        let follower = try Child(
            [HearthProcess.binary, "logs", "logged", "-f", "--last", "1"], directory: server.directory.path,
            environment: HearthProcess.clean.merging(["HEARTH_DATA": server.directory.path + "/data"]) { $1 },
            output: place.path + "/out", errors: place.path + "/err")
        defer { follower.killGroup() }
        try waitFor("the log so far") { place.read("out").contains("REPORT") ? () : nil }
        #expect(try server.invoke("logged", #"{"mark":"second"}"#, qualifier: "live").status == 200)
        try waitFor("the log as it grows") { place.read("out").contains("second") ? () : nil }
        #expect(follower.status == nil && place.read("err").isEmpty)
        // More at a time than there are workers: the last of them waited for a cold start, and is told apart.
        let wires = try (0..<3).map { _ in
            let wire = try Wire(server.front)
            try wire.send("GET /logged/?sleep HTTP/1.1\r\nHost: x\r\n\r\n")
            return wire
        }
        let answers = try wires.map { try $0.response() }
        let cold = try #require(answers.first { ["exec", "fork"].contains($0["x-hearth-start"]) }, "\(answers)")
        let coldOnly = try hearth("logs", "logged", "--cold-only")
        #expect(coldOnly.out.contains("START RequestId: \(cold["x-amzn-requestid"] ?? "?")") && coldOnly.out.contains("Init Duration: "), "\(coldOnly)")
        #expect(!coldOnly.out.contains("second"), "\(coldOnly)")
        #expect(try hearth("stats").out.contains("cold: logged "))
    }

    @Test func envSpeaksToShellsAndToAWSClients() throws {
        let server = try Self.server.get()
        let text = try hearth("env")
        let shell = try run(
            ["/bin/sh", "-c", "eval \"$1\"; env -u HEARTH_DATA '\(HearthProcess.binary)' list", "sh", text.out], directory: "/", environment: HearthProcess.clean)
        #expect(shell.code == 0 && shell.out.contains("steady"), "\(shell)")
        let names = Set(server.environment.keys)
        #expect(names.isSuperset(of: ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "HEARTH_API"]))
        let file = server.directory.path + "/data/credentials.json"
        let mode = try #require(FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int)
        #expect(mode == 0o600, "only the owner reads the secret")
    }

    /// Nobody notices a deployment: not one failed invocation, and the answers change over.
    @Test func redeployingUnderLoadFailsNoInvocation() throws {
        let place = try TemporaryDirectory()
        let server = try Self.server.get()
        func write(_ answer: Int) throws { try place.write("loaded/app.py", "def handler(event, context):\n    return \(answer)\n") }
        try write(0)
        #expect(try hearth("deploy", "loaded", "--provisioned", "2", directory: place.path).code == 0)
        let front = server.front
        let load = Load(front: front, target: "/loaded/", connections: 4)
        for answer in 1...3 {
            try write(answer)
            let result = try hearth("deploy", "loaded", "--provisioned", "2", directory: place.path)
            #expect(result.code == 0, "\(result)")
            #expect(try server.get("/loaded/").text == "\(answer)")
        }
        #expect(try hearth("rollback", "loaded").code == 0)
        try waitFor("the rolled back answer under load") { load.count(of: "2") > 0 ? () : nil }
        let (answers, failures) = load.stop()
        #expect(failures.isEmpty && answers > 50 && load.count(of: "3") > 0, "\(failures.prefix(3)) after \(answers) answers")
        #expect(try hearth("remove", "loaded").code == 0)
    }

    /// A version has the code and the settings of one of two deployments that run at once, never some of each.
    @Test func deploymentsAtTheSameTimeDoNotMix() throws {
        let place = try TemporaryDirectory()
        for name in ["a", "b"] {
            try TestFunction.python(
                "mixed", "import os\ndef handler(event, context):\n    return '\(name)' + os.environ['NAME']\n",
                manifest: "concurrency.provisioned = 0\n[environment]\nNAME = \"\(name)\"\n"
            ).write(into: place, at: name)
        }
        let server = try Self.server.get()
        for _ in 0..<4 {
            let deploys = try ["a", "b"].map { name in
                try Child(
                    [HearthProcess.binary, "deploy", "\(place.path)/\(name)", "--name", "mixed"], directory: place.path,
                    environment: HearthProcess.clean.merging(["HEARTH_DATA": server.directory.path + "/data"]) { $1 },
                    output: "\(place.path)/out-\(name)", errors: "\(place.path)/err-\(name)")
            }
            let codes = try deploys.map { try $0.waitForExit(seconds: 60) }
            let told = place.read("err-a") + place.read("err-b")
            #expect(codes.contains(.exited(0)), "\(told)")
            if codes != [.exited(0), .exited(0)] { #expect(told.contains("another deployment of mixed is under way"), "\(told)") }
        }
        let versions = try #require(JSONSerialization.jsonObject(with: Data(hearth("describe", "mixed", "--json").out.utf8)) as? [String: Any])
        for version in try #require(versions["versions"] as? [Int]) {
            let answer = try server.invoke("mixed", qualifier: String(version)).text
            #expect(answer == "\"aa\"" || answer == "\"bb\"", "version \(version) is \(answer)")
        }
        #expect(try hearth("remove", "mixed").code == 0)
    }

    @Test func serveTellsJSONAndDeploysOnEverySave() throws {
        let place = try TemporaryDirectory()
        try TestFunction.python("saved", "def handler(event, context):\n    return 1\n").write(into: place, at: "functions/saved")
        try TestFunction.python("built", "def handler(event, context):\n    return 1\n", manifest: "build = \"date +%N > stamp\"")
            .write(into: place, at: "functions/built")
        let child = try Child(
            [HearthProcess.binary, "serve", "--json", "--watch", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"], directory: place.path,
            environment: HearthProcess.clean, output: place.path + "/out", errors: place.path + "/err")
        defer { child.killGroup() }
        func events(_ kind: String) -> [[String: Any]] {
            place.read("out").split(separator: "\n").compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
                .filter { $0["event"] as? String == kind }
        }
        try waitFor("ready") { events("ready").isEmpty ? nil : () }
        #expect(events("listening").first?["front"] is String && events("deployed").first?["version"] as? Int == 1
            && events("ready").first?["complete"] as? Bool == true)
        let listing = try HearthProcess.cli(["invoke", "saved"], directory: place.path)
        #expect(listing.out == "1\n", "\(listing)")
        try place.write("functions/saved/app.py", "def handler(event, context):\n    return 22\n")
        try waitFor("the saved version") { events("deployed").contains { $0["version"] as? Int == 2 } ? () : nil }
        #expect(try HearthProcess.cli(["invoke", "saved"], directory: place.path).out == "22\n")
        try place.write("functions/built/app.py", "def handler(event, context):\n    return 2\n")
        try waitFor("the built version") { events("deployed").contains { $0["function"] as? String == "built" && $0["version"] as? Int == 2 } ? () : nil }
        try place.write("functions/saved/app.py", "def handler(event, context)\n")
        try waitFor("the failure") { events("failed").contains { ($0["message"] as? String)?.contains("SyntaxError") == true } ? () : nil }
        #expect(try HearthProcess.cli(["invoke", "saved"], directory: place.path).out == "22\n", "the old version serves on")
        try TestFunction.python("added", "def handler(event, context):\n    return 3\n").write(into: place, at: "functions/added")
        try waitFor("the added function") { events("deployed").contains { $0["function"] as? String == "added" } ? () : nil }
        #expect(events("deployed").count { $0["function"] as? String == "built" } == 2, "what a build command writes is no save")
        child.signal(SIGTERM)
        #expect(try child.waitForExit() == .exited(0))
        #expect(!FileManager.default.fileExists(atPath: place.path + "/.hearth/server.json"))
    }
}

/// Requests without end on some connections, each on a thread of its own, until it is stopped.
private final class Load: @unchecked Sendable {
    private let lock = NSLock()
    private var isStopped = false
    private var counts: [String: Int] = [:]
    private var failures: [String] = []
    private let group = DispatchGroup()

    init(front: String, target: String, connections: Int) {
        for _ in 0..<connections {
            group.enter()
            Thread.detachNewThread { [self] in
                defer { group.leave() }
                do {
                    let wire = try Wire(front)
                    while !lock.withLock({ isStopped }) {
                        try wire.send("GET \(target) HTTP/1.1\r\nHost: x\r\n\r\n")
                        let answer = try wire.response()
                        lock.withLock {
                            if answer.status == 200 { counts[answer.text, default: 0] += 1 } else { failures.append("\(answer)") }
                        }
                    }
                } catch { lock.withLock { failures.append("\(error)") } }
            }
        }
    }

    func count(of answer: String) -> Int { lock.withLock { counts[answer] ?? 0 } }

    func stop() -> (answers: Int, failures: [String]) {
        lock.withLock { isStopped = true }
        group.wait()
        return lock.withLock { (counts.values.reduce(0, +), failures) }
    }
}
