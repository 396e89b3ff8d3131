import Foundation
import TestSupport
import Testing

/// `hearth object …` against a running server.
@Suite struct HearthObjectTests {
    static let server = Result { try HearthProcess() }

    private func hearth(_ arguments: String..., directory: String? = nil, input: String? = nil) throws -> CommandResult {
        try Self.server.get().command(
            ["object"] + arguments, directory: directory, input: input,
            environment: ["XDG_STATE_HOME": try Self.server.get().directory.path + "/state"], seconds: 120)
    }

    private func json(_ result: CommandResult, sourceLocation: SourceLocation = #_sourceLocation) -> [String: Any] {
        let object = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        #expect(result.code == 0 && object != nil && result.err.isEmpty, "\(result)", sourceLocation: sourceLocation)
        return object ?? [:]
    }

    @Test func objectsAreSentListedFetchedAndRemoved() throws {
        let place = try TemporaryDirectory()
        try place.write("notes.md", "# notes\n")
        #expect(try hearth("mb", "shelf").out == "made shelf\n")
        #expect(try hearth("mb", "shelf").err.contains("there is a bucket shelf already"))
        #expect(json(try hearth("put", "notes.md", "shelf", "--json", directory: place.path))["key"] as? String == "notes.md")
        #expect(try hearth("put", "notes.md", "s3://shelf/deep/er/", directory: place.path).out == "sent shelf/deep/er/notes.md, 8 B\n")
        #expect(try hearth("put", "-", "shelf/deep/from a pipe\u{1}", input: "piped").code == 0)
        // Names as in a file system, control characters shown.
        let listed = try hearth("ls", "shelf")
        #expect(listed.out.contains(" deep/\n") && listed.out.contains("8 B  notes.md\n") && !listed.out.contains("pipe"), "\(listed)")
        let long = try hearth("ls", "-r", "-l", "shelf")
        #expect(long.out.contains("\\u{01}\n") && long.out.contains("STANDARD") && long.out.split(separator: "\n").count == 3, "\(long)")
        let keys = (json(try hearth("ls", "-r", "shelf/deep/", "--json"))["objects"] as? [[String: Any]])?.compactMap { $0["key"] as? String }
        #expect(keys == ["deep/er/notes.md", "deep/from a pipe\u{1}"])
        #expect((json(try hearth("ls", "--json"))["buckets"] as? [[String: Any]])?.contains { $0["name"] as? String == "shelf" } == true)
        #expect(try hearth("cat", "shelf/notes.md", "shelf/deep/from a pipe\u{1}").out == "# notes\npiped")
        #expect(try hearth("get", "shelf/notes.md", "-").out == "# notes\n")
        #expect(try hearth("get", "shelf/notes.md", "copy", directory: place.path).code == 0 && place.read("copy") == "# notes\n")
        let type = try Self.server.get().call("HEAD", "/shelf/notes.md", service: "s3")["Content-Type"]
        #expect(type == "text/markdown")
        let usage = json(try hearth("du", "shelf", "--json"))
        #expect(usage["objects"] as? Int == 3 && usage["bytes"] as? Int == 21 && (usage["prefixes"] as? [[String: Any]])?.first?["bytes"] as? Int == 13, "\(usage)")
        #expect(try hearth("du").out.contains("shelf"))
        #expect(try hearth("rm", "shelf/notes.md").out == "removed 1 object\n")
        #expect(try hearth("rm", "-r", "shelf/deep/e").out == "removed 0 objects\n", "a directory, not a beginning of names")
        #expect(try hearth("rb", "shelf").err.contains("shelf is not empty"))
        #expect(try hearth("rm", "-r", "shelf/deep").out == "removed 2 objects\n")
        #expect(try hearth("rb", "shelf").code == 0)
        #expect(try hearth("ls", "shelf").err.contains("there is no bucket shelf"))
    }

