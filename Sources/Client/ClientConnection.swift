internal import Base
internal import Foundation
internal import HTTP

/// An answer, complete.
package struct ClientResponse: Sendable {
    package let status: Int
    /// By lower-case name; of one that is repeated the last.
    package let headers: [String: String]
    /// Empty when somebody else took the bytes as they came.
    package var body: [UInt8] = []

    package var text: String { String(decoding: body, as: UTF8.self) }
}

/// One HTTP/1.1 connection over a blocking socket, for one exchange after another.
///
/// Thread rule: one thread.
package final class ClientConnection {
    private static let readBytes = 256 * 1024
    private let endpoint: String
    private let socket: CInt
    private let parser = HTTPResponseParser()
    private let input = ByteBuffer(capacity: 64 * 1024)
    /// Another exchange may follow.
    package private(set) var isReusable = true
    package private(set) var exchanges = 0

    /// - Parameters:
    ///   - endpoint: `host:port`.
    ///   - patienceSeconds: how long the other side may neither send nor take anything; nil: for ever.
    package init(_ endpoint: String, patienceSeconds: Int? = nil) throws(ClientError) {
        self.endpoint = endpoint
        guard let colon = endpoint.lastIndex(of: ":") else { throw .local("\(endpoint) is not an address: write host:port") }
        let host = String(endpoint[..<colon]).trimmingCharacters(in: ["[", "]"])
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(endpoint[endpoint.index(after: colon)...]), &hints, &list) == 0, let found = list else {
            throw .unreachable(endpoint: endpoint, why: "the name cannot be resolved")
        }
        defer { freeaddrinfo(list) }
        socket = Foundation.socket(found.pointee.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if let patienceSeconds {
            var patience = timeval(tv_sec: patienceSeconds, tv_usec: 0)
            for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
                setsockopt(socket, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
            }
        }
        guard socket >= 0, connect(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else {
            let why = String(cString: strerror(errno))
            if socket >= 0 { close(socket) }
            throw .unreachable(endpoint: endpoint, why: why)
        }
        var yes: CInt = 1
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, 4)
    }

    deinit { close(socket) }

    /// - Parameters:
    ///   - head: request line and fields, with the empty line.
    ///   - toHead: the request is HEAD: no body follows the answer.
    ///   - sink: takes the body of an answer as it comes, when it says so for the answer's status; the bytes are gone when it returns.
    package func exchange(
        head: String, body: UnsafeRawBufferPointer, toHead: Bool = false, sink: ClientSink? = nil
    ) throws(ClientError) -> ClientResponse {
        isReusable = false
        exchanges += 1
        let bytes = Array(head.utf8)
        bytes.withUnsafeBytes { send($0, more: !body.isEmpty) }
        send(body, more: false)
        return try receive(toHead: toHead, sink)
    }

    /// What cannot be sent is no failure yet: the server may refuse before it has read everything, and its answer then waits to be read.
    private func send(_ bytes: UnsafeRawBufferPointer, more: Bool) {
        var at = 0
        let flags = Int32(MSG_NOSIGNAL) | (more ? Int32(MSG_MORE) : 0)
        while at < bytes.count {
            let count = Foundation.send(socket, bytes.baseAddress?.advanced(by: at), bytes.count - at, flags)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return }
            at += count
        }
    }

    private func receive(toHead: Bool, _ sink: ClientSink?) throws(ClientError) -> ClientResponse {
        var response = try receiveHead(toHead: toHead)
        let body = ByteBuffer()
        let taker = sink.flatMap { $0.wants(response.status) ? $0 : nil }
        func deliver(_ bytes: UnsafeRawBufferPointer) throws(ClientError) {
            guard !bytes.isEmpty else { return }
            if let taker { try taker.take(bytes) } else { body.append(bytes) }
        }
        switch parser.framing {
        case .none: break
        case .length(let length):
            var left = length
            while left > 0 {
                if input.isEmpty { try fill() }
                let count = Int(min(left, UInt64(input.count)))
                try deliver(UnsafeRawBufferPointer(rebasing: input.bytes.prefix(count)))
                input.consume(count)
                left -= UInt64(count)
            }
        case .chunked:
            var decoder = ChunkedDecoder()
            let piece = ByteBuffer()
            while true {
                let step: (consumed: Int, done: Bool)
                do throws(HTTPError) {
                    let made = try decoder.decode(input.bytes, into: piece, max: Int.max / 2)
                    step = (made.consumed, made.done)
                } catch { throw .notHTTP(endpoint: endpoint, reason: "\(error.reason)") }
                input.consume(step.consumed)
                try deliver(piece.bytes)
                piece.clear()
                if step.done { break }
                try fill()
            }
        case .untilClose:
            repeat {
                try deliver(input.bytes)
                input.clear()
            } while try fillOrEnd()
        }
        isReusable = parser.keepAlive && input.isEmpty
        response.body = Array(body.bytes)
        return response
    }

    private func receiveHead(toHead: Bool) throws(ClientError) -> ClientResponse {
        while true {
            let isComplete: Bool
            do throws(HTTPError) { isComplete = try parser.parse(input.bytes, toHead: toHead) } catch {
                throw .notHTTP(endpoint: endpoint, reason: "\(error.reason)")
            }
            guard isComplete else {
                try fill()
                continue
            }
            var headers: [String: String] = [:]
            for index in 0..<parser.headerCount {
                let name = String(decoding: parser.headerName(index).slice(input.bytes), as: UTF8.self).lowercased()
                headers[name] = String(decoding: parser.headerValue(index).slice(input.bytes), as: UTF8.self)
            }
            input.consume(parser.headBytes)
            // 1xx: the answer proper follows.
            if parser.status >= 200 { return ClientResponse(status: parser.status, headers: headers) }
        }
    }

    private func fill() throws(ClientError) {
        guard try fillOrEnd() else { throw .broken(endpoint: endpoint) }
    }

    /// False when the other side has closed. A connection that broke, or that nothing came on for too long, is `broken`.
    private func fillOrEnd() throws(ClientError) -> Bool {
        while true {
            let room = input.reserve(Self.readBytes)
            let count = recv(socket, room, Self.readBytes, 0)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .broken(endpoint: endpoint) }
            if count > 0 { input.commit(count) }
            return count > 0
        }
    }
}

/// Who takes the body of an answer as it comes.
package struct ClientSink {
    let wants: (_ status: Int) -> Bool
    let take: (UnsafeRawBufferPointer) throws(ClientError) -> Void

    package init(
        wants: @escaping (_ status: Int) -> Bool = { (200..<300).contains($0) },
        take: @escaping (UnsafeRawBufferPointer) throws(ClientError) -> Void
    ) {
        self.wants = wants
        self.take = take
    }
}
