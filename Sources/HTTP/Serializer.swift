package import Base

extension ByteBuffer {
    /// Appends `HTTP/1.1 200 OK` and its line end; the common lines are ready made.
    package func appendStatusLine(_ status: Int) {
        switch status {
        case 200: append("HTTP/1.1 200 OK\r\n")
        case 202: append("HTTP/1.1 202 Accepted\r\n")
        case 404: append("HTTP/1.1 404 Not Found\r\n")
        default:
            append("HTTP/1.1 ")
            append(decimal: UInt64(max(100, min(999, status))), width: 3)
            append(UInt8(ascii: " "))
            append(reasonPhrase(status))
            append("\r\n")
        }
    }

    package func appendField(_ name: StaticString, _ value: StaticString) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    /// The caller vouches that `value` is a field value (see `isFieldValue`).
    package func appendField(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    package func appendField(_ name: StaticString, _ value: String) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    package func appendField(_ name: StaticString, decimal value: UInt64) {
        append(name)
        append(": ")
        append(decimal: value)
        append("\r\n")
    }

    package func appendField(_ name: StaticString, _ value: RequestID) {
        append(name)
        append(": ")
        append(value)
        append("\r\n")
    }

    /// One chunk (RFC 9112 §7.1); an empty one would end the body and is left out.
    package func appendChunk(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        append(String(bytes.count, radix: 16))
        append("\r\n")
        append(bytes)
        append("\r\n")
    }

    package func appendLastChunk() { append("0\r\n\r\n") }
}

/// Reason phrases of the registered status codes (RFC 9110 §15 and the IANA registry).
package func reasonPhrase(_ status: Int) -> StaticString {
    switch status {
    case 100: "Continue"
    case 101: "Switching Protocols"
    case 103: "Early Hints"
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 203: "Non-Authoritative Information"
    case 204: "No Content"
    case 205: "Reset Content"
    case 206: "Partial Content"
    case 207: "Multi-Status"
    case 300: "Multiple Choices"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 402: "Payment Required"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 407: "Proxy Authentication Required"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 416: "Range Not Satisfiable"
    case 417: "Expectation Failed"
    case 418: "I'm a teapot"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 423: "Locked"
    case 424: "Failed Dependency"
    case 425: "Too Early"
    case 426: "Upgrade Required"
    case 428: "Precondition Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    case 507: "Insufficient Storage"
    case 511: "Network Authentication Required"
    default: "Unknown"
    }
}

/// Dates in messages: IMF-fixdate (RFC 9110 §5.6.7), as in `Sun, 06 Nov 1994 08:49:37 GMT`.
package enum HTTPDate {
    private static let weekdays: [StaticString] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]

    package static func append(epochSeconds: UInt64, to out: ByteBuffer) {
        let time = UTCTime(epochSeconds: epochSeconds)
        out.append(weekdays[time.weekday])
        out.append(", ")
        out.append(decimal: UInt64(time.day), width: 2)
        out.append(" ")
        out.append(UTCTime.monthNames[time.month - 1])
        out.append(" ")
        out.append(decimal: UInt64(time.year), width: 4)
        out.append(" ")
        out.append(decimal: UInt64(time.hour), width: 2)
        out.append(":")
        out.append(decimal: UInt64(time.minute), width: 2)
        out.append(":")
        out.append(decimal: UInt64(time.second), width: 2)
        out.append(" GMT")
    }
}
