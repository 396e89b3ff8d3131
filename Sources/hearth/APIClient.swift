import Base
import Foundation
import HTTP
import SigV4

/// A signed HTTP client for the API listener. Blocks: for the CLI and for the thread that deploys.
struct APIClient: Sendable {
    /// `host:port`
    let endpoint: String
    let credentials: Credentials
    let region: String
    /// Where the address was found, for messages.
    var source = ""

    struct Response {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }

        /// The error's sentence, as the API words it.
        var message: String {
            let object = (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any]
            return object?["message"] as? String ?? object?["Message"] as? String ?? "HTTP \(status)"
        }
    }

    func call(
        _ method: String, _ path: String, query: String = "", headers: [(name: String, value: String)] = [],
        body: [UInt8] = [], onBody: ((UnsafeRawBufferPointer) -> Void)? = nil
    ) throws -> Response {
        let socket = try connect()
        defer { close(socket) }
        let signer = Signer(credentials: credentials, region: region, service: "lambda")
        let all = [(name: "host", value: endpoint)] + headers
        let signed = body.withUnsafeBytes {
            signer.headers(
                method: method, path: path, query: query, headers: all, body: $0,
                epochSeconds: UInt64(Date().timeIntervalSince1970))
        }
        var head = "\(method) \(path)\(query.isEmpty ? "" : "?")\(query) HTTP/1.1\r\n"
        for header in all + signed { head += "\(header.name): \(header.value)\r\n" }
        head += "content-length: \(body.count)\r\nconnection: close\r\n\r\n"
        try send(Array(head.utf8) + body, socket)
        let response = try receive(socket, onBody)
        if response.headers["x-amzn-errortype"] == "UnrecognizedClientException" {
            throw Failure("the server at \(endpoint), which \(source) names, does not know these credentials: it is another Hearth")
        }
        return response
    }

    private func connect() throws -> CInt {
        guard let colon = endpoint.lastIndex(of: ":") else { throw Failure("\(endpoint) is not an address") }
        let host = String(endpoint[..<colon]).trimmingCharacters(in: ["[", "]"])
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(endpoint[endpoint.index(after: colon)...]), &hints, &list) == 0, let found = list else {
            throw Failure("the address \(endpoint) cannot be resolved")
        }
        defer { freeaddrinfo(list) }
        let socket = Foundation.socket(found.pointee.ai_family, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0, Foundation.connect(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else {
            let why = String(cString: strerror(errno))
            close(socket)
            let named = source.isEmpty ? "" : ", which \(source) names"
            throw Failure("no Hearth answers at \(endpoint)\(named) (\(why)): start one with hearth serve")
        }
        return socket
    }

    private func send(_ bytes: [UInt8], _ socket: CInt) throws {
        var at = 0
        while at < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.send(socket, $0.baseAddress?.advanced(by: at), $0.count - at, Int32(MSG_NOSIGNAL))
            }
            // The server may refuse before it has read everything: its answer is then waiting to be read.
            if count <= 0 { return }
            at += count
        }
    }

    private func receive(_ socket: CInt, _ onBody: ((UnsafeRawBufferPointer) -> Void)?) throws -> Response {
        let parser = HTTPResponseParser()
        let input = ByteBuffer(capacity: 64 * 1024)
        let body = ByteBuffer()
        var hasHead = false
        var decoder = ChunkedDecoder()
        var headers: [String: String] = [:]
        while true {
            let room = input.reserve(64 * 1024)
            let count = recv(socket, room, 64 * 1024, 0)
            let isEnd = count <= 0
            if count > 0 { input.commit(count) }
            do {
                if !hasHead {
                    guard try parser.parse(input.bytes) else {
                        if isEnd { throw Failure("Hearth at \(endpoint) closed the connection without an answer") }
                        continue
                    }
                    hasHead = true
                    for index in 0..<parser.headerCount {
                        let name = String(decoding: parser.headerName(index).slice(input.bytes), as: UTF8.self).lowercased()
                        headers[name] = String(decoding: parser.headerValue(index).slice(input.bytes), as: UTF8.self)
                    }
                    input.consume(parser.headBytes)
                }
                var isDone = isEnd
                switch parser.framing {
                case .none: isDone = true
                case .length(let length):
                    isDone = UInt64(input.count) >= length || isEnd
                    if isDone { body.append(input.bytes) }
                case .chunked:
                    let step = try decoder.decode(input.bytes, into: body, max: Int.max / 2)
                    input.consume(step.consumed)
                    isDone = step.done || isEnd
                case .untilClose:
                    body.append(input.bytes)
                    input.consume(input.count)
                }
                if let onBody, !body.isEmpty {
                    onBody(body.bytes)
                    body.clear()
                }
                if isDone { return Response(status: parser.status, headers: headers, body: Array(body.bytes)) }
            } catch let error as HTTPError {
                throw Failure("Hearth at \(endpoint) answered something that is not HTTP: \(error.reason)")
            }
        }
    }
}
