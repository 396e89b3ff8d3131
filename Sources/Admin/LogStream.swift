internal import Base
internal import Invoker
internal import Net

/// Sends a function's log as text or as one JSON object a record, and goes on as it grows when asked to follow.
///
/// A reader that is slower than the log loses the oldest records, never the server's memory: nothing is queued for it
/// beyond what the connection already holds.
final class LogStream: PendingAnswer {
    private static let queuedBytesMax = 1024 * 1024

    private let log: FunctionLog
    private let connection: HTTPConnection
    private let follows: Bool
    private let coldOnly: Bool
    private let isJSON: Bool
    private let last: Int?
    private var next: UInt64 = 0
    private var followerID: UInt64?

    init(_ log: FunctionLog, _ connection: HTTPConnection, follows: Bool, coldOnly: Bool, isJSON: Bool, last: Int?) {
        self.log = log
        self.connection = connection
        self.follows = follows
        self.coldOnly = coldOnly
        self.isJSON = isJSON
        self.last = last
    }

    func begin() {
        connection.begin(200)
        connection.output.append(isJSON ? "Content-Type: application/x-ndjson\r\n" : "Content-Type: text/plain; charset=utf-8\r\n")
        connection.output.append("Cache-Control: no-store\r\n")
        connection.beginChunks()
        if let last, log.nextSequence > UInt64(last) { next = log.nextSequence - UInt64(last) }
        sendNew()
        guard follows else { return connection.endChunks() }
        connection.pending = self
        followerID = log.follow { [weak self] in self?.sendNew() }
    }

    private func sendNew() {
        guard connection.queuedBytes < Self.queuedBytesMax else { return }
        let (records, next) = log.records(from: next)
        self.next = next
        guard !records.isEmpty else { return }
        let text = ByteBuffer(capacity: 4096)
        if coldOnly {
            // The REPORT of a cold start is its last record: all with its id belong to it.
            let cold = Set(
                records.compactMap { record -> RequestID? in
                    if case .end(let report) = record.kind, report.initDuration != nil { return record.id }
                    return nil
                })
            for record in records where record.id.map({ cold.contains($0) }) == true { write(record, to: text) }
        } else {
            for record in records { write(record, to: text) }
        }
        connection.chunk(text.bytes)
    }

    private func write(_ record: LogRecord, to text: ByteBuffer) {
        guard isJSON else { return record.render(to: text) }
        var members: [(String, Report)] = [
            ("time_ms", .number(Double(record.epochMilliseconds))),
            ("request_id", record.id.map { .text("\($0)") } ?? .null), ("version", .text(record.version)),
        ]
        switch record.kind {
        case .start: members.append(("kind", .text("start")))
        case .output(let bytes):
            members += [("kind", .text("output")), ("text", .text(String(decoding: bytes, as: UTF8.self)))]
        case .note(let note): members += [("kind", .text("note")), ("text", .text(note))]
        case .end(let report):
            members += [
                ("kind", .text("end")), ("status", .text(report.status.rawValue)),
                ("duration_ms", .number(report.duration.milliseconds)),
                ("init_ms", report.initDuration.map { .number($0.milliseconds) } ?? .null),
                ("cold_reason", report.coldReason.map { .text($0) } ?? .null),
                ("memory_mb", .number(Double(report.memoryMegabytes))), ("peak_kib", .number(Double(report.peakKiB))),
            ]
        }
        Report.object(members).write(to: text)
        text.append("\n")
    }

    func clientWentAway() {
        if let followerID { log.unfollow(followerID) }
    }
}
