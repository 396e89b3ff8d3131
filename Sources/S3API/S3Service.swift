internal import Base
internal import HTTP
package import Net
package import Objects
internal import SigV4
package import UV

/// S3 on a listener: tells who asks and for what, takes bodies, and answers.
///
/// The calls themselves (`S3Calls`) run as tasks on the loop and wait for the store; no disk is touched on the loop's thread.
///
/// Thread rule: the loop's thread.
package final class S3Service: HTTPService {
    let loop: Loop
    private let calls: S3Calls
    private let verifier: Verifier
    private var random: Random

    /// - Parameters:
    ///   - dayMilliseconds: how long a day is to lifecycle.
    ///   - secret: of an access key; nil: there is none.
    ///   - seed: of the ids of requests.
    package init(
        loop: Loop, store: ObjectStore, region: String, accounts: S3Accounts, targets: any NotificationTargets, dayMilliseconds: Int64,
        seed: UInt64, secret: @escaping (String) -> String?
    ) {
        self.loop = loop
        calls = S3Calls(store: store, region: region, accounts: accounts, targets: targets, dayMilliseconds: dayMilliseconds)
        verifier = Verifier(secret: secret)
        random = Random(seed: seed)
    }

    // MARK: Which requests are S3's

    /// By the service that the signature names; else by host and path: what is neither Hearth's own nor the Lambda API's.
    package static func isFor(_ request: HTTPRequest) -> Bool {
        // Bytes, for every request comes by here, more than once: a search in a text was half of an invocation's cost.
        if let authorization = request.header(.authorization) {
            return holds(authorization, "/s3/aws4_request") || authorization.starts(with: "AWS ".utf8)
        }
        if let credential = queryValue(request.query, "X-Amz-Credential") { return credential.contains("/s3/aws4_request") }
        if let authority = request.head.authority, S3Request.bucket(ofHost: request.text(authority)) != nil { return true }
        let path = request.text(request.head.path)
        return !path.hasPrefix("/_hearth/") && !isLambdaPath(Array(path.utf8.prefix(12)))
    }

    private static func holds(_ bytes: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        let word = UnsafeRawBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        guard bytes.count >= word.count else { return false }
        return (0...bytes.count - word.count).contains { start in
            bytes[start] == word[0] && bytes[start..<start + word.count].elementsEqual(word)
        }
    }

    /// `/2015-03-31/…`
    private static func isLambdaPath(_ path: [UInt8]) -> Bool {
        path.count == 12 && path.enumerated().allSatisfy { index, byte in
            switch index {
            case 0, 11: byte == UInt8(ascii: "/")
            case 5, 8: byte == UInt8(ascii: "-")
            default: (0x30...0x39).contains(byte)
            }
        }
    }

    // MARK: HTTPService

    package func bodyBytesMax(_ request: HTTPRequest) -> Int { Limits.s3BodyBytesMax }

    package func refuseTooLarge(_ request: HTTPRequest) {
        answer(.failure(.entityTooLarge), try? S3Request(request, id: makeID(), now: now), on: request.connection)
    }

    package func handle(_ request: HTTPRequest) {
        let id = makeID()
        var asked: S3Request?
        do throws(S3Fault) {
            let (operation, s3, _) = try open(request, id, &asked)
            if operation.takesObjectBody || operation == .postObject { throw .missingLength }
            run(operation, s3, [], on: request.connection)
        } catch { answer(.failure(error), asked, on: request.connection, id: id) }
    }

    package func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? {
        let id = makeID()
        var asked: S3Request?
        do throws(S3Fault) {
            let (operation, s3, authorization) = try open(request, id, &asked)
            return try receiver(request, operation, s3, authorization)
        } catch {
            // A small body is read first, so that the connection lives on.
            if let asked, !request.head.expectContinue, case .length(let length) = request.head.framing,
                length <= UInt64(Limits.s3DiscardBytesMax)
            {
                return BodyIntake(self, request.connection, asked, nil, DocumentSink(.options, sha256: nil, refusal: error))
            }
            answer(.failure(error), asked, on: request.connection, id: id)
            return nil
        }
    }

    /// Who asks and for what.
    private func open(
        _ request: HTTPRequest, _ id: String, _ asked: inout S3Request?
    ) throws(S3Fault) -> (S3Operation, S3Request, S3Authorization?) {
        var s3 = try S3Request(request, id: id, now: now)
        asked = s3
        // Browsers ask beforehand without a signature, and with the query of the request that they ask about.
        if s3.method == .options { return (.options, s3, nil) }
        let authorization: S3Authorization?
        do throws(S3Refusal) { authorization = try verifier.verifyS3(Self.parts(of: request), epochSeconds: UInt64(now / 1000)) } catch {
            throw S3Fault(error)
        }
        if let authorization {
            s3.account = calls.accounts.withKey(authorization.identity.accessKeyID)
            s3.isPresigned = s3.query["X-Amz-Signature"] != nil
        }
        asked = s3
        return (try S3Operation(s3), s3, authorization)
    }

    private func receiver(
        _ request: HTTPRequest, _ operation: S3Operation, _ s3: S3Request, _ authorization: S3Authorization?
    ) throws(S3Fault) -> any BodyReceiver {
        let payload = authorization?.payload ?? Self.anonymousPayload(s3)
        var length: Int64?
        if case .length(let bytes) = request.head.framing { length = Int64(bytes) }
        var decoder: AWSChunkedDecoder?
        if case .chunks(let isSigned, let hasTrailers) = payload {
            guard let text = s3.header("x-amz-decoded-content-length"), let decoded = UInt64(text) else { throw .missingLength }
            guard decoded <= UInt64(Limits.s3PartBytesMax) else { throw .entityTooLarge }
            length = Int64(decoded)
            decoder = AWSChunkedDecoder(
                isSigned: isSigned, hasTrailers: hasTrailers, chain: authorization?.chain ?? .none, length: decoded)
        }
        if let length, length > Int64(Limits.s3PartBytesMax) { throw .entityTooLarge }
        let sink: any BodySink
        if operation.takesObjectBody {
            sink = ObjectSink(try calls.intake(operation, s3, payload: payload, length: length))
        } else if operation == .postObject {
            sink = try FormSink(calls, s3, verifier, loop)
        } else {
            var sha256: String?
            if case .digest(let digits) = payload { sha256 = digits }
            sink = DocumentSink(operation, sha256: sha256)
        }
        return BodyIntake(self, request.connection, s3, decoder, sink)
    }

    private static func anonymousPayload(_ request: S3Request) -> S3Authorization.Payload {
        request.header("x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER" ? .chunks(isSigned: false, hasTrailers: true) : .unsigned
    }

    private static func parts(of request: HTTPRequest) -> SignedParts {
        let head = request.head
        let headers = (0..<head.headerCount).map { index in
            (name: request.text(head.headerName(index)).lowercased(), value: Array(request.slice(head.headerValue(index))))
        }
        return SignedParts(
            method: request.text(head.methodRange), path: Array(request.path), query: Array(request.query), headers: headers)
    }

    // MARK: Notifications

    /// Makes `wanted` the rules, in all buckets, whose ids begin with `mark`; a bucket that is not there yet is made for `owner`. `done`
    /// hears on the loop why not; what was changed before stays.
    package func replaceNotifications(
        _ mark: String, with wanted: [(bucket: BucketName, rule: NotificationRule)], owner: String, _ done: @escaping (String?) -> Void
    ) {
        let box = LoopBound(done, on: loop)
        loop.task { [calls] in
            var fault: S3Fault?
            do throws(S3Fault) { try await calls.replaceNotifications(mark, with: wanted, owner: owner) } catch { fault = error }
            box.wrapped(fault.map { fault in ([fault.message] + fault.details.map { "\($0.value)" }).joined(separator: ": ") })
        }
    }

    // MARK: Answers

    func run(_ operation: S3Operation, _ request: S3Request, _ body: [UInt8], on connection: HTTPConnection) {
        let box = LoopBound((self, connection), on: loop)
        loop.task { [calls] in
            let result: Result<S3Answer, S3Fault>
            do throws(S3Fault) { result = .success(try await calls.run(operation, request, body)) } catch { result = .failure(error) }
            let (service, connection) = box.wrapped
            service.answer(result, request, on: connection)
        }
    }

    /// Sends an answer or a fault, with the CORS fields that the bucket has for the asking page.
    func answer(_ result: Result<S3Answer, S3Fault>, _ request: S3Request?, on connection: HTTPConnection, id: String? = nil) {
        guard connection.isOpen else { return }
        let id = request?.id ?? id ?? makeID()
        let cors = request.map { $0.method == .options ? [] : calls.corsFields($0) } ?? []
        var answer: S3Answer
        switch result {
        case .success(let made): answer = made
        case .failure(let fault):
            answer = S3Answer(fault.status, fault.fields)
            if fault.status != 304 {
                answer.body = .document(
                    fault.document(resource: request?.resource ?? "", requestID: id, hostID: S3Request.hostID))
            }
        }
        answer.fields += cors
        answer.send(on: connection, id: id, loop: loop)
    }

    private var now: Int64 { Int64(Loop.epochMilliseconds) }

    private func makeID() -> String {
        let digits = String(random.next(), radix: 16, uppercase: true)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
