internal import Base
internal import Catalog
internal import Foundation

/// Layers: packages that functions share, shown to their workers as `/opt`.
extension LambdaControl {
    /// The operations below `/2018-10-31/layers`; `{L}` is a layer's name or ARN.
    func layers(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let path = Array(request.path.dropFirst(2))
        return try guarded(arn("")) {
            if path.isEmpty, request.method == "GET" {
                return request.query["find"] == "LayerVersion" ? try getLayerByARN(request) : try listLayers(request)
            }
            guard path.count >= 2, path[1] == "versions" else { throw unknown(request) }
            let name = try layerName(path[0])
            if path.count == 2 {
                switch request.method {
                case "POST": return try publishLayer(request, name)
                case "GET": return try listLayerVersions(request, name)
                default: throw unknown(request)
                }
            }
            guard let number = Int(path[2]) else { throw LambdaFault.notJSON }
            guard number >= 1 else { throw LambdaFault.invalidParameter("Layer Version Cannot be less than 1") }
            switch (request.method, path.count, path.count > 3 ? path[3] : "") {
            case ("GET", 3, _): return try getLayer(name, number, request)
            case ("DELETE", 3, _):
                try catalog.deleteLayerVersion(name, number)
                return .empty(204)
            case ("GET", 4, "policy"): return try getLayerPolicy(name, number)
            case ("POST", 4, "policy"): return try addLayerPermission(request, name, number)
            case ("DELETE", 5, "policy"): return try removeLayerPermission(request, name, number, path[4])
            default: throw unknown(request)
            }
        }
    }

    private func layerARN(_ name: String) -> String { "arn:aws:lambda:\(region):\(accountID):layer:\(name)" }
    private func layerARN(_ version: LayerVersion) -> String { "\(layerARN(version.layer)):\(version.number)" }

    private func layerName(_ text: String) throws(LambdaFault) -> String {
        if text.utf8.count > 140 { throw .validation(text, at: "layerName", .lengthMax(140)) }
        guard let layer = LayerName(text), layer.number == nil else {
            throw .validation(text, at: "layerName", .pattern(Shape.Pattern.layerName.shown))
        }
        try check(layer)
        return layer.name
    }

    /// Layers of other regions and accounts are not here.
    private func check(_ layer: LayerName) throws(LambdaFault) {
        if let other = layer.region, other != region {
            throw .notFound("Layers from '\(other)' are not reachable in this region ('\(region)')")
        }
        if let other = layer.accountID, other != accountID { throw .accessDenied }
    }

    private func publishLayer(_ request: ControlRequest, _ name: String) throws -> ControlAnswer {
        let document = try decode(LayerContentDocument.self, request, .publishLayer)
        for runtime in document.CompatibleRuntimes ?? [] { try checkRuntime(runtime, document.CompatibleRuntimes ?? []) }
        var settings = LayerSettings()
        settings.description = document.Description
        settings.license = document.LicenseInfo
        settings.runtimes = document.CompatibleRuntimes
        settings.architectures = document.CompatibleArchitectures
        let package = try package(document.Content)
        settings.unzipped = package.unzipped
        let version = try catalog.publishLayer(name, zip: package.zip, settings: settings, at: request.epochMilliseconds)
        return try answer(201, described(version, request, isWhole: true))
    }

    /// As wide as Lambda's list: layers are made for runtimes that this node may not have.
    private func checkRuntime(_ runtime: String, _ all: [String]) throws(LambdaFault) {
        guard runtime.wholeMatch(of: /(nodejs|python|java|dotnet|dotnetcore|ruby|go|provided|swift)[0-9.a-z]*/) == nil else { return }
        throw .validation(
            "[\(all.joined(separator: ", "))]", at: "compatibleRuntimes",
            .oneOf(["nodejsN.x", "python3.N", "javaN", "dotnetN", "rubyN.N", "provided.al2", "provided.al2023"]))
    }

    private func getLayer(_ name: String, _ number: Int, _ request: ControlRequest) throws -> ControlAnswer {
        guard let version = try catalog.layerVersion(name, number) else { throw LambdaFault.noResource }
        return try answer(200, described(version, request, isWhole: true))
    }

    private func getLayerByARN(_ request: ControlRequest) throws -> ControlAnswer {
        let text = request.query["Arn"] ?? ""
        guard let layer = LayerName(text), let number = layer.number else {
            throw LambdaFault.validation(text, at: "arn", .pattern(Shape.Pattern.layerVersion.shown))
        }
        try check(layer)
        return try getLayer(layer.name, number, request)
    }

    /// The versions that fit what the query asks for.
    private func matching(_ request: ControlRequest, of name: String? = nil) throws -> [LayerVersion] {
        let (runtime, architecture) = (request.query["CompatibleRuntime"], request.query["CompatibleArchitecture"])
        if let runtime, runtime.wholeMatch(of: /[a-z]+[0-9.a-z\-]*/) == nil || runtime.utf8.count > 64 || !Self.mayBeRuntime(runtime) {
            throw LambdaFault.validation(runtime, at: "compatibleRuntime", .oneOf(["nodejs20.x", "python3.12", "provided.al2023"]))
        }
        if let architecture, !["x86_64", "arm64"].contains(architecture) {
            throw LambdaFault.validation(architecture, at: "compatibleArchitecture", .oneOf(["x86_64", "arm64"]))
        }
        return try catalog.layerVersions(of: name).filter { version in
            (runtime == nil || version.settings.runtimes?.contains(runtime ?? "") == true)
                && (architecture == nil || version.settings.architectures?.contains(architecture ?? "") == true)
        }
    }

