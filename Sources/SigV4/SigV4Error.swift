/// Why a request is not let in, in AWS's words.
package enum SigV4Error: Error, Equatable {
    case missing
    case incomplete(String)
    case unrecognizedKey
    /// A temporary key is over.
    case expiredToken
    case mismatch
    case expired(String)
    case wrongScope(String)

    package var code: String {
        switch self {
        case .missing: "MissingAuthenticationTokenException"
        case .incomplete: "IncompleteSignatureException"
        case .unrecognizedKey: "UnrecognizedClientException"
        case .expiredToken: "ExpiredTokenException"
        case .mismatch, .expired, .wrongScope: "InvalidSignatureException"
        }
    }

    package var status: Int { if case .incomplete = self { 400 } else { 403 } }

    package var message: String {
        switch self {
        case .missing: "Missing Authentication Token"
        case .incomplete(let text), .expired(let text), .wrongScope(let text): text
        case .unrecognizedKey: "The security token included in the request is invalid."
        case .expiredToken: "The security token included in the request is expired"
        case .mismatch:
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
        }
    }
}
