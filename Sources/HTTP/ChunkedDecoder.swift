package import Base

/// A strict, incremental decoder of chunked bodies (RFC 9112 §7.1).
///
///                   LF, size > 0           size bytes          CR LF
///     size <-> sizeEnd ------> data ------------------> dataEnd -----> size
///       | LF, size = 0
///       +----------> trailer <----> trailer (a line)  -----> done      (empty line)
///
/// and from each of them to `failed`, which stays.
///
/// Invariants:
///  1. It consumes all of its input until it is done: the caller keeps nothing back.
///  2. At most `max` bytes are written in all, and a chunk is refused at its size, before its data.
///  3. What is held beside the data, all of it trailers, is at most `limits.headBytesMax` bytes.
///
/// Nothing is allocated for a body without trailers.
package struct ChunkedDecoder {
    private enum Phase {
        case size, extensions, sizeLineFeed, data, dataReturn, dataLineFeed, trailer, done
    }

    private let limits: HTTPLimits
    private var phase = Phase.size
    private var failure: HTTPError?
    /// The size being read, then what is left of the chunk.
    private var size: UInt64 = 0
    private var digits = 0
    private var lineBytes = 0
    private var decoded = 0
    private var overhead = 0
    private var trailerLine: [UInt8] = []
    private var trailerBytes = 0

    /// The trailers, names in lower case, values without the white space around them; complete when done.
    package private(set) var trailers: [(name: String, value: [UInt8])] = []

    package init(limits: HTTPLimits = .standard) { self.limits = limits }

    /// Decodes `input` and appends its data to `buffer`; `max` bounds the bytes of the whole body.
    ///
    /// `consumed` is all of the input unless `done`, when what follows it belongs to the next message.
    package mutating func decode(
        _ input: UnsafeRawBufferPointer, into buffer: ByteBuffer, max: Int
    ) throws(HTTPError) -> (consumed: Int, done: Bool) {
        if let failure { throw failure }
        do throws(HTTPError) {
            var at = 0
            while at < input.count, phase != .done { at += try step(input, at, buffer, max) }
            return (at, phase == .done)
        } catch {
            failure = error
            throw error
        }
    }

    /// Takes one byte, or as much data as there is; how many bytes it took.
    private mutating func step(
        _ input: UnsafeRawBufferPointer, _ at: Int, _ buffer: ByteBuffer, _ max: Int
    ) throws(HTTPError) -> Int {
        let byte = input[at]
        switch phase {
        case .data:
            let count = Int(min(size, UInt64(input.count - at)))
            buffer.append(UnsafeRawBufferPointer(rebasing: input[at..<at + count]))
            size -= UInt64(count)
            if size == 0 { phase = .dataReturn }
            return count
        case .size:
            if let digit = hexValue(byte) {
                digits += 1
                guard digits <= 16 else { throw .chunkSize }
                size = size << 4 | UInt64(digit)
            } else {
                guard digits > 0 else { throw .chunkSize }
                try endDigits(byte, max)
            }
        case .extensions:
            // RFC 9112 §7.1.1: a recipient must ignore extensions that it does not know; here, all
            if byte == 0x0D {
                phase = .sizeLineFeed
            } else {
                guard ByteClass.table[Int(byte)] & ByteClass.fieldValue.rawValue != 0 else {
                    throw .chunkSize
                }
            }
        case .sizeLineFeed:
            guard byte == 0x0A else { throw .chunkSize }
            try endSizeLine()
            return 1
        case .dataReturn:
            guard byte == 0x0D else { throw .chunkEnd }
            phase = .dataLineFeed
            return 1
        case .dataLineFeed:
            guard byte == 0x0A else { throw .chunkEnd }
            phase = .size
            return 1
        case .trailer:
            try trailer(byte)
            return 1
        case .done:
            return 0
        }
        if phase != .sizeLineFeed {
            lineBytes += 1
            guard lineBytes <= limits.chunkLineBytesMax else { throw .chunkLineTooLong }
        }
        return 1
    }

    /// The size is read: it is followed by CR, or by an extension.
    private mutating func endDigits(_ byte: UInt8, _ max: Int) throws(HTTPError) {
        switch byte {
        case 0x0D: phase = .sizeLineFeed
        // "BWS" before the semicolon (RFC 9112 §7.1.1) is for old senders that were never seen: refused
        case UInt8(ascii: ";"): phase = .extensions
        default: throw .chunkSize
        }
        guard size <= UInt64(Swift.max(max - decoded, 0)) else { throw .bodyTooLarge }
    }

    private mutating func endSizeLine() throws(HTTPError) {
        decoded += Int(size)
        // Extensions cost the sender one byte a byte and the receiver its patience: beyond 16 bytes a chunk
        // and twice the data, a body has 16 KiB of them to spend.
        overhead = Swift.max(overhead + lineBytes - 16 - 2 * Int(min(size, 1 << 20)), 0)
        guard overhead <= 16 * 1024 else { throw .chunkOverhead }
        phase = size == 0 ? .trailer : .data
        lineBytes = 0
        digits = 0
    }

    private mutating func trailer(_ byte: UInt8) throws(HTTPError) {
        trailerBytes += 1
        guard trailerBytes <= limits.headBytesMax else { throw .headTooLarge }
        trailerLine.append(byte)
        guard byte == 0x0A else { return }
        let size = trailerLine.count
        guard size >= 2, trailerLine[size - 2] == 0x0D else { throw .lineEnd }
        if size == 2 {
            phase = .done
            trailerLine = []
            return
        }
        guard trailers.count < limits.headerCountMax else { throw .tooManyFields }
        let trailer = try parsedTrailer()
        // RFC 9110 §6.5.1: a field that frames or routes a message must come before its body
        guard !["content-length", "transfer-encoding", "host"].contains(trailer.name) else {
            throw .trailerForbidden
        }
        trailers.append(trailer)
        trailerLine.removeAll(keepingCapacity: true)
    }

    private func parsedTrailer() throws(HTTPError) -> (name: String, value: [UInt8]) {
        let line = trailerLine
        return try line.withUnsafeBufferPointer { bytes throws(HTTPError) in
            guard let base = bytes.baseAddress else { throw .fieldName }
            let field = try FieldLine(base, 0, bytes.count - 2, ByteClass.table)
            let name = String(decoding: bytes[0..<field.colon].map(lowercased), as: UTF8.self)
            return (name, Array(bytes[field.value..<field.end]))
        }
    }
}

/// The value of a hexadecimal digit in either case.
@inline(__always)
func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
}
