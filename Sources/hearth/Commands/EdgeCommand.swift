import ArgumentParser
import Config
import Foundation
import SigV4
import UV

struct EdgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edge",
        abstract: "Stand before a distant S3: take uploads at local speed, cache reads.",
        discussion: """
            S3 clients talk to the edge as they would to the origin, path style, with the origin's key. A large PUT \
            reaches the origin as parallel parts over connections that are open already, and is answered when the \
            origin has committed it; its ETag is that of a multipart upload. Reads are cached: fresh as long as the \
            object's Cache-Control says, else asked about by ETag.

            The key is that of the origin: credentials.json, copied from its data directory into the directory of \
            --data; or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Prints the address, then "ready".
            """)

    @Option(help: "The S3 to stand before, as in http://10.0.0.5:9000 (overrides edge.origin).") var origin: String?
    @Option(help: "Where to take requests, as in 127.0.0.1:9100 (overrides edge.listen).") var listen: String?
    @Option(help: "The directory with the origin's credentials.json.") var data: String?
    @Option(help: "The configuration file; runtime.toml if not given, and no file is needed then.") var config: String?

    func run() throws {
        Loop.returnBigBlocks()
        var settings = try ConfigFileLoader.load(config)
        if let listen {
            guard let address = ListenAddress(listen) else {
                throw ValidationError("--listen \(listen) is not an address: write for example 127.0.0.1:9100")
            }
            settings.edgeListen = address
        }
        let place = origin ?? settings.edgeOrigin
        guard !place.isEmpty else { throw ValidationError("name the S3 to stand before: --origin http://HOST:PORT, or edge.origin in runtime.toml") }
        let edge = try Edge(config: settings, origin: Edge.Origin(place), credentials: credentials(settings))
        say("edge   http://\(edge.address)  (before \(place))")
        say("ready")
        try edge.run()
    }

    private func credentials(_ settings: RuntimeConfig) throws -> Credentials {
        let environment = ProcessInfo.processInfo.environment
        if data == nil, let key = environment["AWS_ACCESS_KEY_ID"], let secret = environment["AWS_SECRET_ACCESS_KEY"] {
            return Credentials(accessKeyID: key, secretAccessKey: secret)
        }
        let directory = DataDirectory(path: data ?? settings.data)
        guard let found = try directory.credentials() else {
            throw Failure(
                "there are no credentials in \(directory.path): copy credentials.json from the origin's data directory there, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        return found
    }
}
