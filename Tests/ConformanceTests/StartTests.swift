import Foundation
import TestSupport
import Testing

/// How a server starts, what keeps it from starting, and how commands find it.
@Suite struct StartTests {
    /// One sentence on standard error, and nothing else.
    private func expectRefused(
        _ result: CommandResult, code: Int = 1, says text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let lines = result.err.split(separator: "\n")
        #expect(result.code == code && result.err.contains(text), "\(text)\n\(result)", sourceLocation: sourceLocation)
        if code == 1 { #expect(lines.count == 1, "\(result)", sourceLocation: sourceLocation) }
        #expect(!result.description.contains("Fatal error"), sourceLocation: sourceLocation)
    }

    private func serve(_ arguments: [String] = [], in place: TemporaryDirectory, config: String? = nil) throws -> CommandResult {
        if let config { try place.write("runtime.toml", config) }
        return try HearthProcess.cli(["serve", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"] + arguments, directory: place.path)
    }

    @Test func aConfigurationThatCannotBeMeantIsRefusedWithFileAndLine() throws {
        let place = try TemporaryDirectory()
        let cases = [
            ("[listen]\nfornt = \"127.0.0.1:0\"\n", "runtime.toml:2: unknown key listen.fornt: did you mean listen.front?"),
            ("workers = 3\n", "runtime.toml:1: unknown key workers: did you mean limits.workers?"),
            ("region = 3\n", "runtime.toml:1: region must be a text in quotes"),
            ("\n\n[limits]\nworkers = 0\n", "runtime.toml:4: limits.workers = 0 is impossible: it must be from 1 to 4000 processes"),
            ("[listen]\napi = \"9000\"\n", "runtime.toml:2: listen.api = \"9000\" is not an address"), ("x = = 1\n", "runtime.toml:1: "),
            ("[limits]\nconcurrency = \"many\"\n", "runtime.toml:2: limits.concurrency must be a whole number"),
        ]
        for (config, says) in cases { expectRefused(try serve(in: place, config: config), says: says) }
        unlink(place.path + "/runtime.toml")
        expectRefused(try serve(["--config", "nothing.toml"], in: place), says: "cannot read nothing.toml: No such file or directory")
        expectRefused(try serve(["--functions", "nothing"], in: place), says: "there is no directory nothing")
        #expect(!FileManager.default.fileExists(atPath: place.path + "/.hearth"), "what is refused leaves nothing behind")
        // The command line is judged too, and by every command that reads the configuration.
        try place.write("runtime.toml", "regoin = \"x\"\n")
        expectRefused(try HearthProcess.cli(["list"], directory: place.path), says: "runtime.toml:1: unknown key regoin: did you mean region?")
    }

    @Test func whatIsTakenOrForbiddenIsToldInOneSentence() throws {
        let running = try HearthProcess()
        let place = try TemporaryDirectory()
        for listener in ["--front", "--api", "--cache"] {
            expectRefused(
                try HearthProcess.cli(["serve", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0", listener, running.front], directory: place.path),
                says: "the address \(running.front) is in use: stop what uses it, or choose another in runtime.toml")
        }
        expectRefused(try serve(["--front", "192.0.2.1:0"], in: place), says: "the address 192.0.2.1:0 cannot be used")
        expectRefused(
            try serve(["--data", running.directory.path + "/data"], in: place), says: "another Hearth uses this data directory")
        try place.write("file", "")
        expectRefused(try serve(["--data", "file"], in: place), says: "the data directory \(place.path)/file")
        expectRefused(try serve(["--data", "/proc/nothing"], in: place), says: "the data directory /proc/nothing")
        #expect(try running.command(["list"]).code == 0, "the one that ran first runs on")
    }

    @Test(.enabled(if: access("/usr/bin/setpriv", X_OK) == 0 || getuid() != 0, "setpriv (util-linux) is not installed"))
    func aDataDirectoryThatIsNotOursIsToldInOneSentence() throws {
        let place = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: place.path + "/data", withIntermediateDirectories: true)
        chmod(place.path, 0o755)
        chmod(place.path + "/data", 0o555)
        let user = getuid() == 0 ? ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : []
        let arguments = ["serve", "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0", "--data"]
        expectRefused(
            try run(user + [HearthProcess.binary] + arguments + ["data"], directory: place.path),
            says: "the data directory \(place.path)/data cannot be written: Permission denied")
        expectRefused(
            try run(user + [HearthProcess.binary] + arguments + ["data/inner"], directory: place.path), says: "cannot make the data directory \(place.path)/data/inner")
    }

    @Test func wrongUseOfACommandEndsWith2() throws {
        let place = try TemporaryDirectory()
        let cases = [
            (["nonsense"], "nonsense"), (["serve", "--frnt", "x"], "--frnt"), (["serve", "--front", "8080"], "--front 8080 is not an address"), (["deploy"], "path"),
            (["deploy", "x", "--provisioned", "5000"], "--provisioned 5000 is impossible: it must be from 0 to 1000 workers"), (["deploy", "x", "--provisioned", "many"], "many"),
            (["scale", "x"], "say what to scale"), (["scale", "x", "--provisioned=-1"], "--provisioned -1 is impossible"), (["scale", "x", "--reserved", "few"], "--reserved few is neither a number of invocations nor none"), (["logs", "x", "--last", "0"], "--last 0 is impossible"),
            (["init", "x", "--runtime", "cobol"], "--runtime cobol is not known"), (["invoke"], "function"), (["list", "extra"], "extra"),
        ]
        for (arguments, says) in cases { expectRefused(try HearthProcess.cli(arguments, directory: place.path), code: 2, says: says) }
        for command in ["", "serve", "deploy", "invoke", "list", "describe", "remove", "rollback", "scale", "logs", "stats", "env", "init", "doctor"] {
            let help = try HearthProcess.cli(command.isEmpty ? ["--help"] : [command, "--help"], directory: place.path)
            #expect(help.code == 0 && help.out.contains("USAGE: hearth"), "\(help)")
            if !command.isEmpty { #expect(help.out.contains("--json"), "\(command)") }
        }
        #expect(try HearthProcess.cli(["--help"], directory: place.path).out.contains("A command finds its Hearth in this order"))
        #expect(try HearthProcess.cli(["--version"], directory: place.path).out.contains("."))
    }

    @Test func aHangupReloadsWhatCanChangeAndNamesWhatCannot() throws {
        let server = try HearthProcess(
            functions: [.python("slow", "import time\ndef handler(event, context):\n    time.sleep(2 if event.get('rawQueryString') else 0)\n    return 1\n")])
        func reload(_ text: String, says: String) throws {
            try server.directory.write("runtime.toml", text)
            server.child.signal(SIGHUP)
            try waitFor("\(says) in \(server.log)") { server.directory.read("err").contains(says) ? () : nil }
        }
        try reload("[limits]\nconcurrency = \"many\"\n", says: "the configuration stays as it was: runtime.toml:2")
        #expect(try server.invoke("slow").status == 200)
        try reload(
            "region = \"eu-west-9\"\n[limits]\nconcurrency = 1\n[cache]\nmemory = 2000000\n",
            says: "configuration reloaded, but for region: restart for that")
        let wire = try Wire(server.front)
        try wire.send("GET /slow/?wait HTTP/1.1\r\nHost: x\r\n\r\n")
        try waitFor("the running call") { try server.get("/slow/").status == 429 ? () : nil }
        #expect(try wire.response().status == 200)
        try reload("[limits]\nconcurrency = 1000\n", says: "configuration reloaded\n")
        #expect(try server.get("/slow/").status == 200)
    }

    @Test func pathsInAConfigurationCountFromItsDirectoryAndCommandsFindTheServerThere() throws {
        let place = try TemporaryDirectory()
        try place.write("site/runtime.toml", "data = \"state/here\"\nfunctions = \"code\"\n[listen]\nfront = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\ncache = \"127.0.0.1:0\"\n")
        try TestFunction.python("placed", "def handler(event, context):\n    return 'found'\n").write(into: place, at: "site/code/placed")
        try place.write("elsewhere/file", "")
        let server = try Child(
            [HearthProcess.binary, "serve", "--config", "../site/runtime.toml"], directory: place.path + "/elsewhere",
            environment: HearthProcess.clean, output: place.path + "/out", errors: place.path + "/err")
        defer { server.killGroup() }
        try waitFor("the ready line") { place.read("out").contains("\nready") ? () : nil }
        #expect(place.read("out").contains("deployed placed version 1"))
        #expect(FileManager.default.fileExists(atPath: place.path + "/site/state/here/server.json"))
        func find(_ arguments: [String], from directory: String, _ environment: [String: String] = [:]) throws -> CommandResult {
            try HearthProcess.cli(arguments + ["--json"], directory: place.path + "/" + directory, environment: environment)
        }
        let list = ["list"]
        let known = try find(["env"], from: "site")
        #expect(known.code == 0)
        let variables = try #require(JSONSerialization.jsonObject(with: Data(known.out.utf8)) as? [String: String])
        for found in [
            try find(list, from: "site"), try find(list + ["--config", "../site/runtime.toml"], from: "elsewhere"), try find(list + ["--data", "../site/state/here"], from: "elsewhere"),
            try find(list, from: "elsewhere", ["HEARTH_DATA": "../site/state/here"]), try find(list, from: "elsewhere", variables),
            // What the command line names wins over variables.
            try find(list + ["--data", "state/here"], from: "site", ["HEARTH_API": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"]),
        ] { #expect(found.code == 0 && found.out.contains("\"FunctionName\":\"placed\""), "\(found)") }
        expectRefused(try find(list, from: "elsewhere"), says: "no Hearth runs on the data directory .hearth: start one with hearth serve, or name another with --data")
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == .exited(0))
        expectRefused(try find(list, from: "site"), says: "no Hearth runs on the data directory state/here")
    }

    @Test func anAddressThatADeadServerLeftBehindIsNamed() throws {
        let server = try HearthProcess()
        let data = server.directory.path + "/data"
        try server.killAtOnce()
        for command in [["list"], ["env"], ["stats", "--json"], ["invoke", "x"], ["deploy", data]] {
            let result = try server.command(command)
            if command[0] == "deploy" { #expect(result.code == 1); continue }
            expectRefused(
                result, says: "no Hearth answers at \(server.api), which \(data)/server.json names (Connection refused): start one with hearth serve")
        }
        // The next one starts on what the dead one left, and another one's address is recognised.
        let again = try HearthProcess(directory: server.directory)
        #expect(try again.command(["list"]).code == 0)
        let other = try HearthProcess()
        let json = try String(contentsOfFile: data + "/server.json", encoding: .utf8)
        try json.replacingOccurrences(of: again.api, with: other.api).write(toFile: data + "/server.json", atomically: true, encoding: .utf8)
        expectRefused(try again.command(["list"]), says: "does not know these credentials: it is another Hearth")
    }

    @Test func functionsThatCannotBeDeployedAreNamedAndTheOthersServe() throws {
        let handler = "def handler(event, context):\n    return 'fine'\n"
        let server = try HearthProcess(functions: [
            .python("fine", handler), .python("unknown-key", handler, manifest: "timeuot = 3"), .python("wrong-type", handler, manifest: "timeout = \"3\""),
            .python("impossible", handler, manifest: "memory_size = 64"),
            TestFunction("empty", files: ["readme": ""]), .python("broken", "import nothing_of_this_name\n"),
            TestFunction("detected", files: ["app.py": handler]),
        ])
        let log = server.directory.read("out")
        let place = server.directory.path + "/functions"
        for sentence in [
            "deployed fine version 1, http://\(server.front)/fine/", "deployed detected version 1",
            "failed to deploy unknown-key: \(place)/unknown-key/function.toml:3: unknown key timeuot: did you mean timeout?",
            "failed to deploy wrong-type: \(place)/wrong-type/function.toml:3: timeout must be a whole number",
            "failed to deploy impossible: \(place)/impossible/function.toml:3: memory_size = 64 is impossible: it must be from 128 to 10240 MB",
            "failed to deploy empty: \(place)/empty has no function.toml and no file that tells its runtime",
            "failed to deploy broken: version 1 of broken cannot start", "No module named 'nothing_of_this_name'", "ready, but for the functions named above",
        ] { #expect(log.contains(sentence), "\(sentence)\n\(log)") }
        #expect(try server.get("/fine/").text == "fine")
        #expect(try server.get("/detected/").text == "fine")
        #expect(try server.get("/impossible/").status == 404)
    }

    @Test func aMissingInterpreterIsToldWithWhatToInstall() throws {
        let nowhere = try TemporaryDirectory()
        let server = try HearthProcess(
            functions: [.python("snake", "def handler(event, context):\n    return 1\n")], environment: ["PATH": nowhere.path])
        let sentence = "snake: no interpreter for runtime python3 is on PATH; install it with: apt-get install python3"
        #expect(server.directory.read("out").contains("failed to deploy snake: "), "\(server.log)")
        expectRefused(try server.command(["deploy", server.directory.path + "/functions/snake"]), says: sentence)
        let invoked = try server.invoke("snake")
        #expect(invoked.status == 502 && invoked["x-amzn-errortype"] == "InvalidRuntimeException" && invoked.text.contains(sentence), "\(invoked)")
    }
}
