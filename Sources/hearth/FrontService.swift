import HTTP
import LambdaAPI
import Net
import S3API

/// The front listener: websites of buckets by their hosts, then functions by their names.
final class FrontService: HTTPService {
    private let functions: FunctionURLService
    private let websites: WebsiteService

    init(functions: FunctionURLService, websites: WebsiteService) {
        self.functions = functions
        self.websites = websites
    }

    func bodyBytesMax(_ request: HTTPRequest) -> Int { functions.bodyBytesMax(request) }
    func refuseTooLarge(_ request: HTTPRequest) { functions.refuseTooLarge(request) }
    func handle(_ request: HTTPRequest) { if !websites.answers(request) { functions.handle(request) } }
}
