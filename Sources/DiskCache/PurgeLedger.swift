/// The purges that rows on disk have to be held to: a row is gone when it was stored before a purge that means it.
///
/// A purge is noted here in constant time and holds for the next answer; the sweep removes the rows later, and what it has been all the way
/// round for is forgotten.
struct PurgeLedger: Sendable {
    /// One purge, as the file keeps it.
    struct Entry: Equatable, Sendable {
        enum Kind: Int64, Sendable { case everything, namespace, tag, prefix }

        let kind: Kind
        /// The row of the namespace; 0 where it has none.
        let namespace: Int64
        let name: [UInt8]
        let sequence: UInt64
    }

    private var everything: UInt64 = 0
    private var namespaces: [Int64: UInt64] = [:]
    private var tags: [[UInt8]: UInt64] = [:]
    private var prefixes: [Entry] = []
    /// The sequence of the newest.
    private(set) var newest: UInt64 = 0

    var isEmpty: Bool { newest == 0 }
    var meansKeys: Bool { !tags.isEmpty || !prefixes.isEmpty }

    /// A purge as it must be noted: a wider one when there are too many narrow ones.
    func bounded(_ entry: Entry, tagsMax: Int, prefixesMax: Int) -> Entry {
        if entry.kind == .tag, tags.count >= tagsMax, tags[entry.name] == nil {
            return Entry(kind: .everything, namespace: 0, name: [], sequence: entry.sequence)
        }
        if entry.kind == .prefix, prefixes.count >= prefixesMax {
            return Entry(kind: .namespace, namespace: entry.namespace, name: [], sequence: entry.sequence)
        }
        return entry
    }

    mutating func note(_ entry: Entry) {
        newest = max(newest, entry.sequence)
        switch entry.kind {
        case .everything: everything = max(everything, entry.sequence)
        case .namespace: namespaces[entry.namespace] = max(namespaces[entry.namespace] ?? 0, entry.sequence)
        case .tag: tags[entry.name] = max(tags[entry.name] ?? 0, entry.sequence)
        case .prefix: prefixes.append(entry)
        }
    }

    /// Forgets the purges up to `sequence`: a sweep that began after them has been everywhere.
    mutating func settle(_ sequence: UInt64) {
        if everything <= sequence { everything = 0 }
        namespaces = namespaces.filter { $0.value > sequence }
        tags = tags.filter { $0.value > sequence }
        prefixes.removeAll { $0.sequence <= sequence }
        if newest <= sequence { newest = 0 }
    }

    func isPurged(namespace: Int64, sequence: UInt64) -> Bool { everything > sequence || (namespaces[namespace] ?? 0) > sequence }

    /// For a row that is not purged with its namespace. `packed`: see `Tags`.
    func isPurged(namespace: Int64, key: UnsafeRawBufferPointer, tags packed: UnsafeRawBufferPointer, sequence: UInt64) -> Bool {
        for rule in prefixes where rule.sequence > sequence && rule.namespace == namespace && key.starts(with: rule.name) { return true }
        guard !tags.isEmpty, !packed.isEmpty else { return false }
        return PackedTags.unpack(packed).contains { (tags[$0] ?? 0) > sequence }
    }
}

/// Tags in one blob: each with its length before it, in two bytes.
enum PackedTags {
    static func pack(_ tags: [[UInt8]]) -> [UInt8] {
        tags.reduce(into: []) { packed, tag in
            packed.append(UInt8(tag.count & 0xFF))
            packed.append(UInt8(tag.count >> 8 & 0xFF))
            packed += tag
        }
    }

    /// What can be read of it: a length beyond the end ends it.
    static func unpack(_ packed: UnsafeRawBufferPointer) -> [[UInt8]] {
        var tags: [[UInt8]] = []
        var at = 0
        while at + 2 <= packed.count {
            let count = Int(packed[at]) | Int(packed[at + 1]) << 8
            guard at + 2 + count <= packed.count else { break }
            tags.append(Array(packed[(at + 2)..<(at + 2 + count)]))
            at += 2 + count
        }
        return tags
    }
}
