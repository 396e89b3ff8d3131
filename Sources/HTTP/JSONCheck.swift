/// What is wrong with a JSON text, and where.
package struct JSONFault: Error, Equatable {
    package let offset: Int
    package let reason: StaticString

    package static func == (a: JSONFault, b: JSONFault) -> Bool {
        a.offset == b.offset && a.reason.description == b.reason.description
    }
}

/// Checks that bytes are one JSON text (RFC 8259) in valid UTF-8, without building anything and without recursion.
package enum JSONCheck {
    /// - Parameter depthMax: how deep arrays and objects may nest (a parser that recurses is behind us).
    /// - Returns: the first fault, or nil.
    package static func validate(_ bytes: UnsafeRawBufferPointer, depthMax: Int = 512) -> JSONFault? {
        var checker = Checker(bytes: bytes, depthMax: depthMax)
        do throws(JSONFault) {
            try checker.run()
            return nil
        } catch {
            return error
        }
    }

    private struct Checker {
        let bytes: UnsafeRawBufferPointer
        let depthMax: Int
        var at = 0
        /// One bit a level: set for an object.
        var kinds: [Bool] = []

        func fault(_ reason: StaticString) -> JSONFault { JSONFault(offset: at, reason: reason) }

        mutating func skipSpace() {
            while at < bytes.count, bytes[at] == 32 || bytes[at] == 10 || bytes[at] == 13 || bytes[at] == 9 { at += 1 }
        }

        mutating func run() throws(JSONFault) {
            skipSpace()
            while true {
                // A value is expected here.
                guard at < bytes.count else { throw fault("the text ends where a value should be") }
                switch bytes[at] {
                case UInt8(ascii: "{"):
                    try open(object: true)
                    skipSpace()
                    if at < bytes.count, bytes[at] == UInt8(ascii: "}") { break }
                    try key()
                    continue
                case UInt8(ascii: "["):
                    try open(object: false)
                    skipSpace()
                    if at < bytes.count, bytes[at] == UInt8(ascii: "]") { break }
                    continue
                default: try scalar()
                }
                // A value (or nothing, in an empty container) has ended: what follows?
                if try afterValue() { return }
            }
        }

        mutating func open(object: Bool) throws(JSONFault) {
            guard kinds.count < depthMax else { throw fault("the text nests too deep") }
            kinds.append(object)
            at += 1
        }

        /// True at the end of the text; else a value is next.
        mutating func afterValue() throws(JSONFault) -> Bool {
            while true {
                skipSpace()
                guard let isObject = kinds.last else {
                    guard at == bytes.count else { throw fault("something follows the value") }
                    return true
                }
                guard at < bytes.count else { throw fault("the text ends inside an array or object") }
                switch bytes[at] {
                case UInt8(ascii: ","):
                    at += 1
                    skipSpace()
                    if isObject { try key() }
                    return false
                case UInt8(ascii: "}") where isObject, UInt8(ascii: "]") where !isObject:
                    at += 1
                    kinds.removeLast()
                default: throw fault("a comma or the end of the array or object should be here")
                }
            }
        }

        mutating func key() throws(JSONFault) {
            guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw fault("a name in quotes should be here") }
            try string()
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: ":") else { throw fault("a colon should be here") }
            at += 1
            skipSpace()
        }

        mutating func scalar() throws(JSONFault) {
            switch bytes[at] {
            case UInt8(ascii: "\""): try string()
            case UInt8(ascii: "t"): try word("true")
            case UInt8(ascii: "f"): try word("false")
            case UInt8(ascii: "n"): try word("null")
            default: try number()
            }
        }

        mutating func word(_ text: StaticString) throws(JSONFault) {
            guard bytes.count - at >= text.utf8CodeUnitCount else { throw fault("a value should be here") }
            for i in 0..<text.utf8CodeUnitCount where bytes[at + i] != text.utf8Start[i] {
                throw fault("a value should be here")
            }
            at += text.utf8CodeUnitCount
        }

        mutating func digits() -> Int {
            let start = at
            while at < bytes.count, bytes[at] >= 48, bytes[at] <= 57 { at += 1 }
            return at - start
        }

        mutating func number() throws(JSONFault) {
            let start = at
            if bytes[at] == UInt8(ascii: "-") { at += 1 }
            let first = at < bytes.count ? bytes[at] : 0
            let count = digits()
            guard count > 0 else {
                at = start
                throw fault("a value should be here")
            }
            guard count == 1 || first != 48 else { throw fault("a number begins with zero") }
            if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
                at += 1
                guard digits() > 0 else { throw fault("a digit should follow the point") }
            }
            if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
                at += 1
                if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
                guard digits() > 0 else { throw fault("a digit should follow the exponent") }
            }
        }

        mutating func string() throws(JSONFault) {
            at += 1
            while at < bytes.count {
                let byte = bytes[at]
                if byte == UInt8(ascii: "\"") {
                    at += 1
                    return
                }
                if byte == UInt8(ascii: "\\") {
                    try escape()
                } else if byte < 32 {
                    throw fault("a control character stands in a string")
                } else if byte < 128 {
                    at += 1
                } else {
                    let length = UTF8Check.length(bytes, at)
                    guard length > 0 else { throw fault("the text is not UTF-8") }
                    at += length
                }
            }
            throw fault("a string does not end")
        }

        mutating func escape() throws(JSONFault) {
            guard at + 1 < bytes.count else { throw fault("a string does not end") }
            if bytes[at + 1] == UInt8(ascii: "u") {
                guard at + 5 < bytes.count, (2...5).allSatisfy({ hexDigit(bytes[at + $0]) != nil }) else {
                    throw fault("an escape is not four hexadecimal digits")
                }
                at += 6
                return
            }
            guard #""\/bfnrt"#.utf8.contains(bytes[at + 1]) else { throw fault("an unknown escape") }
            at += 2
        }
    }
}

/// Well-formed UTF-8 (Unicode 15, table 3-7).
package enum UTF8Check {
    /// Length of the sequence at `at` (its first byte is above 127), or 0 when it is not well formed.
    static func length(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> Int {
        func continues(_ offset: Int, _ low: UInt8 = 0x80, _ high: UInt8 = 0xBF) -> Bool {
            at + offset < bytes.count && bytes[at + offset] >= low && bytes[at + offset] <= high
        }
        switch bytes[at] {
        case 0xC2...0xDF: return continues(1) ? 2 : 0
        case 0xE0: return continues(1, 0xA0) && continues(2) ? 3 : 0
        case 0xED: return continues(1, 0x80, 0x9F) && continues(2) ? 3 : 0
        case 0xE1...0xEF: return continues(1) && continues(2) ? 3 : 0
        case 0xF0: return continues(1, 0x90) && continues(2) && continues(3) ? 4 : 0
        case 0xF1...0xF3: return continues(1) && continues(2) && continues(3) ? 4 : 0
        case 0xF4: return continues(1, 0x80, 0x8F) && continues(2) && continues(3) ? 4 : 0
        default: return 0
        }
    }

    package static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var at = 0
        while at < bytes.count {
            if bytes[at] < 128 {
                at += 1
                continue
            }
            let length = length(bytes, at)
            if length == 0 { return false }
            at += length
        }
        return true
    }
}
