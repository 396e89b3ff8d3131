internal import Base

/// Buckets, objects, multipart uploads, lifecycle and tiers, in SQLite files under one directory.
///
///     meta.sqlite           what a request decides on: versions, uploads, small bodies     WAL, synced at each commit
///     hot-N.sqlite          bodies in rows of 256 KiB, only ever appended                  rollback journal: written once
///     COLD/cold-N.sqlite    the same, each row compressed on its own
///
/// Style: calls that may touch the disk return at once and call `done` exactly once, on a thread of the store's, never on the
/// caller's; who needs the loop posts to it. A call whose `done` has succeeded is on disk: it survives `kill -9`. A call that failed
/// has changed nothing.
///
/// Thread rule: any thread, the loop's too.
package final class ObjectStore: Sendable {
    package typealias Done<Value> = @Sendable (Result<Value, ObjectsError>) -> Void

    /// Where and how.
    package struct Options: Sendable {
        /// Must exist and be writable.
        package var directory: String
        /// nil: `directory`.
        package var coldDirectory: String?
        /// Milliseconds since 1970.
        package var clock: @Sendable () -> Int64
        package var seed: UInt64
        /// The length of a day to lifecycle and tiers, in milliseconds.
        package var day = Lifecycle.dayMilliseconds
        /// A file of bodies is closed for writing when it has grown to this.
        package var segmentBytes: Int64 = 1 << 30
        /// Bodies of at most this many bytes lie in `meta.sqlite`.
        package var inlineBytesMax = Limits.objectInlineBytes
        /// No file grows beyond; for tests of a full disk. 0: none.
        package var fileBytesMax: Int64 = 0

        package init(directory: String, seed: UInt64, clock: @escaping @Sendable () -> Int64) {
            self.directory = directory
            self.seed = seed
            self.clock = clock
        }
    }

    package init(_ options: Options) throws(ObjectsError) { throw .storage("not yet") }

    /// Ends background work, waits for what is under way and closes the files. What comes after it fails with `aborted`.
    package func close() {}

    // MARK: Buckets

    /// Throws (into `done`) `bucketAlreadyExists` with the owner that it has.
    package func createBucket(_ name: BucketName, owner: String, objectLock: Bool = false, done: @escaping Done<Bucket>) {}
    package func deleteBucket(_ name: BucketName, done: @escaping Done<Void>) {}
    /// By name; `owner` nil: everybody's.
    package func buckets(owner: String? = nil, done: @escaping Done<[Bucket]>) {}
    /// From memory; nil: there is none. Never waits, so there is no `done`.
    package func bucket(_ name: BucketName) -> Bucket? { nil }
    package func setVersioning(_ state: Versioning, of name: BucketName, done: @escaping Done<Void>) {}
    /// From memory, as `bucket` is; throws `noSuchBucket` or `noSuchConfiguration`.
    package func document(_ kind: BucketDocument, of name: BucketName) throws(ObjectsError) -> [UInt8] { [] }
    /// nil removes it.
    package func setDocument(_ kind: BucketDocument, _ bytes: [UInt8]?, of name: BucketName, done: @escaping Done<Void>) {}
    /// The rules of the lifecycle document, parsed by the door: they act from the moment of `done`. Kept in memory only: to be given
    /// again after a start, before requests are served.
    package func setLifecycle(_ rules: [LifecycleRule], of name: BucketName) {}
    /// As `setLifecycle`; empty: nothing moves.
    package func setTiering(_ rules: [TieringRule], of name: BucketName) {}

    // MARK: Objects

    /// Begins a put. Nothing is visible, and nothing needs to be undone, until `finish`.
    package func put(_ request: PutRequest) -> ObjectWriter { ObjectWriter() }
    package func head(_ request: GetRequest, done: @escaping Done<Head>) {}
    /// Errors that are answers: `notModified`, `preconditionFailed`, `invalidRange`, `methodNotAllowed`.
    package func get(_ request: GetRequest, done: @escaping Done<ObjectReader>) {}
    /// No bytes are copied; they are read only when another checksum must be computed.
    package func copy(_ request: CopyRequest, done: @escaping Done<CopyResult>) {}
    package func delete(_ request: DeleteRequest, in bucket: BucketName, bypassGovernance: Bool = false, done: @escaping Done<DeleteResult>) {}
    /// Each on its own: one result a request, in their order. Fails as a whole only without the bucket.
    package func delete(
        _ requests: [DeleteRequest], in bucket: BucketName, bypassGovernance: Bool = false,
        done: @escaping Done<[Result<DeleteResult, ObjectsError>]>
    ) {}
    package func list(_ request: ListRequest, done: @escaping Done<ListPage>) {}
    package func listVersions(_ request: VersionsRequest, done: @escaping Done<VersionsPage>) {}
    /// Of a completed object: its parts; empty for one that was put whole (GetObjectAttributes).
    package func parts(of request: GetRequest, after number: Int = 0, partsMax: Int = 1000, done: @escaping Done<(Head, PartsPage)>) {}

    /// What can be changed of a version without a new one.
    package enum Change: Sendable {
        case tags([Field])
        case acl([UInt8])
        /// Refused (`accessDenied`) where it would weaken what holds.
        case retention(ObjectLock.Mode?, until: Int64, bypassGovernance: Bool)
        case legalHold(Bool)
        /// Of an archived object: readable until then.
        case restored(until: Int64)
    }
    /// Answers the version that it changed.
    package func change(
        _ key: ObjectKey, version: VersionID? = nil, in bucket: BucketName, _ change: Change, done: @escaping Done<ObjectVersion>
    ) {}

    // MARK: Multipart uploads

    package func createUpload(_ request: UploadRequest, done: @escaping Done<Upload>) {}
    /// `number`: 1 to 10,000, checked by `finish`. Of the same number, the part finished last counts.
    package func putPart(_ upload: UploadName, number: Int, body: BodyChecks) -> ObjectWriter { ObjectWriter() }
    /// By reference: the source's bytes are read for their digest, not copied.
    package func copyPart(
        _ upload: UploadName, number: Int, from source: CopySource, done: @escaping Done<(part: Part, sourceVersion: VersionID?)>
    ) {}
    package func upload(_ upload: UploadName, done: @escaping Done<Upload>) {}
    package func parts(ofUpload upload: UploadName, after number: Int = 0, partsMax: Int = 1000, done: @escaping Done<(Upload, PartsPage)>) {}
    package func listUploads(_ request: UploadsRequest, done: @escaping Done<UploadsPage>) {}
    /// Asked again after it succeeded, it answers the same again (for 7 days).
    package func complete(_ request: CompleteRequest, done: @escaping Done<PutResult>) {}
    package func abort(_ upload: UploadName, done: @escaping Done<Void>) {}

    // MARK: Care

    /// One step of the background work (lifecycle, tiers, access times, compaction), which looks at `rowsMax` rows at most. The server
    /// calls it by a timer, one call at a time.
    package func upkeep(rowsMax: Int = 2_000, done: @escaping Done<UpkeepReport>) {}
    package func statistics(done: @escaping Done<StoreStatistics>) {}
    package func usage(of bucket: BucketName, done: @escaping Done<BucketUsage>) {}
    /// Reads every chunk and holds every count to what it counts, beside running requests.
    package func check(bytesPerSecond: Int64? = nil, done: @escaping Done<CheckReport>) {}
    /// Gives back the space of what was deleted: files of which less than `liveFraction` is needed are rewritten.
    package func compact(liveFraction: Double = 0.5, done: @escaping Done<CompactReport>) {}
    /// Makes a copy that can be opened, in `directory`, which must be empty or not exist.
    package func backup(to directory: String, done: @escaping Done<Void>) {}
}

