import Foundation
import TestSupport
import Testing

/// Tiers, archive and websites of a running server, with short days.
@Suite struct TierTests {
    private func code(_ answer: WireResponse) -> String {
        answer.text.components(separatedBy: "<Code>").last?.components(separatedBy: "<").first ?? ""
    }

    @Test func tiersMoveByTheirDays() throws {
        // One Hearth is the archive of the other.
        let shelf = try HearthProcess()
        #expect(try shelf.call("PUT", "/attic", service: "s3").status == 200)
        let cold = try TemporaryDirectory()
        let server = try HearthProcess(
            config: """
                [objects]
                cold = "\(cold.path)/other-disk"
                archive = "http://\(shelf.api)/attic"
                archive_access_key = "\(shelf.environment["AWS_ACCESS_KEY_ID"] ?? "")"
                archive_secret_key = "\(shelf.environment["AWS_SECRET_ACCESS_KEY"] ?? "")"
                [lifecycle]
                day_seconds = 1
                """)
        func s3(
            _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
        ) throws -> WireResponse {
            try server.call(method, path, query: query, headers: headers, body: body, service: "s3")
        }
        #expect(try s3("PUT", "/tiers").status == 200)
        let rule = #"<IntelligentTieringConfiguration><Id>all</Id><Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering></IntelligentTieringConfiguration>"#
        #expect(try s3("PUT", "/tiers", query: "intelligent-tiering=&id=all", body: rule).status == 200)
        let text = String(repeating: "what compresses well, ", count: 20_000)
        for (key, storageClass) in [("clever", "INTELLIGENT_TIERING"), ("seldom", "STANDARD_IA"), ("gone", "GLACIER"), ("plain", "STANDARD")] {
            #expect(try s3("PUT", "/tiers/\(key)", headers: [("x-amz-storage-class", storageClass)], body: text).status == 200)
        }
        try server.waitForMetric("hearth_objects_demoted_total", [:], 1, seconds: 60)
        #expect(try FileManager.default.contentsOfDirectory(atPath: cold.path + "/other-disk").contains { $0.hasPrefix("cold-") })
        try server.waitForMetric("hearth_objects_bytes", ["tier": "archive"], Double(text.utf8.count), seconds: 60)
        try waitFor("the archive to have a file", seconds: 60) {
            try shelf.call("GET", "/attic", query: "list-type=2", service: "s3").text.contains("<Key>archive-") ? () : nil
        }
        #expect(try s3("GET", "/tiers/seldom").text == text && s3("GET", "/tiers/plain").text == text)
        let refused = try s3("GET", "/tiers/gone")
        #expect(refused.status == 403 && code(refused) == "InvalidObjectState")
        #expect(try s3("HEAD", "/tiers/gone")["x-amz-storage-class"] == "GLACIER")
        // Thirty days unread, that is half a minute: the clever one follows.
        try server.waitForMetric("hearth_objects_demoted_total", [:], 2, seconds: 90)
        #expect(try server.metric("hearth_objects_saved_bytes") > Double(text.utf8.count))
        let stats = try server.command(["object", "stats"])
        #expect(stats.code == 0 && stats.out.contains("archive") && stats.out.contains("saved"), "\(stats)")
        let usage = try server.command(["object", "du", "tiers"])
        #expect(usage.out.contains("cold: ") && usage.out.contains("in 2 versions"), "\(usage)")
        #expect(try s3("GET", "/tiers/clever").text == text, "cold is read as ever")
        let asked = try s3("POST", "/tiers/gone", query: "restore=", body: "<RestoreRequest><Days>1000</Days></RestoreRequest>")
        #expect(asked.status == 202, "\(asked)")
        _ = try waitFor("the restore", seconds: 60) {
            try s3("HEAD", "/tiers/gone")["x-amz-restore"]?.hasPrefix("ongoing-request=\"false\"") == true ? () : nil
        }
        #expect(try s3("GET", "/tiers/gone").text == text)
        #expect(try server.command(["object", "check"]).code == 0)
    }

    @Test func websitesAreShownByTheFrontListener() throws {
        let server = try HearthProcess(config: "[s3]\nwebsites = [\"www.example.test=pages\"]\n")
        func s3(
            _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
        ) throws -> WireResponse {
            try server.call(method, path, query: query, headers: headers, body: body, service: "s3")
        }
        func browse(_ path: String, _ method: String = "GET", host: String = "pages.website.localhost") throws -> WireResponse {
            let wire = try Wire(server.front)
            try wire.send("\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
            return try wire.response(isHead: method == "HEAD")
        }
        #expect(try s3("PUT", "/pages").status == 200)
        #expect(try browse("/").status == 404)
        let site = """
            <WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><ErrorDocument><Key>sorry.html</Key></ErrorDocument>\
            <RoutingRules><RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition><Redirect>\
            <ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>
            """
        #expect(try s3("PUT", "/pages", query: "website=", body: site).status == 200)
        for (key, text) in [("index.html", "<h1>home</h1>"), ("docs/index.html", "docs"), ("sorry.html", "sorry"), ("a%20b", "spaced")] {
            #expect(try s3("PUT", "/pages/\(key)", headers: [("Content-Type", "text/html")], body: text).status == 200)
        }
        #expect(try browse("/").status == 403, "nobody has said that everybody may read")
        let policy = #"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::pages/*"}]}"#
        #expect(try s3("PUT", "/pages", query: "policy=", body: policy).status == 204)
        let home = try browse("/")
        #expect(home.status == 200 && home.text == "<h1>home</h1>" && home["Content-Type"] == "text/html", "\(home)")
        #expect(try browse("/docs/", host: "WWW.example.test:80").text == "docs" && browse("/a%20b").text == "spaced")
        #expect(try browse("/docs")["Location"] == "/docs/")
        let moved = try browse("/old/page?x=1")
        #expect(moved.status == 301 && moved["Location"] == "/new/page", "\(moved)")
        let missing = try browse("/nothing")
        #expect((missing.status == 404 || missing.status == 403) && missing.text == "sorry", "\(missing)")
        #expect(try browse("/", "HEAD").status == 200 && browse("/", "DELETE").status == 405)
        #expect(try browse("/", host: "other.website.localhost").status == 404)
        #expect(try browse("/index.html", host: "localhost").status == 404, "no website: a function's name")
    }
}
