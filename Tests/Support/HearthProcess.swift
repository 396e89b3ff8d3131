import Base
import Foundation
package import SigV4

/// A function as a test writes it: the files of its directory.
package struct TestFunction: Sendable {
    package let name: String
    package let files: [String: String]

    package init(_ name: String, files: [String: String]) {
        self.name = name
        self.files = files
    }

    /// - Parameter manifest: further lines of `function.toml`, behind runtime and handler.
    package static func python(_ name: String, _ source: String, manifest: String = "") -> TestFunction {
        TestFunction(
            name, files: ["app.py": source, "function.toml": "runtime = \"python3\"\nhandler = \"app.handler\"\n\(manifest)\n"])
    }

    package static func node(_ name: String, _ source: String, manifest: String = "") -> TestFunction {
        TestFunction(
            name, files: ["index.js": source, "function.toml": "runtime = \"nodejs\"\nhandler = \"index.handler\"\n\(manifest)\n"])
    }

    /// Writes the directory below `parent` and returns its path.
    @discardableResult
    package func write(into parent: TemporaryDirectory, at place: String? = nil) throws -> String {
        let place = place ?? name
        for (file, text) in files { try parent.write("\(place)/\(file)", text, mode: file == "bootstrap" ? 0o755 : 0o644) }
        return "\(parent.path)/\(place)"
    }
}

