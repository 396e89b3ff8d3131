import Admin
import Base
import HTTP
import IAM
import LambdaAPI
import Net
import S3API
import SigV4
import UV

/// The API listener: verifies signatures, then hands each request to its door, which asks the policies of who has signed.
final class APIService: HTTPService {
    private let lambda: LambdaService
    private let admin: AdminService
    private let s3: S3Service
    private let verifier: Verifier
    private let account: String
    private static let services: Set<String> = ["lambda", "hearth"]

    init(lambda: LambdaService, admin: AdminService, s3: S3Service, keyring: Keyring) {
        self.lambda = lambda
        self.admin = admin
        self.s3 = s3
        verifier = Verifier(keyring)
        account = keyring.account
    }

    private func isAdmin(_ path: UnsafeRawBufferPointer) -> Bool {
        let prefix: StaticString = "/_hearth/"
        return path.starts(with: UnsafeRawBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount))
    }

    func bodyBytesMax(_ request: HTTPRequest) -> Int {
        if isAdmin(request.path) { return admin.bodyBytesMax(request) }
        return S3Service.isFor(request) ? s3.bodyBytesMax(request) : lambda.bodyBytesMax(request)
    }

    func refuseTooLarge(_ request: HTTPRequest) {
        if isAdmin(request.path) { return admin.refuseTooLarge(request) }
        if S3Service.isFor(request) { s3.refuseTooLarge(request) } else { lambda.refuseTooLarge(request) }
    }

    /// Objects are as long as they like: S3 takes its bodies as they come.
    func bodyReceiver(_ request: HTTPRequest) -> (any BodyReceiver)? {
        !isAdmin(request.path) && S3Service.isFor(request) ? s3.bodyReceiver(request) : nil
    }

    func handle(_ request: HTTPRequest) {
        let isAdmin = isAdmin(request.path)
        if isAdmin, AdminService.isOpen(request.path) { return admin.handle(request) }
        if !isAdmin, S3Service.isFor(request) { return s3.handle(request) }
        let caller: Caller
        do throws(SigV4Error) {
            caller = try verifier.verify(
                signedParts(of: request), body: request.body, services: Self.services,
                epochSeconds: Loop.epochMilliseconds / 1000
            ).caller
            // A second account has buckets, and nothing else here.
            guard caller.account == account else { throw .unrecognizedKey }
        } catch {
            return lambda.reject(request, error)
        }
        if isAdmin { admin.handle(request, as: caller) } else { lambda.handle(request, as: caller) }
    }
}
