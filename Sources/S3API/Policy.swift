internal import Foundation

/// A bucket policy (Amazon S3 User Guide, "Bucket policies"; IAM User Guide, "Policy evaluation logic").
///
/// It is read strictly, so that nothing in it that Hearth does not understand can be taken for a permission.
struct Policy: Sendable {
    enum Verdict: Sendable { case allowed, denied, silent }

    /// What is asked for.
    struct Question {
        let action: String
        /// `arn:aws:s3:::bucket/key`
        let resource: String
        let account: S3Account?
        /// Condition keys in lower case.
        let context: [String: String]
    }

    private struct Statement {
        let allows: Bool
        /// nil: everybody.
        let principals: [String]?
        let isNotPrincipal: Bool
        let actions: [String]
        let isNotAction: Bool
        let resources: [String]
        let isNotResource: Bool
        let conditions: [Condition]
    }

    private struct Condition {
        let name: String
        let key: String
        let values: [String]
    }

    private static let operators: Set<String> = [
        "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike", "ArnEquals",
        "ArnNotEquals", "ArnLike", "ArnNotLike", "Bool", "Null", "IpAddress", "NotIpAddress", "NumericEquals", "NumericNotEquals",
        "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
    ]

    private let statements: [Statement]

    /// Throws MalformedPolicy, with what is wrong.
    init(_ json: [UInt8], bucket: String) throws(S3Fault) {
        guard case .object(let root)? = try? JSONDecoder().decode(JSONValue.self, from: Data(json)) else {
            throw Self.malformed("Policies must be valid JSON and the first byte must be '{'")
        }
        if let version = root["Version"]?.text, version != "2012-10-17", version != "2008-10-17" {
            throw Self.malformed("The policy must contain a valid version string")
        }
        guard let list = root["Statement"]?.list, !list.isEmpty else { throw Self.malformed("Missing required field Statement") }
        var statements: [Statement] = []
        for item in list { statements.append(try Self.statement(item, bucket)) }
        self.statements = statements
    }

    private static func malformed(_ message: String) -> S3Fault { S3Fault(400, "MalformedPolicy", message) }

    private static func statement(_ value: JSONValue, _ bucket: String) throws(S3Fault) -> Statement {
        guard case .object(let fields) = value, let effect = fields["Effect"]?.text, effect == "Allow" || effect == "Deny" else {
            throw malformed("Invalid effect")
        }
        guard let actions = (fields["Action"] ?? fields["NotAction"])?.texts, !actions.isEmpty else {
            throw malformed("Missing required field Action")
        }
        guard let resources = (fields["Resource"] ?? fields["NotResource"])?.texts, !resources.isEmpty else {
            throw malformed("Missing required field Resource")
        }
        let arn = "arn:aws:s3:::\(bucket)"
        for resource in resources where !(resource == "*" || resource == arn || resource.hasPrefix(arn + "/") || resource.hasPrefix("arn:aws:s3:::*")) {
            throw malformed("Policy has invalid resource")
        }
        guard let principal = fields["Principal"] ?? fields["NotPrincipal"] else { throw malformed("Missing required field Principal") }
        return Statement(
            allows: effect == "Allow", principals: try principals(principal), isNotPrincipal: fields["Principal"] == nil, actions: actions,
            isNotAction: fields["Action"] == nil, resources: resources, isNotResource: fields["Resource"] == nil,
            conditions: try conditions(fields["Condition"]))
    }

    /// nil: everybody.
    private static func principals(_ value: JSONValue) throws(S3Fault) -> [String]? {
        if value.text == "*" { return nil }
        guard case .object(let kinds) = value else { throw malformed("Invalid principal in policy") }
        var names: [String] = []
        for (_, list) in kinds {
            guard let texts = list.texts else { throw malformed("Invalid principal in policy") }
            names += texts
        }
        return names.contains("*") ? nil : names
    }

    private static func conditions(_ value: JSONValue?) throws(S3Fault) -> [Condition] {
        guard let value else { return [] }
        guard case .object(let operators) = value else { throw malformed("Invalid condition") }
        var conditions: [Condition] = []
        for (name, keys) in operators {
            guard case .object(let keys) = keys, Self.operators.contains(name.hasSuffix("IfExists") ? String(name.dropLast(8)) : name) else {
                throw malformed("Invalid Condition type : \(name)")
            }
            for (key, values) in keys {
                guard let values = values.texts else { throw malformed("Invalid condition value") }
                conditions.append(Condition(name: name, key: key.lowercased(), values: values))
            }
        }
        return conditions
    }

    func verdict(_ question: Question) -> Verdict {
        var verdict = Verdict.silent
        for statement in statements where Self.applies(statement, question) {
            guard statement.allows else { return .denied }
            verdict = .allowed
        }
        return verdict
    }

