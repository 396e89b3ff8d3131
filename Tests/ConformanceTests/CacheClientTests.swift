import Foundation
import TestSupport
import Testing

/// The cache for Redis clients, asked by one of them.
@Suite struct CacheClientTests {
    @Test(.enabled(if: RuntimeClient.redis != nil, "redis-py cannot be installed here: pip reaches no package index"), .timeLimit(.minutes(3)))
    func redisPyGetsWhatItAsksFor() throws {
        let client = try #require(RuntimeClient.redis)
        let server = try HearthProcess()
        var environment = server.environment
        environment["PYTHONPATH"] = client.directory
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        let result = try run(
            [client.interpreter, "\(AWSClients.scripts)/cache.py", "\(server.directory.path)/data/cache.sock"], environment: environment,
            seconds: 120)
        let report = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        let failed = report?["failed"] as? [String] ?? ["\(result)"]
        #expect(result.code == 0 && failed.isEmpty && (report?["checks"] as? Int ?? 0) > 40, "\(failed.joined(separator: "\n"))")
        #expect(server.child.status == nil, "the server died: \(server.log)")
    }
}
