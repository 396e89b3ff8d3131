internal import Base
internal import Glibc
internal import UV

/// A worker with a bundled client: frames over a pair of anonymous pipes (half the cost of a socket pair).
final class FrameWorker: Worker {
    private enum Phase { case starting, idle, busy, leaving }

    private var phase = Phase.starting
    private var toWorker: Pipe?
    private var fromWorker: Pipe?
    /// The beginning of a frame whose end has not come yet.
    private let partial = ByteBuffer()
    /// Of the invocation that was sent last.
    private var mark: UInt64 = 0
    /// Does its answer come in pieces?
    private var isStreaming = false
    /// Bytes of an answer beyond the limit that are still to be thrown away.
    private var discarding = 0

    override func openProtocol() throws -> [CInt] {
        var childEnds: [CInt] = []
        do {
            let (childReads, weWrite) = try makePipe(for: "worker")
            childEnds.append(childReads)
            toWorker = try Pipe(loop: loop, descriptor: weWrite)
            let (weRead, childWrites) = try makePipe(for: "worker")
            childEnds.append(childWrites)
            let reader = try Pipe(loop: loop, descriptor: weRead)
            fromWorker = reader
            reader.delegate = FrameReader(worker: self)
            reader.startReading()
            return childEnds
        } catch {
            for descriptor in childEnds { Glibc.close(descriptor) }
            throw error
        }
    }

    override func send(_ message: InvocationMessage) {
        assert(phase == .idle, "an invocation was sent to a worker that is not idle")
        phase = .busy
        isStreaming = false
        mark = message.mark
        toWorker?.write(message.frame.bytes)
    }

    override func requestStop() {
        toWorker?.close()
        toWorker = nil
    }

    override func closeProtocol() {
        toWorker?.close()
        fromWorker?.close()
        toWorker = nil
        fromWorker = nil
    }

    override func drainProtocol() { fromWorker?.drainNow() }

    override func pauseStream() { fromWorker?.stopReading() }
    override func resumeStream() { fromWorker?.startReading() }

