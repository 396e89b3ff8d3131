import Foundation
import TestSupport
import Testing

/// What lies in `functions/`, called as its users call it.
@Suite struct ShippedFunctionTests {
    @Test func eachAnswersGoodInputAndSaysWhatIsWrongWithBad() throws {
        let directory = try TemporaryDirectory()
        let own = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../functions").standardizedFileURL.path
        let names = try FileManager.default.contentsOfDirectory(atPath: own)
        for name in ["csvsummary", "hello", "markdown", "system", "wordcount"] {
            #expect(names.contains(name))
            try FileManager.default.createDirectory(atPath: directory.path + "/functions", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: "\(own)/\(name)", toPath: "\(directory.path)/functions/\(name)")
            // Each says in its manifest how it is called.
            #expect(try String(contentsOfFile: "\(own)/\(name)/function.toml", encoding: .utf8).contains("curl "), "\(name)")
        }
        let server = try HearthProcess(directory: directory)
        func post(_ path: String, _ type: String, _ body: String) throws -> WireResponse {
            try server.request("POST", path, headers: [("Content-Type", type)], body: Array(body.utf8))
        }
        for (target, wanted) in [("/hello/?name=Ada", "Ada"), ("/hello/Ada%20L", "Ada L"), ("/hello/", "world")] {
            #expect(try server.get(target).text == "Hello, \(wanted)!\n")
        }
        for (body, wanted) in [(#"{"name":"Bo"}"#, "Bo"), (#"{"name":{"a":1}}"#, "world"), ("{bad", "world"), (#"["x"]"#, "world")] {
            #expect(try post("/hello/", "application/json", body).text == "Hello, \(wanted)!\n")
        }
        for (event, wanted) in [(#"{"name":"Ada"}"#, "Ada"), ("null", "world"), ("5", "world"), (#""Bo""#, "Bo")] {
            #expect(try server.invoke("hello", event).object["greeting"] as? String == "Hello, \(wanted)!")
        }

        let counted = try post("/wordcount/", "text/plain", "The cat, the dog’s été.")
        #expect(counted.text == #"{"words":5,"distinct":4,"top":[{"word":"the","count":2},{"word":"cat","count":1},{"word":"dog’s","count":1},{"word":"été","count":1}]}"#)
        #expect(try post("/wordcount/", "application/json", #"{"text":"a b a"}"#).object["distinct"] as? Int == 2)
        #expect(try post("/wordcount/", "text/plain", String(repeating: "word ", count: 1_000_000)).object["words"] as? Int == 1_000_000)
        for body in ["{bad", "[1]", #"{"text":5}"#] {
            let answer = try post("/wordcount/", "application/json; charset=utf-8", body)
            #expect(answer.status == 400 && (answer.object["message"] as? String)?.contains(#"{"text": "..."}"#) == true, "\(answer)")
        }
        #expect(try server.invoke("wordcount", "null").object["errorType"] as? String == "BadInput")

        let page = try post("/markdown/", "text/markdown", "# T & t\n\n* **a** `b<`\n* [x](javascript:alert(1)) [y](/y \"t\")\n\n<script>\n")
        let html = "<h1>T &amp; t</h1>\n<ul>\n<li><strong>a</strong> <code>b&lt;</code></li>\n<li><a href=\"#\">x</a>) <a href=\"/y\" title=\"t\">y</a></li>\n</ul>\n<p>&lt;script&gt;</p>\n"
        #expect(page.status == 200 && page.text == html, "\(page)")
        #expect(try server.get("/markdown/").status == 400)
        #expect(try post("/markdown/", "text/plain", String(repeating: "x", count: 262_145)).status == 413)
        // Marks that are opened and never closed cost no more than their length.
        for mark in ["**a ", "_a ", "![a](", "[", "`a ", "> ", "~~a"] {
            #expect(try post("/markdown/", "text/plain", String(repeating: mark, count: 10_000)).status == 200, "\(mark)")
        }
        #expect(try server.invoke("markdown", #""*x*""#).object["html"] as? String == "<p><em>x</em></p>\n")
        #expect((try server.invoke("markdown", "null").object["errorMessage"] as? String)?.contains("there is no Markdown") == true)

        for bucket in ["inbox", "summaries"] { #expect(try server.call("PUT", "/\(bucket)", service: "s3").status == 200) }
        let csv = "\u{FEFF}city,degrees,note\r\nOslo,3,\r\n\"Rome, Italy\",14.5,warm\r\nOslo,,nan\r\n"
        for (key, text) in [("sales/a%20b.csv", csv), ("empty.csv", "")] {
            #expect(try server.call("PUT", "/inbox/\(key)", body: text, service: "s3").status == 200)
        }
        let summary = try server.invoke("csvsummary", #"{"bucket":"inbox","key":"sales/a b.csv"}"#)
        if (summary.object["errorMessage"] as? String)?.hasPrefix("boto3 is not installed") != true {
            let columns = summary.object["columns"] as? [String: [String: Any]] ?? [:]
            #expect(summary.object["rows"] as? Int == 3 && columns["degrees"]?["sum"] as? Double == 17.5 && columns["city"]?["distinct"] as? Int == 2, "\(summary)")
            #expect(columns["note"]?["empty"] as? Int == 1 && columns["note"]?["texts"] as? Int == 2, "\(summary)")
            let written = try server.call("GET", "/summaries/sales/a%20b.csv.json", service: "s3")
            #expect(written.status == 200 && written.object["source"] as? String == "s3://inbox/sales/a b.csv" && written["content-type"] == "application/json")
            let event = #"{"Records":[{"s3":{"bucket":{"name":"inbox"},"object":{"key":"sales/a+b.csv"}}}]}"#
            #expect(try server.invoke("csvsummary", event).object["rows"] as? Int == 3)
            #expect(try post("/csvsummary/", "application/json", #"{"bucket":"inbox","key":"empty.csv"}"#).object["rows"] as? Int == 0)
            for (body, words) in [
                ("{bad", "not JSON"), ("{}", "names no object"), (#"{"bucket":"inbox","key":7}"#, "names no object"), (#"{"bucket":"inbox","key":"none.csv"}"#, "cannot be read"),
                (#"{"bucket":"summaries-of-others","key":"a"}"#, "cannot be read"),
            ] {
                let answer = try post("/csvsummary/", "application/json", body)
                #expect(answer.status == 400 && (answer.object["message"] as? String)?.contains(words) == true, "\(body): \(answer)")
            }
        }

        let system = try server.get("/system/").object
        #expect((system["cpus"] as? Int ?? 0) > 0 && (system["memory"] as? [String: Int])?["total_kib"] ?? 0 > 0, "\(system)")
        #expect(try server.metric("hearth_crashes_total") == 0 && server.metric("hearth_timeouts_total") == 0)
    }
}
