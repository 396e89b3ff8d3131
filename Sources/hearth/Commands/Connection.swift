import ArgumentParser
import Config
import Foundation
import SigV4

/// How a command finds its Hearth: environment variables first (`eval "$(hearth env)"`), else the data directory.
struct Connection: ParsableArguments {
    @Option(help: "The data directory of the Hearth to talk to.") var data: String?
    @Option(help: "The configuration file that names the data directory.") var config = "runtime.toml"
    @Flag(help: "Print JSON.") var json = false

    private var directory: DataDirectory {
        get throws {
            let path = try data ?? ProcessInfo.processInfo.environment["HEARTH_DATA"]
                ?? ConfigFileLoader.load(config, isDefault: config == "runtime.toml").data
            return DataDirectory(path: path)
        }
    }

    func client() throws -> APIClient {
        let environment = ProcessInfo.processInfo.environment
        if data == nil, let api = environment["HEARTH_API"], let key = environment["AWS_ACCESS_KEY_ID"],
            let secret = environment["AWS_SECRET_ACCESS_KEY"]
        {
            return APIClient(
                endpoint: api.replacingOccurrences(of: "http://", with: ""),
                credentials: Credentials(accessKeyID: key, secretAccessKey: secret),
                region: environment["AWS_REGION"] ?? "us-east-1")
        }
        let (endpoints, credentials) = try located()
        return APIClient(endpoint: endpoints.api, credentials: credentials, region: endpoints.region)
    }

    func located() throws -> (DataDirectory.Endpoints, Credentials) {
        let directory = try directory
        guard let endpoints = directory.endpoints(), let credentials = try directory.credentials() else {
            throw Failure("no Hearth runs on the data directory \(directory.path): start one with hearth serve, or name another with --data")
        }
        return (endpoints, credentials)
    }
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
