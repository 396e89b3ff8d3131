internal import Base
internal import HTTP
internal import Net
internal import SigV4

/// An error that the edge answers itself, in S3's words: what the origin says is passed on as it is.
struct EdgeFault: Error {
    let status: Int
    let code: String
    let message: String

    init(_ status: Int, _ code: String, _ message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    init(_ refusal: S3Refusal) { self.init(refusal.status, refusal.code, refusal.message) }

    init(_ failure: OriginFailure) {
        switch failure {
        case .unreachable(let why): self.init(503, "ServiceUnavailable", "The origin cannot be reached (\(why)). Please try again.")
        case .broken(let why): self.init(503, "ServiceUnavailable", "The origin broke off (\(why)). Please try again.")
        case .timedOut: self.init(504, "GatewayTimeout", "The origin has not answered in time. Please try again.")
        }
    }

    static let missingLength = EdgeFault(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    static let incompleteBody = EdgeFault(400, "IncompleteBody", "The request body terminated unexpectedly")
    static let badSHA256 = EdgeFault(
        400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
    static func badDigest(_ name: String) -> EdgeFault {
        EdgeFault(400, "BadDigest", "The \(name) you specified did not match the calculated checksum.")
    }

    func send(on connection: HTTPConnection, resource: String) {
        guard connection.isOpen else { return }
        connection.begin(status)
        connection.output.append("Server: Hearth\r\nContent-Type: application/xml\r\n" as StaticString)
        if status >= 503 { connection.output.append("Retry-After: 1\r\n" as StaticString) }
        let document =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>\(code)</Code><Message>\(Self.escaped(message))</Message>"
            + "<Resource>\(Self.escaped(resource))</Resource><HostId>hearth-edge</HostId></Error>"
        Array(document.utf8).withUnsafeBytes { connection.end($0) }
    }

    private static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            default: out.append(character)
            }
        }
        return out
    }
}

/// The text of the first element of that name, in the short documents that answer multipart calls; entities as S3 writes them in ETags.
func elementText(_ name: String, in document: [UInt8]) -> String? {
    let text = String(decoding: document, as: UTF8.self)
    guard let open = text.firstRange(of: "<\(name)>"), let close = text[open.upperBound...].firstRange(of: "</\(name)>") else { return nil }
    return String(text[open.upperBound..<close.lowerBound]).replacing("&quot;", with: "\"").replacing("&#34;", with: "\"")
        .replacing("&amp;", with: "&")
}
