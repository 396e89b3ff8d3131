import Foundation

/// A running `hearth edge` before a running `hearth serve`, over a link of the test's own.
package final class EdgeProcess: @unchecked Sendable {
    package let address: String
    package let child: Child
    package let link: SlowLink
    private let directory: TemporaryDirectory

    package init(before server: HearthProcess, _ terms: SlowLink.Terms, config: String = "") throws {
        guard let colon = server.api.lastIndex(of: ":"), let port = UInt16(server.api[server.api.index(after: colon)...]) else {
            throw TestFailure("\(server.api) is not an address")
        }
        let place = try TemporaryDirectory()
        directory = place
        try place.write("runtime.toml", config)
        link = try SlowLink(to: port, terms)
        let child = try Child(
            [
                HearthProcess.binary, "edge", "--origin", "http://127.0.0.1:\(link.port)", "--listen", "127.0.0.1:0", "--data",
                "\(server.directory.path)/data",
            ], directory: place.path, environment: HearthProcess.clean, output: "\(place.path)/out", errors: "\(place.path)/err")
        self.child = child
        address = try waitFor("the ready line of hearth edge") {
            if let status = child.status { throw TestFailure("hearth edge ended at its start: \(status)\n\(place.read("err"))") }
            let lines = place.read("out").split(separator: "\n")
            guard lines.contains("ready"), let start = lines.first?.range(of: "http://") else { return nil }
            return lines.first.map { String($0[start.upperBound...].prefix { $0 != " " }) }
        }
    }

    deinit {
        if case .signalled(let number)? = child.status, number != SIGKILL {
            print("hearth edge died of signal \(number)\n\(directory.read("err"))")
        }
        child.killGroup()
        link.stop()
    }

    package var log: String { directory.read("err") }
}
