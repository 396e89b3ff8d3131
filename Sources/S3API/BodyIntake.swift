internal import Base
internal import HTTP
internal import Net
internal import Objects
internal import SigV4
internal import UV

/// Where the bytes of a body go, without the coding that they came in.
///
/// Thread rule: the loop's thread.
protocol BodySink: AnyObject {
    /// False: no more until the sink has called `BodyIntake.resume`.
    func write(_ bytes: UnsafeRawBufferPointer, _ intake: BodyIntake) -> Bool
    /// The body is complete; `trailers` in lower case.
    func finish(trailers: [(name: String, value: String)], _ intake: BodyIntake)
    /// What came is not to be used.
    func abandon()
}

/// Takes the body of one request from its connection, undoes `aws-chunked`, and hands it to a sink.
///
///     open ──ended──▶ over      open ──broken, refused, client gone──▶ over (abandoned)
///
/// Invariants: 1. after `over` the sink hears nothing more. 2. One answer is sent.
///
/// Thread rule: the loop's thread.
final class BodyIntake: BodyReceiver {
    let connection: HTTPConnection
    let request: S3Request
    private unowned let service: S3Service
    private var decoder: AWSChunkedDecoder?
    private let sink: any BodySink
    private(set) var isOver = false

    init(_ service: S3Service, _ connection: HTTPConnection, _ request: S3Request, _ decoder: AWSChunkedDecoder?, _ sink: any BodySink) {
        self.service = service
        self.connection = connection
        self.request = request
        self.decoder = decoder
        self.sink = sink
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        guard decoder != nil else { return take(bytes) }
        do throws(S3Refusal) {
            try decoder?.decode(bytes) { piece in if !isOver { take(piece) } }
        } catch { refuse(S3Fault(error)) }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        if !sink.write(bytes, self) { connection.pauseBody() }
    }

    func resume() {
        if !isOver { connection.resumeBody() }
    }

    func ended(trailers: [(name: String, value: [UInt8])]) {
        guard !isOver else { return }
        if let decoder, !decoder.isDone {
            return refuse(S3Fault(400, "IncompleteBody", "The request body terminated unexpectedly"))
        }
        isOver = true
        sink.finish(trailers: decoder?.trailers ?? [], self)
    }

    func broken(status: Int, reason: StaticString) {
        let fault =
            status == 413
            ? S3Fault.entityTooLarge
            : status == 408
                ? S3Fault(400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")
                : S3Fault(400, "IncompleteBody", "\(reason)")
        refuse(fault)
    }

    func clientWentAway() {
        guard !isOver else { return }
        isOver = true
        sink.abandon()
    }

    /// Answers now, whatever of the body is still to come.
    func refuse(_ fault: S3Fault) {
        guard !isOver else { return }
        isOver = true
        sink.abandon()
        answer(.failure(fault))
    }

    func answer(_ result: Result<S3Answer, S3Fault>) { service.answer(result, request, on: connection) }

    /// Runs a call whose body is complete, and answers.
    func run(_ operation: S3Operation, _ body: [UInt8]) { service.run(operation, request, body, on: connection) }

    var loop: Loop { service.loop }
}

/// Keeps a small document whole.
final class DocumentSink: BodySink {
    private let operation: S3Operation
    /// The digest that was signed.
    private let sha256: String?
    /// Decided before the body came; it is read all the same, so that the connection lives on.
    private let refusal: S3Fault?
    private let buffer = ByteBuffer(capacity: 1024)

    init(_ operation: S3Operation, sha256: String?, refusal: S3Fault? = nil) {
        self.operation = operation
        self.sha256 = sha256
        self.refusal = refusal
    }

    func write(_ bytes: UnsafeRawBufferPointer, _ intake: BodyIntake) -> Bool {
        guard buffer.count + bytes.count <= Limits.s3DocumentBytesMax else {
            intake.refuse(S3Fault(400, "MalformedXML", "The document has more than \(Limits.s3DocumentBytesMax) bytes"))
            return true
        }
        if refusal == nil { buffer.append(bytes) }
        return true
    }

    func finish(trailers: [(name: String, value: String)], _ intake: BodyIntake) {
        if let refusal { return intake.answer(.failure(refusal)) }
        let body = Array(buffer.bytes)
        if let sha256, sha256 != ChecksumFields.sha256Digits(body) { return intake.answer(.failure(S3Fault(.contentSHA256Mismatch))) }
        intake.run(operation, body)
    }

    func abandon() {}
}

/// Streams an object or a part into the store; nothing of it is held here.
final class ObjectSink: BodySink {
    private let intake: S3Calls.Intake

    init(_ intake: S3Calls.Intake) { self.intake = intake }

    func write(_ bytes: UnsafeRawBufferPointer, _ body: BodyIntake) -> Bool {
        if let failure = intake.writer.failure {
            body.refuse(S3Fault(failure))
            return true
        }
        let box = LoopBound(body, on: body.loop)
        return intake.writer.write(bytes) { [remote = body.loop.remote] in remote.post { box.wrapped.resume() } }
    }

    func finish(trailers: [(name: String, value: String)], _ body: BodyIntake) {
        var checksum: [UInt8]?
        if let algorithm = intake.trailer {
            let name = ChecksumFields.name(algorithm)
            guard let text = trailers.first(where: { $0.name == name })?.value else {
                intake.writer.abort()
                return body.answer(.failure(S3Fault(400, "MalformedTrailerError", "The trailer \(name) is missing")))
            }
            do throws(S3Fault) { checksum = try ChecksumFields.value(text, algorithm) } catch {
                intake.writer.abort()
                return body.answer(.failure(error))
            }
        }
        let box = LoopBound(body, on: body.loop)
        intake.writer.finish(checksum: checksum) { [intake, remote = body.loop.remote] result in
            remote.post {
                switch result {
                case .success(let stored): box.wrapped.answer(.success(intake.answer(stored)))
                case .failure(let error): box.wrapped.answer(.failure(S3Fault(error)))
                }
            }
        }
    }

    func abandon() { intake.writer.abort() }
}
