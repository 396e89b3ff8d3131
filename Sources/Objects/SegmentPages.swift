internal import Base
internal import Glibc
internal import Synchronization

/// Finds a row's bytes in a segment's file and reads them where they lie: one copy, from the kernel's memory into a chunk. Through SQLite
/// they are copied three times, which is most of what a GET costs.
///
///     row id ─▶ interior pages (kept, as long as nothing is appended) ─▶ leaf: header, cell ─▶ overflow pages, in one preadv
///
/// (SQLite's "Database File Format" 1.6, 2.1: pages of 64 KiB, no reserved bytes, table b-trees.) Rows are only ever appended, so their
/// overflow pages lie one behind the other. Whatever is not as expected is nil: then SQLite reads the row, and says what is wrong with it.
/// The row's checksum is the judge of both.
///
/// Invariants:
///  1. The descriptor stays open until SQLite has closed the file: closing it earlier would end SQLite's locks on it (fcntl(2)).
///  2. No page is read while a commit writes: the caller holds the gate.
///
/// Thread rule: any thread.
final class SegmentPages: @unchecked Sendable {
    private static let pageBytes = 65_536
    /// Payload up to this lies in the leaf; of longer ones at least `localMin` does ("b-tree cell payload").
    private static let localMax = pageBytes - 35
    private static let localMin = (pageBytes - 12) * 32 / 255 - 23
    private static let overflowBytes = pageBytes - 4
    private static let depthMax = 5

    private let descriptor: CInt
    private let root: Int
    private let kept = Mutex<(version: Int64, interiors: [Int: [UInt8]])>((-1, [:]))

