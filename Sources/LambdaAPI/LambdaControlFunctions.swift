internal import Archive
internal import Base
internal import Catalog
internal import Config
internal import Foundation

/// Functions: create, read, update, delete, list; their code and configuration.
extension LambdaControl {
    func createFunction(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let document = try decode(ConfigurationDocument.self, request)
        guard let given = document.FunctionName else { throw .validation("null", at: "functionName", "Member must not be null") }
        let reference = try FunctionReference(given, queryQualifier: nil, region: region, accountID: accountID)
        guard Manifest.isName(reference.name) else {
            throw .validation(reference.name, at: "functionName", "Member must have length less than or equal to 64")
        }
        guard document.Role != nil else { throw .validation("null", at: "role", "Member must not be null") }
        guard let code = document.Code else { throw .validation("null", at: "code", "Member must not be null") }
        if document.PackageType == "Image" || code.ImageUri != nil {
            throw .invalidParameter("Hearth runs zip packages: images are not supported")
        }
        guard let runtime = document.Runtime else {
            throw .invalidParameter("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
        }
        guard let handler = document.Handler ?? (Manifest.isProgram(runtime: runtime) ? "bootstrap" : nil) else {
            throw .invalidParameter("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
        }
        var settings = FunctionSettings(runtime: runtime, handler: handler)
        try apply(document, to: &settings)
        let zip = try package(code.ZipFile, bucket: code.S3Bucket)
        do {
            let (function, version) = try catalog.createFunction(
                reference.name, settings: settings, zip: zip, publish: document.Publish ?? false,
                at: request.epochMilliseconds)
            let name = document.Publish == true ? String(version.number ?? 1) : "$LATEST"
            return try answer(201, FunctionConfiguration(function, version, version: name, arn: arn(function.name)))
        } catch {
            if let fault = error as? LambdaFault { throw fault }
            throw fault(error, reference)
        }
    }

    private func fault(_ error: any Error, _ reference: FunctionReference) -> LambdaFault {
        if let error = error as? CatalogError { return LambdaFault(error, arn: arn(reference.name)) }
        return LambdaFault(status: 500, type: "ServiceException", message: "\(error)", capitalised: true)
    }

    /// The zip of a request, decoded and judged.
    private func package(_ base64: String?, bucket: String?) throws(LambdaFault) -> [UInt8] {
        guard bucket == nil else { throw .invalidParameter("Code from a bucket is not supported yet: send ZipFile") }
        guard let base64 else { throw .invalidParameter("Please provide a source for function code.") }
        guard let data = Data(base64Encoded: base64) else { throw .notJSON }
        guard data.count <= Limits.zipBytesMax else {
            throw LambdaFault(
                status: 413, type: "RequestEntityTooLargeException",
                message: "Zipped size must be smaller than \(Limits.zipBytesMax) bytes")
        }
        let zip = Array(data)
        do throws(ArchiveError) { try checkZip(zip) } catch { throw .invalidParameter(error.description) }
        return zip
    }

    private func checkZip(_ zip: [UInt8]) throws(ArchiveError) {
        var failure: ArchiveError?
        zip.withUnsafeBytes { bytes in
            do throws(ArchiveError) { try ZipArchive.check(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Puts the fields that are there into `settings`, each within Lambda's bounds.
    private func apply(_ document: ConfigurationDocument, to settings: inout FunctionSettings) throws(LambdaFault) {
        if let runtime = document.Runtime {
            guard Manifest.isKnown(runtime: runtime) else {
                throw .invalidParameter(
                    "Value \(runtime) at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [python3.N, nodejsN.x, swift, provided, provided.al2, provided.al2023] or be a valid ARN")
            }
            settings.runtime = runtime
        }
        if let handler = document.Handler { settings.handler = handler }
        if let role = document.Role { settings.role = role }
        if let description = document.Description {
            guard description.count <= 256 else {
                throw .validation(description, at: "description", "Member must have length less than or equal to 256")
            }
            settings.description = description
        }
        if let timeout = document.Timeout {
            guard timeout >= 1 else { throw .validation("\(timeout)", at: "timeout", "Member must have value greater than or equal to 1") }
            guard timeout <= 900 else { throw .validation("\(timeout)", at: "timeout", "Member must have value less than or equal to 900") }
            settings.timeout = timeout
        }
        if let memory = document.MemorySize {
            guard memory >= 128 else { throw .validation("\(memory)", at: "memorySize", "Member must have value greater than or equal to 128") }
            guard memory <= 10_240 else { throw .validation("\(memory)", at: "memorySize", "Member must have value less than or equal to 10240") }
            settings.memorySize = memory
        }
        if let size = document.EphemeralStorage?.Size {
            guard (512...10_240).contains(size) else {
                throw .validation("\(size)", at: "ephemeralStorage.size", "Member must have value between 512 and 10240")
            }
            settings.ephemeralStorage = size
        }
        if let architectures = document.Architectures, !architectures.isEmpty { settings.architectures = architectures }
        if let concurrency = document.HearthConcurrency { settings.concurrency = concurrency }
        if let environment = document.Environment { settings.environment = try checked(environment.Variables ?? [:]) }
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
                throw .validation(name, at: "environment.variables", #"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"#)
            }
        }
        return variables
    }

    func getFunction(_ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let (function, resolution) = try resolve(reference)
        return try answer(
            200,
            FunctionDocument(
                Configuration: configuration(function, resolution), Code: CreatedCode(Location: codeLocation(resolution.version.codeDigest)),
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
        let document = try decode(ConfigurationDocument.self, request)
        // Judged before the transaction, so that a refused request changes nothing.
        var probe = try function(reference).latest.settings
        try apply(document, to: &probe)
        let (function, version) = try catalog.update(
            reference.name, settings: { settings in try? apply(document, to: &settings) }, revision: document.RevisionId,
            at: request.epochMilliseconds)
        return try answer(200, FunctionConfiguration(function, version, version: "$LATEST", arn: arn(function.name)))
    }

    func updateCode(_ request: ControlRequest, _ reference: FunctionReference) throws -> ControlAnswer {
        let document = try decode(UpdateCodeDocument.self, request)
        guard document.ImageUri == nil else { throw LambdaFault.invalidParameter("Hearth runs zip packages: images are not supported") }
        let before = try function(reference)
        let zip = try package(document.ZipFile, bucket: document.S3Bucket)
        if document.DryRun == true {
            return try answer(200, FunctionConfiguration(before, before.latest, version: "$LATEST", arn: arn(before.name)))
        }
        let (function, version) = try catalog.update(
            reference.name, zip: zip, publish: document.Publish ?? false, revision: document.RevisionId,
            at: request.epochMilliseconds)
        let isPublished = document.Publish == true
        let name = isPublished ? String(version.number ?? 1) : "$LATEST"
        return try answer(
            200,
            FunctionConfiguration(function, version, version: name, arn: arn(function.name, isPublished ? name : nil)))
    }

    func deleteFunction(_ reference: FunctionReference) throws -> ControlAnswer {
        let function = try function(reference)
        guard let qualifier = reference.qualifier else {
            try catalog.deleteFunction(reference.name)
            return .empty(204)
        }
        guard qualifier != "$LATEST" else {
            throw LambdaFault.invalidParameter("$LATEST version cannot be deleted without deleting the function.")
        }
        guard let number = Int(qualifier) else {
            guard function.aliases[qualifier] == nil else {
                throw LambdaFault.invalidParameter("Deletion of aliases is not currently supported.")
            }
            throw LambdaFault.notFound("Function not found: \(arn(reference.name, qualifier))")
        }
        // Deleting what is not there is no error (recorded).
        if function.versions[number] != nil { try catalog.deleteVersion(reference.name, number: number) }
        return .empty(204)
    }

    func listFunctions(_ request: ControlRequest) throws(LambdaFault) -> ControlAnswer {
        let wantsAll = request.query["FunctionVersion"] == "ALL"
        var all: [FunctionConfiguration] = []
        for function in catalog.snapshot.functions {
            all.append(
                FunctionConfiguration(
                    function, function.latest, version: "$LATEST", arn: arn(function.name, wantsAll ? "$LATEST" : nil),
                    isListed: true))
            guard wantsAll else { continue }
            for (number, version) in function.versions.sorted(by: { $0.key < $1.key }) {
                all.append(
                    FunctionConfiguration(
                        function, version, version: String(number), arn: arn(function.name, String(number)), isListed: true))
            }
        }
        let (page, next) = try page(all, request)
        return try answer(200, FunctionList(Functions: page, NextMarker: next))
    }

    func listVersions(_ request: ControlRequest, _ reference: FunctionReference) throws(LambdaFault) -> ControlAnswer {
        let function = try function(reference)
        var all = [
            FunctionConfiguration(
                function, function.latest, version: "$LATEST", arn: arn(function.name, "$LATEST"), isListed: true)
        ]
        for (number, version) in function.versions.sorted(by: { $0.key < $1.key }) {
            all.append(
                FunctionConfiguration(
                    function, version, version: String(number), arn: arn(function.name, String(number)), isListed: true))
        }
        let (page, next) = try page(all, request)
        return try answer(200, VersionList(Versions: page, NextMarker: next))
    }

    /// `MaxItems` from `Marker` on; the marker is the index of the next one.
    private func page<T>(_ all: [T], _ request: ControlRequest) throws(LambdaFault) -> ([T], String?) {
        let size = min(request.query["MaxItems"].flatMap { Int($0) } ?? 50, 50)
        guard size >= 1 else { throw .validation("\(size)", at: "maxItems", "Member must have value greater than or equal to 1") }
        let start = request.query["Marker"].flatMap { Int($0) } ?? 0
        guard (0...all.count).contains(start) else { throw .invalidParameter("Invalid Marker") }
        let end = min(all.count, start + size)
        return (Array(all[start..<end]), end < all.count ? String(end) : nil)
    }
}
