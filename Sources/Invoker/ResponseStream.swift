internal import Base
internal import HTTP
package import Sandbox

/// Takes an answer that comes in pieces. Its end is the client's `finished`: a result without a payload, or the error that broke it off.
package protocol ResponseStreamTaker: AnyObject {
    /// The next piece; gone when this returns.
    func took(_ bytes: UnsafeRawBufferPointer)
}

/// An answer that comes in pieces, from its first byte to its last.
///
///     worker ──piece──▶ taker (a door that passes it on)            pause ◀── the reader is slow
///                  └──▶ collected, if nobody takes pieces
///
/// Thread rule: the loop's thread.
package final class ResponseStream {
    /// A media type, as the worker gave it; empty: it gave none.
    package let type: [UInt8]
    /// How the invocation began.
    package let outcome: InvocationOutcome
    private let worker: Worker
    var taker: (any ResponseStreamTaker)?
    private(set) var collected = ByteBuffer(capacity: 0)
    private var bytes = 0
    private var isPaused = false

    init(type: UnsafeRawBufferPointer, worker: Worker, outcome: InvocationOutcome) {
        self.type = Array(type)
        self.worker = worker
        self.outcome = outcome
    }

    /// Its body begins with status, headers and cookies.
    package var isHTTP: Bool { type.elementsEqual(streamedResponseType.utf8) }

    /// More came than may: what is over it is thrown away.
    var isTooLarge: Bool { bytes > (taker == nil ? Limits.eventBytesMax : Limits.streamedBytesMax) }

    /// It is to be had whole; a door for HTTP finds its media type before it.
    func collect(forHTTP: Bool) {
        guard forHTTP, !isHTTP, !type.isEmpty else { return }
        collected.append("{\"headers\":{\"content-type\":")
        type.withUnsafeBytes { collected.append(jsonString: $0) }
        collected.append("}}")
        collected.append([UInt8](repeating: 0, count: 8))
    }

    func took(_ piece: UnsafeRawBufferPointer) {
        bytes += piece.count
        if isTooLarge {
            collected.clear()
        } else if let taker {
            taker.took(piece)
        } else {
            collected.append(piece)
        }
    }

    /// Reads no more of the answer, so that its worker waits.
    package func pause() {
        guard !isPaused else { return }
        isPaused = true
        worker.pauseStream()
    }

    package func resume() {
        guard isPaused else { return }
        isPaused = false
        worker.resumeStream()
    }
}

/// A worker of the pool answers in pieces.
extension VersionPool {
    package func workerStreams(_ worker: Worker, type: UnsafeRawBufferPointer) {
        guard let slot = slots[worker.tag], let invocation = slot.call, !slot.isTimedOut else { return }
        var outcome = outcome(of: invocation, .result, UnsafeRawBufferPointer(start: nil, count: 0))
        outcome.isUnderWay = true
        invocation.begin(ResponseStream(type: type, worker: worker, outcome: outcome))
    }

    package func workerStreamed(_ worker: Worker, _ bytes: UnsafeRawBufferPointer) {
        guard let slot = slots[worker.tag], !slot.isTimedOut else { return }
        slot.call?.stream?.took(bytes)
    }
}
