internal import Catalog

/// An error answer of the Lambda API: status, type and message, in AWS's form.
struct LambdaFault: Error {
    let status: Int
    let type: String
    let message: String
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

    /// `N validation error(s) detected: Value 'v' at 'field' failed to satisfy constraint: Member must …`
    static func validation(_ value: String, at field: String, _ constraint: String) -> LambdaFault {
        LambdaFault(
            status: 400, type: "ValidationException",
            message:
                "1 validation error detected: Value '\(value)' at '\(field)' failed to satisfy constraint: \(constraint)",
            hasType: false)
    }

    static let notJSON = LambdaFault(
        status: 400, type: "SerializationException", message: "the request body is not the JSON that this call takes",
        hasType: false)

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
        case .revisionMismatch:
            self = LambdaFault(status: 412, type: "PreconditionFailedException", message: error.description)
        case .codeShaMismatch: self = .invalidParameter(error.description)
        case .versionInUse:
            self = .conflict("This version is used by an alias: point the alias elsewhere first")
        case .nothingToRollBack(_, _): self = .conflict(error.description)
        case .invalid(let message): self = .invalidParameter(message)
        case .storage(let message): self = LambdaFault(status: 500, type: "ServiceException", message: message, capitalised: true)
        }
    }

    init(
        status: Int, type: String, message: String, capitalised: Bool = false, hasType: Bool = true,
        extra: [String: String] = [:]
    ) {
        self.status = status
        self.type = type
        self.message = message
        self.capitalised = capitalised
        self.hasType = hasType
        self.extra = extra
    }

    var body: [String: String] {
        var body = extra
        body[capitalised ? "Message" : "message"] = message
        if hasType { body["Type"] = status >= 500 ? "Service" : "User" }
        return body
    }
}
