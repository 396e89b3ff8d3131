import ArgumentParser
import Foundation

/// `hearth async …`: the durable queue of asynchronous invocations.
struct AsyncCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "async", abstract: "List, show, try again and drop asynchronous events.",
        subcommands: [AsyncList.self, AsyncShow.self, AsyncRedrive.self, AsyncDrop.self])
}

struct AsyncList: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Show waiting events, or those that have failed.")

    @Argument(help: "Only those of this function.") var function: String?
    @Flag(help: "Those that were given up; they are kept for 14 days.") var failed = false
    @Option(help: "At most so many.") var limit = 100
    @OptionGroup var connection: Connection

    func run() throws {
        let events = try asyncEvents(connection.client(), function: function, failed: failed, limit: limit)
        if connection.json { return sayJSON(["events": events]) }
        let now = Date().timeIntervalSince1970 * 1000
        printTable(
            ["ID", "FUNCTION", "SOURCE", "AGE", "ATTEMPTS", failed ? "CONDITION" : "NEXT", failed ? "LAST ERROR" : "REQUEST ID"],
            events.map { event in
                func text(_ key: String) -> String { (event[key] as? NSNull) == nil ? event[key].map { "\($0)" } ?? "" : "" }
                func seconds(_ key: String) -> Double { ((event[key] as? NSNumber)?.doubleValue ?? 0) / 1000 }
                let age = "\(Int(now / 1000 - seconds("accepted_ms"))) s"
                let wait = seconds("due_ms") - now / 1000
                return [
                    text("id"), text("function") + (text("qualifier").isEmpty ? "" : ":" + text("qualifier")), text("source"), age,
                    text("attempts"), failed ? text("condition") : wait > 0 ? "in \(Int(wait.rounded(.up))) s" : "now",
                    failed ? String(text("message").prefix(60)) : text("request_id"),
                ]
            })
    }
}

struct AsyncShow: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Print the payload of an event, waiting or failed.")

    @Argument(help: "The event's id, as list shows it.") var id: Int
    @OptionGroup var connection: Connection

    func run() throws { printJSON(try expect(connection.client().call("GET", "/_hearth/async/\(id)/payload"), 200).body) }
}

/// Which events an order means: some by their ids, or all failed ones of a function.
struct AsyncChoice: ParsableArguments {
    @Argument(help: "Ids of events, as list shows them.") var ids: [Int] = []
    @Option(help: "All failed events of this function.") var function: String?
    @Flag(help: "All failed events.") var all = false

    func validate() throws {
        guard [!ids.isEmpty, function != nil, all].filter({ $0 }).count == 1 else {
            throw ValidationError("name events by their ids, or give one of --function and --all")
        }
    }

    /// Does `order` with each of them; how many there were.
    func each(_ client: APIClient, _ order: String) throws -> Int {
        var count = 0
        func apply(_ id: Int) throws {
            try expect(client.call("POST", "/_hearth/async/\(id)/\(order)"), 200)
            count += 1
        }
        for id in ids { try apply(id) }
        guard ids.isEmpty else { return count }
        while true {
            let events = try asyncEvents(client, function: function, failed: true, limit: 1000)
            guard !events.isEmpty else { return count }
            for event in events { if let id = event["id"] as? Int { try apply(id) } }
        }
    }
}

struct AsyncRedrive: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "redrive", abstract: "Try failed events again, from their beginning.")

    @OptionGroup var choice: AsyncChoice
    @OptionGroup var connection: Connection

    func run() throws {
        let count = try choice.each(connection.client(), "redrive")
        if connection.json { sayJSON(["redriven": count]) } else { say("\(count) event\(count == 1 ? "" : "s") in the queue again") }
    }
}

struct AsyncDrop: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop", abstract: "Forget events: by id waiting or failed ones, by function failed ones.")

    @OptionGroup var choice: AsyncChoice
    @OptionGroup var connection: Connection

    func run() throws {
        let count = try choice.each(connection.client(), "drop")
        if connection.json { sayJSON(["dropped": count]) } else { say("\(count) event\(count == 1 ? "" : "s") dropped") }
    }
}

private func asyncEvents(_ client: APIClient, function: String?, failed: Bool, limit: Int) throws -> [[String: Any]] {
    let query = "limit=\(limit)" + (function.map { "&function=\(pathPart($0))" } ?? "")
    let answer = try expect(client.call("GET", "/_hearth/async" + (failed ? "/failed" : ""), query: query), 200)
    return jsonObject(answer.body)["events"] as? [[String: Any]] ?? []
}
