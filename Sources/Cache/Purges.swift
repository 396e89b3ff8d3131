import Base
import Glibc

/// What has been purged, in one sequence: who began before a purge's number and is meant by it must not be served after it.
///
///     purge ──▶ sequence + 1 ──▶ written to: a tag, a namespace, or a rule for a prefix
///     lookup ─▶ entry.checked == sequence? nothing to do.  Otherwise compare once, then entry.checked = sequence
///     fill ──▶ the same comparison with the sequence at which the fill began (semantic 7.1.4: linearizable)
///
/// So a purge costs the same for one entry and for a million. Entries that were purged and are never asked for are found by the sweep
/// (`Cache.advance`), which visits all records once after each purge.
///
/// Invariants:
///  1. The sequence only grows; no epoch is above it.
///  2. A prefix rule is dropped only when the sweep has visited every record since and no fill in flight began before it.
///
/// Thread rule: whoever holds it.
struct Purges: ~Copyable {
    private struct Prefix {
        var namespace: NamespaceID
        var bytes: [UInt8]
        var epochs: Epochs
        /// Where the sweep will be when it has visited all records since.
        var sweptAt: UInt64
    }

    private(set) var sequence: UInt64 = 0
    var tags: Tags
    private var spaces: [Epochs] = []
    private var prefixes: [Prefix] = []
    /// Fills that began before this are void: a tag was purged that could not be remembered for them.
    private var fillsVoidBefore: UInt64 = 0
    /// Where the sweep is, and where it may stop: rounds << 32 | the next record. (Not a count of visits: records may be added meanwhile.)
    private var swept: UInt64 = 0
    private var sweepEnd: UInt64 = 0

    init(seed: UInt64) { tags = Tags(seed: seed) }

    mutating func addNamespace() { spaces.append(Epochs()) }

    // MARK: Purging

    /// The number of a purge that its caller applies itself.
    mutating func nextSequence() -> UInt64 {
        sequence += 1
        return sequence
    }

    mutating func purge(tag: UnsafeRawBufferPointer, soft: Bool, at tick: Tick, fillsInFlight: Bool) {
        sequence += 1
        if !tags.purge(tag, sequence, soft: soft, at: tick, fillsInFlight: fillsInFlight) { fillsVoidBefore = sequence }
        sweepEnd = swept + Self.round
    }

    mutating func purge(namespace: NamespaceID, soft: Bool, at tick: Tick) {
        sequence += 1
        spaces[namespace.index].note(sequence, soft: soft, at: tick)
        sweepEnd = swept + Self.round
    }

    /// False: there are as many rules as may be; finish the sweep and ask again.
    mutating func purge(prefix: UnsafeRawBufferPointer, in namespace: NamespaceID, soft: Bool, at tick: Tick) -> Bool {
        guard prefixes.count < Limits.cachePrefixRulesMax else { return false }
        sequence += 1
        sweepEnd = swept + Self.round
        var rule = Prefix(namespace: namespace, bytes: Array(prefix), epochs: Epochs(), sweptAt: sweepEnd)
        rule.epochs.note(sequence, soft: soft, at: tick)
        prefixes.append(rule)
        return true
    }

    /// Voids all fills in flight rather than forget a purge that they may be meant by.
    mutating func voidFills() {
        sequence += 1
        fillsVoidBefore = sequence
    }

    // MARK: Judging

    /// The purges after `since` that mean this key.
    func verdict(
        _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, _ carried: UnsafeBufferPointer<TagID>, since: UInt64
    ) -> Epochs {
        var found = Epochs()
        found.add(spaces[namespace.index], since: since)
        for id in carried { found.add(tags.epochs(id), since: since) }
        for rule in prefixes where rule.epochs.newest > since && rule.namespace == namespace && Self.begins(key, with: rule.bytes) {
            found.add(rule.epochs, since: since)
        }
        return found
    }

    func fillVerdict(
        _ namespace: NamespaceID, _ key: UnsafeRawBufferPointer, _ carried: UnsafeBufferPointer<TagID>, since: UInt64
    ) -> Epochs {
        var found = verdict(namespace, key, carried, since: since)
        if fillsVoidBefore > since { found.hard = max(found.hard, fillsVoidBefore) }
        return found
    }

    func isPurgedWhole(_ namespace: NamespaceID, since: UInt64) -> Bool { spaces[namespace.index].hard > since }

    private static func begins(_ key: UnsafeRawBufferPointer, with prefix: [UInt8]) -> Bool {
        guard let base = key.baseAddress, key.count >= prefix.count else { return prefix.isEmpty }
        return prefix.withUnsafeBytes { $0.baseAddress.map { memcmp(base, $0, prefix.count) == 0 } ?? true }
    }

    // MARK: The sweep

    private static let round: UInt64 = 1 << 32

    var isSwept: Bool { swept >= sweepEnd }
    var prefixCount: Int { prefixes.count }

    /// The record that the sweep visits now, of `capacity`; nil: it has been everywhere since the last purge.
    mutating func sweep(_ capacity: UInt32) -> UInt32? {
        guard !isSwept else { return nil }
        let index = UInt32(truncatingIfNeeded: swept)
        swept = index + 1 < capacity ? swept + 1 : (swept >> 32 + 1) << 32
        return index < capacity ? index : nil
    }

    /// Forgets what no entry and no fill needs any more; `oldest` as in `Tags.settle`.
    mutating func settle(oldest: UInt64) {
        tags.settle(oldest: oldest)
        if !prefixes.isEmpty {
            let progress = swept
            prefixes.removeAll { $0.sweptAt <= progress && $0.epochs.newest <= oldest }
        }
    }
}
