import Foundation
import SigV4

/// The real `hearth serve`, with temporary data and ports that the kernel chooses.
final class HearthServer: Contestant {
    enum Listener { case front, api }

    let name = "Hearth"
    let child: Child
    let target: (port: UInt16, path: String, body: String)
    let ports: (front: UInt16, api: UInt16)
    /// For Redis clients.
    let cachePort: UInt16?
    private let binary: String
    private let directory: String
    /// Its data directory.
    let data: String

    /// Starts it with the functions in the directory `functions`, and waits until all of them are provisioned.
    ///
    /// - Parameters:
    ///   - configuration: its runtime.toml; an empty one means the defaults, whatever that of the current directory says.
    ///   - patience: seconds that the deployment of all functions may take.
    ///   - data: a data directory that is there already; nil: a new one.
    init(
        _ setting: BenchSetting, functions: String, _ listener: Listener = .front, path: String = "/", body: String = "",
        configuration: String = "", patience: Int = 60, data: String? = nil
    ) throws {
        directory = try setting.makeDirectory("hearth")
        binary = setting.hearth
        self.data = data ?? "\(directory)/data"
        try configuration.write(toFile: "\(directory)/runtime.toml", atomically: false, encoding: .utf8)
        let child = try Child(
            "hearth",
            [
                setting.hearth, "serve", "--config", "\(directory)/runtime.toml", "--data", self.data,
                "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--cache", "127.0.0.1:0", "--functions", functions,
            ], log: "\(directory)/log")
        self.child = child
        do {
            let lines = try Self.waitUntilReady(child, patience)
            guard let front = Self.port(lines, "front"), let api = Self.port(lines, "api") else {
                throw Failure("hearth does not name its ports: \(child.lastOutput)")
            }
            ports = (front, api)
            cachePort = Self.port(lines, "cache")
            target = (listener == .front ? front : api, path, body)
        } catch {
            child.stop()
            throw error
        }
    }

    /// What clients sign with.
    func credentials() throws -> Credentials {
        let out = "\(directory)/env-\(UUID().uuidString.prefix(8))"
        let status = try Child.run([binary, "env", "--json", "--data", data], log: out)
        let values = try? JSONDecoder().decode([String: String].self, from: Data(contentsOf: URL(fileURLWithPath: out)))
        guard status == 0, let key = values?["AWS_ACCESS_KEY_ID"], let secret = values?["AWS_SECRET_ACCESS_KEY"] else {
            throw Failure("hearth env does not tell its credentials: see \(out)")
        }
        return Credentials(accessKeyID: key, secretAccessKey: secret)
    }

    private static func waitUntilReady(_ child: Child, _ patience: Int) throws -> [Substring] {
        for _ in 0..<patience * 50 {
            let lines = ((try? String(contentsOfFile: child.log, encoding: .utf8)) ?? "").split(separator: "\n")
            if lines.contains("ready") { return lines }
            guard !child.hasEnded, !lines.contains(where: { $0.hasPrefix("ready, but") }) else { break }
            usleep(20_000)
        }
        throw Failure("hearth did not become ready: \(child.lastOutput)")
    }

    /// From `front  http://127.0.0.1:8080/FUNCTION/`.
    private static func port(_ lines: [Substring], _ listener: String) -> UInt16? {
        guard let line = lines.first(where: { $0.hasPrefix(listener) }), let host = line.range(of: "127.0.0.1:") else { return nil }
        return UInt16(line[host.upperBound...].prefix { $0.isNumber })
    }
}
