package import Base

/// Decodes a chunked body (RFC 9112 §7.1), piece by piece.
package final class ChunkedDecoder {
    private enum State { case size, data, dataEnd, trailers, done }

    private var state = State.size
    private var remaining = 0
    private var total = 0
    private let fields = FieldTable(capacity: Limits.headerCountMax)
    /// Trailer fields, names in lower case; there when `decode` has said `done`.
    package private(set) var trailers: [(name: String, value: [UInt8])] = []

    package init() {}

    /// Decodes from the front of `input` into `body`.
    ///
    /// - Returns: the bytes of `input` that are used up, and whether the body is complete. Bytes that are not used up
    ///   (the beginning of a size or trailer line) must come again with the next call.
    /// - Throws: 413 when more than `max` bytes come, 400 for whatever RFC 9112 does not allow.
    package func decode(
        _ input: UnsafeRawBufferPointer, into body: ByteBuffer, max: Int
    ) throws(HTTPError) -> (consumed: Int, done: Bool) {
        var at = 0
        while true {
            switch state {
            case .size:
                guard let next = try takeSize(input, at, max: max) else { return (at, false) }
                at = next
            case .data:
                let count = min(remaining, input.count - at)
                guard count > 0 else { return (at, false) }
                body.append(UnsafeRawBufferPointer(rebasing: input[at..<at + count]))
                at += count
                remaining -= count
                if remaining == 0 { state = .dataEnd }
            case .dataEnd:
                guard input.count - at >= 2 else { return (at, false) }
                guard input[at] == 13, input[at + 1] == 10 else { throw .bad("a chunk does not end where its size says\n") }
                at += 2
                state = .size
            case .trailers:
                guard let next = try takeTrailers(input, at) else { return (at, false) }
                state = .done
                return (next, true)
            case .done: return (at, true)
            }
        }
    }

    /// `1*HEXDIG [ extensions ] CRLF`
    private func takeSize(_ input: UnsafeRawBufferPointer, _ start: Int, max: Int) throws(HTTPError) -> Int? {
        var at = start
        var size = 0
        while at < input.count, let digit = hexDigit(input[at]) {
            guard at - start < 15 else { throw .bad("a chunk size is too long\n") }
            size = size << 4 | Int(digit)
            at += 1
        }
        guard at < input.count else { return nil }
        guard at > start else { throw .bad("a chunk size is not a hexadecimal number\n") }
        let isExtension = input[at] == 59 || input[at] == 32 || input[at] == 9
        guard isExtension || input[at] == 13 else { throw .bad("a chunk size is not a hexadecimal number\n") }
        while at < input.count, Characters.table[Int(input[at])] & Characters.value != 0 {
            guard at - start < Limits.chunkLineBytesMax else { throw .bad("a chunk extension is too long\n") }
            at += 1
        }
        guard at + 1 < input.count else {
            if at < input.count, input[at] != 13 { throw .bad("a chunk size line has a bare line end\n") }
            return nil
        }
        guard input[at] == 13, input[at + 1] == 10 else { throw .bad("a chunk size line does not end with CRLF\n") }
        guard size <= max - total else { throw .bodyTooLarge }
        total += size
        remaining = size
        state = size == 0 ? .trailers : .data
        return at + 2
    }

    private func takeTrailers(_ input: UnsafeRawBufferPointer, _ start: Int) throws(HTTPError) -> Int? {
        guard input.count - start >= 2 else { return nil }
        if input[start] == 13, input[start + 1] == 10 { return start + 2 }
        let rest = UnsafeRawBufferPointer(rebasing: input[start...])
        var scanner = HeadScanner()
        guard let end = scanner.end(of: rest, from: 0) else {
            guard rest.count <= Limits.headBytesMax else { throw .headTooLarge }
            return nil
        }
        guard end <= Limits.headBytesMax else { throw .headTooLarge }
        let used = try fields.parse(rest, from: 0, to: end)
        guard used == end else { throw .bad("the trailers do not end where they should\n") }
        for index in 0..<fields.count {
            let name = String(decoding: fields.fields[index].name.slice(rest), as: UTF8.self).lowercased()
            trailers.append((name, Array(fields.value(index))))
        }
        return start + used
    }
}

func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
}
