import Foundation
import TestSupport
import Testing

/// Advice from live traffic, for functions that are memoized and for such as are not.
@Suite struct AdviceTests {
    @Test func whatMemoizationWouldBringIsToldOfAFunctionWithoutAndWhatItBringsOfOneWith() throws {
        let source = "def handler(event, context):\n    return {\"twice\": 2 * event[\"n\"]}\n"
        let server = try HearthProcess(functions: [
            .python("plain", source), .python("kept", source, manifest: "[memoize]\nttl = 60"),
            .python("random", "import os\ndef handler(event, context):\n    return os.urandom(8).hex()\n"),
        ])
        #expect(try server.command(["cache", "advise"]).out.contains("nothing has been learnt yet"))
        for i in 0..<300 {
            for name in ["plain", "kept", "random"] { _ = try server.invoke(name, "{\"n\":\(i % 10)}", qualifier: "live") }
        }
        let told = try server.command(["cache", "advise", "--json"])
        let answer = try JSONSerialization.jsonObject(with: Data(told.out.utf8)) as? [String: Any]
        let subjects = try #require(answer?["subjects"] as? [[String: Any]])
        #expect(subjects.map { $0["function"] as? String } == ["kept", "plain", "random"])
        for subject in subjects {
            let ttls = try #require(subject["ttls"] as? [[String: Any]])
            // ten keys, 300 calls: ten misses once they live long enough
            #expect(subject["lookups"] as? Int == 300 && ttls.count == 8 && ttls[7]["hit_ratio"] as? Double == 0.9667, "\(subject)")
        }
        let advice = subjects.map { $0["advice"] as? String ?? "" }
        #expect(advice[0].contains("ttl = ") && advice[1].hasPrefix("memoize with ttl = ") && advice[2].hasPrefix("not worth storing"), "\(advice)")
        let sizes = try #require(subjects[0]["sizes"] as? [[String: Any]])
        #expect(sizes.map { $0["hit_ratio"] as? Double } == [0.9667, 0.9667, 0.9667, 0.9667] && (subjects[1]["sizes"] as? [Any])?.isEmpty == true)
        let one = try server.command(["cache", "advise", "plain"]).out
        #expect(one.hasPrefix("plain: memoize with ttl") && one.contains("300 calls in ") && one.contains("14400") && !one.contains("kept"), "\(one)")
        #expect(try server.command(["cache", "advise", "nobody"]).code == 1)
    }
}
