import CEpoll
import Foundation
import SigV4

/// Requests for S3, signed before anything is measured.
struct ObjectRequests {
    let port: UInt16
    let credentials: Credentials

    /// Of the server whose data directory this is.
    init(_ server: HearthServer) throws {
        port = server.ports.api
        credentials = try Self.credentials(in: server.data)
    }

    init(port: UInt16, credentials: Credentials) {
        self.port = port
        self.credentials = credentials
    }

    static func credentials(in data: String) throws -> Credentials {
        struct Stored: Decodable {
            var access_key_id: String
            var secret_access_key: String
        }
        let stored = try JSONDecoder().decode(Stored.self, from: Data(contentsOf: URL(fileURLWithPath: "\(data)/credentials.json")))
        return Credentials(accessKeyID: stored.access_key_id, secretAccessKey: stored.secret_access_key)
    }

    /// A head, with its empty line; the body is not signed (digests of it are made all the same).
    func head(_ method: String, _ path: String, query: String = "", bodyBytes: Int? = nil) -> [UInt8] {
        let host = "127.0.0.1:\(port)"
        let signer = Signer(credentials: credentials, region: "us-east-1", service: "s3")
        let signed = signer.headers(
            method: method, path: path, query: query, headers: [("host", host)], payload: "UNSIGNED-PAYLOAD",
            epochSeconds: UInt64(Date().timeIntervalSince1970))
        var text = "\(method) \(path)\(query.isEmpty ? "" : "?")\(query) HTTP/1.1\r\nhost: \(host)\r\n"
        for field in signed { text += "\(field.name): \(field.value)\r\n" }
        if let bodyBytes { text += "content-length: \(bodyBytes)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    /// Without a signature, for a server of files.
    static func plain(_ path: String, port: UInt16) -> [UInt8] { Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n".utf8) }

    /// One request on a connection of its own; a failure unless it is answered 200.
    func call(_ method: String, _ path: String, query: String = "") throws {
        _ = try ObjectLoad.run(port: port, [head(method, path, query: query, bodyBytes: method == "GET" ? nil : 0)], connections: 1)
    }
}

/// Sends small requests over kept connections, one at a time on each, from one thread over epoll; bodies of answers are thrown away.
final class ObjectLoad {
    private struct Connection {
        var socket: CInt = -1
        var sent: UInt64 = 0
        var head: [UInt8] = []
        /// What of the answer's body has not come; nil: its head is still coming.
        var left: Int?
    }

    private let requests: [[UInt8]]
    private var next = 0
    private var connections: [Connection]
    private let epoll = cepoll_make()
    private var room = [UInt8](repeating: 0, count: 256 * 1024)
    private var waiting = 0
    private var latencies: [Double] = []

    private init(_ requests: [[UInt8]], _ connections: Int) {
        self.requests = requests
        self.connections = Array(repeating: Connection(), count: connections)
        latencies.reserveCapacity(requests.count)
    }

    deinit {
        for connection in connections where connection.socket >= 0 { close(connection.socket) }
        close(epoll)
    }

    /// Sends all of them, so many at a time; returns the seconds that they took, and each one's in microseconds.
    static func run(port: UInt16, _ requests: [[UInt8]], connections: Int) throws -> (seconds: Double, latencies: [Double]) {
        let load = ObjectLoad(requests, min(connections, requests.count))
        for index in load.connections.indices {
            load.connections[index].socket = try connectTCP(port)
            cepoll_add(load.epoll, load.connections[index].socket, UInt32(index))
        }
        let began = LoadClient.now
        for index in load.connections.indices { try load.send(index) }
        var ready = [UInt32](repeating: 0, count: load.connections.count)
        while load.waiting > 0 {
            let count = cepoll_wait(load.epoll, &ready, CInt(ready.count), 30_000)
            guard count > 0 else { throw Failure("\(load.waiting) requests were not answered in 30 s") }
            for index in ready.prefix(Int(count)) { try load.receive(Int(index)) }
        }
        return (Double(LoadClient.now - began) / 1e9, load.latencies)
    }

    private func send(_ index: Int) throws {
        guard next < requests.count else { return }
        let request = requests[next]
        next += 1
        waiting += 1
        connections[index].sent = LoadClient.now
        guard Glibc.send(connections[index].socket, request, request.count, CInt(MSG_NOSIGNAL)) == request.count else {
            throw Failure("a request could not be sent at once: \(String(cString: strerror(errno)))")
        }
    }

    private func receive(_ index: Int) throws {
        // MSG_TRUNC: the kernel drops the bytes instead of copying them (tcp(7)).
        let flags = CInt(MSG_DONTWAIT) | (connections[index].left == nil ? 0 : CInt(MSG_TRUNC))
        let count = recv(connections[index].socket, &room, room.count, flags)
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        guard count > 0 else { throw Failure("the server closed a connection") }
        if let left = connections[index].left {
            connections[index].left = left - count
        } else {
            connections[index].head += room[..<count]
            guard let answer = try AnswerHead(connections[index].head) else { return }
            connections[index].left = answer.bodyBytes - (connections[index].head.count - answer.headBytes)
        }
        guard connections[index].left == 0 else { return }
        latencies.append(Double(LoadClient.now - connections[index].sent) / 1000)
        connections[index].left = nil
        connections[index].head.removeAll(keepingCapacity: true)
        waiting -= 1
        try send(index)
    }
}

/// The head of an answer 200 with a length.
struct AnswerHead {
    let headBytes: Int
    let bodyBytes: Int

    /// nil while its end has not come.
    init?(_ bytes: [UInt8]) throws {
        guard let text = String(validating: bytes.prefix(8192).prefix { $0 < 0x80 }, as: UTF8.self),
            let end = text.range(of: "\r\n\r\n")
        else { return nil }
        guard text.hasPrefix("HTTP/1.1 200 ") else { throw Failure("an answer was \(text.prefix { $0 != "\r\n" }): \(text[end.upperBound...])") }
        headBytes = text.utf8.distance(from: text.startIndex, to: end.upperBound)
        let line = text[..<end.lowerBound].split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        bodyBytes = Int(line?.dropFirst("content-length:".count).trimmingCharacters(in: .whitespaces) ?? "") ?? 0
    }
}

/// Sends large bodies, one connection a thread, blocking: what a client's own work costs is a system call a megabyte.
enum BodyLoad {
    /// Seconds of all uploads, `connections` at a time.
    static func put(_ requests: ObjectRequests, _ paths: [String], connections: Int, body: [UInt8]) throws -> Double {
        let heads = paths.map { requests.head("PUT", $0, bodyBytes: body.count) }
        return try run(heads.count, connections, requests.port) { socket, number in
            try send(socket, heads[number])
            try send(socket, body)
            try answer(socket)
        }
    }

    static func run(
        _ count: Int, _ connections: Int, _ port: UInt16, _ one: @escaping @Sendable (_ socket: CInt, _ number: Int) throws -> Void
    ) throws -> Double {
        let turns = Turns(count)
        let began = LoadClient.now
        runThreads(connections) {
            do {
                let socket = try connectTCP(port)
                defer { close(socket) }
                while let number = turns.next() { try one(socket, number) }
            } catch { turns.fail(error) }
        }
        let seconds = Double(LoadClient.now - began) / 1e9
        if let failure = turns.failure { throw failure }
        return seconds
    }

    private static func send(_ socket: CInt, _ bytes: [UInt8]) throws {
        var at = 0
        while at < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress?.advanced(by: at), min(1 << 20, $0.count - at), CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure("a body could not be sent: \(String(cString: strerror(errno)))") }
            at += count
        }
    }

    private static func answer(_ socket: CInt) throws {
        var head: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(socket, &room, room.count, 0)
            guard count > 0 else { throw Failure("the server closed a connection instead of an answer") }
            head += room[..<count]
            if try AnswerHead(head) != nil { return }
        }
    }
}
