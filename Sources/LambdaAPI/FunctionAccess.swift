internal import Catalog
internal import Config
internal import IAM

/// `HearthAccess` of a function's configuration: what the key of its workers lets them do.
extension LambdaControl {
    /// Puts it into `settings`; nothing said is nothing allowed.
    func apply(_ access: FunctionSettings.Access, to settings: inout FunctionSettings) throws(LambdaFault) {
        let buckets = access.buckets ?? []
        for bucket in buckets where !Manifest.isBucketGrant(bucket) {
            throw .validation(bucket, at: "hearthAccess.buckets", .pattern("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](:rw)?"))
        }
        if let policy = access.policy {
            guard policy.utf8.count <= Policy.bytesMax else { throw .invalidParameter("hearthAccess.policy is longer than \(Policy.bytesMax) bytes") }
            do throws(PolicyError) { _ = try Policy(policy.utf8, kind: .identity) } catch {
                throw .invalidParameter("hearthAccess.policy is not valid: \(error)")
            }
        }
        let says = !buckets.isEmpty || access.policy != nil
        settings.access = says ? FunctionSettings.Access(buckets: buckets.isEmpty ? nil : buckets, policy: access.policy) : nil
    }

    /// Who gives a function permissions needs `iam:PassRole` on its role, as in AWS; else whoever may deploy could have everything.
    func checkPassesRole(_ new: FunctionSettings, before: FunctionSettings?, _ request: ControlRequest) throws(LambdaFault) {
        guard new.access != nil, new.access != before?.access else { return }
        try request.check("iam:PassRole", on: new.role)
    }
}
