/// Every limit of the runtime, by name. A limit that people may change is read from runtime.toml over these.
package enum Limits {
    // HTTP heads and bodies
    package static let requestLineBytesMax = 8 * 1024
    package static let headerCountMax = 100
    package static let headBytesMax = 64 * 1024
    package static let chunkLineBytesMax = 1024
    /// A synchronous event or answer: 6 MiB (Lambda quota), plus Lambda's own slack of 100 bytes.
    package static let eventBytesMax = 6 * 1024 * 1024 + 100
    /// Of an answer that comes in pieces.
    package static let streamedBytesMax = 200 * 1024 * 1024
    /// Status, headers and cookies that stand before the body of a streamed HTTP response.
    package static let streamPreludeBytesMax = 64 * 1024
    /// A CreateFunction request: a zip of 50 MiB in base64 within JSON (Lambda's own figure).
    package static let controlBodyBytesMax = 70_167_211
    package static let zipBytesMax = 52_428_800
    package static let unzippedBytesMax = 262_144_000
    package static let zipEntriesMax = 20_000
    package static let environmentBytesMax = 4 * 1024

    // connections
    package static let connectionsMax = 10_000
    package static let readBufferBytes = 64 * 1024
    /// A connection whose peer has more than this still to take is given no further request.
    package static let unsentBytesMax = 256 * 1024
    /// From the first byte of a head to its last.
    package static let headTimeout = Span.seconds(10)
    /// The longest pause inside a body.
    package static let bodyIdleTimeout = Span.seconds(30)
    package static let keepAliveTimeout = Span.seconds(75)
    /// How long a stopping server waits, when all invocations have ended, for what is still under way on the API listener.
    package static let drainTimeout = Span.seconds(5)
    package static let writeTimeout = Span.seconds(60)

    // cache
    /// What the shared cache may take, unless configured.
    package static let cacheMemoryBytes = 128 << 20
    /// What its second level may take on disk, unless configured, and the least that makes sense.
    package static let cacheDiskBytes = 1 << 30
    package static let cacheDiskBytesMin = 16 << 20

    // objects
    /// A row of an object's body.
    package static let objectChunkBytes = 256 * 1024
    /// Bodies up to this lie beside their metadata: one commit instead of two.
    package static let objectInlineBytes = 16 * 1024
    /// Bodies on their way to the disk, of all writers together; beyond it they are told to wait.
    package static let objectBufferBytes = 32 << 20
    /// Of one writer.
    package static let objectWriterBufferBytes = 4 << 20
    /// Memory of rows that were read, kept for the next ones.
    package static let objectReadIdleBytes = 4 << 20
    /// Rows of bodies in one commit.
    package static let objectBatchBytes = 8 << 20
    /// Requests in one commit of metadata.
    package static let objectGroupMax = 128
    /// Parts of one upload (S3).
    package static let objectPartsMax = 10_000
    package static let objectPartBytesMin: Int64 = 5 << 20
    /// A part, and an object put whole (S3).
    package static let objectPartBytesMax: Int64 = 5 << 30
    /// An object of parts (S3 since December 2025).
    package static let objectBytesMax: Int64 = 50 << 40
    /// How long a completed upload answers the same again.
    package static let objectCompletedMilliseconds: Int64 = 7 * 86_400_000

    // objects, as S3 bounds them
    /// A single PUT or a part: 5 GiB (Amazon S3 quotas).
    package static let s3PartBytesMax = 5 << 30
    /// The same with what `aws-chunked` adds.
    package static let s3BodyBytesMax = s3PartBytesMax + s3PartBytesMax / 8
    /// An XML document or a policy: 10,000 parts and 1,000 keys fit.
    package static let s3DocumentBytesMax = 8 << 20
    /// A refused request's body is read to its end when it is at most so long.
    package static let s3DiscardBytesMax = 64 * 1024
    /// The fields before the file of an upload by form.
    package static let s3FormFieldsBytesMax = 64 * 1024

    // edge
    /// Bodies of uploads that an edge holds on their way to its origin, unless configured.
    package static let edgeUploadMemoryBytes = 128 << 20
    /// Its connections to the origin, unless configured.
    package static let edgeConnectionsMax = 64

    // workers
    package static let initTimeout = Span.seconds(10)
    /// RLIMIT_NOFILE of a worker (Lambda's own figure).
    package static let openFilesMax = 1024
    package static let killGrace = Span.seconds(2)
    /// Longest keep-alive of a version that no alias leads to and that is not the latest: an old one, as a rule.
    package static let unnamedKeepAlive = Span.seconds(5)
    package static let workerFrameBytesMax = eventBytesMax + 64 * 1024
    /// Versions of a function whose counts are kept although neither an alias nor a worker is left of them.
    package static let metricVersionsMax = 16
    package static let logLineBytesMax = 256 * 1024
    package static let logBytesPerFunction = 1024 * 1024
    package static let logTailBytes = 4 * 1024
}
