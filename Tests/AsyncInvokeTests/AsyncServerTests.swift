import Foundation
import Testing
import TestSupport

/// Asynchronous invocation on a running server.
@Suite struct AsyncServerTests {
    /// Writes each event that it is given into a directory that the sandbox shows, and fails or waits as it is told.
    private static func recorder(_ place: String, _ name: String = "r", manifest: String = "") -> TestFunction {
        .python(
            name,
            """
            import json, os, time
            def handler(event, context):
                with open("\(place)/" + context.function_name, "a") as file:
                    file.write(json.dumps([context.aws_request_id, event]) + "\\n")
                if "wait" in event: time.sleep(event["wait"])
                if "fail" in event: raise ValueError(event["fail"])
                return {"seen": event}
            """, manifest: manifest)
    }

    private func lines(_ place: TemporaryDirectory, _ name: String) -> [[Any]] {
        place.read(name).split(separator: "\n").compactMap { try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [Any] }
    }

    private func place() throws -> TemporaryDirectory {
        let place = try TemporaryDirectory()
        chmod(place.path, 0o777)
        return place
    }

    private let open = "[sandbox]\nisolation = \"off\"\n[async]\nretry_delay = 1\n"

    private func send(_ server: HearthProcess, _ name: String, _ event: String, status: Int = 202) throws -> WireResponse {
        let answer = try server.invoke(name, event, headers: [("X-Amz-Invocation-Type", "Event")])
        #expect(answer.status == status, "\(answer)")
        return answer
    }

