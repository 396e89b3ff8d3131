internal import Base
internal import Crypto
internal import Foundation
internal import HTTP
internal import Synchronization

/// What HEAD tells of an object.
package struct S3Facts: Sendable {
    package let size: Int64
    package let etag: String
    package let storageClass: String
    package let headers: [String: String]

    /// CRC-64 of all bytes, base64; nil: the server has none.
    var crc64: String? { headers["x-amz-checksum-type"] == "COMPOSITE" ? nil : headers["x-amz-checksum-crc64nvme"] }
}

extension S3Client {
    package func head(_ place: S3Place) throws(ClientError) -> S3Facts {
        let response = try call("HEAD", place, headers: [(name: "x-amz-checksum-mode", value: "ENABLED")])
        guard let size = response.headers["content-length"].flatMap(Int64.init) else {
            throw .notHTTP(endpoint: endpoint, reason: "an object without a length")
        }
        return S3Facts(
            size: size, etag: (response.headers["etag"] ?? "").filter { $0 != "\"" },
            storageClass: response.headers["x-amz-storage-class"] ?? "STANDARD", headers: response.headers)
    }
}

/// Fetches an object into a file, as ranges over several connections, or in order into a stream.
///
///     PATH.hearth-part:   the object's bytes │ one byte a range: 1 = it is here │ which object, 128 bytes
///
/// Invariants:
///  1. PATH is either what it was before or the whole object: the file beside it gets the name when every byte has been held to the
///     object's checksum (where the server has one) and is on disk.
///  2. A range is marked after its bytes are written. What a try left behind is gone on with only by a get of the same object: every
///     request carries `If-Match`.
package struct S3Download: Sendable {
    package struct Result: Sendable {
        package let etag: String
        package let size: Int64
        package let resumed: Int64
        /// The bytes were held to a checksum of the whole.
        package let isVerified: Bool
    }

    package static let rangeBytesDefault = 8 << 20
    private static let tagBytes = 128

    let client: S3Client
    let place: S3Place
    package var rangeBytes = Self.rangeBytesDefault
    package var lanes = 4
    package var onProgress: @Sendable (_ bytes: Int64, _ isResumed: Bool) -> Void = { _, _ in }

    package init(_ client: S3Client, from place: S3Place) {
        self.client = client
        self.place = place
    }

    // MARK: Into a file

    /// - Parameter facts: of `head`.
    package func fetch(_ facts: S3Facts, into path: String) throws(ClientError) -> Result {
        let part = path + ".hearth-part"
        let file = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.failure(part, "cannot be written") }
        defer { close(file) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else { throw .local("another hearth object get writes \(part) already: wait for it") }
        let count = Int((facts.size + Int64(rangeBytes) - 1) / Int64(rangeBytes))
        let tag = self.tag(facts)
        var marks = Self.marks(file, facts.size, count, tag)
        if marks == nil {
            marks = [UInt8](repeating: 0, count: count)
            guard ftruncate(file, 0) == 0, ftruncate(file, off_t(facts.size + Int64(count))) == 0 else { throw Self.failure(part, "cannot be written") }
            try Self.write(tag, file, part, at: facts.size + Int64(count))
        }
        let missing = (0..<count).filter { marks?[$0] != 1 }
        let resumed = facts.size - missing.reduce(Int64(0)) { $0 + Int64(range($1, facts).count) }
        if resumed > 0 { onProgress(resumed, true) }
        try inLanes(lanes, missing.count) { (index, lane) throws(ClientError) in
            try fetch(missing[index], facts, file, part, lane)
            try Self.write([1], file, part, at: facts.size + Int64(missing[index]))
        }
        let isVerified = try verify(file, part, facts)
        guard ftruncate(file, off_t(facts.size)) == 0, fsync(file) == 0, rename(part, path) == 0 else {
            throw Self.failure(path, "cannot be written")
        }
        return Result(etag: facts.etag, size: facts.size, resumed: resumed, isVerified: isVerified)
    }

    private func range(_ index: Int, _ facts: S3Facts) -> Range<Int64> {
        let start = Int64(index) * Int64(rangeBytes)
        return start..<min(facts.size, start + Int64(rangeBytes))
    }

    /// Which object the file is of, and in which ranges.
    private func tag(_ facts: S3Facts) -> [UInt8] {
        let text = Array("hearth-part \(facts.etag) \(facts.size) \(rangeBytes)".utf8.prefix(Self.tagBytes))
        return text + [UInt8](repeating: 0x0A, count: Self.tagBytes - text.count)
    }

    /// Which ranges an earlier try left; nil: the file is of something else.
    private static func marks(_ file: CInt, _ size: Int64, _ count: Int, _ tag: [UInt8]) -> [UInt8]? {
        var status = stat()
        guard fstat(file, &status) == 0, Int64(status.st_size) == size + Int64(count + tagBytes) else { return nil }
        var tail = [UInt8](repeating: 0, count: count + tagBytes)
        guard pread(file, &tail, tail.count, off_t(size)) == tail.count, Array(tail[count...]) == tag else { return nil }
        return Array(tail[..<count])
    }

    /// One range, from where a broken connection left off.
    private func fetch(_ index: Int, _ facts: S3Facts, _ file: CInt, _ part: String, _ lane: ClientLane) throws(ClientError) {
        let range = range(index, facts)
        var at = range.lowerBound
        try client.persistently { () throws(ClientError) in
            guard at < range.upperBound else { return }
            try request(at..<range.upperBound, facts, lane) { (bytes) throws(ClientError) in
                try Self.write(bytes, file, part, at: at)
                at += Int64(bytes.count)
                onProgress(Int64(bytes.count), false)
            }
        }
        guard at == range.upperBound else { throw .broken(endpoint: client.endpoint) }
    }

    private func request(
        _ range: Range<Int64>, _ facts: S3Facts, _ lane: ClientLane, _ take: @escaping (UnsafeRawBufferPointer) throws(ClientError) -> Void
    ) throws(ClientError) {
        do throws(ClientError) {
            _ = try client.call(
                "GET", place,
                headers: [
                    (name: "if-match", value: "\"\(facts.etag)\""), (name: "range", value: "bytes=\(range.lowerBound)-\(range.upperBound - 1)"),
                ], lane: lane, sink: ClientSink(wants: { $0 == 206 }, take: take))
        } catch {
            if error.code == "PreconditionFailed" { throw .local("\(place) changed while it was read: get it again") }
            throw error
        }
    }

    private func verify(_ file: CInt, _ part: String, _ facts: S3Facts) throws(ClientError) -> Bool {
        // An ETag of 32 digits is the MD5 of the bytes, unless the object is encrypted for somebody.
        let md5 = facts.etag.count == 32 && facts.headers["x-amz-server-side-encryption-customer-algorithm"] == nil
        guard facts.crc64 != nil || md5 else { return false }
        let buffer = PartBuffer(capacity: 1 << 20)
        var crc = CRC(.crc64nvme)
        let digest = RunningDigest(.md5)
        var at: Int64 = 0
        while at < facts.size {
            buffer.count = 0
            let start = at
            guard try buffer.fill(upTo: Int(min(1 << 20, facts.size - at)), { pread(file, $0, $1, off_t(start) + $2) }) else {
                throw .local("\(part) became shorter while it was read")
            }
            if facts.crc64 != nil { crc.update(buffer.bytes) } else { digest.add(buffer.bytes) }
            at += Int64(buffer.count)
        }
        let isEqual = facts.crc64.map { $0 == base64(crc.bytes) } ?? (hex(digest.finish()) == facts.etag)
        guard isEqual else {
            unlink(part)
            throw .local("the bytes of \(place) that arrived are not those of its checksum: get it again")
        }
        return true
    }

    private static func write(_ bytes: [UInt8], _ file: CInt, _ path: String, at offset: Int64) throws(ClientError) {
        var result: Swift.Result<Void, ClientError> = .success(())
        bytes.withUnsafeBytes { bytes in
            do throws(ClientError) { try write(bytes, file, path, at: offset) } catch { result = .failure(error) }
        }
        try result.get()
    }

    private static func write(_ bytes: UnsafeRawBufferPointer, _ file: CInt, _ path: String, at offset: Int64) throws(ClientError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(file, bytes.baseAddress?.advanced(by: done), bytes.count - done, off_t(offset) + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(path, "cannot be written") }
            done += count
        }
    }

    private static func failure(_ path: String, _ what: String) -> ClientError { .local("\(path) \(what): \(String(cString: strerror(errno)))") }

    // MARK: Into a stream

    /// Writes the object in order to `descriptor`; a broken connection is gone on with where it broke.
    package func fetch(_ facts: S3Facts, into descriptor: CInt) throws(ClientError) -> Result {
        let lane = ClientLane()
        var at: Int64 = 0
        try client.persistently { () throws(ClientError) in
            guard at < facts.size else { return }
            try request(at..<facts.size, facts, lane) { (bytes) throws(ClientError) in
                var done = 0
                while done < bytes.count {
                    let count = Foundation.write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { throw Self.failure("standard output", "cannot be written") }
                    done += count
                }
                at += Int64(bytes.count)
                onProgress(Int64(bytes.count), false)
            }
        }
        return Result(etag: facts.etag, size: facts.size, resumed: 0, isVerified: false)
    }
}