    func received(_ bytes: UnsafeRawBufferPointer) {
        if partial.isEmpty, discarding == 0 {
            let used = takeFrames(bytes)
            if used < bytes.count { partial.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
            return
        }
        var bytes = bytes
        if discarding > 0 {
            let thrown = min(discarding, bytes.count)
            discarding -= thrown
            bytes = UnsafeRawBufferPointer(rebasing: bytes[thrown...])
            if discarding == 0 { answered(.tooLarge, UnsafeRawBufferPointer(start: nil, count: 0)) }
        }
        partial.append(bytes)
        let used = takeFrames(partial.bytes)
        partial.consume(used)
        if partial.isEmpty { partial.clear() }
    }

    /// Handles the whole frames at the front of `bytes`; returns how many bytes they take.
    private func takeFrames(_ bytes: UnsafeRawBufferPointer) -> Int {
        var used = 0
        while bytes.count - used >= 5 {
            let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: used, as: UInt32.self)))
            let kind = WorkerFrameKind(rawValue: bytes[used + 4])
            guard length >= 1, let kind else {
                malformed("a frame of unknown kind")
                return bytes.count
            }
            if length > Limits.workerFrameBytesMax {
                guard phase == .busy, kind != .ready, kind != .initFailed else {
                    malformed("a frame over the limit")
                    return bytes.count
                }
                return discard(length, bytes, from: used)
            }
            guard bytes.count - used >= 4 + length else { break }
            take(kind, UnsafeRawBufferPointer(rebasing: bytes[used + 5..<used + 4 + length]))
            used += 4 + length
        }
        return used
    }

    private func discard(_ length: Int, _ bytes: UnsafeRawBufferPointer, from used: Int) -> Int {
        // The limit keeps `length` above what one read can hold, so the rest is still to come.
        discarding = 4 + length - (bytes.count - used)
        if discarding <= 0 {
            discarding = 0
            answered(.tooLarge, UnsafeRawBufferPointer(start: nil, count: 0))
            return used + 4 + length
        }
        return bytes.count
    }

    private func take(_ kind: WorkerFrameKind, _ rest: UnsafeRawBufferPointer) {
        switch (kind, phase) {
        case (.ready, .starting) where rest.count >= 30:
            func word(_ offset: Int) -> Moment {
                Moment(nanoseconds: UInt64(littleEndian: rest.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            }
            let now = loop.now
            // The worker's own times are believed only in their order.
            if let zygoteTimes {
                times.begin(forkedAt: min(max(word(0), times.ordered), now), from: zygoteTimes)
            } else {
                times.runtimeUp = min(max(word(0), times.spawned), now)
                times.importBegan = min(max(word(8), times.runtimeUp), now)
                times.importEnded = min(max(word(16), times.importBegan), now)
            }
            times.ready = now
            peakKiB = UInt32(littleEndian: rest.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
            phase = .idle
            owner?.workerReady(self)
        case (.initFailed, .starting):
            drainLog()
            owner?.workerInitFailed(self, error: rest)
        case (.answer, .busy), (.failure, .busy), (.lastFailure, .busy), (.markedAnswer, .busy), (.markedFailure, .busy):
            takeAnswer(kind, rest)
        case (.streamBegin, .busy), (.streamPiece, .busy):
            takePiece(kind, rest)
        default:
            malformed("a frame out of turn")
        }
    }

    private func takePiece(_ kind: WorkerFrameKind, _ rest: UnsafeRawBufferPointer) {
        guard rest.count >= 8, isStreaming == (kind == .streamPiece) else { return malformed("a frame out of turn") }
        guard rest.loadUnaligned(as: UInt64.self) == mark else { return malformed("an answer to another invocation") }
        let bytes = UnsafeRawBufferPointer(rebasing: rest[8...])
        if isStreaming { owner?.workerStreamed(self, bytes) } else {
            isStreaming = true
            owner?.workerStreams(self, type: bytes)
        }
    }

    private func takeAnswer(_ kind: WorkerFrameKind, _ rest: UnsafeRawBufferPointer) {
        let isMarked = kind == .markedAnswer || kind == .markedFailure
        let headBytes = isMarked ? 12 : 4
        guard rest.count >= headBytes else { return malformed("a frame out of turn") }
        if isMarked, rest.loadUnaligned(fromByteOffset: 4, as: UInt64.self) != mark {
            return malformed("an answer to another invocation")
        }
        peakKiB = max(peakKiB, UInt32(littleEndian: rest.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        let payload = UnsafeRawBufferPointer(rebasing: rest[headBytes...])
        let fits = payload.count <= Limits.eventBytesMax
        let isResult = kind == .answer || kind == .markedAnswer
        answered(fits ? (isResult ? .result : .error) : .tooLarge, payload, isLast: kind == .lastFailure)
    }

    private func answered(_ kind: WorkerAnswer.Kind, _ payload: UnsafeRawBufferPointer, isLast: Bool = false) {
        guard phase == .busy else { return malformed("an answer that nobody asked for") }
        drainLog()
        phase = isLast ? .leaving : .idle
        owner?.workerAnswered(self, WorkerAnswer(kind: kind, payload: payload, impliesFree: !isLast))
    }

    private func malformed(_ what: String) {
        var line = "hearth: the worker sent \(what) and was killed\n"
        line.withUTF8 { wrote(UnsafeRawBufferPointer($0)) }
        fromWorker?.stopReading()
        kill()
        owner?.workerFaulted(self)
    }

    func pipeEnded() {
        // Without its pipe the process can do nothing more for us.
        if !hasExited { stop() }
    }
}

private final class FrameReader: StreamDelegate {
    /// The cycle ends when the pipe is closed.
    private let worker: FrameWorker

    init(worker: FrameWorker) { self.worker = worker }

    func received(_ bytes: UnsafeRawBufferPointer) { worker.received(bytes) }
    func ended(error: CInt) { worker.pipeEnded() }
    func drained() {}
}
