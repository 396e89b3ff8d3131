import Foundation
import TestSupport
import Testing

/// `functions/inboxcount` as shipped: an upload makes it run, and what it writes is there.
@Suite struct UploadTriggerTests {
    @Test(.enabled(if: AWSClients.python != nil, "no python3 here has boto3: pip install boto3, or apt-get install python3-boto3"))
    func anUploadIsCountedAndTheCountsAreWritten() throws {
        let own = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../functions/inboxcount").standardizedFileURL.path
        let server = try HearthProcess()
        let deployed = try server.command(["deploy", own])
        #expect(deployed.code == 0, "\(deployed)")

        func s3(_ method: String, _ path: String, body: String = "") throws -> WireResponse {
            try server.call(method, path, body: body, service: "s3")
        }
        #expect(try s3("PUT", "/inbox-counts").status == 200)
        let text = "To be, or not to be: that’s the question.\n" + String(repeating: "été ", count: 400_000)
        #expect(try s3("PUT", "/inbox/a%20play/act+1.txt", body: text).status == 200)
        let counts = try waitFor("the counts") { () -> [String: Any]? in
            let answer = try s3("GET", "/inbox-counts/a%20play/act%2B1.txt.json")
            return answer.status == 200 ? answer.object : nil
        }
        #expect(counts["words"] as? Int == 400_009 && counts["distinct"] as? Int == 8, "\(counts)")
        #expect(counts["source"] as? String == "s3://inbox/a play/act+1.txt")
        #expect((counts["top"] as? [[String: Any]])?.prefix(2).map { "\($0["word"] ?? "")" } == ["été", "be"])
    }
}
