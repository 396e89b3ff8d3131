import Base
import Foundation
import HTTP
import Net
import Testing
import TestSupport
import UV

/// Answers with what it has been given, piece by piece.
private final class Streaming: HTTPService, @unchecked Sendable {
    /// Written on the loop's thread.
    var events: [String] = []
    /// Paused receivers go on when this is called.
    var resume: (() -> Void)?
    /// What the receivers have been given, together.
    var bytesGiven = 0

    func bodyBytesMax(_ request: HTTPRequest) -> Int { 100_000 }

    func handle(_ request: HTTPRequest) { request.connection.respond(200, text: "whole") }

    func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? {
        switch request.text(request.head.path) {
        case "/whole": return nil
        case "/refused":
            request.connection.respond(403, text: "refused")
            return nil
        case let path: return Receiver(self, request.connection, pauses: path == "/paused", answersEarly: path == "/early")
        }
    }

    private final class Receiver: BodyReceiver {
        private let service: Streaming
        private let connection: HTTPConnection
        private let pauses: Bool
        private let answersEarly: Bool
        private var bytes = 0
        private var sum = 0

        init(_ service: Streaming, _ connection: HTTPConnection, pauses: Bool, answersEarly: Bool) {
            (self.service, self.connection, self.pauses, self.answersEarly) = (service, connection, pauses, answersEarly)
        }

        func received(_ bytes: UnsafeRawBufferPointer) {
            self.bytes += bytes.count
            service.bytesGiven += bytes.count
            sum = bytes.reduce(sum) { ($0 &* 31 &+ Int($1)) & 0xFFFF_FFFF }
            if answersEarly { return connection.respond(409, text: "early") }
            guard pauses else { return }
            connection.pauseBody()
            service.resume = { [connection] in connection.resumeBody() }
        }

        func ended(trailers: [(name: String, value: [UInt8])]) {
            let text = "\(bytes) \(sum)" + trailers.map { " \($0.name)=\(String(decoding: $0.value, as: UTF8.self))" }.joined()
            Array(text.utf8).withUnsafeBytes { connection.respond(200, type: "text/plain", $0) }
        }

        func broken(status: Int, reason: StaticString) {
            service.events.append("broken \(status)")
            connection.respond(status, text: reason)
        }

        func clientWentAway() { service.events.append("gone") }
    }
}

/// A service on a loop of its own, on a thread of its own.
private final class LoopServer: @unchecked Sendable {
    let service = Streaming()
    private(set) var address = ""
    private var remote: Loop.Remote?

    init() throws {
        let ready = DispatchSemaphore(value: 0)
        Thread.detachNewThread { [self] in
            defer { ready.signal() }
            guard let loop = try? Loop(), let listener = try? HTTPListener(loop: loop, host: "127.0.0.1", port: 0, service: service) else { return }
            address = "127.0.0.1:\(listener.address.port)"
            remote = loop.remote
            ready.signal()
            withExtendedLifetime(listener) { loop.run() }
        }
        ready.wait()
        guard !address.isEmpty else { throw TestFailure("no loop, or no listener") }
    }

    /// Runs on the loop's thread and waits for it.
    func onLoop<T: Sendable>(_ body: @escaping @Sendable (Streaming) -> T) -> T? {
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var result: T?
        remote?.post { [service] in
            result = body(service)
            done.signal()
        }
        done.wait()
        return result
    }
}

@Suite struct StreamedBodyTests {
    private static func sum(_ bytes: [UInt8]) -> Int { bytes.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF_FFFF } }

    @Test func aBodyIsGivenOnInOrderHoweverItComes() throws {
        let server = try LoopServer()
        let body = (0..<99_999).map { UInt8(truncatingIfNeeded: $0 &* 7919) }
        let wire = try Wire(server.address)
        for step in [100_000, 4096, 1000] {
            var message = Array("PUT /s HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body
            // The next request comes in the same bytes as the end of the body.
            message += Array("PUT /s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nPUT /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab".utf8)
            for at in stride(from: 0, to: message.count, by: step) { try wire.send(Array(message[at..<min(at + step, message.count)])) }
            let answers = try [wire.response().text, wire.response().text, wire.response().text]
            #expect(answers == ["99999 \(Self.sum(body))", "0 0", "whole"])
        }
        for size in [1, 17, 5000] {
            var message = Array("PUT /s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
            for at in stride(from: 0, to: 20_000, by: size) {
                let piece = body[at..<min(at + size, 20_000)]
                message += Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + Array("\r\n".utf8)
            }
            try wire.send(message + Array("0\r\nSum: 1\r\n\r\n".utf8))
            #expect(try wire.response().text == "20000 \(Self.sum(Array(body[..<20_000]))) sum=1", "chunks of \(size)")
        }
        try wire.send("PUT /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        #expect(try wire.response().status == 100)
        try wire.send("abc")
        #expect(try wire.response().text == "3 \(Self.sum(Array("abc".utf8)))")
    }

    @Test func aReceiverHoldsItsSenderBackAndAnswersWhenItLikes() throws {
        let server = try LoopServer()
        let paused = try Wire(server.address)
        try paused.send("PUT /paused HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        try waitFor("the first piece") { server.onLoop { $0.resume != nil } == true ? () : nil }
        try paused.send("def")
        // By the end of this the loop has looked at all its sockets since "def" came.
        let other = try Wire(server.address)
        for _ in 0..<2 {
            try other.send("PUT /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
            #expect(try other.response().text == "whole")
        }
        #expect(server.onLoop { $0.bytesGiven } == 3, "a paused body is not read on")
        _ = server.onLoop { service in
            let resume = service.resume
            service.resume = nil
            resume?()
        }
        try waitFor("the second piece") { server.onLoop { $0.resume != nil } == true ? () : nil }
        #expect(try paused.response().text == "6 \(Self.sum(Array("abcdef".utf8)))")
        for (path, status) in [("early", 409), ("refused", 403)] {
            let wire = try Wire(server.address)
            try wire.send("PUT /\(path) HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\nabc")
            let answer = try wire.response()
            #expect(answer.status == status && answer["Connection"] == "close", "\(answer)")
        }
    }

    @Test func aBodyThatBreaksOffIsToldOnce() throws {
        let server = try LoopServer()
        for (rest, status) in [("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n", 400), ("Transfer-Encoding: chunked\r\n\r\n186a1\r\n", 413), ("Content-Length: 100001\r\n\r\n", 413)] {
            let wire = try Wire(server.address)
            try wire.send("PUT /s HTTP/1.1\r\nHost: x\r\n\(rest)")
            #expect(try wire.response().status == status, "\(rest)")
        }
        #expect(server.onLoop { $0.events } == ["broken 400", "broken 413"])
        do {
            let wire = try Wire(server.address)
            try wire.send("PUT /s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        }
        try waitFor("the client to be missed") { server.onLoop { $0.events.last } == "gone" ? () : nil }
    }
}
