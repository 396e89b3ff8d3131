import Foundation
import TestSupport
import Testing

/// `functions/catalogue`, as its users call it: an SQLite file with the node's cache in front of it.
@Suite struct CatalogueTests {
    private static let config = "[sandbox]\nisolation = \"off\"\n[cache]\ndata = \"kept\"\n"

    private func server(_ environment: String) throws -> HearthProcess {
        let directory = try TemporaryDirectory()
        let own = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../functions/catalogue").standardizedFileURL.path
        try FileManager.default.createDirectory(atPath: directory.path + "/functions", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: own, toPath: directory.path + "/functions/catalogue")
        let manifest = directory.read("functions/catalogue/function.toml")
        #expect(manifest.contains("curl "))
        let file = "\n[environment]\nCATALOGUE_FILE = \"\(directory.path)/catalogue.sqlite\"\n"
        try directory.write("functions/catalogue/function.toml", manifest + file + environment.replacing("DIRECTORY", with: directory.path))
        return try HearthProcess(config: Self.config, directory: directory)
    }

    private func post(_ server: HearthProcess, _ body: String) throws -> WireResponse {
        try server.request("POST", "/catalogue/", headers: [("Content-Type", "application/json")], body: Array(body.utf8))
    }

    @Test func lookupsAreLoadedLazilyAndPricesWrittenThroughTheCache() throws {
        let server = try server("HEARTH_CACHE_URL = \"unix://DIRECTORY/data/cache.sock\"\n")
        func source(_ answer: WireResponse) throws -> String? { answer.object["from"] as? String }
        let first = try server.get("/catalogue/?sku=17")
        let second = try server.get("/catalogue/?sku=17")
        #expect(try source(first) == "catalogue" && source(second) == "cache", "\(first) \(server.log)")
        #expect((second.object["similar"] as? [Int])?.count == 5 && second.object["price"] as? Double == 19.99)
        #expect(try source(post(server, #"{"sku": 17, "price": 9.5}"#)) == "catalogue")
        let third = try server.invoke("catalogue", #"{"sku": 17}"#)
        #expect(try source(third) == "cache" && third.object["price"] as? Double == 9.5, "the cache has what was written")
        // Out of the cache, the file says the same.
        #expect(try server.command(["cache", "purge", "--namespace", "data"]).code == 0)
        let fourth = try server.get("/catalogue/?sku=17")
        #expect(try source(fourth) == "catalogue" && fourth.object["price"] as? Double == 9.5)
        let stats = try server.command(["cache", "stats", "--json"]).out
        let namespaces = (try JSONSerialization.jsonObject(with: Data(stats.utf8)) as? [String: Any])?["namespaces"] as? [[String: Any]]
        let data = try #require(namespaces?.first { $0["namespace"] as? String == "data" })
        #expect(data["hits"] as? Int == 2 && data["misses"] as? Int == 2 && data["hit_ratio"] as? Double == 0.5, "\(data)")
    }

    /// `cache.data = "kept"`: what a function has stored is there after a crash.
    @Test func whatItHasStoredSurvivesACrash() throws {
        let first = try server("HEARTH_CACHE_URL = \"unix://DIRECTORY/data/cache.sock\"\n")
        _ = try first.get("/catalogue/?sku=5")
        try waitFor("the product to be on disk") {
            let text = try first.command(["cache", "stats", "--json"]).out
            let disk = (try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])?["disk"] as? [String: Any]
            return disk?["entries"] as? Int == 1 ? () : nil
        }
        try first.killAtOnce()
        let next = try HearthProcess(config: Self.config, directory: first.directory)
        try waitFor("the warm start") { try next.metric("hearth_cache_entries", ["namespace": "data"]) == 1 ? () : nil }
        #expect(try next.get("/catalogue/?sku=5").object["from"] as? String == "cache")
    }

    @Test func withoutACacheTheFileAnswers() throws {
        let server = try server("HEARTH_CACHE_URL = \"unix://DIRECTORY/nothing.sock\"\n")
        for _ in 0..<2 {
            let answer = try server.get("/catalogue/?sku=3")
            #expect(answer.object["from"] as? String == "catalogue" && answer.object["name"] as? String == "product 3", "\(answer)")
        }
        for (body, status) in [("{bad", 400), ("[1]", 400), (#"{"sku": 20000}"#, 400), (#"{"sku": -1, "price": 1}"#, 400), (#"{"sku": 0, "price": 1}"#, 200)] {
            let answer = try post(server, body)
            #expect(answer.status == status && (status == 200 || (answer.object["message"] as? String)?.contains("sku") == true), "\(body): \(answer)")
        }
        #expect(try server.get("/catalogue/").status == 400 && server.metric("hearth_crashes_total") == 0)
    }
}
