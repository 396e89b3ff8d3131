import Client
import Foundation
import SigV4

/// A signed HTTP client for the API listener. Blocks: for the CLI and for the thread that deploys.
struct APIClient: Sendable {
    /// `host:port`
    let endpoint: String
    let credentials: Credentials
    let region: String
    /// Where the address was found, for messages.
    var source = ""

    struct Response {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }

        /// The error's sentence, as the API words it.
        var message: String {
            let object = (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any]
            return object?["message"] as? String ?? object?["Message"] as? String ?? "HTTP \(status)"
        }
    }

    func call(
        _ method: String, _ path: String, query: String = "", headers: [(name: String, value: String)] = [],
        body: [UInt8] = [], onBody: ((UnsafeRawBufferPointer) -> Void)? = nil
    ) throws -> Response {
        let signer = Signer(credentials: credentials, region: region, service: "lambda")
        let all = [(name: "host", value: endpoint)] + headers
        let signed = body.withUnsafeBytes {
            signer.headers(
                method: method, path: path, query: query, headers: all, body: $0,
                epochSeconds: UInt64(Date().timeIntervalSince1970))
        }
        var head = "\(method) \(path)\(query.isEmpty ? "" : "?")\(query) HTTP/1.1\r\n"
        for header in all + signed { head += "\(header.name): \(header.value)\r\n" }
        head += "content-length: \(body.count)\r\nconnection: close\r\n\r\n"
        var hasBegun = false
        let sink = onBody.map { onBody in
            ClientSink { (bytes) throws(ClientError) in
                hasBegun = true
                onBody(bytes)
            }
        }
        let answer: ClientResponse
        do {
            let connection = try ClientConnection(endpoint)
            answer = try body.withUnsafeBytes { try connection.exchange(head: head, body: $0, sink: sink) }
        } catch let error as ClientError {
            // A log that is followed ends with its server.
            if hasBegun, case .broken = error { return Response(status: 200, headers: [:], body: []) }
            throw failure(error)
        }
        if answer.headers["x-amzn-errortype"] == "UnrecognizedClientException" {
            throw Failure("the server at \(endpoint), which \(source) names, does not know these credentials: it is another Hearth")
        }
        return Response(status: answer.status, headers: answer.headers, body: answer.body)
    }

    /// S3 at the same address.
    var s3: S3Client {
        S3Client(endpoint: endpoint, credentials: credentials, region: region) { UInt64(Date().timeIntervalSince1970) }
    }

    /// The same for people who know Hearth by where they have its address from.
    func failure(_ error: ClientError) -> Failure {
        switch error {
        case .unreachable(_, let why):
            Failure("no Hearth answers at \(endpoint)\(source.isEmpty ? "" : ", which \(source) names") (\(why)): start one with hearth serve")
        case .broken: Failure("Hearth at \(endpoint) closed the connection without an answer")
        case .notHTTP(_, let reason): Failure("Hearth at \(endpoint) answered something that is not HTTP: \(reason)")
        case .refused, .local: Failure(error.description)
        }
    }
}
