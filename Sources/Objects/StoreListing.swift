internal import Dispatch

/// What a page may show, and how the walk over ordered keys goes on.
///
/// A common prefix costs one seek, however many keys have it, and so does a key, however many versions it has: a page costs what it shows.
private struct Walk {
    let prefix: [UInt8]
    let delimiter: [UInt8]
    let max: Int
    /// Where rows are read from next; nil: the walk has ended.
    var from: [UInt8]?
    private(set) var count = 0
    private(set) var isTruncated = false

    init(prefix: [UInt8], delimiter: [UInt8], after: [UInt8], max: Int) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.max = Swift.max(0, Swift.min(max, ListRequest.keysMax))
        var start: [UInt8]? = after.isEmpty ? prefix : after + [0]
        // After a common prefix, or inside of one, comes what follows all its keys.
        if let common = after.withUnsafeBytes({ commonPrefix($0) }) { start = Self.successor(common) }
        from = start.map { $0.lexicographicallyPrecedes(prefix) ? prefix : $0 }
        if self.max == 0 { from = nil }
    }

    func holds(_ key: UnsafeRawBufferPointer) -> Bool { key.starts(with: prefix) }

    /// The key up to the first delimiter after the prefix.
    func commonPrefix(_ key: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let first = delimiter.first, key.count >= prefix.count + delimiter.count, holds(key) else { return nil }
        var at = prefix.count
        while at + delimiter.count <= key.count {
            if key[at] == first, key[at..<at + delimiter.count].elementsEqual(delimiter) {
                return Array(key[..<(at + delimiter.count)])
            }
            at += 1
        }
        return nil
    }

    /// Room for one more; without it the page is truncated, and the walk ends.
    mutating func admit() -> Bool {
        if count == max { isTruncated = true } else { count += 1 }
        return !isTruncated
    }

    /// Goes on behind all keys with this prefix.
    mutating func jump(over common: [UInt8]) { from = Self.successor(common) }

    /// The first key that is above all with this prefix; nil: there is none.
    static func successor(_ prefix: [UInt8]) -> [UInt8]? {
        guard let index = prefix.lastIndex(where: { $0 < 0xFF }) else { return nil }
        return Array(prefix[..<index]) + [prefix[index] + 1]
    }
}

/// Pages of keys, versions and uploads.
extension ObjectStore {
    package func list(_ request: ListRequest, done: @escaping Done<ListPage>) {
        reads.read(done) { [self] db in
            let entry = try table.get(request.bucket)
            let now = options.clock()
            var page = ListPage()
            var shown: [UInt8] = []
            var last: [UInt8] = []
            var walk = Walk(prefix: request.prefix, delimiter: request.delimiter, after: request.after, max: request.keysMax)
            while let seek = walk.from {
                walk.from = nil
                try db.each(
                    "SELECT \(VersionRow.columns) FROM versions WHERE bucket = ? AND key >= ? ORDER BY key, seq", .int(entry.id),
                    .blob(seek)
                ) { row in
                    let key = row.raw(0)
                    guard walk.holds(key) else { return false }
                    if key.elementsEqual(last) {
                        walk.from = last + [0]
                        return false
                    }
                    last = Array(key)
                    guard VersionRow.isVisible(row, last, entry, now: now) else { return true }
                    let common = walk.commonPrefix(key)
                    guard walk.admit() else { return false }
                    shown = common ?? last
                    guard let common else {
                        page.objects.append(ListedObject(row, key: last))
                        return true
                    }
                    page.prefixes.append(common)
                    walk.jump(over: common)
                    return false
                }
            }
            if walk.isTruncated { page.next = shown }
            return page
        }
    }

