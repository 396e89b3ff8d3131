internal import IAM
internal import Objects
internal import XML

/// A bucket's CORS rules (Fetch standard, "CORS protocol"; Amazon S3 User Guide, "CORS configuration").
struct CORS: Sendable {
    struct Rule: Sendable {
        let origins: [String]
        let methods: [String]
        let headers: [String]
        let exposed: [String]
        let maxAge: String?

        func allows(origin: String, method: String) -> Bool {
            methods.contains(method) && origins.contains { Wildcard($0).matches(origin) }
        }

        func allows(headers asked: [String]) -> Bool {
            asked.allSatisfy { name in headers.contains { Wildcard($0.lowercased()).matches(name.lowercased()) } }
        }
    }

    let rules: [Rule]

    init(_ root: XMLElement) throws(S3Fault) {
        let items = root.all("CORSRule")
        guard !items.isEmpty, items.count == root.children.count, items.count <= 100 else { throw .malformedXML }
        var rules: [Rule] = []
        for item in items {
            let rule = Rule(
                origins: item.all("AllowedOrigin").map(\.trimmed), methods: item.all("AllowedMethod").map(\.trimmed),
                headers: item.all("AllowedHeader").map(\.trimmed), exposed: item.all("ExposeHeader").map(\.trimmed),
                maxAge: item.text("MaxAgeSeconds"))
            guard !rule.origins.isEmpty, !rule.methods.isEmpty else { throw .malformedXML }
            for method in rule.methods where !["GET", "PUT", "HEAD", "POST", "DELETE"].contains(method) {
                throw .invalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is \(method)")
            }
            for pattern in rule.origins + rule.headers where pattern.filter({ $0 == "*" }).count > 1 {
                throw .invalidRequest("\(pattern) can not have more than one wildcard.")
            }
            rules.append(rule)
        }
        self.rules = rules
    }

    init?(stored bytes: [UInt8]) {
        guard let root = try? XMLReader.read(bytes), let cors = try? CORS(root) else { return nil }
        self = cors
    }

    /// The fields that an answer to this request gets; none when no rule allows its origin and method.
    func fields(origin: String, method: String) -> [HeaderField] {
        guard let rule = rules.first(where: { $0.allows(origin: origin, method: method) }) else { return [] }
        return fields(rule, origin)
    }

    /// The answer's fields to the question that browsers ask first; nil: it is not allowed.
    func preflight(origin: String, method: String, headers: [String]) -> [HeaderField]? {
        let fitting = rules.first { $0.allows(origin: origin, method: method) && $0.allows(headers: headers) }
        guard let rule = fitting else { return nil }
        var fields = fields(rule, origin)
        if !headers.isEmpty { fields.append(HeaderField("Access-Control-Allow-Headers", headers.joined(separator: ", "))) }
        if let maxAge = rule.maxAge { fields.append(HeaderField("Access-Control-Max-Age", maxAge)) }
        return fields
    }

    private func fields(_ rule: Rule, _ origin: String) -> [HeaderField] {
        let isAny = rule.origins.contains("*")
        var fields = [
            HeaderField("Access-Control-Allow-Origin", isAny ? "*" : origin),
            HeaderField("Access-Control-Allow-Methods", rule.methods.joined(separator: ", ")),
            HeaderField("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
        ]
        if !isAny { fields.append(HeaderField("Access-Control-Allow-Credentials", "true")) }
        if !rule.exposed.isEmpty { fields.append(HeaderField("Access-Control-Expose-Headers", rule.exposed.joined(separator: ", "))) }
        return fields
    }
}
