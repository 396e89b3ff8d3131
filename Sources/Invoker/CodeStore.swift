internal import Archive
internal import Base
package import Catalog
internal import Dispatch
internal import Glibc
package import Sandbox
package import UV

/// A version cannot be started; the sentence says why.
package struct CodeFailure: Error, CustomStringConvertible {
    package let description: String
}

/// Makes versions startable: unpacks code, writes the bundled clients, finds interpreters.
///
/// Works on a queue of its own, because all of that touches disks and processes; answers come back on the loop.
package final class CodeStore: Sendable {
    private let catalog: Catalog
    private let directory: String
    private let accountID: String
    private let region: String
    private let isolation: Isolation?
    private let queue = DispatchQueue(label: "hearth.code")
    private let interpreters = Interpreters()

    /// - Parameters:
    ///   - directory: `code/` and `runtimes/` are made in it.
    ///   - isolation: the sandbox of every worker.
    package init(catalog: Catalog, directory: String, accountID: String, region: String, isolation: Isolation?) {
        self.catalog = catalog
        self.directory = directory
        self.accountID = accountID
        self.region = region
        self.isolation = isolation
    }

    /// Prepares `version` of `function` and calls back on the loop.
    package func prepare(
        _ version: VersionEntry, of function: String, on loop: Loop,
        _ done: @escaping (Result<WorkerRecipe, CodeFailure>) -> Void
    ) {
        let done = LoopBound(done, on: loop)
        queue.async { [remote = loop.remote] in
            let result: Result<WorkerRecipe, CodeFailure>
            do throws(CodeFailure) { result = .success(try self.recipe(version, of: function)) } catch {
                result = .failure(error)
            }
            remote.post { done.wrapped(result) }
        }
    }

    private func recipe(_ version: VersionEntry, of function: String) throws(CodeFailure) -> WorkerRecipe {
        let code = try unpacked(version.codeDigest)
        let runtime = version.settings.runtime
        var recipe: WorkerRecipe
        switch runtime {
        case let name where name.hasPrefix("python"): recipe = try bundled(.python, version, of: function, code)
        case let name where name.hasPrefix("node"): recipe = try bundled(.node, version, of: function, code)
        default:
            guard access(code + "/bootstrap", X_OK) == 0 else {
                throw CodeFailure(
                    description: "\(function): runtime \(runtime) needs an executable file named bootstrap in the package")
            }
            let bootstrap = seen(code) + "/bootstrap"
            recipe = WorkerRecipe(
                workerProtocol: runtime == "swift" ? .frames : .runtimeAPI, program: bootstrap, arguments: [bootstrap],
                directory: seen(code), environment: environment(version, of: function, code), isolation: isolation)
        }
        recipe.owner = function
        recipe.placed = [(code, Isolation.codeDirectory), (directory + "/runtimes", Isolation.runtimeDirectory)]
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

    private func environment(_ version: VersionEntry, of function: String, _ code: String) -> [String] {
        let settings = version.settings
        return settings.environment.map { "\($0.key)=\($0.value)" }.sorted() + [
            "AWS_LAMBDA_FUNCTION_NAME=\(function)",
            "AWS_LAMBDA_FUNCTION_VERSION=\(version.number.map(String.init) ?? "$LATEST")",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=\(settings.memorySize)",
            "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/\(function)",
            "AWS_REGION=\(region)", "AWS_DEFAULT_REGION=\(region)",
            "_HANDLER=\(settings.handler)",
            "LAMBDA_TASK_ROOT=\(seen(code))",
            "LAMBDA_RUNTIME_DIR=\(runtimes)",
            "TZ=:UTC", "LANG=en_US.UTF-8",
            "PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LD_LIBRARY_PATH=\(seen(code)):\(seen(code))/lib",
        ]
    }

    private func bundled(
        _ client: BundledClient, _ version: VersionEntry, of function: String, _ code: String
    ) throws(CodeFailure) -> WorkerRecipe {
        let runtime = version.settings.runtime
        guard let interpreter = interpreters.find(for: runtime) else {
            throw CodeFailure(
                description: "\(function): no interpreter for runtime \(runtime) is on PATH; \(client.howToInstall)")
        }
        let script: String
        do { script = try client.install(in: directory + "/runtimes") } catch {
            throw CodeFailure(description: "cannot write the runtime client in \(directory)/runtimes: \(error)")
        }
        var recipe = WorkerRecipe(
            workerProtocol: .frames, program: interpreter.path,
            arguments: [interpreter.path] + client.arguments + ["\(runtimes)/\(script)"], directory: seen(code),
            environment: environment(version, of: function, code) + ["AWS_EXECUTION_ENV=AWS_Lambda_\(runtime)"],
            canFork: client.canFork, isolation: isolation)
        recipe.shown = interpreter.directories
        return recipe
    }

    /// The directory with the package of `digest`; unpacked beside it and renamed, so it is whole or absent.
    private func unpacked(_ digest: String) throws(CodeFailure) -> String {
        let name = String(digest.map { $0.isLetter || $0.isNumber ? $0 : $0 == "+" ? "-" : "_" })
        let target = "\(directory)/code/\(name)"
        if access(target, F_OK) == 0 { return target }
        let partial = "\(target).partial-\(getpid())"
        do {
            mkdir("\(directory)/code", 0o755)
            guard let zip = try catalog.code(digest: digest) else {
                throw CodeFailure(description: "the code \(digest) is not in the catalogue")
            }
            try zip.withUnsafeBytes { try ZipArchive.unpack($0, into: partial) }
        } catch {
            throw CodeFailure(description: "cannot unpack the code \(digest): \(error)")
        }
        if rename(partial, target) != 0, access(target, F_OK) != 0 {
            throw CodeFailure(description: "cannot move the unpacked code to \(target): \(String(cString: strerror(errno)))")
        }
        return target
    }
}
