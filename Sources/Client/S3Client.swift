internal import Base
internal import Crypto
internal import Foundation
internal import HTTP
package import SigV4
internal import XML

/// A bucket, or an object in it: `BUCKET/KEY` or `s3://BUCKET/KEY`.
package struct S3Place: Hashable, Sendable, CustomStringConvertible {
    package let bucket: String
    /// Empty: the bucket itself.
    package var key: String

    package init(bucket: String, key: String = "") {
        self.bucket = bucket
        self.key = key
    }

    /// nil without a bucket.
    package init?(_ text: String) {
        let rest = text.hasPrefix("s3://") ? text.dropFirst(5) : text[...]
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        bucket = String(rest[..<slash])
        key = slash < rest.endIndex ? String(rest[rest.index(after: slash)...]) : ""
        if bucket.isEmpty { return nil }
    }

    package var description: String { key.isEmpty ? bucket : "\(bucket)/\(key)" }

    var path: String { "/" + bucket + (key.isEmpty ? "" : "/" + percentEncoded(key, keepSlash: true)) }
}

func percentEncoded(_ text: String, keepSlash: Bool = false) -> String {
    let out = ByteBuffer()
    Array(text.utf8).withUnsafeBytes { out.append(percentEncoding: $0, keepSlash: keepSlash) }
    return out.string
}

/// Keeps a connection from one call to the next.
///
/// Thread rule: one thread.
package final class ClientLane {
    fileprivate var connection: ClientConnection?

    package init() {}
}

/// S3 as a client speaks it: signed calls that block. The calls on bodies are `S3Upload` and `S3Download`.
package struct S3Client: Sendable {
    /// `host:port`
    package let endpoint: String
    package let credentials: Credentials
    package let region: String
    /// Seconds since 1970.
    private let clock: @Sendable () -> UInt64
    /// How long the other side may stand still.
    package var patienceSeconds = 60
    package var persistence = Persistence()

    package init(endpoint: String, credentials: Credentials, region: String, clock: @escaping @Sendable () -> UInt64) {
        self.endpoint = endpoint
        self.credentials = credentials
        self.region = region
        self.clock = clock
    }

    /// One signed call; anything but 2xx is thrown as `refused`.
    package func call(
        _ method: String, _ place: S3Place?, query: [(String, String)] = [], headers: [(name: String, value: String)] = [],
        body: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), lane: ClientLane? = nil, sink: ClientSink? = nil
    ) throws(ClientError) -> ClientResponse {
        let signer = Signer(credentials: credentials, region: region, service: "s3")
        let path = place?.path ?? "/"
        let items = query.map { "\(percentEncoded($0.0))=\(percentEncoded($0.1))" }.joined(separator: "&")
        let all = [(name: "host", value: endpoint)] + headers
        let signed = signer.headers(method: method, path: path, query: items, headers: all, body: body, epochSeconds: clock())
        var head = "\(method) \(path)\(items.isEmpty ? "" : "?")\(items) HTTP/1.1\r\n"
        for header in all + signed { head += "\(header.name): \(header.value)\r\n" }
        head += "content-length: \(body.count)\r\n\(lane == nil ? "connection: close\r\n" : "")\r\n"
        let response = try exchange(head, body, method, lane, sink)
        guard (200..<300).contains(response.status) else { throw Self.refusal(response) }
        return response
    }

    /// A connection that was kept may have been closed meanwhile: then once more on a new one.
    private func exchange(
        _ head: String, _ body: UnsafeRawBufferPointer, _ method: String, _ lane: ClientLane?, _ sink: ClientSink?
    ) throws(ClientError) -> ClientResponse {
        if let kept = lane?.connection, kept.isReusable {
            var hasBegun = false
            let watched = sink.map { sink in
                ClientSink(wants: sink.wants) { (bytes) throws(ClientError) in
                    hasBegun = true
                    try sink.take(bytes)
                }
            }
            do throws(ClientError) { return try kept.exchange(head: head, body: body, toHead: method == "HEAD", sink: watched) } catch {
                lane?.connection = nil
                guard case .broken = error, !hasBegun else { throw error }
            }
        }
        let connection = try ClientConnection(endpoint, patienceSeconds: patienceSeconds)
        lane?.connection = connection
        do throws(ClientError) { return try connection.exchange(head: head, body: body, toHead: method == "HEAD", sink: sink) } catch {
            lane?.connection = nil
            throw error
        }
    }

    private static func refusal(_ response: ClientResponse) -> ClientError {
        let document = try? XMLReader.read(response.body)
        let codes = [301: "PermanentRedirect", 304: "NotModified", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"]
        return .refused(
            status: response.status, code: document?.text("Code") ?? codes[response.status] ?? "HTTP \(response.status)",
            message: document?.text("Message") ?? "")
    }

    /// Makes a call again while it fails for a reason that may pass.
    func persistently<T>(_ body: () throws(ClientError) -> T) throws(ClientError) -> T {
        var attempt = 0
        while true {
            do throws(ClientError) { return try body() } catch {
                attempt += 1
                guard error.isTransient, attempt < persistence.attempts else { throw error }
                usleep(UInt32(persistence.pauseMilliseconds(before: attempt) * 1000))
            }
        }
    }

    func document(_ response: ClientResponse) throws(ClientError) -> XMLElement {
        do { return try XMLReader.read(response.body) } catch {
            throw .notHTTP(endpoint: endpoint, reason: "a document was expected that S3 would send")
        }
    }
}
