internal import Base
internal import Dispatch
internal import Synchronization

/// A run of rows that a body's bytes went into.
struct BlobRun: Sendable {
    let pin: SegmentPin
    let base: Int64
    var size: Int64 = 0
    var stored: Int64 = 0
}

/// What a body turned out to be, ready to be named by a version or part.
struct WrittenBody: Sendable {
    enum Bytes: Sendable {
        case inline([UInt8])
        case runs([BlobRun])
    }
    let bytes: Bytes
    let size: Int64
    let md5: [UInt8]
    let checksum: Checksum
}

/// A body on its way into the store.
///
///     write ─▶ chunk full ─▶ digests (a lane's queue) ─▶ file (SegmentWriter) ─▶ room
///     finish ─▶ last chunk ─▶ digests agree with what was declared ─▶ all rows on disk ─▶ transaction ─▶ done
///
/// Invariants:
///  1. At most `objectWriterBufferBytes`, and one write, are between `write` and the disk; with the pool full, one chunk.
///  2. A body of at most `inlineBytesMax` bytes has no rows.
///  3. Files that hold its rows are pinned until the transaction has ended: they are neither sealed nor compacted.
///
/// Thread rule: one caller at a time, any thread; no call waits.
package final class ObjectWriter: Sendable {
    typealias Commit = @Sendable (WrittenBody, @escaping ObjectStore.Done<PutResult>) -> Void

    private struct State {
        /// Bytes that may become an inline body.
        var small: [UInt8] = []
        var chunk: Chunk?
        var inFlight = 0
        var resume: (@Sendable () -> Void)?
        var failure: ObjectsError?
        var isEnded = false
        var whenWritten: (@Sendable () -> Void)?
    }

    /// What the lane knows: rows and where they went.
    private final class Rows: @unchecked Sendable {
        var runs: [BlobRun] = []
        var chunksOfRun: Int64 = 0
    }

    private let pool: ChunkPool
    private let lane: DispatchQueue
    private let files: SegmentWriter
    private let inlineBytesMax: Int
    private let runBytesMax: Int64
    private let bytesMax: Int64
    private let digests: BodyDigests
    private let rows = Rows()
    private let commit: Commit
    private let state = Mutex(State())
    private let total = Atomic<Int64>(0)

    init(
        pool: ChunkPool, lane: DispatchQueue, files: SegmentWriter, checks: BodyChecks, inlineBytesMax: Int, runBytesMax: Int64,
        bytesMax: Int64 = Limits.objectPartBytesMax, commit: @escaping Commit
    ) {
        self.pool = pool
        self.lane = lane
        self.files = files
        self.inlineBytesMax = inlineBytesMax
        self.runBytesMax = runBytesMax
        self.bytesMax = bytesMax
        self.commit = commit
        digests = BodyDigests(checks)
    }

    /// Takes the bytes (they are copied before it returns). False: wait for `resume`, which is called once, on a thread of the
    /// store's, when there is room; more that is written before is taken all the same, so that a caller may finish what it holds.
    package func write(_ bytes: UnsafeRawBufferPointer, resume: @escaping @Sendable () -> Void) -> Bool {
        guard total.add(Int64(bytes.count), ordering: .relaxed).newValue <= bytesMax else {
            fail(.entityTooLarge)
            return true
        }
        return state.withLock { state in
            guard state.failure == nil, !state.isEnded else { return true }
            var rest = bytes
            if state.chunk == nil {
                guard state.small.count + rest.count > inlineBytesMax else {
                    state.small.append(contentsOf: rest)
                    return true
                }
                let chunk = Chunk(pool)
                state.small.withUnsafeBytes { _ = chunk.append($0) }
                state.small = []
                state.chunk = chunk
            }
            while let chunk = state.chunk, rest.count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[chunk.append(rest)...])
                guard chunk.isFull else { break }
                handOver(chunk, &state)
                state.chunk = Chunk(pool)
            }
            guard state.inFlight >= Limits.objectWriterBufferBytes || (state.inFlight > 0 && pool.isFull) else { return true }
            state.resume = resume
            return false
        }
    }

    /// Why `finish` will fail, if that is known already (a full disk): the caller may stop reading the body.
    package var failure: ObjectsError? { state.withLock { $0.failure } }

    /// Commits. `checksum` is a trailer's value.
    package func finish(checksum trailer: [UInt8]? = nil, done: @escaping ObjectStore.Done<PutResult>) {
        let failure: ObjectsError? = state.withLock { state in
            if state.isEnded { return .aborted }
            state.isEnded = true
            if let failure = state.failure { return failure }
            if let chunk = state.chunk, chunk.count > 0 { handOver(chunk, &state) }
            state.chunk = nil
            return nil
        }
        lane.async { [self] in
            // Chunks that came after a failure (a full disk) were dropped: what is missing then is not the client's fault.
            if let failure = failure ?? self.failure {
                done(.failure(failure))
                return
            }
            let small = state.withLock { $0.small }
            small.withUnsafeBytes { if $0.count > 0 { digests.update($0) } }
            do {
                let (md5, checksum) = try digests.finish(trailer: trailer)
                whenWritten { [self] failure in
                    if let failure {
                        done(.failure(failure))
                        return
                    }
                    let bytes: WrittenBody.Bytes = rows.runs.isEmpty ? .inline(small) : .runs(rows.runs)
                    // The writer, and so its pins, live until the transaction has ended.
                    commit(WrittenBody(bytes: bytes, size: digests.size, md5: md5, checksum: checksum)) { [self] result in
                        withExtendedLifetime(self) { done(result) }
                    }
                }
            } catch { done(.failure(error as? ObjectsError ?? .storage("\(error)"))) }
        }
    }

    /// Gives up; what was written is never seen. Also done when the last reference goes without `finish`.
    package func abort() {
        state.withLock { state in
            state.isEnded = true
            state.chunk = nil
            state.small = []
            state.resume = nil
        }
    }

    // MARK: Rows

    private func handOver(_ chunk: Chunk, _ state: inout State) {
        state.inFlight += chunk.count
        lane.async { [self] in
            guard failure == nil else {
                settle(chunk.count, nil)
                return
            }
            digests.update(chunk.bytes)
            do { try append(chunk) } catch { settle(chunk.count, error as? ObjectsError ?? .storage("\(error)")) }
        }
    }

    private func append(_ chunk: Chunk) throws {
        if rows.runs.last.map({ $0.size >= runBytesMax }) ?? true {
            let (pin, base) = try files.begin()
            rows.runs.append(BlobRun(pin: pin, base: base))
            rows.chunksOfRun = 0
        }
        let last = rows.runs.count - 1
        let count = chunk.count
        rows.runs[last].size += Int64(count)
        rows.runs[last].stored += Int64(count)
        let row = Segment.Row(
            id: Segment.rowID(base: rows.runs[last].base, chunk: rows.chunksOfRun), crc: checksumOfRow(chunk.bytes), raw: 0,
            bytes: chunk.bytes)
        rows.chunksOfRun += 1
        files.append(row, to: rows.runs[last].pin.segment, owner: chunk) { [self] failure in settle(count, failure) }
    }

    /// A chunk is on disk, or has failed.
    private func settle(_ count: Int, _ failure: ObjectsError?) {
        let acts: [(@Sendable () -> Void)?] = state.withLock { state in
            state.inFlight -= count
            if state.failure == nil { state.failure = failure }
            var acts: [(@Sendable () -> Void)?] = []
            if state.inFlight == 0 || (state.inFlight <= Limits.objectWriterBufferBytes / 2 && !pool.isFull) {
                acts.append(state.resume)
                state.resume = nil
            }
            if state.inFlight == 0 {
                acts.append(state.whenWritten)
                state.whenWritten = nil
            }
            return acts
        }
        for act in acts { act?() }
    }

    private func whenWritten(_ body: @escaping @Sendable (ObjectsError?) -> Void) {
        let isWritten = state.withLock { state in
            if state.inFlight > 0 { state.whenWritten = { [self] in body(failure) } }
            return state.inFlight == 0
        }
        if isWritten { body(failure) }
    }

    private func fail(_ error: ObjectsError) { state.withLock { if $0.failure == nil { $0.failure = error } } }
}
