internal import Base
internal import Cache
internal import HTTP
internal import Net
internal import SigV4
internal import UV

/// What has been read before: served while fresh, else asked about by its ETag.
///
/// S3 is consistent: a read must not show what has been overwritten. So an object is fresh only as long as its own `Cache-Control`
/// says, and after that (at once, without one) each read asks the origin, whose 304 spares the bytes, not the round trip. What this
/// edge writes itself is forgotten here, before and after.
///
///     value:  seconds of freshness u32 | bytes of ETag u16 | bytes of head u32 | ETag | head (fields as sent) | body
///
/// Thread rule: the loop's thread.
final class CachedReads {
    private let cache: Cache
    private let namespace: NamespaceID
    private let loop: Loop
    /// Larger bodies are passed on and not kept.
    let objectBytesMax: Int
    /// Bodies that are being collected, all together.
    fileprivate var collectedBytes = 0
    private let collectedBytesMax: Int
    /// Grows with every write: what was asked for before one is not kept after it.
    private(set) var writes: UInt64 = 0
    private static let prefixBytes = 10
    /// How long what is not fresh may wait to be asked about.
    private static let keep = Span.seconds(86_400)

    init(_ cache: Cache, objectBytesMax: Int, loop: Loop) throws {
        self.cache = cache
        self.loop = loop
        self.objectBytesMax = min(objectBytesMax, cache.limitBytes / Limits.cacheObjectShare - 64 * 1024)
        collectedBytesMax = cache.limitBytes / 4
        namespace = try cache.addNamespace(NamespaceSettings(name: "edge-objects"))
    }

    /// The name of what a request reads, for whoever reads with the same rights; nil: not to be kept.
    func key(_ request: EdgeRequest) -> [UInt8]? {
        guard request.method == "GET" || request.method == "HEAD", request.bucketAndKey != nil else { return nil }
        let known: Set<String> = ["versionId", "x-id"]
        guard request.items.keys.allSatisfy({ known.contains($0) || $0.lowercased().hasPrefix("x-amz-") }) else { return nil }
        for name in request.headers.map(\.name) where Self.bypassing.contains(name) || name.hasPrefix("x-amz-server-side-encryption") {
            return nil
        }
        // An edge has one key: who has signed is its owner.
        let who = request.authorization == nil ? "anyone" : "owner"
        let withChecksum = request.header("x-amz-checksum-mode") == nil ? "-" : "+"
        return Array("\(who)\(withChecksum)\(request.canonicalPath)?\(request.items["versionId"] ?? "")".utf8)
    }

    /// Reads of parts, and reads under conditions, are the origin's to answer.
    private static let bypassing: Set<String> = [
        "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "cache-control", "pragma",
        "x-amz-expected-bucket-owner",
    ]

    /// Serves it, if it is here and fresh.
    func serve(_ key: [UInt8], isHead: Bool, on connection: HTTPConnection) -> Bool {
        let now = loop.now
        let found = key.withUnsafeBytes { cache.get($0, in: namespace, at: now) }
        guard let hit = found, Parts(hit.value).freshSeconds > 0 else { return false }
        let age = hit.age(at: now).wholeMilliseconds / 1000
        let ttl = (hit.freshness(at: now)?.wholeMilliseconds ?? 0) / 1000
        send(cache.pin(hit), note: "hearth; hit; ttl=\(ttl)", age: age, isHead: isHead, on: connection)
        return true
    }

    /// What is here and may be asked about.
    func stale(_ key: [UInt8]) -> PinnedValue? {
        key.withUnsafeBytes { cache.peek($0, in: namespace, at: loop.now) }.map { cache.pin($0) }
    }

    func send(_ value: PinnedValue, note: String, age: UInt64 = 0, isHead: Bool, on connection: HTTPConnection) {
        let parts = Parts(value.value)
        connection.begin(200)
        connection.output.append(parts.head)
        connection.output.appendField("Cache-Status", note)
        connection.output.appendField("Age", age)
        connection.beginLength(UInt64(parts.body.count))
        if isHead || parts.body.isEmpty { return connection.endLength() }
        let pump = HitPump(value, from: value.value.count - parts.body.count, connection)
        connection.pending = pump
        // Inside a read of the connection nothing tells when there is room for more.
        let box = LoopBound(pump, on: loop)
        loop.remote.post { box.wrapped.canWrite() }
    }

    /// A write: nothing of what it may change is served any more.
    func forget(_ request: EdgeRequest) {
        writes += 1
        let now = loop.now
        func purge(_ tag: String) { Array(tag.utf8).withUnsafeBytes { cache.purge(tag: $0, soft: false, at: now) } }
        // A write on a bucket may be a deletion of many objects.
        purge(request.bucketAndKey == nil ? "b/\(request.bucket)" : "k\(request.canonicalPath)")
    }

    fileprivate func mayCollect(_ bytes: Int) -> Bool { bytes <= objectBytesMax && collectedBytes + bytes <= collectedBytesMax }

    fileprivate func store(_ key: [UInt8], _ path: String, _ bucket: Substring, _ value: UnsafeRawBufferPointer) {
        var policy = StorePolicy(.ttl(.milliseconds(max(1, UInt64(Parts(value).freshSeconds) * 1000))))
        policy.keep = Self.keep
        let tags = [Array("k\(path)".utf8), Array("b/\(bucket)".utf8)]
        tags[0].withUnsafeBytes { object in
            tags[1].withUnsafeBytes { bucket in
                _ = key.withUnsafeBytes { cache.set($0, value, in: namespace, policy: policy, tags: [object, bucket], at: loop.now) }
            }
        }
    }

