internal import Base
package import HTTP

/// Why an origin gave no whole answer.
package enum OriginFailure: Error, Equatable, Sendable {
    /// No connection to it could be made.
    case unreachable(String)
    /// The connection broke, or what came is no HTTP.
    case broken(String)
    /// Nothing came for too long.
    case timedOut
}

/// Who asked an origin. Called on the loop's thread; after `ended` or `failed` no more.
package protocol AnswerReceiver: AnyObject {
    /// The exchange has a connection: a streamed body may be written.
    func began()
    /// The head of the answer; `bytes` are those that its ranges count in, gone when this returns.
    func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer)
    /// The next bytes of the answer's body, gone when this returns. `HTTPExchange.pause` holds the origin back.
    func received(_ bytes: UnsafeRawBufferPointer)
    func ended()
    func failed(_ failure: OriginFailure)
    /// All that was written of a streamed body has left.
    func bodyHasLeft()
}

extension AnswerReceiver {
    package func began() {}
    package func bodyHasLeft() {}
}

/// Bytes outside Swift's arrays that are sent as they are, maybe more than once.
package final class SendBuffer {
    private let base: UnsafeMutableRawPointer
    package let capacity: Int
    package private(set) var count = 0

    package init(capacity: Int) {
        self.capacity = capacity
        base = .allocate(byteCount: max(1, capacity), alignment: 16)
    }

    deinit { base.deallocate() }

    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
    package var isFull: Bool { count == capacity }

    /// Takes as many of the bytes as fit; returns how many.
    package func append(_ bytes: UnsafeRawBufferPointer) -> Int {
        let taken = min(capacity - count, bytes.count)
        if taken > 0, let from = bytes.baseAddress { (base + count).copyMemory(from: from, byteCount: taken) }
        count += taken
        return taken
    }
}

/// One request to an origin and its answer.
///
/// Thread rule: the loop's thread.
package final class HTTPExchange {
    package enum Body {
        case none
        /// Known whole: it is sent again when a kept connection turns out to be dead.
        case whole(SendBuffer)
        /// Written by the receiver from `began` on, exactly as long as the head says.
        case streamed
    }

    /// With the empty line.
    let head: [UInt8]
    let isHead: Bool
    let body: Body
    /// How often it may be begun in all: more than once only for what may be done twice.
    let attemptsMax: Int
    var attempts = 0
    var receiver: (any AnswerReceiver)?
    weak var connection: HTTPClientConnection?
    var isPaused = false

    package init(head: [UInt8], isHead: Bool = false, body: Body = .none, attemptsMax: Int = 1, receiver: any AnswerReceiver) {
        self.head = head
        self.isHead = isHead
        self.body = body
        self.attemptsMax = attemptsMax
        self.receiver = receiver
    }

    package var isOver: Bool { receiver == nil }

    /// The next bytes of a streamed body.
    package func write(_ bytes: UnsafeRawBufferPointer) { connection?.write(bytes, of: self) }

    /// The whole streamed body has been written.
    package func finishWriting() { connection?.finishWriting(of: self) }

    /// Bytes that were written and have not left.
    package var queuedBytes: Int { connection?.queuedBytes ?? 0 }

    /// Reads no more of the answer than one read's worth.
    package func pause() {
        isPaused = true
        connection?.pauseReading()
    }

    package func resume() {
        guard isPaused else { return }
        isPaused = false
        connection?.resumeReading()
    }

    /// Nobody wants the answer any more: the receiver hears nothing, and the connection ends.
    package func cancel() {
        receiver = nil
        connection?.close()
    }
}
