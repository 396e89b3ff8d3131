internal import Archive
internal import Base
package import Catalog
internal import Crypto
internal import Dispatch
internal import Glibc
package import IAM
package import Sandbox
internal import Synchronization
package import UV

/// A version cannot be started; the sentence says why.
package struct CodeFailure: Error, CustomStringConvertible {
    package let description: String
}

/// Makes versions startable: unpacks code, writes the bundled clients, finds interpreters.
///
/// A package lies whole in `code/` or not at all: it is unpacked beside its place and renamed. That holds when the server
/// dies, but not when the machine does (a rename may reach the disk before the files); so what is found there at the first
/// use after a start is compared with the catalogue's package, and unpacked again if it differs.
///
/// Works on a queue of its own, because all of that touches disks and processes; answers come back on the loop.
package final class CodeStore: Sendable {
    private let catalog: Catalog
    private let directory: String
    private let accountID: String
    private let region: String
    private let isolation: Isolation?
    private let cgroups: Cgroups?
    private let cacheDirectory: String?
    /// Begins to work when it is known where workers reach the API.
    private let queue = DispatchQueue(label: "hearth.code", attributes: .initiallyInactive)
    private let apiEndpoint = Mutex("")
    private let interpreters = Interpreters()
    /// Digests whose directory this server has unpacked or compared. Used on `queue` only.
    private let intact = Mutex<Set<String>>([])

    /// - Parameters:
    ///   - directory: `code/` and `runtimes/` are made in it.
    ///   - isolation: the sandbox of every worker.
    ///   - cgroups: where the kernel limits every worker.
    ///   - cacheDirectory: where the functions' socket of the cache is; nil: they have none.
    package init(
        catalog: Catalog, directory: String, accountID: String, region: String, isolation: Isolation?, cgroups: Cgroups?,
        cacheDirectory: String? = nil
    ) {
        self.catalog = catalog
        self.directory = directory
        self.accountID = accountID
        self.region = region
        self.isolation = isolation
        self.cgroups = cgroups
        self.cacheDirectory = cacheDirectory
        queue.async { self.removeLeftovers() }
    }

    /// Begins to prepare versions.
    ///
    /// - Parameter api: the API listener's URL, as workers reach it.
    package func start(api: String) {
        apiEndpoint.withLock { $0 = api }
        queue.activate()
    }

    /// Prepares `version` of `function`, whose workers sign with `key`, and calls back on the loop.
    package func prepare(
        _ version: VersionEntry, of function: String, key: Keyring.FunctionKey, on loop: Loop,
        _ done: @escaping (Result<WorkerRecipe, CodeFailure>) -> Void
    ) {
        let done = LoopBound(done, on: loop)
        queue.async { [remote = loop.remote] in
            let result: Result<WorkerRecipe, CodeFailure>
            do throws(CodeFailure) { result = .success(try self.recipe(version, of: function, key)) } catch {
                result = .failure(error)
            }
            remote.post { done.wrapped(result) }
        }
    }

    private func recipe(_ version: VersionEntry, of function: String, _ key: Keyring.FunctionKey) throws(CodeFailure) -> WorkerRecipe {
        if version.settings.concurrency.isOffline == true, isolation?.hasNamespaces != true {
            throw CodeFailure(
                description: "\(function): network = \"none\" needs a sandbox, and none can be made here: hearth doctor says why")
        }
        let code = try unpacked(version.codeDigest)
        let layers = try layered(version)
        let runtime = version.settings.runtime
        var recipe: WorkerRecipe
        switch runtime {
        case let name where name.hasPrefix("python"): recipe = try bundled(.python, version, of: function, code, layers)
        case let name where name.hasPrefix("node"): recipe = try bundled(.node, version, of: function, code, layers)
        default:
            let bootstrap: String
            if access(code + "/bootstrap", X_OK) == 0 {
                bootstrap = seen(code) + "/bootstrap"
            } else if let layers, access(layers + "/bootstrap", X_OK) == 0 {
                // As in Lambda, a runtime may come as a layer.
                bootstrap = seen(layers: layers) + "/bootstrap"
            } else {
                throw CodeFailure(
                    description: "\(function): runtime \(runtime) needs an executable file named bootstrap in the package")
            }
            // As in Lambda, SnapStart is for published versions.
            let isOffline = version.settings.concurrency.isOffline == true
            let snapStart = version.settings.snapStart == true && version.number != nil && !isOffline
            var environment = environment(version, of: function, code, layers)
            if snapStart { try addSnapStart(to: &environment) }
            recipe = WorkerRecipe(
                workerProtocol: runtime == "swift" ? .frames : .runtimeAPI, program: bootstrap, arguments: [bootstrap],
                directory: seen(code), environment: environment, canFork: snapStart && runtime != "swift",
                isolation: isolation)
        }
        recipe.environment += credentials(key, version)
        recipe.owner = function
        recipe.placed = [(code, Isolation.codeDirectory), (directory + "/runtimes", Isolation.runtimeDirectory)]
        if let cacheDirectory { recipe.placed.append((cacheDirectory, Isolation.cacheDirectory)) }
        if let layers { recipe.placed.append((layers, Isolation.layersDirectory)) }
        recipe.memoryMegabytes = version.settings.memorySize
        recipe.cgroups = cgroups
        recipe.ownsNetwork = version.settings.concurrency.isOffline == true
        recipe.tmpBytes = version.settings.ephemeralStorage << 20
        return recipe
    }

    /// Where the workers see the code.
    private func seen(_ code: String) -> String {
        isolation?.hasNamespaces == true ? Isolation.codeDirectory : code
    }

    /// Where the workers see the clients.
    private var runtimes: String {
        isolation?.hasNamespaces == true ? Isolation.runtimeDirectory : directory + "/runtimes"
    }

    /// The functions' socket, in `cacheDirectory`: the directory is shown, so that another server's socket is seen by workers of before.
    package static let cacheSocket = "cache.sock"

    /// Below two cores' worth of memory, as Lambda shares them out (1,769 MB for each), a second thread would only wait.
    private static let memoryOfTwoCores = 2 * 1769

    private func environment(_ version: VersionEntry, of function: String, _ code: String, _ layers: String?) -> [String] {
        let settings = version.settings
        var own = settings.environment
        let opt = layers.map { seen(layers: $0) }
        if let opt { addSearchPaths(opt, settings.runtime, to: &own) }
        // NumPy's library starts a thread for each core of the machine when it is imported, and then it could not be forked.
        if settings.memorySize < Self.memoryOfTwoCores, own["OPENBLAS_NUM_THREADS"] == nil { own["OPENBLAS_NUM_THREADS"] = "1" }
        if let cacheDirectory, own["HEARTH_CACHE_URL"] == nil {
            let seen = isolation?.hasNamespaces == true ? Isolation.cacheDirectory : cacheDirectory
            own["HEARTH_CACHE_URL"] = "unix://\(seen)/\(Self.cacheSocket)"
        }
        return own.map { "\($0.key)=\($0.value)" }.sorted() + [
            "AWS_LAMBDA_FUNCTION_NAME=\(function)",
            "AWS_LAMBDA_FUNCTION_VERSION=\(version.number.map(String.init) ?? "$LATEST")",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=\(settings.memorySize)",
            "AWS_LAMBDA_LOG_GROUP_NAME=\(settings.logging?.group ?? "/aws/lambda/\(function)")",
            "AWS_REGION=\(region)", "AWS_DEFAULT_REGION=\(region)",
            "_HANDLER=\(settings.handler)",
            "LAMBDA_TASK_ROOT=\(seen(code))",
            "LAMBDA_RUNTIME_DIR=\(runtimes)",
            // No cloud's metadata service is here: AWS's SDKs would ask it for credentials, for half a second at each init.
            "AWS_EC2_METADATA_DISABLED=true",
            "PATH=/usr/local/bin:/usr/bin:/bin:\(opt ?? "/opt")/bin",
            "LD_LIBRARY_PATH=\(seen(code)):\(seen(code))/lib" + (opt.map { ":\($0)/lib" } ?? ""),
        ] + logging(settings.logging) + WorkerRecipe.locale
    }

    /// LoggingConfig, for clients that know it (awslambdaric does).
    private func logging(_ logging: FunctionSettings.Logging?) -> [String] {
        guard let logging, logging.format == "JSON" else { return [] }
        return ["AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=\(logging.applicationLevel ?? "INFO")"]
    }

    /// Where Python and Node look for what layers bring (Lambda developer guide, "Layer paths for each Lambda runtime"). What the function
    /// itself has set comes first.
    private func addSearchPaths(_ opt: String, _ runtime: String, to environment: inout [String: String]) {
        func add(_ name: String, _ paths: [String]) {
            environment[name] = ([environment[name]].compactMap { $0 } + paths).joined(separator: ":")
        }
        if !runtime.hasPrefix("node") { add("PYTHONPATH", ["\(opt)/python", "\(opt)/python/lib/\(runtime)/site-packages"]) }
        if !runtime.hasPrefix("python") {
            let major = "node" + runtime.dropFirst("nodejs".count).prefix { $0.isNumber }
            add("NODE_PATH", ["\(opt)/nodejs/\(major)/node_modules", "\(opt)/nodejs/node_modules"])
        }
    }

    /// What AWS's SDKs look for. Who has no network reaches nobody, and is told of nobody.
    private func credentials(_ key: Keyring.FunctionKey, _ version: VersionEntry) -> [String] {
        let settings = version.settings
        guard settings.concurrency.isOffline != true else { return [] }
        var variables = [
            "AWS_ACCESS_KEY_ID=\(key.key.id)", "AWS_SECRET_ACCESS_KEY=\(key.key.secret)", "AWS_SESSION_TOKEN=\(key.token)",
        ]
        // Who wants to go elsewhere says so in [environment].
        if settings.environment["AWS_ENDPOINT_URL"] == nil { variables.append("AWS_ENDPOINT_URL=\(apiEndpoint.withLock { $0 })") }
        return variables
    }

    /// Lets Python, if that is what the bootstrap runs, find the module that makes a zygote of the stock client.
    private func addSnapStart(to environment: inout [String]) throws(CodeFailure) {
        do { _ = try BundledClient.python.install(in: directory + "/runtimes") } catch {
            throw CodeFailure(description: "cannot write the runtime client in \(directory)/runtimes: \(error)")
        }
        let own = runtimes + "/snapstart"
        let index = environment.firstIndex { $0.hasPrefix("PYTHONPATH=") }
        guard let index else { return environment.append("PYTHONPATH=" + own) }
        environment[index] += ":" + own
    }

    private func bundled(
        _ client: BundledClient, _ version: VersionEntry, of function: String, _ code: String, _ layers: String?
    ) throws(CodeFailure) -> WorkerRecipe {
        let runtime = version.settings.runtime
        guard let interpreter = interpreters.find(for: runtime) else {
            throw CodeFailure(
                description: "\(function): no interpreter for runtime \(runtime) is on PATH; \(client.howToInstall)")
        }
        if layers != nil, isolation?.hasNamespaces == true, interpreter.path.hasPrefix(Isolation.layersDirectory + "/") {
            throw CodeFailure(
                description: "\(function): its layers take the place of /opt, where the interpreter lies (\(interpreter.path)): install one elsewhere")
        }
        let script: String
        do { script = try client.install(in: directory + "/runtimes") } catch {
            throw CodeFailure(description: "cannot write the runtime client in \(directory)/runtimes: \(error)")
        }
        var recipe = WorkerRecipe(
            workerProtocol: .frames, program: interpreter.path,
            arguments: [interpreter.path] + client.arguments + ["\(runtimes)/\(script)"], directory: seen(code),
            environment: environment(version, of: function, code, layers) + ["AWS_EXECUTION_ENV=AWS_Lambda_\(runtime)"],
            canFork: client.canFork, isolation: isolation)
        recipe.shown = interpreter.directories
        if client == .python, let isolation, isolation.hasNamespaces, access(isolation.basePath, R_OK) == 0,
            canShareBase(version, code)
        {
            recipe.baseCommand =
                [interpreter.path] + client.arguments + ["\(directory)/runtimes/hearth_base.py", isolation.basePath]
        }
        return recipe
    }

    /// Can the version be forked from an interpreter that has not seen its environment? Not if that would have changed how the
    /// interpreter or its C library begin; nor if the package brings libraries that only the dynamic linker finds, which has
    /// read LD_LIBRARY_PATH by then.
    private func canShareBase(_ version: VersionEntry, _ code: String) -> Bool {
        guard version.settings.layers == nil else { return false }
        let early = ["PYTHON", "LANG", "LC_", "LD_", "GLIBC_", "MALLOC_"]
        guard !version.settings.environment.keys.contains(where: { name in early.contains { name.hasPrefix($0) } }) else { return false }
        return !["", "/lib"].contains { Self.names(in: code + $0).contains { $0.hasPrefix("lib") && $0.contains(".so") } }
    }

    private static func names(in directory: String) -> [String] {
        guard let list = opendir(directory) else { return [] }
        defer { closedir(list) }
        var names: [String] = []
        while let entry = readdir(list) {
            names.append(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names
    }

    /// The directory with the package of `digest`; unpacked beside it and renamed, so it is whole or absent.
    private func unpacked(_ digest: String) throws(CodeFailure) -> String {
        let target = "\(directory)/code/\(Self.directoryName(digest))"
        if intact.withLock({ $0.contains(digest) }), access(target, F_OK) == 0 { return target }
        do {
            guard let zip = try catalog.code(digest: digest) else {
                throw CodeFailure(description: "the code \(digest) is not in the catalogue")
            }
            try zip.withUnsafeBytes { zip in
                if access(target, F_OK) == 0 {
                    if ZipArchive.isIntact(zip, in: target) { return }
                    ZipArchive.removeTree(target)
                }
                try unpack(zip, to: target)
            }
        } catch {
            throw CodeFailure(description: "cannot unpack the code \(digest): \(error)")
        }
        _ = intact.withLock { $0.insert(digest) }
        return target
    }

    /// The directory with the layers of a version, later ones over earlier ones; nil: it has none. What several make together is made anew
    /// at the first use after a start.
    private func layered(_ version: VersionEntry) throws(CodeFailure) -> String? {
        let digests = (version.settings.layers ?? []).map(\.digest)
        guard let first = digests.first else { return nil }
        if digests.count == 1 { return try unpacked(first) }
        let name = Self.layersName(digests)
        let target = "\(directory)/code/\(name)"
        if intact.withLock({ $0.contains(name) }), access(target, F_OK) == 0 { return target }
        let parts = try digests.map { digest throws(CodeFailure) in try unpacked(digest) }
        let partial = target + Self.partialEnding
        for path in [partial, target] { ZipArchive.removeTree(path) }
        do throws(ArchiveError) { try ZipArchive.overlay(parts, in: partial) } catch {
            ZipArchive.removeTree(partial)
            throw CodeFailure(description: "cannot put the layers together in \(target): \(error)")
        }
        guard rename(partial, target) == 0 else {
            throw CodeFailure(description: "cannot move the layers to \(target): \(String(cString: strerror(errno)))")
        }
        _ = intact.withLock { $0.insert(name) }
        return target
    }

    private static func layersName(_ digests: [String]) -> String {
        let all = Array(digests.joined(separator: " ").utf8)
        return "layers-" + all.withUnsafeBytes { hex(Digest.sha256($0)) }
    }

    /// Where the workers see the layers.
    private func seen(layers: String) -> String {
        isolation?.hasNamespaces == true ? Isolation.layersDirectory : layers
    }

    private func unpack(_ zip: UnsafeRawBufferPointer, to target: String) throws {
        let partial = target + Self.partialEnding
        mkdir("\(directory)/code", 0o755)
        ZipArchive.removeTree(partial)
        try ZipArchive.unpack(zip, into: partial)
        guard rename(partial, target) == 0 else {
            let why = String(cString: strerror(errno))
            ZipArchive.removeTree(partial)
            throw CodeFailure(description: "cannot move the unpacked code to \(target): \(why)")
        }
    }

    private static let partialEnding = ".partial"

    private static func directoryName(_ digest: String) -> String {
        String(digest.map { $0.isLetter || $0.isNumber ? $0 : $0 == "+" ? "-" : "_" })
    }

    /// Removes what a killed server has left half unpacked, and packages that the catalogue knows no longer.
    private func removeLeftovers() {
        var known: Set<String> = []
        for version in catalog.snapshot.functions.flatMap(\.allVersions) {
            let digests = (version.settings.layers ?? []).map(\.digest)
            known.formUnion(([version.codeDigest] + digests).map { Self.directoryName($0) })
            known.insert(Self.layersName(digests))
        }
        for name in Self.names(in: "\(directory)/code") where name != "." && name != ".." && !known.contains(name) {
            ZipArchive.removeTree("\(directory)/code/\(name)")
        }
    }
}
