internal import AsyncInvoke
internal import EventQueue
internal import HTTP
internal import Net

/// `/_hearth/async`: the queue of asynchronous events, for `hearth async`.
extension AdminService {
    /// `GET async`, `GET async/failed`, `GET async/ID/payload`, `POST async/ID/redrive`, `POST async/ID/drop`.
    func asynchronous(_ method: HTTPMethod, _ parts: [String], _ request: HTTPRequest) {
        let connection = request.connection
        var filter = EventStore.Filter(function: queryValue(request.query, "function"))
        filter.limit = min(1000, max(1, queryValue(request.query, "limit").flatMap { Int($0) } ?? 100))
        filter.after = queryValue(request.query, "after").flatMap { Int64($0) } ?? 0
        switch (method, parts.count, parts.last) {
        case (.get, 0, _):
            events.waiting(filter) { self.send($0, on: connection) { .object(Self.members($0)) } }
        case (.get, 1, "failed"):
            events.failed(filter) { result in
                self.send(result, on: connection) { failed in
                    .object(
                        Self.members(failed.event) + [
                            ("failed_ms", .number(Double(failed.failed))), ("condition", .text(failed.condition.rawValue)),
                            ("message", .text(failed.message)),
                        ])
                }
            }
        case (.get, 2, "payload"):
            guard let sequence = Int64(parts[0]) else { return Self.noEvent(parts[0], connection) }
            events.payload(of: sequence) { result in
                switch result {
                case .success(let payload?): payload.withUnsafeBytes { connection.respond(200, type: "application/json", $0) }
                case .success(nil): Self.noEvent(parts[0], connection)
                case .failure(let error): Report.fail(500, error.description, on: connection)
                }
            }
        case (.post, 2, "redrive"), (.post, 2, "drop"):
            guard let sequence = Int64(parts[0]) else { return Self.noEvent(parts[0], connection) }
            let done: (Result<Bool, EventQueueError>) -> Void = { result in
                switch result {
                case .success(true): Report.send(.object([("id", .number(Double(sequence)))]), on: connection)
                case .success(false): Self.noEvent(parts[0], connection)
                case .failure(let error): Report.fail(500, error.description, on: connection)
                }
            }
            if parts[1] == "redrive" { events.redrive(sequence, done) } else { events.drop(sequence, done) }
        default: Report.fail(404, "Hearth has no call \(request.text(request.head.path))", on: connection)
        }
    }

    private static func noEvent(_ id: String, _ connection: HTTPConnection) {
        Report.fail(404, "there is no asynchronous event \(id) that this can be done with: see hearth async list", on: connection)
    }

    private func send<T>(_ result: Result<[T], EventQueueError>, on connection: HTTPConnection, _ row: (T) -> Report) {
        switch result {
        case .success(let rows): Report.send(.object([("events", .list(rows.map(row)))]), on: connection)
        case .failure(let error): Report.fail(500, error.description, on: connection)
        }
    }

    private static func members(_ event: QueuedEvent) -> [(String, Report)] {
        [
            ("id", .number(Double(event.sequence))), ("request_id", .text("\(event.id)")), ("function", .text(event.function)),
            ("qualifier", event.qualifier.map { .text($0) } ?? .null), ("source", .text(event.source)),
            ("accepted_ms", .number(Double(event.accepted))), ("due_ms", .number(Double(event.progress.due))),
            ("attempts", .number(Double(event.progress.attempts))), ("refusals", .number(Double(event.progress.refusals))),
        ]
    }
}
