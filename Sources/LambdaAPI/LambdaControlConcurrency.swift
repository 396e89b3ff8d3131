internal import Catalog

/// Reserved and provisioned concurrency, and the account that both are taken from.
extension LambdaControl {
    func putReserved(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(ReservedDocument.self, request, .reserved)
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
        guard unreserved(without: reserved, of: reference.name) >= unreservedMin else {
            throw LambdaFault(
                status: 400, type: "InvalidParameterValueException",
                message: "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [\(unreservedMin)].",
                hasType: false)
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
        let requested = try decode(ProvisionedDocument.self, request, .provisioned).ProvisionedConcurrentExecutions ?? 1
        let (function, qualifier) = try provisionedQualifier(
            reference, onLatest: "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
        guard function.aliases[qualifier]?.weight == nil else {
            throw LambdaFault.invalidParameter("Alias with weights can not be used with Provisioned Concurrency")
        }
        if function.reserved == nil { try checkUnreserved(requested, function) }
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

    // MARK: The account

    /// What must stay for functions that reserve nothing: 100 as in Lambda, or a tenth of what a smaller node has.
    private var unreservedMin: Int { min(100, concurrencyMax / 10) }

    /// What is left to functions that reserve nothing, if `name` reserves `reserved`.
    private func unreserved(without reserved: Int = 0, of name: String = "") -> Int {
        let others = catalog.snapshot.functions.reduce(0) { $0 + ($1.name == name ? 0 : $1.reserved ?? 0) }
        // Two numbers of a request may be too large for their difference.
        let (left, isTooMuch) = (concurrencyMax - others).subtractingReportingOverflow(reserved)
        return isTooMuch ? Int.min : left
    }

    /// Provisioned concurrency of a function that reserves nothing is taken from what nobody has reserved.
    private func checkUnreserved(_ requested: Int, _ function: FunctionEntry) throws(LambdaFault) {
        let left = unreserved()
        func refusal(_ message: String) -> LambdaFault {
            LambdaFault(status: 400, type: "InvalidParameterValueException", message: message, hasType: false)
        }
        guard requested <= left else {
            throw refusal("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [\(left)].")
        }
        guard left - requested >= unreservedMin else {
            throw refusal(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [\(unreservedMin)].")
        }
    }

    func accountSettings() throws(LambdaFault) -> ControlAnswer {
        let functions = catalog.snapshot.functions
        let layers: [LayerVersion]
        do throws(CatalogError) { layers = try catalog.layerVersions() } catch { throw LambdaFault(error, arn: "") }
        let code = functions.reduce(0) { $0 + $1.allVersions.reduce(0) { $0 + $1.codeSize } }
        return try answer(
            200,
            AccountSettings(
                AccountLimit: .init(ConcurrentExecutions: concurrencyMax, UnreservedConcurrentExecutions: unreserved()),
                AccountUsage: .init(TotalCodeSize: layers.reduce(code) { $0 + $1.size }, FunctionCount: functions.count)))
    }
}
