internal import Base
package import UV

/// Carries a body of known length from where it is read, which may take time, to a connection: one piece is read ahead while the other side
/// takes the one before. The head of the answer has been ended by `beginLength`.
///
/// Invariants:
///  1. At most one piece is asked for, and none while one waits.
///  2. Nothing is sent while more than `Limits.unsentBytesMax` wait for the other side.
///
/// Thread rule: the loop's thread; `next` answers on any.
package final class BodyPump: PendingAnswer {
    /// The next bytes; empty at the end, nil when it cannot be read any more.
    package typealias Next = (_ done: @escaping @Sendable ([UInt8]?) -> Void) -> Void

    private let connection: HTTPConnection
    private let loop: Loop
    private let next: Next
    private var waiting: [UInt8]?
    private var isAsking = false
    private var isOver = false

    package init(_ connection: HTTPConnection, _ loop: Loop, next: @escaping Next) {
        self.connection = connection
        self.loop = loop
        self.next = next
    }

    package func start() {
        connection.pending = self
        ask()
    }

    private func ask() {
        guard !isOver, !isAsking, waiting == nil else { return }
        isAsking = true
        let box = LoopBound(self, on: loop)
        next { [remote = loop.remote] bytes in
            remote.post { box.wrapped.came(bytes) }
        }
    }

    private func came(_ bytes: [UInt8]?) {
        isAsking = false
        guard !isOver else { return }
        guard let bytes else {
            // The head is out: only a broken connection tells the other side that these are not the bytes it asked for.
            isOver = true
            return connection.close()
        }
        guard !bytes.isEmpty else {
            isOver = true
            return connection.endLength()
        }
        waiting = bytes
        canWrite()
    }

    package func canWrite() {
        guard !isOver, let bytes = waiting, connection.queuedBytes <= Limits.unsentBytesMax else { return }
        waiting = nil
        bytes.withUnsafeBytes { connection.send($0) }
        ask()
    }

    package func clientWentAway() {
        isOver = true
        waiting = nil
    }
}
