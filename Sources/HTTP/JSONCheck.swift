/// Where a text stops being JSON, and why.
package struct JSONFault: Equatable, Sendable {
    /// The offset of the first byte that cannot stand where it is; the text's length when it ends too early.
    package let offset: Int
    /// One sentence.
    package let reason: StaticString

    package static func == (a: JSONFault, b: JSONFault) -> Bool {
        a.offset == b.offset && "\(a.reason)" == "\(b.reason)"
    }
}

/// Tells whether bytes are one JSON text (RFC 8259), without building anything.
///
/// Strict: well-formed UTF-8 without a byte order mark, no trailing comma, no text behind the value. Lone
/// surrogates in \u escapes pass (RFC 8259 §8.2 leaves them open, and Lambda's clients send them); duplicate
/// names pass too.
package enum JSONCheck {
    /// nil for a JSON text; arrays and objects may be nested `depthMax` deep. No recursion.
    package static func validate(_ bytes: UnsafeRawBufferPointer, depthMax: Int = 512) -> JSONFault? {
        guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
            return JSONFault(offset: 0, reason: "The text is empty.")
        }
        let depthMax = max(depthMax, 0)
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: depthMax + 1) { stack in
            var walk = JSONWalk(base: base, end: bytes.count)
            return walk.run(stack, depthMax)
        }
    }
}

/// The walk over one text: a cursor, and the closing brackets that are due, kept on a stack of bytes.
private struct JSONWalk {
    let base: UnsafePointer<UInt8>
    let end: Int
    var at = 0
    var reason: StaticString = ""

    init(base: UnsafePointer<UInt8>, end: Int) {
        self.base = base
        self.end = end
    }

    /// Where a value starts, what comes behind one, until the stack is empty.
    mutating func run(_ stack: UnsafeMutableBufferPointer<UInt8>, _ depthMax: Int) -> JSONFault? {
        var depth = 0
        while true {
            // a value is due at `at`
            skipSpace()
            guard at < end else { return fault("The text ends where a value is due.") }
            let byte = base[at]
            if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                guard depth < depthMax else { return fault("Arrays and objects are nested too deeply.") }
                stack[depth] = byte &+ 2  // "]" is "[" + 2, "}" is "{" + 2
                depth &+= 1
                at &+= 1
                skipSpace()
                guard at < end, base[at] == byte &+ 2 else {
                    if byte == UInt8(ascii: "{"), !name() { return fault(reason) }
                    continue
                }
                depth &-= 1
                at &+= 1
            } else if !scalar(byte) {
                return fault(reason)
            }
            // behind a value: close what is closed, then a comma brings the next
            while true {
                skipSpace()
                if depth == 0 {
                    return at == end ? nil : fault("There is text behind the JSON value.")
                }
                guard at < end else { return fault("The text ends inside an array or object.") }
                let due = stack[depth &- 1]
                if base[at] == UInt8(ascii: ",") {
                    at &+= 1
                    if due == UInt8(ascii: "}") {
                        skipSpace()
                        if !name() { return fault(reason) }
                    }
                    break
                }
                guard base[at] == due else {
                    return fault(
                        due == UInt8(ascii: "}")
                            ? "Behind a member of an object must be a comma or a closing brace."
                            : "Behind an element of an array must be a comma or a closing bracket.")
                }
                depth &-= 1
                at &+= 1
            }
        }
    }

    private func fault(_ reason: StaticString) -> JSONFault { JSONFault(offset: at, reason: reason) }

    private mutating func fail(_ why: StaticString) -> Bool {
        reason = why
        return false
    }

    @inline(__always)
    private mutating func skipSpace() {
        while at < end {
            let byte = base[at]
            guard byte <= 0x20, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            at &+= 1
        }
    }

    /// A member's name and the colon behind it.
    @inline(__always)
    private mutating func name() -> Bool {
        guard at < end, base[at] == UInt8(ascii: "\"") else {
            return fail("A member's name must be a string.")
        }
        guard string() else { return false }
        skipSpace()
        guard at < end, base[at] == UInt8(ascii: ":") else {
            return fail("Behind a member's name must be a colon.")
        }
        at &+= 1
        return true
    }

    @inline(__always)
    private mutating func scalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""): string()
        case UInt8(ascii: "-"), 0x30...0x39: number()
        case UInt8(ascii: "t"): literal("true")
        case UInt8(ascii: "f"): literal("false")
        case UInt8(ascii: "n"): literal("null")
        default: fail("A value must be an object, an array, a string, a number, true, false or null.")
        }
    }

    private mutating func literal(_ text: StaticString) -> Bool {
        for expected in 0..<text.utf8CodeUnitCount {
            guard at < end, base[at] == text.utf8Start[expected] else {
                return fail("A word other than true, false and null must be a string.")
            }
            at &+= 1
        }
        return true
    }

    /// RFC 8259 §7; `at` is at the opening quotation mark.
    private mutating func string() -> Bool {
        at &+= 1
        while at < end {
            while end &- at >= 8 {
                let word = Word.load(base + at)
                let special = Word.below(word, 0x20) | Word.holds(word, 0x22) | Word.holds(word, 0x5C)
                if (special | word) & Word.highBits != 0 { break }
                at &+= 8
            }
            guard at < end else { break }
            let byte = base[at]
            if byte >= 0x80 {
                let length = UTF8Sequence.length(base, at, end)
                guard length > 0 else { return fail("A string must be well-formed UTF-8.") }
                at &+= length
            } else if byte == UInt8(ascii: "\"") {
                at &+= 1
                return true
            } else if byte == UInt8(ascii: "\\") {
                guard escape() else { return false }
            } else if byte < 0x20 {
                return fail("A control character in a string must be escaped.")
            } else {
                at &+= 1
            }
        }
        return fail("The text ends inside a string.")
    }

    private mutating func escape() -> Bool {
        at &+= 1
        guard at < end else { return fail("The text ends inside a string.") }
        switch base[at] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            at &+= 1
            return true
        case UInt8(ascii: "u"):
            at &+= 1
            for _ in 0..<4 {
                guard at < end else { return fail("The text ends inside a string.") }
                guard hexValue(base[at]) != nil else {
                    return fail("Behind \\u must be four hexadecimal digits.")
                }
                at &+= 1
            }
            return true
        default:
            return fail("Behind a backslash must be one of \" \\ / b f n r t u.")
        }
    }

    /// RFC 8259 §6: no plus in front, no zeros in front, digits on both sides of the point.
    private mutating func number() -> Bool {
        if base[at] == UInt8(ascii: "-") { at &+= 1 }
        if at < end, base[at] == 0x30 {
            at &+= 1
        } else {
            guard digits() else { return fail("A number must have a digit here.") }
        }
        if at < end, base[at] == UInt8(ascii: ".") {
            at &+= 1
            guard digits() else { return fail("A number must have a digit behind its point.") }
        }
        if at < end, base[at] | 0x20 == UInt8(ascii: "e") {
            at &+= 1
            if at < end, base[at] == UInt8(ascii: "+") || base[at] == UInt8(ascii: "-") { at &+= 1 }
            guard digits() else { return fail("A number must have a digit in its exponent.") }
        }
        return true
    }

    @inline(__always)
    private mutating func digits() -> Bool {
        let start = at
        while at < end, base[at] &- 0x30 < 10 { at &+= 1 }
        return at > start
    }
}
