internal import Foundation

/// One line of a statement's `Condition`: an operator, a key of the request, and values of which one must fit (IAM User Guide, "IAM JSON
/// policy elements: Condition operators").
struct Condition: Sendable {
    private enum Test: Sendable {
        case text([Wildcard])
        case arn([[Wildcard]])
        case number([Double], Comparison)
        case date([Double], Comparison)
        case address([AddressRange])
        case truth([Bool])
        case absent([Bool])
    }

    private enum Comparison: String, Sendable {
        case equals = "Equals"
        case less = "LessThan"
        case lessOrEqual = "LessThanEquals"
        case greater = "GreaterThan"
        case greaterOrEqual = "GreaterThanEquals"

        func holds(_ a: Double, _ b: Double) -> Bool {
            switch self {
            case .equals: a == b
            case .less: a < b
            case .lessOrEqual: a <= b
            case .greater: a > b
            case .greaterOrEqual: a >= b
            }
        }
    }

    /// What a request without the key means: the condition does not hold, or it does.
    private enum Missing: Sendable { case fails, holds }

    private let key: String
    private let values: [String]
    private let test: Test
    private let isNegated: Bool
    private let missing: Missing

    /// All conditions of a statement; every one must hold. Throws for an operator or a value that is not known.
    static func list(_ value: PolicyJSON?, hasVariables: Bool) throws(PolicyError) -> [Condition] {
        guard let value else { return [] }
        guard case .object(let operators) = value else { throw PolicyError("Invalid condition: it must be an object") }
        var conditions: [Condition] = []
        for (name, keys) in operators {
            guard case .object(let keys) = keys else { throw PolicyError("Invalid Condition type : \(name)") }
            for (key, values) in keys {
                guard let texts = values.texts else { throw PolicyError("Invalid condition value of \(key)") }
                conditions.append(try Condition(name, key, texts, hasVariables))
            }
        }
        return conditions
    }

    private init(_ name: String, _ key: String, _ values: [String], _ hasVariables: Bool) throws(PolicyError) {
        var base = name
        var missing: Missing?
        // Here a key has one value at the most: the two sets differ in what its absence means.
        if base.hasPrefix("ForAllValues:") { (base, missing) = (String(base.dropFirst(13)), .holds) }
        else if base.hasPrefix("ForAnyValue:") { (base, missing) = (String(base.dropFirst(12)), .fails) }
        if base.hasSuffix("IfExists"), base != "NullIfExists" { (base, missing) = (String(base.dropLast(8)), .holds) }
        self.key = key.lowercased()
        self.values = values
        guard let (test, isNegated) = try Self.test(base, key, values, hasVariables) else {
            throw PolicyError("Invalid Condition type : \(name)")
        }
        self.test = test
        self.isNegated = isNegated
        self.missing = missing ?? (isNegated ? .holds : .fails)
    }