    @Test func anEventRunsLaterOnceAndItsDestinationIsTold() throws {
        let place = try place()
        let functions = ["r", "told", "letters"].map { Self.recorder(place.path, $0) }
        let server = try HearthProcess(functions: functions, config: open)
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:"
        let configured = try server.call(
            "PUT", "/2019-09-25/functions/r/event-invoke-config",
            body: #"{"MaximumRetryAttempts":1,"DestinationConfig":{"OnSuccess":{"Destination":"\#(arn)told"},"OnFailure":{"Destination":"\#(arn)told"}}}"#)
        #expect(configured.status == 200 && configured.object["FunctionArn"] as? String == arn + "r:$LATEST", "\(configured)")
        let letters = try server.call("PUT", "/2015-03-31/functions/r/configuration", body: #"{"DeadLetterConfig":{"TargetArn":"\#(arn)letters"}}"#)
        #expect(letters.status == 200 && (letters.object["DeadLetterConfig"] as? [String: String])?["TargetArn"] == arn + "letters", "\(letters)")

        let accepted = try send(server, "r", #"{"n":1}"#)
        #expect(accepted.body.isEmpty && accepted["X-Amz-Executed-Version"] == nil)
        try waitFor("the record of the success") { lines(place, "told").isEmpty ? nil : () }
        let record = try #require(lines(place, "told").first?[1] as? [String: Any])
        let context = record["requestContext"] as? [String: Any]
        #expect(context?["condition"] as? String == "Success" && context?["requestId"] as? String == accepted["x-amzn-RequestId"], "\(record)")
        #expect(context?["functionArn"] as? String == arn + "r:$LATEST" && context?["approximateInvokeCount"] as? Int == 1, "\(record)")
        #expect((record["responsePayload"] as? [String: Any])?["seen"] != nil && lines(place, "r").count == 1)

        // It fails, is tried once more with the same id, and is then told and kept.
        let failing = try send(server, "r", #"{"fail":"on purpose"}"#)
        try waitFor("the record of the failure") { lines(place, "told").count == 2 ? () : nil }
        let failure = try #require(lines(place, "told")[1][1] as? [String: Any])
        #expect((failure["requestContext"] as? [String: Any])?["condition"] as? String == "RetriesExhausted", "\(failure)")
        #expect((failure["responseContext"] as? [String: Any])?["functionError"] as? String == "Unhandled", "\(failure)")
        #expect(lines(place, "r").filter { $0[0] as? String == failing["x-amzn-RequestId"] }.count == 2)
        try waitFor("the dead letter") { lines(place, "letters").isEmpty ? nil : () }
        #expect((lines(place, "letters")[0][1] as? [String: String])?["fail"] == "on purpose", "a dead letter is the event alone")
        let failed = try server.command(["async", "list", "--failed", "--json"])
        let events = (try JSONSerialization.jsonObject(with: Data(failed.out.utf8)) as? [String: Any])?["events"] as? [[String: Any]] ?? []
        #expect(events.count == 1 && (events[0]["message"] as? String)?.contains("on purpose") == true && events[0]["attempts"] as? Int == 2, "\(failed)")
        #expect(try server.command(["logs", "r"]).out.contains("was given up after 2 attempts (RetriesExhausted)"))

        let id = "\(events[0]["id"] ?? 0)"
        #expect(try server.command(["async", "show", id]).out.contains("on purpose"))
        #expect(try server.command(["async", "redrive", id]).out == "1 event in the queue again\n")
        try waitFor("the redriven event to fail again") { lines(place, "told").count == 3 ? () : nil }
        #expect(try server.command(["async", "drop", "--function", "r"]).out == "1 event dropped\n")
        try server.waitForMetric("hearth_async_failed_events", [:], 0)
        #expect(try server.metric("hearth_async_events_dropped_total", ["condition": "RetriesExhausted"]) == 2)
        #expect(try server.command(["invoke", "r", "--async", "-d", #"{"n":2}"#]).out.count == 37)
        try waitFor("the event of the CLI") { lines(place, "r").contains { ($0[1] as? [String: Int])?["n"] == 2 } ? () : nil }
    }

    @Test func whatIsAcknowledgedSurvivesAKillAndRunsAfterwards() throws {
        let place = try place()
        let functions = [Self.recorder(place.path, manifest: "timeout = 20\n[concurrency]\nmax = 2")]
        let directory = try TemporaryDirectory()
        var acknowledged: Set<String> = []
        for round in 0..<3 {
            let server = try HearthProcess(functions: functions, config: open, directory: directory)
            for number in 0..<40 {
                let answer = try send(server, "r", #"{"n":"\#(round)-\#(number)","wait":0.01}"#)
                acknowledged.insert(try #require(answer["x-amzn-RequestId"]))
            }
            try server.killAtOnce()
        }
        let server = try HearthProcess(functions: functions, config: open, directory: directory)
        try server.waitForMetric("hearth_async_queue_depth", [:], 0)
        let ran = lines(place, "r").compactMap { $0[0] as? String }
        #expect(acknowledged.count == 120 && acknowledged.isSubset(of: ran), "\(acknowledged.subtracting(ran).count) of 120 are lost")
        // At least once: what was in flight at a kill may run twice, nothing else.
        #expect(ran.count <= 120 + 3 * 64, "\(ran.count) runs")
    }

    @Test func aStopInPeaceLeavesTheRestToTheNextStartAndRunsNothingTwice() throws {
        let place = try place()
        let functions = [Self.recorder(place.path, manifest: "timeout = 20\n[concurrency]\nmax = 1\nqueue = 2")]
        let directory = try TemporaryDirectory()
        let first = try HearthProcess(functions: functions, config: open, directory: directory)
        for number in 0..<12 { _ = try send(first, "r", #"{"n":\#(number),"wait":0.2}"#) }
        try waitFor("the first event") { lines(place, "r").isEmpty ? nil : () }
        first.child.signal(SIGTERM)
        _ = try first.child.waitForExit(seconds: 20)
        let before = lines(place, "r").count
        let second = try HearthProcess(functions: functions, config: open, directory: directory)
        try second.waitForMetric("hearth_async_queue_depth", [:], 0)
        let ran = lines(place, "r").compactMap { ($0[1] as? [String: Any])?["n"] as? Int }
        #expect(before < 12 && ran.sorted() == Array(0..<12), "\(before) before the stop, \(ran)")
    }

    @Test func refusalsAreInLambdasWordsAndChangeNothing() throws {
        let place = try place()
        let server = try HearthProcess(functions: [Self.recorder(place.path, manifest: "[concurrency]\nprovisioned = 0")], config: open)
        let config = "/2019-09-25/functions/r/event-invoke-config"
        let cases: [(String, String, String, Int, String)] = [
            ("PUT", config, "{}", 400, "You must specify at least one of error handling or destination setting."),
            ("PUT", config, #"{"MaximumRetryAttempts":3}"#, 400, "at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 2"),
            ("PUT", config, #"{"MaximumEventAgeInSeconds":59}"#, 400, "at 'maximumEventAgeInSeconds'"),
            ("PUT", config, #"{"DestinationConfig":{"OnSuccess":{"Destination":"arn:aws:lambda:us-east-1:000000000000:function:r"}}}"#, 400, "You can't specify the function as a destination for itself."),
            ("PUT", config, #"{"DestinationConfig":{"OnSuccess":{"Destination":"arn:aws:lambda:us-east-1:000000000000:function:no"}}}"#, 400, "The destination ARN arn:aws:lambda:us-east-1:000000000000:function:no is invalid."),
            ("PUT", config, #"{"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sqs:us-east-1:000000000000:q"}}}"#, 400, "Hearth delivers to functions, buckets"),
            ("PUT", "/2019-09-25/functions/none/event-invoke-config", #"{"MaximumRetryAttempts":1}"#, 404, "The function doesn't exist."),
            ("GET", config, "", 404, "The function arn:aws:lambda:us-east-1:000000000000:function:r:$LATEST doesn't have an EventInvokeConfig"),
            ("POST", config, #"{"MaximumRetryAttempts":1}"#, 404, "doesn't have an EventInvokeConfig"), ("DELETE", config, "", 404, "doesn't have an EventInvokeConfig"),
            ("PUT", "/2015-03-31/functions/r/configuration", #"{"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:us-east-1:000000000000:q"}}"#, 400, "Hearth sends dead letters to functions"),
        ]
        for (method, path, body, status, says) in cases {
            let answer = try server.call(method, path, body: body)
            #expect(answer.status == status && answer.text.contains(says), "\(method) \(body): \(answer)")
        }
        #expect(try server.call("GET", config + "/list").object["FunctionEventInvokeConfigs"] as? [String] == [])
        #expect(try send(server, "r", "{", status: 400)["x-amzn-ErrorType"] == "InvalidRequestContentException")
        let large = try send(server, "r", "\"" + String(repeating: "x", count: 1_048_576) + "\"", status: 413)
        #expect(large["x-amzn-ErrorType"] == "RequestTooLargeException" && large.text.contains("1048578 byte payload is too large for the Event invocation type"), "\(large.text)")
        #expect(try server.metric("hearth_async_events_received_total") == 0)
        // Merging keeps what is not named.
        #expect(try server.call("PUT", config, body: #"{"MaximumRetryAttempts":0,"MaximumEventAgeInSeconds":60}"#).status == 200)
        let merged = try server.call("POST", config, body: #"{"MaximumRetryAttempts":2}"#).object
        #expect(merged["MaximumRetryAttempts"] as? Int == 2 && merged["MaximumEventAgeInSeconds"] as? Int == 60, "\(merged)")
        #expect(try server.call("DELETE", config).status == 204 && server.call("GET", config).status == 404)
        // A function that may not run at all keeps nothing waiting.
        #expect(try server.call("PUT", "/2017-10-31/functions/r/concurrency", body: #"{"ReservedConcurrentExecutions":0}"#).status == 200)
        _ = try send(server, "r", "{}")
        try server.waitForMetric("hearth_async_events_dropped_total", ["condition": "ZeroReservedConcurrency"], 1)
    }
}
