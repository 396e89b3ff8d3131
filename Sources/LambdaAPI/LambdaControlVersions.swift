internal import Catalog

/// Versions, aliases and concurrency.
extension LambdaControl {
    func publishVersion(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(PublishDocument.self, request)
        let (function, version) = try catalog.publishVersion(
            reference.name, codeSha256: document.CodeSha256, description: document.Description,
            revision: document.RevisionId)
        let number = String(version.number ?? 0)
        return try answer(
            201, FunctionConfiguration(function, version, version: number, arn: arn(function.name, number)))
    }

    func createAlias(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(AliasDocument.self, request)
        guard let name = document.Name else { throw LambdaFault.validation(nil, at: "name", .present) }
        guard name.utf8.count <= 128 else { throw LambdaFault.validation(name, at: "name", .lengthMax(128)) }
        guard name.wholeMatch(of: /[a-zA-Z0-9\-_]+/) != nil, !name.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else {
            throw LambdaFault.validation(name, at: "name", .pattern("(?!^[0-9]+$)([a-zA-Z0-9-_]+)"))
        }
        try refuseWeights(document)
        let number = try version(document.FunctionVersion, reference)
        let (_, alias) = try catalog.moveAlias(
            name, of: reference.name, to: number, mustExist: false, description: document.Description)
        return try answer(201, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    /// What is not done must not be accepted in silence: all traffic would go to one version.
    private func refuseWeights(_ document: AliasDocument) throws(LambdaFault) {
        guard document.RoutingConfig?.AdditionalVersionWeights?.isEmpty != false else {
            throw .invalidParameter("Hearth does not split an alias by weight yet: leave RoutingConfig out")
        }
    }

    private func version(_ text: String?, _ reference: FunctionReference) throws(LambdaFault) -> Int {
        guard let text else { throw .validation(nil, at: "functionVersion", .present) }
        guard text != "$LATEST" else {
            throw .invalidParameter("Hearth points aliases to published versions only: publish $LATEST first")
        }
        guard let number = Int(text) else {
            throw .validation(text, at: "functionVersion", .pattern(#"(\$LATEST(\.PUBLISHED)?|[0-9]+)"#))
        }
        return number
    }

    func getAlias(_ reference: FunctionReference, _ name: String) throws(LambdaFault) -> ControlAnswer {
        let function = try function(reference)
        guard let alias = function.aliases[name] else { throw .notFound("Cannot find alias arn: \(arn(reference.name, name))") }
        return try answer(200, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    func listAliases(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let function = try function(reference)
        let version = request.query["FunctionVersion"]
        let all = function.aliases.values.sorted { $0.name < $1.name }
            .filter { version == nil || version == String($0.version) }
            .map { AliasConfiguration($0, arn: arn(reference.name)) }
        let (page, next) = try page(all, request, key: \.Name)
        return try answer(200, AliasList(Aliases: page, NextMarker: next))
    }

    func updateAlias(_ request: ControlRequest, _ reference: FunctionReference, _ name: String) throws -> ControlAnswer {
        let document = try decode(AliasDocument.self, request)
        try refuseWeights(document)
        let function = try function(reference)
        guard let known = function.aliases[name] else {
            throw LambdaFault.notFound("Cannot find alias arn: \(arn(reference.name, name))")
        }
        let number = try document.FunctionVersion.map { text throws(LambdaFault) in try version(text, reference) } ?? known.version
        let (_, alias) = try catalog.moveAlias(
            name, of: reference.name, to: number, mustExist: true, description: document.Description,
            revision: document.RevisionId)
        return try answer(200, AliasConfiguration(alias, arn: arn(reference.name)))
    }

    func deleteAlias(_ reference: FunctionReference, _ name: String) throws -> ControlAnswer {
        _ = try function(reference)
        try catalog.deleteAlias(name, of: reference.name)
        return .empty(204)
    }

    func putReserved(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(ReservedDocument.self, request)
        guard reference.qualifier == nil else {
            throw LambdaFault.invalidParameter(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN."
            )
        }
        guard catalog.snapshot.function(named: reference.name) != nil else {
            throw LambdaFault.notFound("Function not found: \(arn(reference.name, "$LATEST"))")
        }
        guard let reserved = document.ReservedConcurrentExecutions else {
            throw LambdaFault.validation(nil, at: "reservedConcurrentExecutions", .present)
        }
        guard reserved >= 0 else {
            throw LambdaFault.validation("\(reserved)", at: "reservedConcurrentExecutions", .atLeast(0))
        }
        let others = catalog.snapshot.functions.reduce(0) { $0 + ($1.name == reference.name ? 0 : $1.reserved ?? 0) }
        guard concurrencyMax - others - reserved >= min(100, concurrencyMax / 10) else {
            throw LambdaFault.invalidParameter(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [\(min(100, concurrencyMax / 10))]."
            )
        }
        try catalog.setReserved(reserved, of: reference.name)
        return try answer(200, ReservedDocument(ReservedConcurrentExecutions: reserved))
    }

    func getReserved(_ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        try answer(200, ReservedDocument(ReservedConcurrentExecutions: try function(reference).reserved))
    }

    func deleteReserved(_ reference: FunctionReference) throws -> ControlAnswer {
        try catalog.setReserved(nil, of: reference.name)
        return .empty(204)
    }

    /// Provisioned concurrency stands on a version or an alias, and never on both names of one version.
    private func provisionedQualifier(
        _ reference: FunctionReference, onLatest: String = "The function resource provided must be an alias or a published version."
    ) throws(LambdaFault) -> (FunctionEntry, String) {
        guard let qualifier = reference.qualifier else { throw .validation(nil, at: "qualifier", .present) }
        guard qualifier != "$LATEST" else { throw .invalidParameter(onLatest) }
        guard let function = catalog.snapshot.function(named: reference.name), function.resolve(qualifier: qualifier) != nil else {
            let arn = arn(reference.name, qualifier)
            throw .notFound(Int(qualifier) == nil ? "Cannot find alias arn: \(arn)" : "Function not found: \(arn)")
        }
        return (function, qualifier)
    }

    func putProvisioned(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(ProvisionedDocument.self, request)
        guard let requested = document.ProvisionedConcurrentExecutions else {
            throw LambdaFault.validation(nil, at: "provisionedConcurrentExecutions", .present)
        }
        guard requested >= 1 else {
            throw LambdaFault.validation("\(requested)", at: "provisionedConcurrentExecutions", .atLeast(1))
        }
        let (function, qualifier) = try provisionedQualifier(
            reference, onLatest: "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
        let row = function.resolve(qualifier: qualifier)?.version.rowID
        for other in function.provisioned.keys where other != qualifier {
            guard function.resolve(qualifier: other)?.version.rowID != row else {
                throw LambdaFault.conflict(
                    Int(qualifier) == nil
                        ? "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
                        : "Version is pointed by a Provisioned Concurrency alias")
            }
        }
        try catalog.setProvisioned(requested, of: function.name, qualifier: qualifier)
        return .provisioned(202, function: function.name, qualifiers: [qualifier], isList: false)
    }

    func getProvisioned(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        if request.query["List"] == "ALL" {
            let function = try function(reference)
            return .provisioned(
                200, function: function.name, qualifiers: function.provisioned.keys.sorted(), isList: true)
        }
        let (function, qualifier) = try provisionedQualifier(reference)
        guard function.provisioned[qualifier] != nil else { throw CatalogError.provisionedNotFound }
        return .provisioned(200, function: function.name, qualifiers: [qualifier], isList: false)
    }

    func deleteProvisioned(_ reference: FunctionReference) throws -> ControlAnswer {
        let (function, qualifier) = try provisionedQualifier(reference)
        try catalog.setProvisioned(0, of: function.name, qualifier: qualifier)
        return .empty(204)
    }
}
