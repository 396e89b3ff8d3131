import Base
import Dispatch
import Foundation
import Objects
import Testing

/// One call after the other: what is stored, what is refused, what survives.
@Suite final class StoreTests {
    private let directory: Directory
    private let opened: Opened
    private let bucket: BucketName
    private var store: ObjectStore { opened.store }

    init() throws {
        directory = try Directory()
        opened = try Opened(directory.path + "/store")
        bucket = try opened.bucket("first")
    }

    deinit { opened.store.close() }

    @Test func bodiesOfEverySizeComeBackWholeAndInRanges() throws {
        var dice = Random(seed: 7)
        for size in [0, 1, 100, 16_384, 16_385, 262_143, 262_144, 262_145, 1_000_000] {
            let body = random(size, &dice)
            let result = try opened.put(bucket, "size \(size)", body, steps: 70_000)
            #expect(result.etag == md5(body) && result.size == Int64(size) && result.version == nil, "\(size)")
            #expect(try opened.get(bucket, "size \(size)") == body, "\(size)")
            for _ in 0..<(size > 1 ? 6 : 0) {
                let from = Int.random(in: 0..<size, using: &dice)
                let through = Int.random(in: from..<size + 9, using: &dice)
                let part = try opened.get(bucket, "size \(size)") { $0.range = .from(Int64(from), through: Int64(through)) }
                #expect(part == Array(body[from..<min(size, through + 1)]), "\(size): \(from)-\(through)")
                #expect(try opened.get(bucket, "size \(size)") { $0.range = .suffix(Int64(from) + 1) } == Array(body.suffix(from + 1)))
            }
            #expect(
                refusal { try opened.get(bucket, "size \(size)") { $0.range = .from(Int64(size), through: nil) } }
                    == .invalidRange(size: Int64(size)))
        }
    }

    @Test func whatWasDeclaredOfABodyIsHeldToIt() throws {
        let body = Array("hello".utf8)
        let wrong: [(BodyChecks, [UInt8]?, ObjectsError)] = [
            (BodyChecks(size: 4), nil, .incompleteBody),
            (BodyChecks(md5: [UInt8](repeating: 0, count: 16)), nil, .badDigest("Content-MD5")),
            (BodyChecks(sha256: [UInt8](repeating: 0, count: 32)), nil, .contentSHA256Mismatch),
            (BodyChecks(checksum: .crc32, checksumValue: [0, 0, 0, 0]), nil, .badDigest("CRC32")),
            (BodyChecks(checksum: .sha1), [UInt8](repeating: 0, count: 20), .badDigest("SHA1")),
        ]
        for (checks, trailer, expected) in wrong {
            let writer = store.put(PutRequest(bucket: bucket, key: try ObjectKey("k"), body: checks))
            #expect(refusal { try opened.fill(writer, body, trailer: trailer) } == expected)
        }
        #expect(refusal { try opened.get(bucket, "k") } == .noSuchKey(deleteMarker: nil), "nothing has become visible")
        // Values from the catalogue of parametrised CRC algorithms, and of FIPS 180.
        let known: [(ChecksumAlgorithm, String)] = [
            (.crc32, "cbf43926"), (.crc32c, "e3069283"), (.crc64nvme, "ae8b14860a799888"),
            (.sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (.sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ]
        for (algorithm, digits) in known {
            let result = try opened.put(bucket, "digits", Array("123456789".utf8)) { $0.body.checksum = algorithm }
            #expect(result.checksum?.value.map { String(format: "%02x", $0) }.joined() == digits)
        }
    }

    @Test func conditionsAreDecidedByTheCommit() throws {
        let first = try opened.put(bucket, "k", [1])
        #expect(refusal { try opened.put(bucket, "k", [2]) { $0.conditions = .mustNotExist } } == .preconditionFailed("If-None-Match"))
        #expect(refusal { try opened.put(bucket, "x", [2]) { $0.conditions.ifMatch = .any } } == .noSuchKey(deleteMarker: nil))
        #expect(
            refusal { try opened.put(bucket, "k", [2]) { $0.conditions.ifMatch = .oneOf([md5([9])]) } }
                == .preconditionFailed("If-Match"))
        // Of many that may create it, one does.
        let winners = try (0..<16).map { n in
            let writer = store.put(PutRequest(bucket: bucket, key: try ObjectKey("race"), conditions: .mustNotExist))
            _ = [UInt8(n)].withUnsafeBytes { writer.write($0) {} }
            return writer
        }.concurrently { writer in refusal { try wait { writer.finish(done: $0) } } == nil ? 1 : 0 }
        #expect(winners.reduce(0, +) == 1)
        let request = GetRequest(bucket: bucket, key: try ObjectKey("k"))
        func read(_ conditions: ReadConditions) -> ObjectsError? {
            var request = request
            request.conditions = conditions
            return refusal { try wait { store.head(request, done: $0) } }
        }
        let second = first.modified / 1000
        #expect(read(ReadConditions(ifMatch: .oneOf([first.etag]), ifUnmodifiedSince: 0)) == nil, "If-Match hides the date")
        #expect(read(ReadConditions(ifNoneMatch: .oneOf([first.etag]))) == .notModified(etag: first.etag, modified: first.modified))
        #expect(read(ReadConditions(ifNoneMatch: .oneOf([md5([9])]), ifModifiedSince: second)) == nil)
        #expect(read(ReadConditions(ifModifiedSince: second)) == .notModified(etag: first.etag, modified: first.modified))
        #expect(read(ReadConditions(ifUnmodifiedSince: second - 1)) == .preconditionFailed("If-Unmodified-Since"))
        #expect(
            refusal { try opened.delete(bucket, "k", conditions: WriteConditions(ifMatchSize: 2)) }
                == .preconditionFailed("x-amz-if-match-size"))
        try opened.delete(
            bucket, "k", conditions: WriteConditions(ifMatch: .oneOf([first.etag]), ifMatchLastModified: second, ifMatchSize: 1))
        #expect(refusal { try opened.get(bucket, "k") } == .noSuchKey(deleteMarker: nil))
    }

    @Test func aReaderSeesTheOldBodyWholeWhateverHappensToItsKey() throws {
        var dice = Random(seed: 3)
        let old = random(900_000, &dice)
        try opened.put(bucket, "k", old)
        let key = try ObjectKey("k")
        let reader = try wait { store.get(GetRequest(bucket: bucket, key: key), done: $0) }
        var bytes = try wait { reader.next(done: $0) }.map { Array($0.bytes) } ?? []
        try opened.put(bucket, "k", random(900_000, &dice))
        try opened.delete(bucket, "k")
        _ = try wait { store.compact(liveFraction: 1, done: $0) }
        while let next = try wait({ reader.next(done: $0) }) { bytes += next.bytes }
        #expect(bytes == old)
    }
}

extension Array where Element: Sendable {
    /// Applies `body` to all at once.
    func concurrently<T: Sendable>(_ body: @escaping @Sendable (Element) -> T) -> [T] {
        let results = Results<T>()
        DispatchQueue.concurrentPerform(iterations: count) { index in results.add(index, body(self[index])) }
        return results.sorted
    }
}

private final class Results<T: Sendable>: @unchecked Sendable {
    private var all: [(Int, T)] = []
    private let lock = NSLock()
    func add(_ index: Int, _ value: T) { lock.withLock { all.append((index, value)) } }
    var sorted: [T] { all.sorted { $0.0 < $1.0 }.map(\.1) }
}
