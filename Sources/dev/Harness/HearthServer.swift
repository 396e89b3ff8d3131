import Foundation

/// The real `hearth serve`, with temporary data and ports that the kernel chooses.
final class HearthServer: Contestant {
    enum Listener { case front, api }

    let name = "Hearth"
    let child: Child
    let target: (port: UInt16, path: String, body: String)

    /// Starts it with the functions in the directory `functions`, and waits until all of them are provisioned.
    init(_ setting: BenchSetting, functions: String, _ listener: Listener, path: String, body: String) throws {
        let directory = try setting.makeDirectory("hearth")
        // An empty file means the defaults, whatever the runtime.toml of the current directory says.
        try "".write(toFile: "\(directory)/runtime.toml", atomically: false, encoding: .utf8)
        let child = try Child(
            "hearth",
            [
                setting.hearth, "serve", "--config", "\(directory)/runtime.toml", "--data", "\(directory)/data",
                "--front", "127.0.0.1:0", "--api", "127.0.0.1:0", "--functions", functions,
            ], log: "\(directory)/log")
        self.child = child
        do {
            let lines = try Self.waitUntilReady(child)
            guard let port = Self.port(lines, listener == .front ? "front" : "api") else {
                throw Failure("hearth names no \(listener) port: \(child.lastOutput)")
            }
            target = (port, path, body)
        } catch {
            child.stop()
            throw error
        }
    }

    private static func waitUntilReady(_ child: Child) throws -> [Substring] {
        for _ in 0..<3000 {
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
