package import HTTP
internal import Base
package import UV

/// A listening address whose connections speak HTTP/1.1 to one service.
///
/// Time limits are counted in ticks of one second: a single timer sweeps all connections, so that a request sets no
/// timer of its own.
package final class HTTPListener {
    package let service: any HTTPService
    /// Counted from what begins after a change.
    package var timeouts: HTTPTimeouts
    let limits: HTTPLimits
    let loop: Loop
    package var connectionsMax: Int
    private let admits: ((TCP) -> Bool)?
    private var socket: TCPListener?
    private let timer: Timer
    private var connections: [HTTPConnection] = []
    private var isDraining = false
    private var onEmpty: (() -> Void)?
    /// Seconds of this listener's clock.
    private(set) var tick: UInt64 = 0

    // Written anew once a second at the most: "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".
    private let date = ByteBuffer(capacity: 64)
    private var dateSecond: UInt64 = 0

    /// - Parameter admits: asked once for each connection; one that it refuses is closed without a word.
    package init(
        loop: Loop, host: String, port: Int, service: any HTTPService, timeouts: HTTPTimeouts = HTTPTimeouts(),
        limits: HTTPLimits = .standard, connectionsMax: Int = Limits.connectionsMax, descriptor: CInt? = nil,
        admits: ((TCP) -> Bool)? = nil
    ) throws(UVError) {
        self.loop = loop
        self.service = service
        self.timeouts = timeouts
        self.limits = limits
        self.connectionsMax = connectionsMax
        self.admits = admits
        timer = try Timer(loop: loop)
        timer.unreference()
        do {
            if let descriptor {
                socket = try TCPListener(loop: loop, descriptor: descriptor) { [unowned self] tcp in accept(tcp) }
            } else {
                socket = try TCPListener(loop: loop, host: host, port: port) { [unowned self] tcp in accept(tcp) }
            }
        } catch {
            timer.close()
            throw error
        }
    }

    deinit { timer.close() }

    /// Takes no connection until `release`; who connects meanwhile waits.
    package func hold() { socket?.hold() }
    package func release() { socket?.release() }

    package var address: (host: String, port: Int) { socket?.address ?? ("", 0) }
    package var connectionCount: Int { connections.count }

    private func accept(_ tcp: TCP) {
        if let admits, !admits(tcp) { return tcp.close() }
        if connections.count >= connectionsMax {
            let refusal: StaticString =
                "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
            tcp.write(UnsafeRawBufferPointer(start: refusal.utf8Start, count: refusal.utf8CodeUnitCount))
            tcp.close()
            return
        }
        if connections.isEmpty {
            timer.start(after: .seconds(1), repeating: .seconds(1)) { [unowned self] in advance(seconds: 1) }
        }
        let connection = HTTPConnection(tcp, listener: self, index: connections.count)
        connections.append(connection)
        connection.start()
    }

    func remove(_ connection: HTTPConnection) {
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        guard connections.isEmpty else { return }
        timer.stop()
        if isDraining { finishDraining() }
    }

    /// Moves the listener's clock: connections whose time is over are answered 408 or closed.
    package func advance(seconds: UInt64) {
        tick += seconds
        for connection in connections where connection.deadline <= tick { connection.timedOut() }
    }

    /// The tick at which at least `seconds` have passed: the current second has begun already.
    func deadline(after seconds: UInt64) -> UInt64 { tick + seconds + 1 }

    /// Takes no more connections and closes each once its answer is out; `onEmpty` runs when none is left.
    package func drain(_ onEmpty: @escaping () -> Void) {
        isDraining = true
        self.onEmpty = onEmpty
        socket?.close()
        socket = nil
        for connection in connections { connection.closeWhenAnswered() }
        if connections.isEmpty { finishDraining() }
    }

    /// Closes everything now.
    package func close() {
        socket?.close()
        socket = nil
        for connection in connections { connection.close() }
        timer.close()
    }

    private func finishDraining() {
        let onEmpty = self.onEmpty
        self.onEmpty = nil
        onEmpty?()
    }

    /// The Date field (RFC 9110 §6.6.1), ready to send.
    var dateField: UnsafeRawBufferPointer {
        let second = Loop.epochSecondsCoarse
        if second != dateSecond {
            dateSecond = second
            date.clear()
            date.append("Date: ")
            date.append(HTTPDate(epochSeconds: second))
            date.append("\r\n")
        }
        return date.bytes
    }
}
