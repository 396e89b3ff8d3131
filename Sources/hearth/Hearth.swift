import ArgumentParser
import Config
import Foundation
import UV

@main
struct Hearth: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hearth",
        abstract: "Keeps functions warm: deploy them, invoke them over HTTP, see every cold start.",
        discussion: Connection.order,
        version: "0.1.0",
        subcommands: [
            Serve.self, Deploy.self, Invoke.self, List.self, Describe.self, Remove.self, Rollback.self, Scale.self,
            Logs.self, Stats.self, ObjectCommand.self, CacheCommand.self, AsyncCommand.self, ScheduleCommand.self, KeysCommand.self,
            EdgeCommand.self, Env.self, Init.self, Doctor.self,
        ])

    /// Exit codes: 0, 1 when something failed, 2 when the command line was wrong.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            FileHandle.standardError.write(Data((fullMessage(for: error) + "\n").utf8))
            Foundation.exit(2)
        }
    }
}

/// A failure for people: one sentence on standard error, exit code 1.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ sentence: String) { description = sentence }

    static func address(_ address: ListenAddress, _ error: UVError) -> Failure {
        let hint =
            error.isAddressInUse ? "is in use: stop what uses it, or choose another in runtime.toml" : "cannot be used (\(error))"
        return Failure("the address \(address) \(hint)")
    }
}
