import ArgumentParser
import Base
import Config
import Foundation
import HTTP
import SigV4

/// How a command finds its Hearth; `hearth --help` says the same.
struct Connection: ParsableArguments {
    static let order = """
        A command finds its Hearth in this order: --data names its data directory; --config names the configuration \
        file that does; the variables of eval "$(hearth env)"; HEARTH_DATA names the data directory; runtime.toml in the \
        current directory does, else it is .hearth. In the data directory stand the addresses (server.json, as long as \
        the server runs) and the credentials.
        """

    @Option(help: "The data directory of the Hearth to talk to.") var data: String?
    @Option(help: "The configuration file that names the data directory.") var config: String?
    @Flag(help: "Print JSON.") var json = false

    private var environment: [String: String] { ProcessInfo.processInfo.environment }

    private var directory: DataDirectory {
        get throws {
            let named = data ?? (config == nil ? environment["HEARTH_DATA"] : nil)
            return DataDirectory(path: try named ?? ConfigFileLoader.load(config).data)
        }
    }

    /// From `eval "$(hearth env)"`, when the command line names no other.
    private var fromEnvironment: APIClient? {
        guard data == nil, config == nil, let api = environment["HEARTH_API"], let key = environment["AWS_ACCESS_KEY_ID"],
            let secret = environment["AWS_SECRET_ACCESS_KEY"]
        else { return nil }
        let token = environment["AWS_SESSION_TOKEN"] ?? ""
        return APIClient(
            endpoint: api.replacingOccurrences(of: "http://", with: ""),
            credentials: Credentials(accessKeyID: key, secretAccessKey: secret, sessionToken: token.isEmpty ? nil : token),
            region: environment["AWS_REGION"] ?? "us-east-1", source: "HEARTH_API")
    }

    func client() throws -> APIClient {
        if let client = fromEnvironment { return client }
        let directory = try directory
        let (endpoints, credentials) = try located(directory)
        return APIClient(
            endpoint: endpoints.api, credentials: credentials, region: endpoints.region,
            source: "\(directory.path)/server.json")
    }

    /// The base of function addresses: `http://HOST:PORT`.
    func front() throws -> String {
        if fromEnvironment != nil, let front = environment["HEARTH_FRONT"] { return front }
        return "http://\(try located(directory).0.front)"
    }

    /// Where the data directory's server listens, which has been asked whether it does.
    func located() throws -> (DataDirectory.Endpoints, Credentials) {
        let directory = try directory
        let found = try located(directory)
        let client = APIClient(
            endpoint: found.0.api, credentials: found.1, region: found.0.region, source: "\(directory.path)/server.json")
        try expect(client.call("GET", "/_hearth/healthz"), 200)
        return found
    }

    private func located(_ directory: DataDirectory) throws -> (DataDirectory.Endpoints, Credentials) {
        guard let endpoints = directory.endpoints(), let credentials = try directory.credentials() else {
            throw Failure(
                "no Hearth runs on the data directory \(directory.path): start one with hearth serve, or name another with --data")
        }
        return (endpoints, credentials)
    }
}

/// A name as a part of a path.
func pathPart(_ name: String) -> String {
    let out = ByteBuffer()
    Array(name.utf8).withUnsafeBytes { out.append(percentEncoding: $0, keepSlash: false) }
    return out.string
}

/// Checks an answer of the API; anything but `status` is a failure in the API's own words.
@discardableResult
func expect(_ response: APIClient.Response, _ status: Int) throws -> APIClient.Response {
    guard response.status == status else { throw Failure(response.message) }
    return response
}

func jsonObject(_ bytes: [UInt8]) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any] ?? [:]
}

func printJSON(_ bytes: [UInt8]) {
    var bytes = bytes
    if bytes.last != UInt8(ascii: "\n") { bytes.append(UInt8(ascii: "\n")) }
    FileHandle.standardOutput.write(Data(bytes))
}

/// One JSON object on a line of its own.
func sayJSON(_ object: [String: Any]) {
    let data = try? JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    printJSON(Array(data ?? Data()))
}

/// Columns as wide as their widest cell; numbers to the right.
func printTable(_ header: [String], _ rows: [[String]]) {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    for row in all {
        let cells = row.enumerated().map { column, cell in
            let space = String(repeating: " ", count: widths[column] - cell.count)
            return column > 0 && cell.first?.isNumber == true ? space + cell : cell + space
        }
        say(cells.joined(separator: "  ").trimmingCharacters(in: .newlines))
    }
}

func say(error text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
