internal import Dispatch

/// What happens to objects that somebody can be told of, in S3's words (Amazon S3 User Guide, "Supported event types").
package enum ObjectEventKind: String, Sendable, CaseIterable {
    case put = "ObjectCreated:Put"
    case post = "ObjectCreated:Post"
    case copy = "ObjectCreated:Copy"
    case complete = "ObjectCreated:CompleteMultipartUpload"
    case delete = "ObjectRemoved:Delete"
    case deleteMarker = "ObjectRemoved:DeleteMarkerCreated"

    /// The kinds that a name of a configuration means: one, or those of `ObjectCreated:*`, `ObjectRemoved:*`; none for an unknown name.
    package static func named(_ name: String) -> Set<ObjectEventKind> {
        Set(allCases.filter { $0.rawValue == name || name.hasSuffix(":*") && $0.rawValue.hasPrefix(name.dropLast()) })
    }
}

/// Whom a bucket tells of which of its changes.
package struct NotificationRule: Equatable, Sendable {
    package var id: String
    /// ARN of the function.
    package var target: String
    package var kinds: Set<ObjectEventKind>
    package var prefix: [UInt8]
    package var suffix: [UInt8]

    package init(id: String, target: String, kinds: Set<ObjectEventKind>, prefix: [UInt8] = [], suffix: [UInt8] = []) {
        self.id = id
        self.target = target
        self.kinds = kinds
        self.prefix = prefix
        self.suffix = suffix
    }

    func covers(_ kind: ObjectEventKind, _ key: [UInt8]) -> Bool {
        kinds.contains(kind) && key.starts(with: prefix) && key.suffix(suffix.count).elementsEqual(suffix)
    }

    /// Could one change be told by both?
    package func overlaps(_ other: NotificationRule) -> Bool {
        !kinds.isDisjoint(with: other.kinds)
            && (prefix.starts(with: other.prefix) || other.prefix.starts(with: prefix))
            && (suffix.reversed().starts(with: other.suffix.reversed()) || other.suffix.reversed().starts(with: suffix.reversed()))
    }
}

/// Who asked for a change.
package struct Requester: Hashable, Sendable {
    /// Number of the account; empty: nobody said who he is.
    package var account: String
    /// Numeric address.
    package var address: String
    package var requestID: String

    package init(account: String, address: String, requestID: String) {
        self.account = account
        self.address = address
        self.requestID = requestID
    }

    /// The node itself.
    package static let node = Requester(account: "hearth", address: "127.0.0.1", requestID: "")
}

/// A change that somebody is to be told of.
package struct ObjectEvent: Sendable {
    /// Ascending in the order of the commits; never used twice.
    package let number: Int64
    /// The rule's id and target.
    package let rule: String
    package let target: String
    package let kind: ObjectEventKind
    /// Milliseconds since 1970.
    package let time: Int64
    package let bucket: String
    package let owner: String
    package let key: [UInt8]
    package let size: Int64
    package let etag: ETag
    /// nil in a bucket whose versioning was never enabled.
    package let version: String?
    /// Of two events of one key, the later has the greater.
    package let sequencer: Int64
    package let requester: Requester
}

/// The outbox: a row for each change and rule that covers it, written in the transaction of the change. So what is acknowledged has its
/// events on disk; they leave it when they are on disk elsewhere.
enum Outbox {
    static let columns =
        "id, rule, target, kind, time, bucket, owner, key, size, etag, parts, version, sequencer, account, address, request"

    static func event(_ row: SQLRow) -> ObjectEvent? {
        guard let kind = ObjectEventKind(rawValue: row.text(3)) else { return nil }
        let version = row.text(11)
        return ObjectEvent(
            number: row.int(0), rule: row.text(1), target: row.text(2), kind: kind, time: row.int(4), bucket: row.text(5),
            owner: row.text(6), key: row.bytes(7), size: row.int(8), etag: ETag(digest: row.bytes(9), parts: Int(row.int(10))),
            version: version.isEmpty ? nil : version, sequencer: row.int(12),
            requester: Requester(account: row.text(13), address: row.text(14), requestID: row.text(15)))
    }
}

extension Transaction {
    /// Puts a change of `row` into the outbox, once for each rule that covers it.
    func tell(_ kind: ObjectEventKind, _ row: VersionRow, in entry: BucketEntry, by requester: Requester) throws {
        for rule in entry.notifications where rule.covers(kind, row.key) {
            try db.run(
                """
                INSERT INTO outbox (rule, target, kind, time, bucket, owner, key, size, etag, parts, version, sequencer, account, address, request)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """, .text(rule.id), .text(rule.target), .text(kind.rawValue), .int(now), .text(entry.bucket.name.text),
                .text(entry.bucket.owner), .blob(row.key), .int(row.size), .bytes(row.etag), .int(row.parts),
                entry.bucket.versioning == .off ? .null : .text(row.id.description), .int(nextSequence()), .text(requester.account),
                .text(requester.address), .text(requester.requestID))
            hasEvents = true
        }
    }
}

extension ObjectStore {
    /// The rules of the bucket's notification document, parsed by the door, as of the next change. Kept in memory only: to be given again
    /// after a start, before requests are served.
    package func setNotifications(_ rules: [NotificationRule], of name: BucketName) { table.change(name) { $0.notifications = rules } }

    /// `listener` hears, on a thread of the store's, that events have come into the outbox.
    package func onEvents(_ listener: @escaping @Sendable () -> Void) { meta.queue.sync { meta.onEvents = listener } }

    /// Events behind `number`, in order.
    package func events(after number: Int64, limit: Int, done: @escaping Done<[ObjectEvent]>) {
        reads.read(done) { db in
            try db.rows("SELECT \(Outbox.columns) FROM outbox WHERE id > ? ORDER BY id LIMIT ?", .int(number), .int(limit)) {
                Outbox.event($0)
            }.compactMap { $0 }
        }
    }

    /// Takes the events up to `number` out of the outbox.
    package func forgetEvents(through number: Int64, done: @escaping Done<Void>) {
        meta.submit(done) { try $0.db.run("DELETE FROM outbox WHERE id <= ?", .int(number)) }
    }
}
