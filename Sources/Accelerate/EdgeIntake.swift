internal import HTTP
internal import Net
internal import SigV4

/// Where a body goes, without the coding that it came in.
///
/// Thread rule: the loop's thread.
protocol UploadBody: AnyObject {
    func write(_ bytes: UnsafeRawBufferPointer)
    /// The body is complete; names of trailers in lower case.
    func finish(trailers: [(name: String, value: String)])
    /// What came is not to be used; nil: there is nobody to tell.
    func abandon(_ fault: EdgeFault?)
}

extension EdgeRequest {
    /// The bytes of the body that the origin is to have; nil: the request does not say.
    var bodyLength: Int? {
        guard case .chunks = authorization?.payload else { return length }
        return header("x-amz-decoded-content-length").flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }
    }

    var hasTrailers: Bool { if case .chunks(_, true) = authorization?.payload { true } else { false } }

    /// What is signed of the body towards the origin: the client's own digest, which the origin then checks, or nothing.
    var payload: String { if case .digest(let digest) = authorization?.payload { digest } else { "UNSIGNED-PAYLOAD" } }
}

/// Takes the body of one request from its connection and undoes `aws-chunked`, whose signatures it verifies.
///
/// Invariants: 1. after `isOver` the body hears nothing more.
///
/// Thread rule: the loop's thread.
final class EdgeIntake: BodyReceiver {
    private let body: any UploadBody
    private var decoder: AWSChunkedDecoder?
    private var isOver = false

    init(_ request: EdgeRequest, _ body: any UploadBody) {
        self.body = body
        if let authorization = request.authorization, case .chunks(let isSigned, let hasTrailers) = authorization.payload {
            decoder = AWSChunkedDecoder(
                isSigned: isSigned, hasTrailers: hasTrailers, chain: authorization.chain, length: UInt64(request.bodyLength ?? 0))
        }
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        guard decoder != nil else { return body.write(bytes) }
        do throws(S3Refusal) {
            try decoder?.decode(bytes) { piece in if !isOver { body.write(piece) } }
        } catch { end(EdgeFault(error)) }
    }

    func ended(trailers: [(name: String, value: [UInt8])]) {
        guard !isOver else { return }
        if let decoder, !decoder.isDone { return end(.incompleteBody) }
        isOver = true
        body.finish(trailers: decoder?.trailers ?? [])
    }

    func broken(status: Int, reason: StaticString) {
        let isLate = status == 408
        end(
            status == 413
                ? EdgeFault(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
                : EdgeFault(400, isLate ? "RequestTimeout" : "IncompleteBody", "\(reason)"))
    }

    func clientWentAway() { end(nil) }

    private func end(_ fault: EdgeFault?) {
        guard !isOver else { return }
        isOver = true
        body.abandon(fault)
    }
}
