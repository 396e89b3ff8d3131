package import EventQueue
internal import HTTP
internal import Net

/// What makes events for functions beside their callers: buckets and schedules.
package protocol EventSources: AnyObject {
    var schedules: [ScheduleRow] { get }

    /// Makes what the JSON of a deployment says the sources of a function. `done` hears why not.
    func set(_ json: [UInt8], of function: String, _ done: @escaping (String?) -> Void)
}

/// `PUT /_hearth/functions/NAME/sources` and `GET /_hearth/schedules`.
extension AdminService {
    func setSources(of function: String, _ request: HTTPRequest) {
        let connection = request.connection
        sources.set(Array(request.body), of: function) { refusal in
            if let refusal { return Report.fail(400, refusal, on: connection) }
            Report.send(.object([("function", .text(function))]), on: connection)
        }
    }

    func listSchedules(_ request: HTTPRequest) {
        func time(_ milliseconds: Int64?) -> Report { milliseconds.map { .number(Double($0)) } ?? .null }
        let rows = sources.schedules.map { row in
            Report.object([
                ("function", .text(row.function)), ("qualifier", row.qualifier.map { .text($0) } ?? .null), ("name", .text(row.name)),
                ("expression", .text(row.expression)), ("timezone", .text(row.zone)), ("missed", .text(row.missed)),
                ("next_ms", time(row.next)), ("last_ms", time(row.last)),
            ])
        }
        Report.send(.object([("schedules", .list(rows))]), on: request.connection)
    }
}
