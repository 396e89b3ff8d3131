internal import Catalog

/// Aliases: names of versions, which may share their invocations out by weight.
extension LambdaControl {
    func createAlias(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(AliasDocument.self, request, .createAlias)
        let (name, version) = (document.Name ?? "", document.FunctionVersion ?? "")
        let number = try number(version)
        let weight = try weight(document, number, reference) ?? .none
        // Asked for together with its version (recorded).
        guard let function = catalog.snapshot.function(named: reference.name) else {
            throw LambdaFault.notFound("Function not found: \(arn(reference.name, version))")
        }
        let (_, alias) = try catalog.moveAlias(
            name, of: function.name, to: number, weight: weight, mustExist: false, description: document.Description)
        return try answer(201, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    private func number(_ text: String) throws(LambdaFault) -> Int {
        if text == "$LATEST" { return AliasEntry.latest }
        guard let number = Int(text), number > 0 else {
            throw text == "$LATEST.PUBLISHED"
                ? .invalidParameter("Hearth does not have $LATEST.PUBLISHED: name a published version")
                : .validation(text, at: "functionVersion", .pattern(Shape.Pattern.version.shown))
        }
        return number
    }

    /// What the request says of weights; nil: nothing. `number`: the version that has the rest.
    private func weight(_ document: AliasDocument, _ number: Int, _ reference: FunctionReference) throws(LambdaFault) -> AliasWeight? {
        guard let weights = document.RoutingConfig?.AdditionalVersionWeights else { return nil }
        guard weights.count <= 1 else {
            throw .invalidParameter("Number of items in AdditionalVersionWeights cannot be greater than 1")
        }
        guard let (key, share) = weights.first else { return AliasWeight.none }
        guard let extra = Int(key), extra != AliasEntry.latest else { throw .notFound("Function not found: \(arn(reference.name, key))") }
        try check(number, beside: extra)
        return .share(VersionWeight(version: extra, share: share))
    }

    private func check(_ number: Int, beside extra: Int) throws(LambdaFault) {
        guard number != AliasEntry.latest else {
            throw LambdaFault(
                status: 400, type: "InvalidParameterValueException",
                message: "$LATEST is not supported for an alias pointing to more than 1 version", hasType: false)
        }
        guard number != extra else {
            throw .invalidParameter(
                "Invalid function version \(number). Function version \(number) is already included in routing configuration.")
        }
    }

    func getAlias(_ reference: FunctionReference, _ name: String) throws(LambdaFault) -> ControlAnswer {
        try check(alias: name)
        let function = try function(reference)
        guard let alias = function.aliases[name] else { throw .notFound("Cannot find alias arn: \(arn(reference.name, name))") }
        return try answer(200, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    private func check(alias name: String) throws(LambdaFault) {
        if name.utf8.count > 128 { throw .validation(name, at: "name", .lengthMax(128)) }
        guard Shape.Pattern.aliasName.matches(name) else { throw .validation(name, at: "name", .pattern(Shape.Pattern.aliasName.shown)) }
    }

    func listAliases(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let version = request.query["FunctionVersion"]
        if let version { _ = try number(version) }
        let function = try function(reference)
        let all = function.aliases.values.sorted { $0.name < $1.name }
            .filter { version == nil || version == $0.versionName }
            .map { AliasConfiguration($0, arn: arn(reference.name)) }
        let (page, next) = try page(all, request, key: \.Name)
        return try answer(200, AliasList(Aliases: page, NextMarker: next))
    }

    func updateAlias(_ request: ControlRequest, _ reference: FunctionReference, _ name: String) throws -> ControlAnswer {
        try check(alias: name)
        let document = try decode(AliasDocument.self, request, .updateAlias)
        let function = try function(reference)
        guard let known = function.aliases[name] else {
            throw LambdaFault.notFound("Alias not found: \(arn(reference.name, name))")
        }
        let number = try document.FunctionVersion.map { text throws(LambdaFault) in try self.number(text) } ?? known.version
        let weight = try weight(document, number, reference)
        // Weights that nobody mentions stay, beside whichever version the alias now names.
        if weight == nil, let kept = known.weight { try check(number, beside: kept.version) }
        let (_, alias) = try catalog.moveAlias(
            name, of: reference.name, to: number, weight: weight ?? .keep, mustExist: true, description: document.Description,
            revision: document.RevisionId)
        return try answer(200, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    func deleteAlias(_ reference: FunctionReference, _ name: String) throws -> ControlAnswer {
        try check(alias: name)
        _ = try function(reference)
        try catalog.deleteAlias(name, of: reference.name)
        return .empty(204)
    }
}
