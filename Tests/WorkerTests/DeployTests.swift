import Foundation
import TestSupport
import Testing

/// Deployments to a running server, with traffic on it.
@Suite struct DeployTests {
    private static func function(_ answer: Int, name: String = "f", provisioned: Int = 2, marker: String = "") -> TestFunction {
        .python(
            name, "import time\ndef handler(event, context):\n    time.sleep(0.002)\n    return \(answer)\n",
            manifest: "[environment]\nMARKER = \"\(marker)\"\n[concurrency]\nprovisioned = \(provisioned)\nkeep_alive = 1")
    }

    @Test func tenDeploymentsUnderLoadFailNotOneInvocationAndOldVersionsLeave() throws {
        let marker = "hearth-marker-\(UUID())"
        let server = try HearthProcess()
        try server.deploy(Self.function(0, marker: marker))
        let idle = processes(with: marker).count
        struct Seen: Sendable { var answers: [Int: Int] = [:]; var faults: [String] = []; var last = -1 }
        let load = Background(threads: 8) { goesOn in
            var seen = Seen()
            do {
                let wire = try Wire(server.front)
                while goesOn() {
                    try wire.send("GET /f/ HTTP/1.1\r\nHost: x\r\n\r\n")
                    let answer = try wire.response()
                    guard answer.status == 200, let number = Int(answer.text) else { seen.faults.append("\(answer)"); continue }
                    seen.answers[number, default: 0] += 1
                    seen.last = number
                }
            } catch { seen.faults.append("\(error)") }
            return seen
        }
        for number in 1...10 { #expect(try server.deploy(Self.function(number, marker: marker)).contains("version \(number + 1) ")) }
        // Acknowledged means: whoever asks now gets the new version.
        #expect(try server.get("/f/").text == "10")
        let seen = load.stop()
        #expect(seen.flatMap(\.faults) == [])
        let numbers = Set(seen.flatMap { $0.answers.keys })
        #expect(seen.reduce(0) { $0 + $1.answers.values.reduce(0, +) } > 500 && numbers.count >= 8 && seen.allSatisfy { $0.last >= 9 }, "\(seen)")
        for version in 1...10 { try server.waitForMetric("hearth_workers", ["function": "f", "version": "\(version)"], 0) }
        try server.waitForMetric("hearth_workers", ["function": "f"], 2)
        try waitFor("the processes of old versions to end") { processes(with: marker).count == idle ? () : nil }
        #expect(try server.metric("hearth_errors_total") == 0 && server.metric("hearth_throttles_total") == 0)
    }

    @Test func unchangedCodeMakesNoVersionAndRollbackGoesOneStep() throws {
        let server = try HearthProcess()
        #expect(try server.command(["rollback", "f"]).err.contains("no function f"))
        #expect(try server.deploy(Self.function(1)).contains("deployed f version 1"))
        let none = try server.command(["rollback", "f"])
        #expect(none.code == 1 && none.err.split(separator: "\n").count == 1, "\(none)")
        for _ in 0..<2 { #expect(try server.deploy(Self.function(1)).contains("up to date: f version 1")) }
        #expect(try server.deploy(Self.function(2)).contains("deployed f version 2"))
        #expect(try server.get("/f/").text == "2")
        let back = try server.command(["rollback", "f"])
        #expect(back.code == 0 && back.out.contains("version 1 again (was 2)"), "\(back)")
        #expect(try server.get("/f/").text == "1")
        #expect(try server.command(["rollback", "f"]).code == 0)
        #expect(try server.get("/f/").text == "2", "one step, not two")
        // A setting is a change too.
        #expect(try server.deploy(Self.function(2, marker: "other")).contains("deployed f version 3"))
        try server.waitForMetric("hearth_workers", ["function": "f"], 2)
    }

    @Test func twoDeploymentsAtOnceLeaveOneOfTheTwoAndNoFailedInvocation() throws {
        let server = try HearthProcess()
        try server.deploy(Self.function(0))
        let load = Background(threads: 2) { goesOn in
            var faults: [String] = []
            while goesOn() {
                let answer = try? server.get("/f/")
                if answer?.status != 200 { faults.append(answer.map { "\($0)" } ?? "no answer") }
            }
            return faults
        }
        for round in 1...4 {
            let places = try [10, 20].map { try Self.function($0 + round).write(into: server.directory, at: "at-once/\(round)-\($0)/f") }
            let results = try concurrently(2) { try server.command(["deploy", places[$0]]) }
            #expect(results.contains { $0.code == 0 }, "\(results)")
            for result in results where result.code != 0 {
                #expect(result.code == 1 && result.err.contains("another deployment of f is under way"), "\(result)")
            }
            #expect(["\(10 + round)", "\(20 + round)"].contains(try server.get("/f/").text))
        }
        #expect(load.stop().flatMap { $0 } == [])
    }

    @Test func manyFunctionsAreDeployedAtTheStartAndSavedFilesWithWatch() throws {
        let directory = try TemporaryDirectory()
        let functions = (1...10).map { Self.function($0, name: "many-\($0)", provisioned: 1) }
        func check(_ server: HearthProcess) throws {
            for number in 1...10 {
                let answer = try server.get("/many-\(number)/")
                #expect(answer.text == "\(number)" && answer["X-Hearth-Start"] == "provisioned", "\(answer)")
            }
            #expect(try server.call("GET", "/_hearth/readyz").status == 200)
        }
        do {
            let broken = TestFunction("broken", files: ["app.py": "import nosuch\n", "function.toml": "runtime = \"python3\"\nhandler = \"app.handler\"\n"])
            let server = try HearthProcess(functions: functions + [broken], directory: directory)
            try check(server)
            #expect(server.log.contains("failed to deploy broken: ") && server.log.contains("ready, but for the functions named above"), "\(server.log)")
        }
        try FileManager.default.removeItem(atPath: "\(directory.path)/functions/broken")
        let server = try HearthProcess(arguments: ["--watch"], directory: directory)
        try check(server)
        for number in 1...10 { #expect(server.log.contains("up to date many-\(number) version 1,"), "\(server.log)") }
        // Saved: deployed. Saved with a mistake: said so, the old one serves. Mended: deployed.
        try Self.function(77, name: "many-7", provisioned: 1).write(into: directory, at: "functions/many-7")
        try waitFor("the saved function") { try server.get("/many-7/").text == "77" ? () : nil }
        try directory.write("functions/many-7/app.py", "def handler(\n")
        try waitFor("the mistake to be told") { server.log.contains("failed to deploy many-7") ? () : nil }
        #expect(try server.get("/many-7/").text == "77")
        try Self.function(78, name: "many-7", provisioned: 1).write(into: directory, at: "functions/many-7")
        try Self.function(11, name: "many-11", provisioned: 1).write(into: directory, at: "functions/many-11")
        try waitFor("the mended and the new function") {
            try server.get("/many-7/").text == "78" && server.get("/many-11/").text == "11" ? () : nil
        }
    }
}