/// A body on its way into the store.
///
/// Thread rule: one caller at a time, any thread; no call waits.
package final class ObjectWriter: Sendable {
    /// Takes the bytes (they are copied before it returns). False: wait for `resume`, which is called once, on a thread of the
    /// store's, when there is room; more that is written before is taken all the same, so that a caller may finish what it holds.
    package func write(_ bytes: UnsafeRawBufferPointer, resume: @escaping @Sendable () -> Void) -> Bool { true }

    /// Why `finish` will fail, if that is known already (a full disk): the caller may stop reading the body.
    package var failure: ObjectsError? { nil }

    /// Commits. `checksum` is a trailer's value, `sha256` the payload's where it is known only now.
    package func finish(checksum: [UInt8]? = nil, sha256: [UInt8]? = nil, done: @escaping ObjectStore.Done<PutResult>) {}

    /// Gives up; what was written is never seen. Also done when the last reference goes without `finish`.
    package func abort() {}
}

/// The bytes of one version: whole, or the range that was asked for. Later writes and deletes do not change what it gives.
///
/// Thread rule: one caller at a time, any thread; no call waits.
package final class ObjectReader: Sendable {
    package let head: Head
    /// All bytes that were asked for, when they came with the head (small bodies): then `next` need not be called.
    package let whole: [UInt8]?

    /// The next bytes, 256 KiB at most; empty at the end. One call at a time. `damaged` or `storage`: the answer must break off.
    package func next(done: @escaping ObjectStore.Done<[UInt8]>) {}

    init(head: Head, whole: [UInt8]?) {
        self.head = head
        self.whole = whole
    }
}
