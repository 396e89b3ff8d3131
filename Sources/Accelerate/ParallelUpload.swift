internal import Base
internal import Crypto
internal import HTTP
internal import Net
internal import SigV4

/// One PUT that reaches the origin as parts, side by side, and is answered when the origin has made an object of them.
///
///     collecting ──body ended, digests right──▶ draining ──last part there──▶ completing ──▶ over: the origin's ETag, or its error
///         │                                        │                              │
///         └── client gone, body wrong ─────────────┴── a part refused, origin gone┴──▶ over: aborted at the origin
///
/// Invariants:
///  1. A part is begun only with memory for all of it, so it always leaves; at most `partsAtOnce` are on their way.
///  2. The client is answered once, and with success only after the origin's answer to the completion.
///  3. What was begun at the origin is completed or aborted, unless this process dies: then nothing is visible there, and the origin's
///     own term for uploads that nobody completes ends it.
///
/// Thread rule: the loop's thread.
final class ParallelUpload: UploadBody, PendingAnswer {
    private struct Part {
        let number: Int
        let buffer: SendBuffer
        let grant: UploadMemory.Grant
    }

    private let service: EdgeService
    private let request: EdgeRequest
    private let connection: HTTPConnection
    private let plan: UploadPlan
    private var uploadID: String?
    private var current: Part?
    /// Memory for the next part has been asked for.
    private var isAsking = false
    /// What came without memory for it, at most one read.
    private var early: [UInt8] = []
    private var ready: [Part] = []
    private var sending: [Int: HTTPExchange] = [:]
    private var etags: [String] = []
    /// Parts for which there is, or was, memory; and those that have been sent.
    private var begun = 0
    private var launched = 0
    private var taken = 0
    private var whole: UInt64 = 0
    private let md5: RunningDigest?
    private let sha256: RunningDigest?
    private var trailer: String?
    private var isWhole = false
    private var isCompleting = false
    private var isOver = false

    init(_ service: EdgeService, _ request: EdgeRequest, _ connection: HTTPConnection, _ plan: UploadPlan) {
        self.service = service
        self.request = request
        self.connection = connection
        self.plan = plan
        md5 = plan.md5 == nil ? nil : RunningDigest(.md5)
        if case .digest = request.authorization?.payload { sha256 = RunningDigest(.sha256) } else { sha256 = nil }
        create()
        askForMemory()
    }

    // MARK: Calls to the origin

    private func call(
        _ method: String, query: String, _ headers: [(name: String, value: String)], body: SendBuffer? = nil,
        _ done: @escaping (Result<WholeAnswer.Answer, OriginFailure>) -> Void
    ) -> HTTPExchange {
        let head = service.signer.head(
            method, request.path, query: query, headers: headers, region: request.authorization?.identity.region ?? service.settings.region,
            payload: "UNSIGNED-PAYLOAD", length: body?.count ?? (method == "DELETE" ? nil : 0))
        // Each of these may be begun twice: a second upload that nobody uses ends by itself, a part replaces itself, and a completed
        // upload answers the same again.
        let exchange = HTTPExchange(
            head: head, body: body.map { .whole($0) } ?? .none, attemptsMax: Limits.edgePartAttemptsMax, receiver: WholeAnswer(done))
        service.origin.send(exchange)
        return exchange
    }

    private func create() {
        _ = call("POST", query: "uploads=", plan.createHeaders) { [self] result in
            switch result {
            case .failure(let failure): fail(EdgeFault(failure))
            case .success(let answer):
                guard answer.status == 200, let id = elementText("UploadId", in: answer.body) else { return refused(answer) }
                uploadID = id
                if isOver { abort() } else { sendParts() }
            }
        }
    }

    private var idQuery: String {
        let out = ByteBuffer()
        Array((uploadID ?? "").utf8).withUnsafeBytes { out.append(percentEncoding: $0) }
        return "uploadId=\(out.string)"
    }

    private func sendParts() {
        while uploadID != nil, !isOver, !ready.isEmpty, sending.count < service.settings.partsAtOnce { send(ready.removeFirst()) }
        // Of a whole body a part may still wait for memory.
        if isWhole, !isOver, !isCompleting, launched == plan.partsCount, sending.isEmpty { complete() }
    }

    private func send(_ part: Part) {
        let value = CRC.of(part.buffer.bytes, plan.checksum)
        whole = combined(part, value)
        launched += 1
        let headers = [(name: plan.checksumField, value: UploadPlan.base64(value, plan.checksum))]
        sending[part.number] = call("PUT", query: "partNumber=\(part.number)&\(idQuery)", headers, body: part.buffer) { [self] result in
            // The memory goes back with this closure.
            withExtendedLifetime(part) { sending[part.number] = nil }
            switch result {
            case .failure(let failure): fail(EdgeFault(failure))
            case .success(let answer):
                guard answer.status == 200, let etag = answer.header("etag") else { return refused(answer) }
                etags[part.number - 1] = etag
                sendParts()
            }
        }
    }

    /// Parts are sent in their order, so the checksum of the whole grows with them.
    private func combined(_ part: Part, _ value: UInt64) -> UInt64 {
        part.number == 1 ? value : CRC.combine(whole, value, count: Int64(part.buffer.count), plan.checksum)
    }

