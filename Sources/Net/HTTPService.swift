internal import Base
package import HTTP

/// What answers the requests of a listener: one per door. Called on the loop's thread.
package protocol HTTPService: AnyObject {
    /// How large the body of this request may be, in bytes; asked when the head is complete. More is answered 413.
    func bodyBytesMax(_ request: HTTPRequest) -> Int

    /// Answers a request whose body is larger than that, with 413; the connection ends with it.
    func refuseTooLarge(_ request: HTTPRequest)

    /// Who takes the body of this request piece by piece; nil: `handle` gets it whole. Asked when the head is complete and a body follows;
    /// the service may also answer at once, and then the body is not read.
    func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)?

    /// Answers `request`: exactly one answer, now or later, through `request.connection`.
    ///
    /// The request's bytes are gone when this returns: what is needed later must be copied.
    func handle(_ request: HTTPRequest)
}

extension HTTPService {
    package func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? { nil }

    package func refuseTooLarge(_ request: HTTPRequest) {
        let error = HTTPError.bodyTooLarge
        request.connection.respond(error.status, text: error.reason)
    }
}

/// A complete request; its bytes are valid only while `handle` runs.
package struct HTTPRequest {
    package let connection: HTTPConnection
    package let head: HTTPRequestParser
    /// The bytes that the ranges of `head` count in.
    package let bytes: UnsafeRawBufferPointer
    package let body: UnsafeRawBufferPointer

    /// - Parameter head: has parsed the front of `bytes`.
    package init(connection: HTTPConnection, head: HTTPRequestParser, bytes: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer) {
        self.connection = connection
        self.head = head
        self.bytes = bytes
        self.body = body
    }

    package func slice(_ range: ByteRange) -> UnsafeRawBufferPointer { range.slice(bytes) }

    package func text(_ range: ByteRange) -> String { String(decoding: range.slice(bytes), as: UTF8.self) }

    package func header(_ field: HTTPField) -> UnsafeRawBufferPointer? { head.header(field).map { slice($0) } }

    package var path: UnsafeRawBufferPointer { slice(head.path) }
    package var query: UnsafeRawBufferPointer {
        head.query.map { slice($0) } ?? UnsafeRawBufferPointer(start: nil, count: 0)
    }
}

/// Takes a request's body as it comes, however long it is. It may answer at any time; before the end of the body that closes the connection
/// when the answer is written. `HTTPConnection.pauseBody` holds the client back.
package protocol BodyReceiver: AnyObject {
    /// The next bytes of the body, without framing; they are gone when this returns.
    func received(_ bytes: UnsafeRawBufferPointer)
    /// The body is complete: an answer is due. `trailers`: names in lower case.
    func ended(trailers: [(name: String, value: [UInt8])])
    /// The body cannot be read to its end (its framing is wrong, it is too large, or it came too slowly): answer that.
    func broken(status: Int, reason: StaticString)
    /// There is nobody left to answer.
    func clientWentAway()
}

/// Work that waits to answer on a connection, and wants to know when nobody waits for it any more.
package protocol PendingAnswer: AnyObject {
    func clientWentAway()
    /// The other side has taken all that was written; only after something had to wait.
    func canWrite()
}

extension PendingAnswer {
    package func canWrite() {}
}

/// The time limits of a listener, in whole seconds.
package struct HTTPTimeouts: Sendable {
    /// From the first byte of a head to its last.
    package var head = UInt64(Limits.headTimeout.seconds)
    /// Between two reads of a body.
    package var body = UInt64(Limits.bodyIdleTimeout.seconds)
    /// Between requests.
    package var keepAlive = UInt64(Limits.keepAliveTimeout.seconds)
    /// While the other side takes nothing of what was written.
    package var write = UInt64(Limits.writeTimeout.seconds)
    /// After the last answer, for the other side to close.
    package var linger: UInt64 = 2

    package init() {}
}
