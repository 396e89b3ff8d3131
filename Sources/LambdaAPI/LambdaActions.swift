internal import Foundation
internal import HTTP
internal import IAM
internal import Net

/// What the calls of the Lambda API are called in policies (Service Authorization Reference, "Actions, resources, and condition keys for
/// AWS Lambda"), and what they are about.
enum LambdaActions {
    /// Method and path behind the date; `{}` is one part of any text.
    private static let table: [(method: String, path: [String], action: String)] = [
        ("POST", "functions", "CreateFunction"),
        ("GET", "functions", "ListFunctions"),
        ("GET", "functions/{}", "GetFunction"),
        ("DELETE", "functions/{}", "DeleteFunction"),
        ("GET", "functions/{}/configuration", "GetFunctionConfiguration"),
        ("PUT", "functions/{}/configuration", "UpdateFunctionConfiguration"),
        ("PUT", "functions/{}/code", "UpdateFunctionCode"),
        ("POST", "functions/{}/versions", "PublishVersion"),
        ("GET", "functions/{}/versions", "ListVersionsByFunction"),
        ("POST", "functions/{}/aliases", "CreateAlias"),
        ("GET", "functions/{}/aliases", "ListAliases"),
        ("GET", "functions/{}/aliases/{}", "GetAlias"),
        ("PUT", "functions/{}/aliases/{}", "UpdateAlias"),
        ("DELETE", "functions/{}/aliases/{}", "DeleteAlias"),
        ("PUT", "functions/{}/concurrency", "PutFunctionConcurrency"),
        ("GET", "functions/{}/concurrency", "GetFunctionConcurrency"),
        ("DELETE", "functions/{}/concurrency", "DeleteFunctionConcurrency"),
        ("PUT", "functions/{}/provisioned-concurrency", "PutProvisionedConcurrencyConfig"),
        ("GET", "functions/{}/provisioned-concurrency", "GetProvisionedConcurrencyConfig"),
        ("DELETE", "functions/{}/provisioned-concurrency", "DeleteProvisionedConcurrencyConfig"),
        ("PUT", "functions/{}/event-invoke-config", "PutFunctionEventInvokeConfig"),
        ("POST", "functions/{}/event-invoke-config", "UpdateFunctionEventInvokeConfig"),
        ("GET", "functions/{}/event-invoke-config", "GetFunctionEventInvokeConfig"),
        ("DELETE", "functions/{}/event-invoke-config", "DeleteFunctionEventInvokeConfig"),
        ("GET", "functions/{}/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
        ("GET", "functions/{}/code-signing-config", "GetFunctionCodeSigningConfig"),
        ("POST", "functions/{}/policy", "AddPermission"),
        ("GET", "functions/{}/policy", "GetPolicy"),
        ("DELETE", "functions/{}/policy/{}", "RemovePermission"),
        ("POST", "functions/{}/url", "CreateFunctionUrlConfig"),
        ("GET", "functions/{}/url", "GetFunctionUrlConfig"),
        ("PUT", "functions/{}/url", "UpdateFunctionUrlConfig"),
        ("DELETE", "functions/{}/url", "DeleteFunctionUrlConfig"),
        ("GET", "functions/{}/urls", "ListFunctionUrlConfigs"),
        ("POST", "functions/{}/invocations", invoke),
        ("POST", "functions/{}/response-streaming-invocations", invoke),
        ("POST", "functions/{}/invoke-async", invoke),
        ("GET", "functions/{}/recursion-config", "GetFunctionRecursionConfig"),
        ("PUT", "functions/{}/recursion-config", "PutFunctionRecursionConfig"),
        ("GET", "functions/{}/runtime-management-config", "GetRuntimeManagementConfig"),
        ("PUT", "functions/{}/runtime-management-config", "PutRuntimeManagementConfig"),
        ("GET", "account-settings", "GetAccountSettings"),
        ("GET", "tags/{}", "ListTags"),
        ("POST", "tags/{}", "TagResource"),
        ("DELETE", "tags/{}", "UntagResource"),
        ("GET", "layers", "ListLayers"),
        ("GET", "layers/{}/versions", "ListLayerVersions"),
        ("POST", "layers/{}/versions", "PublishLayerVersion"),
        ("GET", "layers/{}/versions/{}", "GetLayerVersion"),
        ("DELETE", "layers/{}/versions/{}", "DeleteLayerVersion"),
        ("GET", "layers/{}/versions/{}/policy", "GetLayerVersionPolicy"),
        ("POST", "layers/{}/versions/{}/policy", "AddLayerVersionPermission"),
        ("DELETE", "layers/{}/versions/{}/policy/{}", "RemoveLayerVersionPermission"),
        ("POST", "event-source-mappings", "CreateEventSourceMapping"),
        ("GET", "event-source-mappings", "ListEventSourceMappings"),
        ("GET", "event-source-mappings/{}", "GetEventSourceMapping"),
        ("PUT", "event-source-mappings/{}", "UpdateEventSourceMapping"),
        ("DELETE", "event-source-mappings/{}", "DeleteEventSourceMapping"),
    ].map { ($0, $1.split(separator: "/").map(String.init), $2) }

    static let invoke = "InvokeFunction"

    /// A call that is not in the table needs a permission of its own, so that no new one is open by mistake.
    static func action(method: String, path: some Collection<String>) -> String {
        let known = table.first { row in
            row.method == method && row.path.count == path.count && zip(row.path, path).allSatisfy { $0 == "{}" || $0 == $1 }
        }
        return "lambda:" + (known?.action ?? "UnknownOperation")
    }
}

extension LambdaControl {
    /// Throws AccessDeniedException unless the caller's policies allow the call.
    func authorize(_ request: ControlRequest) throws(LambdaFault) {
        guard !request.caller.isRoot else { return }
        let path = request.path.dropFirst()
        try request.check(LambdaActions.action(method: request.method, path: path), on: try resource(request, Array(path)))
    }

    private func resource(_ request: ControlRequest, _ path: [String]) throws(LambdaFault) -> String {
        switch (path.first, path.count) {
        case ("functions", 2...):
            let reference = try FunctionReference(
                path[1], queryQualifier: request.query["Qualifier"], form: .namespaced, region: region, accountID: accountID)
            return arn(reference.name, reference.qualifier)
        case ("functions", 1) where request.method == "POST":
            return arn(try decode(NameDocument.self, request).FunctionName ?? "")
        case ("layers", 2...):
            let version = path.count > 3 ? ":\(path[3])" : ""
            return path[1].hasPrefix("arn:") ? path[1] + version : "arn:aws:lambda:\(region):\(accountID):layer:\(path[1])\(version)"
        case ("tags", 2): return path[1]
        default: return "*"
        }
    }

    private struct NameDocument: Decodable { var FunctionName: String? }
}

extension ControlRequest {
    /// Throws AccessDeniedException unless the caller's policies allow an action.
    func check(_ action: String, on resource: String) throws(LambdaFault) {
        let context = requestContext(peer: peer, userAgent: nil, epochSeconds: UInt64(max(0, epochMilliseconds) / 1000))
        if let sentence = caller.refusal(action, on: resource, context) { throw .denied(sentence) }
    }
}