    @Test func versionsGoWithForceAndBadCommandsSayWhatWouldBeRight() throws {
        let server = try Self.server.get()
        #expect(try hearth("mb", "kept").code == 0)
        let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        #expect(try server.call("PUT", "/kept", query: "versioning=", body: versioning, service: "s3").status == 200)
        for text in ["one", "two"] { #expect(try hearth("put", "-", "kept/key", input: text).code == 0) }
        #expect(try hearth("rm", "kept/key").code == 0)
        #expect(try hearth("rm", "kept/key").err.contains("there is no object kept/key"))
        let shown = json(try hearth("ls", "--versions", "kept", "--json"))["objects"] as? [[String: Any]] ?? []
        #expect(shown.count == 3 && shown.first?["delete_marker"] as? Bool == true && shown.last?["latest"] as? Bool == false, "\(shown)")
        #expect(try server.call("POST", "/kept/never", query: "uploads=", service: "s3").status == 200)
        #expect(json(try hearth("rb", "kept", "--force", "--json"))["removed"] as? Int == 3)
        let wrong: [([String], Int, String)] = [
            (["put", "missing-file", "kept/k"], 1, "missing-file cannot be read"), (["put", "-", "nowhere/k"], 1, "there is no bucket nowhere"),
            (["put", "/", "nowhere/k"], 1, "is not a file"), (["put", "-", "nowhere"], 2, "standard input has no name"),
            (["put", "-", "b/k", "--part-size", "1K"], 2, "between 5M and 5G"), (["get", "nowhere"], 2, "is a bucket"),
            (["get", "nowhere/k", "x", "--parallel", "0"], 2, "not between 1 and 64"), (["get", "nowhere/k"], 1, "there is no"),
            (["cat", "nowhere/k"], 1, "there is no"), (["rm", "nowhere"], 2, "is a bucket"), (["mb", "a/b"], 2, "is no bucket"),
            (["mb", "Not_A_Name"], 1, "InvalidBucketName"), (["rb", "nowhere"], 1, "there is no bucket"), (["du", "nowhere"], 1, "there is no bucket"),
            (["compact", "--live", "2"], 2, "at most 1"), (["backup", "/nowhere/at/all"], 1, "cannot be written"), (["check", "--rate", "x"], 2, "rate"),
        ]
        for (arguments, code, sentence) in wrong {
            let result = try server.command(["object"] + arguments, input: "x")
            #expect(result.code == code && result.err.contains(sentence) && result.out.isEmpty, "\(arguments): \(result)")
        }
    }

    /// The client dies in the middle; its next try sends, or fetches, what is missing only.
    @Test func transfersGoOnWhereAKilledClientStopped() throws {
        let server = try Self.server.get()
        let place = try TemporaryDirectory()
        #expect(try hearth("mb", "far").code == 0)
        var seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        let count = 64 << 20
        var bytes = Data(capacity: count)
        for _ in 0..<(count / 8) {
            seed = seed &* 6364136223846793005 &+ 1442695040888963407
            withUnsafeBytes(of: seed) { bytes.append(contentsOf: $0) }
        }
        let file = place.path + "/big"
        try bytes.write(to: URL(filePath: file))
        let proxy = try SlowProxy(to: server.api, bytesPerSecond: 24 << 20)
        func client(_ arguments: [String]) throws -> Child {
            try Child(
                [HearthProcess.binary, "object"] + arguments, directory: place.path, environment: environment(proxy.address),
                output: place.path + "/out", errors: place.path + "/err")
        }
        func environment(_ address: String) throws -> [String: String] {
            HearthProcess.clean.merging(server.environment) { $1 }.merging([
                "HEARTH_API": "http://\(address)", "XDG_STATE_HOME": place.path + "/state",
            ]) { $1 }
        }
        let put = ["put", file, "far/big", "--part-size", "5M", "--json"]
        let first = try client(put)
        _ = try waitFor("some parts to arrive") { proxy.bytesUp > 40 << 20 ? () : nil }
        first.signal(SIGKILL)
        _ = try first.waitForExit()
        #expect(try server.call("HEAD", "/far/big", service: "s3").status == 404, "nothing is visible yet")
        func again(_ arguments: [String]) throws -> CommandResult {
            try run([HearthProcess.binary, "object"] + arguments, directory: place.path, environment: environment(proxy.address), seconds: 120)
        }
        let second = json(try again(put))
        #expect(second["bytes"] as? Int == count && second["parts"] as? Int == 13, "\(second)")
        #expect(try #require(second["resumed_bytes"] as? Int) >= 10 << 20, "\(second)")

        let get = ["get", "far/big", "back", "--json"]
        let third = try client(get)
        let before = proxy.bytesDown
        _ = try waitFor("some ranges to arrive") { proxy.bytesDown - before > 44 << 20 ? () : nil }
        third.signal(SIGKILL)
        _ = try third.waitForExit()
        #expect(!FileManager.default.fileExists(atPath: place.path + "/back"))
        // A link that breaks is nothing to a client that lives.
        proxy.bytesPerSecond = 1 << 30
        proxy.breakAll()
        let fourth = json(try again(get))
        #expect(try #require(fourth["resumed_bytes"] as? Int) >= 8 << 20 && fourth["verified"] as? Bool == true, "\(fourth)")
        #expect(FileManager.default.contents(atPath: place.path + "/back") == bytes)
        #expect(!FileManager.default.fileExists(atPath: place.path + "/back.hearth-part"))
        // Another object under the same name: what is left of the old one is not mixed into it.
        #expect(FileManager.default.createFile(atPath: place.path + "/other.hearth-part", contents: Data(count: 1000)))
        #expect(try hearth("get", "far/big", "other", directory: place.path).code == 0)
        #expect(FileManager.default.contents(atPath: place.path + "/other") == bytes)
    }

    @Test func aRunningStoreIsCheckedCompactedAndBackedUp() throws {
        let server = try HearthProcess()
        func object(_ arguments: String...) throws -> CommandResult { try server.command(["object"] + arguments) }
        #expect(try object("mb", "store").code == 0)
        let big = String(repeating: "0123456789abcdef", count: 1 << 17)
        for n in 0..<4 { #expect(try server.call("PUT", "/store/\(n)", body: big, service: "s3").status == 200) }
        let clean = json(try object("check", "--json"))
        #expect(clean["clean"] as? Bool == true && clean["versions"] as? Int == 4 && clean["bytes"] as? Int == 8 << 20, "\(clean)")
        let archive = server.directory.path + "/backup.tar"
        #expect(try object("backup", archive).out.hasPrefix("wrote "))
        #expect(try object("rm", "store/0", "store/1").code == 0)
        let compacted = json(try object("compact", "--json"))
        #expect((compacted["bytes_freed"] as? Int ?? 0) > 0, "\(compacted)")
        #expect(json(try object("check", "--json"))["dead_bytes"] as? Int ?? .max < 1 << 20)
        let stats = json(try object("stats", "--json"))
        #expect(((stats["tiers"] as? [String: [String: Any]])?["hot"]?["bytes"] as? Int) == 4 << 20, "\(stats)")
        #expect(try server.metric("hearth_objects_bytes", ["tier": "hot"]) == Double(4 << 20))
        // A bit flips on the disk: check finds it and says where, and the object is not given away.
        let objects = server.directory.path + "/data/objects"
        try server.killAtOnce()
        let segment = try #require(FileManager.default.contentsOfDirectory(atPath: objects).first { $0.hasPrefix("hot-") && $0.hasSuffix(".sqlite") })
        let handle = try FileHandle(forUpdating: URL(filePath: objects + "/" + segment))
        let size = try handle.seekToEnd()
        try handle.seek(toOffset: size / 2)
        try handle.write(contentsOf: Data([0xFF, 0x00, 0xFF]))
        try handle.close()
        let damaged = try HearthProcess(directory: server.directory)
        let found = try damaged.command(["object", "check"])
        #expect(found.code == 1 && found.out.contains("damaged") && found.out.contains("fault"), "\(found)")
        // The backup has all four, whole.
        let restored = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: restored.path + "/data/objects", withIntermediateDirectories: true)
        #expect(try run(["tar", "-xf", archive, "-C", restored.path + "/data/objects"]).code == 0)
        let second = try HearthProcess(directory: restored)
        #expect(json(try second.command(["object", "check", "--json"]))["versions"] as? Int == 4)
        #expect(try second.call("GET", "/store/0", service: "s3").text == big)
    }
}
