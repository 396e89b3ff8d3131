internal import Glibc

/// What a handler is told about its invocation, beside the event.
public struct Context: Sendable {
    /// The id under which the server logs the invocation.
    public let requestID: String
    /// Milliseconds since 1970 at which the invocation is ended.
    public let deadlineEpochMilliseconds: UInt64
    /// The version that runs: a number or `$LATEST`.
    public let functionVersion: String
    /// As it was invoked, with the alias or version if one was given.
    public let invokedFunctionARN: String
    /// The X-Ray header of the caller; empty without one.
    public let traceID: String
    /// The JSON that a client passed beside the event; empty without one.
    public let clientContext: [UInt8]

    public var functionName: String { Self.functionName }
    /// In MB.
    public var memoryLimit: Int { Self.memoryLimit }
    public var logGroup: String { Self.logGroup }
    public var logStream: String { Self.logStream }

    // The same for the whole life of the process.
    private static let functionName = environment("AWS_LAMBDA_FUNCTION_NAME")
    private static let memoryLimit = Int(environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")) ?? 0
    private static let logGroup = environment("AWS_LAMBDA_LOG_GROUP_NAME")
    private static let logStream = environment("AWS_LAMBDA_LOG_STREAM_NAME")

    private static func environment(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }

    /// What is left until the deadline; never negative.
    public var remainingTime: Duration {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let milliseconds = UInt64(now.tv_sec) * 1000 + UInt64(now.tv_nsec) / 1_000_000
        return .milliseconds(deadlineEpochMilliseconds > milliseconds ? deadlineEpochMilliseconds - milliseconds : 0)
    }
}
