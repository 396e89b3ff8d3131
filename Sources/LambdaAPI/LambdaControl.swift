internal import Archive
internal import Base
package import Catalog
internal import Config
internal import Foundation
internal import IAM

/// A call of the control plane, taken off the loop.
struct ControlRequest: Sendable {
    let method: String
    /// Decoded, without empty parts: `["2015-03-31", "functions", "hello", "configuration"]`.
    let path: [String]
    let query: [String: String]
    /// All values of `tagKeys`, the one name that may be there several times.
    var tagKeys: [String] = []
    let body: [UInt8]
    /// The Host field: where the client reaches this node.
    let host: String
    /// HOST:PORT of function URLs.
    let front: String
    let epochMilliseconds: Int64
    let caller: Caller
    /// Numeric address of the other side.
    let peer: String

    var rest: ArraySlice<String> { path.dropFirst(3) }

    /// Reading, deleting and invoking take a wider form of names than all else.
    var form: FunctionReference.Form {
        switch (method, rest.first) {
        case ("GET", nil), ("DELETE", nil), ("GET", "configuration"), ("GET", "versions"), (_, "policy"): .namespaced
        default: .plain
        }
    }
}

enum ControlAnswer: Sendable {
    case json(Int, [UInt8])
    case empty(Int)
    /// To be completed on the loop, where the workers are known.
    case provisioned(Int, function: String, qualifiers: [String], isList: Bool)
}

