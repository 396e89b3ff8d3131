/// One header or trailer line, split strictly (RFC 9112 §5.1).
struct FieldLine {
    /// The offset of the colon, which ends the name.
    let colon: Int
    /// The value without the white space around it.
    let value: Int
    let end: Int

    @inline(__always)
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Splits the line `start..<lineEnd` of `base`, which must be followed by CR LF.
    ///
    /// The CR is what stops the scans: it is in no class.
    @inline(__always)
    init(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ lineEnd: Int, _ classes: UnsafePointer<UInt8>
    ) throws(HTTPError) {
        var at = start
        while classes[Int(base[at])] & ByteClass.token.rawValue != 0 { at &+= 1 }
        guard base[at] == UInt8(ascii: ":"), at > start else {
            throw Self.nameError(base, start, at, lineEnd)
        }
        colon = at
        at &+= 1
        while Self.isSpace(base[at]) { at &+= 1 }
        var last = lineEnd
        while last > at, Self.isSpace(base[last &- 1]) { last &-= 1 }
        value = at
        end = last
        guard Self.isValue(base, start, at, last, classes) else { throw .fieldValue }
    }

    /// Which rule a line without a well-formed name breaks; `at` is its first byte that is not of a token.
    private static func nameError(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ at: Int, _ lineEnd: Int
    ) -> HTTPError {
        guard isSpace(base[at]) else { return .fieldName }
        // RFC 9112 §5.2 and §2.2: a line that begins with white space continues the one before, or hides
        guard at > start else { return .folded }
        var next = at
        while next < lineEnd, isSpace(base[next]) { next += 1 }
        return base[next] == UInt8(ascii: ":") ? .spaceBeforeColon : .fieldName
    }

    /// Whether `from..<to` holds only bytes of a field value; `start` is the start of the line.
    @inline(__always)
    private static func isValue(
        _ base: UnsafePointer<UInt8>, _ start: Int, _ from: Int, _ to: Int, _ classes: UnsafePointer<UInt8>
    ) -> Bool {
        // The last word may reach back into the name and the spaces, which are clean already.
        guard to &- start >= 8 else { return isValueByByte(base, from, to, classes) }
        var at = from
        var bad: UInt64 = 0
        while at &+ 8 < to {
            let word = Word.load(base + at)
            bad |= Word.below(word, 0x20) | Word.holds(word, 0x7F)
            at &+= 8
        }
        let word = Word.load(base + (to &- 8))
        bad |= Word.below(word, 0x20) | Word.holds(word, 0x7F)
        // a tab is below 0x20 and allowed: rare enough to look again, one byte at a time
        return bad == 0 || isValueByByte(base, from, to, classes)
    }

    @inline(never)
    private static func isValueByByte(
        _ base: UnsafePointer<UInt8>, _ from: Int, _ to: Int, _ classes: UnsafePointer<UInt8>
    ) -> Bool {
        var at = from
        while at < to {
            if classes[Int(base[at])] & ByteClass.fieldValue.rawValue == 0 { return false }
            at &+= 1
        }
        return true
    }
}
