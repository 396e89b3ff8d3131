/// Who but its owner may use a function: the statements that AddPermission has made, and whether they permit something.
///
/// The statements only allow, and only in the forms that AddPermission can write; an engine for whole policies can take the place of
/// `permits`.
package struct ResourcePolicy: Equatable, Sendable {
    /// In the order in which they were added.
    package let statements: [PolicyStatement]
    package let revisionID: String

    package init(statements: [PolicyStatement], revisionID: String) {
        self.statements = statements
        self.revisionID = revisionID
    }

    package func permits(_ question: AccessQuestion) -> Bool { statements.contains { $0.permits(question) } }
}

/// What somebody wants to do with a function.
package struct AccessQuestion: Sendable {
    package enum Principal: Equatable, Sendable {
        /// Nobody has signed.
        case anonymous
        /// `s3.amazonaws.com`
        case service(String)
        /// An account's number.
        case account(String)
    }

    package let principal: Principal
    /// `lambda:InvokeFunction`
    package let action: String
    /// What it happens for, such as a bucket's ARN.
    package var sourceARN: String?
    package var sourceAccount: String?
    /// `NONE` or `AWS_IAM`, of requests to a function URL.
    package var urlAuthType: String?

    package init(
        _ principal: Principal, _ action: String, sourceARN: String? = nil, sourceAccount: String? = nil, urlAuthType: String? = nil
    ) {
        self.principal = principal
        self.action = action
        self.sourceARN = sourceARN
        self.sourceAccount = sourceAccount
        self.urlAuthType = urlAuthType
    }
}

/// One statement, as AddPermission was given it.
package struct PolicyStatement: Codable, Equatable, Sendable {
    package var sid: String
    /// `lambda:NAME`, `lambda:*` or `*`
    package var action: String
    /// `*`, a service, an account's number or an ARN of IAM.
    package var principal: String
    package var sourceARN: String?
    package var sourceAccount: String?
    package var eventSourceToken: String?
    package var principalOrgID: String?
    package var urlAuthType: String?
    package var isViaURL: Bool?

    package init(sid: String, action: String, principal: String) {
        self.sid = sid
        self.action = action
        self.principal = principal
    }

    func permits(_ question: AccessQuestion) -> Bool {
        guard action == "*" || action == "lambda:*" || action == question.action, means(question.principal) else { return false }
        // What a condition names and the question does not tell is not met. This node knows neither tokens nor organizations.
        guard eventSourceToken == nil, principalOrgID == nil else { return false }
        if let sourceARN {
            guard let given = question.sourceARN, Self.matches(given[...], sourceARN[...]) else { return false }
        }
        if let sourceAccount, sourceAccount != question.sourceAccount { return false }
        if let urlAuthType, urlAuthType != question.urlAuthType { return false }
        if let isViaURL, isViaURL != (question.urlAuthType != nil) { return false }
        return true
    }

    private func means(_ who: AccessQuestion.Principal) -> Bool {
        if principal == "*" { return true }
        return switch who {
        case .anonymous: false
        case .service(let name): principal == name
        case .account(let number):
            principal == number || principal.split(separator: ":", omittingEmptySubsequences: false).dropFirst(4).first == number[...]
        }
    }

    /// ArnLike: `*` is any text, `?` any character.
    static func matches(_ text: Substring, _ pattern: Substring) -> Bool {
        // Where the last star stood, and what it has taken: it takes one more each time the rest does not fit.
        var (text, pattern) = (text, pattern)
        var star: (pattern: Substring, text: Substring)?
        while let character = text.first {
            if pattern.first == "*" {
                pattern = pattern.dropFirst()
                star = (pattern, text)
            } else if let next = pattern.first, next == "?" || next == character {
                pattern = pattern.dropFirst()
                text = text.dropFirst()
            } else if let last = star {
                pattern = last.pattern
                text = last.text.dropFirst()
                star = (pattern, text)
            } else {
                return false
            }
        }
        return pattern.allSatisfy { $0 == "*" }
    }
}