/// The Lambda API's operations on functions, versions, aliases and concurrency: names, codes, fields and words as
/// recorded from AWS (shared/reference/lambda.md; the API model is botocore's 2015-03-31).
///
/// Runs on the control queue; never on the loop.
package struct LambdaControl: Sendable {
    let catalog: Catalog
    let region: String
    let accountID: String
    let concurrencyMax: Int
    /// The path and query under which a package can be fetched: made from its digest.
    let codePath: @Sendable (String) -> String
    let buckets: any CodeBuckets

    package init(
        catalog: Catalog, region: String, accountID: String, concurrencyMax: Int, buckets: any CodeBuckets,
        codePath: @escaping @Sendable (String) -> String
    ) {
        self.buckets = buckets
        self.catalog = catalog
        self.region = region
        self.accountID = accountID
        self.concurrencyMax = concurrencyMax
        self.codePath = codePath
    }

    func arn(_ name: String, _ qualifier: String? = nil) -> String {
        "arn:aws:lambda:\(region):\(accountID):function:\(name)" + (qualifier.map { ":\($0)" } ?? "")
    }

    /// The operations by method, date and shape of the path; `{F}` is a function.
    func run(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let path = request.path
        guard path.count >= 2 else { throw unknown(request) }
        try authorize(request)
        if path[1] == "account-settings", path.count == 2, request.method == "GET" { return try accountSettings() }
        if path[1] == "tags", path.count == 3 { return try tags(request) }
        if path[1] == "layers" { return try layers(request) }
        guard path[1] == "functions" else { throw unknown(request) }
        guard path.count >= 3 else {
            switch request.method {
            case "POST": return try createFunction(request)
            case "GET": return try listFunctions(request)
            default: throw unknown(request)
            }
        }
        let rest = Array(request.rest)
        if rest.first == "url" || rest.first == "urls" { try checkURLQualifier(request) }
        let reference = try FunctionReference(
            path[2], queryQualifier: request.query["Qualifier"], form: request.form, region: region, accountID: accountID)
        return try guarded(arn(reference.name)) { try run(request, reference, rest) }
    }

    /// - Parameter arn: of what the call is about, for the words of its errors.
    func guarded(_ arn: String, _ body: () throws -> ControlAnswer) throws(LambdaFault) -> ControlAnswer {
        do {
            return try body()
        } catch let error as CatalogError {
            throw LambdaFault(error, arn: arn)
        } catch let fault as LambdaFault {
            throw fault
        } catch {
            throw LambdaFault(status: 500, type: "ServiceException", message: "\(error)", capitalised: true)
        }
    }

    private func run(_ request: ControlRequest, _ reference: FunctionReference, _ rest: [String]) throws -> ControlAnswer {
        switch (request.method, rest.first ?? "", rest.count) {
        case ("GET", "", 0): try getFunction(request, reference)
        case ("DELETE", "", 0): try deleteFunction(reference)
        case ("GET", "configuration", 1): try getConfiguration(reference)
        case ("PUT", "configuration", 1): try updateConfiguration(request, reference)
        case ("PUT", "code", 1): try updateCode(request, reference)
        case ("POST", "versions", 1): try publishVersion(request, reference)
        case ("GET", "versions", 1): try listVersions(request, reference)
        case ("POST", "aliases", 1): try createAlias(request, reference)
        case ("GET", "aliases", 1): try listAliases(request, reference)
        case ("GET", "aliases", 2): try getAlias(reference, rest[1])
        case ("PUT", "aliases", 2): try updateAlias(request, reference, rest[1])
        case ("DELETE", "aliases", 2): try deleteAlias(reference, rest[1])
        case ("PUT", "concurrency", 1): try putReserved(request, reference)
        case ("GET", "concurrency", 1): try getReserved(reference)
        case ("DELETE", "concurrency", 1): try deleteReserved(reference)
        case ("PUT", "provisioned-concurrency", 1): try putProvisioned(request, reference)
        case ("GET", "provisioned-concurrency", 1): try getProvisioned(request, reference)
        case ("DELETE", "provisioned-concurrency", 1): try deleteProvisioned(reference)
        case ("PUT", "event-invoke-config", 1): try putEventInvoke(request, reference, merges: false)
        case ("POST", "event-invoke-config", 1): try putEventInvoke(request, reference, merges: true)
        case ("GET", "event-invoke-config", 1): try getEventInvoke(reference)
        case ("DELETE", "event-invoke-config", 1): try deleteEventInvoke(reference)
        case ("GET", "event-invoke-config", 2) where rest[1] == "list": try listEventInvoke(request, reference)
        case ("POST", "url", 1): try createURL(request, reference)
        case ("GET", "url", 1): try getURL(request, reference)
        case ("PUT", "url", 1): try updateURL(request, reference)
        case ("DELETE", "url", 1): try deleteURL(reference)
        case ("GET", "urls", 1): try listURLs(request, reference)
        case ("POST", "policy", 1): try addPermission(request, reference)
        case ("GET", "policy", 1): try getPolicy(reference)
        case ("DELETE", "policy", 2): try removePermission(request, reference, rest[1])
        case ("GET", "code-signing-config", 1): .json(200, Array("{}".utf8))
        default: throw unknown(request)
        }
    }

    func unknown(_ request: ControlRequest) -> LambdaFault {
        LambdaFault(
            status: 404, type: "UnknownOperationException",
            message: "Hearth does not have this call: \(request.method) /\(request.path.joined(separator: "/"))", hasType: false)
    }

    /// The body, if it has the shape that the API's model gives it.
    func decode<T: Decodable>(_ type: T.Type, _ request: ControlRequest, _ shape: Shape) throws(LambdaFault) -> T {
        var fault: LambdaFault?
        (request.body.isEmpty ? Array("{}".utf8) : request.body).withUnsafeBytes { body in
            do throws(LambdaFault) { try shape.check(body) } catch { fault = error }
        }
        if let fault { throw fault }
        return try decode(type, request)
    }

    func decode<T: Decodable>(_ type: T.Type, _ request: ControlRequest) throws(LambdaFault) -> T {
        do { return try JSONDecoder().decode(type, from: Data(request.body.isEmpty ? Array("{}".utf8) : request.body)) } catch {
            throw .notJSON
        }
    }

    func answer(_ status: Int, _ document: some Encodable) throws(LambdaFault) -> ControlAnswer {
        .json(status, Array(try text(document).utf8))
    }

    /// The same text for the same document: who compares answers need not read them.
    func text(_ document: some Encodable) throws(LambdaFault) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        guard let data = try? encoder.encode(document) else {
            throw LambdaFault(status: 500, type: "ServiceException", message: "the answer cannot be written", capitalised: true)
        }
        return String(decoding: data, as: UTF8.self)
    }

    func function(_ reference: FunctionReference) throws(LambdaFault) -> FunctionEntry {
        guard let function = catalog.snapshot.function(named: reference.name) else {
            throw .notFound("Function not found: \(arn(reference.name, reference.qualifier))")
        }
        return function
    }

    func resolve(_ reference: FunctionReference) throws(LambdaFault) -> (FunctionEntry, Resolution) {
        let function = try function(reference)
        guard let resolution = function.resolve(qualifier: reference.qualifier) else {
            throw .notFound("Function not found: \(arn(reference.name, reference.qualifier))")
        }
        return (function, resolution)
    }
}
