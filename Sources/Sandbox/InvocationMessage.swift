package import Base

/// One invocation as it goes to a worker: built once, by the door that took it, straight from the request's bytes.
///
/// It is laid out as the frame that the bundled clients read (all numbers little-endian):
///
///     u32 length of the rest │ u8 1 │ request id, 36 characters │ u64 deadline, epoch ms │ u8 length of version │
///     u16 of invoked ARN │ u16 of trace id │ u32 of client context │ version │ ARN │ trace id │ context │ event
///
/// so that sending is one write and the client reads all lengths at once. The Runtime API takes the same parts from it.
package final class InvocationMessage {
    package let id: RequestID
    package let frame: ByteBuffer
    let functionARN: Range<Int>
    let traceID: Range<Int>
    let clientContext: Range<Int>
    private let eventStart: Int

    private static let deadlineOffset = 4 + 1 + 36

    /// Begins the message; the event's bytes are then appended to `frame`, and `seal` ends it.
    package init(
        id: RequestID, version: UnsafeRawBufferPointer, functionARN arn: UnsafeRawBufferPointer,
        traceID trace: UnsafeRawBufferPointer, clientContext context: UnsafeRawBufferPointer, eventBytes: Int
    ) {
        self.id = id
        frame = ByteBuffer(capacity: 128 + arn.count + trace.count + context.count + eventBytes)
        frame.append(littleEndian: UInt32(0))
        frame.append(FrameKind.invoke.rawValue)
        frame.append(id)
        frame.append(littleEndian: UInt64(0))
        // The doors bound all four far below what their lengths can hold.
        frame.append(UInt8(version.count))
        frame.append(littleEndian: UInt16(arn.count))
        frame.append(littleEndian: UInt16(trace.count))
        frame.append(littleEndian: UInt32(context.count))
        frame.append(version)
        functionARN = frame.count..<frame.count + arn.count
        frame.append(arn)
        traceID = frame.count..<frame.count + trace.count
        frame.append(trace)
        clientContext = frame.count..<frame.count + context.count
        frame.append(context)
        eventStart = frame.count
    }

    package var event: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: frame.bytes[eventStart...]) }

    func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: frame.bytes[range]) }

    /// The end of the request id, by which a marked answer says whose it is.
    var mark: UInt64 { frame.bytes.loadUnaligned(fromByteOffset: Self.deadlineOffset - 8, as: UInt64.self) }

    /// Milliseconds since 1970 at which the invocation times out.
    private(set) var deadline: UInt64 = 0

    /// Ends the message for sending.
    package func seal(deadlineEpochMilliseconds deadline: UInt64) {
        self.deadline = deadline
        frame.overwrite(at: 0, littleEndian: UInt32(frame.count - 4))
        frame.overwrite(at: Self.deadlineOffset, littleEndian: deadline)
    }
}

/// Kinds of frames. A frame is a u32 length of what follows (little-endian), one of these bytes, and the rest.
enum FrameKind: UInt8 {
    /// To the worker: an invocation.
    case invoke = 1
}

/// Kinds of frames that a worker sends.
enum WorkerFrameKind: UInt8 {
    /// u64 ns at the client's first line, u64 at import's begin, u64 at its end, u32 peak KiB, u16 threads.
    case ready = 1
    /// JSON error; the worker exits after it.
    case initFailed = 2
    /// u32 peak KiB, JSON result. The worker is free.
    case answer = 3
    /// u32 peak KiB, JSON error. The worker is free.
    case failure = 4
    /// As `failure`, but the worker exits after it and must not be given another invocation.
    case lastFailure = 5
    /// u32 peak KiB, the last 8 characters of the request id, JSON result. The worker is free. For clients whose process may
    /// be forked by the handler: the child may come back from the handler too, and its answer would be the next invocation's.
    case markedAnswer = 6
    /// The same with a JSON error.
    case markedFailure = 7
    /// The last 8 characters of the request id, a media type: the answer comes in pieces. An answer without a result ends it, or a
    /// failure breaks it off.
    case streamBegin = 8
    /// The same 8 characters, the next piece.
    case streamPiece = 9
}
