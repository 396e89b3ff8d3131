internal import Base
internal import Dispatch
internal import Synchronization

/// A piece of a body: so many bytes of a blob.
struct Extent: Sendable {
    /// In the body.
    let start: Int64
    let size: Int64
    let pin: SegmentPin
    let base: Int64
    /// In the blob.
    let blobStart: Int64
}

/// The bytes of one version: whole, or the range that was asked for. Later writes and deletes do not change what it gives: rows
/// never change, and files that it needs are pinned.
///
/// Thread rule: one caller at a time, any thread; no call waits.
package final class ObjectReader: Sendable {
    package let head: Head
    /// All bytes that were asked for, when they came with the head (small bodies): then `next` need not be called.
    package let whole: [UInt8]?
    private let extents: [Extent]
    private let queue: DispatchQueue
    private let pool: ChunkPool
    private let position: Mutex<(at: Int64, extent: Int)>

    init(head: Head, whole: [UInt8]?, extents: [Extent], queue: DispatchQueue, pool: ChunkPool) {
        self.head = head
        self.whole = whole
        self.extents = extents
        self.queue = queue
        self.pool = pool
        position = Mutex((head.range.lowerBound, 0))
    }

    /// The next bytes, 256 KiB at most, in memory that is used again when it is let go; nil at the end. One call at a time. `damaged` or
    /// `storage`: the answer must break off.
    package func next(done: @escaping ObjectStore.Done<Chunk?>) {
        queue.async { [self] in
            do {
                done(
                    .success(
                        try step { extent, row, range in
                            let chunk = try extent.pin.segment.read(base: extent.base, chunk: row, into: pool)
                            return (chunk, chunk.narrow(to: range))
                        }))
            } catch { done(.failure(error as? ObjectsError ?? .storage("\(error)"))) }
        }
    }

    /// On the caller's thread, which may wait. nil at the end.
    func read<T>(_ body: (UnsafeRawBufferPointer) -> T) throws -> T? {
        if let whole {
            let isOver = position.withLock { position in
                defer { position.at = head.range.upperBound }
                return position.at >= head.range.upperBound
            }
            return isOver ? nil : whole.withUnsafeBytes(body)
        }
        return try step { extent, row, range in
            try extent.pin.segment.read(base: extent.base, chunk: row) { bytes in
                let found = UnsafeRawBufferPointer(rebasing: bytes[min(range.lowerBound, bytes.count)..<min(range.upperBound, bytes.count)])
                return (body(found), found.count)
            }
        }
    }

    /// Has the next row read, and goes on by as many bytes as that gave; nil at the end.
    private func step<T>(_ read: (_ extent: Extent, _ row: Int64, _ range: Range<Int>) throws -> (T, Int)) throws -> T? {
        var (at, index) = position.withLock { $0 }
        guard at < head.range.upperBound else { return nil }
        while index < extents.count, extents[index].start + extents[index].size <= at { index += 1 }
        guard index < extents.count, extents[index].start <= at else {
            throw ObjectsError.damaged("meta.sqlite is damaged: a body has no bytes at \(at)")
        }
        let extent = extents[index]
        let chunkBytes = Int64(Limits.objectChunkBytes)
        let inBlob = extent.blobStart + at - extent.start
        let end = min(head.range.upperBound, extent.start + extent.size)
        let offset = Int(inBlob % chunkBytes)
        let (value, count) = try read(extent, inBlob / chunkBytes, offset..<offset + Int(end - at))
        guard count > 0 else { throw ObjectsError.damaged("\(extent.pin.segment.path) is damaged: a chunk is too short") }
        at += Int64(count)
        position.withLock { $0 = (at, index) }
        return value
    }
}
