import Admin
import Base
import HTTP
import LambdaAPI
import Net
import SigV4
import UV

/// The API listener: verifies signatures, then hands each request to its door.
final class APIService: HTTPService {
    private let lambda: LambdaService
    private let admin: AdminService
    private let verifier: Verifier
    private static let services: Set<String> = ["lambda", "hearth"]

    init(lambda: LambdaService, admin: AdminService, credentials: Credentials) {
        self.lambda = lambda
        self.admin = admin
        verifier = Verifier { $0 == credentials.accessKeyID ? credentials.secretAccessKey : nil }
    }

    private func isAdmin(_ path: UnsafeRawBufferPointer) -> Bool {
        let prefix: StaticString = "/_hearth/"
        return path.starts(with: UnsafeRawBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount))
    }

    func bodyBytesMax(_ request: HTTPRequest) -> Int {
        isAdmin(request.path) ? admin.bodyBytesMax(request) : lambda.bodyBytesMax(request)
    }

    func refuseTooLarge(_ request: HTTPRequest) {
        if isAdmin(request.path) { admin.refuseTooLarge(request) } else { lambda.refuseTooLarge(request) }
    }

    func handle(_ request: HTTPRequest) {
        let isAdmin = isAdmin(request.path)
        if isAdmin, AdminService.isOpen(request.path) { return admin.handle(request) }
        do throws(SigV4Error) {
            _ = try verifier.verify(
                signedParts(of: request), body: request.body, services: Self.services,
                epochSeconds: Loop.epochMilliseconds / 1000)
        } catch {
            return lambda.reject(request, error)
        }
        if isAdmin { admin.handle(request) } else { lambda.handle(request) }
    }
}
