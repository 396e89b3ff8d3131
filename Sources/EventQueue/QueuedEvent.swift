package import Base

/// An event that was accepted for later, as it is on disk.
package struct QueuedEvent: Equatable, Sendable {
    /// In the order of acceptance, across restarts.
    package let sequence: Int64
    /// The invocation's id, the same for each attempt.
    package let id: RequestID
    package let function: String
    /// As the client wrote it; nil: none.
    package let qualifier: String?
    /// Milliseconds since 1970.
    package let accepted: Int64
    package var progress: EventProgress
    /// Where it came from, in a word: `invoke`, `destination`, `s3`, `schedule`.
    package let source: String

    package init(
        sequence: Int64, id: RequestID, function: String, qualifier: String?, accepted: Int64, progress: EventProgress, source: String
    ) {
        self.sequence = sequence
        self.id = id
        self.function = function
        self.qualifier = qualifier
        self.accepted = accepted
        self.progress = progress
        self.source = source
    }
}

/// How far an event has come.
package struct EventProgress: Equatable, Sendable {
    /// Milliseconds since 1970 before which it is not tried (again).
    package var due: Int64
    /// Attempts that ran and failed.
    package var attempts = 0
    /// Refusals since the last attempt that ran: throttles and faults of the node.
    package var refusals = 0

    package init(due: Int64, attempts: Int = 0, refusals: Int = 0) {
        self.due = due
        self.attempts = attempts
        self.refusals = refusals
    }
}

/// An event on its way into the queue.
package struct NewEvent: Sendable {
    package let id: RequestID
    package let function: String
    package let qualifier: String?
    /// JSON.
    package let payload: [UInt8]
    package let accepted: Int64
    package let due: Int64
    package let source: String

    package init(
        id: RequestID, function: String, qualifier: String?, payload: [UInt8], accepted: Int64, due: Int64? = nil, source: String = "invoke"
    ) {
        self.id = id
        self.function = function
        self.qualifier = qualifier
        self.payload = payload
        self.accepted = accepted
        self.due = due ?? accepted
        self.source = source
    }
}

/// An event that will not be tried again unless somebody says so.
package struct FailedEvent: Equatable, Sendable {
    package let event: QueuedEvent
    /// Milliseconds since 1970.
    package let failed: Int64
    package let condition: FailureCondition
    /// What the last attempt said.
    package let message: String
}

/// Why an event was given up (Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations").
package enum FailureCondition: String, Sendable {
    case retriesExhausted = "RetriesExhausted"
    case eventAgeExceeded = "EventAgeExceeded"
    case zeroReservedConcurrency = "ZeroReservedConcurrency"
    /// The function or its qualifier is gone (Hearth's own).
    case functionNotFound = "FunctionNotFound"
}

package enum EventQueueError: Error, CustomStringConvertible {
    case storage(String)
    case full(Int)

    package var description: String {
        switch self {
        case .storage(let text): text
        case .full(let most): "the queue of asynchronous events holds \(most), which is all that it may: let functions catch up, or drop some"
        }
    }
}

extension Limits {
    /// Events in the queue of the node, failed ones not counted.
    package static let queuedEventsMax = 1_000_000
    /// An event of an asynchronous invocation (Lambda quota, 2025).
    package static let queuedEventBytesMax = 1_048_576
    /// Failed events that are kept; the oldest go.
    package static let failedEventsMax = 10_000
    package static let failedEventDaysMax = 14
    /// Changes that are written in one transaction at the most.
    package static let eventBatchMax = 256
}