    /// A value taken apart.
    struct Parts {
        let freshSeconds: UInt32
        let etag: UnsafeRawBufferPointer
        let head: UnsafeRawBufferPointer
        let body: UnsafeRawBufferPointer

        init(_ value: UnsafeRawBufferPointer) {
            freshSeconds = value.loadUnaligned(fromByteOffset: 0, as: UInt32.self)
            let etagBytes = Int(value.loadUnaligned(fromByteOffset: 4, as: UInt16.self))
            let headBytes = Int(value.loadUnaligned(fromByteOffset: 6, as: UInt32.self))
            let head = CachedReads.prefixBytes + etagBytes
            etag = UnsafeRawBufferPointer(rebasing: value[CachedReads.prefixBytes..<head])
            self.head = UnsafeRawBufferPointer(rebasing: value[head..<head + headBytes])
            body = UnsafeRawBufferPointer(rebasing: value[(head + headBytes)...])
        }
    }
}

/// A GET on its way to the origin whose answer may be kept.
final class CacheFill {
    private let cached: CachedReads
    private let key: [UInt8]
    private let path: String
    private let bucket: Substring
    /// What is here and not fresh: the request asks whether it still holds.
    private let kept: PinnedValue?
    private let writes: UInt64
    private let storesNothing: Bool
    private var value: ByteBuffer?
    private var reserved = 0

    init(_ cached: CachedReads, _ key: [UInt8], _ request: EdgeRequest, kept: PinnedValue?) {
        self.cached = cached
        self.key = key
        self.kept = kept
        path = request.canonicalPath
        bucket = request.bucket
        writes = cached.writes
        storesNothing = request.method == "HEAD"
    }

    deinit { cached.collectedBytes -= reserved }

    var isStoring: Bool { value != nil }

    var condition: String? { kept.map { String(decoding: CachedReads.Parts($0.value).etag, as: UTF8.self) } }

    /// The origin says that what is here holds.
    func revalidated() -> PinnedValue? {
        guard let kept else { return nil }
        if writes == cached.writes { cached.store(key, path, bucket, kept.value) }
        return kept
    }

    /// Judges an answer by its head (RFC 9111 §3): only a whole object with a length and an ETag is kept.
    func begin(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) {
        guard !storesNothing, head.status == 200, case .length(let length) = head.framing, length <= UInt64(cached.objectBytesMax),
            cached.mayCollect(Int(length)), let etag = head.header(.etag)?.slice(bytes), etag.count < 256,
            let seconds = CacheControl(head, bytes).freshSeconds
        else { return }
        let fields = ByteBuffer(capacity: 1024)
        for index in 0..<head.headerCount {
            let (name, value) = (head.headerName(index).slice(bytes), head.headerValue(index).slice(bytes))
            // Ids are of one answer only.
            if OriginFields.isOwn(name) || OriginFields.equals(name, "x-amz-request-id") || OriginFields.equals(name, "x-amz-id-2") { continue }
            fields.appendField(name: name, value: value)
        }
        let value = ByteBuffer(capacity: 16 + etag.count + fields.count + Int(length))
        value.append(littleEndian: seconds)
        value.append(littleEndian: UInt16(etag.count))
        value.append(littleEndian: UInt32(fields.count))
        value.append(etag)
        value.append(fields.bytes)
        self.value = value
        reserved = Int(length)
        cached.collectedBytes += reserved
    }

    func append(_ bytes: UnsafeRawBufferPointer) { value?.append(bytes) }

    func finish() {
        guard let value else { return }
        self.value = nil
        if writes == cached.writes { cached.store(key, path, bucket, value.bytes) }
    }
}

/// What an answer's `Cache-Control` allows a cache between (RFC 9111 §5.2.2).
struct CacheControl {
    /// nil: not to be kept. 0: to be asked about at each use.
    private(set) var freshSeconds: UInt32? = 0

    init(_ head: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) {
        self.init(head.header(.cacheControl).map { String(decoding: $0.slice(bytes), as: UTF8.self) } ?? "")
    }

    init(_ text: String) {
        var shared: UInt32?
        for item in text.lowercased().split(separator: ",") {
            let halves = item.filter { $0 != " " && $0 != "\"" }.split(separator: "=", maxSplits: 1)
            let seconds = halves.count == 2 ? UInt32(halves[1]) : nil
            switch halves.first {
            case "no-store", "private": freshSeconds = nil
            case "no-cache": shared = 0
            case "s-maxage": shared = seconds ?? 0
            case "max-age": if freshSeconds != nil { freshSeconds = seconds ?? 0 }
            default: break
            }
            if freshSeconds == nil { return }
        }
        if let shared { freshSeconds = shared }
    }
}

/// Sends a cached body as its client takes it; the value is held, not copied.
final class HitPump: PendingAnswer {
    private static let pieceBytes = 256 * 1024
    private let value: PinnedValue
    private var at: Int
    private let connection: HTTPConnection
    private var isOver = false

    init(_ value: PinnedValue, from start: Int, _ connection: HTTPConnection) {
        self.value = value
        at = start
        self.connection = connection
    }

    func canWrite() {
        while !isOver, connection.isOpen, connection.queuedBytes <= Limits.unsentBytesMax {
            let end = min(value.value.count, at + Self.pieceBytes)
            connection.send(UnsafeRawBufferPointer(rebasing: value.value[at..<end]))
            at = end
            guard at == value.value.count else { continue }
            isOver = true
            connection.endLength()
        }
    }

    func clientWentAway() { isOver = true }
}
