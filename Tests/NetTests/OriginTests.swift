import Base
import Foundation
import HTTP
import Net
import Testing
import TestSupport
import UV

/// A server of a few lines that answers in pieces, each connection on a thread of its own: `GET /n` with the text n.
private final class PiecewiseServer: @unchecked Sendable {
    let port: Int
    private let listener: CInt

    /// - Parameter answersPerConnection: then it closes, without a word; 0: at once, having read the request.
    init(seed: UInt64, answersPerConnection: Int) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw TestFailure("no port") }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in
            var random = Random(seed: seed)
            while case let client = accept(listener, nil, nil), client >= 0 {
                var on: CInt = 1
                setsockopt(client, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
                let pieces = random.next()
                Thread.detachNewThread { [self] in
                    serve(client, answersPerConnection, Random(seed: pieces))
                    close(client)
                }
            }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ client: CInt, _ answers: Int, _ seeded: Random) {
        var random = seeded
        var input = ""
        var room = [UInt8](repeating: 0, count: 4096)
        var left = answers
        while true {
            let count = recv(client, &room, room.count, 0)
            guard count > 0 else { return }
            input += String(decoding: room[..<count], as: UTF8.self)
            while let end = input.range(of: "\r\n\r\n") {
                let name = String(input.dropFirst("GET /".count).prefix { $0 != " " })
                input = String(input[end.upperBound...])
                guard left > 0 else { return }
                left -= 1
                var answer = Array("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: \(name.utf8.count)\r\n\r\n\(name)".utf8)[...]
                while !answer.isEmpty {
                    let piece = Array(answer.prefix(1 + Int(random.next() % 40)))
                    answer = answer.dropFirst(piece.count)
                    send(client, piece, piece.count, Int32(MSG_NOSIGNAL))
                }
            }
        }
    }
}

@Suite struct OriginTests {
    private final class Answer: AnswerReceiver {
        private let done: (String) -> Void
        private var text = ""

        init(_ done: @escaping (String) -> Void) { self.done = done }

        func answered(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) { text = "\(head.status) " }
        func received(_ bytes: UnsafeRawBufferPointer) { text += String(decoding: bytes, as: UTF8.self) }
        func ended() { done(text) }
        func failed(_ failure: OriginFailure) { done("\(failure)") }
    }

    /// Asks for 0, 1, 2 … at once over so many connections; returns the answers in the order of asking.
    private func answers(_ count: Int, port: Int, connections: Int) throws -> [String] {
        nonisolated(unsafe) var all = [String](repeating: "", count: count)
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            defer { done.signal() }
            guard let loop = try? Loop(),
                let origin = try? HTTPOrigin(loop: loop, host: "127.0.0.1", port: port, connectionsMax: connections, warm: 0)
            else { return }
            var left = count
            for number in 0..<count {
                let answer = Answer { text in
                    all[number] = text
                    left -= 1
                    if left == 0 { loop.stop() }
                }
                origin.send(HTTPExchange(head: Array("GET /\(number) HTTP/1.1\r\nHost: x\r\n\r\n".utf8), attemptsMax: 3, receiver: answer))
            }
            loop.run()
            origin.close()
            loop.run()
        }
        guard done.wait(timeout: .now() + 60) == .success else { throw TestFailure("not all were answered: \(all)") }
        return all
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func everyAnswerReachesWhoAskedHoweverItIsCutAndWhateverCloses(seed: UInt64) throws {
        let wanted = (0..<60).map { "200 \($0)" }
        for (perConnection, connections) in [(Int.max, 1), (7, 1), (3, 4)] {
            let server = try PiecewiseServer(seed: seed, answersPerConnection: perConnection)
            defer { server.stop() }
            #expect(try answers(60, port: server.port, connections: connections) == wanted, "seed \(seed), \(perConnection) a connection")
        }
        let silent = try PiecewiseServer(seed: seed, answersPerConnection: 0)
        let refused = try answers(2, port: silent.port, connections: 1)
        #expect(refused.allSatisfy { $0.hasPrefix("broken") }, "\(refused)")
        silent.stop()
        #expect(try answers(2, port: silent.port, connections: 2).allSatisfy { !$0.hasPrefix("200") })
    }
}
