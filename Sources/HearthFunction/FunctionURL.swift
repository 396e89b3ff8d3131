/// The event of a function that is called over HTTP (payload format 2.0, Lambda developer guide, "Invoking Lambda function
/// URLs").
public struct FunctionURLRequest: Decodable, Sendable {
    public struct RequestContext: Decodable, Sendable {
        public struct HTTP: Decodable, Sendable {
            public let method: String
            public let path: String
            public let `protocol`: String
            public let sourceIp: String
            public let userAgent: String
        }

        public let http: HTTP
        public let domainName: String
        public let requestId: String
        /// Milliseconds since 1970.
        public let timeEpoch: Int
    }

    public let rawPath: String
    public let rawQueryString: String
    /// Names in lower case; repeated ones joined with a comma.
    public let headers: [String: String]
    /// `name=value`, one for each cookie.
    public let cookies: [String]
    /// Decoded; repeated names joined with a comma.
    public let queryStringParameters: [String: String]
    public let requestContext: RequestContext
    /// The body as it was sent: text, or what came in base64.
    public let body: [UInt8]

    public var method: String { requestContext.http.method }
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The value of a JSON body.
    public func json<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value { try JSON.decode(type, from: body) }

    private enum Keys: String, CodingKey {
        case rawPath, rawQueryString, headers, cookies, queryStringParameters, requestContext, body, isBase64Encoded
    }

    public init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Keys.self)
        rawPath = try members.decode(String.self, forKey: .rawPath)
        rawQueryString = try members.decodeIfPresent(String.self, forKey: .rawQueryString) ?? ""
        headers = try members.decodeIfPresent([String: String].self, forKey: .headers) ?? [:]
        cookies = try members.decodeIfPresent([String].self, forKey: .cookies) ?? []
        queryStringParameters = try members.decodeIfPresent([String: String].self, forKey: .queryStringParameters) ?? [:]
        requestContext = try members.decode(RequestContext.self, forKey: .requestContext)
        let body = try members.decodeIfPresent(String.self, forKey: .body) ?? ""
        guard try members.decodeIfPresent(Bool.self, forKey: .isBase64Encoded) == true else {
            self.body = Array(body.utf8)
            return
        }
        guard let bytes = base64Decoded(body) else {
            throw DecodingError.dataCorruptedError(forKey: .body, in: members, debugDescription: "the body is not base64")
        }
        self.body = bytes
    }
}

/// What such a function answers.
public struct FunctionURLResponse: Encodable, Sendable {
    /// 200 to 599.
    public var statusCode: Int
    public var headers: [String: String]
    /// Values of `Set-Cookie`.
    public var cookies: [String]
    /// Text, or base64 if `isBase64Encoded`.
    public private(set) var body: String
    public private(set) var isBase64Encoded = false

    /// A text; plain if `headers` names no `content-type`.
    public init(statusCode: Int = 200, headers: [String: String] = [:], cookies: [String] = [], text: String) {
        self.init(statusCode, headers, cookies, text, type: "text/plain; charset=utf-8")
    }

    /// Bytes of any kind; `application/octet-stream` if `headers` names no `content-type`.
    public init(statusCode: Int = 200, headers: [String: String] = [:], cookies: [String] = [], bytes: [UInt8]) {
        self.init(statusCode, headers, cookies, base64Encoded(bytes), type: "application/octet-stream")
        isBase64Encoded = true
    }

    /// A value as JSON.
    public init(statusCode: Int = 200, headers: [String: String] = [:], cookies: [String] = [], json: some Encodable) throws {
        self.init(statusCode, headers, cookies, String(decoding: try JSON.encode(json), as: UTF8.self), type: "application/json")
    }

    private init(_ statusCode: Int, _ headers: [String: String], _ cookies: [String], _ body: String, type: String) {
        self.statusCode = statusCode
        self.headers = headers
        self.cookies = cookies
        self.body = body
        if !headers.keys.contains(where: { $0.lowercased() == "content-type" }) { self.headers["content-type"] = type }
    }
}

private let base64Digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

/// RFC 4648 §4, padded.
func base64Encoded(_ bytes: [UInt8]) -> String {
    var out: [UInt8] = []
    out.reserveCapacity((bytes.count + 2) / 3 * 4)
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
        for digit in 0..<4 {
            out.append(digit <= group.count ? base64Digits[bits >> (18 - 6 * digit) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: out, as: UTF8.self)
}

/// nil: not base64 of RFC 4648 §4, or not padded.
func base64Decoded(_ text: String) -> [UInt8]? {
    let padding = text.utf8.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
    guard text.utf8.count % 4 == 0 else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count / 4 * 3)
    var (bits, count) = (0, 0)
    for byte in text.utf8.dropLast(padding) {
        guard let value = base64Value(byte) else { return nil }
        (bits, count) = (bits << 6 | value, count + 6)
        guard count >= 8 else { continue }
        count -= 8
        out.append(UInt8(bits >> count & 0xFF))
        bits &= 1 << count - 1
    }
    // What is left over has no meaning and must be zero.
    return bits == 0 ? out : nil
}

private func base64Value(_ byte: UInt8) -> Int? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(byte) - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(byte) - 97 + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) - 48 + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
}
