internal import Base
internal import Synchronization

/// Memory for one row of a body, outside Swift's arrays; goes back to its pool with its last reference.
///
/// Thread rule: handed on from its writer to the digests to the file, or from a reader to its connection; never changed by two at a time.
package final class Chunk: @unchecked Sendable {
    private let pool: ChunkPool
    private let base: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ pool: ChunkPool) {
        self.pool = pool
        base = pool.take()
    }

    /// A copy of a row's bytes.
    convenience init(_ bytes: UnsafeRawBufferPointer, of pool: ChunkPool) {
        self.init(pool)
        _ = append(bytes)
    }

    deinit { pool.giveBack(base) }

    /// Bytes at the front that are not given out.
    private var skipped = 0

    var isFull: Bool { count == Limits.objectChunkBytes }
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + skipped, count: count - skipped) }

    /// Gives out no more than `range` of what it holds; how many bytes that are.
    func narrow(to range: Range<Int>) -> Int {
        count = min(count, range.upperBound)
        skipped = min(count, range.lowerBound)
        return count - skipped
    }

    /// Lets `body` write `count` bytes; false: it has not, and there are none.
    func fill(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Bool) -> Bool {
        guard count <= Limits.objectChunkBytes, body(base) else { return false }
        self.count = count
        return true
    }

    /// Takes as many of the bytes as fit; returns how many.
    func append(_ bytes: UnsafeRawBufferPointer) -> Int {
        let taken = min(Limits.objectChunkBytes - count, bytes.count)
        if taken > 0, let from = bytes.baseAddress { (base + count).copyMemory(from: from, byteCount: taken) }
        count += taken
        return taken
    }
}

/// Memory that is used again (fresh memory is dear: a page fault each 4 KiB), and the count of bytes on their way to the disk.
///
/// Thread rule: any thread.
final class ChunkPool: Sendable {
    /// Nobody else's while it idles.
    private struct Memory: @unchecked Sendable { let base: UnsafeMutableRawPointer }
    private let idle = Mutex<[Memory]>([])
    private let buffered = Atomic<Int>(0)
    private let idleBytesMax: Int

    /// - Parameter idleBytesMax: what nobody uses and is kept for later.
    init(idleBytesMax: Int = Limits.objectBufferBytes) { self.idleBytesMax = idleBytesMax }

    deinit { trim() }

    /// Bytes of chunks that were taken and not given back.
    var bufferedBytes: Int { buffered.load(ordering: .relaxed) }
    var isFull: Bool { bufferedBytes > Limits.objectBufferBytes }

    fileprivate func take() -> UnsafeMutableRawPointer {
        buffered.add(Limits.objectChunkBytes, ordering: .relaxed)
        return idle.withLock { $0.popLast() }?.base ?? .allocate(byteCount: Limits.objectChunkBytes, alignment: 64)
    }

    fileprivate func giveBack(_ base: UnsafeMutableRawPointer) {
        buffered.subtract(Limits.objectChunkBytes, ordering: .relaxed)
        let memory = Memory(base: base)
        let isKept = idle.withLock { idle in
            guard idle.count * Limits.objectChunkBytes < idleBytesMax else { return false }
            idle.append(memory)
            return true
        }
        if !isKept { base.deallocate() }
    }

    /// Frees what idles.
    func trim() {
        let all = idle.withLock { idle in
            defer { idle = [] }
            return idle
        }
        for memory in all { memory.base.deallocate() }
    }
}
