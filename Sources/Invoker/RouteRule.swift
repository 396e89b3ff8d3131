internal import Base
internal import Cache
internal import Catalog
package import HTTP

/// What of a version's results is kept, and how.
package final class MemoPlan {
    let version: VersionEntry
    /// `[memoize]`
    package let rule: MemoRule?
    /// `[[route]]`, in their order.
    package let routes: [RouteRule]

    init(version: VersionEntry, rule: MemoRule?, routes: [RouteRule]) {
        self.version = version
        self.rule = rule
        self.routes = routes
    }

    func count(into metrics: VersionMetrics) {
        rule?.metrics = metrics
        for route in routes { route.rule.metrics = metrics }
    }

    /// The first route that means this request.
    @inline(__always) package func route(method: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer) -> RouteRule? {
        for route in routes where route.means(method, path) { return route }
        return nil
    }
}

/// Hits and misses of one route, whatever version answers (7.3.32). Who waited for another's miss has hit.
package final class RouteCounts {
    package let function: String
    package let path: String
    package var hits: UInt64 = 0
    package var misses: UInt64 = 0

    init(function: String, path: String) {
        self.function = function
        self.path = path
    }
}

/// One `[[route]]` of a version.
package final class RouteRule {
    /// What becomes of `Cache-Control: max-age=0` from somebody who has not signed (API Gateway's three behaviours, 7.3.29).
    package enum Unauthorized: String { case fail, warn = "ignore_with_warning", ignore }

    /// As the manifest has it.
    package let path: String
    package let pattern: RoutePattern
    package let parts: [RouteKeyPart]
    package let unauthorized: Unauthorized
    package let rule: MemoRule
    private let methods: [[UInt8]]

    /// nil: it cannot be read, which an API of another Hearth may have let in.
    init?(_ function: String, _ version: VersionEntry, _ route: FunctionSettings.Route, in namespace: NamespaceID, counts: RouteCounts) {
        guard let pattern = try? RoutePattern(route.path) else { return nil }
        var parts: [RouteKeyPart] = []
        for text in route.key {
            guard let part = try? RouteKeyPart(text, of: pattern) else { return nil }
            parts.append(part)
        }
        path = route.path
        self.pattern = pattern
        self.parts = parts
        methods = route.methods.map { Array($0.utf8) }
        unauthorized = Unauthorized(rawValue: route.unauthorized) ?? .warn
        let headers = parts.compactMap { part -> [UInt8]? in if case .header(let name) = part { name } else { nil } }
        rule = MemoRule(function: function, version: version, route, headers: headers, in: namespace, counts: counts)
    }

    /// No response of it is kept.
    package var isOff: Bool { rule.ttl == .zero }

    @inline(__always) func means(_ method: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer) -> Bool {
        methods.contains { $0.elementsEqual(method) } && pattern.matches(path)
    }
}
