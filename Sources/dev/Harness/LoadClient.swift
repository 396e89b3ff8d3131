import CEpoll
import Glibc

/// What to send, over how many connections, for how long.
struct Load {
    var port: UInt16
    var path: String
    var connections: Int
    var seconds: Double
    /// The body that every answer must have.
    var body: String
    /// Lines of the request head beside Host.
    var fields = ""
    /// Posted, if it is not empty.
    var payload = ""
    /// That every answer must have.
    var status = 200

    var request: [UInt8] {
        let method = payload.isEmpty ? "GET" : "POST"
        let length = payload.isEmpty ? "" : "Content-Length: \(payload.utf8.count)\r\n"
        return Array("\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\(fields)\(length)\r\n\(payload)".utf8)
    }
}

struct LoadResult {
    var completed = 0
    var seconds = 0.0
    /// Connections that the server closed and that were opened again.
    var reconnects = 0
    /// Time from a request's write to the end of its answer, in microseconds.
    var latencies: [Double] = []

    var requestsPerSecond: Double { seconds > 0 ? Double(completed) / seconds : 0 }
    var p50: Double { latencies.p50 }
}

/// Sends requests over keep-alive connections, one at a time on each, and checks every answer.
///
/// One thread over epoll: poll over 64 sockets took as much of the machine as the server under test. Its own CPU time is in
/// no figure.
final class LoadClient {
    private struct Connection {
        var socket: CInt = -1
        var sent: UInt64 = 0
        var isWaiting = false
        var received: [UInt8] = []
    }

    private let load: Load
    private let request: [UInt8]
    private let expectedBody: [UInt8]
    private let good: [UInt8]
    private var connections: [Connection]
    private let epoll = cepoll_make()
    private var room = [UInt8](repeating: 0, count: 64 * 1024)
    private var result = LoadResult()
    private var waiting = 0
    private var end: UInt64 = 0

    private init(_ load: Load) {
        self.load = load
        request = load.request
        expectedBody = Array(load.body.utf8)
        good = Array("HTTP/1.1 \(load.status) ".utf8)
        connections = Array(repeating: Connection(), count: load.connections)
    }

    deinit {
        for connection in connections where connection.socket >= 0 { close(connection.socket) }
        close(epoll)
    }

    /// Runs `load` to its end: after its seconds nothing more is sent, and what was sent is waited for.
    static func run(_ load: Load) throws -> LoadResult { try LoadClient(load).run() }

    private func run() throws -> LoadResult {
        for index in connections.indices { try open(index) }
        let began = Self.now
        end = began + UInt64(load.seconds * 1e9)
        for index in connections.indices { try send(index) }
        var ready = [UInt32](repeating: 0, count: connections.count)
        while waiting > 0 {
            let count = cepoll_wait(epoll, &ready, CInt(ready.count), 1000)
            guard Self.now < end + 10_000_000_000 else { throw Failure("\(waiting) requests to \(load.path) were not answered in 10 s") }
            guard count > 0 else { continue }
            for index in ready.prefix(Int(count)) { try receive(Int(index)) }
        }
        result.seconds = Double(Self.now - began) / 1e9
        return result
    }

    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func open(_ index: Int) throws {
        let socket = try connectTCP(load.port)
        cepoll_add(epoll, socket, UInt32(index))
        connections[index].socket = socket
        connections[index].received.removeAll(keepingCapacity: true)
    }

    private func send(_ index: Int) throws {
        connections[index].sent = Self.now
        guard Glibc.send(connections[index].socket, request, request.count, CInt(MSG_NOSIGNAL)) == request.count else {
            return try reopen(index)
        }
        if !connections[index].isWaiting { waiting += 1 }
        connections[index].isWaiting = true
    }

    /// The server has closed: a new connection carries the request again, but not for ever.
    private func reopen(_ index: Int) throws {
        close(connections[index].socket)
        connections[index].socket = -1
        result.reconnects += 1
        guard result.reconnects <= 1000 + result.completed else { throw Failure("127.0.0.1:\(load.port) closes its connections") }
        try open(index)
        try send(index)
    }

    private func receive(_ index: Int) throws {
        let count = recv(connections[index].socket, &room, room.count, CInt(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else { return try reopen(index) }
        if connections[index].received.isEmpty {
            guard let length = try answerLength(room[..<count]) else {
                connections[index].received += room[..<count]
                return
            }
            try answered(index, length, count)
        } else {
            connections[index].received += room[..<count]
            guard let length = try answerLength(connections[index].received[...]) else { return }
            try answered(index, length, connections[index].received.count)
            connections[index].received.removeAll(keepingCapacity: true)
        }
    }

    private func answered(_ index: Int, _ length: Int, _ received: Int) throws {
        guard length == received, connections[index].isWaiting else { throw Failure("\(load.path) sent more than its answer") }
        let now = Self.now
        result.completed += 1
        result.latencies.append(Double(now - connections[index].sent) / 1000)
        if now < end { return try send(index) }
        connections[index].isWaiting = false
        waiting -= 1
    }

    /// The bytes of the answer at the front of `bytes`; nil while its end has not come; a wrong answer throws.
    private func answerLength(_ bytes: ArraySlice<UInt8>) throws -> Int? {
        try bytes.withUnsafeBytes { bytes in
            var bodyBytes: Int?
            var line = 0
            while let feed = Self.lineFeed(bytes, from: line) {
                if line == 0, !bytes.starts(with: good) {
                    throw Failure("\(load.path) was answered \(String(decoding: bytes[..<max(0, feed - 1)], as: UTF8.self))")
                }
                if feed - line <= 1 {
                    guard let bodyBytes else { throw Failure("\(load.path) was answered without a Content-Length") }
                    guard bytes.count >= feed + 1 + bodyBytes else { return nil }
                    let body = bytes[(feed + 1)..<(feed + 1 + bodyBytes)]
                    guard body.elementsEqual(expectedBody) else {
                        let text = String(decoding: body.prefix(80), as: UTF8.self)
                        throw Failure("\(load.path) was answered with the body \(text.debugDescription)")
                    }
                    return feed + 1 + bodyBytes
                }
                if strncasecmp(bytes.baseAddress! + line, "content-length:", 15) == 0 {
                    bodyBytes = Int(strtol(bytes.baseAddress! + line + 15, nil, 10))
                }
                line = feed + 1
            }
            return nil
        }
    }

    private static func lineFeed(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = bytes.baseAddress, let found = memchr(base + start, 10, bytes.count - start) else { return nil }
        return UnsafeRawPointer(found) - base
    }
}
