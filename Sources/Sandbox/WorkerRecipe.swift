internal import Base
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
    package let environment: [String]

    package init(
        workerProtocol: WorkerProtocol, program: String, arguments: [String], directory: String, environment: [String]
    ) {
        self.workerProtocol = workerProtocol
        self.program = program
        self.arguments = arguments
        self.directory = directory
        self.environment = environment
    }
}

extension Worker {
    /// Starts a worker; its owner hears `workerReady`, or why not.
    ///
    /// - Parameters:
    ///   - tag: the owner's own name for it.
    ///   - provisioned: said to the function as `AWS_LAMBDA_INITIALIZATION_TYPE`.
    ///   - logStream: `AWS_LAMBDA_LOG_STREAM_NAME`.
    package static func start(
        _ recipe: WorkerRecipe, tag: UInt32, provisioned: Bool, logStream: String, loop: Loop,
        owner: any WorkerOwner
    ) throws -> Worker {
        let ordered = loop.now
        var environment = recipe.environment
        environment.append(
            "AWS_LAMBDA_INITIALIZATION_TYPE=\(provisioned ? "provisioned-concurrency" : "on-demand")")
        environment.append("AWS_LAMBDA_LOG_STREAM_NAME=\(logStream)")
        let worker: Worker
        switch recipe.workerProtocol {
        case .frames: worker = FrameWorker(tag: tag, loop: loop, owner: owner)
        case .runtimeAPI:
            let api = RuntimeAPIWorker(tag: tag, loop: loop, owner: owner)
            try api.listen()
            environment.append("AWS_LAMBDA_RUNTIME_API=\(api.address)")
            worker = api
        }
        worker.times.ordered = ordered
        try worker.spawn(recipe, environment: environment)
        return worker
    }
}
