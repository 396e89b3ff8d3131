internal import Base

/// Reads requests, both as arrays of bulk strings and as lines of words ("inline"), from bytes that may come in pieces.
///
///     *2\r\n $3\r\n GET\r\n $1\r\n k\r\n     ─┐
///     GET k\r\n                             ─┴▶  arguments: spans of the bytes that were given, nothing copied
///
///     count ──"*n"──▶ length ⇄ bulk ──n-th──▶ complete ──next parse──▶ count
///
/// `parse` is called with the bytes from the begin of a request; when it says that there is more to come, it is called again with the same
/// bytes and more behind them, and goes on where it was. Words of a line with quotes are unescaped into the parser's own memory.
///
/// Invariants:
///  1. No byte outside of what is given is read.
///  2. Memory grows with the arguments that have come, never with a count or a length that was announced.
///  3. After an error the parser stays failed.
///
/// Thread rule: whoever holds it.
package final class RequestParser {
    package var limits: RESPLimits
    private var spans: UnsafeMutablePointer<ArgumentSpan>
    private var capacity = 16
    private var count = 0
    /// Where to go on in the bytes of the current request.
    private var at = 0
    /// Arguments of the current request that have not come yet; nil: its count has not.
    private var missing: Int?
    /// Length of the argument that comes next; -1: not known yet.
    private var bulk = -1
    private var argumentBytes = 0
    private var isInline = false
    private var words = ByteBuffer(capacity: 16)
    private var failure: RESPError?

    package init(limits: RESPLimits = RESPLimits()) {
        self.limits = limits
        spans = .allocate(capacity: capacity)
    }

    deinit { spans.deallocate() }

    /// The request that was complete at the last `parse`; `bytes` is what was given then. No arguments: an empty line, to be passed over.
    @inline(__always) package func arguments(_ bytes: UnsafeRawBufferPointer) -> Arguments {
        // a request that is complete has at least one byte, and so an address
        let base = isInline ? words.bytes.baseAddress : bytes.baseAddress
        return Arguments(base: base.unsafelyUnwrapped, spans: spans, count: count)
    }

    /// The bytes that the request at the front of `bytes` takes; 0: it is not complete yet.
    package func parse(_ bytes: UnsafeRawBufferPointer) throws(RESPError) -> Int {
        if let failure { throw failure }
        do throws(RESPError) {
            return try step(bytes)
        } catch {
            failure = error
            throw error
        }
    }

    private func step(_ bytes: UnsafeRawBufferPointer) throws(RESPError) -> Int {
        if missing == nil {
            if at == 0 { count = 0 }
            guard bytes.count > 0 else { return 0 }
            if bytes[0] != UInt8(ascii: "*") { return try line(bytes) }
            isInline = false
            argumentBytes = 0
            guard try takeCount(bytes) else { return 0 }
        }
        var left = missing ?? 0
        while left > 0 {
            if bulk < 0, try !takeLength(bytes) { return pause(left) }
            guard bytes.count - at >= bulk + 2 else { return pause(left) }
            guard bytes[at + bulk] == 0x0D, bytes[at + bulk + 1] == 0x0A else { throw .noLineEnd }
            if count == capacity { grow() }
            spans[count] = ArgumentSpan(offset: at, count: bulk)
            count += 1
            at += bulk + 2
            bulk = -1
            left -= 1
        }
        defer {
            at = 0
            missing = nil
        }
        return at
    }

    private func pause(_ left: Int) -> Int {
        missing = left
        return 0
    }

    /// "*n\r\n" at the front. Less than one argument is an empty request.
    private func takeCount(_ bytes: UnsafeRawBufferPointer) throws(RESPError) -> Bool {
        guard let (value, next) = try number(bytes, from: 1, tooLong: .countTooLong, bad: .badCount) else { return false }
        guard value <= limits.argumentsMax else { throw value > Limits.respArgumentsMax ? .badCount : .tooManyArguments }
        missing = max(0, value)
        at = next
        return true
    }

    /// "$n\r\n" where the parser is.
    private func takeLength(_ bytes: UnsafeRawBufferPointer) throws(RESPError) -> Bool {
        guard at < bytes.count else { return false }
        guard bytes[at] == UInt8(ascii: "$") else { throw .notABulk(bytes[at]) }
        guard let (value, next) = try number(bytes, from: at + 1, tooLong: .bulkLengthTooLong, bad: .badBulkLength) else { return false }
        guard value >= 0 else { throw .badBulkLength }
        guard value <= limits.bulkBytesMax else { throw value > Limits.respBulkBytesMax ? .badBulkLength : .bulkTooLarge }
        argumentBytes += value
        guard argumentBytes <= limits.requestBytesMax else { throw .requestTooLarge }
        bulk = value
        at = next
        return true
    }

    /// A decimal number and the end of its line; nil: the line has not ended yet.
    @inline(__always)
    private func number(
        _ bytes: UnsafeRawBufferPointer, from start: Int, tooLong: RESPError, bad: RESPError
    ) throws(RESPError) -> (value: Int, next: Int)? {
        var at = start
        var value = 0
        let isNegative = at < bytes.count && bytes[at] == UInt8(ascii: "-")
        if isNegative { at += 1 }
        let first = at
        while at < bytes.count {
            let digit = Int(bytes[at]) - 0x30
            guard digit >= 0, digit <= 9 else { break }
            guard at - first < 18 else { throw tooLong }
            value = value * 10 + digit
            at += 1
        }
        guard at < bytes.count else { return nil }
        guard bytes[at] == 0x0D, at > first else { throw bad }
        guard at + 1 < bytes.count else { return nil }
        guard bytes[at + 1] == 0x0A else { throw bad }
        return (isNegative ? -value : value, at + 2)
    }

    private func grow() {
        let bigger = UnsafeMutablePointer<ArgumentSpan>.allocate(capacity: capacity * 2)
        bigger.update(from: spans, count: count)
        spans.deallocate()
        spans = bigger
        capacity *= 2
    }

    // MARK: Lines of words

    private func line(_ bytes: UnsafeRawBufferPointer) throws(RESPError) -> Int {
        var end = at
        while end < bytes.count, bytes[end] != 0x0A { end += 1 }
        guard end <= limits.lineBytesMax else { throw .inlineTooLong }
        guard end < bytes.count else {
            at = end
            return 0
        }
        isInline = true
        words.clear()
        // the bytes are looked at through `words`, so that there is an address without any
        _ = words.reserve(end + 1)
        let hasReturn = end > 0 && bytes[end - 1] == 0x0D
        try split(UnsafeRawBufferPointer(rebasing: bytes[..<(hasReturn ? end - 1 : end)]))
        at = 0
        return end + 1
    }

    /// Words between blanks; "…" with escapes as in C and \xHH, '…' with \' only. A quote ends its word.
    private func split(_ line: UnsafeRawBufferPointer) throws(RESPError) {
        var at = 0
        while true {
            while at < line.count, Self.isBlank(line[at]) { at += 1 }
            guard at < line.count else { return }
            let start = words.count
            while at < line.count, !Self.isBlank(line[at]) {
                let byte = line[at]
                at += 1
                guard byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") else {
                    words.append(byte)
                    continue
                }
                at = try quoted(line, from: at, by: byte)
                guard at == line.count || Self.isBlank(line[at]) else { throw .unbalancedQuotes }
            }
            guard count < limits.argumentsMax else { throw .tooManyArguments }
            if count == capacity { grow() }
            spans[count] = ArgumentSpan(offset: start, count: words.count - start)
            count += 1
        }
    }

    /// What is between quotes, and where it goes on behind them.
    private func quoted(_ line: UnsafeRawBufferPointer, from start: Int, by quote: UInt8) throws(RESPError) -> Int {
        var at = start
        while at < line.count {
            let byte = line[at]
            if byte == quote { return at + 1 }
            at += 1
            guard byte == UInt8(ascii: "\\"), at < line.count, quote == UInt8(ascii: "\"") || line[at] == quote else {
                words.append(byte)
                continue
            }
            if line[at] == UInt8(ascii: "x"), at + 2 < line.count, let high = Self.hex(line[at + 1]), let low = Self.hex(line[at + 2]) {
                words.append(high << 4 | low)
                at += 3
            } else {
                words.append(Self.unescaped(line[at]))
                at += 1
            }
        }
        throw .unbalancedQuotes
    }

    private static func unescaped(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "a"): 0x07
        default: byte
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) || byte == 0 }

    private static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
