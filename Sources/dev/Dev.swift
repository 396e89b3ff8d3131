import ArgumentParser
import Foundation

/// What a contributor to Hearth runs; users never need it.
@main
struct Dev: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev",
        abstract: "What a contributor to Hearth runs.",
        subcommands: [CheckCommand.self, BenchCommand.self])
}

/// A failure for people: one sentence on standard error, exit code 1.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ sentence: String) { description = sentence }
}

/// Progress, on standard error: standard output holds only results.
func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
