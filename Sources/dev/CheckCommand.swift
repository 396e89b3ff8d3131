import ArgumentParser
import Foundation

/// What must pass before a commit, in the order of what fails fastest.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check the tree before a commit: format, build, tests.")

    func run() throws {
        guard FileManager.default.fileExists(atPath: "Package.swift") else {
            throw Failure("there is no Package.swift here: run this from the package's top directory")
        }
        if FileManager.default.fileExists(atPath: ".swift-format") {
            try step(["swift", "format", "lint", "--strict", "--recursive", "--parallel", "Package.swift", "Sources", "Tests"])
        }
        // Not into .build, whose lock a `swift run` that started this may hold.
        try step(["swift", "build", "--build-tests"])
        try step(["swift", "test", "--no-parallel", "--skip-build"])
        note("all good")
    }

    private func step(_ command: [String]) throws {
        let text = command.joined(separator: " ")
        note("$ \(text)")
        let status = try Child.run(command)
        guard status == 0 else { throw Failure("\(text) failed (exit status \(status)): see its output above") }
    }
}
