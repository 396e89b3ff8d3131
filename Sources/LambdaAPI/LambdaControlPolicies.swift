internal import Catalog

/// Resource policies: who but the owner may use a function, a version or an alias.
extension LambdaControl {
    func addPermission(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(PermissionDocument.self, request, .addPermission)
        let key = try policyKey(reference)
        guard Self.isPrincipal(document.Principal) else {
            throw LambdaFault.invalidParameter("The provided principal was invalid. Please check the principal and try again.")
        }
        var statement = PolicyStatement(sid: document.StatementId, action: document.Action, principal: document.Principal)
        statement.sourceARN = document.SourceArn
        statement.sourceAccount = document.SourceAccount
        statement.eventSourceToken = document.EventSourceToken
        statement.principalOrgID = document.PrincipalOrgID
        statement.urlAuthType = document.FunctionUrlAuthType
        statement.isViaURL = document.InvokedViaFunctionUrl
        try catalog.editPolicy(of: reference.name, qualifier: key, revision: document.RevisionId) { [statement] statements in
            guard !statements.contains(where: { $0.sid == statement.sid }) else { throw CatalogError.statementExists(statement.sid) }
            statements.append(statement)
        }
        return try answer(201, AddedStatement(Statement: try text(StatementDocument(statement, resource: resource(reference)))))
    }

    func getPolicy(_ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        guard let policy = catalog.snapshot.function(named: reference.name)?.policies[reference.qualifier ?? FunctionEntry.own] else {
            throw .noResource
        }
        let statements = policy.statements.map { StatementDocument($0, resource: resource(reference)) }
        return try answer(200, PolicyAnswer(Policy: try text(PolicyDocument(Statement: statements)), RevisionId: policy.revisionID))
    }

    func removePermission(_ request: ControlRequest, _ reference: FunctionReference, _ sid: String) throws -> ControlAnswer {
        guard (1...100).contains(sid.utf8.count), sid.wholeMatch(of: /[a-zA-Z0-9\-_.]+/) != nil else {
            throw LambdaFault.validation(sid, at: "statementId", sid.utf8.count > 100 ? .lengthMax(100) : .pattern("([a-zA-Z0-9-_.]+)"))
        }
        guard catalog.snapshot.function(named: reference.name) != nil else {
            throw LambdaFault.notFound("No policy found for: \(arn(reference.name))")
        }
        let key = try policyKey(reference)
        try catalog.editPolicy(of: reference.name, qualifier: key, revision: request.query["RevisionId"]) { statements in
            guard !statements.isEmpty else { throw CatalogError.policyNotFound }
            guard let index = statements.firstIndex(where: { $0.sid == sid }) else { throw CatalogError.statementNotFound(sid) }
            statements.remove(at: index)
        }
        return .empty(204)
    }

    private func resource(_ reference: FunctionReference) -> String { arn(reference.name, reference.qualifier) }

    /// The key of the policy that is meant; what it is for must be there.
    private func policyKey(_ reference: FunctionReference) throws(LambdaFault) -> String {
        let function = try function(FunctionReference(name: reference.name))
        guard let qualifier = reference.qualifier else { return FunctionEntry.own }
        guard qualifier != FunctionEntry.own else {
            throw .invalidParameter("We currently do not support adding policies for $LATEST.")
        }
        guard function.resolve(qualifier: qualifier) != nil else {
            let isVersion = qualifier.contains("$") || Int(qualifier) != nil
            throw .notFound("\(isVersion ? "Function not found:" : "Cannot find alias arn:") \(arn(function.name, qualifier))")
        }
        return qualifier
    }

    /// `*`, a service, an account or an ARN of IAM or STS: whether there is such a one is not known here.
    private static func isPrincipal(_ text: String) -> Bool {
        if text == "*" || text.wholeMatch(of: /[0-9]{12}/) != nil { return true }
        if text.hasPrefix("arn:") { return text.wholeMatch(of: /arn:aws[a-z\-]*:(iam|sts)::[0-9]{12}:.+/) != nil }
        return text.wholeMatch(of: /[a-z0-9.\-]+\.amazonaws\.com(\.cn)?|[a-z0-9\-]+\.amazon\.com/) != nil
    }
}