    /// nil: the file is not as this reader knows it.
    init?(path: String, root: Int) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        self.descriptor = descriptor
        self.root = root
        // Page size 1 stands for 65,536; byte 20 is the number of reserved bytes.
        guard root > 0, let header = bytes(0, 24), header[16] == 0, header[17] == 1, header[20] == 0 else { return nil }
    }

    deinit { close(descriptor) }

    /// A row and its checksum as stored; nil also for rows that are compressed.
    ///
    /// - Parameter version: another number whenever something has been appended.
    func read(_ id: Int64, version: Int64, _ pool: ChunkPool) -> (chunk: Chunk, crc: UInt64)? {
        guard let leaf = leaf(of: id, version: version), let cell = cell(id, leaf) else { return nil }
        let chunk = Chunk(pool)
        let isRead = chunk.fill(cell.dataBytes) { base in
            let local = cell.localBytes - cell.dataStart
            guard local > 0, readAll(base, local, leaf.offset + cell.payload + cell.dataStart) else { return false }
            return cell.dataBytes == local || readOverflow(base + local, cell.dataBytes - local, from: cell.overflow)
        }
        return isRead ? (chunk, cell.crc) : nil
    }

    // MARK: The tree

    private struct Leaf {
        let offset: Int
        /// Places of its cells.
        let cells: [Int]
    }

    private func leaf(of id: Int64, version: Int64) -> Leaf? {
        var page = root
        for _ in 0..<Self.depthMax {
            let offset = (page - 1) * Self.pageBytes
            let start = page == 1 ? 100 : 0
            guard let head = bytes(offset + start, 8) else { return nil }
            let count = Int(head[3]) << 8 | Int(head[4])
            if head[0] == 0x0D {
                guard count > 0, let places = bytes(offset + start + 8, count * 2) else { return nil }
                return Leaf(offset: offset, cells: (0..<count).map { Int(places[$0 * 2]) << 8 | Int(places[$0 * 2 + 1]) })
            }
            guard head[0] == 0x05, let interior = interior(page, version: version), let child = Self.child(of: id, interior, start, count)
            else { return nil }
            page = child
        }
        return nil
    }

    private func interior(_ page: Int, version: Int64) -> [UInt8]? {
        let known: [UInt8]? = kept.withLock { kept in
            if kept.version != version { kept = (version, [:]) }
            return kept.interiors[page]
        }
        if let known { return known }
        guard let read = bytes((page - 1) * Self.pageBytes, Self.pageBytes) else { return nil }
        kept.withLock { kept in if kept.version == version, kept.interiors.count < 8 { kept.interiors[page] = read } }
        return read
    }

    /// The page below that has the row: of the first cell whose key is not smaller, or the right-most.
    private static func child(of id: Int64, _ page: [UInt8], _ start: Int, _ count: Int) -> Int? {
        guard start + 12 + count * 2 <= page.count else { return nil }
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            let place = Int(page[start + 12 + middle * 2]) << 8 | Int(page[start + 13 + middle * 2])
            guard place + 13 <= page.count, let key = varint(page, place + 4) else { return nil }
            if Int64(bitPattern: key.value) < id { low = middle + 1 } else { high = middle }
        }
        let at = low == count ? start + 8 : Int(page[start + 12 + low * 2]) << 8 | Int(page[start + 13 + low * 2])
        return at + 4 <= page.count ? Int(word(page, at)) : nil
    }

    private struct Cell {
        /// In the page.
        var payload = 0
        var localBytes = 0
        /// In the payload.
        var dataStart = 0
        var dataBytes = 0
        var crc: UInt64 = 0
        var overflow = 0
    }

    /// Of a row (NULL for its id, crc, raw, data), by bisection: cells are in the order of their ids.
    private func cell(_ id: Int64, _ leaf: Leaf) -> Cell? {
        var (low, high) = (0, leaf.cells.count)
        while low < high {
            let middle = (low + high) / 2
            let place = leaf.cells[middle]
            guard let head = bytes(leaf.offset + place, min(48, Self.pageBytes - place)), let size = Self.varint(head, 0),
                let key = Self.varint(head, size.next)
            else { return nil }
            let found = Int64(bitPattern: key.value)
            if found == id { return parse(head, Int(clamping: size.value), key.next, leaf, place) }
            if found < id { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    private func parse(_ head: [UInt8], _ size: Int, _ start: Int, _ leaf: Leaf, _ place: Int) -> Cell? {
        guard let header = Self.varint(head, start), let none = Self.varint(head, header.next), none.value == 0,
            let crc = Self.varint(head, none.next), let raw = Self.varint(head, crc.next), let data = Self.varint(head, raw.next),
            data.next == start + Int(clamping: header.value), data.value >= 12, data.value % 2 == 0
        else { return nil }
        var cell = Cell()
        var at = data.next
        guard let sum = Self.integer(head, &at, type: crc.value), let unpacked = Self.integer(head, &at, type: raw.value), unpacked == 0
        else { return nil }
        cell.crc = sum
        cell.payload = place + start
        cell.dataStart = at - start
        cell.dataBytes = Int(clamping: (data.value - 12) / 2)
        guard cell.dataBytes <= Limits.objectChunkBytes, cell.dataStart + cell.dataBytes == size else { return nil }
        let wanted = Self.localMin + (size - Self.localMin) % Self.overflowBytes
        cell.localBytes = size <= Self.localMax ? size : wanted <= Self.localMax ? wanted : Self.localMin
        if cell.localBytes < size {
            guard let next = bytes(leaf.offset + cell.payload + cell.localBytes, 4) else { return nil }
            cell.overflow = Int(Self.word(next, 0))
        }
        return cell
    }

    // MARK: Bytes

    /// Pages that lie one behind the other; each begins with the number of the next, the last with 0.
    private func readOverflow(_ target: UnsafeMutableRawPointer, _ count: Int, from first: Int) -> Bool {
        let pages = (count + Self.overflowBytes - 1) / Self.overflowBytes
        guard first > 1, pages <= 8 else { return false }
        return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: pages) { links in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: pages * 2) { parts in
                for page in 0..<pages {
                    let at = page * Self.overflowBytes
                    parts[page * 2] = iovec(iov_base: UnsafeMutableRawPointer(links.baseAddress! + page), iov_len: 4)
                    parts[page * 2 + 1] = iovec(iov_base: target + at, iov_len: min(Self.overflowBytes, count - at))
                }
                let wanted = count + pages * 4
                let start = off_t((first - 1) * Self.pageBytes)
                guard preadv(descriptor, parts.baseAddress, CInt(parts.count), start) == wanted else { return false }
                return (0..<pages).allSatisfy { Int(UInt32(bigEndian: links[$0])) == ($0 == pages - 1 ? 0 : first + $0 + 1) }
            }
        }
    }

    private func readAll(_ target: UnsafeMutableRawPointer, _ count: Int, _ offset: Int) -> Bool {
        pread(descriptor, target, count, off_t(offset)) == count
    }

    private func bytes(_ offset: Int, _ count: Int) -> [UInt8]? {
        var isRead = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            isRead = pread(descriptor, buffer.baseAddress, count, off_t(offset)) == count
            filled = isRead ? count : 0
        }
        return isRead ? bytes : nil
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8 | UInt32(bytes[at + 3])
    }

    /// Big-endian, seven bits a byte, all eight of the ninth.
    private static func varint(_ bytes: [UInt8], _ start: Int) -> (value: UInt64, next: Int)? {
        var value: UInt64 = 0
        for index in 0..<9 {
            guard start + index < bytes.count else { return nil }
            let byte = bytes[start + index]
            if index == 8 { return (value << 8 | UInt64(byte), start + 9) }
            value = value << 7 | UInt64(byte & 0x7F)
            if byte & 0x80 == 0 { return (value, start + index + 1) }
        }
        return nil
    }

    /// A value of one of the integer types ("record format"), which are signed.
    private static func integer(_ bytes: [UInt8], _ at: inout Int, type: UInt64) -> UInt64? {
        guard type >= 1, type <= 9, type != 7 else { return nil }
        if type >= 8 { return type - 8 }
        let count = [0, 1, 2, 3, 4, 6, 8][Int(type)]
        guard at + count <= bytes.count else { return nil }
        var value: Int64 = bytes[at] & 0x80 == 0 ? 0 : -1
        for index in 0..<count { value = value << 8 | Int64(bytes[at + index]) }
        at += count
        return UInt64(bitPattern: value)
    }
}
