import ArgumentParser
import Foundation

/// `hearth schedule …`: when functions are invoked by the clock.
struct ScheduleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule", abstract: "List the schedules of functions.", subcommands: [ScheduleList.self])
}

struct ScheduleList: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show the schedules with their next and last ticks.", aliases: ["ls"])

    @OptionGroup var connection: Connection

    func run() throws {
        let answer = try expect(connection.client().call("GET", "/_hearth/schedules"), 200)
        if connection.json { return printJSON(answer.body) }
        let schedules = jsonObject(answer.body)["schedules"] as? [[String: Any]] ?? []
        func time(_ value: Any?, _ missing: String) -> String {
            guard let milliseconds = (value as? NSNumber)?.doubleValue else { return missing }
            return Date(timeIntervalSince1970: milliseconds / 1000).formatted(.iso8601)
        }
        printTable(
            ["FUNCTION", "NAME", "EXPRESSION", "TIME ZONE", "NEXT", "LAST"],
            schedules.map { schedule in
                func text(_ key: String) -> String { schedule[key] as? String ?? "" }
                return [
                    text("function") + (text("qualifier").isEmpty ? "" : ":" + text("qualifier")), text("name"), text("expression"),
                    text("timezone"), time(schedule["next_ms"], "over"), time(schedule["last_ms"], "never"),
                ]
            })
    }
}
