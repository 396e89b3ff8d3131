internal import Config

/// Which function, and which of its versions, a path names: a name, a partial ARN or a whole one, each with an optional
/// qualifier, which may come in the query too.
///
/// AWS judges the syntax of both first, then whether they agree, then region and account, and only then whether the
/// function exists (recorded).
struct FunctionReference: Sendable {
    /// The two forms of names in the API's model.
    enum Form {
        /// Operations that read, delete and invoke.
        case namespaced
        /// All others.
        case plain

        var lengthMax: Int { self == .namespaced ? 256 : 140 }

        var pattern: String {
            let head =
                #"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"#
            return self == .namespaced
                ? head + #"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"#
                : head + #"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"#
        }
    }

    let name: String
    let qualifier: String?

    /// The function itself.
    init(name: String) {
        self.name = name
        qualifier = nil
    }

    init(
        _ text: String, queryQualifier: String?, form: Form = .plain, region: String, accountID: String
    ) throws(LambdaFault) {
        let parts = Parts(text, form)
        var violations: [Violation] = []
        if let queryQualifier { violations += Self.violations(ofQualifier: queryQualifier) }
        if text.utf8.count > form.lengthMax {
            violations.append(Violation(text, at: "functionName", .lengthMax(form.lengthMax)))
        }
        if parts == nil { violations.append(Violation(text, at: "functionName", .pattern(form.pattern))) }
        guard let parts, violations.isEmpty else { throw .validation(violations) }
        if let queryQualifier, let own = parts.qualifier, own != queryQualifier {
            throw .invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
        }
        if let other = parts.region, other != region {
            throw .notFound("Functions from '\(other)' are not reachable in this region ('\(region)')")
        }
        if let other = parts.accountID, other != accountID { throw .accessDenied }
        name = parts.name
        qualifier = queryQualifier ?? parts.qualifier
    }

    private static func violations(ofQualifier text: String) -> [Violation] {
        if text.utf8.count > 128 { return [Violation(text, at: "qualifier", .lengthMax(128))] }
        let isFine = !text.isEmpty && text.utf8.allSatisfy { isNameByte($0) || $0 == UInt8(ascii: "$") }
        if isFine || text == "$LATEST.PUBLISHED" { return [] }
        return [Violation(text, at: "qualifier", .pattern(#"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"#))]
    }

    /// A text that fits the pattern, taken apart.
    private struct Parts {
        var region: String?
        var accountID: String?
        let name: String
        let qualifier: String?

        init?(_ text: String, _ form: Form) {
            var rest = text.split(separator: ":", omittingEmptySubsequences: false)[...]
            // Each optional part is taken only when something follows it: a function may be called "function".
            if rest.count > 3, rest[0] == "arn", rest[2] == "lambda" {
                guard rest[1].isEmpty || (rest[1].hasPrefix("aws") && rest[1].dropFirst(3).utf8.allSatisfy(Self.isLetterOrDash)) else {
                    return nil
                }
                rest = rest.dropFirst(3)
            }
            if rest.count > 1, let first = rest.first, Self.isRegion(first) { region = String(rest.removeFirst()) }
            if rest.count > 1, let first = rest.first, first.utf8.count == 12, first.utf8.allSatisfy(isDigit) {
                accountID = String(rest.removeFirst())
            }
            if rest.count > 1, rest.first == "function" { rest.removeFirst() }
            guard (1...2).contains(rest.count), let name = rest.first else { return nil }
            guard !name.isEmpty, name.utf8.allSatisfy({ isNameByte($0) || ($0 == UInt8(ascii: ".") && form == .namespaced) }) else {
                return nil
            }
            self.name = String(name)
            qualifier = rest.count == 2 ? rest.last.map(String.init) : nil
            guard let qualifier else { return }
            let isSpecial = qualifier == "$LATEST" || (qualifier == "$LATEST.PUBLISHED" && form == .namespaced)
            guard isSpecial || (!qualifier.isEmpty && qualifier.utf8.allSatisfy(isNameByte)) else { return nil }
        }

        private static func isLetterOrDash(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: "-") || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
        }

        /// `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`.
        private static func isRegion(_ text: Substring) -> Bool {
            var parts = text.split(separator: "-", omittingEmptySubsequences: false)
            func isLower(_ part: Substring) -> Bool { !part.isEmpty && part.utf8.allSatisfy { $0 >= 97 && $0 <= 122 } }
            if parts.first == "eusc" { parts.removeFirst() }
            guard let land = parts.first, land.utf8.count == 2, isLower(land) else { return false }
            parts.removeFirst()
            if parts.count == 3, let kind = parts.first, kind == "gov" || (kind.hasPrefix("iso") && kind.utf8.count <= 4 && isLower(kind)) {
                parts.removeFirst()
            }
            return parts.count == 2 && isLower(parts[0]) && parts[1].utf8.count == 1 && parts[1].utf8.allSatisfy(isDigit)
        }
    }
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

private func isNameByte(_ byte: UInt8) -> Bool {
    let letter = byte | 0x20
    return (letter >= UInt8(ascii: "a") && letter <= UInt8(ascii: "z")) || isDigit(byte) || byte == UInt8(ascii: "-")
        || byte == UInt8(ascii: "_")
}
