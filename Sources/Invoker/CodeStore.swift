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
    private let queue = DispatchQueue(label: "hearth.code")
    private let interpreters = Interpreters()

    /// - Parameter directory: `code/` and `runtimes/` are made in it.
    package init(catalog: Catalog, directory: String, accountID: String, region: String) {
        self.catalog = catalog
        self.directory = directory
        self.accountID = accountID
        self.region = region
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
        let settings = version.settings
        var environment = settings.environment.map { "\($0.key)=\($0.value)" }.sorted()
        environment += [
            "AWS_LAMBDA_FUNCTION_NAME=\(function)",
            "AWS_LAMBDA_FUNCTION_VERSION=\(version.number.map(String.init) ?? "$LATEST")",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=\(settings.memorySize)",
            "AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/\(function)",
            "AWS_REGION=\(region)", "AWS_DEFAULT_REGION=\(region)",
            "_HANDLER=\(settings.handler)",
            "LAMBDA_TASK_ROOT=\(code)",
            "LAMBDA_RUNTIME_DIR=\(directory)/runtimes",
            "TZ=:UTC", "LANG=en_US.UTF-8",
            "PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LD_LIBRARY_PATH=\(code):\(code)/lib",
        ]
        let client: BundledClient
        switch settings.runtime {
        case let name where name.hasPrefix("python"): client = .python
        case let name where name.hasPrefix("node"): client = .node
        default:
            let bootstrap = code + "/bootstrap"
            guard access(bootstrap, X_OK) == 0 else {
                throw CodeFailure(
                    description: "\(function): runtime \(settings.runtime) needs an executable file named bootstrap in the package")
            }
            return WorkerRecipe(
                workerProtocol: .runtimeAPI, program: bootstrap, arguments: [bootstrap], directory: code,
                environment: environment)
        }
        environment.append("AWS_EXECUTION_ENV=AWS_Lambda_\(settings.runtime)")
        guard let interpreter = interpreters.find(for: settings.runtime) else {
            throw CodeFailure(
                description: "\(function): no interpreter for runtime \(settings.runtime) is on PATH; \(client.howToInstall)")
        }
        let script: String
        do { script = try client.install(in: directory + "/runtimes") } catch {
            throw CodeFailure(description: "cannot write the runtime client in \(directory)/runtimes: \(error)")
        }
        return WorkerRecipe(
            workerProtocol: .frames, program: interpreter, arguments: [interpreter] + client.arguments + [script],
            directory: code, environment: environment, canFork: client.canFork)
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
