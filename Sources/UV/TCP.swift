internal import CUV
internal import Glibc

/// A TCP connection, with Nagle's algorithm off: two small writes with it on cost 40 ms.
package final class TCP: Stream {
    fileprivate init(accepting listener: TCPListener) throws(UVError) {
        try super.init(loop: listener.loop, type: UV_TCP, doing: "accept a connection") { loop, memory in
            uv_tcp_init(loop, memory.assumingMemoryBound(to: uv_tcp_t.self))
        }
        let status = uv_accept(listener.pointer(uv_stream_t.self), pointer(uv_stream_t.self))
        if status < 0 {
            close()
            throw UVError(code: status, doing: "accept a connection")
        }
        uv_tcp_nodelay(pointer(uv_tcp_t.self), 1)
    }

    /// Not connected yet: `Connecting` does that.
    init(unconnected loop: Loop) throws(UVError) {
        try super.init(loop: loop, type: UV_TCP, doing: "make a connection") { loop, memory in
            uv_tcp_init(loop, memory.assumingMemoryBound(to: uv_tcp_t.self))
        }
        uv_tcp_nodelay(pointer(uv_tcp_t.self), 1)
    }

    /// Numeric address and port of the other side.
    package var peer: (host: String, port: Int) {
        var storage = sockaddr_storage()
        var length = CInt(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                uv_tcp_getpeername(pointer(uv_tcp_t.self), address, &length) == 0 ? text(of: address) : ("", 0)
            }
        }
    }

    /// Calls `body` with the socket's descriptor; nil when it is closed.
    package func withDescriptor<Result>(_ body: (CInt) -> Result) -> Result? {
        var descriptor: CInt = -1
        guard isOpen, uv_fileno(raw, &descriptor) == 0 else { return nil }
        return body(descriptor)
    }

    /// Says that no more will be written; the other side reads an end of file.
    package func finishWriting() {
        var descriptor: CInt = -1
        guard isOpen, uv_fileno(raw, &descriptor) == 0 else { return }
        shutdown(descriptor, CInt(SHUT_WR))
    }
}

/// Numeric host and port of a socket address.
private func text(of address: UnsafePointer<sockaddr>) -> (host: String, port: Int) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { name in
        guard let base = name.baseAddress else { return ("", 0) }
        if address.pointee.sa_family == UInt16(AF_INET6) {
            return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { v6 in
                uv_ip6_name(v6, base, 64)
                return (String(cString: base), Int(UInt16(bigEndian: v6.pointee.sin6_port)))
            }
        }
        return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { v4 in
            uv_ip4_name(v4, base, 64)
            return (String(cString: base), Int(UInt16(bigEndian: v4.pointee.sin_port)))
        }
    }
}

/// A listening socket.
package final class TCPListener: Handle {
    private var onConnection: ((TCP) -> Void)?
    private var isHeld = false
    private var hasWaiting = false

    /// Listens on a numeric address (or `localhost`); port 0 lets the kernel choose. Errors of binding and listening throw.
    package init(loop: Loop, host: String, port: Int, _ onConnection: @escaping (TCP) -> Void) throws(UVError) {
        self.onConnection = onConnection
        try super.init(loop: loop, type: UV_TCP, doing: "make a listener") { loop, memory in
            uv_tcp_init(loop, memory.assumingMemoryBound(to: uv_tcp_t.self))
        }
        let status = listen(host: host == "localhost" ? "127.0.0.1" : host, port: port)
        if status < 0 {
            close()
            throw UVError(code: status, doing: "listen")
        }
    }

    /// Takes over a socket that listens already, wherever that is; `descriptor` is closed with it.
    package init(loop: Loop, descriptor: CInt, _ onConnection: @escaping (TCP) -> Void) throws(UVError) {
        self.onConnection = onConnection
        try super.init(loop: loop, type: UV_TCP, doing: "make a listener") { loop, memory in
            uv_tcp_init(loop, memory.assumingMemoryBound(to: uv_tcp_t.self))
        }
        var status = uv_tcp_open(pointer(uv_tcp_t.self), descriptor)
        if status < 0 { Glibc.close(descriptor) } else { status = listen() }
        if status < 0 {
            close()
            throw UVError(code: status, doing: "listen on a given socket")
        }
    }

    /// A unix socket at `path`, to be taken over; what is there goes. (To libuv a connected stream socket is as good as TCP: it is read and
    /// written the same, and TCP's options, which this has not, are only tried.)
    package static func unixSocket(path: String, mode: UInt32) throws(UVError) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw UVError(code: -ENAMETOOLONG, doing: "make a unix socket")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { throw UVError(code: -errno, doing: "make a unix socket") }
        unlink(path)
        let bound = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, chmod(path, mode) == 0 else {
            let code = -errno
            Glibc.close(descriptor)
            throw UVError(code: code, doing: "make a unix socket")
        }
        return descriptor
    }

    private func listen(host: String, port: Int) -> CInt {
        var storage = sockaddr_storage()
        let status = withUnsafeMutablePointer(to: &storage) { storage in
            let parsed = storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                uv_ip4_addr(host, CInt(port), $0)
            }
            if parsed == 0 { return CInt(0) }
            return storage.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { uv_ip6_addr(host, CInt(port), $0) }
        }
        if status < 0 { return status }
        let bound = withUnsafePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                uv_tcp_bind(pointer(uv_tcp_t.self), $0, 0)
            }
        }
        return bound < 0 ? bound : listen()
    }

    private func listen() -> CInt {
        uv_listen(pointer(uv_stream_t.self), 1024) { raw, status in
            if status == 0 { Handle.borrow(raw?.pointee.data, as: TCPListener.self).accept() }
        }
    }

    private func accept() {
        if isHeld {
            // libuv stops listening until this one has been accepted (uv_listen); the others wait in the kernel.
            hasWaiting = true
        } else if let connection = try? TCP(accepting: self) {
            onConnection?(connection)
        }
    }

    /// Hands out no connection until `release`.
    package func hold() { isHeld = true }

    package func release() {
        isHeld = false
        guard hasWaiting else { return }
        hasWaiting = false
        accept()
    }

    /// The address that the kernel gave.
    package var address: (host: String, port: Int) {
        var storage = sockaddr_storage()
        var length = CInt(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                uv_tcp_getsockname(pointer(uv_tcp_t.self), address, &length) == 0 ? text(of: address) : ("", 0)
            }
        }
    }

    override func willClose() { onConnection = nil }
}
