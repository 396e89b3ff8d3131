import Glibc

/// The header lines of one head, parsed strictly (RFC 9112 §5) as they become complete.
///
///                  line without its LF           empty line
///     reading <----------------------> reading ------------> complete
///        |
///        +--> the caller throws the section away after an error
///
/// Invariants:
///  1. `lineStart <= scanned`: lines before `lineStart` are in the table, no LF lies in `lineStart..<scanned`.
///  2. `count <= limits.headerCountMax`, and every offset is below `limits.headBytesMax <= 65,536`.
///  3. `firstOf[f]` is meaningful exactly when bit `f` of `present` is set.
///
/// Thread rule: used by the thread of its parser only. No heap allocation after init.
final class FieldSection {
    struct Entry {
        var name: UInt16
        var nameLength: UInt16
        var value: UInt16
        var valueLength: UInt16
    }

    enum TransferCoding { case none, chunked }

    let limits: HTTPLimits
    let classes = ByteClass.table
    private let names = FieldNames.shared
    private let entries: UnsafeMutablePointer<Entry>
    private let firstOf: UnsafeMutablePointer<UInt8>

    var lineStart = 0
    var scanned = 0
    private(set) var count = 0
    private var present: UInt64 = 0
    private(set) var contentLength: UInt64 = 0
    private(set) var transferCoding = TransferCoding.none
    private(set) var saysClose = false
    private(set) var saysKeepAlive = false
    private(set) var expectsContinue = false

    init(limits: HTTPLimits) {
        precondition(HTTPField.allCases.count <= 64, "the set of present fields is one word")
        self.limits = limits
        entries = .allocate(capacity: max(limits.headerCountMax, 1))
        firstOf = .allocate(capacity: HTTPField.allCases.count)
    }

    deinit {
        entries.deallocate()
        firstOf.deallocate()
    }

    func reset() {
        lineStart = 0
        scanned = 0
        count = 0
        present = 0
        contentLength = 0
        transferCoding = .none
        saysClose = false
        saysKeepAlive = false
        expectsContinue = false
    }

    /// The offset of the LF that ends the start line at `lineStart`, or nil when it is not there yet.
    @inline(__always)
    func startLineFeed(_ base: UnsafePointer<UInt8>, _ size: Int) throws(HTTPError) -> Int? {
        let most = lineStart &+ limits.lineBytesMax &+ 2  // the line, CR, LF
        if most > limits.headBytesMax { return try lineFeed(base, size, limits.headBytesMax, .headTooLarge) }
        return try lineFeed(base, size, most, .lineTooLong)
    }

    /// The offset of the first LF from `scanned` on; nil while more bytes may bring it, from `most` on `error`.
    ///
    /// Remembers how far it looked, so that a head that comes byte by byte is looked at once.
    @inline(__always)
    private func lineFeed(
        _ base: UnsafePointer<UInt8>, _ size: Int, _ most: Int, _ error: HTTPError
    ) throws(HTTPError) -> Int? {
        let end = min(size, most)
        if scanned < end, let found = memchr(base + scanned, 0x0A, end &- scanned) {
            return UnsafePointer(found.assumingMemoryBound(to: UInt8.self)) - base
        }
        scanned = max(scanned, end)
        if size >= most { throw error }
        return nil
    }

    /// Parses the lines from `lineStart`; true once the empty line was read, false to ask for more.
    ///
    /// Then `lineStart` is the first offset after the head.
    func parse(_ base: UnsafePointer<UInt8>, _ size: Int) throws(HTTPError) -> Bool {
        while true {
            let start = lineStart
            guard let lf = try lineFeed(base, size, limits.headBytesMax, .headTooLarge) else { return false }
            guard lf > start, base[lf &- 1] == 0x0D else { throw .lineEnd }
            lineStart = lf &+ 1
            scanned = lf &+ 1
            if lf == start &+ 1 { return true }
            guard count < limits.headerCountMax else { throw .tooManyFields }
            let line = try FieldLine(base, start, lf &- 1, classes)
            entries[count] = Entry(
                name: UInt16(truncatingIfNeeded: start),
                nameLength: UInt16(truncatingIfNeeded: line.colon &- start),
                value: UInt16(truncatingIfNeeded: line.value),
                valueLength: UInt16(truncatingIfNeeded: line.end &- line.value))
            if let field = names.field(base + start, line.colon &- start) { try note(field, base, line) }
            count &+= 1
        }
    }

    // MARK: what the lines say

    /// Keeps the first line of each known field, and acts on the five that frame a message.
    @inline(__always)
    private func note(_ field: UInt8, _ base: UnsafePointer<UInt8>, _ line: FieldLine) throws(HTTPError) {
        let bit: UInt64 = 1 &<< UInt64(field)
        let repeated = present & bit != 0
        if !repeated {
            present |= bit
            firstOf[Int(field)] = UInt8(truncatingIfNeeded: count)
        }
        if field <= HTTPField.expect.rawValue { try frame(field, repeated, base, line) }
    }

