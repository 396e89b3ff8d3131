internal import Catalog

/// An error answer of the Lambda API: status, type and message, in AWS's form.
struct LambdaFault: Error {
    let status: Int
    let type: String
    /// nil is written as null.
    let message: String?
    /// Some errors write `Message`, most `message` (recorded).
    var capitalised = false
    /// ValidationException has no `Type`.
    var hasType = true
    var extra: [String: String] = [:]

    static func notFound(_ message: String) -> LambdaFault {
        LambdaFault(status: 404, type: "ResourceNotFoundException", message: message, capitalised: true)
    }

    static func invalidParameter(_ message: String) -> LambdaFault {
        LambdaFault(status: 400, type: "InvalidParameterValueException", message: message)
    }

    static func conflict(_ message: String) -> LambdaFault {
        LambdaFault(status: 409, type: "ResourceConflictException", message: message)
    }

    /// Another account's function: AWS says nothing more (recorded: `{"Message":null}`).
    static let accessDenied = LambdaFault(
        status: 403, type: "AccessDeniedException", message: nil, capitalised: true, hasType: false)

    /// The caller's policies do not allow it.
    static func denied(_ sentence: String) -> LambdaFault {
        LambdaFault(status: 403, type: "AccessDeniedException", message: sentence, capitalised: true, hasType: false)
    }

    static func validation(_ violations: [Violation]) -> LambdaFault {
        let head = violations.count == 1 ? "1 validation error" : "\(violations.count) validation errors"
        return LambdaFault(
            status: 400, type: "ValidationException",
            message: "\(head) detected: \(violations.map(\.description).joined(separator: "; "))", hasType: false)
    }

    static func validation(_ value: String?, at field: String, _ constraint: Violation.Constraint) -> LambdaFault {
        validation([Violation(value, at: field, constraint)])
    }

    static let notJSON = LambdaFault(
        status: 400, type: "SerializationException", message: "the request body is not the JSON that this call takes",
        hasType: false)

    static let noResource = notFound("The resource you requested does not exist.")

    static let throttled = LambdaFault(status: 429, type: "TooManyRequestsException", message: "Rate Exceeded.")

    /// - Parameter arn: of the function without a qualifier.
    init(_ error: CatalogError, arn: String) {
        switch error {
        case .functionExists: self = .conflict(error.description)
        case .functionNotFound: self = .notFound("Function not found: \(arn)")
        case .versionNotFound(_, let version): self = .notFound("Function not found: \(arn):\(version)")
        case .aliasNotFound(_, let alias): self = .notFound("Cannot find alias arn: \(arn):\(alias)")
        case .aliasExists(_, let alias): self = .conflict("Alias already exists: \(arn):\(alias)")
        case .provisionedNotFound:
            self = LambdaFault(
                status: 404, type: "ProvisionedConcurrencyConfigNotFoundException",
                message: "No Provisioned Concurrency Config found for this function")
        case .eventInvokeNotFound(_, let qualifier):
            self = .notFound("The function \(arn):\(qualifier) doesn't have an EventInvokeConfig")
        case .accessKeyExists, .accessKeyNotFound: self = .conflict(error.description)
        case .revisionMismatch, .policyRevisionMismatch, .layerRevisionMismatch:
            self = LambdaFault(status: 412, type: "PreconditionFailedException", message: error.description)
        case .codeShaMismatch: self = .invalidParameter(error.description)
        case .versionInUse:
            self = .conflict("This version is used by an alias: point the alias elsewhere first")
        case .urlNotFound: self = .noResource
        case .layerNotFound(let layer, let number):
            let prefix = arn.split(separator: ":").prefix(5).joined(separator: ":")
            self = .notFound("Layer version \(prefix):layer:\(layer):\(number) does not exist.")
        case .statementNotFound, .policyNotFound: self = .notFound(error.description)
        case .statementExists: self = .conflict(error.description)
        case .policyTooLong: self = LambdaFault(status: 400, type: "PolicyLengthExceededException", message: error.description)
        case .nothingToRollBack(_, _): self = .conflict(error.description)
        case .invalid(let message): self = .invalidParameter(message)
        case .storage(let message): self = LambdaFault(status: 500, type: "ServiceException", message: message, capitalised: true)
        }
    }

    init(
        status: Int, type: String, message: String?, capitalised: Bool = false, hasType: Bool = true,
        extra: [String: String] = [:]
    ) {
        self.status = status
        self.type = type
        self.message = message
        self.capitalised = capitalised
        self.hasType = hasType
        self.extra = extra
    }

    var body: [String: String?] {
        var body: [String: String?] = extra
        body[capitalised ? "Message" : "message"] = .some(message)
        if hasType { body["Type"] = status >= 500 ? "Service" : "User" }
        return body
    }
}

/// One field of a request that breaks a rule of the API's model:
/// `Value 'v' at 'field' failed to satisfy constraint: Member must …`
struct Violation: CustomStringConvertible, Sendable {
    enum Constraint: Sendable {
        case present
        case lengthMax(Int)
        case lengthMin(Int)
        case atLeast(Int)
        case atMost(Int)
        case pattern(String)
        case oneOf([String])
        /// What each element of a list must be, or each key or value of a map: the sentences.
        case each([String])
        case mapKeys([String])
        case mapValues([String])

        var text: String {
            switch self {
            case .present: "Member must not be null"
            case .lengthMax(let length): "Member must have length less than or equal to \(length)"
            case .lengthMin(let length): "Member must have length greater than or equal to \(length)"
            case .atLeast(let least): "Member must have value greater than or equal to \(least)"
            case .atMost(let most): "Member must have value less than or equal to \(most)"
            case .pattern(let pattern): "Member must satisfy regular expression pattern: \(pattern)"
            case .oneOf(let words): "Member must satisfy enum value set: [\(words.joined(separator: ", "))]"
            case .each(let sentences): "Member must satisfy constraint: [\(Self.list(sentences))]"
            case .mapKeys(let sentences): "Map keys must satisfy constraint: [\(Self.list(sentences))]"
            case .mapValues(let sentences): "Map value must satisfy constraint: [\(Self.list(sentences))]"
            }
        }

        private static func list(_ sentences: [String]) -> String { (sentences + [Self.present.text]).joined(separator: ", ") }
    }

    let value: String?
    let field: String
    let constraint: Constraint

    init(_ value: String?, at field: String, _ constraint: Constraint) {
        self.value = value
        self.field = field
        self.constraint = constraint
    }

    /// A number outside of its bounds.
    init?(_ value: Int, at field: String, within bounds: ClosedRange<Int>) {
        guard !bounds.contains(value) else { return nil }
        self.init(
            String(value), at: field, value < bounds.lowerBound ? .atLeast(bounds.lowerBound) : .atMost(bounds.upperBound))
    }

    var description: String {
        "Value \(value.map { "'\($0)'" } ?? "null") at '\(field)' failed to satisfy constraint: \(constraint.text)"
    }
}
