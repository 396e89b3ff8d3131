internal import Crypto

/// Decodes a body in the coding `aws-chunked` and verifies the signatures of its chunks and trailers.
///
///     size[;chunk-signature=…] CRLF  data CRLF  …  0[;chunk-signature=…] CRLF  [name:value CRLF …]  CRLF
///
/// (Amazon S3 API Reference, "Transferring Payload in Multiple Chunks", "Including Trailing Headers".) Data is given on before the
/// signature of its chunk is judged: whoever stores it must not publish it before `isDone`.
///
/// Invariants:
///  1. It consumes all that it is given, up to the end.
///  2. It gives on exactly `length` bytes, or refuses.
///  3. It keeps no more than one line, and at most `trailerBytesMax` of trailers.
package struct AWSChunkedDecoder {
    private enum Phase { case size, data, dataEnd, trailers, done }

    private static let lineBytesMax = 8 * 1024
    private static let trailerBytesMax = 16 * 1024
    /// AWS refuses smaller ones, but for the last.
    private static let chunkBytesMin = 8 * 1024

    private let isSigned: Bool
    private let hasTrailers: Bool
    private var chain: SignatureChain
    private let length: UInt64
    private let digest = RunningDigest(.sha256)
    private var phase = Phase.size
    private var line: [UInt8] = []
    private var left: UInt64 = 0
    private var total: UInt64 = 0
    private var signature = ""
    private var wasSmall = false
    private var trailerBytes = 0
    private var signedTrailers = ""
    private var trailerSignature: String?

    /// Names in lower case, values without the white space around them; the trailers' own signature left out.
    package private(set) var trailers: [(name: String, value: String)] = []
    package var isDone: Bool { phase == .done }

    /// - Parameter length: what the client says that the data is (`x-amz-decoded-content-length`).
    package init(isSigned: Bool, hasTrailers: Bool, chain: SignatureChain, length: UInt64) {
        self.isSigned = isSigned
        self.hasTrailers = hasTrailers
        self.chain = chain
        self.length = length
    }

    private static let incomplete = S3Refusal(
        400, "IncompleteBody", "The request body terminated unexpectedly")
    private static let badTrailer = S3Refusal(
        400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")

    /// Takes the next bytes of the body and calls `data` with what they hold.
    package mutating func decode(_ bytes: UnsafeRawBufferPointer, _ data: (UnsafeRawBufferPointer) -> Void) throws(S3Refusal) {
        var at = 0
        while at < bytes.count {
            switch phase {
            case .done: throw Self.incomplete
            case .data:
                let count = Int(min(left, UInt64(bytes.count - at)))
                let piece = UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])
                if isSigned { digest.add(piece) }
                data(piece)
                left -= UInt64(count)
                at += count
                if left == 0 { phase = .dataEnd }
            default:
                let byte = bytes[at]
                at += 1
                if byte != UInt8(ascii: "\n") {
                    line.append(byte)
                    guard line.count <= Self.lineBytesMax else { throw Self.incomplete }
                    continue
                }
                guard line.last == UInt8(ascii: "\r") else { throw Self.incomplete }
                line.removeLast()
                try take(line: String(decoding: line, as: UTF8.self))
                line.removeAll(keepingCapacity: true)
            }
        }
    }

    private mutating func take(line: String) throws(S3Refusal) {
        switch phase {
        case .size: try begin(line)
        case .dataEnd:
            guard line.isEmpty else { throw Self.incomplete }
            try endChunk()
            phase = .size
        case .trailers: try take(trailer: line)
        case .data, .done: break
        }
    }

    private mutating func begin(_ line: String) throws(S3Refusal) {
        let parts = line.split(separator: ";", omittingEmptySubsequences: false)
        guard let digits = parts.first, !digits.isEmpty, digits.utf8.count <= 16, let size = UInt64(digits, radix: 16) else {
            throw Self.incomplete
        }
        if isSigned {
            guard parts.count == 2, parts[1].hasPrefix("chunk-signature=") else { throw Self.incomplete }
            signature = String(parts[1].dropFirst("chunk-signature=".count))
        }
        if size == 0 {
            guard total == length else { throw Self.incomplete }
            if isSigned { try endChunk() }
            phase = .trailers
            return
        }
        guard !wasSmall else {
            throw S3Refusal(403, "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes")
        }
        wasSmall = size < Self.chunkBytesMin
        (total, left) = (total &+ size, size)
        guard size <= length, total <= length else { throw Self.incomplete }
        phase = .data
    }

    private mutating func endChunk() throws(S3Refusal) {
        guard isSigned else { return }
        guard chain.accepts(chunk: digest.finish(), signature: signature) else { throw S3Refusal.mismatch }
    }

    private mutating func take(trailer line: String) throws(S3Refusal) {
        guard !line.isEmpty else {
            if isSigned, hasTrailers {
                guard let trailerSignature else { throw Self.badTrailer }
                guard chain.accepts(trailers: signedTrailers, signature: trailerSignature) else { throw S3Refusal.mismatch }
            }
            phase = .done
            return
        }
        trailerBytes += line.utf8.count
        guard hasTrailers, trailerBytes <= Self.trailerBytesMax, let colon = line.firstIndex(of: ":") else { throw Self.badTrailer }
        let name = line[..<colon].lowercased()
        let value = Self.trimmed(line[line.index(after: colon)...])
        guard !name.isEmpty, !name.contains(" ") else { throw Self.badTrailer }
        if name == "x-amz-trailer-signature" {
            trailerSignature = value
        } else {
            trailers.append((name, value))
            signedTrailers += "\(name):\(value)\n"
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}
