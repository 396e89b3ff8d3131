internal import Foundation
internal import Synchronization

/// Runs `body` for 0..<count, `lanes` at a time, each lane on a thread of its own with a connection that it keeps. The first failure ends
/// all: those under way come to their end, no other begins.
func inLanes(
    _ lanes: Int, _ count: Int, _ body: @escaping @Sendable (Int, ClientLane) throws(ClientError) -> Void
) throws(ClientError) {
    let next = Mutex(0)
    try inLanes(min(lanes, count)) { (lane) throws(ClientError) in
        let index = next.withLock { next in
            defer { next += 1 }
            return next
        }
        guard index < count else { return false }
        try body(index, lane)
        return true
    }
}

/// The same without a known number: a lane goes on as long as `body` says so.
func inLanes(_ lanes: Int, _ body: @escaping @Sendable (ClientLane) throws(ClientError) -> Bool) throws(ClientError) {
    let failure = Mutex<ClientError?>(nil)
    let group = DispatchGroup()
    for _ in 0..<lanes {
        group.enter()
        Thread.detachNewThread {
            let lane = ClientLane()
            do throws(ClientError) {
                while failure.withLock({ $0 == nil }), try body(lane) {}
            } catch { failure.withLock { $0 = $0 ?? error } }
            group.leave()
        }
    }
    group.wait()
    if let error = failure.withLock({ $0 }) { throw error }
}

/// Memory for one part; goes with its last reference.
///
/// Thread rule: one thread, then another.
final class PartBuffer: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let capacity: Int
    var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        base = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit { base.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Fills up to `most` bytes by `read`, which answers what `read(2)` does; false: there were fewer.
    func fill(upTo most: Int, _ read: (UnsafeMutableRawPointer, _ room: Int, _ at: Int) -> Int) throws(ClientError) -> Bool {
        while count < most {
            let got = read(base + count, most - count, count)
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .local(String(cString: strerror(errno))) }
            if got == 0 { return false }
            count += got
        }
        return true
    }
}
