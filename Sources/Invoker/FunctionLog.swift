package import Base
internal import Catalog

/// One entry of a function's log.
package struct LogRecord: Sendable {
    package enum Kind: Sendable {
        case start
        /// Bytes that the worker wrote, as they came.
        case output([UInt8])
        case end(LogReport)
        /// A line of Hearth's own about the function's workers.
        case note(String)
    }

    package let epochMilliseconds: UInt64
    /// The invocation that it belongs to; nil: written outside of one, as in an init.
    package let id: RequestID?
    /// `$LATEST` or a version number.
    package let version: String
    package let kind: Kind
}

/// What a REPORT line says.
package struct LogReport: Sendable {
    package var duration: Span
    package var memoryMegabytes: Int
    package var peakKiB: UInt32
    /// Set on a cold start.
    package var initDuration: Span?
    package var coldReason: String?
    package var status: Status

    package enum Status: String, Sendable { case success, error, timeout }

    package init(
        duration: Span, memoryMegabytes: Int, peakKiB: UInt32, initDuration: Span?, coldReason: String?, status: Status
    ) {
        self.duration = duration
        self.memoryMegabytes = memoryMegabytes
        self.peakKiB = peakKiB
        self.initDuration = initDuration
        self.coldReason = coldReason
        self.status = status
    }
}

/// The last records of one function, bounded in number and in bytes of output.
///
/// Records are kept as values and turned into Lambda's lines only when somebody reads them. Each has a sequence number,
/// so a reader that follows asks for what came after the last one that it saw.
package final class FunctionLog {
    private var records: [LogRecord] = []
    /// Where the oldest record lies in `records` once that is full.
    private var oldest = 0
    private var outputBytes = 0
    private let recordsMax: Int
    /// Bytes of output that are kept; less takes effect with the next output.
    package var outputBytesMax: Int
    /// The sequence number that the next record gets.
    package private(set) var nextSequence: UInt64 = 0
    private var followers: [UInt64: () -> Void] = [:]
    private var nextFollower: UInt64 = 0

    package init(recordsMax: Int = 8192, outputBytesMax: Int = Limits.logBytesPerFunction) {
        self.recordsMax = recordsMax
        self.outputBytesMax = outputBytesMax
    }

    package func append(_ record: LogRecord) {
        if case .output(let bytes) = record.kind { outputBytes += bytes.count }
        if records.count < recordsMax {
            records.append(record)
        } else {
            forget(records[oldest])
            records[oldest] = record
            oldest = oldest + 1 == recordsMax ? 0 : oldest + 1
        }
        nextSequence += 1
        if outputBytes > outputBytesMax { shrink() }
        if !followers.isEmpty { for follower in followers.values { follower() } }
    }

    /// Tells the function's author something about one of its invocations.
    package func note(_ text: String, _ id: RequestID, version: String, epochMilliseconds: UInt64) {
        append(LogRecord(epochMilliseconds: epochMilliseconds, id: id, version: version, kind: .note(text)))
    }

    /// Calls `body` after each record from now on, until `unfollow`.
    package func follow(_ body: @escaping () -> Void) -> UInt64 {
        nextFollower += 1
        followers[nextFollower] = body
        return nextFollower
    }

    package func unfollow(_ id: UInt64) { followers[id] = nil }

    private func forget(_ record: LogRecord) {
        if case .output(let bytes) = record.kind { outputBytes -= bytes.count }
    }

    /// Drops the oldest until the output fills half of its limit: rare, and linear then. The newest stays, however long.
    private func shrink() {
        var ordered = inOrder[...]
        while outputBytes > outputBytesMax / 2, ordered.count > 1 { forget(ordered.removeFirst()) }
        records = Array(ordered)
        oldest = 0
    }

    private var inOrder: [LogRecord] { Array(records[oldest...] + records[..<oldest]) }

    /// Records from `sequence` on that are still held, and the number to ask from next.
    package func records(from sequence: UInt64) -> (records: [LogRecord], next: UInt64) {
        let first = nextSequence - UInt64(records.count)
        let skipped = sequence > first ? Int(min(sequence - first, UInt64(records.count))) : 0
        return (Array(inOrder.dropFirst(skipped)), nextSequence)
    }
}

extension LogRecord {
    /// Appends the record as Lambda writes it: START, the output, END and REPORT lines (tab separated).
    package func render(to out: ByteBuffer) {
        switch kind {
        case .start:
            if let id { LogLines.start(id, version, to: out) }
        case .output(let bytes):
            out.append(bytes)
            if bytes.last != UInt8(ascii: "\n") { out.append(UInt8(ascii: "\n")) }
        case .end(let report):
            if let id { LogLines.end(id, report, to: out) }
        case .note(let text):
            out.append("HEARTH ")
            out.append(text)
            out.append(UInt8(ascii: "\n"))
        }
    }
}

/// Lambda's log lines.
package enum LogLines {
    package static func start(_ id: RequestID, _ version: String, to out: ByteBuffer) {
        out.append("START RequestId: ")
        out.append(id)
        out.append(" Version: ")
        out.append(version)
        out.append(UInt8(ascii: "\n"))
    }

    package static func end(_ id: RequestID, _ report: LogReport, to out: ByteBuffer) {
        out.append("END RequestId: ")
        out.append(id)
        out.append("\nREPORT RequestId: ")
        out.append(id)
        out.append("\tDuration: ")
        out.append(milliseconds: report.duration)
        out.append(" ms\tBilled Duration: ")
        out.append(decimal: (report.duration.nanoseconds + 999_999) / 1_000_000)
        out.append(" ms\tMemory Size: ")
        out.append(decimal: report.memoryMegabytes)
        out.append(" MB\tMax Memory Used: ")
        out.append(decimal: (UInt64(report.peakKiB) + 1023) / 1024)
        out.append(" MB\t")
        if let initDuration = report.initDuration {
            out.append("Init Duration: ")
            out.append(milliseconds: initDuration)
            out.append(" ms\t")
        }
        if report.status != .success {
            out.append("Status: ")
            out.append(report.status.rawValue)
            out.append(UInt8(ascii: "\t"))
        }
        out.append(UInt8(ascii: "\n"))
    }
}
