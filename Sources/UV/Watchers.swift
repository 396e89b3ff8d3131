package import Base
internal import CUV

/// Calls back once or repeatedly, with milliseconds of precision.
package final class Timer: Handle {
    private var onFire: (() -> Void)?

    package init(loop: Loop) throws(UVError) {
        try super.init(loop: loop, type: UV_TIMER, doing: "make a timer") { loop, memory in
            uv_timer_init(loop, memory.assumingMemoryBound(to: uv_timer_t.self))
        }
    }

    /// Fires after `span` (rounded up to a millisecond), then every `repeating` if that is not zero. Replaces what was set.
    package func start(after span: Span, repeating: Span = .zero, _ onFire: @escaping () -> Void) {
        self.onFire = onFire
        // libuv counts from its cached time, which may be old after long callbacks.
        uv_update_time(loop.raw)
        uv_timer_start(
            pointer(uv_timer_t.self), { raw in Handle.borrow(raw?.pointee.data, as: Timer.self).onFire?() },
            (span.nanoseconds + 999_999) / 1_000_000, repeating.wholeMilliseconds)
    }

    package func stop() {
        uv_timer_stop(pointer(uv_timer_t.self))
        onFire = nil
    }

    override func willClose() { onFire = nil }
}

/// Calls back when a descriptor can be read. The descriptor stays its maker's.
package final class Poll: Handle {
    private var onReadable: ((CInt) -> Void)?

    package init(loop: Loop, descriptor: CInt) throws(UVError) {
        try super.init(loop: loop, type: UV_POLL, doing: "watch a descriptor") { loop, memory in
            uv_poll_init(loop, memory.assumingMemoryBound(to: uv_poll_t.self), descriptor)
        }
    }

    package func start(_ onReadable: @escaping (CInt) -> Void) throws(UVError) {
        self.onReadable = onReadable
        let status = uv_poll_start(pointer(uv_poll_t.self), CInt(UV_READABLE.rawValue)) { raw, status, _ in
            Handle.borrow(raw?.pointee.data, as: Poll.self).onReadable?(status)
        }
        try UVError.check(status, "watch a descriptor")
    }

    override func willClose() { onReadable = nil }
}

/// Calls back when a signal arrives.
package final class SignalWatcher: Handle {
    private let onSignal: () -> Void

    package init(loop: Loop, signal: CInt, _ onSignal: @escaping () -> Void) throws(UVError) {
        self.onSignal = onSignal
        try super.init(loop: loop, type: UV_SIGNAL, doing: "watch a signal") { loop, memory in
            uv_signal_init(loop, memory.assumingMemoryBound(to: uv_signal_t.self))
        }
        unreference()
        uv_signal_start(
            pointer(uv_signal_t.self),
            { raw, _ in
                Handle.borrow(raw?.pointee.data, as: SignalWatcher.self).onSignal()
            }, signal)
    }
}

/// Runs before the loop sleeps, each time. Does not keep the loop running by itself.
package final class Prepare: Handle {
    package var onTurn: () -> Void = {}

    package init(loop: Loop) throws(UVError) {
        try super.init(loop: loop, type: UV_PREPARE, doing: "make a prepare handle") { loop, memory in
            uv_prepare_init(loop, memory.assumingMemoryBound(to: uv_prepare_t.self))
        }
    }

    package func start() {
        uv_prepare_start(pointer(uv_prepare_t.self)) { raw in
            Handle.borrow(raw?.pointee.data, as: Prepare.self).onTurn()
        }
    }

    package func stop() { uv_prepare_stop(pointer(uv_prepare_t.self)) }
}
