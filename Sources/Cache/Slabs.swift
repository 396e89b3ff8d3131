import Glibc

/// Memory for blocks: cells of about 120 sizes in slabs of 128 KiB, so that the resident bytes stay near the accounted ones however long
/// and however differently entries come and go (semantic 7.1.5; with malloc they grew to 1.37 times).
///
///     region 2 MiB (huge pages) = 16 slabs of 128 KiB;  slab = header, then cells of one size
///     up to 32 KiB: a cell · above: pages of its own
///
///     slab:  idle ──▶ partial ⇄ full          compact: the cells of a sparse slab move to others of its size, and it becomes idle
///              ▲         │ last cell freed
///              └─────────┘ (beyond a reserve, idle slabs give their pages back)
///
/// Invariants:
///  1. A slab is in its size's partial list exactly when it has both live and vacant cells; one without live cells is idle.
///  2. A vacant cell's block header has no references; it names the next vacant cell.
///  3. `liveBytes` is the sum of the sizes of live cells; `slabBytes` what the slabs that are not idle take.
///
/// Thread rule: the loop's thread.
final class Slabs {
    private struct Slab {
        var next: UnsafeMutablePointer<Slab>?
        var previous: UnsafeMutablePointer<Slab>?
        var sizeClass: Int32
        var capacity: UInt32
        var live: UInt32
        /// Cells from here on were never used.
        var fresh: UInt32
        var firstVacant: UInt32
    }

    static let slabBytes = 128 * 1024
    private static let regionBytes = 2 * 1024 * 1024
    private static let headerBytes = 64
    private static let pageBytes = 4096
    private static let noCell = UInt32.max
    /// Idle slabs that keep their pages.
    private static let reserve = 16

    // MARK: Sizes

    /// Descending from four cells a slab in steps of at most 6 % (more for the few largest), then of 16 bytes.
    static let sizes: [Int] = {
        var sizes: [Int] = []
        for cells in 4... {
            let size = (slabBytes - headerBytes) / cells & ~15
            guard size >= 48 else { break }
            // left out when the next one is still within the step
            let next = (slabBytes - headerBytes) / (cells + 1) & ~15
            if let last = sizes.last, size == last || next >= last - max(16, last / 17) { continue }
            sizes.append(size)
        }
        return sizes.reversed()
    }()