    private static func mayBeRuntime(_ text: String) -> Bool {
        ["nodejs", "python", "java", "dotnet", "ruby", "go", "provided", "swift"].contains { text.hasPrefix($0) }
    }

    private func listLayers(_ request: ControlRequest) throws -> ControlAnswer {
        var newest: [String: LayerVersion] = [:]
        for version in try matching(request) { newest[version.layer] = version }
        let (page, next) = try page(Array(newest.values), request, sizeMax: 50, key: \.layer)
        let layers = page.map {
            LayerDescription(
                LayerName: $0.layer, LayerArn: layerARN($0.layer), LatestMatchingVersion: described($0, request, isWhole: false))
        }
        return try answer(200, LayerList(Layers: layers, NextMarker: next))
    }

    private func listLayerVersions(_ request: ControlRequest, _ name: String) throws -> ControlAnswer {
        // The newest comes first.
        let (page, next) = try page(try matching(request, of: name), request, sizeMax: 50) { version in
            let text = String(Int.max - version.number)
            return String(repeating: "0", count: 20 - text.utf8.count) + text
        }
        return try answer(200, LayerVersionList(LayerVersions: page.map { described($0, request, isWhole: false) }, NextMarker: next))
    }

    private func described(_ version: LayerVersion, _ request: ControlRequest, isWhole: Bool) -> LayerVersionDocument {
        LayerVersionDocument(
            Content: isWhole
                ? LayerContent(
                    Location: "http://\(request.host)\(codePath(version.digest))", CodeSha256: version.digest, CodeSize: version.size) : nil,
            LayerArn: isWhole ? layerARN(version.layer) : nil, LayerVersionArn: layerARN(version),
            Description: version.settings.description ?? "", CreatedDate: FunctionConfiguration.time(version.createdMilliseconds),
            Version: version.number, CompatibleRuntimes: version.settings.runtimes, LicenseInfo: version.settings.license,
            CompatibleArchitectures: version.settings.architectures)
    }

    // MARK: Policies

    private func getLayerPolicy(_ name: String, _ number: Int) throws -> ControlAnswer {
        guard let version = try catalog.layerVersion(name, number) else { throw CatalogError.layerNotFound(name, number) }
        guard let policy = version.policy else { throw CatalogError.policyNotFound }
        let document = PolicyDocument(Statement: policy.statements.map { StatementDocument($0, resource: layerARN(version)) })
        return try answer(200, PolicyAnswer(Policy: try text(document), RevisionId: policy.revisionID))
    }

    private func addLayerPermission(_ request: ControlRequest, _ name: String, _ number: Int) throws -> ControlAnswer {
        let document = try decode(PermissionDocument.self, request, .addLayerPermission)
        var statement = PolicyStatement(sid: document.StatementId, action: document.Action, principal: document.Principal)
        statement.principalOrgID = document.OrganizationId
        let revision = try catalog.editLayerPolicy(name, number, revision: request.query["RevisionId"]) { [statement] statements in
            guard !statements.contains(where: { $0.sid == statement.sid }) else { throw CatalogError.statementExists(statement.sid) }
            statements.append(statement)
        }
        let shown = StatementDocument(statement, resource: "\(layerARN(name)):\(number)")
        return try answer(201, AddedStatement(Statement: try text(shown), RevisionId: revision))
    }

    private func removeLayerPermission(_ request: ControlRequest, _ name: String, _ number: Int, _ sid: String) throws -> ControlAnswer {
        _ = try catalog.editLayerPolicy(name, number, revision: request.query["RevisionId"]) { statements in
            guard let index = statements.firstIndex(where: { $0.sid == sid }) else { throw CatalogError.statementNotFound(sid) }
            statements.remove(at: index)
        }
        return .empty(204)
    }

    // MARK: Attaching

    /// What a function that has these layers keeps of them.
    func references(to arns: [String]) throws(LambdaFault) -> [LayerReference] {
        guard arns.count <= 5 else { throw .invalidParameter("Cannot reference more than 5 layers.") }
        var references: [LayerReference] = []
        var seen: [String: String] = [:]
        for arn in arns {
            guard let layer = LayerName(arn), let number = layer.number else {
                throw .validation(arn, at: "layers", .pattern(Shape.Pattern.layerVersion.shown))
            }
            guard layer.region == region else {
                throw .invalidParameter("Layers are not in the same region as the function. Layers are expected to be in region \(region).")
            }
            let version: LayerVersion?
            do throws(CatalogError) { version = layer.accountID == accountID ? try catalog.layerVersion(layer.name, number) : nil } catch {
                throw LambdaFault(error, arn: arn)
            }
            guard let version else { throw .invalidParameter("Layer version \(arn) does not exist.") }
            if let other = seen.updateValue(arn, forKey: layer.name) {
                throw .invalidParameter(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. \(other) and \(arn) are versions of the same layer.")
            }
            references.append(LayerReference(arn: arn, digest: version.digest, size: version.size, unzipped: version.settings.unzipped))
        }
        return references
    }

    /// Code and layers together must not be larger than either may be alone (Lambda's quota).
    func check(_ layers: [LayerReference]?, with code: Int) throws(LambdaFault) {
        guard let layers else { return }
        let total = layers.reduce(code) { $0 + $1.unzipped }
        guard total <= Limits.unzippedBytesMax else {
            throw .invalidParameter(
                "Function code combined with layers exceeds the maximum allowed size of \(Limits.unzippedBytesMax) bytes. The actual size is \(total) bytes.")
        }
    }
}
