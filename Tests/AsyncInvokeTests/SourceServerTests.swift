import Foundation
import Testing
import TestSupport

/// What makes events for functions on a running server: buckets and schedules; and buckets that are told of outcomes.
@Suite struct SourceServerTests {
    private let place: TemporaryDirectory
    private let arn = "arn:aws:lambda:us-east-1:000000000000:function:"

    init() throws {
        place = try TemporaryDirectory()
        chmod(place.path, 0o777)
    }

    private func events(_ name: String) -> [[String: Any]] {
        place.read(name).split(separator: "\n").compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
    }

    private func records(_ name: String) -> [[String: Any]] { events(name).flatMap { $0["Records"] as? [[String: Any]] ?? [] } }

    /// `ObjectCreated:Put a+b 3`
    private func told(_ name: String) -> [String] {
        records(name).map { record in
            let object = (record["s3"] as? [String: Any])?["object"] as? [String: Any] ?? [:]
            return "\(record["eventName"] ?? "") \(object["key"] ?? "") \(object["size"] ?? "-")"
        }
    }

    private let open = "[sandbox]\nisolation = \"off\"\n"

    @Test func anOutcomeGoesIntoTheBucketThatIsItsDestination() throws {
        let server = try HearthProcess(functions: [.recorder("r", place)], config: open)
        #expect(try server.call("PUT", "/outcomes", service: "s3").status == 200)
        let settings = #"{"DestinationConfig":{"OnSuccess":{"Destination":"arn:aws:s3:::outcomes"}}}"#
        #expect(try server.call("PUT", "/2019-09-25/functions/r/event-invoke-config", body: settings).status == 200)
        let accepted = try server.invoke("r", #"{"n":1}"#, headers: [("X-Amz-Invocation-Type", "Event")])
        let id = try #require(accepted["x-amzn-RequestId"])
        let key = try waitFor("the object") { () -> String? in
            let list = try server.call("GET", "/outcomes", query: "list-type=2", service: "s3").text
            return list.components(separatedBy: "<Key>").dropFirst().first?.components(separatedBy: "</Key>").first
        }
        #expect(key.hasPrefix("aws/lambda/async/r/") && key.hasSuffix(id), "\(key)")
        let record = try server.call("GET", "/outcomes/\(key)", service: "s3")
        #expect(record["content-type"] == "application/json" && (record.object["requestContext"] as? [String: Any])?["requestId"] as? String == id)
        // A bucket that is not there keeps no event back.
        let gone = settings.replacingOccurrences(of: "outcomes", with: "nowhere")
        #expect(try server.call("PUT", "/2019-09-25/functions/r/event-invoke-config", body: gone).status == 200)
        #expect(try server.invoke("r", #"{"n":2}"#, headers: [("X-Amz-Invocation-Type", "Event")]).status == 202)
        try server.waitForMetric("hearth_async_delivery_failures_total", [:], 1)
        try server.waitForMetric("hearth_async_queue_depth", [:], 0)
    }

    @Test func aBucketTellsFunctionsOfItsChangesAsS3Does() throws {
        let server = try HearthProcess(functions: [.recorder("r", place), .recorder("other", place)], config: open)
        func s3(
            _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = ""
        ) throws -> WireResponse {
            try server.call(method, path, query: query, headers: headers, body: body, service: "s3")
        }
        func configuration(_ target: String, _ events: [String], id: String = "", filter: String = "") -> String {
            "<CloudFunctionConfiguration>\(id.isEmpty ? "" : "<Id>\(id)</Id>")<CloudFunction>\(target)</CloudFunction>"
                + events.map { "<Event>\($0)</Event>" }.joined()
                + (filter.isEmpty ? "" : "<Filter><S3Key>\(filter)</S3Key></Filter>") + "</CloudFunctionConfiguration>"
        }
        func put(_ inside: String, headers: [(String, String)] = []) throws -> WireResponse {
            try s3(
                "PUT", "/inbox", query: "notification=", headers: headers,
                body: "<NotificationConfiguration>\(inside)</NotificationConfiguration>")
        }
        func rule(_ name: String, _ value: String) -> String { "<FilterRule><Name>\(name)</Name><Value>\(value)</Value></FilterRule>" }
        #expect(try s3("PUT", "/inbox").status == 200)
        let all = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        // S3 may tell whom it is allowed to invoke.
        func allow(_ function: String, _ query: String, from source: String) throws -> Int {
            let statement = #"{"StatementId":"s3","Action":"lambda:InvokeFunction","Principal":"s3.amazonaws.com","SourceArn":"\#(source)"}"#
            return try server.call("POST", "/2015-03-31/functions/\(function)/policy", query: query, body: statement).status
        }
        #expect(try allow("other", "Qualifier=live", from: "arn:aws:s3:::inbox") == 201)
        #expect(try allow("other", "", from: "arn:aws:s3:::another") == 201)
        #expect(try put(configuration(arn + "r", all)).text.contains("Not authorized to invoke function"))
        #expect(try put(configuration(arn + "other", all)).text.contains("Not authorized to invoke function"))
        #expect(try allow("r", "", from: "arn:aws:s3:::*") == 201)
        let refusals: [(String, String)] = [
            (configuration(arn + "no", all), "The destination Lambda does not exist"), (configuration(arn + "r:9", all), "does not exist"),
            (configuration("arn:aws:sqs:us-east-1:1:q", all), "not well formed"), (configuration(arn + "r", ["s3:ObjectRestore:*"]), "is not supported"),
            (configuration(arn + "r", []), "MalformedXML"), (configuration(arn + "r", all, filter: rule("infix", "x")), "either prefix or suffix"),
            (configuration(arn + "r", all, filter: rule("prefix", "x") + rule("prefix", "y")), "more than one prefix"),
            (configuration(arn + "r", all) + configuration(arn + "other:live", all), "overlap"),
            (configuration(arn + "r", all, id: "a", filter: rule("prefix", "x")) + configuration(arn + "r", all, id: "a", filter: rule("prefix", "y")), "Same ID"),
            ("<QueueConfiguration><Queue>arn:aws:sqs:us-east-1:1:q</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>", "tells functions only"),
            ("<EventBridgeConfiguration/>", "NotImplemented"), ("<Other/>", "MalformedXML"),
        ]
        for (inside, says) in refusals {
            let answer = try put(inside)
            #expect((400...501).contains(answer.status) && answer.text.contains(says), "\(inside): \(answer.text)")
        }
        #expect(try !s3("GET", "/inbox", query: "notification=").text.contains("CloudFunction"), "a refusal changes nothing")
        let wanted =
            configuration(arn + "r", all, id: "every", filter: rule("prefix", "in/") + rule("Suffix", ".txt"))
            + configuration(arn + "other:live", ["s3:ObjectCreated:Copy"], filter: rule("prefix", "copies/"))
        #expect(try put(wanted).status == 200)
        let kept = try s3("GET", "/inbox", query: "notification=").text
        #expect(kept.contains("<Id>every</Id>") && kept.contains("<Id>notification-2</Id>") && kept.contains("s3:ObjectRemoved:*"), "\(kept)")

        #expect(try s3("PUT", "/inbox/in/a%20%2Bb%C3%A9.txt", body: "abc").status == 200)
        _ = try s3("PUT", "/inbox/in/a.bin", body: "abc")
        _ = try s3("PUT", "/inbox/copies/c", headers: [("x-amz-copy-source", "/inbox/in/a%20%2Bb%C3%A9.txt")])
        _ = try s3("PUT", "/inbox/in/c.txt", headers: [("x-amz-copy-source", "/inbox/in/a.bin")])
        #expect(try s3("DELETE", "/inbox/in/c.txt").status == 204)
        let started = try s3("POST", "/inbox/in/m.txt", query: "uploads=").text
        let upload = started.components(separatedBy: "<UploadId>").last?.components(separatedBy: "</").first ?? ""
        let part = try s3("PUT", "/inbox/in/m.txt", query: "partNumber=1&uploadId=\(upload)", body: "part")
        let parts = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\(part["ETag"] ?? "")</ETag></Part></CompleteMultipartUpload>"
        #expect(try s3("POST", "/inbox/in/m.txt", query: "uploadId=\(upload)", body: parts).status == 200)
        _ = try s3("PUT", "/inbox", query: "versioning=", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        _ = try s3("DELETE", "/inbox/in/m.txt")
        try waitFor("six events") { records("r").count == 5 && records("other").count == 1 ? () : nil }
        #expect(
            Set(told("r")) == [
                "ObjectCreated:Put in/a+%2Bb%C3%A9.txt 3", "ObjectCreated:Copy in/c.txt 3", "ObjectRemoved:Delete in/c.txt -",
                "ObjectCreated:CompleteMultipartUpload in/m.txt 4", "ObjectRemoved:DeleteMarkerCreated in/m.txt -",
            ])
        #expect(told("other") == ["ObjectCreated:Copy copies/c 3"])
        let first = try #require(records("r").first { $0["eventName"] as? String == "ObjectCreated:Put" })
        let inside = try #require(first["s3"] as? [String: Any]), object = inside["object"] as? [String: Any] ?? [:]
        #expect(first["eventVersion"] as? String == "2.1" && first["eventSource"] as? String == "aws:s3" && first["awsRegion"] as? String == "us-east-1")
        #expect((first["requestParameters"] as? [String: String])?["sourceIPAddress"] == "127.0.0.1" && first["eventTime"] as? String != nil)
        #expect(inside["configurationId"] as? String == "every" && (inside["bucket"] as? [String: Any])?["arn"] as? String == "arn:aws:s3:::inbox")
        #expect(object["eTag"] as? String == "900150983cd24fb0d6963f7d28e17f72" && (object["sequencer"] as? String)?.count == 16 && object["versionId"] == nil)
        let marker = records("r").first { $0["eventName"] as? String == "ObjectRemoved:DeleteMarkerCreated" }
        #expect(((marker?["s3"] as? [String: Any])?["object"] as? [String: Any])?["versionId"] as? String != nil)
        // Nobody is told once the configuration is empty; and a check may be left out.
        #expect(try put("").status == 200)
        _ = try s3("PUT", "/inbox/in/silent.txt", body: "x")
        #expect(try put(configuration(arn + "later", all), headers: [("x-amz-skip-destination-validation", "true")]).status == 200)
        _ = try s3("PUT", "/inbox/in/lost.txt", body: "x")
        try server.waitForMetric("hearth_async_events_dropped_total", ["condition": "FunctionNotFound"], 1)
        #expect(records("r").count == 5, "\(told("r"))")
    }

    @Test func theManifestSaysWhatAFunctionIsToldOfAndWhen() throws {
        let manifest = """
            [[on.object]]
            bucket = "inbox"
            suffix = ".txt"
            [[on.object]]
            bucket = "outbox"
            events = ["ObjectRemoved:Delete"]
            [[on.schedule]]
            expression = "rate(400 days)"
            [[on.schedule]]
            name = "with-input"
            expression = "rate(400 days)"
            timezone = "Europe/Berlin"
            input = '{"job":"report","at":"<aws.scheduler.scheduled-time>"}'
            [[on.schedule]]
            expression = "cron(0 3 1 1 ? 2199)"
            """
        let directory = try TemporaryDirectory()
        let server = try HearthProcess(functions: [.recorder("r", place, manifest: manifest)], config: open, directory: directory)
        // A rate ticks for the first time when it is made.
        try waitFor("the first ticks") { events("r").count == 2 ? () : nil }
        let event = try #require(events("r").first { $0["source"] != nil })
        #expect(event["source"] as? String == "aws.scheduler" && event["detail-type"] as? String == "Scheduled Event" && event["detail"] as? String == "{}")
        #expect(event["resources"] as? [String] == ["arn:aws:scheduler:us-east-1:000000000000:schedule/default/r-1"] && event["account"] as? String == "000000000000")
        let input = try #require(events("r").first { $0["job"] as? String == "report" })
        #expect((input["at"] as? String)?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil, "\(input)")
        let list = try server.command(["schedule", "ls", "--json"])
        let schedules = (try JSONSerialization.jsonObject(with: Data(list.out.utf8)) as? [String: Any])?["schedules"] as? [[String: Any]] ?? []
        #expect(schedules.compactMap { $0["name"] as? String } == ["1", "3", "with-input"], "\(list)")
        #expect(schedules[1]["next_ms"] as? Int == 7_226_593_200_000 && schedules[1]["qualifier"] as? String == "live" && schedules[1]["last_ms"] is NSNull)
        #expect(try server.command(["schedule", "list"]).out.contains("cron(0 3 1 1 ? 2199)"))

        #expect(try server.call("PUT", "/inbox/a.txt", body: "x", service: "s3").status == 200)
        _ = try server.call("PUT", "/inbox/a.bin", body: "x", service: "s3")
        _ = try server.call("PUT", "/outbox/b", body: "x", service: "s3")
        _ = try server.call("DELETE", "/outbox/b", service: "s3")
        try waitFor("the events of objects") { records("r").count == 2 ? () : nil }
        #expect(told("r") == ["ObjectCreated:Put a.txt 1", "ObjectRemoved:Delete b -"])

        // Deployed again, what is the same goes on as it was, and what is gone tells nothing.
        let changed = "[[on.object]]\nbucket = \"inbox\"\nprefix = \"new/\"\n[[on.schedule]]\nexpression = \"rate(400 days)\"\n"
        try server.deploy(.recorder("r", place, manifest: changed))
        _ = try server.call("PUT", "/inbox/c.txt", body: "x", service: "s3")
        _ = try server.call("PUT", "/inbox/new/d", body: "x", service: "s3")
        try waitFor("the event of new/d") { told("r").contains("ObjectCreated:Put new/d 1") ? () : nil }
        #expect(records("r").count == 3 && events("r").count == 5, "\(told("r"))")
        #expect(try server.call("GET", "/outbox", query: "notification=", service: "s3").text.contains("CloudFunction") == false)

        // Down, and up again: nothing that has ticked ticks again.
        server.child.signal(SIGTERM)
        _ = try server.child.waitForExit(seconds: 20)
        let again = try HearthProcess(functions: [.recorder("r", place, manifest: changed)], config: open, directory: directory)
        _ = try again.call("PUT", "/inbox/new/e", body: "x", service: "s3")
        try waitFor("the event of new/e") { told("r").contains("ObjectCreated:Put new/e 1") ? () : nil }
        #expect(try again.command(["schedule", "ls"]).out.contains("rate(400 days)") && events("r").count == 6)
        let timed = #"{"name":"soon","expression":"at(\#(Self.soon()))","zone":"UTC","missed":"once"}"#
        let sources = "/_hearth/functions/r/sources"
        #expect(try again.call("PUT", sources, body: #"{"qualifier":"live","objects":[],"schedules":[\#(timed)]}"#).status == 200)
        try waitFor("the tick of at(…)") { events("r").count == 7 ? () : nil }
        #expect(try again.command(["schedule", "ls"]).out.contains("over"))
        let unknown = timed.replacingOccurrences(of: "at(", with: "on(")
        for (body, says) in [("{", "are an object"), (#"{"qualifier":"live","objects":[],"schedules":[\#(unknown)]}"#, "is none of")] {
            let refused = try again.call("PUT", sources, body: body)
            #expect(refused.status == 400 && refused.text.contains(says), "\(refused)")
        }
        #expect(try again.command(["remove", "r"]).code == 0)
        #expect(try again.call("GET", "/inbox", query: "notification=", service: "s3").text.contains("CloudFunction") == false)
        #expect(try again.command(["schedule", "ls", "--json"]).out.contains("\"schedules\":[]"))
    }

    /// Two seconds from now.
    private static func soon() -> String {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(identifier: "UTC")
        format.dateFormat = "yyyy-MM-dd'T'HH:mm:ss"
        return format.string(from: Date().addingTimeInterval(2))
    }
}