    private static func applies(_ statement: Statement, _ question: Question) -> Bool {
        let isNamed = statement.principals.map { names in
            guard let account = question.account else { return false }
            return names.contains { $0 == account.id || $0.hasPrefix("arn:aws:iam::\(account.id):") }
        } ?? true
        guard isNamed != statement.isNotPrincipal else { return false }
        guard statement.actions.contains(where: { matches(question.action.lowercased(), $0.lowercased()) }) != statement.isNotAction else {
            return false
        }
        guard statement.resources.contains(where: { matches(question.resource, $0) }) != statement.isNotResource else { return false }
        return statement.conditions.allSatisfy { holds($0, question.context) }
    }

    private static func holds(_ condition: Condition, _ context: [String: String]) -> Bool {
        var name = condition.name
        let value = context[condition.key]
        if name == "Null" { return condition.values.contains(value == nil ? "true" : "false") }
        if name.hasSuffix("IfExists") {
            guard value != nil else { return true }
            name = String(name.dropLast(8))
        }
        let isNegated = name.hasPrefix("Not") || name.contains("Not")
        guard let value else { return isNegated }
        let found = condition.values.contains { wanted in
            switch name {
            case "StringEquals", "StringNotEquals": value == wanted
            case "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "Bool": value.lowercased() == wanted.lowercased()
            case "IpAddress", "NotIpAddress": isAddress(value, within: wanted)
            case "NumericEquals", "NumericNotEquals": Double(value) == Double(wanted)
            case "NumericLessThan": compare(value, wanted) { $0 < $1 }
            case "NumericLessThanEquals": compare(value, wanted) { $0 <= $1 }
            case "NumericGreaterThan": compare(value, wanted) { $0 > $1 }
            case "NumericGreaterThanEquals": compare(value, wanted) { $0 >= $1 }
            default: matches(value, wanted)
            }
        }
        return found != isNegated
    }

    private static func compare(_ a: String, _ b: String, _ holds: (Double, Double) -> Bool) -> Bool {
        guard let a = Double(a), let b = Double(b) else { return false }
        return holds(a, b)
    }

    /// IPv4 only; an address of the other family is in no range.
    private static func isAddress(_ text: String, within range: String) -> Bool {
        func number(_ text: Substring) -> UInt32? {
            let parts = text.split(separator: ".").map { UInt8($0) }
            guard parts.count == 4 else { return nil }
            var value: UInt32 = 0
            for part in parts {
                guard let part else { return nil }
                value = value << 8 | UInt32(part)
            }
            return value
        }
        let halves = range.split(separator: "/")
        guard let address = number(text[...]), let first = halves.first.flatMap({ number($0) }) else { return false }
        let bits = halves.count > 1 ? UInt32(halves[1]) ?? 33 : 32
        guard bits <= 32 else { return false }
        let mask: UInt32 = bits == 0 ? 0 : ~0 << (32 - bits)
        return address & mask == first & mask
    }

    /// `*` stands for any characters, `?` for one.
    static func matches(_ text: String, _ pattern: String) -> Bool {
        let text = Array(text.utf8), pattern = Array(pattern.utf8)
        var at = 0, of = 0, star = -1, mark = 0
        while at < text.count {
            if of < pattern.count, pattern[of] == UInt8(ascii: "*") {
                (star, mark) = (of, at)
                of += 1
            } else if of < pattern.count, pattern[of] == UInt8(ascii: "?") || pattern[of] == text[at] {
                at += 1
                of += 1
            } else if star >= 0 {
                mark += 1
                (of, at) = (star + 1, mark)
            } else {
                return false
            }
        }
        return pattern[of...].allSatisfy { $0 == UInt8(ascii: "*") }
    }

    /// Whether somebody of whom nothing is known may do something ("The meaning of public").
    var isPublic: Bool {
        let narrowing: Set<String> = [
            "aws:sourceip", "aws:sourcearn", "aws:sourceaccount", "aws:sourcevpc", "aws:sourcevpce", "aws:principalorgid", "aws:userid",
            "aws:principalarn", "s3:dataaccesspointarn",
        ]
        return statements.contains { statement in
            guard statement.allows, statement.principals == nil, !statement.isNotPrincipal else { return false }
            return !statement.conditions.contains { condition in
                narrowing.contains(condition.key) && !condition.values.contains { $0 == "*" || $0.hasSuffix("/0") }
            }
        }
    }
}

/// Any JSON.
enum JSONValue: Decodable {
    case object([String: JSONValue])
    case array([JSONValue])
    case string(String)
    case other(String)

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode([String: JSONValue].self) { self = .object(value) }
        else if let value = try? container.decode([JSONValue].self) { self = .array(value) }
        else if let value = try? container.decode(String.self) { self = .string(value) }
        else if let value = try? container.decode(Bool.self) { self = .other(value ? "true" : "false") }
        else if let value = try? container.decode(Int64.self) { self = .other(String(value)) }
        else if let value = try? container.decode(Double.self) { self = .other(String(value)) }
        else { self = .other("null") }
    }

    var text: String? {
        switch self {
        case .string(let text), .other(let text): text
        default: nil
        }
    }

    /// One thing counts as a list of one.
    var list: [JSONValue] {
        if case .array(let values) = self { return values }
        return [self]
    }

    /// nil when something in it is no text.
    var texts: [String]? {
        let texts = list.compactMap(\.text)
        return texts.count == list.count ? texts : nil
    }
}
