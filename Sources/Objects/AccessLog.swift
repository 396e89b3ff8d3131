internal import Synchronization

/// When bodies were last read, in memory until the next flush: never a write for a read.
///
/// Thread rule: any thread.
final class AccessLog: Sendable {
    /// Beyond it the oldest knowledge is lost: an object may look unread since its last flush.
    private static let bodiesMax = 65_536

    struct Access: Sendable {
        var time: Int64
        var hits: Int
        /// Of a body in the cold tier: it may have to come back.
        var isCold: Bool
        /// So many reads bring it back; nil: none do (its storage class is a cold one).
        var promoteAfter: Int?
    }

    private let accesses = Mutex<[Int64: Access]>([:])

    func record(_ body: Int64, at time: Int64, isCold: Bool, promoteAfter: Int?) {
        accesses.withLock { accesses in
            guard accesses.count < Self.bodiesMax || accesses[body] != nil else { return }
            accesses[body, default: Access(time: time, hits: 0, isCold: isCold, promoteAfter: promoteAfter)].hits += 1
            accesses[body]?.time = time
        }
    }

    func drain() -> [Int64: Access] {
        accesses.withLock { accesses in
            defer { accesses = [:] }
            return accesses
        }
    }

    var hasCold: Bool { accesses.withLock { $0.values.contains { $0.isCold } } }
}
