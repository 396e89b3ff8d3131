internal import Dispatch
internal import Synchronization

/// Where the background work stands.
struct CareState: Sendable {
    var accessesFlushed: Int64 = 0
}

extension ObjectStore {
    /// Runs background work on its own queue.
    func inBackground<T: Sendable>(_ done: @escaping Done<T>, _ work: @escaping @Sendable () throws -> T) {
        careQueue.async { done(Result { try work() }.mapError { $0 as? ObjectsError ?? .storage("\($0)") }) }
    }

    /// Submits an order and waits for its commit; for the care queue only.
    func commitNow<T: Sendable>(_ work: @escaping (Transaction) throws -> T) throws -> T {
        let isDone = DispatchSemaphore(value: 0)
        let answer = Mutex<Result<T, ObjectsError>>(.failure(.aborted))
        meta.submit({ result in
            answer.withLock { $0 = result }
            isDone.signal()
        }, work)
        isDone.wait()
        return try answer.withLock { $0 }.get()
    }

    /// Puts on disk what was read when.
    func flushAccesses() {}
}
