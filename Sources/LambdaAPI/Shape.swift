internal import Base
internal import HTTP

/// What a request's body, or a part of it, may be, in the terms of the API's model: checked before anything is read from it, so that what
/// breaks the model is refused whole, in AWS's words.
indirect enum Shape: Sendable {
    case text(TextRule = TextRule())
    case integer(ClosedRange<Int>)
    /// Only as a map's value.
    case decimal(ClosedRange<Double>)
    case flag
    case list(Shape, max: Int)
    case map(keys: TextRule, values: Shape)
    case object([Field])

    struct Field: Sendable {
        let name: String
        let shape: Shape
        let isRequired: Bool

        static func required(_ name: String, _ shape: Shape) -> Field { Field(name: name, shape: shape, isRequired: true) }
        static func optional(_ name: String, _ shape: Shape) -> Field { Field(name: name, shape: shape, isRequired: false) }
    }

    struct TextRule: Sendable {
        var length = 0...Int.max
        var pattern: Pattern?
        /// All that it may be; empty: anything.
        var choices: [String] = []
    }

    /// A regular expression as AWS shows it, and the test that stands for it here.
    struct Pattern: Sendable {
        let shown: String
        let matches: @Sendable (String) -> Bool
    }

    static func text(_ length: ClosedRange<Int>, _ pattern: Pattern? = nil) -> Shape { .text(TextRule(length: length, pattern: pattern)) }
    static func text(_ pattern: Pattern) -> Shape { .text(TextRule(pattern: pattern)) }
    static func oneOf(_ choices: String...) -> Shape { .text(TextRule(choices: choices)) }

    /// The JSON kind, as AWS's messages call it.
    fileprivate var kind: String {
        switch self {
        case .text: "a String"
        case .integer: "an Integer"
        case .decimal: "a Double"
        case .flag: "a Boolean"
        case .list: "a List"
        case .map, .object: "a Structure"
        }
    }

    /// Everything in `body` that breaks the shape, told at once; what is no JSON of this kind is told alone.
    func check(_ body: UnsafeRawBufferPointer) throws(LambdaFault) {
        guard JSONCheck.validate(body, depthMax: 64) == nil, let value = JSONValue(first: body) else { throw .notJSON }
        var check = ShapeCheck(text: body)
        try check.judge(value, self, "")
        guard check.violations.isEmpty else { throw .validation(check.violations) }
    }
}

/// One walk over a body.
private struct ShapeCheck {
    let text: UnsafeRawBufferPointer
    var violations: [Violation] = []

    init(text: UnsafeRawBufferPointer) { self.text = text }

    mutating func judge(_ value: JSONValue, _ shape: Shape, _ path: String) throws(LambdaFault) {
        switch (shape, value.kind) {
        case (.text(let rule), .string):
            let told = string(value)
            for constraint in broken(told, rule) { violations.append(Violation(told, at: path, constraint)) }
        case (.integer(let bounds), .number):
            guard let number = JSONText.integer(value.range.slice(text)) else { throw mismatch(value, shape, path) }
            if let violation = Violation(number, at: path, within: bounds) { violations.append(violation) }
        case (.flag, .bool): break
        case (.list(let element, let max), .array): try judge(list: value, of: element, max: max, path)
        case (.map(let keys, let values), .object): try judge(map: value, keys, values, path)
        case (.object(let fields), .object): try judge(object: value, fields, path)
        default: throw mismatch(value, shape, path)
        }
    }

    private mutating func judge(object: JSONValue, _ fields: [Shape.Field], _ path: String) throws(LambdaFault) {
        var given: [String: JSONValue] = [:]
        guard let members = JSONMembers(text, of: object) else { return }
        for member in members where member.value.kind != .null { given[name(member)] = member.value }
        for field in fields {
            let own = (path.isEmpty ? "" : path + ".") + field.name.prefix(1).lowercased() + field.name.dropFirst()
            if let value = given[field.name] {
                try judge(value, field.shape, own)
            } else if field.isRequired {
                violations.append(Violation(nil, at: own, .present))
            }
        }
    }

    /// The elements' violations are told of the whole list.
    private mutating func judge(list: JSONValue, of element: Shape, max: Int, _ path: String) throws(LambdaFault) {
        guard let elements = JSONElements(text, of: list) else { return }
        var shown: [String] = []
        var isBroken = false
        for value in elements {
            if case .text(let rule) = element {
                guard value.kind == .string else { throw mismatch(value, element, path) }
                let told = string(value)
                isBroken = isBroken || !broken(told, rule).isEmpty
                shown.append(told)
            } else {
                try judge(value, element, path)
                shown.append("…")
            }
        }
        let all = "[\(shown.prefix(64).joined(separator: ", "))]"
        if shown.count > max { violations.append(Violation(all, at: path, .lengthMax(max))) }
        if isBroken, case .text(let rule) = element { violations.append(Violation(all, at: path, .each(texts(of: rule)))) }
    }