    private func frame(
        _ field: UInt8, _ repeated: Bool, _ base: UnsafePointer<UInt8>, _ line: FieldLine
    ) throws(HTTPError) {
        let value = base + line.value
        let size = line.end - line.value
        switch HTTPField(rawValue: field) {
        case .host:
            if repeated { throw .hostRepeated }
        case .connection:
            noteConnection(value, size)
        case .contentLength:
            // RFC 9110 §8.6 lets equal ones be merged; intermediaries disagree about which to read
            if repeated { throw .contentLengthRepeated }
            contentLength = try Self.parseContentLength(value, size, classes)
        case .transferEncoding:
            if repeated { throw .transferEncodingRepeated }
            try noteTransferEncoding(value, size)
        case .expect:
            // RFC 9110 §10.1.1: 100-continue is the only expectation there is; others may be ignored, as S3 does.
            expectsContinue = equalsIgnoringCase(value, count: size, "100-continue")
        default:
            break
        }
    }

    /// RFC 9110 §8.6: 1*DIGIT. Numbers from 2^63 on are refused, so that every length fits an `Int`.
    private static func parseContentLength(
        _ value: UnsafePointer<UInt8>, _ size: Int, _ classes: UnsafePointer<UInt8>
    ) throws(HTTPError) -> UInt64 {
        guard size > 0 else { throw .contentLength }
        var length: UInt64 = 0
        for at in 0..<size {
            guard classes[Int(value[at])] & ByteClass.digit.rawValue != 0 else { throw .contentLength }
            let (tens, tooMany) = length.multipliedReportingOverflow(by: 10)
            let (sum, over) = tens.addingReportingOverflow(UInt64(value[at] & 15))
            guard !tooMany, !over, sum <= UInt64(Int.max) else { throw .contentLength }
            length = sum
        }
        return length
    }

    /// RFC 9112 §6.1, §6.3: only `chunked`, last and once; a coding before it is one unknown here.
    private func noteTransferEncoding(_ value: UnsafePointer<UInt8>, _ size: Int) throws(HTTPError) {
        if equalsIgnoringCase(value, count: size, "chunked") {
            transferCoding = .chunked
            return
        }
        var codings = 0
        var chunkedAt: Int?
        var all = true
        Self.forEachItem(value, size) { item, count in
            all = all && count > 0
            if equalsIgnoringCase(item, count: count, "chunked"), chunkedAt == nil { chunkedAt = codings }
            codings += 1
        }
        // an empty item is allowed by RFC 9110 §5.6.1 and is a known trick: refused
        guard all, let chunkedAt, chunkedAt == codings - 1, codings > 1 else { throw .transferEncoding }
        throw .transferCodingUnknown
    }

    private func noteConnection(_ value: UnsafePointer<UInt8>, _ size: Int) {
        Self.forEachItem(value, size) { item, count in
            if equalsIgnoringCase(item, count: count, "close") { saysClose = true }
            if equalsIgnoringCase(item, count: count, "keep-alive") { saysKeepAlive = true }
        }
    }

    /// The items of a comma-separated list, without the white space around them.
    @inline(__always)
    private static func forEachItem(
        _ value: UnsafePointer<UInt8>, _ size: Int, _ body: (UnsafePointer<UInt8>, Int) -> Void
    ) {
        var start = 0
        while start <= size {
            var end = start
            while end < size, value[end] != UInt8(ascii: ",") { end += 1 }
            var first = start
            var last = end
            while first < last, FieldLine.isSpace(value[first]) { first += 1 }
            while last > first, FieldLine.isSpace(value[last - 1]) { last -= 1 }
            body(value + first, last - first)
            start = end + 1
        }
    }

    // MARK: finding fields

    func name(_ index: Int) -> ByteRange {
        precondition(index >= 0 && index < count, "header index out of range")
        return ByteRange(offset: UInt32(entries[index].name), length: UInt32(entries[index].nameLength))
    }

    func value(_ index: Int) -> ByteRange {
        precondition(index >= 0 && index < count, "header index out of range")
        return ByteRange(offset: UInt32(entries[index].value), length: UInt32(entries[index].valueLength))
    }

    func has(_ field: HTTPField) -> Bool { present & (1 &<< UInt64(field.rawValue)) != 0 }

    func value(_ field: HTTPField) -> ByteRange? {
        has(field) ? value(Int(firstOf[Int(field.rawValue)])) : nil
    }

    func value(_ name: StaticString) -> ByteRange? {
        let size = name.utf8CodeUnitCount
        guard size > 0, let raw = names.field(name.utf8Start, size), let field = HTTPField(rawValue: raw)
        else {
            preconditionFailure("\(name) has no row in HTTPField: add one, or use header(_:in:)")
        }
        return value(field)
    }

    func value(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> ByteRange? {
        let size = name.utf8CodeUnitCount
        for index in 0..<count where Int(entries[index].nameLength) == size {
            let found = self.name(index).slice(bytes)
            guard let start = found.bindMemory(to: UInt8.self).baseAddress else { continue }
            if equalsIgnoringCase(start, name.utf8Start, size) { return value(index) }
        }
        return nil
    }
}
