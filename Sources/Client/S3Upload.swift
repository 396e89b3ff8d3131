internal import Base
internal import Crypto
internal import Foundation
internal import HTTP
internal import Synchronization
internal import XML

/// Sends a file, or a stream, as an object: whole when it is small, else as parts over several connections, which a later try goes on with.
///
///     file ──▶ journal: an upload of ours? ──▶ its parts, held to the file's bytes ──▶ send the others ──▶ complete
///
/// Every part is signed by its SHA-256, and the whole is held to the CRC-64 of what was read: what is completed is what was read.
/// An object is there whole or not at all; an upload that was cut off is kept by the server until somebody goes on with it or aborts it
/// (its own limit: 7 days).
package struct S3Upload: Sendable {
    package struct Result: Sendable {
        package let etag: String
        package let size: Int64
        /// Bytes that an earlier try had sent.
        package let resumed: Int64
        package let parts: Int
    }

    /// Parts are no smaller, unless for tests of the client.
    package static let partBytesDefault = 16 << 20
    private static let partsMax = 10_000

    let client: S3Client
    let place: S3Place
    /// `content-type`, `x-amz-storage-class`, `x-amz-meta-…`
    package var headers: [(name: String, value: String)] = []
    package var partBytes = Self.partBytesDefault
    package var lanes = 4
    /// Where uploads under way are remembered; nil: nowhere.
    package var journalDirectory: String?
    /// Told of bytes that arrived: those of an earlier try first, with true.
    package var onProgress: @Sendable (_ bytes: Int64, _ isResumed: Bool) -> Void = { _, _ in }

    package init(_ client: S3Client, to place: S3Place) {
        self.client = client
        self.place = place
    }

    // MARK: A file

    package func send(file path: String) throws(ClientError) -> Result {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .local("\(path) cannot be read: \(String(cString: strerror(errno)))") }
        defer { close(file) }
        let facts = try Self.facts(file, path)
        let size = facts.size
        guard size > Int64(partBytes) else {
            let buffer = PartBuffer(capacity: max(1, Int(size)))
            try Self.read(file, path, into: buffer, at: 0, count: Int(size))
            return try sendWhole(buffer)
        }
        let bytes = Self.partBytes(wanted: partBytes, size: size)
        let journal = try journalDirectory.map { (directory) throws(ClientError) in
            try UploadJournal(
                directory: directory, client: client, place: place, file: URL(fileURLWithPath: path).standardizedFileURL.path)
        }
        let (upload, there) = try begin(journal, facts, bytes, file, path)
        let sums = Mutex(there)
        for sum in there.values { onProgress(sum.count, true) }
        let count = Int((size + Int64(bytes) - 1) / Int64(bytes))
        let missing = (1...count).filter { there[$0] == nil }
        try inLanes(lanes, missing.count) { (index, lane) throws(ClientError) in
            let number = missing[index]
            let start = Int64(number - 1) * Int64(bytes)
            let buffer = PartBuffer(capacity: bytes)
            try Self.read(file, path, into: buffer, at: start, count: Int(min(Int64(bytes), size - start)))
            let sum = try sendPart(buffer, number, upload, lane)
            sums.withLock { $0[number] = sum }
        }
        guard try Self.facts(file, path) == facts else {
            try? client.abort(place, upload: upload)
            journal?.forget()
            throw .local("\(path) changed while it was sent: put it again")
        }
        let etag = try complete(upload, sums.withLock { $0 })
        journal?.forget()
        return Result(etag: etag, size: size, resumed: there.values.reduce(0) { $0 + $1.count }, parts: count)
    }

    /// A part as it was read here.
    struct PartSum: Sendable {
        let etag: String
        let crc: UInt64
        let count: Int64
    }

    struct Facts: Equatable {
        let size: Int64
        let modifiedNanoseconds: Int64
    }

    private static func facts(_ file: CInt, _ path: String) throws(ClientError) -> Facts {
        var status = stat()
        guard fstat(file, &status) == 0 else { throw .local("\(path) cannot be read: \(String(cString: strerror(errno)))") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .local("\(path) is not a file: name one, or - for standard input") }
        return Facts(
            size: Int64(status.st_size), modifiedNanoseconds: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
    }

    /// The parts of a file of this size: 10,000 at the most, in whole MiB when larger than wanted.
    package static func partBytes(wanted: Int, size: Int64) -> Int {
        let least = (size + Int64(partsMax) - 1) / Int64(partsMax)
        guard least > Int64(wanted) else { return wanted }
        return Int(((least + (1 << 20) - 1) >> 20) << 20)
    }

    private static func read(_ file: CInt, _ path: String, into buffer: PartBuffer, at start: Int64, count: Int) throws(ClientError) {
        buffer.count = 0
        guard try buffer.fill(upTo: count, { pread(file, $0, $1, off_t(start) + $2) }) else { throw .local("\(path) became shorter while it was read") }
    }

    /// The upload to go on with, and those of its parts that hold what the file holds; or a new one.
    private func begin(
        _ journal: UploadJournal?, _ facts: Facts, _ bytes: Int, _ file: CInt, _ path: String
    ) throws(ClientError) -> (String, [Int: PartSum]) {
        if let entry = journal?.entry {
            let isSame = entry.size == facts.size && entry.modifiedNanoseconds == facts.modifiedNanoseconds && entry.partBytes == bytes
            do throws(ClientError) {
                if isSame { return (entry.upload, try verified(entry, file, path)) }
                try client.abort(place, upload: entry.upload)
            } catch {
                // It was completed or aborted meanwhile.
                guard error.code == "NoSuchUpload" else { throw error }
            }
        }
        let upload = try create()
        journal?.keep(
            UploadJournal.Entry(upload: upload, size: facts.size, modifiedNanoseconds: facts.modifiedNanoseconds, partBytes: bytes))
        return (upload, [:])
    }

    private func verified(_ entry: UploadJournal.Entry, _ file: CInt, _ path: String) throws(ClientError) -> [Int: PartSum] {
        var good: [Int: PartSum] = [:]
        let buffer = PartBuffer(capacity: entry.partBytes)
        for part in try client.parts(place, upload: entry.upload) {
            let start = Int64(part.number - 1) * Int64(entry.partBytes)
            guard start < entry.size, part.size == min(Int64(entry.partBytes), entry.size - start) else { continue }
            try Self.read(file, path, into: buffer, at: start, count: Int(part.size))
            let sum = PartSum(etag: part.etag, crc: CRC.of(buffer.bytes, .crc64nvme), count: part.size)
            // Servers without this checksum have the part's MD5.
            let isEqual = part.crc64.map { $0 == base64(CRC.bytes(sum.crc, .crc64nvme)) } ?? (hex(Digest.md5(buffer.bytes)) == part.etag)
            if isEqual { good[part.number] = sum }
        }
        return good
    }

    // MARK: A stream

    /// Sends what comes from `descriptor` until its end. It cannot be read twice, so a failure aborts the upload.
    package func send(stream descriptor: CInt) throws(ClientError) -> Result {
        let first = PartBuffer(capacity: partBytes)
        guard try first.fill(upTo: partBytes, { room, count, _ in Foundation.read(descriptor, room, count) }) else {
            return try sendWhole(first)
        }
        let upload = try create()
        do throws(ClientError) {
            let source = Mutex((number: 0, isOver: false))
            let sums = Mutex<[Int: PartSum]>([:])
            let begun = Mutex<PartBuffer?>(first)
            try inLanes(lanes) { (lane) throws(ClientError) in
                let buffer = begun.withLock { begun in
                    defer { begun = nil }
                    return begun
                } ?? PartBuffer(capacity: partBytes)
                let number = try source.withLock { (source) throws(ClientError) -> Int? in
                    guard !source.isOver else { return nil }
                    if buffer.count == 0 {
                        source.isOver = !(try buffer.fill(upTo: partBytes, { room, count, _ in Foundation.read(descriptor, room, count) }))
                    }
                    guard buffer.count > 0 else { return nil }
                    source.number += 1
                    guard source.number <= Self.partsMax else {
                        throw .local("the stream has more than \(Self.partsMax) parts of \(TransferProgress.bytes(Int64(partBytes))): give a larger --part-size")
                    }
                    return source.number
                }
                guard let number else { return false }
                let sum = try sendPart(buffer, number, upload, lane)
                sums.withLock { $0[number] = sum }
                return true
            }
            let all = sums.withLock { $0 }
            return Result(
                etag: try complete(upload, all), size: all.values.reduce(0) { $0 + $1.count }, resumed: 0, parts: all.count)
        } catch {
            try? client.abort(place, upload: upload)
            throw error
        }
    }

    // MARK: Calls

    private func sendWhole(_ buffer: PartBuffer) throws(ClientError) -> Result {
        let sum = base64(CRC.bytes(CRC.of(buffer.bytes, .crc64nvme), .crc64nvme))
        let response = try client.persistently { () throws(ClientError) in
            try client.call("PUT", place, headers: headers + [(name: "x-amz-checksum-crc64nvme", value: sum)], body: buffer.bytes)
        }
        onProgress(Int64(buffer.count), false)
        return Result(etag: Self.etag(response), size: Int64(buffer.count), resumed: 0, parts: 1)
    }

    private static func etag(_ response: ClientResponse) -> String { (response.headers["etag"] ?? "").filter { $0 != "\"" } }

    private func create() throws(ClientError) -> String {
        let checksum = [(name: "x-amz-checksum-algorithm", value: "CRC64NVME"), (name: "x-amz-checksum-type", value: "FULL_OBJECT")]
        let response = try client.persistently { () throws(ClientError) in
            try client.call("POST", place, query: [("uploads", "")], headers: headers + checksum)
        }
        guard let id = try client.document(response).text("UploadId") else {
            throw .notHTTP(endpoint: client.endpoint, reason: "an upload without an id")
        }
        return id
    }

    private func sendPart(_ buffer: PartBuffer, _ number: Int, _ upload: String, _ lane: ClientLane) throws(ClientError) -> PartSum {
        let crc = CRC.of(buffer.bytes, .crc64nvme)
        let response = try client.persistently { () throws(ClientError) in
            try client.call(
                "PUT", place, query: [("partNumber", "\(number)"), ("uploadId", upload)],
                headers: [(name: "x-amz-checksum-crc64nvme", value: base64(CRC.bytes(crc, .crc64nvme)))], body: buffer.bytes, lane: lane)
        }
        onProgress(Int64(buffer.count), false)
        return PartSum(etag: Self.etag(response), crc: crc, count: Int64(buffer.count))
    }

    private func complete(_ upload: String, _ sums: [Int: PartSum]) throws(ClientError) -> String {
        let parts = sums.sorted { $0.key < $1.key }
        let whole = parts.reduce((crc: UInt64(0), count: Int64(0))) { sum, part in
            (CRC.combine(sum.crc, part.value.crc, count: part.value.count, .crc64nvme), sum.count + part.value.count)
        }
        let document = completeDocument(parts.map { ($0.key, $0.value.etag) })
        let response = try client.persistently { () throws(ClientError) in
            try client.send(
                "POST", place, [("uploadId", upload)],
                [
                    (name: "x-amz-checksum-crc64nvme", value: base64(CRC.bytes(whole.crc, .crc64nvme))),
                    (name: "x-amz-checksum-type", value: "FULL_OBJECT"), (name: "x-amz-mp-object-size", value: "\(whole.count)"),
                ], document)
        }
        let root = try client.document(response)
        // S3 may say 200 first and why it failed afterwards.
        guard root.name == "CompleteMultipartUploadResult" else {
            throw .refused(status: 200, code: root.text("Code") ?? "", message: root.text("Message") ?? "")
        }
        return (root.text("ETag") ?? "").filter { $0 != "\"" }
    }
}