    package func listVersions(_ request: VersionsRequest, done: @escaping Done<VersionsPage>) {
        reads.read(done) { [self] db in
            let entry = try table.get(request.bucket)
            let now = options.clock()
            var page = VersionsPage()
            var last: [UInt8]?
            var walk = Walk(prefix: request.prefix, delimiter: request.delimiter, after: request.afterKey, max: request.keysMax)
            var seq = Int64.min
            if let version = request.afterVersion, walk.from != nil {
                // In the middle of a key: what follows of it is not the newest.
                seq = try VersionRow.find(db, bucket: entry.id, key: request.afterKey, id: version)?.seq ?? Self.sequence(version)
                walk.from = request.afterKey
                last = request.afterKey
            }
            while let seek = walk.from {
                walk.from = nil
                try db.each(
                    "SELECT \(VersionRow.columns) FROM versions WHERE bucket = ? AND (key, seq) > (?, ?) ORDER BY key, seq",
                    .int(entry.id),
                    .blob(seek), .int(seq)
                ) { row in
                    let key = row.raw(0)
                    guard walk.holds(key) else { return false }
                    let isLatest = last.map { !key.elementsEqual($0) } ?? true
                    if isLatest { last = Array(key) }
                    if entry.bucket.versioning == .off, !VersionRow.isVisible(row, last ?? [], entry, now: now) { return true }
                    let common = walk.commonPrefix(key)
                    guard walk.admit() else { return false }
                    if let common {
                        page.prefixes.append(common)
                        page.next = (common, nil)
                        walk.jump(over: common)
                        return false
                    }
                    let listed = ListedVersion(row, isLatest: isLatest)
                    page.versions.append(listed)
                    page.next = (listed.object.key.bytes, listed.id)
                    return true
                }
                seq = Int64.min
            }
            if !walk.isTruncated { page.next = nil }
            return page
        }
    }

    private static func sequence(_ version: VersionID) -> Int64 {
        if case .numbered(let sequence, _) = version { -sequence } else { Int64.min }
    }

    package func listUploads(_ request: UploadsRequest, done: @escaping Done<UploadsPage>) {
        reads.read(done) { [self] db in
            let entry = try table.get(request.bucket)
            var page = UploadsPage()
            var walk = Walk(prefix: request.prefix, delimiter: request.delimiter, after: request.afterKey, max: request.uploadsMax)
            var id = Int64.min
            if let upload = request.afterUpload, walk.from != nil {
                id = upload.number
                walk.from = request.afterKey
            }
            while let seek = walk.from {
                walk.from = nil
                try db.each(
                    "SELECT \(UploadRow.columns) FROM uploads WHERE bucket = ? AND (key, id) > (?, ?) ORDER BY key, id", .int(entry.id),
                    .blob(seek), .int(id)
                ) { row in
                    let key = row.raw(3)
                    guard walk.holds(key) else { return false }
                    let common = walk.commonPrefix(key)
                    guard walk.admit() else { return false }
                    if let common {
                        page.prefixes.append(common)
                        page.next = (common, nil)
                        walk.jump(over: common)
                        return false
                    }
                    let upload = try UploadRow(row).upload(in: request.bucket)
                    page.uploads.append(upload)
                    page.next = (upload.key.bytes, upload.id)
                    return true
                }
                id = Int64.min
            }
            if !walk.isTruncated { page.next = nil }
            return page
        }
    }
}

extension VersionRow {
    /// Whether a listing of current objects shows the row (of `columns`), which is the newest of its key.
    fileprivate static func isVisible(_ row: SQLRow, _ key: [UInt8], _ entry: BucketEntry, now: Int64) -> Bool {
        guard row.int(3) & deleteMarker == 0 else { return false }
        guard !entry.lifecycle.isEmpty else { return true }
        let tags = (try? unpacked(tags: row.bytes(11))) ?? []
        return entry.lifecycle.expiry(key: key, size: row.int(4), tags: tags, made: row.int(7)).map { $0.time > now } ?? true
    }
}

extension ListedObject {
    /// Of `VersionRow.columns`.
    fileprivate init(_ row: SQLRow, key: [UInt8]) {
        let checksum = row.raw(10)
        var kind: (ChecksumAlgorithm, ChecksumType)?
        if checksum.count > 2, let algorithm = ChecksumAlgorithm(rawValue: checksum[0]), let type = ChecksumType(rawValue: checksum[1])
        {
            kind = (algorithm, type)
        }
        self.init(
            key: ObjectKey(stored: key), size: row.int(4), etag: ETag(digest: row.bytes(5), parts: Int(row.int(6))),
            modified: row.int(7),
            storageClass: row.isNull(8) ? .standard : StorageClass(row.text(8)), checksum: kind)
    }
}

extension ListedVersion {
    fileprivate init(_ row: SQLRow, isLatest: Bool) {
        let flags = row.int(3)
        self.init(
            object: ListedObject(row, key: row.bytes(0)),
            id: flags & VersionRow.nullVersion != 0
                ? .null : .numbered(sequence: -row.int(1), nonce: UInt64(bitPattern: row.int(2))),
            isLatest: isLatest, isDeleteMarker: flags & VersionRow.deleteMarker != 0)
    }
}
