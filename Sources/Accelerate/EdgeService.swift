internal import Base
package import Cache
internal import HTTP
internal import IAM
package import Net
package import SigV4
package import UV

/// S3 before a distant S3: takes requests at the speed of the near network and asks the origin over kept connections.
///
///     PUT of an object above `singleBytesMax` ─▶ ParallelUpload   parts, side by side; commits; answers as the origin did
///     another body up to `wholeBytesMax`      ─▶ WholeCall        taken whole, then sent: a dead connection costs nothing
///     a longer one                            ─▶ StreamedCall     sent as it comes
///     GET, HEAD of an object                  ─▶ CachedReads, else AnswerRelay
///     everything else                         ─▶ AnswerRelay
///
/// Who asks is verified here with the key that the edge shares with its clients and its origin, and each request to the origin is
/// signed anew with it. A signature covers host, path and body, so the client's own cannot be passed on: parts have another path, and
/// a check at the origin would come an upload too late. Requests without a signature go on without one.
///
/// Invariants:
///  1. No success is answered before the origin has answered it.
///  2. Bodies of uploads take at most `uploadMemoryBytes`, and a fixed window a streamed one.
///
/// Thread rule: the loop's thread.
package final class EdgeService: HTTPService {
    package struct Settings: Sendable {
        package var credentials: Credentials
        /// Of requests that the edge makes without a client's.
        package var region: String
        package var uploadMemoryBytes = Limits.edgeUploadMemoryBytes
        /// Parts of one upload on their way at the same time.
        package var partsAtOnce = Limits.edgePartsAtOnce

        package init(credentials: Credentials, region: String) {
            self.credentials = credentials
            self.region = region
        }
    }

    let loop: Loop
    let origin: HTTPOrigin
    let settings: Settings
    let memory: UploadMemory
    let cached: CachedReads
    let signer: OriginSigner
    private let verifier: Verifier

    package init(loop: Loop, origin: HTTPOrigin, cache: Cache, settings: Settings) throws {
        self.loop = loop
        self.origin = origin
        self.settings = settings
        memory = UploadMemory(limit: settings.uploadMemoryBytes)
        cached = try CachedReads(cache, objectBytesMax: Limits.edgeCachedBytesMax, loop: loop)
        let host = origin.host.contains(":") ? "[\(origin.host)]:\(origin.port)" : "\(origin.host):\(origin.port)"
        signer = OriginSigner(host: host, credentials: settings.credentials) { Loop.epochMilliseconds / 1000 }
        let key = AccessKey(id: settings.credentials.accessKeyID, secret: settings.credentials.secretAccessKey)
        verifier = Verifier(Keyring(account: "", root: key))
    }

    // MARK: HTTPService

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.s3BodyBytesMax }

    package func handle(_ request: HTTPRequest) {
        if request.text(request.head.path) == "/_hearth/healthz" { return request.connection.respond(200, text: "ok\n") }
        guard let edge = verified(request) else { return }
        relay(edge, request.connection)
    }

    package func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? {
        if request.head.framing == .length(0) { return nil }
        guard let edge = verified(request) else { return nil }
        let connection = request.connection
        guard let length = edge.bodyLength else {
            EdgeFault.missingLength.send(on: connection, resource: edge.path)
            return nil
        }
        cached.forget(edge)
        let body: any UploadBody
        if edge.authorization == nil {
            body = StreamedCall(self, edge, connection, length: length)
        } else if length > Limits.edgeSingleBytesMax, let plan = UploadPlan(edge, length: length) {
            body = ParallelUpload(self, edge, connection, plan)
        } else if length <= Limits.edgeWholeBytesMax {
            body = WholeCall(self, edge, connection, length: length)
        } else {
            body = StreamedCall(self, edge, connection, length: length)
        }
        return EdgeIntake(edge, body)
    }

    private func verified(_ request: HTTPRequest) -> EdgeRequest? {
        do throws(S3Refusal) {
            let authorization = try verifier.verifyS3(Self.parts(of: request), epochSeconds: Loop.epochMilliseconds / 1000)
            return EdgeRequest(request, authorization)
        } catch {
            EdgeFault(error).send(on: request.connection, resource: request.text(request.head.path))
            return nil
        }
    }

    private static func parts(of request: HTTPRequest) -> SignedParts {
        let head = request.head
        let headers = (0..<head.headerCount).map { index in
            (name: request.text(head.headerName(index)).lowercased(), value: Array(request.slice(head.headerValue(index))))
        }
        return SignedParts(
            method: request.text(head.methodRange), path: Array(request.path), query: Array(request.query), headers: headers)
    }

    // MARK: Requests without a body

    private func relay(_ request: EdgeRequest, _ connection: HTTPConnection) {
        var headers = request.passedHeaders
        var (fill, note): (CacheFill?, String?)
        if let key = cached.key(request) {
            let isHead = request.method == "HEAD"
            if cached.serve(key, isHead: isHead, on: connection) { return }
            let made = CacheFill(cached, key, request, kept: cached.stale(key))
            if let etag = made.condition { headers.append(("if-none-match", etag)) }
            note = made.condition == nil ? "hearth; fwd=uri-miss" : "hearth; fwd=stale"
            fill = made
        } else if request.method == "GET" || request.method == "HEAD" {
            note = "hearth; fwd=bypass"
        } else {
            cached.forget(request)
        }
        let head = head(request, headers, payload: Self.emptyDigest, length: request.length)
        let relay = AnswerRelay(self, request, connection, note: note, fill: fill)
        let isSafe = request.method != "POST"
        relay.start(HTTPExchange(head: head, isHead: request.method == "HEAD", attemptsMax: isSafe ? 2 : 1, receiver: relay))
    }

    /// SHA-256 of nothing.
    private static let emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// The head of a client's request as it goes to the origin.
    func head(_ request: EdgeRequest, _ headers: [(name: String, value: String)], payload: String, length: Int?) -> [UInt8] {
        guard let authorization = request.authorization else {
            // What an anonymous client says of its body's coding stays true.
            let word = request.header("x-amz-content-sha256").map { [(name: "x-amz-content-sha256", value: $0)] } ?? []
            return signer.head(
                request.method, request.path, query: request.query, headers: headers + word, region: "", payload: nil, length: length)
        }
        return signer.head(
            request.method, request.path, query: request.query, headers: headers, region: authorization.identity.region,
            payload: payload, length: length)
    }
}
