internal import Base
internal import HTTP
package import Net
internal import Objects
internal import UV

/// Websites of buckets on the front listener: reads without a signature, by host.
///
/// What a reader may see is what the bucket's policy and its lists show to everybody.
///
/// Thread rule: the loop's thread.
package final class WebsiteService {
    private let loop: Loop
    private let calls: S3Calls
    private let hosts: [String: String]
    private var random: Random
    private static let suffix = ".website.localhost"

    /// - Parameter hosts: buckets by the names of their hosts, beside `BUCKET.website.localhost`.
    package init(_ service: S3Service, hosts: [String: String], seed: UInt64) {
        loop = service.loop
        calls = service.calls
        self.hosts = hosts
        random = Random(seed: seed)
    }

    /// The bucket whose website a host names.
    private func bucket(_ request: HTTPRequest) -> String? {
        guard let authority = request.head.authority, !hosts.isEmpty || Self.mayBeWebsite(request.slice(authority)) else { return nil }
        let host = request.text(authority).lowercased().split(separator: ":").first.map(String.init) ?? ""
        if let bucket = hosts[host] { return bucket }
        return host.hasSuffix(Self.suffix) && host.count > Self.suffix.count ? String(host.dropLast(Self.suffix.count)) : nil
    }

    /// Functions are called by the same listener: nothing is made for a request that is one of theirs.
    private static func mayBeWebsite(_ authority: UnsafeRawBufferPointer) -> Bool {
        let end = authority.lastIndex(of: UInt8(ascii: ":")) ?? authority.count
        // ".LOCALHOST" and its kind are told from others by their last letter.
        return end > suffix.utf8.count && authority[end - 1] | 0x20 == UInt8(ascii: "t") && authority[end - 10] == UInt8(ascii: ".")
    }

    /// Answers a request whose host is a website's; false: it is not.
    package func answers(_ request: HTTPRequest) -> Bool {
        guard let bucket = bucket(request) else { return false }
        let id = String(random.next(), radix: 16, uppercase: true)
        let box = LoopBound(request.connection, on: loop)
        let asked: S3Request
        do throws(S3Fault) {
            let path = percentDecode(request.path, plusIsSpace: false) ?? []
            let whole = try S3Request(request, id: id, now: Int64(Loop.epochMilliseconds))
            asked = S3Request(whole, bucket: bucket, key: Array(path.dropFirst()))
        } catch {
            Self.page(error).send(on: request.connection, id: id, loop: loop)
            return true
        }
        loop.task { [calls, loop = LoopBound(loop, on: loop)] in
            let answer = await calls.page(asked)
            answer.send(on: box.wrapped, id: id, loop: loop.wrapped)
        }
        return true
    }

    /// What a browser shows when there is no error document.
    fileprivate static func page(_ fault: S3Fault) -> S3Answer {
        let title = "\(fault.status) \(fault.code)"
        let text = "<!doctype html>\n<title>\(title)</title>\n<h1>\(title)</h1>\n<p>\(escaped(fault.message))</p>\n"
        return S3Answer(fault.status, [HeaderField("Content-Type", "text/html; charset=utf-8")], body: .bytes(Array(text.utf8)))
    }

    private static func escaped(_ text: String) -> String {
        text.map { ["&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"][$0] ?? String($0) }.joined()
    }
}

extension S3Calls {
    /// A page of a website, or what stands for it: never an error's document in XML.
    fileprivate func page(_ request: S3Request) async -> S3Answer {
        do throws(S3Fault) {
            guard request.method == .get || request.method == .head else { throw .methodNotAllowed }
            let access = try self.access(request)
            guard let bytes = stored(.website, access.bucket.name), let site = Website(bytes) else {
                throw S3Fault(404, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
            }
            let path = request.keyBytes ?? []
            if let redirect = site.redirect(path) { return Self.moved(redirect, request) }
            do throws(S3Fault) { return try await read(access, request, site.key(path)) } catch {
                return try await instead(error, site, access, request, path)
            }
        } catch { return WebsiteService.page(error) }
    }

    private func read(_ access: BucketAccess, _ request: S3Request, _ key: [UInt8]) async throws(S3Fault) -> S3Answer {
        let asked = S3Request(request, bucket: access.bucket.name.text, key: key)
        var answer = request.method == .head ? try await headObject(access, asked) : try await getObject(access, asked)
        if let location = answer.fields.first(where: { $0.name == "x-amz-website-redirect-location" }) {
            answer = S3Answer(301, [HeaderField("Location", location.value)])
        }
        return answer
    }

    /// A directory's index, a rule for this error, or the error document.
    private func instead(
        _ fault: S3Fault, _ site: Website, _ access: BucketAccess, _ request: S3Request, _ path: [UInt8]
    ) async throws(S3Fault) -> S3Answer {
        guard fault.status >= 400 else { return S3Answer(fault.status, fault.fields) }
        let slash = UInt8(ascii: "/")
        if fault.status == 404 || fault.status == 403, !path.isEmpty, path.last != slash,
            (try? await headObject(access, S3Request(request, bucket: access.bucket.name.text, key: site.key(path + [slash])))) != nil
        {
            return S3Answer(302, [HeaderField("Location", "/" + S3Request.percentEncode(path + [slash]))])
        }
        if let redirect = site.redirect(path, status: fault.status) { return Self.moved(redirect, request) }
        // A range or a condition was about the page, not about what explains that there is none.
        let plain = S3Request(request, headers: request.headers.filter { !$0.key.hasPrefix("if-") && $0.key != "range" })
        guard let key = site.errorKey, var answer = try? await read(access, plain, Array(key.utf8)), answer.status == 200 else {
            throw fault
        }
        answer.status = fault.status
        return answer
    }

    private static func moved(_ redirect: Website.Redirect, _ request: S3Request) -> S3Answer {
        let key = "/" + S3Request.percentEncode(redirect.key)
        let place = redirect.host == nil && redirect.scheme == nil ? key : "\(redirect.scheme ?? "http")://\(redirect.host ?? request.host)\(key)"
        return S3Answer(redirect.status, [HeaderField("Location", place)])
    }
}
