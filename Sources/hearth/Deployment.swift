import Archive
import Catalog
import Config
import Foundation

/// Deploys one directory through the API: build, pack, create or update, publish, promote.
///
/// Every step is a call that `aws lambda` has too, but for the last: the alias moves only when the new version's workers
/// are initialised (make before break).
struct Deployment {
    let directory: String
    let name: String
    let client: APIClient
    var alias = "live"
    var provisioned: Int?
    /// Tells a person what goes on.
    var progress: (String) -> Void = { _ in }
    /// Called when the build command has ended, well or not.
    var built: () -> Void = {}

    struct Result {
        let version: Int
        /// False when code and settings were those of a version before.
        let isNew: Bool
        let workers: Int
    }

    func run() throws -> Result {
        var manifest = try readManifest()
        manifest.policy = try manifest.policy.map(readPolicy)
        if let build = manifest.build { try runBuild(build) }
        progress("packing \(directory)")
        let ignored = FileManager.default.contents(atPath: directory + "/.hearthignore")
        let zip = try ZipArchive.pack(
            directory: directory, ignoring: IgnoreRules(ignored.map { String(decoding: $0, as: UTF8.self) } ?? ""))
        progress("uploading \(zip.count / 1024 + 1) KiB")
        let (version, isNew) = try publish(manifest, zip)
        // Never below the provisioned concurrency, which the promotion may lower (or raise).
        let isLowered = try isLowered(manifest.reserved)
        if !isLowered { try setReserved(manifest.reserved) }
        let wanted = provisioned ?? manifest.provisioned
        progress("starting \(max(1, wanted)) worker\(wanted > 1 ? "s" : "") of version \(version)")
        let promoted = try client.call(
            "POST", "/_hearth/functions/\(pathPart(name))/promote",
            body: encode(["alias": alias, "version": version, "provisioned": wanted]))
        guard promoted.status == 200 else { throw Failure(explain(promoted, version)) }
        if isLowered { try setReserved(manifest.reserved) }
        try setSources(manifest)
        let workers = object(promoted)["workers"] as? Int ?? 0
        return Result(version: version, isNew: isNew, workers: workers)
    }

    /// Publishes this code with these settings as one version, or finds the one that is it. Another deployment of the function at the same
    /// time moves the revision, and then this one begins again: a version never has the code of one and the settings of the other.
    private func publish(_ manifest: Manifest, _ zip: [UInt8]) throws -> (version: Int, isNew: Bool) {
        let layers = try manifest.layers.map(layerARN)
        for _ in 1...8 {
            let known = try versionNumbers()
            let published: APIClient.Response
            if let known {
                let configured = try expect(client.call("PUT", path("configuration"), body: encode(configuration(manifest, layers))), 200)
                published = try client.call(
                    "PUT", path("code"),
                    body: encode([
                        "ZipFile": Data(zip).base64EncodedString(), "Publish": true,
                        "RevisionId": object(configured)["RevisionId"] as? String ?? "",
                    ]))
                if published.status == 412 { continue }
                try expect(published, 200)
                guard let version = number(published) else { break }
                return (version, !known.contains(version))
            }
            published = try create(manifest, zip, layers)
            if published.status == 409 { continue }
            guard let version = number(try expect(published, 201)) else { break }
            return (version, true)
        }
        throw Failure("\(name) is being deployed by others all the time: deploy it again when they are done")
    }

    private func number(_ published: APIClient.Response) -> Int? { (object(published)["Version"] as? String).flatMap { Int($0) } }

