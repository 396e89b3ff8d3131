/// Why the catalogue refused; the doors put it into their protocol's words.
package enum CatalogError: Error, Equatable, CustomStringConvertible {
    case functionExists(String)
    case functionNotFound(String)
    case versionNotFound(function: String, version: String)
    case aliasNotFound(function: String, alias: String)
    case aliasExists(function: String, alias: String)
    case provisionedNotFound
    case eventInvokeNotFound(function: String, qualifier: String)
    case urlNotFound
    case layerNotFound(String, Int)
    case statementNotFound(String)
    case statementExists(String)
    case policyNotFound
    case policyTooLong(Int)
    case accessKeyExists(String)
    case accessKeyNotFound(String)
    case revisionMismatch
    case policyRevisionMismatch
    case layerRevisionMismatch
    case codeShaMismatch(given: String, current: String)
    /// The version is the target of an alias.
    case versionInUse(function: String, version: String)
    case nothingToRollBack(function: String, alias: String)
    case invalid(String)
    /// The database failed; the sentence says how.
    case storage(String)

    package var description: String {
        switch self {
        case .functionExists(let name): "Function already exist: \(name)"
        case .functionNotFound(let name): "there is no function \(name)"
        case .versionNotFound(let function, let version): "function \(function) has no version \(version)"
        case .aliasNotFound(let function, let alias): "function \(function) has no alias \(alias)"
        case .aliasExists(let function, let alias): "function \(function) already has an alias \(alias)"
        case .provisionedNotFound: "no provisioned concurrency is configured for it"
        case .eventInvokeNotFound(let function, let qualifier): "\(function):\(qualifier) has no event-invoke configuration"
        case .urlNotFound: "it has no function URL"
        case .layerNotFound(let layer, let number): "Layer version \(layer):\(number) does not exist."
        case .statementNotFound(let sid): "Statement \(sid) is not found in resource policy."
        case .statementExists(let sid):
            "The statement id (\(sid)) provided already exists. Please provide a new statement id, or remove the existing statement."
        case .policyNotFound: "No policy is associated with the given resource."
        case .policyTooLong(let bytes): "The final policy size is bigger than the limit (\(bytes))."
        case .policyRevisionMismatch:
            "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"
        case .layerRevisionMismatch:
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id"
        case .accessKeyExists(let name): "there is an access key \(name) already: remove it first, or choose another name"
        case .accessKeyNotFound(let name): "there is no access key \(name): see hearth keys list"
        case .revisionMismatch:
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        case .codeShaMismatch(let given, let current):
            "CodeSHA256 (\(given)) is different from current CodeSHA256 in $LATEST (\(current)). Please try again with the CodeSHA256 in $LATEST."
        case .versionInUse(let function, let version): "version \(version) of \(function) is the target of an alias"
        case .nothingToRollBack(let function, let alias):
            "alias \(alias) of \(function) has pointed to one version only: there is nothing to roll back to"
        case .invalid(let sentence), .storage(let sentence): sentence
        }
    }
}
