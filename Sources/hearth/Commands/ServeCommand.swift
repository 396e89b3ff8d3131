import ArgumentParser
import Config
import Foundation
import UV

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run Hearth in the foreground, with the functions of functions/ deployed.",
        discussion: """
            Prints the addresses, then one line that begins with "ready". SIGTERM lets running invocations end.

            Paths in the configuration file count from the directory of that file, paths of --data and --functions from \
            the current one. The other commands find this Hearth by its data directory: call them where you called \
            serve, or with the same --config or --data.
            """)

    @Option(help: "The configuration file; runtime.toml if not given, and no file is needed then.") var config: String?
    @Option(help: "The data directory (overrides the configuration).") var data: String?
    @Option(help: "The front listener's address, as in 127.0.0.1:8080.") var front: String?
    @Option(help: "The API listener's address, as in 127.0.0.1:9000.") var api: String?
    @Option(help: "The cache listener's address, as in 127.0.0.1:6380.") var cache: String?
    @Option(help: "The directory whose functions are deployed at start.") var functions: String?
    @Flag(help: "Deploy a function again whenever one of its files is saved.") var watch = false
    @Flag(help: "Print one JSON object a line.") var json = false

    func run() throws {
        Loop.returnBigBlocks()
        let server = try Server(config: settings())
        let endpoints = server.endpoints
        let report = ServeReport(isJSON: json)
        report.listening(endpoints)
        let client = APIClient(endpoint: endpoints.api, credentials: server.credentials, region: endpoints.region)
        let directory = FunctionsDirectory(path: server.config.functions, client: client, front: endpoints.front, report: report)
        let isWatching = watch
        try server.run(reload: settings) { deployed in
            let failed = directory.deployAll()
            deployed(failed)
            report.ready(isComplete: failed.isEmpty)
            if isWatching { directory.watch() }
        }
    }

    /// The configuration file with the options over it.
    private func settings() throws -> RuntimeConfig {
        var settings = try ConfigFileLoader.load(config)
        if let data { settings.data = data }
        if let functions {
            guard FileManager.default.fileExists(atPath: functions) else { throw Failure("there is no directory \(functions)") }
            settings.functions = functions
        }
        if let front { settings.front = try address(front, "--front") }
        if let api { settings.api = try address(api, "--api") }
        if let cache { settings.cache = try address(cache, "--cache") }
        return settings
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

/// What `hearth serve` tells: lines for people, or JSON objects.
struct ServeReport: Sendable {
    let isJSON: Bool

    func listening(_ endpoints: DataDirectory.Endpoints) {
        if isJSON {
            return sayJSON([
                "event": "listening", "front": "http://\(endpoints.front)", "api": "http://\(endpoints.api)",
                "cache": endpoints.cache, "pid": Int(endpoints.pid),
            ])
        }
        say("front  http://\(endpoints.front)/FUNCTION/")
        say("api    http://\(endpoints.api)  (eval \"$(hearth env)\" points aws and boto3 at it)")
        say("cache  redis://\(endpoints.cache)  (for Redis clients; the variable HEARTH_CACHE_URL has the password)")
    }

    func deployed(_ name: String, _ result: Deployment.Result, url: String) {
        if isJSON {
            return sayJSON(["event": "deployed", "function": name, "version": result.version, "new": result.isNew, "url": url])
        }
        say("\(result.isNew ? "deployed" : "up to date") \(name) version \(result.version), \(url)")
    }

    func failed(_ name: String, _ error: any Error) {
        if isJSON { return sayJSON(["event": "failed", "function": name, "message": "\(error)"]) }
        say("failed to deploy \(name): \(error)")
    }

    func ready(isComplete: Bool) {
        if isJSON { return sayJSON(["event": "ready", "complete": isComplete]) }
        say(isComplete ? "ready" : "ready, but for the functions named above")
    }
}

enum ConfigFileLoader {
    /// The configuration in `path`, or in runtime.toml if there is one; its paths count from the file's directory.
    static func load(_ path: String?) throws -> RuntimeConfig {
        guard let bytes = FileManager.default.contents(atPath: path ?? "runtime.toml") else {
            guard let path else { return RuntimeConfig() }
            throw Failure("cannot read \(path): \(String(cString: strerror(errno)))")
        }
        let name = path ?? "runtime.toml"
        var config = try RuntimeConfig(String(decoding: bytes, as: UTF8.self), name: name)
        let directory = (name as NSString).deletingLastPathComponent
        config.data = inside(directory, config.data)
        config.functions = inside(directory, config.functions)
        return config
    }

    private static func inside(_ directory: String, _ path: String) -> String {
        path.hasPrefix("/") || directory.isEmpty ? path : "\(directory)/\(path)"
    }
}
