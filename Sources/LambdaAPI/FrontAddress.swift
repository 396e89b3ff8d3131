/// Where the front listener is, as the addresses of function URLs show it.
package struct FrontAddress: Sendable {
    private let host: String
    private let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// HOST:PORT. A listener on all addresses is named as its client has reached this node.
    ///
    /// - Parameter reached: the Host field of the client's request.
    func name(at reached: String) -> String {
        guard host == "0.0.0.0" || host == "::", !reached.isEmpty else { return "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
        let end = reached.hasPrefix("[") ? reached.firstIndex(of: "]").map { reached.index(after: $0) } : reached.lastIndex(of: ":")
        return "\(reached[..<(end ?? reached.endIndex)]):\(port)"
    }
}
