import Foundation
import TestSupport
import Testing

/// What is stored survives the server, on a running server that is killed.
@Suite struct RestartTests {
    private static let dear = TestFunction.python(
        "dear",
        """
        import time
        def handler(event, context):
            time.sleep(0.003)
            return {"run": time.time_ns(), "padding": "x" * 500}
        """, manifest: "[memoize]\nttl = 600\nidentity = \"none\"")

    private func memo(_ answer: WireResponse) -> String { (answer["X-Hearth-Memo"] ?? "none").prefix { $0 != ";" }.description }

    /// Keys by rank with probability proportional to 1 / rank.
    private func zipf(_ count: Int, keys: Int, seed: UInt64) -> [Int] {
        var state = seed
        let sum = log(Double(keys))
        return (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return min(keys - 1, Int(exp(Double(state >> 11) * 0x1p-53 * sum)))
        }
    }

    /// The share of calls that were not run.
    private func hitRatio(_ server: HearthProcess, _ keys: [Int]) throws -> Double {
        let hits = try keys.filter { memo(try server.invoke("dear", "{\"key\":\($0)}", qualifier: "live")) != "miss" }.count
        return Double(hits) / Double(keys.count)
    }

    @Test func theFirstSecondAfterAKillHasTheFormerHitRatio() throws {
        let first = try HearthProcess(functions: [Self.dear])
        let keys = zipf(1500, keys: 400, seed: 11)
        _ = try hitRatio(first, Array(keys.prefix(1200)))
        let before = try hitRatio(first, Array(keys.suffix(300)))
        // What was stored within the last tenth of a second is lost with the process: here it has been written.
        let stored = try first.metric("hearth_cache_stored_total", ["namespace": "memo"])
        _ = try waitFor("all results to be on disk") { try first.plainMetric("hearth_cache_disk_stored_total") == stored ? () : nil }
        try first.killAtOnce()
        let second = try HearthProcess(functions: [Self.dear], directory: first.directory)
        let after = try hitRatio(second, zipf(300, keys: 400, seed: 12))
        print("hit ratio \(before) before the kill, \(after) in the first 300 calls after it")
        #expect(before > 0.6 && after >= 0.95 * before)
        #expect(try second.command(["cache", "stats"]).out.contains(" entries, "))
    }

    @Test func whatWasPurgedStaysPurgedAndWhatWasWrittenThroughStays() throws {
        let config = "[cache]\nwrite = \"through\""
        var server = try HearthProcess(functions: [Self.dear], config: config)
        func run(_ key: Int) throws -> WireResponse { try server.invoke("dear", "{\"key\":\(key)}", qualifier: "live") }
        // Answered means on disk.
        let (kept, purged) = try (run(1).text, run(2).text)
        try server.killAtOnce()
        server = try HearthProcess(functions: [Self.dear], config: config, directory: server.directory)
        let again = try run(1)
        #expect(again.text == kept && memo(again) == "hit", "\(again)")
        let told = try server.command(["cache", "explain", "dear", "-d", "{\"key\":2}", "--json"]).out
        let key = try #require((try JSONSerialization.jsonObject(with: Data(told.utf8)) as? [String: Any])?["key"] as? String)
        #expect(try server.command(["cache", "purge", "--key", key]).code == 0)
        try server.killAtOnce()
        server = try HearthProcess(functions: [Self.dear], config: config, directory: server.directory)
        #expect(try run(2).text != purged && run(1).text == kept)
        #expect(try server.command(["cache", "purge", "--function", "dear"]).code == 0)
        try server.killAtOnce()
        server = try HearthProcess(functions: [Self.dear], config: config, directory: server.directory)
        #expect(try run(1).text != kept)
    }

    @Test func aDamagedFileIsSetAsideAndTheServerStartsCold() throws {
        var server = try HearthProcess(functions: [Self.dear], config: "[cache]\nwrite = \"through\"")
        func run() throws -> WireResponse { try server.invoke("dear", qualifier: "live") }
        let old = try run().text
        try server.killAtOnce()
        let directory = server.directory
        // The log alone would mend it.
        unlink("\(directory.path)/data/cache.sqlite-wal")
        try directory.write("data/cache.sqlite", "this is no database, but it is long enough to be taken for one" + String(repeating: ".", count: 4096))
        server = try HearthProcess(functions: [Self.dear], directory: directory)
        _ = try waitFor("the message") { server.log.contains("cache.sqlite cannot be used") && server.log.contains("cache.sqlite.damaged-") ? () : nil }
        #expect(try memo(run()) == "miss" && memo(run()) == "hit")
        try server.killAtOnce()
        // Without a second level there is no file, and nothing survives.
        unlink("\(directory.path)/data/cache.sqlite")
        server = try HearthProcess(functions: [Self.dear], config: "[cache]\ndisk = 0", directory: directory)
        #expect(try run().text != old && memo(run()) == "hit")
        #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/data/cache.sqlite"))
    }
}

extension HearthProcess {
    /// A metric without labels.
    fileprivate func plainMetric(_ name: String) throws -> Double? {
        let line = try call("GET", "/_hearth/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line.flatMap { Double($0.dropFirst(name.count + 1)) }
    }
}
