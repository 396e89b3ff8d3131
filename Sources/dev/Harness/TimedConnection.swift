import Foundation
import Glibc

/// One kept-alive connection that carries one request at a time and tells when its answer began.
final class TimedConnection {
    struct Answer {
        /// From the request's first byte to the answer's first byte, in milliseconds.
        var milliseconds: Double
        var status: Int
        /// How the worker that served it had been started (`X-Hearth-Start`); empty for answers of no function.
        var start: String
        var body: String
    }

    let socket: CInt
    private let port: UInt16
    private var sent: UInt64 = 0
    private var room = [UInt8](repeating: 0, count: 64 * 1024)

    init(port: UInt16) throws {
        self.port = port
        socket = try connectTCP(port)
        // A server that does not answer must not hold the benchmark for ever.
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(socket) }

    func ask(_ path: String) throws -> Answer {
        try send(path)
        return try receive(path)
    }

    func send(_ path: String) throws {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8)
        sent = LoadClient.now
        guard Glibc.send(socket, request, request.count, CInt(MSG_NOSIGNAL)) == request.count else {
            throw Failure("cannot send a request for \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// Waits for the answer to the request that was sent.
    func receive(_ path: String) throws -> Answer {
        var bytes: [UInt8] = []
        var began: UInt64 = 0
        var head: Head?
        while true {
            let count = recv(socket, &room, room.count, 0)
            if count < 0, errno == EINTR { continue }
            if began == 0 { began = LoadClient.now }
            guard count > 0 else { throw Failure("\(path) was not answered: the connection ended after \(bytes.count) bytes") }
            bytes += room[..<count]
            head = head ?? Head(bytes)
            guard let head, bytes.count >= head.bytes + head.bodyBytes else { continue }
            return Answer(
                milliseconds: Double(began - sent) / 1e6, status: head.status, start: head.start,
                body: String(decoding: bytes[head.bytes...], as: UTF8.self))
        }
    }

    private struct Head {
        var bytes: Int
        var status = 0
        var start = ""
        var bodyBytes = 0

        /// nil while its end has not come.
        init?(_ received: [UInt8]) {
            let text = String(decoding: received, as: UTF8.self)
            guard let end = text.range(of: "\r\n\r\n") else { return nil }
            bytes = text[..<end.upperBound].utf8.count
            let lines = text[..<end.lowerBound].components(separatedBy: "\r\n")
            status = lines[0].split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            for line in lines.dropFirst() {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2 else { continue }
                let value = parts[1].trimmingCharacters(in: .whitespaces)
                switch parts[0].lowercased() {
                case "x-hearth-start": start = value
                case "content-length": bodyBytes = Int(value) ?? 0
                default: break
                }
            }
        }
    }
}

/// A connection to a port of this machine, without Nagle's delay.
func connectTCP(_ port: UInt16) throws -> CInt {
    let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, size) }
    }
    guard status == 0 else {
        let why = String(cString: strerror(errno))
        close(socket)
        throw Failure("cannot connect to 127.0.0.1:\(port): \(why)")
    }
    var on: CInt = 1
    setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<CInt>.size))
    return socket
}

extension [Double] {
    /// The value below which the share `share` of all lies; the greatest for shares that so few values cannot tell.
    func quantile(_ share: Double) -> Double {
        isEmpty ? 0 : sorted()[Swift.min(count - 1, Int(share * Double(count)))]
    }

    var p50: Double { quantile(0.5) }
    var p99: Double { quantile(0.99) }
    var p100: Double { quantile(1) }
}
