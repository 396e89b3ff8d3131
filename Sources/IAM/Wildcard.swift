/// A text in which `*` stands for any characters and `?` for one, made ready to be compared.
///
/// Policy variables (`${aws:username}`; IAM User Guide, "IAM policy elements: Variables and tags") are filled in from the request's
/// context: what they stand for is taken literally, and a pattern with one that the request does not have fits nothing.
package struct Wildcard: Sendable, Hashable {
    private enum Part: Sendable, Hashable {
        case byte(UInt8)
        case any
        case one
        case variable(name: String, default: String?)
    }

    private let parts: [Part]
    private let ignoresCase: Bool
    /// As it was written.
    package let text: String

    /// - Parameters:
    ///   - ignoresCase: letters of ASCII in either case are the same.
    ///   - hasVariables: `${…}` is a variable (policies of version 2012-10-17), else these are characters like others.
    package init(_ text: String, ignoresCase: Bool = false, hasVariables: Bool = false) {
        self.text = text
        self.ignoresCase = ignoresCase
        parts = Self.parts(text, ignoresCase, hasVariables)
    }

    /// A text that stands for itself.
    init(literal text: String, ignoresCase: Bool = false, hasVariables: Bool = false) {
        self.text = text
        self.ignoresCase = ignoresCase
        parts = Self.parts(text, ignoresCase, hasVariables).map { part in
            switch part {
            case .any: .byte(UInt8(ascii: "*"))
            case .one: .byte(UInt8(ascii: "?"))
            default: part
            }
        }
    }

    var isEverything: Bool { parts == [.any] }

    private static func parts(_ text: String, _ ignoresCase: Bool, _ hasVariables: Bool) -> [Part] {
        var parts: [Part] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if hasVariables, byte == UInt8(ascii: "$"), let (part, after) = variable(rest) {
                parts.append(part)
                rest = after
                continue
            }
            rest.removeFirst()
            switch byte {
            case UInt8(ascii: "*"): parts.append(.any)
            case UInt8(ascii: "?"): parts.append(.one)
            default: parts.append(.byte(ignoresCase ? lower(byte) : byte))
            }
        }
        return parts
    }

    /// `${name}`, `${name, 'default'}`, or `${*}`, `${?}`, `${$}` for the character itself.
    private static func variable(_ text: ArraySlice<UInt8>) -> (Part, ArraySlice<UInt8>)? {
        guard text.dropFirst().first == UInt8(ascii: "{"), let end = text.firstIndex(of: UInt8(ascii: "}")) else { return nil }
        let inside = text[(text.startIndex + 2)..<end]
        let after = text[(end + 1)...]
        if inside.count == 1, let byte = inside.first, "*?$".utf8.contains(byte) { return (.byte(byte), after) }
        let halves = String(decoding: inside, as: UTF8.self).split(separator: ",", maxSplits: 1)
        guard let name = halves.first else { return nil }
        var fallback: String?
        if halves.count == 2 { fallback = String(halves[1].drop { $0 == " " }.filter { $0 != "'" }) }
        return (.variable(name: name.lowercased(), default: fallback), after)
    }

    /// - Parameter context: the request's condition keys, in lower case, for variables.
    package func matches(_ text: String, _ context: [String: String] = [:]) -> Bool {
        if isEverything { return true }
        guard let pattern = filled(context) else { return false }
        return Self.matches(Array(text.utf8), pattern, ignoresCase)
    }

    /// The pattern without variables; nil: the request lacks one.
    private func filled(_ context: [String: String]) -> [Part]? {
        var filled: [Part] = []
        filled.reserveCapacity(parts.count)
        for part in parts {
            guard case .variable(let name, let fallback) = part else {
                filled.append(part)
                continue
            }
            guard let value = context[name] ?? fallback else { return nil }
            filled += value.utf8.map { .byte(ignoresCase ? Self.lower($0) : $0) }
        }
        return filled
    }

    private static func matches(_ text: [UInt8], _ pattern: [Part], _ ignoresCase: Bool) -> Bool {
        var at = 0, of = 0, star = -1, mark = 0
        while at < text.count {
            if of < pattern.count, pattern[of] == .any {
                (star, mark) = (of, at)
                of += 1
            } else if of < pattern.count, pattern[of] == .one {
                at = afterCharacter(text, at)
                of += 1
            } else if of < pattern.count, pattern[of] == .byte(ignoresCase ? lower(text[at]) : text[at]) {
                at += 1
                of += 1
            } else if star >= 0 {
                mark += 1
                (of, at) = (star + 1, mark)
            } else {
                return false
            }
        }
        return pattern[of...].allSatisfy { $0 == .any }
    }

    /// A character of UTF-8 is one byte and the bytes that go on from it (0x80 to 0xBF).
    private static func afterCharacter(_ text: [UInt8], _ at: Int) -> Int {
        var end = at + 1
        while end < text.count, text[end] & 0xC0 == 0x80 { end += 1 }
        return end
    }

    private static func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 0x20 : byte }
}
