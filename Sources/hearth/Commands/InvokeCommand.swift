import ArgumentParser
import Foundation

struct Invoke: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Invoke a function and print its result; one line of timings goes to standard error.")

    @Argument(help: "The function, as NAME or NAME:QUALIFIER; without a qualifier the alias live, if there is one.")
    var function: String
    @Option(name: [.customShort("d"), .long], help: "The event: JSON text, @file, or - for standard input.")
    var event = "{}"
    @Flag(help: "Print the invocation's log to standard error.") var tail = false
    @Flag(name: .customLong("async"), help: "Put the event into the durable queue and do not wait: prints its request id.") var isAsync = false
    @OptionGroup var connection: Connection

    func run() throws {
        let client = try connection.client()
        let parts = function.split(separator: ":", maxSplits: 1).map(String.init)
        guard let name = parts.first else { throw ValidationError("name the function") }
        var query = parts.count > 1 ? "Qualifier=\(pathPart(parts[1]))" : ""
        if parts.count == 1, try client.call("GET", "/2015-03-31/functions/\(pathPart(name))/aliases/live").status == 200 {
            query = "Qualifier=live"
        }
        let headers = tail ? [(name: "x-amz-log-type", value: "Tail")] : []
        if isAsync { return try enqueue(client, name, query) }
        let began = Date()
        let response = try client.call(
            "POST", "/2015-03-31/functions/\(pathPart(name))/invocations", query: query, headers: headers, body: try eventBytes(event))
        let total = Date().timeIntervalSince(began) * 1000
        guard response.status == 200 else { throw Failure(response.message) }
        let log = response.headers["x-amz-log-result"].flatMap { Data(base64Encoded: $0) }
        if connection.json {
            sayJSON(report(response, total, log))
        } else {
            if let log { FileHandle.standardError.write(log) }
            printJSON(response.body)
            say(error: line(response, total))
        }
        if response.headers["x-amz-function-error"] != nil { throw ExitCode(1) }
    }

    private func enqueue(_ client: APIClient, _ name: String, _ query: String) throws {
        let response = try client.call(
            "POST", "/2015-03-31/functions/\(pathPart(name))/invocations", query: query,
            headers: [(name: "x-amz-invocation-type", value: "Event")], body: try eventBytes(event))
        guard response.status == 202 else { throw Failure(response.message) }
        let id = response.headers["x-amzn-requestid"] ?? ""
        if connection.json { sayJSON(["request_id": id]) } else { say(id) }
    }

    private func report(_ response: APIClient.Response, _ total: Double, _ log: Data?) -> [String: Any] {
        let result = try? JSONSerialization.jsonObject(with: Data(response.body), options: [.fragmentsAllowed])
        var report: [String: Any] = [
            "result": result ?? response.text, "start": response.headers["x-hearth-start"] ?? "memoized",
            "memo": response.headers["x-hearth-memo"] ?? NSNull(),
            "version": response.headers["x-amz-executed-version"] ?? "",
            "request_id": response.headers["x-amzn-requestid"] ?? "", "total_ms": rounded(total),
            "function_error": response.headers["x-amz-function-error"] ?? NSNull(),
        ]
        for (name, value) in timings(response) { report["\(name)_ms"] = Double(value).map(rounded) ?? 0 }
        if let log { report["log"] = String(decoding: log, as: UTF8.self) }
        return report
    }

    /// Microseconds are enough; as a decimal, so that JSON shows no binary fractions.
    private func rounded(_ milliseconds: Double) -> NSDecimalNumber {
        NSDecimalNumber(string: String(format: "%.3f", milliseconds))
    }

    /// `warm · queue 0.02 · run 0.31 · total 1.20 ms · version 3 · 9f1c…`
    private func line(_ response: APIClient.Response, _ total: Double) -> String {
        let timings = timings(response)
        let start = response.headers["x-hearth-start"] ?? "memoized"
        let memo = response.headers["x-hearth-memo"].map { " · memo \($0)" } ?? ""
        let cold = start == "exec" || start == "fork" ? "cold (\(start)), init \(timings["init"] ?? "?") ms" : start
        return "\(cold) · queue \(timings["queue"] ?? "?") ms · run \(timings["run"] ?? "?") ms · total \(String(format: "%.2f", total)) ms"
            + "\(memo) · version \(response.headers["x-amz-executed-version"] ?? "?") · \(response.headers["x-amzn-requestid"] ?? "")"
    }

    private func timings(_ response: APIClient.Response) -> [String: String] {
        var timings: [String: String] = [:]
        for part in (response.headers["server-timing"] ?? "").components(separatedBy: ", ") {
            let pair = part.components(separatedBy: ";dur=")
            if pair.count == 2 { timings[pair[0]] = pair[1] }
        }
        return timings
    }
}

/// The bytes of an event as a command line gives it: JSON text, @file, or - for standard input.
func eventBytes(_ event: String) throws -> [UInt8] {
    switch event {
    case "-": return Array(FileHandle.standardInput.readDataToEndOfFile())
    case let file where file.hasPrefix("@"):
        guard let bytes = FileManager.default.contents(atPath: String(file.dropFirst())) else {
            throw Failure("cannot read \(file.dropFirst()): \(String(cString: strerror(errno)))")
        }
        return Array(bytes)
    default: return Array(event.utf8)
    }
}
