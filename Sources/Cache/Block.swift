import Base
import Glibc

/// The memory of one key and value, in one allocation:
///
///     ┌────────────────┬─────────┬───────────┬─────────┬──────────────────┐
///     │ header 24 B    │ key     │ value     │ 0…3 pad │ tag ids, 4 B each │
///     └────────────────┴─────────┴───────────┴─────────┴──────────────────┘
///
/// Immutable once it is in the store, so a hit hands out a pointer; who needs the value for longer than the current
/// call pins it (a count, not atomic). A handle: copying it copies nothing.
///
/// Invariants:
///  1. `references` is 1 for the store (while `isResident`) plus the pins; at 0 the memory is freed.
///  2. A resident block is charged to its entry; one that is only pinned is charged to `BlockHeap.heldBytes`.
///
/// Thread rule: the loop's thread.
struct Block {
    struct Header {
        var checksum: UInt64
        /// The record that it belongs to, while resident. (`Slabs` moves blocks; a vacant cell names the next one here.)
        var owner: UInt32
        var references: UInt32
        var keyCount: UInt32
        var valueCount: UInt32
        var tagCount: UInt16
        var isResident: Bool
    }

    static let headerBytes = (MemoryLayout<Header>.size + 3) & ~3
    private static let nobody = UInt32.max

    let base: UnsafeMutableRawPointer

    /// A block with room for these counts: the key is there, the value is not.
    init(key: UnsafeRawBufferPointer, valueCount: Int, tagCount: Int, in heap: BlockHeap) {
        base = heap.slabs.allocate(Self.bytes(key: key.count, value: valueCount, tags: tagCount))
        base.initializeMemory(
            as: Header.self,
            to: Header(
                checksum: 0, owner: Self.nobody, references: 1, keyCount: UInt32(key.count), valueCount: UInt32(valueCount),
                tagCount: UInt16(tagCount), isResident: false))
        if let from = key.baseAddress { memcpy(base + Self.headerBytes, from, key.count) }
    }

    init(base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always) var header: UnsafeMutablePointer<Header> { base.assumingMemoryBound(to: Header.self) }

    @inline(__always) var key: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + Self.headerBytes, count: Int(header.pointee.keyCount))
    }

    @inline(__always) var value: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: base + Self.headerBytes + Int(header.pointee.keyCount), count: Int(header.pointee.valueCount))
    }

    var tags: UnsafeMutableBufferPointer<TagID> {
        let offset = Self.tagOffset(key: Int(header.pointee.keyCount), value: Int(header.pointee.valueCount))
        return UnsafeMutableBufferPointer(
            start: (base + offset).assumingMemoryBound(to: TagID.self), count: Int(header.pointee.tagCount))
    }

    @inline(__always) func holds(_ key: UnsafeRawBufferPointer) -> Bool {
        guard Int(header.pointee.keyCount) == key.count else { return false }
        guard let other = key.baseAddress else { return true }
        return memcmp(base + Self.headerBytes, other, key.count) == 0
    }

    func seal(seed: UInt64) { header.pointee.checksum = Checksum.of(UnsafeRawBufferPointer(value), seed: seed) }

    @inline(__always) func isIntact(seed: UInt64) -> Bool {
        header.pointee.checksum == Checksum.of(UnsafeRawBufferPointer(value), seed: seed)
    }

    private static func tagOffset(key: Int, value: Int) -> Int { (headerBytes + key + value + 3) & ~3 }

    static func bytes(key: Int, value: Int, tags: Int) -> Int {
        tags == 0 ? headerBytes + key + value : tagOffset(key: key, value: value) + tags * MemoryLayout<TagID>.size
    }

    var byteCount: Int {
        Self.bytes(key: Int(header.pointee.keyCount), value: Int(header.pointee.valueCount), tags: Int(header.pointee.tagCount))
    }

    /// What the block takes from the system.
    var charge: Int { Slabs.allocated(byteCount) }

    static func charge(key: Int, value: Int, tags: Int) -> Int { Slabs.allocated(bytes(key: key, value: value, tags: tags)) }
}

/// The memory of all blocks, and the bytes of those that have left the store and are still being read.
final class BlockHeap {
    let slabs = Slabs()
    private(set) var heldBytes = 0

    /// The store lets go of a block.
    func leave(_ block: Block) {
        block.header.pointee.isResident = false
        if block.header.pointee.references > 1 { heldBytes += block.charge }
        drop(block, held: false)
    }

    func release(_ block: Block) { drop(block, held: !block.header.pointee.isResident) }

    private func drop(_ block: Block, held: Bool) {
        block.header.pointee.references -= 1
        guard block.header.pointee.references == 0 else { return }
        assert(!block.header.pointee.isResident, "1: a resident block without the store's reference")
        if held { heldBytes -= block.charge }
        slabs.free(block.base, block.byteCount)
    }

    /// The same block with another room of value and tags; its bytes are moved when the memory does not fit.
    func resize(_ block: Block, from old: Int, to new: Int) -> Block {
        if Slabs.allocated(old) == Slabs.allocated(new) { return block }
        let memory = slabs.allocate(new)
        memcpy(memory, block.base, min(old, new))
        slabs.free(block.base, old)
        return Block(base: memory)
    }

    /// Moves blocks together when much memory is vacant: about `budget` of them. False: there is more to do.
    func compact(_ budget: Int, _ arena: Arena) -> Bool {
        slabs.compact(budget) { block, to in
            let header = block.header.pointee
            guard header.isResident, header.references == 1 else { return false }
            memcpy(to, block.base, block.byteCount)
            arena[header.owner].pointee.memory = to
            return true
        }
    }
}

/// A value that stays readable after its entry has been replaced, purged or evicted; its bytes count against the limit until then.
///
/// Thread rule: made, read and let go on the loop's thread.
package final class PinnedValue {
    private let block: Block
    private let heap: BlockHeap

    init(_ block: Block, in heap: BlockHeap) {
        block.header.pointee.references += 1
        self.block = block
        self.heap = heap
    }

    deinit { heap.release(block) }

    package var key: UnsafeRawBufferPointer { block.key }
    package var value: UnsafeRawBufferPointer { UnsafeRawBufferPointer(block.value) }
}
