import Base

/// Offsets into the bytes that a parser was given.
///
/// Stays right when the bytes move; to be applied to the same bytes, wherever they are.
package struct ByteRange: Equatable, Sendable {
    package var offset: UInt32
    package var length: UInt32

    package init(offset: UInt32, length: UInt32) {
        self.offset = offset
        self.length = length
    }

    init(from start: Int, to end: Int) {
        self.init(offset: UInt32(truncatingIfNeeded: start), length: UInt32(truncatingIfNeeded: end &- start))
    }

    package var isEmpty: Bool { length == 0 }
    package var end: Int { Int(offset) + Int(length) }

    /// The bytes of this range, counted from 0 again; `bytes` must reach to the range's end.
    package func slice(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        precondition(end <= bytes.count, "a range applied to other bytes than those it was found in")
        return UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<end])
    }

    /// The bytes of this range as text, invalid UTF-8 repaired: for messages, never for decisions.
    package func string(_ bytes: UnsafeRawBufferPointer) -> String {
        String(decoding: slice(bytes), as: UTF8.self)
    }
}

/// The most that a peer may send in one head; one instance is shared by the parsers of a listener.
package struct HTTPLimits: Sendable {
    /// The request or status line without its line end.
    package var lineBytesMax: Int
    package var headerCountMax: Int
    /// The whole head: line, fields and the empty line; the trailers of a chunked body, apart.
    package var headBytesMax: Int
    /// The line with a chunk's size and extensions, without its line end.
    package var chunkLineBytesMax: Int

    /// Head offsets are kept in 16 bits and header indices in 8: at most 65,536 and 255 of them.
    package init(
        lineBytesMax: Int = Limits.requestLineBytesMax, headerCountMax: Int = Limits.headerCountMax,
        headBytesMax: Int = Limits.headBytesMax, chunkLineBytesMax: Int = Limits.chunkLineBytesMax
    ) {
        precondition((1...65_536).contains(headBytesMax), "headBytesMax must be 1 to 65,536")
        precondition((0...255).contains(headerCountMax), "headerCountMax must be 0 to 255")
        self.lineBytesMax = lineBytesMax
        self.headerCountMax = headerCountMax
        self.headBytesMax = headBytesMax
        self.chunkLineBytesMax = chunkLineBytesMax
    }

    package static let standard = HTTPLimits()
}
