internal import Base
internal import EventQueue
internal import HTTP

/// What a function is told when its schedule ticks: the event of EventBridge Scheduler, or the schedule's own input with the scheduler's
/// words filled in (its User Guide, "Adding context attributes").
struct ScheduledEvent {
    let row: ScheduleRow
    /// The tick's time, milliseconds since 1970.
    let tick: Int64
    let id: RequestID
    let region: String
    let account: String

    private var arn: String { "arn:aws:scheduler:\(region):\(account):schedule/default/\(row.function)-\(row.name)" }

    private var time: String {
        let time = UTCTime(epochSeconds: UInt64(max(0, tick) / 1000))
        return "\(time.date)T\(time.time)Z"
    }

    var payload: [UInt8] {
        if let input = row.input { return Array(filled(input).utf8) }
        let out = ByteBuffer(capacity: 512)
        out.append(#"{"version":"0","id":"\#(id)","detail-type":"Scheduled Event","source":"aws.scheduler","account":"#)
        out.append(jsonString: account)
        out.append(#","time":"\#(time)","region":"#)
        out.append(jsonString: region)
        out.append(#","resources":["#)
        out.append(jsonString: arn)
        // A text, not an object: so does AWS.
        out.append(#"],"detail":"{}"}"#)
        return Array(out.bytes)
    }

    private func filled(_ input: String) -> String {
        [
            ("<aws.scheduler.schedule-arn>", arn), ("<aws.scheduler.scheduled-time>", time), ("<aws.scheduler.execution-id>", "\(id)"),
            ("<aws.scheduler.attempt-number>", "1"),
        ].reduce(input) { $0.replacing($1.0, with: $1.1) }
    }
}
