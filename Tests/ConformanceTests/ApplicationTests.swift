import Foundation
import TestSupport
import Testing

/// boto3, the `aws` command, Flask, FastAPI, Mangum and Powertools, as the package index has them.
struct StockPackages {
    /// The Python that installed them; functions run in one of the same version.
    let python: String
    let clients: String
    let applications: String

    /// nil where there is no pip or it reaches no package index.
    static let here: StockPackages? = {
        guard let result = try? run(["python3", "\(AWSClients.scripts)/packages.py"], seconds: 300), result.code == 0 else { return nil }
        let lines = result.out.split(separator: "\n").map(String.init)
        return lines.count == 3 ? StockPackages(python: lines[0], clients: lines[1], applications: lines[2]) : nil
    }()
}

/// What people have written for Lambda runs here without a changed line.
@Suite struct ApplicationTests {
    @Test(
        .enabled(if: StockPackages.here != nil, "pip can install neither boto3 nor the frameworks here: it reaches no package index"),
        arguments: ["journey", "applications"])
    func stockClientsAndFrameworksWorkUnmodified(theme: String) throws {
        let packages = try #require(StockPackages.here)
        let server = try HearthProcess(config: "[async]\nretry_delay = 1\n")
        let environment = AWSClients.environment(server).merging(["PYTHONPATH": packages.clients]) { $1 }
        let result = try run(
            [packages.python, "\(AWSClients.scripts)/\(theme).py", packages.applications], environment: environment, seconds: 180)
        let report = (try? JSONSerialization.jsonObject(with: Data(result.out.utf8))) as? [String: Any]
        let failed = report?["failed"] as? [String] ?? ["\(result)"]
        #expect(result.code == 0 && failed.isEmpty && report?["checks"] as? Int == 4, "\(failed.joined(separator: "\n"))")
        #expect(server.child.status == nil, "the server died: \(server.log)")
    }
}
