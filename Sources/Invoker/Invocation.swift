package import Base
package import Catalog
package import Sandbox

/// How the worker of an invocation came to be there.
package enum StartKind: String, Sendable {
    /// It had served before, or was waiting initialised on demand.
    case warm
    /// The invocation waited for a fork of the version's initialised process.
    case fork
    /// The invocation waited for the init of a new process.
    case exec
    /// First use of a worker that provisioned concurrency had initialised ahead.
    case provisioned

    package var bytes: StaticString {
        switch self {
        case .warm: "warm"
        case .fork: "fork"
        case .exec: "exec"
        case .provisioned: "provisioned"
        }
    }
}

/// Why an invocation was refused; nothing of it has run.
package enum Refusal: Equatable, Sendable {
    /// The function's reserved concurrency is in use.
    case reservedConcurrency
    /// The account's unreserved concurrency is in use.
    case accountConcurrency
    /// The version's queue is full, or the wait in it was too long.
    case queueFull, waitedTooLong
    /// The version cannot be run: a sentence for people.
    case cannotStart(String)
    /// Hearth is stopping.
    case stopping

    /// `Reason` of TooManyRequestsException.
    package var throttleReason: String? {
        switch self {
        case .reservedConcurrency: "ReservedFunctionConcurrentInvocationLimitExceeded"
        case .accountConcurrency, .queueFull, .waitedTooLong: "ConcurrentInvocationLimitExceeded"
        case .cannotStart, .stopping: nil
        }
    }
}

/// How an invocation ended.
package struct InvocationOutcome {
    package enum Kind {
        /// `payload` is the handler's result.
        case result
        /// `payload` is Lambda's error object: the handler's own, or Hearth's for a timeout, an exit, a failed init.
        case functionError
        case refused(Refusal)
    }

    package let kind: Kind
    /// Valid during the call only.
    package let payload: UnsafeRawBufferPointer
    package var queue = Span.zero
    /// The init that the invocation waited for, or zero.
    package var initTime = Span.zero
    package var run = Span.zero
    package var start = StartKind.warm
    /// The invocation's own log, when it was asked for.
    package var logTail: ByteBuffer?
    package var memo = MemoStatus.none
    /// `payload` is in the form in which the door stores results (`ResultForm`).
    package var isRendered = false
    /// The handler has begun its answer and not ended it: `run` is not known yet.
    package var isUnderWay = false
}

/// Who brought an invocation and waits for its end.
package protocol InvocationClient: AnyObject {
    /// Called once, on the loop's thread.
    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome)

    /// The handler answers in pieces. Who takes them; nil: they are collected, and `finished` gets them whole.
    func begins(_ invocation: Invocation, _ stream: ResponseStream) -> (any ResponseStreamTaker)?
}

extension InvocationClient {
    package func begins(_ invocation: Invocation, _ stream: ResponseStream) -> (any ResponseStreamTaker)? { nil }
}

/// One event on its way to an answer.
package final class Invocation {
    package let function: FunctionEntry
    package let resolution: Resolution
    package let message: InvocationMessage
    package let arrived: Moment
    /// Collect the invocation's log (`LogType=Tail`)?
    package let wantsLogTail: Bool
    private let client: any InvocationClient
    /// What it is to the store of results; nil: its function is not memoized.
    package var ticket: MemoTicket?
    /// Of what makes it equal to others, while its function is not memoized; 0: nothing is learnt from it.
    package var adviceHash: UInt64 = 0
    var advised: CacheAdvice.Subject?

    // Set by the invoker as it goes.
    var dispatched = Moment.zero
    var start = StartKind.warm
    var initTime = Span.zero
    var coldReason: String?
    var logTail: ByteBuffer?
    var isSpillover = false
    var countsAsUnreserved = false
    /// It counts as one that provisioned concurrency serves; else as on-demand.
    var takesProvisioned = false
    /// Its worker has answered it: what it ends with is the handler's own.
    var isAnswered = false
    /// Its worker ended under it, by itself or by somebody's hand.
    var isLost = false
    /// Its answer, when that comes in pieces.
    var stream: ResponseStream?

    package init(
        function: FunctionEntry, resolution: Resolution, message: InvocationMessage, arrived: Moment,
        wantsLogTail: Bool = false, client: any InvocationClient
    ) {
        self.client = client
        self.function = function
        self.resolution = resolution
        self.message = message
        self.arrived = arrived
        self.wantsLogTail = wantsLogTail
    }

    package var id: RequestID { message.id }
    package var version: VersionEntry { resolution.version }

    func finished(_ outcome: InvocationOutcome) {
        if let ticket { return ticket.memo.finished(self, ticket, outcome) }
        advised?.result(adviceHash, outcome, at: arrived)
        answer(outcome)
    }

    func answer(_ outcome: InvocationOutcome) { client.finished(self, outcome) }

    func begin(_ stream: ResponseStream) {
        self.stream = stream
        // What may be stored must be had whole.
        if let ticket { stream.collect(forHTTP: ticket.form != nil) } else { stream.taker = client.begins(self, stream) }
    }
}
