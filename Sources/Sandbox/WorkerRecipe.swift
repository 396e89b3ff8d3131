package import Base
internal import Glibc
package import UV

/// Which protocol a worker speaks.
package enum WorkerProtocol: Sendable { case frames, runtimeAPI }

/// How the workers of one version are started: made once per version, off the loop.
package struct WorkerRecipe: Sendable {
    package let workerProtocol: WorkerProtocol
    /// Absolute path of the executable.
    package let program: String
    /// All arguments, the program's name first.
    package let arguments: [String]
    /// The working directory: the unpacked code.
    package let directory: String
    /// `NAME=value`, but for what differs from worker to worker.
    package var environment: [String]
    /// Can its client be asked to become a zygote?
    package let canFork: Bool
    /// What starts the base that its zygotes may be forked from; nil: they are executed.
    package var baseCommand: [String]?
    /// The walls; nil: none, not even supervision.
    package let isolation: Isolation?
    /// The function: its name decides its user.
    package var owner = ""
    /// Paths outside that the sandbox shows under the same name.
    package var shown: [String] = []
    /// Paths outside that the sandbox shows under another name.
    package var placed: [(from: String, to: String)] = []
    /// Bytes of /tmp.
    package var tmpBytes = 512 << 20
    package var memoryMegabytes = 128
    /// Where the kernel holds workers to their limits; nil: it does not.
    package var cgroups: Cgroups?
    /// Has it a network of its own, with nobody in it?
    package var ownsNetwork = false

    package init(
        workerProtocol: WorkerProtocol, program: String, arguments: [String], directory: String, environment: [String],
        canFork: Bool = false, isolation: Isolation? = nil
    ) {
        self.workerProtocol = workerProtocol
        self.program = program
        self.arguments = arguments
        self.directory = directory
        self.environment = environment
        self.canFork = canFork
        self.isolation = isolation
    }
}

extension WorkerRecipe {
    /// The port that a worker with a network of its own finds its Runtime API at, as in Lambda's own sandboxes.
    static let insidePort = 9001
    /// Is the Runtime API's listener inside the worker's own network?
    var listensInside: Bool { workerProtocol == .runtimeAPI && ownsNetwork && isolation?.hasNamespaces == true }

    /// What the C library of every worker reads at its start.
    package static let locale = ["TZ=:UTC", "LANG=en_US.UTF-8"]

    var limits: WorkerLimits { WorkerLimits(memoryMegabytes: memoryMegabytes, tmpBytes: tmpBytes) }
}

extension Worker {
    /// Starts a worker by executing the recipe's program; its owner hears `workerReady`, or why not. The process comes later.
    ///
    /// - Parameters:
    ///   - tag: the owner's own name for it.
    ///   - ordered: when the start was ordered.
    ///   - provisioned: said to the function as `AWS_LAMBDA_INITIALIZATION_TYPE`.
    ///   - logStream: `AWS_LAMBDA_LOG_STREAM_NAME`.
    ///   - failed: told, instead of the owner, when no process came about.
    package static func execute(
        _ recipe: WorkerRecipe, tag: UInt32, ordered: Moment, provisioned: Bool, logStream: String, loop: Loop,
        owner: any WorkerOwner, failed: @escaping (SpawnFailure) -> Void
    ) throws -> Worker {
        var environment = recipe.environment
        environment.append(
            "AWS_LAMBDA_INITIALIZATION_TYPE=\(provisioned ? "provisioned-concurrency" : "on-demand")")
        environment.append("AWS_LAMBDA_LOG_STREAM_NAME=\(logStream)")
        let worker: Worker
        switch recipe.workerProtocol {
        case .frames: worker = FrameWorker(tag: tag, loop: loop, owner: owner)
        case .runtimeAPI:
            let api = RuntimeAPIWorker(tag: tag, loop: loop, owner: owner)
            if !recipe.listensInside { try api.listen() }
            environment.append(
                "AWS_LAMBDA_RUNTIME_API=" + (recipe.listensInside ? "127.0.0.1:\(WorkerRecipe.insidePort)" : api.address))
            worker = api
        }
        worker.times.ordered = ordered
        worker.times.spawned = ordered
        let (log, ends) = try worker.openPipes()
        let order = Spawner.Order(recipe: recipe, environment: environment, descriptors: [-1, log, log] + ends)
        Spawner.shared.start(order, on: loop) { result in
            switch result {
            case .success(let spawned): worker.arrived(spawned, recipe)
            case .failure(let failure):
                worker.abandon()
                failed(failure)
            }
        }
        return worker
    }

    private func arrived(_ spawned: Spawned, _ recipe: WorkerRecipe) {
        let process = ProcessHandle(spawned)
        if recipe.isolation == nil { process.join(recipe.cgroups, recipe.limits) }
        if let api = self as? RuntimeAPIWorker, recipe.listensInside {
            process.onListener = { [unowned api] descriptor in
                do { try api.listen(on: descriptor) } catch { api.kill() }
            }
        }
        times.spawned = spawned.at
        do { try adopt(process) } catch {
            // Its end could never be heard.
            exited(.signal(SIGKILL))
        }
    }
}
