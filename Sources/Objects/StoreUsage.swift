internal import Dispatch

/// What a bucket holds, or those of its keys that begin so: counted by a walk.
package struct BucketUsage: Sendable {
    package struct Count: Sendable {
        package var objects = 0
        package var bytes: Int64 = 0

        package init() {}

        mutating func add(_ size: Int64) {
            objects += 1
            bytes += size
        }
    }

    package static let prefixesMax = 10_000

    /// Current objects.
    package var current = Count()
    /// All versions, the current ones too; without delete markers.
    package var versions = Count()
    package var uploads = 0
    /// Of all versions, by where their bytes lie.
    package var tiers: [Tier: Count] = [:]
    /// Current objects by what their keys have in common up to the next delimiter; in order. Beyond `prefixesMax` only the sums count.
    package var prefixes: [(prefix: [UInt8], count: Count)] = []
}

extension ObjectStore {
    /// Counts in short steps, beside running requests. `delimiter`: empty for no prefixes.
    package func usage(of bucket: BucketName, prefix: [UInt8] = [], delimiter: [UInt8] = [], done: @escaping Done<BucketUsage>) {
        DispatchQueue(label: "hearth.objects.usage").async { [self] in
            do {
                let entry = try table.get(bucket)
                var usage = BucketUsage()
                // The key before those that begin with the prefix, whatever its newest version is numbered.
                var place: (key: [UInt8], seq: Int64)? = (prefix, .min)
                var last: [UInt8]?
                while let from = place {
                    place = nil
                    try reads.readNow { db in
                        try db.each(
                            """
                            SELECT key, seq, flags, size, (SELECT tier FROM bodies WHERE id = body) FROM versions
                            WHERE bucket = ? AND (key, seq) > (?, ?) ORDER BY key, seq LIMIT 5000
                            """, .int(entry.id), .blob(from.key), .int(from.seq)
                        ) { row in
                            let key = row.bytes(0)
                            guard key.starts(with: prefix) else {
                                place = nil
                                return false
                            }
                            let isLatest = key != last
                            (last, place) = (key, (key, row.int(1)))
                            if row.int(2) & VersionRow.deleteMarker == 0 {
                                let tier = Tier(rawValue: Int(row.int(4))) ?? .hot
                                usage.add(key, row.int(3), tier, isLatest: isLatest, prefix: prefix, delimiter: delimiter)
                            }
                            return true
                        }
                        usage.uploads = try db.rows("SELECT key FROM uploads WHERE bucket = ?", .int(entry.id)) { $0.bytes(0) }
                            .count { $0.starts(with: prefix) }
                    }
                }
                done(.success(usage))
            } catch { done(.failure(error as? ObjectsError ?? .storage("\(error)"))) }
        }
    }
}

extension BucketUsage {
    fileprivate mutating func add(_ key: [UInt8], _ size: Int64, _ tier: Tier, isLatest: Bool, prefix: [UInt8], delimiter: [UInt8]) {
        versions.add(size)
        tiers[tier, default: Count()].add(size)
        guard isLatest else { return }
        current.add(size)
        guard !delimiter.isEmpty, let end = key.range(of: delimiter, from: prefix.count) else { return }
        // Keys come in order: those of one prefix follow each other.
        let common = Array(key[..<end])
        if prefixes.last?.prefix != common {
            guard prefixes.count < Self.prefixesMax else { return }
            prefixes.append((common, Count()))
        }
        prefixes[prefixes.count - 1].count.add(size)
    }
}

extension [UInt8] {
    /// Where the first `part` at or behind `start` ends.
    fileprivate func range(of part: [UInt8], from start: Int) -> Int? {
        guard !part.isEmpty, count >= start + part.count else { return nil }
        let place = (start...(count - part.count)).first { self[$0] == part[0] && self[$0..<$0 + part.count].elementsEqual(part) }
        return place.map { $0 + part.count }
    }
}
