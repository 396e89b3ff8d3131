import ArgumentParser

@main
struct Hearth: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hearth",
        abstract: "Keeps functions warm: deploy them, invoke them over HTTP, see every cold start.",
        version: "0.1.0",
        subcommands: [
            Serve.self, Deploy.self, Invoke.self, List.self, Describe.self, Remove.self, Rollback.self, Scale.self,
            Logs.self, Stats.self, Env.self, Init.self,
        ])
}

/// A failure for people: one sentence on standard error, exit code 1.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ sentence: String) { description = sentence }
}
