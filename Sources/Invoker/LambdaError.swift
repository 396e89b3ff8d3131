internal import Base
internal import Sandbox

/// The error objects that Lambda itself answers with, when the handler could not (recorded 2025-11-25).
enum LambdaError {
    private static func object(_ type: String, _ message: String) -> [UInt8] {
        // Both come from Hearth and hold nothing that JSON would have to escape.
        Array(#"{"errorType":"\#(type)","errorMessage":"\#(message)"}"#.utf8)
    }

    static func timeout(_ id: RequestID, seconds: Int) -> [UInt8] {
        object("Sandbox.Timedout", "RequestId: \(id) Error: Task timed out after \(seconds).00 seconds")
    }

    static func exit(_ id: RequestID, _ exit: WorkerExit) -> [UInt8] {
        object("Runtime.ExitError", "RequestId: \(id) Error: \(exit.lambdaReason)")
    }

    static func initExit(_ exit: WorkerExit) -> [UInt8] { object("Runtime.ExitError", "Error: \(exit.lambdaReason)") }

    static func initTimeout(seconds: Span) -> [UInt8] {
        object("Sandbox.Timedout", "Error: Init timed out after \(Int(seconds.seconds)).00 seconds")
    }

    static let tooLarge = object(
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
}
