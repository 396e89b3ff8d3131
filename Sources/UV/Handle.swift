internal import CUV

/// A libuv handle with Swift ownership.
///
///     init ──▶ open ──close()──▶ closing ──(libuv's close callback)──▶ closed ──▶ deinit
///
/// Invariants:
///  1. libuv holds one strong reference from a successful init to its close callback, so a handle that nobody in
///     Swift holds lives until libuv is done with it.
///  2. The memory of the handle is freed only when closed (`deinit` traps otherwise).
///  3. After `close()` no callback but the close callback runs.
///
/// Thread rule: the loop's thread only.
package class Handle {
    private enum State { case open, closing, closed }

    private let memory: UnsafeMutableRawPointer
    package unowned let loop: Loop
    private var state = State.closed
    private var onClosed: (() -> Void)?

    init(
        loop: Loop, type: uv_handle_type, doing: StaticString,
        _ initialize: (UnsafeMutablePointer<uv_loop_t>, UnsafeMutableRawPointer) -> CInt
    ) throws(UVError) {
        memory = .allocate(byteCount: uv_handle_size(type), alignment: 16)
        self.loop = loop
        let status = initialize(loop.raw, memory)
        // A failed init needs no close (libuv, handle documentation).
        if status < 0 { throw UVError(code: status, doing: doing) }
        state = .open
        raw.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    deinit {
        precondition(state == .closed, "a handle was freed while libuv still knows it")
        memory.deallocate()
    }

    var raw: UnsafeMutablePointer<uv_handle_t> { memory.assumingMemoryBound(to: uv_handle_t.self) }

    func pointer<T>(_: T.Type) -> UnsafeMutablePointer<T> { memory.assumingMemoryBound(to: T.self) }

    package var isOpen: Bool { state == .open }

    /// A handle that is not referenced does not keep the loop running.
    package func unreference() { uv_unref(raw) }

    /// Ends the handle; harmless when it is closing already. `onClosed` runs after libuv has let go.
    package func close(_ onClosed: (() -> Void)? = nil) {
        guard state == .open else { return }
        state = .closing
        self.onClosed = onClosed
        willClose()
        uv_close(raw) { raw in
            guard let data = raw?.pointee.data else { return }
            let handle = Unmanaged<Handle>.fromOpaque(data).takeRetainedValue()
            handle.state = .closed
            let onClosed = handle.onClosed
            handle.onClosed = nil
            onClosed?()
        }
    }

    /// Drops what refers back to the owner (delegates, closures).
    func willClose() {}

    /// The object behind a callback's `data`.
    @inline(__always)
    static func borrow<H: Handle>(_ data: UnsafeMutableRawPointer?, as: H.Type) -> H {
        // Every handle is made by the init above, which sets `data`; the type is that of the callback's owner.
        unsafeDowncast(Unmanaged<Handle>.fromOpaque(data.unsafelyUnwrapped).takeUnretainedValue(), to: H.self)
    }
}
