internal import Catalog

/// Versions.
extension LambdaControl {
    func publishVersion(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(PublishDocument.self, request, .publishVersion)
        guard document.PublishTo == nil else { throw LambdaFault.invalidParameter("Hearth does not have PublishTo: leave it out") }
        let (function, version) = try catalog.publishVersion(
            reference.name, codeSha256: document.CodeSha256, description: document.Description,
            revision: document.RevisionId)
        let number = String(version.number ?? 0)
        return try answer(
            201, FunctionConfiguration(function, version, version: number, arn: arn(function.name, number)))
    }
}
