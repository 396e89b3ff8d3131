import Foundation
import TestSupport
import Testing

/// Kills, full disks and crowds: what the store promises when the world does not help.
@Suite struct ObjectFaultTests {
    /// A reproducible source of choices.
    private struct Dice {
        var state: UInt64

        mutating func roll(_ sides: Int) -> Int {
            state = state &* 6364136223846793005 &+ 1442695040888963407
            return Int(state >> 33) % sides
        }
    }

    /// What a key may hold: what was acknowledged last, or what was asked for since without an answer. nil: nothing.
    private struct Known {
        var acknowledged: String?
        var asked: String??
    }

    private static func body(_ key: String, _ turn: Int, bytes: Int) -> String {
        let word = "\(key) \(turn) "
        return String(repeating: word, count: bytes / word.utf8.count + 1)
    }

    private static func find(_ name: String, _ answer: WireResponse) -> String {
        answer.text.components(separatedBy: "<\(name)>").last?.components(separatedBy: "</").first ?? ""
    }

    /// One operation on a key; true: it was acknowledged.
    private static func perform(_ server: HearthProcess, _ key: String, _ body: String?, isMultipart: Bool) -> Bool {
        func call(_ method: String, query: String = "", body: String = "") -> WireResponse? {
            try? server.call(method, "/crash/\(key)", query: query, body: body, service: "s3")
        }
        guard let body else { return call("DELETE")?.status == 204 }
        guard isMultipart else { return call("PUT", body: body)?.status == 200 }
        guard let created = call("POST", query: "uploads="), created.status == 200 else { return false }
        let upload = find("UploadId", created)
        let cut = body.utf8.index(body.utf8.startIndex, offsetBy: 5 << 20)
        var document = ""
        for (index, text) in [String(body[..<cut]), String(body[cut...])].enumerated() {
            guard let part = call("PUT", query: "partNumber=\(index + 1)&uploadId=\(upload)", body: text), part.status == 200 else { return false }
            document += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(part["ETag"] ?? "")</ETag></Part>"
        }
        let completed = call("POST", query: "uploadId=\(upload)", body: "<CompleteMultipartUpload>\(document)</CompleteMultipartUpload>")
        return completed?.status == 200 && completed?.text.contains("<CompleteMultipartUploadResult") == true
    }