    private func readManifest() throws -> Manifest {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw Failure("\(directory) is not a directory: give the directory of a function")
        }
        let file = directory + "/function.toml"
        let text = FileManager.default.contents(atPath: file).map { String(decoding: $0, as: UTF8.self) }
        let detected = Manifest.detect(directory: directory)
        guard text != nil || detected != nil else {
            throw Failure("\(directory) has no function.toml and no file that tells its runtime (app.py, index.js, bootstrap): hearth init makes one")
        }
        return try Manifest(text ?? "", name: file, detected: detected)
    }

    /// JSON as it stands in the manifest, or that of the file which it names.
    private func readPolicy(_ text: String) throws -> String {
        if text.drop(while: \.isWhitespace).hasPrefix("{") { return text }
        guard let bytes = FileManager.default.contents(atPath: "\(directory)/\(text)") else {
            throw Failure("\(directory)/function.toml: policy = \"\(text)\" is neither JSON nor a file beside it")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func runBuild(_ command: String) throws {
        progress("building: \(command)")
        defer { built() }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command]
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.standardOutput = FileHandle.standardError
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure("the build command of \(directory) failed with exit code \(process.terminationStatus): \(command)")
        }
    }

    private func path(_ rest: String) -> String { "/2015-03-31/functions/\(pathPart(name))/\(rest)" }

    private func encode(_ object: [String: Any]) throws -> [UInt8] {
        Array(try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
    }

    private func object(_ response: APIClient.Response) -> [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(response.body))) as? [String: Any] ?? [:]
    }

    @discardableResult
    private func expect(_ response: APIClient.Response, _ status: Int) throws -> APIClient.Response {
        guard response.status == status else { throw Failure(response.message) }
        return response
    }

    private func get(_ rest: String, query: String = "") throws -> [String: Any]? {
        let response = try client.call("GET", path(rest), query: query)
        if response.status == 404 { return nil }
        return object(try expect(response, 200))
    }

    /// nil: there is no such function.
    private func versionNumbers() throws -> Set<Int>? {
        var numbers: Set<Int> = []
        var marker = ""
        while true {
            guard let page = try get("versions", query: marker.isEmpty ? "" : "Marker=\(pathPart(marker))") else { return nil }
            let versions = page["Versions"] as? [[String: Any]] ?? []
            numbers.formUnion(versions.compactMap { ($0["Version"] as? String).flatMap { Int($0) } })
            guard let next = page["NextMarker"] as? String else { return numbers }
            marker = next
        }
    }

    /// The ARN of a layer's version: as it is written, or NAME:VERSION, or NAME, whose newest is meant.
    private func layerARN(_ text: String) throws -> String {
        if text.hasPrefix("arn:") { return text }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let path = "/2018-10-31/layers/\(pathPart(parts[0]))/versions"
        guard parts.count <= 2 else { throw Failure("layers in function.toml: \(text) is no layer: write NAME, NAME:VERSION or an ARN") }
        let response = try client.call("GET", parts.count == 2 ? "\(path)/\(pathPart(parts[1]))" : path, query: parts.count == 2 ? "" : "MaxItems=1")
        let answer = object(response)
        let version = parts.count == 2 ? answer : (answer["LayerVersions"] as? [[String: Any]])?.first ?? [:]
        guard response.status == 200, let arn = version["LayerVersionArn"] as? String else {
            throw Failure("layers in function.toml: there is no layer \(text) here: publish it first (aws lambda publish-layer-version)")
        }
        return arn
    }

    private func configuration(_ manifest: Manifest, _ layers: [String]) -> [String: Any] {
        var concurrency: [String: Any] = [
            "keepAliveSeconds": manifest.keepAliveSeconds, "queue": manifest.queue,
            "queueWaitSeconds": manifest.queueWaitSeconds,
        ]
        if let max = manifest.workersMax { concurrency["max"] = max }
        if manifest.spares > 0 { concurrency["spares"] = manifest.spares }
        if let invocations = manifest.recycleInvocations { concurrency["recycleInvocations"] = invocations }
        if let growth = manifest.recycleGrowth { concurrency["recycleGrowth"] = growth }
        if manifest.recycleTrend { concurrency["recycleTrend"] = true }
        if manifest.allowsBackground { concurrency["allowsBackground"] = true }
        if manifest.isOffline { concurrency["isOffline"] = true }
        return [
            "Runtime": manifest.runtime, "Handler": manifest.handler, "MemorySize": manifest.memorySize,
            "Timeout": manifest.timeout, "Description": manifest.description,
            "Environment": ["Variables": manifest.environment], "HearthConcurrency": concurrency,
            "SnapStart": ["ApplyOn": manifest.snapStart ? "PublishedVersions" : "None"], "HearthCache": caching(manifest),
            "Layers": layers,
            "HearthAccess": access(manifest),
        ]
    }

    private func access(_ manifest: Manifest) -> [String: Any] {
        var access: [String: Any] = ["buckets": manifest.buckets]
        if let policy = manifest.policy { access["policy"] = policy }
        return access
    }

    private func caching(_ manifest: Manifest) -> [String: Any] {
        var caching: [String: Any] = [:]
        if let memoize = manifest.memoize {
            var settings: [String: Any] = ["ttl": memoize.ttl, "key": memoize.key, "identity": memoize.identity]
            if let errors = memoize.errors { settings["errors"] = errors }
            if let stale = memoize.staleWhileRevalidate { settings["staleWhileRevalidate"] = stale }
            if let bytes = memoize.maxBytes { settings["maxBytes"] = bytes }
            if let audit = memoize.audit { settings["audit"] = audit }
            caching["memoize"] = settings
        }
        if !manifest.routes.isEmpty {
            caching["routes"] = manifest.routes.map { route -> [String: Any] in
                [
                    "path": route.path, "methods": route.methods, "ttl": route.ttl, "key": route.key, "identity": route.identity,
                    "unauthorized": route.unauthorized,
                ]
            }
        }
        return caching
    }

    /// What makes events for it beside its callers. After the move of the alias: they are the new version's.
    private func setSources(_ manifest: Manifest) throws {
        var order = SourceOrder(qualifier: alias)
        order.objects = manifest.objects.map {
            SourceOrder.Object(bucket: $0.bucket, events: $0.events, prefix: $0.prefix, suffix: $0.suffix)
        }
        order.schedules = manifest.schedules.enumerated().map { index, timed in
            SourceOrder.Timed(
                name: timed.name ?? "\(index + 1)", expression: timed.expression, zone: timed.timezone, input: timed.input,
                missed: timed.missed)
        }
        let body = Array(try JSONEncoder().encode(order))
        try expect(client.call("PUT", "/_hearth/functions/\(pathPart(name))/sources", body: body), 200)
    }

    private func create(_ manifest: Manifest, _ zip: [UInt8], _ layers: [String]) throws -> APIClient.Response {
        var body = configuration(manifest, layers)
        body["FunctionName"] = name
        body["Role"] = "arn:aws:iam::000000000000:role/hearth"
        body["Code"] = ["ZipFile": Data(zip).base64EncodedString()]
        body["Publish"] = true
        body["HearthURL"] = "open"
        return try client.call("POST", "/2015-03-31/functions", body: encode(body))
    }

    private func isLowered(_ reserved: Int?) throws -> Bool {
        guard let reserved else { return false }
        let known = object(try expect(client.call("GET", "/2019-09-30/functions/\(pathPart(name))/concurrency"), 200))
        return reserved < known["ReservedConcurrentExecutions"] as? Int ?? .max
    }

    private func setReserved(_ reserved: Int?) throws {
        if let reserved {
            try expect(
                client.call(
                    "PUT", "/2017-10-31/functions/\(pathPart(name))/concurrency",
                    body: encode(["ReservedConcurrentExecutions": reserved])), 200)
        } else {
            try expect(client.call("DELETE", "/2017-10-31/functions/\(pathPart(name))/concurrency"), 204)
        }
    }

    /// The error of an init as its author wants to read it: message and traceback.
    private func explain(_ response: APIClient.Response, _ version: Int) -> String {
        guard let error = object(response)["error"] as? [String: Any] else { return response.message }
        let trace = (error["stackTrace"] ?? error["trace"]) as? [String] ?? []
        let kind = error["errorType"] as? String ?? "Error"
        let message = error["errorMessage"] as? String ?? ""
        return "version \(version) of \(name) cannot start, traffic stays where it was\n\(kind): \(message)\n"
            + trace.joined(separator: trace.first?.hasSuffix("\n") == true ? "" : "\n")
    }
}