/// A running `hearth serve`: the product that was built beside the tests, on ports that the kernel chose, with a
/// configuration, functions and data of its own.
///
/// It ends with this object; and if the test run dies first, a watchdog that reads from a pipe of ours ends it.
package final class HearthProcess: @unchecked Sendable {
    /// Holds `runtime.toml`, `functions/`, `data/`, `out`, `err`.
    package let directory: TemporaryDirectory
    package let child: Child
    package private(set) var front = ""
    package private(set) var api = ""
    /// What `hearth env` prints, by name.
    package private(set) var environment: [String: String] = [:]
    private var lifeline: CInt = -1
    private var watchdog: Child?

    /// The `hearth` that this test run built.
    package static let binary: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return (own as NSString).deletingLastPathComponent + "/hearth"
    }()

    /// Starts a server and waits for its `ready` line.
    ///
    /// - Parameters:
    ///   - config: further lines of `runtime.toml`; addresses with port 0 are set by the command line.
    ///   - arguments: further options of `hearth serve`.
    ///   - directory: one of an earlier server, to start again on its data.
    ///   - user: whose process the server is to be; nil: ours. Needs root.
    ///   - wrapper: a command in front of the server's, which it executes.
    package init(
        functions: [TestFunction] = [], config: String = "", arguments: [String] = [], environment: [String: String] = [:],
        directory: TemporaryDirectory? = nil, user: UInt32? = nil, wrapper: [String] = [], readySeconds: Double = 60
    ) throws {
        let place = try directory ?? TemporaryDirectory()
        self.directory = place
        for function in functions { try function.write(into: place, at: "functions/\(function.name)") }
        try FileManager.default.createDirectory(atPath: "\(place.path)/functions", withIntermediateDirectories: true)
        try place.write("runtime.toml", config)
        for file in ["out", "err"] { unlink("\(place.path)/\(file)") }
        var wrapper = wrapper
        if let user {
            _ = try run(["chown", "-R", "\(user):\(user)", place.path])
            wrapper += ["setpriv", "--reuid=\(user)", "--regid=\(user)", "--clear-groups"]
        }
        child = try Child(
            wrapper + [Self.binary, "serve", "--data", "\(place.path)/data", "--functions", "\(place.path)/functions",
                "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0"] + arguments,
            directory: place.path,
            environment: environment.merging(Self.clean) { own, _ in own }.merging(user == nil ? [:] : Self.ofAUser) { own, _ in own },
            output: "\(place.path)/out", errors: "\(place.path)/err")
        try watch()
        try waitFor("the ready line of hearth serve", seconds: readySeconds) {
            if let status = child.status { throw TestFailure("hearth serve ended at its start: \(status)\n\(log)") }
            return place.read("out").split(separator: "\n").contains { $0.hasPrefix("ready") } ? () : nil
        }
        let env = try command(["env", "--json"])
        guard let values = (try? JSONSerialization.jsonObject(with: Data(env.out.utf8))) as? [String: String] else {
            throw TestFailure("hearth env --json: \(env)")
        }
        self.environment = values
        front = String((values["HEARTH_FRONT"] ?? "").dropFirst("http://".count))
        api = String((values["HEARTH_API"] ?? "").dropFirst("http://".count))
    }

    deinit {
        // A server that has crashed says why; its answers do not.
        if case .signalled(let number)? = child.status, number != SIGKILL { print("hearth serve died of signal \(number)\n\(log)") }
        child.signal(SIGTERM)
        if (try? child.waitForExit(seconds: 10)) == nil { child.killGroup() }
        watchdog?.killGroup()
        if lifeline >= 0 { close(lifeline) }
    }

    /// Nothing of the user's own shell may lead a command to another Hearth, or to AWS.
    package static let clean = Dictionary(
        uniqueKeysWithValues: [
            "HEARTH_API", "HEARTH_FRONT", "HEARTH_DATA", "HEARTH_CACHE_URL", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
        ].map { ($0, "") })

    /// What is in root's own directories cannot be read by another user.
    private static let ofAUser = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"]

    private func watch() throws {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw TestFailure("pipe: \(String(cString: strerror(errno)))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        watchdog = try Child(
            ["/bin/sh", "-c", "read _; kill -KILL \(child.pid) && rm -rf '\(directory.path)'"],
            input: "/proc/\(getpid())/fd/\(ends[0])", output: "/dev/null", errors: "/dev/null")
        lifeline = ends[1]
    }

    /// What the server printed, for messages.
    package var log: String { directory.read("out") + directory.read("err") }

    /// Ends it at once, as a power cut would; the data directory stays.
    package func killAtOnce() throws {
        child.signal(SIGKILL)
        _ = try child.waitForExit()
    }

    // MARK: Clients

    /// Runs a command of the CLI against this server.
    package func command(
        _ arguments: [String], directory: String? = nil, input: String? = nil, environment: [String: String] = [:],
        seconds: Double = 60
    ) throws -> CommandResult {
        try Self.cli(
            arguments, directory: directory ?? self.directory.path,
            environment: environment.merging(["HEARTH_DATA": "\(self.directory.path)/data"]) { own, _ in own }, input: input,
            seconds: seconds)
    }

    /// Runs `hearth` as a shell would that knows of no Hearth.
    package static func cli(
        _ arguments: [String], directory: String, environment: [String: String] = [:], input: String? = nil, seconds: Double = 60
    ) throws -> CommandResult {
        try run(
            [binary] + arguments, directory: directory, environment: environment.merging(clean) { own, _ in own }, input: input,
            seconds: seconds)
    }

    /// One request on a connection of its own, to the front listener.
    package func request(
        _ method: String, _ target: String, headers: [(String, String)] = [], body: [UInt8] = [], seconds: Double = 30
    ) throws -> WireResponse {
        try Self.request(front, method, target, headers: headers, body: body, seconds: seconds)
    }

    package func get(_ target: String) throws -> WireResponse { try request("GET", target) }

    /// One signed request to the API listener, or to another of its addresses, with the node's own key or with another.
    package func call(
        _ method: String, _ path: String, query: String = "", headers: [(String, String)] = [], body: String = "",
        service: String = "lambda", at address: String? = nil, as key: Credentials? = nil, seconds: Double = 30
    ) throws -> WireResponse {
        let address = address ?? api
        let signer = Signer(
            credentials: key
                ?? Credentials(
                    accessKeyID: environment["AWS_ACCESS_KEY_ID"] ?? "", secretAccessKey: environment["AWS_SECRET_ACCESS_KEY"] ?? ""),
            region: environment["AWS_REGION"] ?? "", service: service)
        let bytes = Array(body.utf8)
        let signed = bytes.withUnsafeBytes {
            signer.headers(
                method: method, path: path, query: query,
                headers: [(name: "host", value: address)] + headers.map { (name: $0.0.lowercased(), value: $0.1) }, body: $0,
                epochSeconds: UInt64(Date().timeIntervalSince1970))
        }
        return try Self.request(
            address, method, path + (query.isEmpty ? "" : "?\(query)"), headers: headers + signed.map { ($0.name, $0.value) },
            body: bytes, seconds: seconds)
    }

    /// Invokes through the Lambda API.
    package func invoke(
        _ name: String, _ event: String = "{}", qualifier: String? = nil, headers: [(String, String)] = [], seconds: Double = 60
    ) throws -> WireResponse {
        try call(
            "POST", "/2015-03-31/functions/\(name)/invocations", query: qualifier.map { "Qualifier=\($0)" } ?? "",
            headers: headers, body: event, seconds: seconds)
    }

    private static func request(
        _ address: String, _ method: String, _ target: String, headers: [(String, String)], body: [UInt8], seconds: Double
    ) throws -> WireResponse {
        let wire = try Wire(address)
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if !body.isEmpty || ["POST", "PUT"].contains(method) { head += "Content-Length: \(body.count)\r\n" }
        try wire.send(Array((head + "\r\n").utf8) + body)
        return try wire.response(isHead: method == "HEAD", seconds: seconds)
    }
}
