internal import HTTP
package import Net
package import SigV4

/// What of a request a signature covers.
package func signedParts(of request: HTTPRequest) -> SignedParts {
    let head = request.head
    let headers = (0..<head.headerCount).map { index in
        (name: request.text(head.headerName(index)).lowercased(), value: Array(request.slice(head.headerValue(index))))
    }
    return SignedParts(
        method: request.text(head.methodRange), path: Array(request.path), query: Array(request.query), headers: headers)
}
