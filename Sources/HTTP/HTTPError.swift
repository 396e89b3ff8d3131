internal import Base

/// A message that cannot be taken: the status to answer with and a sentence for the other side, whose fault it is.
package struct HTTPError: Error, Equatable {
    package let status: Int
    package let reason: StaticString

    package static func == (a: HTTPError, b: HTTPError) -> Bool {
        a.status == b.status && a.reason.description == b.reason.description
    }

    static func bad(_ reason: StaticString) -> HTTPError { HTTPError(status: 400, reason: reason) }

    package static let bodyTooLarge = HTTPError(status: 413, reason: "the body is larger than this address accepts\n")
    static let lineTooLong = HTTPError(status: 414, reason: "the request line is too long\n")
    static let headTooLarge = HTTPError(status: 431, reason: "the header is too large\n")
    static let unknownCoding = HTTPError(status: 501, reason: "the transfer coding is not known here: use chunked\n")
    static let version = HTTPError(status: 505, reason: "only HTTP/1.0 and HTTP/1.1 are spoken here\n")
}

/// The limits of one message's head.
package struct HTTPLimits: Sendable {
    package var lineBytesMax: Int
    package var headerCountMax: Int
    package var headBytesMax: Int

    package init(lineBytesMax: Int, headerCountMax: Int, headBytesMax: Int) {
        self.lineBytesMax = lineBytesMax
        self.headerCountMax = headerCountMax
        self.headBytesMax = headBytesMax
    }

    package static let standard = HTTPLimits(
        lineBytesMax: Limits.requestLineBytesMax, headerCountMax: Limits.headerCountMax,
        headBytesMax: Limits.headBytesMax)
}

/// Where something lies in the bytes that the parser was given.
package struct ByteRange: Equatable, Sendable {
    package var offset: UInt32
    package var length: UInt32

    @inline(__always)
    init(_ from: Int, _ to: Int) {
        offset = UInt32(truncatingIfNeeded: from)
        length = UInt32(truncatingIfNeeded: to - from)
    }

    package var isEmpty: Bool { length == 0 }

    package func slice(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset) + Int(length)])
    }
}

/// Where a message's body ends (RFC 9112 §6.3).
package enum HTTPFraming: Equatable, Sendable {
    case none
    case length(UInt64)
    case chunked
    /// Responses only: the body ends with the connection.
    case untilClose
}

package enum HTTPMethod: Equatable, Sendable {
    case get, head, post, put, delete, patch, options, trace, connect, other
}
