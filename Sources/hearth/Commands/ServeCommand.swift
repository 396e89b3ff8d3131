import ArgumentParser
import Config
import Foundation

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run Hearth in the foreground, with the functions of functions/ deployed.",
        discussion: "Prints the addresses, then one line that begins with \"ready\". SIGTERM lets running invocations end.")

    @Option(help: "The configuration file.") var config = "runtime.toml"
    @Option(help: "The data directory (overrides the configuration).") var data: String?
    @Option(help: "The front listener's address, as in 127.0.0.1:8080.") var front: String?
    @Option(help: "The API listener's address, as in 127.0.0.1:9000.") var api: String?
    @Option(help: "The directory whose functions are deployed at start.") var functions: String?
    @Flag(help: "Deploy a function again whenever one of its files is saved.") var watch = false

    func run() throws {
        var settings = try ConfigFileLoader.load(config, isDefault: config == "runtime.toml")
        if let data { settings.data = data }
        if let functions { settings.functions = functions }
        if let front { settings.front = try address(front, "--front") }
        if let api { settings.api = try address(api, "--api") }
        let server = try Server(config: settings)
        let endpoints = server.endpoints
        say("front  http://\(endpoints.front)/FUNCTION/")
        say("api    http://\(endpoints.api)  (eval \"$(hearth env)\" points aws and boto3 at it)")
        let client = APIClient(endpoint: endpoints.api, credentials: server.credentials, region: endpoints.region)
        let directory = settings.functions
        let isWatching = watch
        try server.run { deployed in
            let functions = FunctionsDirectory(path: directory, client: client, front: endpoints.front)
            let isGood = functions.deployAll()
            deployed()
            say(isGood ? "ready" : "ready, but for the functions named above")
            if isWatching { functions.watch() }
        }
    }

    private func address(_ text: String, _ option: String) throws -> ListenAddress {
        guard let address = ListenAddress(text) else {
            throw ValidationError("\(option) \(text) is not an address: write for example 127.0.0.1:8080")
        }
        return address
    }
}

/// A line on standard output, at once even into a pipe.
func say(_ text: String) {
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
}

enum ConfigFileLoader {
    /// The configuration; a missing file means the defaults, if nobody asked for it by name.
    static func load(_ path: String, isDefault: Bool) throws -> RuntimeConfig {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            guard isDefault else { throw Failure("cannot read \(path): \(String(cString: strerror(errno)))") }
            return RuntimeConfig()
        }
        return try RuntimeConfig(String(decoding: bytes, as: UTF8.self), name: path)
    }
}
