import ArgumentParser
import Config
import Foundation

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make the directory of a new function.")

    @Argument(help: "The directory; its name is the function's.") var path: String
    @Option(help: "python, node or swift.") var runtime = "python"
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let directory = URL(fileURLWithPath: path).standardizedFileURL
        guard Manifest.isName(directory.lastPathComponent) else {
            throw Failure("\(directory.lastPathComponent) cannot be a function's name: use 1 to 64 letters, digits, - and _")
        }
        let files: [(String, String)]
        switch runtime {
        case "python":
            files = [
                ("function.toml", "runtime = \"python3\"\nhandler = \"app.handler\"\n\n[concurrency]\nprovisioned = 1\n"),
                ("app.py", "def handler(event, context):\n    return {\"message\": \"It works.\"}\n"),
            ]
        case "node":
            files = [
                ("function.toml", "runtime = \"nodejs\"\nhandler = \"index.handler\"\n\n[concurrency]\nprovisioned = 1\n"),
                ("index.js", "exports.handler = async (event, context) => ({ message: 'It works.' });\n"),
            ]
        case "swift": files = Self.swiftFiles
        default: throw ValidationError("--runtime \(runtime) is not known: use python, node or swift")
        }
        guard !FileManager.default.fileExists(atPath: directory.path) else {
            throw Failure("\(path) is there already: choose another name")
        }
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        for (name, text) in files {
            let file = directory.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        if json { return sayJSON(["directory": directory.path, "files": files.map(\.0)]) }
        say("made \(path): now hearth deploy \(path)")
    }

    /// With a copy of the library, so that the directory can be built anywhere. (What it compiles to carries the library
    /// with it anyway.)
    private static var swiftFiles: [(String, String)] {
        let library: [(String, [UInt8])] = [
            ("Channel", PackageResources.Channel_swift), ("Context", PackageResources.Context_swift),
            ("FunctionURL", PackageResources.FunctionURL_swift), ("JSON", PackageResources.JSON_swift),
            ("JSONDecoding", PackageResources.JSONDecoding_swift), ("JSONDocument", PackageResources.JSONDocument_swift),
            ("JSONEncoding", PackageResources.JSONEncoding_swift), ("JSONScalar", PackageResources.JSONScalar_swift),
            ("Run", PackageResources.Run_swift),
        ]
        return [
            ("function.toml", "runtime = \"swift\"\nbuild = \"sh build.sh\"\n\n[concurrency]\nprovisioned = 1\n"),
            (
                "main.swift",
                """
                import HearthFunction

                struct Event: Decodable {
                    var name: String?
                }

                run { (event: Event, context) in
                    ["message": "It works, \\(event.name ?? "world")."]
                }

                """
            ),
            ("build.sh", String(decoding: PackageResources.build_sh, as: UTF8.self)),
            (".hearthignore", "*.swift\nbuild.sh\n/.build/\n"), (".gitignore", "/.build/\n/bootstrap\n"),
        ] + library.map { ("HearthFunction/\($0).swift", String(decoding: $1, as: UTF8.self)) }
    }
}