    private func complete() {
        let own = UploadPlan.base64(whole, plan.checksum)
        if let wanted = expected, wanted != own { return fail(.badDigest(UploadPlan.name(plan.checksum).uppercased())) }
        var document = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        for (index, etag) in etags.enumerated() { document += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(etag)</ETag></Part>" }
        document += "</CompleteMultipartUpload>"
        let body = SendBuffer(capacity: document.utf8.count)
        Array(document.utf8).withUnsafeBytes { _ = body.append($0) }
        let headers =
            plan.completeHeaders + [
                (name: plan.checksumField, value: own), (name: "x-amz-checksum-type", value: "FULL_OBJECT"),
                (name: "x-amz-mp-object-size", value: String(plan.length)),
            ]
        isCompleting = true
        _ = call("POST", query: idQuery, headers, body: body) { [self] result in
            service.cached.forget(request)
            switch result {
            case .failure(let failure): fail(EdgeFault(failure))
            case .success(let answer):
                // S3 may say after a 200 that it failed (CompleteMultipartUpload, "Error handling").
                guard answer.status == 200, let etag = elementText("ETag", in: answer.body) else { return refused(answer) }
                succeed(answer, etag)
            }
        }
    }

    private var expected: String? { trailer ?? plan.expected }

    private func abort() {
        guard let uploadID, !uploadID.isEmpty else { return }
        for exchange in sending.values { exchange.cancel() }
        sending = [:]
        _ = call("DELETE", query: idQuery, []) { _ in }
        self.uploadID = nil
    }

    // MARK: UploadBody

    private func askForMemory() {
        guard !isAsking, current == nil, !isOver, begun * plan.partBytes < plan.length else { return }
        isAsking = true
        let bytes = min(plan.partBytes, plan.length - begun * plan.partBytes)
        service.memory.ask(bytes, for: self) { [unowned self] grant in
            isAsking = false
            guard !isOver else { return }
            begun += 1
            etags.append("")
            current = Part(number: begun, buffer: SendBuffer(capacity: bytes), grant: grant)
            let came = early
            early = []
            came.withUnsafeBytes { fill($0) }
            if early.isEmpty { connection.resumeBody() }
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        md5?.add(bytes)
        sha256?.add(bytes)
        taken += bytes.count
        guard taken <= plan.length else { return fail(.incompleteBody) }
        fill(bytes)
    }

    private func fill(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while rest.count > 0 {
            guard let part = current else {
                early += rest
                connection.pauseBody()
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[part.buffer.append(rest)...])
            guard part.buffer.isFull else { return }
            ready.append(part)
            current = nil
            sendParts()
            // Without room for more the client waits, as it would on a slow network.
            askForMemory()
        }
    }

    func finish(trailers: [(name: String, value: String)]) {
        trailer = trailers.first { $0.name == plan.checksumField }?.value
        connection.pending = self
        guard taken == plan.length else { return fail(.incompleteBody) }
        if request.hasTrailers, request.header("x-amz-trailer") != nil, trailer == nil {
            return fail(EdgeFault(400, "MalformedTrailerError", "The trailer \(plan.checksumField) is missing"))
        }
        if let sha256, hex(sha256.finish()) != request.payload { return fail(.badSHA256) }
        if let md5, md5.finish() != plan.md5 { return fail(.badDigest("Content-MD5")) }
        isWhole = true
        sendParts()
    }

    func abandon(_ fault: EdgeFault?) {
        if let fault { fail(fault) } else { end() }
    }

    func clientWentAway() { if !isCompleting { end() } }

    // MARK: Ends

    private func succeed(_ answer: WholeAnswer.Answer, _ etag: String) {
        guard !isOver else { return }
        isOver = true
        guard connection.isOpen else { return }
        connection.begin(200)
        let output = connection.output
        output.append("Server: Hearth\r\n" as StaticString)
        output.appendField("ETag", etag)
        for field in answer.headers where field.name.hasPrefix("x-amz-") && !field.name.hasPrefix("x-amz-checksum") {
            output.append("\(field.name): \(field.value)\r\n")
        }
        if let value = elementText("Checksum\(UploadPlan.name(plan.checksum).uppercased())", in: answer.body) {
            output.append("\(plan.checksumField): \(value)\r\n")
            output.append("x-amz-checksum-type: FULL_OBJECT\r\n" as StaticString)
        }
        connection.end(UnsafeRawBufferPointer(start: nil, count: 0))
    }

    /// The origin's own error is the client's.
    private func refused(_ answer: WholeAnswer.Answer) {
        guard !isOver else { return end() }
        end()
        guard connection.isOpen else { return }
        // An error inside a 200 is an error to the client.
        connection.begin(answer.status == 200 ? 500 : answer.status)
        for field in answer.headers where field.name.hasPrefix("x-amz-") || field.name == "content-type" || field.name == "retry-after" {
            connection.output.append("\(field.name): \(field.value)\r\n")
        }
        answer.body.withUnsafeBytes { connection.end($0) }
    }

    private func fail(_ fault: EdgeFault) {
        guard !isOver else { return end() }
        end()
        fault.send(on: connection, resource: request.path)
    }

    private func end() {
        isOver = true
        current = nil
        early = []
        ready = []
        // While the upload is being created, its answer will abort it.
        abort()
    }
}
