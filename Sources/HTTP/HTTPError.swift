/// What is wrong with a message; always the fault of the peer that sent it.
///
/// A server answers with `status` and `reason` and closes the connection, because the end of a message that
/// it could not read is unknown. A client that reads a response treats every case as a broken target (502
/// towards its caller).
package enum HTTPError: Error, Equatable, CaseIterable {
    case notHTTP, requestLine, statusLine, target, hostMissing, hostRepeated, hostInvalid
    case lineEnd, fieldName, spaceBeforeColon, folded, fieldValue
    case contentLength, contentLengthRepeated, contentLengthWithTransferEncoding
    case transferEncoding, transferEncodingRepeated, transferEncodingInHTTP10, transferCodingUnknown
    case chunkSize, chunkLineTooLong, chunkOverhead, chunkEnd, trailerForbidden
    case lineTooLong, tooManyFields, headTooLarge, bodyTooLarge
    case methodNotSupported, version

    /// The status code that answers it.
    package var status: Int {
        switch self {
        case .bodyTooLarge: 413
        case .lineTooLong: 414
        case .tooManyFields, .headTooLarge: 431
        case .transferCodingUnknown, .methodNotSupported: 501
        case .version: 505
        default: 400
        }
    }

    /// One sentence for the body of the answer.
    package var reason: StaticString {
        switch self {
        case .notHTTP: "This is not an HTTP request; the listener speaks plain HTTP/1.1."
        case .requestLine: "The request line must be METHOD SP TARGET SP HTTP/1.1, with single spaces."
        case .statusLine: "The status line must be HTTP/1.1 SP three digits SP reason."
        case .target: "The request target must be a path, an http or https URL, or * for OPTIONS."
        case .hostMissing: "An HTTP/1.1 request must have a Host header."
        case .hostRepeated: "A request must not have more than one Host header."
        case .hostInvalid: "The host must be a name or an address, with an optional port."
        case .lineEnd: "Lines must end in CR LF, and neither may stand alone."
        case .fieldName: "A header line must be NAME: VALUE, and the name a token."
        case .spaceBeforeColon: "A header name must be followed by a colon with no space before it."
        case .folded: "A header value must not continue on the next line."
        case .fieldValue: "A header value must not hold control characters."
        case .contentLength: "Content-Length must be a decimal number below 2^63."
        case .contentLengthRepeated: "A message must not have more than one Content-Length header."
        case .contentLengthWithTransferEncoding:
            "A message must not have both Content-Length and Transfer-Encoding."
        case .transferEncoding: "The last transfer coding must be chunked, applied once."
        case .transferEncodingRepeated: "A message must not have more than one Transfer-Encoding header."
        case .transferEncodingInHTTP10: "Transfer-Encoding is not allowed in HTTP/1.0."
        case .transferCodingUnknown: "The only transfer coding understood is chunked."
        case .chunkSize: "A chunk must start with its size in hexadecimal, at most 16 digits, and CR LF."
        case .chunkLineTooLong: "The line with a chunk's size is too long."
        case .chunkOverhead: "The body's chunk extensions are out of proportion to its data."
        case .chunkEnd: "A chunk's data must be followed by CR LF."
        case .trailerForbidden: "A trailer must not be Content-Length, Transfer-Encoding or Host."
        case .lineTooLong: "The request target is too long."
        case .tooManyFields: "The message has too many headers."
        case .headTooLarge: "The message's headers are too large."
        case .bodyTooLarge: "The body is too large."
        case .methodNotSupported: "CONNECT is not supported."
        case .version: "Only HTTP/1.0 and HTTP/1.1 are supported."
        }
    }
}
