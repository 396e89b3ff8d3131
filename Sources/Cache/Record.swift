import Base
import Glibc

/// Milliseconds on the monotonic clock; lifetimes are kept in them (semantic 7.1.6).
typealias Tick = UInt64

extension Moment { @inline(__always) var tick: Tick { nanoseconds / 1_000_000 } }

/// A place in one of the lists that run through the records.
struct Link {
    var next: UInt32
    var previous: UInt32
}

/// What the store knows about an entry, beside the bytes in its block. 96 bytes; what a hit reads comes first.
struct Record {
    struct Flags: OptionSet {
        let rawValue: UInt8
        static let live = Flags(rawValue: 1)
        /// The answer is an error or an absence, kept for its own, shorter time.
        static let negative = Flags(rawValue: 2)
        /// No value: what this key answers cannot be shared, so nobody should wait for it (hit-for-miss).
        static let bypass = Flags(rawValue: 4)
        static let softPurged = Flags(rawValue: 8)
        static let fromSecondLevel = Flags(rawValue: 16)
        /// It waits in `SpillQueue`.
        static let offered = Flags(rawValue: 32)
        /// `StorePolicy.isEdited`
        static let edited = Flags(rawValue: 64)
    }

    var hash: UInt64 = 0
    var memory: UnsafeMutableRawPointer?
    /// Readable as fresh before this tick.
    var freshUntil: Tick = 0
    /// Removed at this tick; `.max` is never.
    var expiresAt: Tick = .max
    /// It survived every purge up to this one.
    var checked: UInt64 = 0
    /// What a miss costs, in milliseconds of work.
    var weight: Float = 1
    var namespace: UInt16 = 0
    var flags: Flags = []
    /// Frequency (0…15) in the upper four bits, hits since its last turn in the lower four.
    var use: UInt8 = 0
    var stamp: UInt64 = 0
    var storedAt: Tick = 0
    /// Milliseconds past `freshUntil` in which it may be served while it is being refreshed, and while its origin fails.
    var staleWhileRevalidate: UInt32 = 0
    var staleIfError: UInt32 = 0
    var timer = Link(next: Lists.none, previous: Lists.none)
    var queue = Link(next: Lists.none, previous: Lists.none)
    var generation: UInt32 = 0
    /// What it takes from the limit, in units of 16 bytes.
    var chargeUnits: UInt32 = 0

    /// Only of a live record.
    @inline(__always) var block: Block { Block(base: memory.unsafelyUnwrapped) }
    var charge: Int { Int(chargeUnits) * 16 }
    var isLive: Bool { flags.contains(.live) }

    /// A hit is this and nothing else: no list moves (the property of SIEVE and S3-FIFO).
    @inline(__always) mutating func touch() { if use & 15 != 15 { use += 1 } }
    var hits: UInt8 { use & 15 }
    var frequency: UInt8 {
        get { use >> 4 }
        set { use = newValue << 4 | hits }
    }
}

/// All records, in chunks that never move: an index names a record for as long as it lives, and a scan by index is complete.
///
/// A handle to memory that the cache owns and destroys; vacant records are chained through `queue.next`.
struct Arena {
    private struct State {
        var capacity: UInt32 = 0
        var firstVacant = Lists.none
        var live = 0
    }

    private static let chunkBits: UInt32 = 12
    private static let chunkRecords = 1 << chunkBits
    private static let chunksMax = Limits.cacheEntriesMax / chunkRecords

    private let state: UnsafeMutablePointer<State>
    private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Record>?>

    init() {
        state = .allocate(capacity: 1)
        state.initialize(to: State())
        // calloc's zeros are nil pointers, and what is not used of them takes no memory
        guard let directory = calloc(Self.chunksMax, MemoryLayout<Int>.stride) else { preconditionFailure("no memory for a cache") }
        chunks = directory.bindMemory(to: UnsafeMutablePointer<Record>?.self, capacity: Self.chunksMax)
    }

    /// Frees the records, not the blocks.
    func destroy() {
        for index in 0..<Int(state.pointee.capacity) / Self.chunkRecords { chunks[index]?.deallocate() }
        free(chunks)
        state.deallocate()
    }

    /// One above the highest index ever used.
    var capacity: UInt32 { state.pointee.capacity }
    var live: Int { state.pointee.live }

    @inline(__always) subscript(index: UInt32) -> UnsafeMutablePointer<Record> {
        chunks[Int(index >> Self.chunkBits)].unsafelyUnwrapped + Int(index & (UInt32(Self.chunkRecords) - 1))
    }

    /// A record to fill, or nil when there are `cacheEntriesMax`.
    func take() -> UInt32? {
        if state.pointee.firstVacant == Lists.none, !grow() { return nil }
        let index = state.pointee.firstVacant
        let record = self[index]
        state.pointee.firstVacant = record.pointee.queue.next
        state.pointee.live += 1
        let generation = record.pointee.generation &+ 1
        record.pointee = Record()
        record.pointee.generation = generation
        record.pointee.flags = .live
        return index
    }

    func give(_ index: UInt32) {
        let record = self[index]
        record.pointee.flags = []
        record.pointee.memory = nil
        record.pointee.queue = Link(next: state.pointee.firstVacant, previous: Lists.none)
        state.pointee.firstVacant = index
        state.pointee.live -= 1
    }

    private func grow() -> Bool {
        let capacity = Int(state.pointee.capacity)
        guard capacity < Limits.cacheEntriesMax else { return false }
        let chunk = UnsafeMutablePointer<Record>.allocate(capacity: Self.chunkRecords)
        chunk.initialize(repeating: Record(), count: Self.chunkRecords)
        chunks[capacity / Self.chunkRecords] = chunk
        for offset in (0..<Self.chunkRecords).reversed() {
            chunk[offset].queue.next = state.pointee.firstVacant
            state.pointee.firstVacant = UInt32(capacity + offset)
        }
        state.pointee.capacity += UInt32(Self.chunkRecords)
        return true
    }
}
