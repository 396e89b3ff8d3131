internal import Base
internal import HTTP
package import UV

/// A server that this one asks, over kept connections: some are open before they are needed.
///
///     send ─▶ an idle connection, else a new one (up to `connectionsMax`), else the queue
///
/// Invariants:
///  1. Open and opening connections are at most `connectionsMax`.
///  2. Nothing waits in the queue while a connection idles.
///  3. An exchange ends with `ended` or `failed`, unless it was cancelled.
///
/// Thread rule: the loop's thread.
package final class HTTPOrigin {
    static let connectSeconds: UInt64 = 10
    /// Without a byte in either direction.
    static let answerSeconds: UInt64 = 60
    /// Shorter than servers keep connections, so that few die in our hands.
    static let idleSeconds: UInt64 = 50

    private final class Opening {
        var connecting: Connecting?
        var deadline: UInt64 = 0
    }

    let loop: Loop
    package let host: String
    package let port: Int
    private let connectionsMax: Int
    private let warm: Int
    private let timer: Timer
    private var connections: [HTTPClientConnection] = []
    private var idle: [HTTPClientConnection] = []
    private var openings: [Opening] = []
    private var waiting: [HTTPExchange] = []
    /// Seconds of its clock.
    private(set) var tick: UInt64 = 0
    /// No connection is opened for later use before this tick: the origin has just refused one.
    private var warmsAgain: UInt64 = 0

    /// - Parameter warm: so many connections are kept open.
    package init(loop: Loop, host: String, port: Int, connectionsMax: Int, warm: Int) throws(UVError) {
        self.loop = loop
        self.host = host
        self.port = port
        self.connectionsMax = connectionsMax
        self.warm = min(warm, connectionsMax)
        timer = try Timer(loop: loop)
        timer.unreference()
        timer.start(after: .seconds(1), repeating: .seconds(1)) { [unowned self] in advance() }
        keepWarm()
    }

    package var connectionCount: Int { connections.count }
    package var waitingCount: Int { waiting.count }

    package func send(_ exchange: HTTPExchange) {
        waiting.append(exchange)
        serve()
    }

    /// Closes everything; what is under way hears nothing more.
    package func close() {
        timer.close()
        for opening in openings { opening.connecting?.cancel() }
        openings = []
        waiting = []
        for connection in connections { connection.close() }
    }

    // MARK: Connections

    private func serve() {
        waiting.removeAll { $0.isOver }
        while !waiting.isEmpty, let connection = idle.popLast() { connection.begin(waiting.removeFirst()) }
        let wanted = waiting.count - openings.count
        for _ in 0..<max(0, min(wanted, connectionsMax - connections.count - openings.count)) { open() }
    }

    private func keepWarm() {
        guard tick >= warmsAgain else { return }
        for _ in 0..<max(0, warm - connections.count - openings.count) { open() }
    }

    private func open() {
        let opening = Opening()
        opening.deadline = deadline(after: Self.connectSeconds)
        openings.append(opening)
        opening.connecting = Connecting(loop: loop, host: host, port: port) { [weak self] result in self?.opened(opening, result) }
    }

    private func opened(_ opening: Opening, _ result: Result<TCP, UVError>) {
        switch result {
        case .success(let stream):
            openings.removeAll { $0 === opening }
            let connection = HTTPClientConnection(stream, self)
            connections.append(connection)
            idles(connection)
        case .failure(let error): failed(opening, .unreachable("\(error)"))
        }
    }

    private func failed(_ opening: Opening, _ failure: OriginFailure) {
        openings.removeAll { $0 === opening }
        warmsAgain = deadline(after: 5)
        // Others may still be on their way; when the last has failed, nobody waits in vain.
        guard openings.isEmpty, connections.isEmpty else { return }
        let all = waiting
        waiting = []
        for exchange in all { end(exchange, failure) }
    }

    func idles(_ connection: HTTPClientConnection) {
        idle.append(connection)
        serve()
    }

    func closed(_ connection: HTTPClientConnection) {
        idle.removeAll { $0 === connection }
        connections.removeAll { $0 === connection }
        serve()
    }

    /// Begins it anew where that cannot do harm twice; else it has failed.
    func failed(_ exchange: HTTPExchange, _ failure: OriginFailure, isUnanswered: Bool, wasAged: Bool) {
        guard !exchange.isOver else { return }
        var isReplayable = isUnanswered
        if case .streamed = exchange.body { isReplayable = false }
        if isReplayable, wasAged {
            // A kept connection that the origin closed meanwhile has most likely brought it nothing (RFC 9110 §9.2.2). What broke it may
            // have broken the others that wait: a new one is opened, and that counts.
            exchange.attempts -= 1
            let suspects = idle
            idle = []
            for connection in suspects { connection.close() }
            return send(exchange)
        }
        if isReplayable, exchange.attempts < exchange.attemptsMax { return send(exchange) }
        end(exchange, failure)
    }

    private func end(_ exchange: HTTPExchange, _ failure: OriginFailure) {
        let receiver = exchange.receiver
        exchange.receiver = nil
        receiver?.failed(failure)
    }

    // MARK: Time

    func hasAged(since opened: UInt64) -> Bool { tick > opened }

    func deadline(after seconds: UInt64) -> UInt64 { tick + seconds + 1 }

    private func advance() {
        tick += 1
        for connection in connections where connection.deadline <= tick { connection.timedOut() }
        for opening in openings where opening.deadline <= tick {
            opening.connecting?.cancel()
            failed(opening, .timedOut)
        }
        keepWarm()
    }
}
