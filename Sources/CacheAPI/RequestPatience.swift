import Base

/// How long the rest of a request is waited for that has begun, in whole seconds (ticks): a time, and longer for as many bytes as come at a
/// pace. Who drips bytes holds no connection by it.
struct RequestPatience {
    private var began: UInt64?

    /// - Parameter bytes: what has come of the request.
    mutating func deadline(of bytes: Int, at tick: UInt64) -> UInt64 {
        let began = began ?? tick
        self.began = began
        // the second that has begun does not count
        return began + 1 + UInt64(Limits.cacheCommandTimeout.seconds) + UInt64(bytes / Limits.cacheRequestBytesPerSecondMin)
    }

    /// A request is complete: the next one has its own time.
    mutating func end() { began = nil }
}
