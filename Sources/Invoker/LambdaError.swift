internal import Base
internal import Sandbox

/// How an init failed.
enum InitFault {
    /// With the error object that the function's client sent.
    case reported([UInt8])
    case exit(WorkerExit)
    case timeout(Span)
}

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

    /// - Parameter id: of the invocation that is answered; nil when a deployment is.
    static func initFault(_ fault: InitFault, _ id: RequestID?) -> [UInt8] {
        let who = id.map { "RequestId: \($0) " } ?? ""
        switch fault {
        case .reported(let error): return error
        case .exit(let exit): return object("Runtime.ExitError", "\(who)Error: \(exit.lambdaReason)")
        case .timeout(let limit): return object("Sandbox.Timedout", "\(who)Error: Init timed out after \(Int(limit.seconds)).00 seconds")
        }
    }

    static let tooLarge = object(
        "Function.ResponseSizeTooLarge",
        "Response payload size exceeded maximum allowed payload size (6291556 bytes).")
}
