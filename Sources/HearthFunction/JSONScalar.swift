/// A Swift value that is one JSON value without parts: how it is read and written.
protocol JSONScalar {
    /// nil: the node is of another kind. Throws a sentence when it is of the right kind and does not fit.
    static func read(_ node: JSONDocument.Node, of document: JSONDocument) throws(Misfit) -> Self?
    /// Throws a sentence when JSON has no such value.
    func write(to out: inout [UInt8]) throws(Misfit)
}

/// Why a value and its text do not fit.
struct Misfit: Error {
    let sentence: String
}

extension Bool: JSONScalar {
    static func read(_ node: JSONDocument.Node, of document: JSONDocument) -> Bool? {
        node.kind == .yes ? true : node.kind == .no ? false : nil
    }

    func write(to out: inout [UInt8]) { out.append(contentsOf: (self ? "true" : "false").utf8) }
}

extension String: JSONScalar {
    static func read(_ node: JSONDocument.Node, of document: JSONDocument) -> String? {
        node.kind == .string ? document.string(node) : nil
    }

    func write(to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        var text = self
        text.withUTF8 { bytes in
            // From one byte that must be escaped to the next.
            var start = 0
            for (at, byte) in bytes.enumerated() where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                out.append(contentsOf: bytes[start..<at])
                out.append(contentsOf: Self.escape(byte).utf8)
                start = at + 1
            }
            out.append(contentsOf: bytes[start...])
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func escape(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\""): #"\""#
        case UInt8(ascii: "\\"): #"\\"#
        case 8: #"\b"#
        case 9: #"\t"#
        case 10: #"\n"#
        case 12: #"\f"#
        case 13: #"\r"#
        default: (byte < 16 ? #"\u000"# : #"\u00"#) + String(byte, radix: 16)
        }
    }
}

extension JSONScalar where Self: FixedWidthInteger {
    static func read(_ node: JSONDocument.Node, of document: JSONDocument) throws(Misfit) -> Self? {
        guard node.kind == .number else { return nil }
        guard let value = document.wholeNumber(node).flatMap(Self.init(exactly:)) else {
            throw Misfit(sentence: "the number \(document.text(node)) does not fit in \(Self.self)")
        }
        return value
    }

    func write(to out: inout [UInt8]) { out.append(contentsOf: description.utf8) }
}

extension JSONDocument {
    /// The value of a number that is whole, even if it is not written so (`1.0`, `1e3`); nil beyond 128 bits.
    ///
    /// (For all integer types, because the compiler takes its time with each copy of a generic function.)
    fileprivate func wholeNumber(_ node: Node) -> Int128? {
        var text = bytes[Int(node.start)..<Int(node.end)]
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative { text.removeFirst() }
        guard var power = takeExponent(from: &text) else { return nil }
        // Counted below zero, where there is one number more.
        var value: Int128 = 0
        func append(_ digit: UInt8) -> Bool {
            let (tens, overflows) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowsToo) = tens.subtractingReportingOverflow(Int128(digit - UInt8(ascii: "0")))
            value = sum
            return !overflows && !overflowsToo
        }
        for digit in text where !append(digit) { return nil }
        while power > 0, value != 0 {
            guard append(UInt8(ascii: "0")) else { return nil }
            power -= 1
        }
        guard isNegative || value > .min else { return nil }
        return isNegative ? value : -value
    }

    /// Reduces `12.50e1` to `125` and the power of ten that these digits are to be multiplied with, not below zero; nil when
    /// there is a fraction.
    private func takeExponent(from text: inout ArraySlice<UInt8>) -> Int? {
        var power = 0
        if let e = text.firstIndex(where: { $0 | 0x20 == UInt8(ascii: "e") }) {
            // More digits than an Int holds: only zero is still a whole number.
            power = Int(String(decoding: text[(e + 1)...], as: UTF8.self)) ?? (text[e + 1] == UInt8(ascii: "-") ? .min / 2 : .max / 2)
            text = text[..<e]
        }
        if let point = text.firstIndex(of: UInt8(ascii: ".")) {
            power -= text.endIndex - (point + 1)
            text.remove(at: point)
        }
        while power < 0, text.count > 1, text.last == UInt8(ascii: "0") {
            text.removeLast()
            power += 1
        }
        if text.allSatisfy({ $0 == UInt8(ascii: "0") }) { power = 0 }
        return power < 0 ? nil : power
    }

    fileprivate func text(_ node: Node) -> String { String(decoding: bytes[Int(node.start)..<Int(node.end)], as: UTF8.self) }
}

extension Int: JSONScalar {}
extension Int8: JSONScalar {}
extension Int16: JSONScalar {}
extension Int32: JSONScalar {}
extension Int64: JSONScalar {}
extension UInt: JSONScalar {}
extension UInt8: JSONScalar {}
extension UInt16: JSONScalar {}
extension UInt32: JSONScalar {}
extension UInt64: JSONScalar {}

extension JSONScalar where Self: BinaryFloatingPoint & LosslessStringConvertible {
    static func read(_ node: JSONDocument.Node, of document: JSONDocument) throws(Misfit) -> Self? {
        guard node.kind == .number else { return nil }
        let text = document.text(node)
        guard let value = Self(text), value.isFinite else {
            throw Misfit(sentence: "the number \(text) does not fit in \(Self.self)")
        }
        return value
    }

    func write(to out: inout [UInt8]) throws(Misfit) {
        guard isFinite else { throw Misfit(sentence: "\(self) is not a JSON number") }
        // The shortest text that reads as the same number; whole numbers without ".0", as JavaScript writes them.
        let text = description
        out.append(contentsOf: (text.hasSuffix(".0") ? text.dropLast(2) : text[...]).utf8)
    }
}

extension Double: JSONScalar {}
extension Float: JSONScalar {}
