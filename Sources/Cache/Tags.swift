import Base
import Glibc

/// A tag's number while an entry or a fill carries it.
struct TagID: Hashable {
    let rawValue: UInt32
}

/// When something was last purged: numbers of the one purge sequence, 0 = never.
struct Epochs {
    var hard: UInt64 = 0
    var soft: UInt64 = 0
    /// When the soft purge was, for those found stale later.
    var softAt: Tick = 0

    mutating func note(_ sequence: UInt64, soft isSoft: Bool, at tick: Tick) {
        if isSoft {
            soft = sequence
            softAt = tick
        } else {
            hard = sequence
        }
    }

    /// Adds those of `other`'s purges that are later than `since`.
    mutating func add(_ other: Epochs, since: UInt64) {
        if other.hard > since { hard = max(hard, other.hard) }
        if other.soft > since, other.soft > soft {
            soft = other.soft
            softAt = other.softAt
        }
    }

    var newest: UInt64 { max(hard, soft) }
}

/// Tags by name, each with its purge epochs: purging a tag is writing one number, however many entries carry it.
///
///     intern ──▶ carried by entries and fills (counted) ──▶ idle ──▶ forgotten, once no fill began before its last purge
///                          ▲────────── intern ────────────────┘
///
/// Invariants:
///  1. A tag is in the table from `intern` or `purge` until it is forgotten.
///  2. A tag is forgotten only when no entry and no fill carries it and no fill in flight began before its newest purge: such a fill
///     could still turn out to carry it (semantic 7.1.4).
///
/// Thread rule: whoever holds it.
struct Tags: ~Copyable {
    private struct Tag {
        var hash: UInt64
        /// Nil: vacant.
        var name: UnsafeMutableRawBufferPointer?
        var references = 0
        var epochs = Epochs()
        var isIdle = false
    }

    private let seed: UInt64
    private var table = Table()
    private var tags: [Tag] = []
    private var vacant: [UInt32] = []
    private var idle: [UInt32] = []
    /// What names and numbers take, in bytes.
    private(set) var bytes = 0

    init(seed: UInt64) { self.seed = seed }

    deinit { for tag in tags { tag.name?.deallocate() } }

    var count: Int { tags.count - vacant.count }

    // MARK: Carriers

    /// The number of a tag, which counts as carried once more.
    mutating func intern(_ name: UnsafeRawBufferPointer) -> TagID {
        let index = find(name) ?? add(name)
        tags[Int(index)].references += 1
        return TagID(rawValue: index)
    }

    mutating func release(_ id: TagID) {
        let index = Int(id.rawValue)
        tags[index].references -= 1
        assert(tags[index].references >= 0, "a tag released more often than it was interned")
        if tags[index].references == 0 { becomeIdle(id.rawValue) }
    }

    func name(_ id: TagID) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(tags[Int(id.rawValue)].name.unsafelyUnwrapped) }
    @inline(__always) func epochs(_ id: TagID) -> Epochs { tags[Int(id.rawValue)].epochs }
    func references(_ id: TagID) -> Int { tags[Int(id.rawValue)].references }

    // MARK: Purges

    /// Purges all that carry the tag. False: it had to be remembered for fills in flight, and there are too many such tags.
    mutating func purge(
        _ name: UnsafeRawBufferPointer, _ sequence: UInt64, soft: Bool, at tick: Tick, fillsInFlight: Bool
    ) -> Bool {
        guard let index = find(name) ?? (fillsInFlight ? addIdle(name) : nil) else { return !fillsInFlight }
        tags[Int(index)].epochs.note(sequence, soft: soft, at: tick)
        return true
    }

    /// Forgets idle tags; `oldest` is the sequence at which the oldest fill in flight began, `.max` without any.
    mutating func settle(oldest: UInt64) {
        guard !idle.isEmpty else { return }
        var kept: [UInt32] = []
        for index in idle {
            let tag = tags[Int(index)]
            if tag.references > 0 {
                tags[Int(index)].isIdle = false
            } else if tag.epochs.newest > oldest {
                kept.append(index)
            } else {
                forget(index)
            }
        }
        idle = kept
    }

    // MARK: The set of tags

    private func find(_ name: UnsafeRawBufferPointer) -> UInt32? {
        table.find(ByteHash.hash(name, seed: seed)) { index in
            guard let own = tags[Int(index)].name, own.count == name.count else { return false }
            guard let a = own.baseAddress, let b = name.baseAddress else { return true }
            return memcmp(a, b, name.count) == 0
        }
    }

    private mutating func add(_ name: UnsafeRawBufferPointer) -> UInt32 {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, name.count), alignment: 1)
        copy.copyMemory(from: name)
        let tag = Tag(hash: ByteHash.hash(name, seed: seed), name: UnsafeMutableRawBufferPointer(rebasing: copy[..<name.count]))
        let index = vacant.popLast() ?? UInt32(tags.count)
        if Int(index) == tags.count { tags.append(tag) } else { tags[Int(index)] = tag }
        table.insert(tag.hash, index)
        bytes += Self.charge(name.count)
        return index
    }

    private mutating func addIdle(_ name: UnsafeRawBufferPointer) -> UInt32? {
        guard idle.count < Limits.cacheTagsWithoutEntriesMax else { return nil }
        let index = add(name)
        becomeIdle(index)
        return index
    }

    private mutating func becomeIdle(_ index: UInt32) {
        guard !tags[Int(index)].isIdle else { return }
        tags[Int(index)].isIdle = true
        idle.append(index)
    }

    private mutating func forget(_ index: UInt32) {
        let tag = tags[Int(index)]
        table.remove(tag.hash, index)
        bytes -= Self.charge(tag.name?.count ?? 0)
        tag.name?.deallocate()
        tags[Int(index)].name = nil
        tags[Int(index)].isIdle = false
        vacant.append(index)
    }

    /// Its row, its name in malloc's steps, its slot in the table.
    private static func charge(_ count: Int) -> Int { MemoryLayout<Tag>.stride + (count + 8 + 15) & ~15 + 16 }

    func checkInvariants(carried: [TagID: Int]) {
        precondition(table.count == count, "1: \(count) tags, \(table.count) in the table")
        for (index, tag) in tags.enumerated() where tag.name != nil {
            precondition(tag.references == carried[TagID(rawValue: UInt32(index))] ?? 0, "2: tag \(index) counts its carriers wrong")
            precondition(tag.references > 0 || tag.isIdle, "2: tag \(index) is carried by nobody and not idle")
        }
    }
}
