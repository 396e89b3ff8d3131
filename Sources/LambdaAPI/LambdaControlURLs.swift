internal import Catalog

/// Function URLs: `http://FRONT/NAME/` and, of an alias, `http://FRONT/NAME:ALIAS/`.
extension LambdaControl {
    /// Only aliases have URLs of their own; AWS says so before it looks at anything else.
    func checkURLQualifier(_ request: ControlRequest) throws(LambdaFault) {
        guard let qualifier = request.query["Qualifier"], request.rest.first == "url" else { return }
        if qualifier.utf8.count > 128 { throw .validation(qualifier, at: "qualifier", .lengthMax(128)) }
        guard Shape.Pattern.urlQualifier.matches(qualifier) else {
            throw .validation(qualifier, at: "qualifier", .pattern(Shape.Pattern.urlQualifier.shown))
        }
    }

    /// The function and the key of its URL, or its alias's; nil: there is no such thing.
    private func owner(_ reference: FunctionReference) -> (function: FunctionEntry, key: String)? {
        guard let function = catalog.snapshot.function(named: reference.name) else { return nil }
        guard let alias = reference.qualifier else { return (function, FunctionEntry.own) }
        return function.aliases[alias] == nil ? nil : (function, alias)
    }

    private static let noFunction = LambdaFault.notFound("Function does not exist")

    func createURL(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(URLDocument.self, request, .createURL)
        guard let (function, key) = owner(reference) else { throw Self.noFunction }
        guard function.urls[key] == nil else {
            throw LambdaFault.conflict(
                "Failed to create function url config for [functionArn = \(arn(function.name, reference.qualifier))]. Error message:  FunctionUrlConfig exists for this Lambda function")
        }
        var settings = URLSettings(auth: document.AuthType ?? FunctionURL.open, at: request.epochMilliseconds)
        try apply(document, to: &settings)
        try catalog.setURL(settings, of: function.name, qualifier: key)
        return try answer(201, described(settings, function.name, key, request, isNew: true))
    }

    func getURL(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        guard let (function, key) = owner(reference), let settings = function.urls[key] else { throw .noResource }
        return try answer(200, described(settings, function.name, key, request))
    }

    func updateURL(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(URLDocument.self, request, .updateURL)
        guard let (function, key) = owner(reference) else { throw Self.noFunction }
        guard var settings = function.urls[key] else { throw LambdaFault.noResource }
        if let auth = document.AuthType { settings.auth = auth }
        try apply(document, to: &settings)
        settings.modified = request.epochMilliseconds
        try catalog.setURL(settings, of: function.name, qualifier: key)
        var shown = described(settings, function.name, key, request)
        // Said only if it was ever said (recorded).
        shown.InvokeMode = settings.invokeMode
        return try answer(200, shown)
    }

    func deleteURL(_ reference: FunctionReference) throws -> ControlAnswer {
        guard let function = catalog.snapshot.function(named: reference.name) else { throw LambdaFault.noResource }
        // The URL of an alias that is gone can still be deleted.
        try catalog.setURL(nil, of: function.name, qualifier: reference.qualifier ?? FunctionEntry.own)
        return .empty(204)
    }

    func listURLs(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        guard let function = catalog.snapshot.function(named: reference.name) else { throw Self.noFunction }
        let all = function.urls.map { described($0.value, function.name, $0.key, request) }
        let (page, next) = try page(all, request, sizeMax: 50, key: \.FunctionArn)
        return try answer(200, URLList(FunctionUrlConfigs: page, NextMarker: next))
    }

    private func apply(_ document: URLDocument, to settings: inout URLSettings) throws(LambdaFault) {
        if let mode = document.InvokeMode { settings.invokeMode = mode }
        guard let cors = document.Cors else { return }
        let methods = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"]
        guard (cors.AllowMethods ?? []).allSatisfy(methods.contains) else {
            throw .validation(
                "[\((cors.AllowMethods ?? []).joined(separator: ", "))]", at: "cors.allowMethods",
                .each([Violation.Constraint.oneOf(methods).text]))
        }
        let lists = [cors.AllowHeaders, cors.AllowMethods, cors.AllowOrigins, cors.ExposeHeaders].compactMap { $0 }
        // They go out as header fields.
        guard lists.joined().allSatisfy({ $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }) else {
            throw .invalidParameter("Cors holds what cannot stand in a header field: only visible ASCII characters can")
        }
        settings.cors = cors.settings
    }

    private func described(
        _ settings: URLSettings, _ name: String, _ key: String, _ request: ControlRequest, isNew: Bool = false
    ) -> URLConfiguration {
        let alias = key == FunctionEntry.own ? nil : key
        return URLConfiguration(
            FunctionUrl: "http://\(request.front)/\(name)\(alias.map { ":\($0)" } ?? "")/", FunctionArn: arn(name, alias),
            AuthType: settings.auth, Cors: settings.cors.map { CORSDocument($0) }, CreationTime: Self.time(settings.created),
            LastModifiedTime: isNew ? nil : Self.time(settings.modified),
            InvokeMode: isNew ? settings.invokeMode : settings.invokeMode ?? "BUFFERED")
    }

    /// `2026-11-23T01:02:03.456Z`
    static func time(_ milliseconds: Int64) -> String { FunctionConfiguration.time(milliseconds).replacing("+0000", with: "Z") }
}
