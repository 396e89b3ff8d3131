import Foundation

/// A TCP relay that carries so many bytes a second each way, counts them, and can break all its connections.
package final class SlowProxy: @unchecked Sendable {
    /// `127.0.0.1:PORT`, a port that the kernel chose.
    package let address: String
    private let listener: CInt
    private let target: String
    private let lock = NSLock()
    private var rate: Int
    private var up = 0
    private var down = 0
    private var sockets: Set<CInt> = []

    package init(to target: String, bytesPerSecond: Int) throws {
        self.target = target
        rate = bytesPerSecond
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(listener, name, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, name, &length) == 0
            }
        }
        guard isBound else { throw TestFailure("a proxy cannot listen: \(String(cString: strerror(errno)))") }
        address = "127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        Thread.detachNewThread { [weak self] in
            while case let client = accept(listener, nil, nil), client >= 0 { self?.relay(client) }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    package var bytesPerSecond: Int {
        get { lock.withLock { rate } }
        set { lock.withLock { rate = newValue } }
    }
    package var bytesUp: Int { lock.withLock { up } }
    package var bytesDown: Int { lock.withLock { down } }

    /// As a link that goes away.
    package func breakAll() { lock.withLock { for socket in sockets { shutdown(socket, Int32(SHUT_RDWR)) } } }

    private func relay(_ client: CInt) {
        guard let server = try? connected() else {
            close(client)
            return
        }
        lock.withLock { sockets.formUnion([client, server]) }
        let group = DispatchGroup()
        for (from, to, isUp) in [(client, server, true), (server, client, false)] {
            group.enter()
            Thread.detachNewThread { [self] in
                carry(from, to, isUp)
                group.leave()
            }
        }
        Thread.detachNewThread { [self] in
            group.wait()
            lock.withLock { sockets.subtract([client, server]) }
            close(client)
            close(server)
        }
    }

    private func carry(_ from: CInt, _ to: CInt, _ isUp: Bool) {
        var block = [UInt8](repeating: 0, count: 64 * 1024)
        defer {
            shutdown(from, Int32(SHUT_RD))
            shutdown(to, Int32(SHUT_WR))
        }
        while case let count = recv(from, &block, block.count, 0), count > 0 {
            var at = 0
            while at < count {
                let sent = block.withUnsafeBytes { send(to, $0.baseAddress?.advanced(by: at), count - at, Int32(MSG_NOSIGNAL)) }
                if sent <= 0 { return }
                at += sent
            }
            let rate = lock.withLock {
                if isUp { up += count } else { down += count }
                // Shared by all that are open.
                return max(1, self.rate / max(1, sockets.count / 2))
            }
            usleep(UInt32(min(1_000_000, count * 1_000_000 / rate)))
        }
    }

    private func connected() throws -> CInt {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let parts = target.split(separator: ":")
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = (UInt16(parts.last ?? "") ?? 0).bigEndian
        name.sin_addr.s_addr = inet_addr(String(parts.first ?? ""))
        let result = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else {
            close(server)
            throw TestFailure("the proxy cannot reach \(target)")
        }
        return server
    }
}