    private static func test(
        _ name: String, _ key: String, _ values: [String], _ hasVariables: Bool
    ) throws(PolicyError) -> (Test, isNegated: Bool)? {
        func patterns(ignoresCase: Bool = false) -> Test {
            .text(values.map { Wildcard($0, ignoresCase: ignoresCase, hasVariables: hasVariables) })
        }
        func literals(ignoresCase: Bool = false) -> Test {
            .text(values.map { Wildcard(literal: $0, ignoresCase: ignoresCase, hasVariables: hasVariables) })
        }
        func parsed<Value>(_ parse: (String) -> Value?) throws(PolicyError) -> [Value] {
            var all: [Value] = []
            for text in values {
                guard let value = parse(text) else { throw PolicyError("Invalid value of \(key) for \(name): \(text)") }
                all.append(value)
            }
            return all
        }
        switch name {
        case "StringEquals": return (literals(), false)
        case "StringNotEquals": return (literals(), true)
        case "StringEqualsIgnoreCase": return (literals(ignoresCase: true), false)
        case "StringNotEqualsIgnoreCase": return (literals(ignoresCase: true), true)
        case "BinaryEquals": return (literals(), false)
        case "StringLike": return (patterns(), false)
        case "StringNotLike": return (patterns(), true)
        case "ArnEquals", "ArnLike": return (.arn(try parsed { arn($0, hasVariables) }), false)
        case "ArnNotEquals", "ArnNotLike": return (.arn(try parsed { arn($0, hasVariables) }), true)
        case "Bool": return (.truth(try parsed(truth)), false)
        case "Null": return (.absent(try parsed(truth)), false)
        case "IpAddress": return (.address(try parsed { AddressRange($0) }), false)
        case "NotIpAddress": return (.address(try parsed { AddressRange($0) }), true)
        default: break
        }
        for (prefix, parse) in [("Numeric", { Double($0) }), ("Date", seconds)] as [(String, (String) -> Double?)] where name.hasPrefix(prefix) {
            let rest = name.dropFirst(prefix.count)
            guard let comparison = rest == "NotEquals" ? .equals : Comparison(rawValue: String(rest)) else { return nil }
            let limits = try parsed(parse)
            return (prefix == "Date" ? .date(limits, comparison) : .number(limits, comparison), rest == "NotEquals")
        }
        return nil
    }

    private static func truth(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true": true
        case "false": false
        default: nil
        }
    }

    /// The six parts of an ARN are compared each for itself, so that a `*` does not reach into the next.
    private static func arn(_ text: String, _ hasVariables: Bool) -> [Wildcard]? {
        if text == "*" { return [] }
        let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "arn" else { return nil }
        return parts.map { Wildcard(String($0), hasVariables: hasVariables) }
    }

    /// Since 1970: of a number, or of a time in a form of ISO 8601 that AWS names.
    private static func seconds(_ text: String) -> Double? {
        if let number = Double(text) { return number }
        var text = text
        if let dot = text.firstIndex(of: ".") {
            let end = text[dot...].dropFirst().firstIndex { !$0.isNumber } ?? text.endIndex
            text.removeSubrange(dot..<end)
        }
        if !text.contains("T") { text += "T00:00:00Z" }
        return (try? Date(text, strategy: .iso8601))?.timeIntervalSince1970
    }

    func holds(_ context: [String: String]) -> Bool {
        let value = context[key]
        if case .absent(let wanted) = test { return wanted.contains(value == nil) }
        guard let value else { return missing == .holds }
        return fits(value, context) != isNegated
    }

    private func fits(_ value: String, _ context: [String: String]) -> Bool {
        switch test {
        case .text(let patterns): return patterns.contains { $0.matches(value, context) }
        case .arn(let arns):
            let parts = value.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false).map(String.init)
            return arns.contains { arn in
                arn.isEmpty || parts.count == 6 && zip(arn, parts).allSatisfy { $0.matches($1, context) }
            }
        case .number(let limits, let comparison):
            guard let number = Double(value) else { return false }
            return limits.contains { comparison.holds(number, $0) }
        case .date(let limits, let comparison):
            guard let time = Self.seconds(value) else { return false }
            return limits.contains { comparison.holds(time, $0) }
        case .address(let ranges):
            guard let address = AddressRange.bytes(of: value) else { return false }
            return ranges.contains { $0.contains(address) }
        case .truth(let wanted): return Self.truth(value).map(wanted.contains) ?? false
        case .absent: return false
        }
    }

    private static let narrowing: Set<String> = [
        "aws:sourceip", "aws:sourcearn", "aws:sourceaccount", "aws:sourcevpc", "aws:sourcevpce", "aws:principalorgid", "aws:userid",
        "aws:principalarn", "s3:dataaccesspointarn",
    ]

    /// Does it keep a statement for everybody from being public (Amazon S3 User Guide, "The meaning of public")?
    var isNarrowing: Bool {
        Self.narrowing.contains(key) && !isNegated && !values.contains { $0 == "*" || $0.hasSuffix("/0") }
    }
}
