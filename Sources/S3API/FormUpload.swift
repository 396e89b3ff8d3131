internal import Base
internal import Glibc
internal import HTTP
internal import Objects
internal import SigV4
internal import UV

/// An upload by HTML form (Amazon S3 API Reference, "POST Object"): `multipart/form-data` (RFC 7578) whose last part that counts is `file`.
///
///     begin ──boundary──▶ head ──fields──▶ value ──boundary──▶ head … ──name is "file"──▶ file ──boundary──▶ rest
///
/// Invariants:
///  1. Of the file no more is kept than could be the beginning of a boundary.
///  2. The fields take `Limits.s3FormFieldsBytesMax` at most.
///
/// Thread rule: the loop's thread.
final class FormSink: BodySink {
    private enum Phase { case begin, head, value(String), file, rest }

    private let calls: S3Calls
    private let request: S3Request
    private let verifier: Verifier
    private let loop: Loop
    private let boundary: [UInt8]
    private var phase = Phase.begin
    private var buffer: [UInt8] = [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
    private var fieldBytes = 0
    private var form = PostForm()
    private var upload: PostForm.Upload?
    private var fileBytes: Int64 = 0

    init(_ calls: S3Calls, _ request: S3Request, _ verifier: Verifier, _ loop: Loop) throws(S3Fault) {
        let type = request.header("content-type") ?? ""
        guard type.lowercased().hasPrefix("multipart/form-data"), let name = Self.boundary(type) else {
            throw S3Fault(412, "PreconditionFailed", "Bucket POST must be of the enclosure-type multipart/form-data")
        }
        guard (1...70).contains(name.utf8.count) else { throw Self.malformed }
        _ = try calls.access(request)
        self.calls = calls
        self.request = request
        self.verifier = verifier
        self.loop = loop
        boundary = Array("\r\n--\(name)".utf8)
    }

    private static func boundary(_ type: String) -> String? {
        for part in type.split(separator: ";") {
            let text = part.drop { $0 == " " }
            if text.lowercased().hasPrefix("boundary=") { return text.dropFirst("boundary=".count).filter { $0 != "\"" } }
        }
        return nil
    }

    private static let malformed = S3Fault(
        400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")

    func write(_ bytes: UnsafeRawBufferPointer, _ intake: BodyIntake) -> Bool {
        buffer.append(contentsOf: bytes)
        var takesMore = true
        do throws(S3Fault) {
            while !intake.isOver, try step(intake, &takesMore) {}
        } catch { intake.refuse(error) }
        return takesMore
    }

    /// One step of the state machine; false: more bytes are needed.
    private func step(_ intake: BodyIntake, _ takesMore: inout Bool) throws(S3Fault) -> Bool {
        switch phase {
        case .begin:
            guard let found = Self.find(boundary, in: buffer) else { return try need(boundary.count) }
            buffer.removeSubrange(..<(found + boundary.count))
            phase = .head
        case .head:
            if buffer.starts(with: Array("--".utf8)) {
                phase = .rest
                return true
            }
            guard let end = Self.find(Array("\r\n\r\n".utf8), in: buffer) else { return try need(16 * 1024) }
            let head = PostForm.disposition(String(decoding: buffer[..<end], as: UTF8.self))
            guard let name = head.name else { throw Self.malformed }
            // The line end before the next boundary may follow at once.
            buffer.removeSubrange(..<(end + 4))
            if name.lowercased() == "file" {
                form.filename = head.filename ?? ""
                upload = try form.open(calls, request, verifier)
                phase = .file
            } else {
                phase = .value(name)
            }
        case .value(let name):
            guard let end = Self.find(boundary, in: buffer) else { return try need(Limits.s3FormFieldsBytesMax) }
            fieldBytes += end
            guard fieldBytes <= Limits.s3FormFieldsBytesMax else { throw S3Fault(400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.") }
            form.fields[name.lowercased()] = String(decoding: buffer[..<end], as: UTF8.self)
            buffer.removeSubrange(..<(end + boundary.count))
            phase = .head
        case .file:
            let found = Self.find(boundary, in: buffer)
            let count = found ?? max(0, buffer.count - boundary.count)
            takesMore = try pass(count, intake)
            guard let found else {
                buffer.removeSubrange(..<count)
                return false
            }
            buffer.removeSubrange(..<(found + boundary.count))
            phase = .rest
        case .rest:
            buffer.removeAll(keepingCapacity: true)
            return false
        }
        return true
    }

    private func need(_ most: Int) throws(S3Fault) -> Bool {
        guard buffer.count <= most + Limits.readBufferBytes else { throw Self.malformed }
        return false
    }

    private func pass(_ count: Int, _ intake: BodyIntake) throws(S3Fault) -> Bool {
        guard count > 0, let upload else { return true }
        fileBytes += Int64(count)
        if let most = upload.sizes?.upperBound, fileBytes > most {
            throw S3Fault(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        }
        if let failure = upload.writer.failure { throw S3Fault(failure) }
        let box = LoopBound(intake, on: loop)
        return buffer.withUnsafeBytes { bytes in
            upload.writer.write(UnsafeRawBufferPointer(rebasing: bytes[..<count])) { [remote = loop.remote] in
                remote.post { box.wrapped.resume() }
            }
        }
    }

    func finish(trailers: [(name: String, value: String)], _ intake: BodyIntake) {
        guard let upload else {
            return intake.answer(.failure(.invalidArgument("POST requires exactly one file upload per request.", name: "file", value: "0")))
        }
        guard case .rest = phase else {
            upload.writer.abort()
            return intake.answer(.failure(.incompleteBody))
        }
        if let least = upload.sizes?.lowerBound, fileBytes < least {
            upload.writer.abort()
            return intake.answer(
                .failure(S3Fault(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")))
        }
        let box = LoopBound(intake, on: loop)
        upload.writer.finish { [remote = loop.remote, request] result in
            remote.post {
                switch result {
                case .success(let stored): box.wrapped.answer(.success(upload.answer(stored, request)))
                case .failure(let error): box.wrapped.answer(.failure(S3Fault(error)))
                }
            }
        }
    }

    func abandon() { upload?.writer.abort() }

    /// Where `needle` begins in `bytes`; all that is sought here begins with CR, which is rare.
    private static func find(_ needle: [UInt8], in bytes: [UInt8]) -> Int? {
        bytes.withUnsafeBytes { bytes -> Int? in
            guard let base = bytes.baseAddress else { return nil }
            var at = 0
            while bytes.count - at >= needle.count {
                guard let found = memchr(base + at, CInt(needle[0]), bytes.count - at - needle.count + 1) else { return nil }
                at = UnsafeRawPointer(found) - base
                if memcmp(found, needle, needle.count) == 0 { return at }
                at += 1
            }
            return nil
        }
    }
}
