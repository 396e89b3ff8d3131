internal import Base
package import UV

/// Some bytes of a body.
package protocol BodyPiece: Sendable {
    func withBytes(_ body: (UnsafeRawBufferPointer) -> Void)
}

extension [UInt8]: BodyPiece {
    package func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { withUnsafeBytes { body($0) } }
}

/// Carries a body of known length from where it is read, which may take time, to a connection: one piece is read ahead while the other side
/// takes the one before. The head of the answer has been ended by `beginLength`.
///
/// Invariants:
///  1. At most one piece is asked for, and none while one waits.
///  2. Nothing is sent while more than `Limits.unsentBytesMax` wait for the other side.
///
/// Thread rule: the loop's thread; `next` answers on any.
package final class BodyPump: PendingAnswer {
    /// What comes next of the body.
    package enum Step: Sendable {
        case piece(any BodyPiece)
        case end
        /// It cannot be read any more.
        case broken
    }
    package typealias Next = (_ done: @escaping @Sendable (Step) -> Void) -> Void

    private let connection: HTTPConnection
    private let loop: Loop
    private let next: Next
    private var waiting: (any BodyPiece)?
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
        next { [remote = loop.remote] step in
            remote.post { box.wrapped.came(step) }
        }
    }

    private func came(_ step: Step) {
        isAsking = false
        guard !isOver else { return }
        switch step {
        case .piece(let piece):
            waiting = piece
            canWrite()
        case .end:
            isOver = true
            connection.endLength()
        case .broken:
            // The head is out: only a broken connection tells the other side that these are not the bytes it asked for.
            isOver = true
            connection.close()
        }
    }

    package func canWrite() {
        guard !isOver, let piece = waiting, connection.queuedBytes <= Limits.unsentBytesMax else { return }
        waiting = nil
        // The next is read while this one is sent.
        ask()
        piece.withBytes { connection.send($0) }
    }

    package func clientWentAway() {
        isOver = true
        waiting = nil
    }
}
