internal import Base
import Cache
internal import Glibc
internal import RESP
package import UV

/// A listening address, or a unix socket, whose connections speak RESP.
///
/// A timer of one second sweeps all connections for what takes too long; a command sets no timer of its own. What is written for other
/// clients than the one that asks is sent before the loop sleeps.
///
/// Thread rule: the loop's thread.
package final class CacheListener {
    let service: CacheService
    let door: Door
    let limits: RESPLimits
    private let loop: Loop
    package var connectionsMax: Int
    private var socket: TCPListener?
    private let timer: Timer
    private var connections: [CacheConnection] = []
    private var path: String?
    /// Seconds of this listener's clock.
    private(set) var tick: UInt64 = 0

    package enum Place {
        case tcp(host: String, port: Int)
        /// A unix socket, made anew there.
        case unix(path: String, mode: UInt32)
    }

    package init(
        loop: Loop, place: Place, door: Door, service: CacheService, connectionsMax: Int = Limits.connectionsMax
    ) throws(UVError) {
        self.loop = loop
        self.service = service
        self.door = door
        self.connectionsMax = connectionsMax
        var limits = RESPLimits()
        // what the cache would not take anyway is refused before it is read
        limits.requestBytesMax = min(Limits.respRequestBytesMax, max(1 << 20, service.cache.limitBytes / 2))
        limits.bulkBytesMax = limits.requestBytesMax
        self.limits = limits
        timer = try Timer(loop: loop)
        timer.unreference()
        do {
            switch place {
            case .tcp(let host, let port):
                socket = try TCPListener(loop: loop, host: host, port: port) { [unowned self] stream in accept(stream) }
            case .unix(let path, let mode):
                self.path = path
                let descriptor = try TCPListener.unixSocket(path: path, mode: mode)
                socket = try TCPListener(loop: loop, descriptor: descriptor) { [unowned self] stream in accept(stream) }
            }
        } catch {
            timer.close()
            throw error
        }
    }

    deinit { timer.close() }

    package var address: (host: String, port: Int) { path == nil ? socket?.address ?? ("", 0) : ("", 0) }
    var addressText: String { path ?? "\(address.host):\(address.port)" }

    private func accept(_ stream: TCP) {
        if connections.count >= connectionsMax {
            let refusal: StaticString = "-ERR max number of clients reached\r\n"
            stream.write(UnsafeRawBufferPointer(start: refusal.utf8Start, count: refusal.utf8CodeUnitCount))
            return stream.close()
        }
        if connections.isEmpty {
            timer.start(after: .seconds(1), repeating: .seconds(1)) { [unowned self] in sweep() }
        }
        let connection = CacheConnection(stream, listener: self, index: connections.count)
        connections.append(connection)
        connection.start()
    }

    func remove(_ connection: CacheConnection) {
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        if connections.isEmpty { timer.stop() }
    }

    private func sweep() {
        tick += 1
        for connection in connections where connection.deadline <= tick { connection.timedOut() }
    }

    /// The tick at which at least `span` has passed: the current second has begun already.
    func deadline(after span: Span) -> UInt64 { tick + UInt64(span.seconds) + 1 }

    /// The service's time is that of the turn in which requests came.
    @inline(__always) func moveClock() { service.clock.advance(to: loop.now, epochMilliseconds: Loop.epochMilliseconds) }

    /// Clients may go on that were paused.
    package func resume() { for connection in connections { connection.goOn() } }

    /// Takes no more connections, and ends those that there are when they have got their answers.
    package func close() {
        socket?.close()
        socket = nil
        if let path { unlink(path) }
        for connection in connections { connection.closeWhenSent() }
        timer.close()
    }
}

/// What makes a service move: its pauses end, and what waits is sent before the loop sleeps.
///
/// Thread rule: the loop's thread.
package final class CacheTurn {
    private let turn: Prepare
    private let pause: Timer

    package init(loop: Loop, service: CacheService, listeners: @escaping () -> [CacheListener]) throws(UVError) {
        turn = try Prepare(loop: loop)
        pause = try Timer(loop: loop)
        turn.unreference()
        pause.unreference()
        turn.onTurn = { [unowned turn, unowned service] in
            turn.stop()
            service.flushPending()
        }
        service.onPending = { [unowned turn] in turn.start() }
        service.onResume = { for listener in listeners() { listener.resume() } }
        service.onPause = { [unowned self] span in wait(span, service) }
    }

    /// The loop's clock has whole milliseconds, so a timer may ring a little before the moment that it was set for.
    private func wait(_ span: Span, _ service: CacheService) {
        pause.start(after: span) { [unowned self, unowned service] in
            if let left = service.endPause(at: Loop.now) { wait(max(left, .milliseconds(1)), service) }
        }
    }

    package func close() {
        turn.close()
        pause.close()
    }
}
