internal import Config

/// Which function, and which of its versions, a path names: a name, a partial ARN or a whole one, each with an optional
/// qualifier, which may come in the query too.
struct FunctionReference: Sendable {
    let name: String
    let qualifier: String?

    init(_ text: String, queryQualifier: String?, region: String, accountID: String) throws(LambdaFault) {
        var qualifier: String?
        var name = text
        if text.hasPrefix("arn:") {
            // arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 7 || parts.count == 8, parts[2] == "lambda", parts[5] == "function" else {
                throw Self.malformed(text)
            }
            guard parts[3] == region else {
                throw .notFound("Functions from '\(parts[3])' are not reachable in this region ('\(region)')")
            }
            guard parts[4] == accountID else {
                throw LambdaFault(status: 403, type: "AccessDeniedException", message: "Cross-account access is not allowed")
            }
            name = parts[6]
            if parts.count == 8 { qualifier = parts[7] }
        } else {
            // ACCOUNT:function:NAME[:QUALIFIER], function:NAME or NAME[:QUALIFIER]
            var parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            if parts.count >= 3, parts[0] == accountID, parts[1] == "function" { parts.removeFirst(2) }
            if parts.count >= 2, parts[0] == "function" { parts.removeFirst() }
            guard (1...2).contains(parts.count) else { throw Self.malformed(text) }
            name = parts[0]
            if parts.count == 2 { qualifier = parts[1] }
        }
        if let queryQualifier {
            guard Self.isQualifier(queryQualifier) else {
                throw .validation(
                    queryQualifier, at: "qualifier",
                    #"Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"#)
            }
            if let qualifier, qualifier != queryQualifier {
                throw .invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
            }
            qualifier = queryQualifier
        }
        if let qualifier { guard Self.isQualifier(qualifier) else { throw Self.malformed(text) } }
        guard Manifest.isName(name) || (name.utf8.count > 64 && Manifest.isName(String(name.prefix(64)))) else {
            throw Self.malformed(text)
        }
        self.name = name
        self.qualifier = qualifier
    }

    private static func isQualifier(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                let isLetter = (byte | 0x20) >= 97 && (byte | 0x20) <= 122
                return isLetter || (byte >= 48 && byte <= 57) || byte == 45 || byte == 95 || byte == 36
            }
    }

    private static func malformed(_ text: String) -> LambdaFault {
        .validation(
            text, at: "functionName",
            #"Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"#)
    }
}