    /// `HEARTH_KILLS=200` for more than a test run has time for; `HEARTH_SEED` to have a run again.
    @Test func whatWasAcknowledgedSurvivesKillsAtEveryInstantAndNothingIsTorn() throws {
        let environment = ProcessInfo.processInfo.environment
        let rounds = environment["HEARTH_KILLS"].flatMap(Int.init) ?? 4
        let seed = environment["HEARTH_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var dice = Dice(state: seed)
        let writers = 4
        var known = [[String: Known]](repeating: [:], count: writers)
        var operations = 0
        var server = try HearthProcess()
        #expect(try server.call("PUT", "/crash", service: "s3").status == 200)
        for round in 0..<rounds {
            let running = server
            let instant = UInt32(20_000 + dice.roll(400_000))
            let (begun, seeds) = (known, (0..<writers).map { _ in UInt64(dice.roll(1 << 30)) })
            let killer = Background(threads: 1) { _ in
                usleep(instant)
                try? running.killAtOnce()
            }
            let results = try concurrently(writers) { writer in
                var (known, dice, count) = (begun[writer], Dice(state: seeds[writer]), 0)
                while running.child.status == nil {
                    let key = "\(writer)-\(dice.roll(6))"
                    let kind = dice.roll(10)
                    let bytes = kind < 5 ? dice.roll(5000) : kind < 8 ? 300_000 : (5 << 20) + 1000
                    let body = kind == 9 ? nil : Self.body(key, round * 100_000 + count, bytes: bytes)
                    known[key, default: Known()].asked = .some(body)
                    guard Self.perform(running, key, body, isMultipart: kind == 8) else { break }
                    known[key] = Known(acknowledged: body)
                    count += 1
                }
                return (known, count)
            }
            _ = killer.stop()
            known = results.map(\.0)
            operations += results.reduce(0) { $0 + $1.1 }
            server = try HearthProcess(directory: server.directory)
            for writer in 0..<writers {
                for (key, state) in known[writer] {
                    let answer = try server.call("GET", "/crash/\(key)", service: "s3")
                    let seen = answer.status == 200 ? answer.text : nil
                    let isRight = seen == state.acknowledged || state.asked.map { $0 == seen } ?? false
                    #expect(isRight && [200, 404].contains(answer.status), "seed \(seed), round \(round), key \(key): \(answer.status), \(seen?.prefix(20) ?? "-")")
                    known[writer][key] = Known(acknowledged: seen)
                }
            }
            let check = try server.command(["object", "check"])
            #expect(check.code == 0, "seed \(seed), round \(round): \(check)")
        }
        print("\(operations) operations were acknowledged in \(rounds) rounds")
        #expect(operations > 0)
    }

    private static let isRoot = getuid() == 0

    @Test(.enabled(if: isRoot, "a file system of its own needs root"))
    func aFullDiskRefusesWritesHurtsNothingAndTakesThemAgain() throws {
        let place = try TemporaryDirectory()
        let data = place.path + "/data/objects"
        try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
        let wrapper = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=48m none '\(data)' && exec \"$@\"", "sh"]
        let probe = try run(Array(wrapper.prefix(4)) + ["mount -t tmpfs none '\(data)'"])
        guard probe.code == 0 else { return print("no mount namespaces here: \(probe.err)") }
        let server = try HearthProcess(directory: place, wrapper: wrapper)
        func s3(_ method: String, _ path: String, query: String = "", body: String = "") throws -> WireResponse {
            try server.call(method, path, query: query, body: body, service: "s3")
        }
        #expect(try s3("PUT", "/full").status == 200)
        let text = Self.body("full", 0, bytes: 3 << 20)
        #expect(try s3("PUT", "/full/first", body: text).status == 200)
        // What is in the server's mount namespace is seen through the process itself.
        let filler = "/proc/\(server.child.pid)/root\(data)/filler"
        let space = try FileManager.default.attributesOfFileSystem(forPath: (filler as NSString).deletingLastPathComponent)
        let free = (space[.systemFreeSize] as? NSNumber)?.intValue ?? 0
        try Data(count: max(0, free - (1 << 20))).write(to: URL(filePath: filler))
        for n in 0..<6 {
            let refused = try s3("PUT", "/full/big-\(n)", body: text)
            #expect(refused.status == 503 || refused.status == 507, "\(refused)")
            #expect(refused.text.contains("<Code>"))
        }
        // Small ones until the metadata has no room either.
        var refusals = 0
        for n in 0..<400 where refusals < 3 {
            let small = try s3("PUT", "/full/small-\(n)", body: Self.body("small", n, bytes: 8000))
            if small.status != 200 { refusals += 1 }
            #expect([200, 503, 507].contains(small.status), "\(small)")
        }
        #expect(refusals == 3)
        #expect(try s3("GET", "/full/first").text == text && s3("HEAD", "/full/big-0").status == 404)
        #expect(server.child.status == nil)
        try FileManager.default.removeItem(atPath: filler)
        #expect(try s3("PUT", "/full/after", body: text).status == 200)
        #expect(try s3("GET", "/full/after").text == text && s3("GET", "/full/first").text == text)
        #expect(try s3("DELETE", "/full/after").status == 204)
        let check = try server.command(["object", "check"])
        #expect(check.code == 0, "\(check)")
    }

    /// 64 uploads at the same time, 512 MiB together, are held back at the sockets.
    @Test func memoryIsBoundedWhateverIsSentAtTheSameTime() throws {
        let server = try HearthProcess()
        #expect(try server.call("PUT", "/crowd", headers: [("x-amz-acl", "public-read-write")], service: "s3").status == 200)
        let mebibytes = ProcessInfo.processInfo.environment["HEARTH_UPLOAD_MIB"].flatMap(Int.init) ?? 8
        let file = server.directory.path + "/upload"
        try Data(count: mebibytes << 20).write(to: URL(filePath: file))
        let statuses = try concurrently(64) { number in
            let address = "http://\(server.api)/crowd/\(number)"
            return try run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-T", file, address], seconds: 300).out
        }
        #expect(statuses.allSatisfy { $0 == "200" }, "\(statuses)")
        let status = try String(contentsOfFile: "/proc/\(server.child.pid)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM") })
        let peak = try #require(Int(line.filter(\.isNumber)))
        print("VmHWM after 64 uploads of \(mebibytes) MiB: \(peak / 1024) MiB")
        #expect(peak <= 150 * 1024, "\(peak) KiB")
    }
}
