internal import Catalog

/// Tags of functions.
extension LambdaControl {
    func tags(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let name = try taggedFunction(request.path[2])
        return try guarded(arn(name)) {
            switch request.method {
            case "GET":
                guard let function = catalog.snapshot.function(named: name) else { throw CatalogError.functionNotFound(name) }
                return try answer(200, TagsDocument(Tags: function.tags))
            case "POST":
                let given = try decode(TagsDocument.self, request, .tagResource).Tags
                guard catalog.snapshot.function(named: name) != nil else { throw CatalogError.functionNotFound(name) }
                guard !given.isEmpty else { throw LambdaFault.invalidParameter("An error occurred and the request cannot be processed.") }
                try catalog.editTags(of: name) { $0.merge(given) { $1 } }
                return .empty(204)
            case "DELETE":
                guard !request.tagKeys.isEmpty else { throw LambdaFault.validation(nil, at: "tagKeys", .present) }
                try catalog.editTags(of: name) { tags in for key in request.tagKeys { tags[key] = nil } }
                return .empty(204)
            default: throw unknown(request)
            }
        }
    }

    /// The name in a function's ARN; nothing else can have tags here.
    private func taggedFunction(_ text: String) throws(LambdaFault) -> String {
        let pattern =
            #"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)"#
        if text.utf8.count > 256 { throw .validation(text, at: "resource", .lengthMax(256)) }
        guard text.hasPrefix("arn:aws"), text.contains(":function:") else {
            let others = ["layer", "code-signing-config", "event-source-mapping", "capacity-provider"]
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count >= 7, parts[0] == "arn", parts[1].hasPrefix("aws"), parts[2] == "lambda", others.contains(String(parts[5])) else {
                throw .validation(text, at: "resource", .pattern(pattern))
            }
            throw .invalidParameter("Hearth tags functions only: \(text) is none")
        }
        let reference: FunctionReference
        do throws(LambdaFault) {
            reference = try FunctionReference(text, queryQualifier: nil, region: region, accountID: accountID)
        } catch {
            throw error.type == "ValidationException" ? .validation(text, at: "resource", .pattern(pattern)) : error
        }
        guard reference.qualifier == nil else {
            throw .invalidParameter("Tags on function aliases and versions are not supported. Please specify a function ARN.")
        }
        return reference.name
    }
}
