import Config
import Foundation
import Testing

@Suite struct ConfigTests {
    private func refusal(_ text: String, runtime: Bool = false) -> String {
        do {
            if runtime { _ = try RuntimeConfig(text, name: "runtime.toml") } else { _ = try Manifest(text, name: "function.toml") }
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func aManifestIsReadWithItsDefaults() throws {
        let manifest = try Manifest(
            """
            runtime = "python3.12"
            handler = "pkg/app.handler"
            timeout = 30
            build = "make"
            [environment]
            NAME = "value"
            [concurrency]
            provisioned = 2
            max = 4
            spares = 2
            reserved = 10
            """, name: "function.toml")
        #expect(manifest.runtime == "python3.12" && manifest.handler == "pkg/app.handler" && manifest.timeout == 30)
        #expect(manifest.memorySize == 128 && manifest.build == "make" && manifest.environment == ["NAME": "value"])
        #expect(manifest.provisioned == 2 && manifest.workersMax == 4 && manifest.spares == 2 && manifest.reserved == 10)
        #expect(manifest.keepAliveSeconds == 600 && manifest.queue == 1000 && manifest.queueWaitSeconds == 10)
        let small = try Manifest("", name: "f", detected: ("provided", "bootstrap"))
        #expect(small.runtime == "provided" && small.provisioned == 1 && small.timeout == 3 && small.spares == 0)
        let swift = try Manifest("runtime = \"swift\"", name: "f")
        #expect(swift.runtime == "swift" && swift.handler == "bootstrap" && !Manifest.isKnown(runtime: "swift6"))
    }

    @Test func sourcesOfEventsAreReadAndHeldToTheirRules() throws {
        let head = "runtime = \"python3\"\nhandler = \"app.handler\"\n"
        let manifest = try Manifest(
            head + """
                [[on.object]]
                bucket = "inbox"
                [[on.object]]
                bucket = "b2"
                events = ["ObjectRemoved:Delete"]
                prefix = "a/"
                suffix = ".b"
                [[on.schedule]]
                expression = "rate(1 hour)"
                [[on.schedule]]
                name = "n"
                expression = "cron(0 8 ? * MON-FRI *)"
                timezone = "Europe/Berlin"
                input = '{"a":1}'
                missed = "skip"
                """, name: "f")
        #expect(manifest.objects.map { "\($0.bucket) \($0.events) \($0.prefix) \($0.suffix)" } == ["inbox [\"ObjectCreated:*\"]  ", "b2 [\"ObjectRemoved:Delete\"] a/ .b"])
        #expect(manifest.schedules.map { "\($0.name ?? "-") \($0.timezone) \($0.input ?? "-") \($0.missed)" } == ["- UTC - once", "n Europe/Berlin {\"a\":1} skip"])
        let cases: [(String, String)] = [
            ("[[on.object]]\nprefix = \"a\"", "on.object.bucket is missing"), ("[on.object]\nbucket = \"a\"", "must be written [[on.object]]"),
            ("[[on.object]]\nbucket = \"a\"\nevents = [\"s3:ObjectCreated:Put\"]", ":5: on.object.events has s3:ObjectCreated:Put: use ObjectCreated:*"),
            ("[[on.object]]\nbucket = \"a\"\nevents = []", "is empty"), ("[[on.schedule]]\nname = \"a\"", "on.schedule.expression is missing"),
            ("[[on.schedule]]\nexpression = \"cron(0 8 * * *)\"", ":4: on.schedule.expression = \"cron(0 8 * * *)\" has 5 fields"),
            ("[[on.schedule]]\nexpression = \"rate(1 hour)\"\ntimezone = \"Mars\"", "has the time zone Mars"),
            ("[[on.schedule]]\nexpression = \"rate(1 hour)\"\ninput = \"{\"", "is no JSON"), ("[[on.schedule]]\nexpression = \"rate(1 hour)\"\nname = \"a b\"", "must be letters"),
            ("[[on.schedule]]\nexpression = \"rate(1 hour)\"\nmissed = \"all\"", "use once or skip"),
            ("[[on.schedule]]\nexpression = \"rate(1 hour)\"\nname = \"2\"\n[[on.schedule]]\nexpression = \"rate(2 hours)\"", "must differ"),
        ]
        for (text, says) in cases { #expect(refusal(head + text).contains(says), "\(text): \(refusal(head + text))") }
    }

    /// Every refusal says file, line, what is wrong and what would be right.
    @Test func whatIsWrongInAManifestIsToldWithFileAndLine() {
        let head = "runtime = \"python3\"\nhandler = \"app.handler\"\n"
        let cases: [(String, String)] = [
            (head + "timeuot = 3\n", "function.toml:3: unknown key timeuot: did you mean timeout?"),
            (head + "[concurrency]\nprovisoned = 1\n", "function.toml:4: unknown key concurrency.provisoned: did you mean concurrency.provisioned?"),
            (head + "timeout = \"3\"\n", "function.toml:3: timeout must be a whole number of seconds"),
            (head + "timeout = 901\n", "function.toml:3: timeout = 901 is impossible: it must be from 1 to 900 seconds"),
            (head + "memory_size = 64\n", "function.toml:3: memory_size = 64 is impossible: it must be from 128 to 10240 MB"),
            ("runtime = \"cobol\"\nhandler = \"a.b\"\n", "function.toml:1: runtime = \"cobol\" is not known"),
            ("runtime = \"python3\"\n", "function.toml: handler is missing"),
            ("runtime = \"python3\"\nhandler = \"app\"\n", "function.toml:2: handler = \"app\" is not of the form file.function"),
            (head + "[environment]\nAWS_REGION = \"x\"\n", "function.toml:4: AWS_REGION is set by the runtime"),
            (head + "[environment]\nA = 1\n", "function.toml:4: environment.A must be a text in quotes"),
            (head + "[environment]\nA = \"\(String(repeating: "x", count: 5000))\"\n", "larger than 4096 bytes"),
            (head + "[concurrency]\nprovisioned = 5\nmax = 2\n", "function.toml:5: concurrency.max = 2 is less than concurrency.provisioned = 5"),
            (head + "[concurrency]\nprovisioned = 5\nreserved = 2\n", "function.toml:5: concurrency.reserved = 2 is less than"),
            ("runtime = \n", "function.toml:1: "), ("environment = 3\n" + head, "function.toml:1: environment must be a table"),
        ]
        for (text, says) in cases {
            let told = refusal(text)
            #expect(told.contains(says), "\(told)")
        }
    }

    @Test func theRuntimesConfigurationIsReadAndRefusedTheSameWay() throws {
        let config = try RuntimeConfig(
            "region = \"eu-west-1\"\n[listen]\nfront = \"[::1]:0\"\napi = \"localhost:9001\"\n[limits]\nworkers = 8\n", name: "r")
        #expect(config.front == ListenAddress(host: "::1", port: 0) && config.api == ListenAddress(host: "127.0.0.1", port: 9001))
        #expect(config.workers == 8 && config.region == "eu-west-1" && config.data == ".hearth")
        let cases = [
            ("[listen]\nfront = \"8080\"\n", "runtime.toml:2: listen.front = \"8080\" is not an address"),
            ("[listen]\nfront = \"example.org:80\"\n", "is not an address"), ("[listen]\nfront = \"1.2.3.4:70000\"\n", "is not an address"),
            ("account_id = \"12\"\n", "runtime.toml:1: account_id = \"12\" must be 12 digits"),
            ("[limits]\nworkers = 0\n", "runtime.toml:2: limits.workers = 0 is impossible"), ("x = 1\n", "runtime.toml:1: unknown key x"),
        ]
        for (text, says) in cases {
            let told = refusal(text, runtime: true)
            #expect(told.contains(says), "\(told)")
        }
        let defaults = try RuntimeConfig("", name: "r")
        #expect(defaults == RuntimeConfig(), "an empty file is the same as none")
    }

    @Test func functionNamesFollowLambdasPattern() {
        for name in ["a", "A-b_9", String(repeating: "x", count: 64)] { #expect(Manifest.isName(name), "\(name)") }
        for name in ["", "a b", "a/b", "ä", "a.b", "..", String(repeating: "x", count: 65)] { #expect(!Manifest.isName(name), "\(name)") }
    }
}