    /// By units of 16 bytes, rounded up: the class whose cells are large enough. (Unsafe: never written after this.)
    nonisolated(unsafe) private static let classes: UnsafeMutablePointer<UInt8> = {
        let most = sizes.last ?? 0
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: most / 16 + 1)
        var at = 0
        for units in 0...most / 16 {
            while sizes[at] < units * 16 { at += 1 }
            (table + units).initialize(to: UInt8(at))
        }
        return table
    }()

    nonisolated(unsafe) private static let cellBytes: UnsafeMutablePointer<Int> = {
        let table = UnsafeMutablePointer<Int>.allocate(capacity: sizes.count)
        table.initialize(from: sizes, count: sizes.count)
        return table
    }()

    static let cellBytesMax = sizes.last ?? 0

    /// What `bytes` take.
    @inline(__always) static func allocated(_ bytes: Int) -> Int {
        bytes <= cellBytesMax ? cellBytes[Int(classes[(bytes + 15) / 16])] : (bytes + pageBytes - 1) & ~(pageBytes - 1)
    }

    // MARK: State

    private let partial: UnsafeMutablePointer<UnsafeMutablePointer<Slab>?>
    private let slabsOf: UnsafeMutablePointer<Int>
    private let liveOf: UnsafeMutablePointer<Int>
    private var regions: [UnsafeMutableRawPointer] = []
    /// Idle slabs with and without pages.
    private var idle: [UnsafeMutableRawPointer] = []
    private var drained: [UnsafeMutableRawPointer] = []
    private var slabCount = 0
    private(set) var liveBytes = 0

    init() {
        let count = Self.sizes.count
        partial = .allocate(capacity: count)
        partial.initialize(repeating: nil, count: count)
        slabsOf = .allocate(capacity: count)
        slabsOf.initialize(repeating: 0, count: count)
        liveOf = .allocate(capacity: count)
        liveOf.initialize(repeating: 0, count: count)
    }

    /// All cells end with it.
    deinit {
        for region in regions { munmap(region, Self.regionBytes) }
        partial.deallocate()
        slabsOf.deallocate()
        liveOf.deallocate()
    }

    var slabBytes: Int { slabCount * Self.slabBytes }

    // MARK: Cells

    func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
        guard bytes <= Self.cellBytesMax else { return Self.map(Self.allocated(bytes)) }
        let sizeClass = Int(Self.classes[(bytes + 15) / 16])
        let slab = partial[sizeClass] ?? addSlab(sizeClass)
        let cell: UInt32
        if slab.pointee.firstVacant != Self.noCell {
            cell = slab.pointee.firstVacant
            slab.pointee.firstVacant = Self.cell(slab, cell).assumingMemoryBound(to: Block.Header.self).pointee.owner
        } else {
            cell = slab.pointee.fresh
            slab.pointee.fresh += 1
        }
        slab.pointee.live += 1
        if slab.pointee.live == slab.pointee.capacity { unlink(slab) }
        liveOf[sizeClass] += 1
        liveBytes += Self.cellBytes[sizeClass]
        return Self.cell(slab, cell)
    }

    /// `bytes`: as when it was allocated.
    func free(_ memory: UnsafeMutableRawPointer, _ bytes: Int) {
        guard bytes <= Self.cellBytesMax else {
            munmap(memory, Self.allocated(bytes))
            return
        }
        let slab = Self.slab(of: memory)
        let sizeClass = Int(slab.pointee.sizeClass)
        let header = memory.assumingMemoryBound(to: Block.Header.self)
        header.pointee.references = 0
        header.pointee.owner = slab.pointee.firstVacant
        slab.pointee.firstVacant = UInt32((memory - UnsafeMutableRawPointer(slab) - Self.headerBytes) / Self.cellBytes[sizeClass])
        if slab.pointee.live == slab.pointee.capacity { link(slab) }
        slab.pointee.live -= 1
        liveOf[sizeClass] -= 1
        liveBytes -= Self.cellBytes[sizeClass]
        if slab.pointee.live == 0 { removeSlab(slab) }
    }

    private static func slab(of memory: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Slab> {
        let offset = Int(bitPattern: memory) & (slabBytes - 1)
        return (memory - offset).assumingMemoryBound(to: Slab.self)
    }

    @inline(__always) private static func cell(_ slab: UnsafeMutablePointer<Slab>, _ cell: UInt32) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(slab) + headerBytes + Int(cell) * cellBytes[Int(slab.pointee.sizeClass)]
    }

    // MARK: Slabs

    private func addSlab(_ sizeClass: Int) -> UnsafeMutablePointer<Slab> {
        if idle.isEmpty, drained.isEmpty { addRegion() }
        guard let memory = idle.popLast() ?? drained.popLast() else { preconditionFailure("a region was added just now") }
        let capacity = UInt32((Self.slabBytes - Self.headerBytes) / Self.cellBytes[sizeClass])
        let slab = memory.initializeMemory(
            as: Slab.self,
            to: Slab(next: nil, previous: nil, sizeClass: Int32(sizeClass), capacity: capacity, live: 0, fresh: 0, firstVacant: Self.noCell)
        )
        slabCount += 1
        slabsOf[sizeClass] += 1
        link(slab)
        return slab
    }

    private func removeSlab(_ slab: UnsafeMutablePointer<Slab>) {
        unlink(slab)
        slabCount -= 1
        slabsOf[Int(slab.pointee.sizeClass)] -= 1
        if idle.count < Self.reserve { return idle.append(UnsafeMutableRawPointer(slab)) }
        madvise(slab, Self.slabBytes, MADV_DONTNEED)
        drained.append(UnsafeMutableRawPointer(slab))
    }

    private func link(_ slab: UnsafeMutablePointer<Slab>) {
        let head = partial + Int(slab.pointee.sizeClass)
        slab.pointee.next = head.pointee
        slab.pointee.previous = nil
        head.pointee?.pointee.previous = slab
        head.pointee = slab
    }

    private func unlink(_ slab: UnsafeMutablePointer<Slab>) {
        slab.pointee.next?.pointee.previous = slab.pointee.previous
        if let previous = slab.pointee.previous {
            previous.pointee.next = slab.pointee.next
        } else {
            partial[Int(slab.pointee.sizeClass)] = slab.pointee.next
        }
    }

    /// Huge pages spare a random lookup most of its misses in the page tables; without them it works all the same.
    private func addRegion() {
        let room = Self.map(2 * Self.regionBytes)
        let before = (Self.regionBytes - Int(bitPattern: room) & (Self.regionBytes - 1)) & (Self.regionBytes - 1)
        if before > 0 { munmap(room, before) }
        munmap(room + before + Self.regionBytes, Self.regionBytes - before)
        let region = room + before
        madvise(region, Self.regionBytes, MADV_HUGEPAGE)
        regions.append(region)
        for at in stride(from: 0, to: Self.regionBytes, by: Self.slabBytes) { drained.append(region + at) }
    }

    /// Without memory nothing here can go on: the limit is above what the machine has.
    private static func map(_ bytes: Int) -> UnsafeMutableRawPointer {
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory, Int(bitPattern: memory) != -1 else {
            preconditionFailure("the cache asked for \(bytes) bytes and the system has none: its limit is too high for this machine")
        }
        return memory
    }

    // MARK: Compaction

    /// More than a sixteenth of the live bytes (and more than a little) is vacant.
    private var isSparse: Bool { slabBytes - liveBytes > max(liveBytes / 16, 4 * Self.regionBytes) }

    /// While there is too much vacant memory: empties the sparsest slabs, about `budget` cells in all. `move` says whether a block may move
    /// and notes where it went. False: there is more to do.
    func compact(_ budget: Int, move: (_ from: Block, _ to: UnsafeMutableRawPointer) -> Bool) -> Bool {
        var left = budget
        while isSparse {
            guard left > 0 else { return false }
            guard let slab = sparsest() else { return true }
            left -= Int(slab.pointee.live) + 16
            // something in it is being read: it is tried again when others have been
            if !empty(slab, move) { return true }
        }
        return true
    }

    /// Of the size that wastes most, one of the slabs with the fewest live cells.
    private func sparsest() -> UnsafeMutablePointer<Slab>? {
        var most = (sizeClass: 0, bytes: 0)
        for sizeClass in 0..<Self.sizes.count where slabsOf[sizeClass] > 1 {
            let waste = slabsOf[sizeClass] * Self.slabBytes - liveOf[sizeClass] * Self.cellBytes[sizeClass]
            if waste > most.bytes { most = (sizeClass, waste) }
        }
        guard most.bytes >= 2 * Self.slabBytes else { return nil }
        var best = partial[most.sizeClass]
        var at = best
        for _ in 0..<32 {
            guard let slab = at, let least = best else { break }
            if slab.pointee.live < least.pointee.live { best = slab }
            at = slab.pointee.next
        }
        return best
    }

    /// Moves all cells of a partial slab, which is idle then; false: it could not be emptied.
    private func empty(_ slab: UnsafeMutablePointer<Slab>, _ move: (Block, UnsafeMutableRawPointer) -> Bool) -> Bool {
        let size = Self.cellBytes[Int(slab.pointee.sizeClass)]
        for cell in 0..<slab.pointee.fresh {
            let from = Self.cell(slab, cell)
            guard from.assumingMemoryBound(to: Block.Header.self).pointee.references > 0 else { continue }
            unlink(slab)
            let to = allocate(size)
            link(slab)
            guard move(Block(base: from), to) else {
                free(to, size)
                return false
            }
            let isLast = slab.pointee.live == 1
            free(from, size)
            if isLast { break }
        }
        return true
    }

    func checkInvariants() {
        var bytes = 0
        for sizeClass in 0..<Self.sizes.count {
            bytes += liveOf[sizeClass] * Self.cellBytes[sizeClass]
            var at = partial[sizeClass]
            while let slab = at {
                var vacant = slab.pointee.capacity - slab.pointee.fresh
                var cell = slab.pointee.firstVacant
                while cell != Self.noCell {
                    let header = Self.cell(slab, cell).assumingMemoryBound(to: Block.Header.self).pointee
                    precondition(header.references == 0, "2: a vacant cell with references")
                    cell = header.owner
                    vacant += 1
                }
                precondition(
                    vacant > 0 && slab.pointee.live > 0 && slab.pointee.live + vacant == slab.pointee.capacity, "1: a partial slab")
                at = slab.pointee.next
            }
        }
        precondition(bytes == liveBytes && slabCount == (0..<Self.sizes.count).reduce(0) { $0 + slabsOf[$1] }, "3: the bytes of slabs")
        precondition((slabCount + idle.count + drained.count) * Self.slabBytes == regions.count * Self.regionBytes, "a slab is lost")
    }
}
