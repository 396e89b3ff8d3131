import Base
import Cache
import CacheAPI
import RESP

/// A service on a cache of its own, whose time the test moves.
final class Face {
    let cache: Cache
    let service: CacheService
    private(set) var now = Moment(nanoseconds: 1_000_000_000_000)
    private(set) var epoch: UInt64 = 1_700_000_000_000

    init(limitBytes: Int = 64 << 20, prepare: (Cache) throws -> Void = { _ in }) throws {
        cache = Cache(limitBytes: limitBytes, seed: 7, at: now)
        try prepare(cache)
        service = try CacheService(
            cache: cache, options: CacheOptions(user: "AKIA", password: "secret"), clock: Clock(now: now, epochMilliseconds: epoch))
    }

    /// Time passes, and the cache does what is due.
    func pass(_ milliseconds: UInt64) {
        now = now + .milliseconds(milliseconds)
        epoch += milliseconds
        service.clock.advance(to: now, epochMilliseconds: epoch)
        while cache.advance(to: now) {}
        service.flushPending()
    }

    func client(_ door: Door = .owner) -> Client { Client(self, door) }
}

/// A client without a socket: what it is sent is kept until it is read.
final class Client: SessionTransport {
    let face: Face
    let session: Session
    private let parser = RequestParser()
    private(set) var isClosed = false

    init(_ face: Face, _ door: Door) {
        self.face = face
        session = face.service.open(door: door, address: "test:\(door)")
        session.transport = self
    }

    /// The replies to one command, as the bytes that are sent, with | for each line end.
    @discardableResult
    func send(_ words: String...) -> String { send(words.map { Array($0.utf8) }) }

    @discardableResult
    func send(_ words: [[UInt8]]) -> String {
        var request = Array("*\(words.count)\r\n".utf8)
        for word in words { request += Array("$\(word.count)\r\n".utf8) + word + [0x0D, 0x0A] }
        request.withUnsafeBytes { bytes in
            guard let taken = try? parser.parse(bytes), taken == bytes.count else { return }
            session.execute(parser.arguments(bytes))
        }
        face.service.flushPending()
        return read()
    }

    /// What has come since the last time.
    func read() -> String {
        defer { session.reply.buffer.clear() }
        return session.reply.buffer.string.replacing("\r\n", with: "|")
    }

    /// Sends lines of words and compares each reply.
    func check(_ lines: [(String, String)]) -> [String] {
        lines.compactMap { line, wanted in
            let reply = send(line.split(separator: " ", omittingEmptySubsequences: false).map { Array($0.utf8) })
            return reply == wanted ? nil : "\(line): \(reply) instead of \(wanted)"
        }
    }

    func flush() {}

    func close() {
        isClosed = true
        session.end()
    }
}
