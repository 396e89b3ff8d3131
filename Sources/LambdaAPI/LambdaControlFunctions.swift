internal import Archive
internal import Base
internal import Catalog
internal import Config
internal import Foundation
internal import HTTP

/// Functions: create, read, update, delete, list; their code and configuration.
extension LambdaControl {
    func createFunction(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let document = try decode(ConfigurationDocument.self, request, .createFunction)
        try judge(document)
        let reference = try FunctionReference(
            document.FunctionName ?? "", queryQualifier: nil, region: region, accountID: accountID)
        guard reference.name.utf8.count <= 64 else {
            throw .invalidParameter(
                "1 validation error detected: \(Violation(reference.name, at: "functionName", .lengthMax(64)))")
        }
        let handler = document.Handler ?? (document.Runtime.map { Manifest.isProgram(runtime: $0) } == true ? "bootstrap" : nil)
        guard let runtime = document.Runtime, let handler else {
            throw .invalidParameter("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
        }
        let tags = document.Tags ?? [:]
        guard tags.count <= Catalog.tagsMax else { throw .invalidParameter("Number of tags exceeds resource tag limit.") }
        var settings = FunctionSettings(runtime: runtime, handler: handler)
        try apply(document, try document.Layers.map(references), to: &settings)
        try checkPassesRole(settings, before: nil, request)
        if let architectures = document.Architectures { settings.architectures = architectures }
        let package = try package(document.Code)
        try check(settings.layers, with: package.unzipped)
        do {
            let (function, version) = try catalog.createFunction(
                reference.name, settings: settings, zip: package.zip, publish: document.Publish ?? false, tags: tags,
                opensURL: document.HearthURL == "open", at: request.epochMilliseconds)
            let name = document.Publish == true ? String(version.number ?? 1) : "$LATEST"
            return try answer(
                201, FunctionConfiguration(function, version, version: name, arn: arn(function.name), phase: .created))
        } catch {
            if let fault = error as? LambdaFault { throw fault }
            throw fault(error, reference)
        }
    }

    /// What the shape cannot tell: Hearth's own settings, and what this node does not do. That is refused: accepted in silence, it would be
    /// looked for for long.
    private func judge(_ document: ConfigurationDocument) throws(LambdaFault) {
        var violations: [Violation] = []
        if let memoize = document.HearthCache?.memoize { violations += Self.violations(of: memoize) }
        for route in document.HearthCache?.routes ?? [] { violations += Self.violations(of: route) }
        guard violations.isEmpty else { throw .validation(violations) }
        if document.PackageType == "Image" || document.Code?.ImageUri != nil || document.ImageConfig != nil { throw Self.noImages }
        let refused = [
            ("FileSystemConfigs", document.FileSystemConfigs?.isEmpty == false), ("CodeSigningConfigArn", document.CodeSigningConfigArn != nil),
            ("CapacityProviderConfig", document.CapacityProviderConfig != nil), ("DurableConfig", document.DurableConfig != nil),
            ("TenancyConfig", document.TenancyConfig != nil), ("PublishTo", document.PublishTo != nil),
        ].filter(\.1)
        if let (field, _) = refused.first { throw .invalidParameter("Hearth does not have \(field): leave it out") }
    }

    private static let noImages = LambdaFault.invalidParameter("Hearth runs zip packages: images are not supported")

    private static func violations(of memoize: FunctionSettings.Memoize) -> [Violation] {
        var violations: [Violation] = []
        do throws(EventForm.Unknown) { _ = try EventForm(memoize.key) } catch {
            violations.append(Violation(memoize.key, at: "hearthCache.memoize.key", .pattern("raw|jcs|jmespath:.+")))
        }
        if !isToken(memoize.identity) {
            violations.append(Violation(memoize.identity, at: "hearthCache.memoize.identity", .pattern("caller|none|HEADER")))
        }
        let audit = memoize.audit ?? 0
        if !(0...1).contains(audit) { violations.append(Violation("\(audit)", at: "hearthCache.memoize.audit", .pattern("0 to 1"))) }
        return violations
            + [
                Violation(memoize.ttl, at: "hearthCache.memoize.ttl", within: 0...31_536_000),
                memoize.errors.flatMap { Violation($0, at: "hearthCache.memoize.errors", within: 0...3600) },
                memoize.staleWhileRevalidate.flatMap {
                    Violation($0, at: "hearthCache.memoize.staleWhileRevalidate", within: 0...31_536_000)
                },
                memoize.maxBytes.flatMap { Violation($0, at: "hearthCache.memoize.maxBytes", within: 1...6_291_556) },
            ].compactMap { $0 }
    }

    private static func violations(of route: FunctionSettings.Route) -> [Violation] {
        var violations: [Violation] = []
        func judge(_ isFine: Bool, _ value: String, _ field: String, _ constraint: Violation.Constraint) {
            if !isFine { violations.append(Violation(value, at: "hearthCache.routes.\(field)", constraint)) }
        }
        let pattern = try? RoutePattern(route.path)
        judge(pattern != nil, route.path, "path", .pattern("/SEGMENT/{name}/*"))
        let keys = "path|path.NAME|query|query.NAME|header.NAME"
        if let pattern { for part in route.key { judge((try? RouteKeyPart(part, of: pattern)) != nil, part, "key", .pattern(keys)) } }
        judge(!route.methods.isEmpty && route.methods.allSatisfy { isToken($0) }, "\(route.methods)", "methods", .pattern("GET"))
        judge(["caller", "none"].contains(route.identity), route.identity, "identity", .oneOf(["caller", "none"]))
        let behaviours = ["fail", "ignore_with_warning", "ignore"]
        judge(behaviours.contains(route.unauthorized), route.unauthorized, "unauthorized", .oneOf(behaviours))
        return violations + [Violation(route.ttl, at: "hearthCache.routes.ttl", within: 0...3600)].compactMap { $0 }
    }

    private func fault(_ error: any Error, _ reference: FunctionReference) -> LambdaFault {
        if let error = error as? CatalogError { return LambdaFault(error, arn: arn(reference.name)) }
        return LambdaFault(status: 500, type: "ServiceException", message: "\(error)", capitalised: true)
    }

    /// The zip that a request brings or names, judged, and the bytes of its files.
    func package(_ code: CodeDocument?) throws(LambdaFault) -> (zip: [UInt8], unzipped: Int) {
        guard code?.ImageUri == nil else { throw Self.noImages }
        let zip: [UInt8]
        if let bucket = code?.S3Bucket {
            guard code?.ZipFile == nil else { throw .invalidParameter("Please do not provide other FunctionCode parameters when providing a ZipFile.") }
            guard let key = code?.S3Key else { throw .invalidParameter("S3Key is mandatory when S3Bucket is given.") }
            do throws(CodeBucketFailure) { zip = try buckets.object(bucket, key, version: code?.S3ObjectVersion) } catch {
                throw .invalidParameter("Error occurred while GetObject. S3 Error Code: \(error.code). S3 Error Message: \(error.message)")
            }
        } else {
            guard let base64 = code?.ZipFile else { throw .invalidParameter("Please provide a source for function code.") }
            guard let data = Data(base64Encoded: base64) else { throw .notJSON }
            guard data.count <= Limits.zipBytesMax else {
                throw LambdaFault(
                    status: 413, type: "RequestEntityTooLargeException",
                    message: "Zipped size must be smaller than \(Limits.zipBytesMax) bytes")
            }
            zip = Array(data)
        }
        return (zip, try unzippedBytes(zip))
    }

    private func unzippedBytes(_ zip: [UInt8]) throws(LambdaFault) -> Int {
        let result: Result<Int, ArchiveError> = zip.withUnsafeBytes { bytes in
            do throws(ArchiveError) { return .success(try ZipArchive.check(bytes)) } catch { return .failure(error) }
        }
        do throws(ArchiveError) { return try result.get() } catch { throw .invalidParameter(error.description) }
    }

    /// Puts the fields that are there into `settings`. Asks the catalogue nothing: it is called from inside its transaction.
    private func apply(
        _ document: ConfigurationDocument, _ layers: [LayerReference]?, to settings: inout FunctionSettings
    ) throws(LambdaFault) {
        if let runtime = document.Runtime {
            guard Manifest.isKnown(runtime: runtime) else {
                throw .invalidParameter(
                    "Value \(runtime) at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [python3.N, nodejsN.x, swift, provided, provided.al2, provided.al2023] or be a valid ARN")
            }
            settings.runtime = runtime
        }
        if let handler = document.Handler { settings.handler = handler }
        if let role = document.Role { settings.role = role }
        if let description = document.Description { settings.description = description }
        if let timeout = document.Timeout { settings.timeout = timeout }
        if let memory = document.MemorySize { settings.memorySize = memory }
        if let size = document.EphemeralStorage?.Size { settings.ephemeralStorage = size }
        if let applyOn = document.SnapStart?.ApplyOn { settings.snapStart = applyOn == "PublishedVersions" ? true : nil }
        if let mode = document.TracingConfig?.Mode { settings.tracing = mode == "PassThrough" ? nil : mode }
        if let logging = document.LoggingConfig { apply(logging, to: &settings) }
        if let layers { settings.layers = layers.isEmpty ? nil : layers }
        if let letters = document.DeadLetterConfig { settings.deadLetter = try deadLetter(letters) }
        if let concurrency = document.HearthConcurrency { settings.concurrency = concurrency }
        if let access = document.HearthAccess { try apply(access, to: &settings) }
        if let cache = document.HearthCache {
            settings.memoize = cache.memoize
            settings.routes = cache.routes?.isEmpty == false ? cache.routes : nil
        }
        if let environment = document.Environment { settings.environment = try checked(environment.Variables ?? [:]) }
    }

    private func apply(_ document: LoggingDocument, to settings: inout FunctionSettings) {
        var logging = settings.logging ?? FunctionSettings.Logging()
        logging.format = document.LogFormat ?? logging.format
        logging.group = document.LogGroup ?? logging.group
        logging.applicationLevel = document.ApplicationLogLevel ?? logging.applicationLevel
        logging.systemLevel = document.SystemLogLevel ?? logging.systemLevel
        settings.logging = logging
    }

    private func checked(_ variables: [String: String]) throws(LambdaFault) -> [String: String] {
        let reserved = variables.keys.filter { Manifest.isReserved(environmentName: $0) }.sorted()
        guard reserved.isEmpty else {
            throw .invalidParameter(
                "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: \(reserved.joined(separator: ", "))")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let text = (try? encoder.encode(variables)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard text.utf8.count <= Limits.environmentBytesMax else {
            throw .invalidParameter(
                "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: \(text)")
        }
        for (name, value) in variables {
            let isName = name.first.map { $0.isASCII && $0.isLetter } == true
                && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            guard isName, !value.utf8.contains(0) else {
                throw .validation(
                    name, at: "environment.variables", .pattern("[a-zA-Z]([a-zA-Z0-9_])+"))
            }
        }
        return variables
    }

    func getFunction(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let (function, resolution) = try resolve(reference)
        return try answer(
            200,
            FunctionDocument(
                Configuration: configuration(function, resolution),
                Code: CreatedCode(Location: "http://\(request.host)\(codePath(resolution.version.codeDigest))"),
                Tags: function.tags.isEmpty ? nil : function.tags,
                Concurrency: function.reserved.map { ReservedDocument(ReservedConcurrentExecutions: $0) }))
    }

    /// The ARN shows the qualifier as it was asked for.
    private func configuration(_ function: FunctionEntry, _ resolution: Resolution) -> FunctionConfiguration {
        FunctionConfiguration(
            function, resolution.version, version: resolution.executedVersion, arn: arn(function.name, resolution.qualifier))
    }

    func getConfiguration(_ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let (function, resolution) = try resolve(reference)
        return try answer(200, configuration(function, resolution))
    }

    func updateConfiguration(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(ConfigurationDocument.self, request, .updateConfiguration)
        try judge(document)
        // Judged before the transaction, so that a refused request changes nothing.
        var probe = try function(reference).latest.settings
        let before = probe
        let layers = try document.Layers.map(references)
        try apply(document, layers, to: &probe)
        if layers?.isEmpty == false, let zip = try catalog.code(digest: function(reference).latest.codeDigest) {
            try check(layers, with: unzippedBytes(zip))
        }
        try checkPassesRole(probe, before: before, request)
        let (function, version) = try catalog.update(
            reference.name, settings: { settings in try? apply(document, layers, to: &settings) }, revision: document.RevisionId,
            at: request.epochMilliseconds)
        return try answer(
            200, FunctionConfiguration(function, version, version: "$LATEST", arn: arn(function.name), phase: .updated))
    }

    func updateCode(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(UpdateCodeDocument.self, request, .updateCode)
        guard document.PublishTo == nil else { throw LambdaFault.invalidParameter("Hearth does not have PublishTo: leave it out") }
        let before = try function(reference)
        let package = try package(document.code)
        try check(before.latest.settings.layers, with: package.unzipped)
        if let revision = document.RevisionId, revision != before.latestRevisionID { throw CatalogError.revisionMismatch }
        if document.DryRun == true {
            return try answer(200, FunctionConfiguration(before, before.latest, version: "$LATEST", arn: arn(before.name)))
        }
        let architectures = document.Architectures
        let (function, version) = try catalog.update(
            reference.name, zip: package.zip, settings: { if let architectures { $0.architectures = architectures } },
            publish: document.Publish ?? false, revision: document.RevisionId, at: request.epochMilliseconds)
        let isPublished = document.Publish == true
        let name = isPublished ? String(version.number ?? 1) : "$LATEST"
        return try answer(
            200,
            FunctionConfiguration(
                function, version, version: name, arn: arn(function.name, isPublished ? name : nil),
                phase: isPublished ? .created : .updated))
    }

    func deleteFunction(_ reference: FunctionReference) throws -> ControlAnswer {
        let qualifier = reference.qualifier
        if let qualifier, qualifier != "$LATEST", Int(qualifier) == nil, !qualifier.contains("$") {
            throw LambdaFault.invalidParameter("Deletion of aliases is not currently supported.")
        }
        guard let function = catalog.snapshot.function(named: reference.name) else {
            throw LambdaFault.notFound("Function not found: \(arn(reference.name))")
        }
        guard let qualifier else {
            try catalog.deleteFunction(reference.name)
            return .empty(204)
        }
        guard qualifier != "$LATEST" else {
            throw LambdaFault.invalidParameter("$LATEST version cannot be deleted without deleting the function.")
        }
        // Deleting what is not there is no error (recorded).
        if let number = Int(qualifier), function.versions[number] != nil {
            try catalog.deleteVersion(reference.name, number: number)
        }
        return .empty(204)
    }

    func listFunctions(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        if let which = request.query["FunctionVersion"], which != "ALL" {
            throw .validation(which, at: "functionVersion", .oneOf(["ALL"]))
        }
        let wantsAll = request.query["FunctionVersion"] != nil
        var all: [FunctionConfiguration] = []
        for function in catalog.snapshot.functions {
            all.append(
                FunctionConfiguration(
                    function, function.latest, version: "$LATEST", arn: arn(function.name, wantsAll ? "$LATEST" : nil),
                    phase: .listed))
            guard wantsAll else { continue }
            for (number, version) in function.versions.sorted(by: { $0.key < $1.key }) {
                all.append(
                    FunctionConfiguration(
                        function, version, version: String(number), arn: arn(function.name, String(number)), phase: .listed))
            }
        }
        let (page, next) = try page(all, request) { "\($0.FunctionName):\(Self.sortable($0.Version))" }
        return try answer(200, FunctionList(Functions: page, NextMarker: next))
    }

    func listVersions(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let function = try function(reference)
        var all = [
            FunctionConfiguration(
                function, function.latest, version: "$LATEST", arn: arn(function.name, "$LATEST"), phase: .listed)
        ]
        for (number, version) in function.versions.sorted(by: { $0.key < $1.key }) {
            all.append(
                FunctionConfiguration(
                    function, version, version: String(number), arn: arn(function.name, String(number)), phase: .listed))
        }
        let (page, next) = try page(all, request) { Self.sortable($0.Version) }
        return try answer(200, VersionList(Versions: page, NextMarker: next))
    }

    /// Version numbers as text that sorts like them, `$LATEST` first.
    private static func sortable(_ version: String) -> String {
        version == "$LATEST" ? "" : String(repeating: "0", count: max(0, 20 - version.utf8.count)) + version
    }

    /// `MaxItems` behind `Marker`, in the order of `key`. The marker is the key of the last one shown, so that what is
    /// made or deleted between two pages neither repeats nor hides another.
    ///
    /// - Parameter sizeMax: the largest `MaxItems` that the model takes; a page has 50 at most all the same.
    func page<T>(
        _ all: [T], _ request: ControlRequest, sizeMax: Int = 10_000, key: (T) -> String
    ) throws(LambdaFault) -> ([T], String?) {
        var size = 50
        if let text = request.query["MaxItems"] {
            guard let wanted = Int(text) else { throw .notJSON }
            if let violation = Violation(wanted, at: "maxItems", within: 1...sizeMax) { throw .validation([violation]) }
            size = min(size, wanted)
        }
        var after: String?
        if let marker = request.query["Marker"] {
            guard let decoded = Data(base64Encoded: marker) else { throw .invalidParameter("Invalid Marker") }
            after = String(decoding: decoded, as: UTF8.self)
        }
        let ordered = all.map { (key: key($0), value: $0) }.sorted { $0.key < $1.key }
        let rest = ordered.drop { row in after.map { row.key <= $0 } ?? false }
        let page = rest.prefix(size)
        let next = page.count < rest.count ? page.last.map { Data($0.key.utf8).base64EncodedString() } : nil
        return (page.map(\.value), next)
    }
}
