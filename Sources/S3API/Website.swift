internal import Objects
internal import XML

/// A WebsiteConfiguration, read: which object answers a path, and where else a browser is sent (Amazon S3 User Guide, "Hosting a static
/// website using Amazon S3"). Pure.
struct Website: Sendable {
    struct Redirect: Equatable, Sendable {
        var host: String?
        /// `http` or `https`; nil: that of the request.
        var scheme: String?
        var key: [UInt8]
        var status = 301
    }

    struct Rule: Sendable {
        var prefix: String?
        var errorStatus: Int?
        var host: String?
        var scheme: String?
        var replacesPrefix: String?
        var replacesKey: String?
        var status: Int
    }

    var index = ""
    var errorKey: String?
    var redirectsAll: (host: String, scheme: String?)?
    var rules: [Rule] = []

    /// nil: the document cannot be read any more.
    init?(_ bytes: [UInt8]) {
        guard let root = try? XMLReader.read(bytes) else { return nil }
        if let all = root.first("RedirectAllRequestsTo"), let host = all.text("HostName") { redirectsAll = (host, all.text("Protocol")) }
        index = root.first("IndexDocument")?.text("Suffix") ?? ""
        errorKey = root.first("ErrorDocument")?.text("Key")
        rules = (root.first("RoutingRules")?.all("RoutingRule") ?? []).compactMap { rule in
            guard let redirect = rule.first("Redirect") else { return nil }
            let condition = rule.first("Condition")
            return Rule(
                prefix: condition?.text("KeyPrefixEquals"), errorStatus: condition?.text("HttpErrorCodeReturnedEquals").flatMap(Int.init),
                host: redirect.text("HostName"), scheme: redirect.text("Protocol"), replacesPrefix: redirect.text("ReplaceKeyPrefixWith"),
                replacesKey: redirect.text("ReplaceKeyWith"),
                status: redirect.text("HttpRedirectCode").flatMap(Int.init).flatMap { (300..<400).contains($0) ? $0 : nil } ?? 301)
        }
    }

    /// The key that a path without its first slash stands for.
    func key(_ path: [UInt8]) -> [UInt8] { path.isEmpty || path.last == UInt8(ascii: "/") ? path + Array(index.utf8) : path }

    /// Where a request for `key` is sent: before it is read (`status` nil), or because reading it failed with `status`.
    func redirect(_ key: [UInt8], status: Int? = nil) -> Redirect? {
        if let redirectsAll { return Redirect(host: redirectsAll.host, scheme: redirectsAll.scheme, key: key) }
        for rule in rules where rule.errorStatus == status {
            let prefix = Array((rule.prefix ?? "").utf8)
            guard key.starts(with: prefix) else { continue }
            var target = key
            if let replaces = rule.replacesKey {
                target = Array(replaces.utf8)
            } else if let replaces = rule.replacesPrefix {
                target = Array(replaces.utf8) + key.dropFirst(prefix.count)
            }
            return Redirect(host: rule.host, scheme: rule.scheme, key: target, status: rule.status)
        }
        return nil
    }
}
