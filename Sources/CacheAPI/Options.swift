/// What the face is told at its making.
package struct CacheOptions: Sendable {
    /// The user name that is accepted beside `default`.
    package var user: String
    package var password: String
    /// Views of what other modules keep, by database: the names of their namespaces.
    package var views: [Int: String] = [1: "memo", 2: "edge"]
    /// The version of redis that clients are told. What is here is as of 7.0; redis-py keeps values itself only from 7.4 on.
    package var version = "7.4.0"
    package var seed: UInt64 = 1
    /// The process, as INFO tells it.
    package var processID: Int32 = 0
    package var port = 0

    package init(user: String, password: String) {
        self.user = user
        self.password = password
    }
}

/// What a client may, by the socket that it came in by.
package enum Door: Sendable {
    /// Must say who it is before anything else.
    case password
    /// Whoever reaches the socket is the node's owner.
    case owner
    /// A function's: the data and nothing else. No other databases' views, no settings of the node.
    case function
}
