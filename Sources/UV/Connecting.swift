internal import CUV
internal import Glibc

/// A connection on its way: the name is looked up, then its addresses are tried in their order.
///
///     init ─▶ looking up ─▶ trying an address ─▶ done(connection)
///                 │             │  └ refused: the next one
///                 └─────────────┴─▶ done(error) when none is left       cancel: `done` is not called
///
/// Invariants:
///  1. `done` runs at most once, never inside `init`.
///  2. libuv holds one reference to this object as long as a request of it is under way.
///
/// Thread rule: the loop's thread.
package final class Connecting {
    private let loop: Loop
    private var done: ((Result<TCP, UVError>) -> Void)?
    private var addresses: UnsafeMutablePointer<addrinfo>?
    private var next: UnsafeMutablePointer<addrinfo>?
    private var current: TCP?

    /// Begins at once. - Parameter host: a name or a numeric address.
    package init(loop: Loop, host: String, port: Int, _ done: @escaping (Result<TCP, UVError>) -> Void) {
        self.loop = loop
        self.done = done
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
        request.pointee = uv_getaddrinfo_t()
        request.pointee.data = Unmanaged.passRetained(self).toOpaque()
        let status = uv_getaddrinfo(
            loop.raw, request,
            { request, status, found in
                guard let request, let data = request.pointee.data else { return }
                let own = Unmanaged<Connecting>.fromOpaque(data).takeRetainedValue()
                request.deallocate()
                own.lookedUp(status, found)
            }, host, String(port), &hints)
        guard status < 0 else { return }
        Unmanaged.passUnretained(self).release()
        request.deallocate()
        loop.remote.post { [self = Boxed(self)] in self.value.finish(.failure(UVError(code: status, doing: "look up a name"))) }
    }

    deinit { if let addresses { uv_freeaddrinfo(addresses) } }

    /// For the loop's own thread, through `post`.
    private struct Boxed: @unchecked Sendable {
        let value: Connecting
        init(_ value: Connecting) { self.value = value }
    }

    package func cancel() {
        done = nil
        current?.close()
        current = nil
    }

    private func lookedUp(_ status: CInt, _ found: UnsafeMutablePointer<addrinfo>?) {
        addresses = found
        next = found
        guard status == 0, done != nil else { return finish(.failure(UVError(code: status, doing: "look up a name"))) }
        tryNext(after: -ENOENT)
    }

    private func tryNext(after code: CInt) {
        guard let address = next else { return finish(.failure(UVError(code: code, doing: "connect"))) }
        next = address.pointee.ai_next
        let tcp: TCP
        do { tcp = try TCP(unconnected: loop) } catch { return finish(.failure(error)) }
        current = tcp
        let request = UnsafeMutablePointer<uv_connect_t>.allocate(capacity: 1)
        request.pointee = uv_connect_t()
        request.pointee.data = Unmanaged.passRetained(self).toOpaque()
        let status = uv_tcp_connect(request, tcp.pointer(uv_tcp_t.self), address.pointee.ai_addr) { request, status in
            guard let request, let data = request.pointee.data else { return }
            let own = Unmanaged<Connecting>.fromOpaque(data).takeRetainedValue()
            request.deallocate()
            own.tried(status)
        }
        guard status < 0 else { return }
        Unmanaged.passUnretained(self).release()
        request.deallocate()
        tried(status)
    }

    private func tried(_ status: CInt) {
        guard done != nil, let tcp = current else { return }
        current = nil
        if status == 0 { return finish(.success(tcp)) }
        tcp.close()
        tryNext(after: status)
    }

    private func finish(_ result: Result<TCP, UVError>) {
        let done = self.done
        self.done = nil
        done?(result)
    }
}
