import Foundation

/// A long way between a client and a port of this machine: a TCP proxy that delays, bounds what is under way, loses and cuts.
///
///     client ─▶ read ─▶ (half the round trip) ─▶ written to the server      and back the same
///                 └── not while more than `windowBytes` have not been acknowledged: a round trip after they were read
///
/// One thread a direction and connection. (Of the tests too, by a link: kernels with netem, and the right to use it, are rare.)
package final class SlowLink: @unchecked Sendable {
    package struct Terms: Sendable {
        package var roundTrip: Double
        package var windowBytes: Int
        /// Of each piece of up to 64 KiB: it comes two round trips later, and all behind it wait.
        package var lossShare: Double

        package init(roundTrip: Double, windowBytes: Int = 1 << 30, lossShare: Double = 0) {
            self.roundTrip = roundTrip
            self.windowBytes = windowBytes
            self.lossShare = lossShare
        }
    }

    package let port: UInt16
    private let target: UInt16
    private let terms: Terms
    private let listener: CInt
    private let lock = NSLock()
    private var sockets: Set<CInt> = []
    private var isStopped = false
    private var refuses = false
    private var carried = 0

    package init(to target: UInt16, _ terms: Terms) throws {
        self.target = target
        self.terms = terms
        listener = socket(AF_INET, Self.stream, 0)
        // What the kernel takes before it is read is not under way yet: little, like the window.
        var bytes: CInt = 64 * 1024
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &bytes, 4)
        var address = Self.address(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw SlowLinkError(text: "no port for a slow link: \(String(cString: strerror(errno)))") }
        port = UInt16(bigEndian: address.sin_port)
        Thread { [self] in acceptAll() }.start()
    }

    package struct SlowLinkError: Error { package let text: String }

    private static let stream = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// Bytes that were read from clients so far.
    package var carriedBytes: Int { lock.withLock { carried } }

    /// Breaks every connection now, as a reset does.
    package func cut() { lock.withLock { for socket in sockets { shutdown(socket, CInt(SHUT_RDWR)) } } }

    /// From now on connections end as soon as they are made, or are carried again.
    package func refuse(_ isOn: Bool) {
        lock.withLock { refuses = isOn }
        if isOn { cut() }
    }

    package func stop() {
        lock.withLock { isStopped = true }
        shutdown(listener, CInt(SHUT_RDWR))
        cut()
    }

    private func acceptAll() {
        while true {
            let client = accept(listener, nil, nil)
            if lock.withLock({ isStopped }) || client < 0 {
                if client >= 0 { close(client) }
                break
            }
            guard !lock.withLock({ refuses }), let server = open() else {
                close(client)
                continue
            }
            let pair = Pair(client, server) { [self] in lock.withLock { sockets.subtract([client, server]) } }
            lock.withLock { sockets.formUnion([client, server]) }
            for (from, to) in [(client, server), (server, client)] {
                Thread { [self] in
                    carry(from, to, countsBytes: from == client)
                    pair.leave()
                }.start()
            }
        }
        close(listener)
    }

    /// Closes both ends when both directions have ended.
    private final class Pair: @unchecked Sendable {
        private let lock = NSLock()
        private let (client, server): (CInt, CInt)
        private let onEnd: () -> Void
        private var left = 2

        init(_ client: CInt, _ server: CInt, onEnd: @escaping () -> Void) {
            (self.client, self.server) = (client, server)
            self.onEnd = onEnd
        }

        func leave() {
            lock.withLock {
                left -= 1
                guard left == 0 else { return }
                onEnd()
                close(client)
                close(server)
            }
        }
    }

    private func open() -> CInt? {
        let server = socket(AF_INET, Self.stream, 0)
        var address = Self.address(target)
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        var on: CInt = 1
        setsockopt(server, CInt(IPPROTO_TCP), TCP_NODELAY, &on, 4)
        if status == 0 { return server }
        close(server)
        return nil
    }

    private func carry(_ from: CInt, _ to: CInt, countsBytes: Bool) {
        var way = Way(terms: terms, opened: Self.now)
        var room = [UInt8](repeating: 0, count: 64 * 1024)
        var isOpen = true
        while isOpen || !way.pieces.isEmpty {
            let now = Self.now
            for piece in way.arrived(at: now) where !Self.send(piece, to) { isOpen = false }
            let canRead = isOpen && way.room > 0
            if !isOpen, way.pieces.isEmpty { break }
            var waits = pollfd(fd: canRead ? from : -1, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waits, 1, CInt(way.next.map { max(0, ($0 - now) * 1000).rounded(.up) } ?? 1000))
            guard ready > 0 else { continue }
            let count = recv(from, &room, min(room.count, way.room), 0)
            guard count > 0 else {
                isOpen = false
                continue
            }
            if countsBytes { lock.withLock { carried += count } }
            way.add(Array(room[..<count]), at: Self.now)
        }
        shutdown(to, CInt(SHUT_WR))
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func send(_ bytes: [UInt8], _ socket: CInt) -> Bool {
        var at = 0
        while at < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.send(socket, $0.baseAddress?.advanced(by: at), $0.count - at, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            at += count
        }
        return true
    }

    /// What is under way in one direction.
    private struct Way {
        let terms: Terms
        private(set) var pieces: [(due: Double, bytes: [UInt8])] = []
        private var unacknowledged: [(due: Double, count: Int)] = []
        private var underWay = 0
        private var last: Double

        init(terms: Terms, opened: Double) {
            self.terms = terms
            // The handshake takes a round trip before the first byte may leave.
            last = opened + terms.roundTrip * 1.5
        }

        var room: Int { max(0, terms.windowBytes - underWay) }
        /// When something happens next.
        var next: Double? { [pieces.first?.due, room > 0 ? nil : unacknowledged.first?.due].compactMap { $0 }.min() }

        mutating func add(_ bytes: [UInt8], at now: Double) {
            var due = max(last, now + terms.roundTrip / 2)
            if terms.lossShare > 0, Double.random(in: 0..<1) < terms.lossShare { due += 2 * terms.roundTrip }
            last = due
            pieces.append((due, bytes))
            unacknowledged.append((due + terms.roundTrip / 2, bytes.count))
            underWay += bytes.count
        }

        mutating func arrived(at now: Double) -> [[UInt8]] {
            while let first = unacknowledged.first, first.due <= now {
                underWay -= first.count
                unacknowledged.removeFirst()
            }
            var all: [[UInt8]] = []
            while let first = pieces.first, first.due <= now {
                all.append(first.bytes)
                pieces.removeFirst()
            }
            return all
        }
    }
}