    private mutating func judge(map: JSONValue, _ keys: Shape.TextRule, _ values: Shape, _ path: String) throws(LambdaFault) {
        var shown: [String] = []
        var (isKeyBroken, isValueBroken) = (false, false)
        guard let members = JSONMembers(text, of: map) else { return }
        for member in members {
            let key = name(member)
            isKeyBroken = isKeyBroken || !broken(key, keys).isEmpty
            switch (values, member.value.kind) {
            case (.decimal(let bounds), .number):
                let number = try decimal(member.value, values, path)
                isValueBroken = isValueBroken || !bounds.contains(number)
                shown.append("\(key)=\(number)")
            case (.text(let rule), .string):
                let told = string(member.value)
                isValueBroken = isValueBroken || !broken(told, rule).isEmpty
                shown.append("\(key)=\(told)")
            default: throw mismatch(member.value, values, path)
            }
        }
        let all = "{\(shown.prefix(64).joined(separator: ", "))}"
        if isKeyBroken { violations.append(Violation(all, at: path, .mapKeys(texts(of: keys)))) }
        guard isValueBroken else { return }
        switch values {
        case .decimal(let bounds):
            let limits = ["have value less than or equal to \(bounds.upperBound)", "have value greater than or equal to \(bounds.lowerBound)"]
            violations.append(Violation(all, at: path, .mapValues(limits.map { "Member must \($0)" })))
        case .text(let rule): violations.append(Violation(all, at: path, .mapValues(texts(of: rule))))
        default: break
        }
    }

    private func broken(_ told: String, _ rule: Shape.TextRule) -> [Violation.Constraint] {
        var broken: [Violation.Constraint] = []
        let length = told.unicodeScalars.count
        if length > rule.length.upperBound { broken.append(.lengthMax(rule.length.upperBound)) }
        if length < rule.length.lowerBound { broken.append(.lengthMin(rule.length.lowerBound)) }
        // What no pattern of the model would take is not shown to one.
        if let pattern = rule.pattern, length > 100_000 || !pattern.matches(told) { broken.append(.pattern(pattern.shown)) }
        if !rule.choices.isEmpty, !rule.choices.contains(told) { broken.append(.oneOf(rule.choices)) }
        return broken
    }

    /// What each member of a list or map must be, in AWS's order.
    private func texts(of rule: Shape.TextRule) -> [String] {
        var texts: [String] = []
        if rule.length.upperBound < Int.max { texts.append(Violation.Constraint.lengthMax(rule.length.upperBound).text) }
        if rule.length.lowerBound > 0 { texts.append(Violation.Constraint.lengthMin(rule.length.lowerBound).text) }
        if let pattern = rule.pattern { texts.append(Violation.Constraint.pattern(pattern.shown).text) }
        if !rule.choices.isEmpty { texts.append(Violation.Constraint.oneOf(rule.choices).text) }
        return texts
    }

    private func decimal(_ value: JSONValue, _ shape: Shape, _ path: String) throws(LambdaFault) -> Double {
        guard let number = Double(String(decoding: value.range.slice(text), as: UTF8.self)), number.isFinite else {
            throw mismatch(value, shape, path)
        }
        return number
    }

    private func string(_ value: JSONValue) -> String {
        String(decoding: JSONText.decode(value.range.slice(text)) ?? [], as: UTF8.self)
    }

    private func name(_ member: JSONMember) -> String {
        String(decoding: JSONText.decode(member.name.slice(text)) ?? [], as: UTF8.self)
    }

    private func mismatch(_ value: JSONValue, _ shape: Shape, _ path: String) -> LambdaFault {
        let given =
            switch value.kind {
            case .object: "START_OBJECT"
            case .array: "START_ARRAY"
            case .string: "STRING_VALUE"
            case .number: "NUMBER_VALUE"
            case .null: "NULL_VALUE"
            case .bool(true): "TRUE_VALUE"
            case .bool(false): "FALSE_VALUE"
            }
        let place = path.isEmpty ? "" : " at '\(path)'"
        return LambdaFault(
            status: 400, type: "SerializationException", message: "\(given)\(place) can not be converted to \(shape.kind)", hasType: false)
    }
}
