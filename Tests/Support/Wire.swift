import Foundation

/// An answer as it came over the wire.
package struct WireResponse: Sendable, CustomStringConvertible {
    package let status: Int
    /// Names as they were written.
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]
    /// Head and body, chunk lines included.
    package let raw: [UInt8]

    package var text: String { String(decoding: body, as: UTF8.self) }
    package var json: Any? { try? JSONSerialization.jsonObject(with: Data(body), options: [.fragmentsAllowed]) }
    package var object: [String: Any] { json as? [String: Any] ?? [:] }

    /// All values of a field, joined with a comma; nil when it is absent. Case does not matter.
    package subscript(name: String) -> String? {
        let all = headers.filter { $0.name.lowercased() == name.lowercased() }
        return all.isEmpty ? nil : all.map(\.value).joined(separator: ", ")
    }

    package var description: String { String(decoding: raw, as: UTF8.self) }
}

/// A TCP connection that sends exactly the bytes it is told to. Used by one test at a time.
package final class Wire {
    private let socket: CInt
    /// Bytes that came and have not been taken.
    private var input: [UInt8] = []

    /// - Parameter address: `127.0.0.1:PORT`.
    package init(_ address: String, receiveBufferBytes: CInt? = nil) throws {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else {
            throw TestFailure("\(address) is not an address")
        }
        socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if var bytes = receiveBufferBytes { setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, 4) }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = inet_addr(String(address[..<colon]))
        let result = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else {
            let why = String(cString: strerror(errno))
            Foundation.close(socket)
            throw TestFailure("cannot connect to \(address): \(why)")
        }
    }

    deinit { Foundation.close(socket) }

    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Blocks until the kernel has all of it; a connection that the other side has closed is no failure here.
    package func send(_ bytes: [UInt8]) throws {
        var at = 0
        while at < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.send(socket, $0.baseAddress?.advanced(by: at), $0.count - at, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            if count < 0 { return }
            at += count
        }
    }

    /// Ends our direction of the stream.
    package func finishSending() { shutdown(socket, Int32(SHUT_WR)) }

    /// Closes with a reset, as a process does that dies with unread input.
    package func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        // The descriptor itself is closed in `deinit`; dup2 makes the kernel let go of the socket now.
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        dup2(null, socket)
        Foundation.close(null)
    }

    /// Takes in what has come; false when the other side has closed.
    private func fill(until end: Date) throws -> Bool {
        let left = end.timeIntervalSinceNow
        guard left > 0 else { throw TestFailure("nothing more came in time; so far: \(String(decoding: input, as: UTF8.self))") }
        var waits = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&waits, 1, CInt(min(left, 1) * 1000) + 1) > 0 else { return true }
        var block = [UInt8](repeating: 0, count: 64 * 1024)
        let count = recv(socket, &block, block.count, 0)
        if count > 0 { input += block[..<count] }
        return count > 0
    }

    /// Waits until this text has come, which is kept.
    package func wait(for text: String, seconds: Double = 30) throws {
        let end = Date().addingTimeInterval(seconds)
        while find(Array(text.utf8), from: 0) == nil {
            guard try fill(until: end) else { throw TestFailure("\(text) has not come: \(String(decoding: input, as: UTF8.self))") }
        }
    }

    /// Everything until the other side closes.
    package func readToEnd(seconds: Double = 30) throws -> [UInt8] {
        let end = Date().addingTimeInterval(seconds)
        while try fill(until: end) {}
        defer { input = [] }
        return input
    }

    /// True when the other side closes without another byte.
    package func isClosed(seconds: Double = 30) throws -> Bool { try readToEnd(seconds: seconds).isEmpty }

    /// The next complete answer, interim ones (1xx) included.
    ///
    /// - Parameter isHead: the request was HEAD: there is no body whatever the fields say.
    package func response(isHead: Bool = false, seconds: Double = 30) throws -> WireResponse {
        let end = Date().addingTimeInterval(seconds)
        var isOpen = true
        while true {
            if let response = try takeResponse(isHead: isHead, isOpen: isOpen) { return response }
            guard isOpen else {
                throw TestFailure("the connection ended inside an answer: \(String(decoding: input, as: UTF8.self))")
            }
            isOpen = try fill(until: end)
        }
    }

    private func takeResponse(isHead: Bool, isOpen: Bool) throws -> WireResponse? {
        guard let headEnd = find([13, 10, 13, 10], from: 0) else { return nil }
        var lines = String(decoding: input[..<headEnd], as: UTF8.self).components(separatedBy: "\r\n")
        let first = lines.removeFirst()
        guard first.hasPrefix("HTTP/1.1 "), let status = Int(first.dropFirst(9).prefix(3)) else {
            throw TestFailure("not a status line: \(first)")
        }
        let headers = try lines.map { line in
            guard let colon = line.firstIndex(of: ":") else { throw TestFailure("not a field: \(line)") }
            return (name: String(line[..<colon]), value: line[line.index(after: colon)...].trimmingCharacters(in: [" ", "\t"]))
        }
        func field(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
        let bodyStart = headEnd + 4
        let body: [UInt8]
        let end: Int
        if isHead || status < 200 || status == 204 || status == 304 {
            (body, end) = ([], bodyStart)
        } else if field("transfer-encoding") == "chunked" {
            guard let chunks = try takeChunks(from: bodyStart) else { return nil }
            (body, end) = chunks
        } else if let length = field("content-length") {
            guard let length = Int(length) else { throw TestFailure("Content-Length: \(length)") }
            guard input.count >= bodyStart + length else { return nil }
            (body, end) = (Array(input[bodyStart..<bodyStart + length]), bodyStart + length)
        } else {
            guard !isOpen else { return nil }
            (body, end) = (Array(input[bodyStart...]), input.count)
        }
        defer { input.removeFirst(end) }
        return WireResponse(status: status, headers: headers, body: body, raw: Array(input[..<end]))
    }

    private func takeChunks(from start: Int) throws -> ([UInt8], Int)? {
        var body: [UInt8] = []
        var at = start
        while let lineEnd = find([13, 10], from: at) {
            let line = String(decoding: input[at..<lineEnd], as: UTF8.self)
            guard let size = Int(line, radix: 16) else { throw TestFailure("not a chunk size: \(line)") }
            let next = lineEnd + 2 + size + 2
            guard input.count >= next else { return nil }
            guard Array(input[next - 2..<next]) == [13, 10] else { throw TestFailure("a chunk without its end") }
            if size == 0 { return (body, next) }
            body += input[lineEnd + 2..<next - 2]
            at = next
        }
        return nil
    }

    private func find(_ pattern: [UInt8], from start: Int) -> Int? {
        guard input.count >= pattern.count else { return nil }
        return (start..<max(start, input.count - pattern.count + 1)).first {
            input[$0] == pattern[0] && input[$0..<$0 + pattern.count].elementsEqual(pattern)
        }
    }
}
