internal import Foundation

/// A policy that cannot be used; the sentence says what is wrong with it.
package struct PolicyError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ sentence: String) { description = sentence }
}

/// A policy in AWS's JSON (IAM User Guide, "IAM JSON policy elements reference", "Policy evaluation logic"): of an access key or a
/// function (identity-based), or of a bucket or a function's callers (resource-based).
///
/// It is read strictly: what Hearth does not understand is refused, so that it can neither be taken for a permission nor make a
/// prohibition void.
package struct Policy: Sendable {
    package enum Kind: Sendable {
        /// Says what its owner may do; names no principals.
        case identity
        /// Says who may do what with its owner; names principals in each statement.
        case resource
    }

    package enum Verdict: Sendable {
        case allowed
        /// Allowed to the whole account: whoever of it is not its owner needs an identity-based policy too.
        case delegated
        case denied
        case silent
    }

    /// What is asked for.
    package struct Question: Sendable {
        /// `s3:GetObject`
        package let action: String
        /// `arn:aws:s3:::bucket/key`
        package let resource: String
        /// nil: nobody in particular.
        package let caller: Caller?
        /// Condition keys in lower case.
        package let context: [String: String]

        package init(action: String, resource: String, caller: Caller?, context: [String: String]) {
            self.action = action
            self.resource = resource
            self.caller = caller
            self.context = context
        }
    }

    package static let bytesMax = 20 * 1024

    let statements: [Statement]

    /// In the place of a policy that can no longer be read: denies everything to everybody.
    package static let closed = Policy(statements: [Statement.denyingAll])

    private init(statements: [Statement]) { self.statements = statements }

    /// Throws what is wrong, in AWS's words where it has some.
    package init(_ json: some Sequence<UInt8>, kind: Kind) throws(PolicyError) {
        guard case .object(let root)? = try? JSONDecoder().decode(PolicyJSON.self, from: Data(json)) else {
            throw PolicyError("Policies must be valid JSON and the first byte must be '{'")
        }
        if let unknown = root.keys.first(where: { !["Version", "Id", "Statement"].contains($0) }) {
            throw PolicyError("Unknown field \(unknown)")
        }
        let version = root["Version"]?.text
        guard root["Version"] == nil || version == "2012-10-17" || version == "2008-10-17" else {
            throw PolicyError("The policy must contain a valid version string")
        }
        guard let list = root["Statement"]?.list, !list.isEmpty else { throw PolicyError("Missing required field Statement") }
        var statements: [Statement] = []
        for item in list { statements.append(try Statement(item, kind, hasVariables: version == "2012-10-17")) }
        self.statements = statements
    }

    /// A denial outweighs all permissions, and what nothing allows is not allowed.
    package func verdict(_ question: Question) -> Verdict {
        var verdict = Verdict.silent
        for statement in statements {
            guard let match = statement.applies(to: question) else { continue }
            guard statement.allows else { return .denied }
            if match == .account, verdict != .allowed { verdict = .delegated }
            if match == .exact { verdict = .allowed }
        }
        return verdict
    }

    /// As they are written: a door may want to hold them to what the policy belongs to.
    package var resources: [String] { statements.flatMap { $0.resources.map(\.text) } }

    /// Whether somebody of whom nothing is known may do something ("The meaning of public").
    package var isPublic: Bool { statements.contains(where: \.isPublic) }

    /// The policy that a list of buckets stands for: `NAME` may be read, `NAME:rw` be written too; nil: it stands for nothing.
    package static func text(ofBuckets buckets: [String]) -> String? {
        let readable = buckets.map(BucketGrant.init)
        guard !readable.isEmpty else { return nil }
        func list(_ names: [String]) -> String { names.map { "\"\($0)\"" }.joined(separator: ",") }
        let names = readable.map { "arn:aws:s3:::\($0.bucket)" }
        let written = readable.filter(\.isWritable).map { "arn:aws:s3:::\($0.bucket)/*" }
        var statements = [
            #"{"Effect":"Allow","Action":["s3:ListBucket*","s3:GetBucketLocation"],"Resource":[\#(list(names))]}"#,
            #"{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion","s3:GetObject*Tagging","s3:GetObject*Attributes"],"Resource":[\#(list(names.map { $0 + "/*" }))]}"#,
        ]
        if !written.isEmpty {
            statements.append(
                #"{"Effect":"Allow","Action":["s3:PutObject","s3:PutObject*Tagging","s3:DeleteObject*","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":[\#(list(written))]}"#
            )
        }
        return #"{"Version":"2012-10-17","Statement":[\#(statements.joined(separator: ","))]}"#
    }
}

/// One of `buckets` in function.toml.
package struct BucketGrant: Sendable {
    package let bucket: String
    package let isWritable: Bool

    /// `inbox` or `counts:rw`
    package init(_ text: String) {
        isWritable = text.hasSuffix(":rw")
        bucket = isWritable ? String(text.dropLast(3)) : text
    }
}
