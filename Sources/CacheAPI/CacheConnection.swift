internal import Base
internal import RESP
internal import UV

/// One connection of a client: whole requests go to its session, what the session writes goes out.
///
///     open ──QUIT, protocol error, too much unsent──▶ closing (rest is sent) ──▶ closed
///
/// Invariants:
///  1. Answers of requests that came in one read leave in one write.
///  2. No request is taken up while more than `Limits.unsentBytesMax` of earlier answers wait for the other side, or clients are paused:
///     what came waits in `input`, and no more is read.
///  3. A request that has begun is complete within its `RequestPatience`; unsent bytes go on being taken within `cacheWriteTimeout`.
///
/// Thread rule: the loop's thread.
final class CacheConnection {
    private let stream: TCP
    /// The cycle ends with the connection, which the listener then forgets.
    private let listener: CacheListener
    private let service: CacheService
    private let parser: RequestParser
    let session: Session
    /// Bytes that came and are not part of a request that was carried out yet.
    private let input = ByteBuffer()
    private var isOpen = true
    private var isProcessing = false
    private var isHeldBack = false
    private var unsentBefore = 0
    private var patience = RequestPatience()
    /// The listener's tick at which patience ends.
    private(set) var deadline = UInt64.max
    /// Place in the listener's list.
    var index: Int

    init(_ stream: TCP, listener: CacheListener, index: Int) {
        self.stream = stream
        self.listener = listener
        self.index = index
        service = listener.service
        let peer = stream.peer
        session = service.open(
            door: listener.door, address: peer.host.isEmpty ? "unix:0" : "\(peer.host):\(peer.port)", localAddress: listener.addressText,
            descriptor: stream.withDescriptor { $0 } ?? 0)
        parser = RequestParser(limits: session.isAuthenticated ? listener.limits : .stranger)
    }

    func start() {
        session.transport = self
        stream.delegate = self
        stream.startReading()
        rest()
    }

    // MARK: Requests

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        service.statistics.inputBytes &+= UInt64(bytes.count)
        if isHeldBack || isProcessing { return input.append(bytes) }
        listener.moveClock()
        session.lastActive = service.clock
        if input.isEmpty {
            // the usual case: whole requests in the loop's read buffer, never copied
            let used = process(bytes)
            if used > 0 { patience.end() }
            if used < bytes.count, isOpen { input.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
        } else {
            input.append(bytes)
            let used = process(input.bytes)
            if used > 0 { patience.end() }
            if isOpen { input.consume(used) }
        }
        settle()
    }

    /// Carries out requests from the front of `bytes`; returns how many bytes are done with.
    private func process(_ bytes: UnsafeRawBufferPointer) -> Int {
        isProcessing = true
        defer { isProcessing = false }
        var used = 0
        while used < bytes.count, isOpen, !session.isClosing {
            if session.reply.buffer.count > Limits.unsentBytesMax { send() }
            if stream.queuedBytes > Limits.unsentBytesMax {
                isHeldBack = true
                break
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            do throws(RESPError) {
                let taken = try parser.parse(rest)
                if taken == 0 { break }
                let arguments = parser.arguments(rest)
                if service.pause != nil, arguments.count > 0, service.mustWait(session, arguments) {
                    isHeldBack = true
                    break
                }
                session.requestBytes = taken
                if arguments.count > 0 { execute(arguments) }
                used += taken
            } catch {
                session.refuseProtocol(error)
                return bytes.count
            }
        }
        return used
    }

    private func execute(_ arguments: Arguments) {
        let wasKnown = session.isAuthenticated
        session.execute(arguments)
        if wasKnown != session.isAuthenticated { parser.limits = session.isAuthenticated ? listener.limits : .stranger }
    }

    /// After requests were carried out: sends, ends, or waits for more.
    private func settle() {
        send()
        guard isOpen else { return }
        if session.isClosing { return finish() }
        if isHeldBack { stream.stopReading() } else { stream.startReading() }
        rest()
    }

    /// Sets what is waited for, and for how long.
    private func rest() {
        if stream.queuedBytes > 0 {
            unsentBefore = stream.queuedBytes
            deadline = listener.deadline(after: Limits.cacheWriteTimeout)
        } else if !input.isEmpty, !isHeldBack {
            deadline = patience.deadline(of: input.count, at: listener.tick)
        } else if service.settings.timeout > 0, session.subscriptions.isEmpty {
            deadline = listener.deadline(after: .seconds(UInt64(service.settings.timeout)))
        } else {
            deadline = .max
        }
    }

    /// Takes up what was held back, as far as it may go on.
    func goOn() {
        guard isHeldBack, isOpen, !isProcessing else { return }
        isHeldBack = false
        listener.moveClock()
        let used = process(input.bytes)
        if used > 0 { patience.end() }
        if isOpen { input.consume(used) }
        settle()
    }

    // MARK: Answers

    private func send() {
        guard isOpen, !session.reply.buffer.isEmpty else { return }
        service.statistics.outputBytes &+= UInt64(session.reply.buffer.count)
        stream.write(session.reply.buffer.bytes)
        session.reply.buffer.clear()
        if stream.queuedBytes > max(Limits.cachePushBytesMax, Limits.cacheReplyBytesMax) || isTooSlow { close() }
    }

    /// A subscriber that takes less than it is sent.
    private var isTooSlow: Bool {
        stream.queuedBytes > Limits.cachePushBytesMax && (!session.subscriptions.isEmpty || session.track != nil)
    }

    /// No more requests; ends when all is sent.
    private func finish() {
        stream.stopReading()
        if stream.queuedBytes > 0 { return rest() }
        close()
    }

    // MARK: Ends

    func timedOut() {
        if stream.queuedBytes > 0, stream.queuedBytes < unsentBefore { return rest() }
        close()
    }

    func closeWhenSent() {
        session.closeWhenSent()
        if !isProcessing { settle() }
    }
}

extension CacheConnection: SessionTransport {
    func flush() {
        guard isOpen, !isProcessing else { return }
        send()
        guard isOpen else { return }
        if session.isClosing { finish() } else if stream.queuedBytes > 0, deadline == .max { rest() }
    }

    func close() {
        guard isOpen else { return }
        isOpen = false
        session.end()
        stream.close()
        listener.remove(self)
    }
}

extension CacheConnection: StreamDelegate {
    func received(_ bytes: UnsafeRawBufferPointer) { receive(bytes) }

    func ended(error: CInt) { close() }

    func drained() {
        guard isOpen else { return }
        if session.isClosing { return close() }
        rest()
        goOn()
    }
}
