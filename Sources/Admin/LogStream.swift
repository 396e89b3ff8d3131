internal import Base
internal import Invoker
internal import Net

/// Sends a function's log as text, and goes on as it grows when asked to follow.
///
/// A reader that is slower than the log loses the oldest records, never the server's memory: nothing is queued for it
/// beyond what the connection already holds.
final class LogStream: PendingAnswer {
    private static let queuedBytesMax = 1024 * 1024

    private let log: FunctionLog
    private let connection: HTTPConnection
    private let follows: Bool
    private let coldOnly: Bool
    private let last: Int?
    private var next: UInt64 = 0
    private var followerID: UInt64?

    init(_ log: FunctionLog, _ connection: HTTPConnection, follows: Bool, coldOnly: Bool, last: Int?) {
        self.log = log
        self.connection = connection
        self.follows = follows
        self.coldOnly = coldOnly
        self.last = last
    }

    func begin() {
        connection.begin(200)
        connection.output.append("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n")
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
            for record in records where record.id.map({ cold.contains($0) }) == true { record.render(to: text) }
        } else {
            for record in records { record.render(to: text) }
        }
        connection.chunk(text.bytes)
    }

    func clientWentAway() {
        if let followerID { log.unfollow(followerID) }
    }
}
