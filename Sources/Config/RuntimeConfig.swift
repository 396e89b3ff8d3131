internal import Base

/// `HOST:PORT`, as written.
package struct ListenAddress: Equatable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `:8080` (this machine only); nil for anything else.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65_535).contains(port)
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard host.contains(":") else { return nil }
        } else {
            if host.isEmpty || host == "localhost" { host = "127.0.0.1" }
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4, parts.allSatisfy({ UInt8($0) != nil }) else { return nil }
        }
        self.host = host
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A bucket of any S3.
package struct ArchiveAddress: Equatable, Sendable {
    /// `HOST:PORT`
    package let endpoint: String
    package let bucket: String
}

/// `runtime.toml`: the runtime as its owner wants it.
package struct RuntimeConfig: Equatable, Sendable {
    package var front: ListenAddress
    package var api: ListenAddress
    package var cache: ListenAddress
    /// Clients of the cache's address say who they are.
    package var cacheAsksPassword = true
    /// Database 0 of Redis clients survives a restart.
    package var cacheKeepsData = false
    /// The first of the two databases that show memoized results and edge responses.
    package var cacheViews = 1
    package var data: String
    package var functions: String
    package var accountID: String
    package var region: String
    package var concurrency: Int
    package var workers: Int
    package var connections: Int
    package var headTimeout: Int
    package var bodyTimeout: Int
    package var keepAlive: Int
    package var logBytes: Int
    /// Seconds.
    package var retryDelay = 60
    /// Bytes of the shared cache.
    package var cacheMemory = Limits.cacheMemoryBytes
    /// The directory of what objects are seldom read; empty: beside the others.
    package var coldObjects = ""
    /// Where archived objects go; nil: nowhere.
    package var archive: ArchiveAddress?
    package var archiveKey = ""
    package var archiveSecret = ""
    package var archiveRegion = "us-east-1"
    /// How long a day is to the lifecycle of objects.
    package var daySeconds = 86_400
    /// A second account of S3; both or none.
    package var altAccessKey = ""
    package var altSecretKey = ""
    /// Buckets whose websites the front listener shows, by host in lower case.
    package var websites: [String: String] = [:]
    /// Bytes of the cache's second level on disk; 0: there is none.
    package var cacheDisk = Limits.cacheDiskBytes
    /// A result is acknowledged when it is on disk.
    package var cacheWriteThrough = false
    /// `hearth edge`: `http://HOST:PORT` of its origin; empty: the command line must say.
    package var edgeOrigin = ""
    package var edgeListen = ListenAddress(host: "127.0.0.1", port: 9100)
    package var edgeUploadMemory = Limits.edgeUploadMemoryBytes
    package var edgeConnections = Limits.edgeConnectionsMax
    package var isolation = Isolation.on
    /// Directories that sandboxes show beside the system's.
    package var sandboxShows: [String] = []

    package enum Isolation: String, Sendable {
        /// As far as the machine can.
        case on
        /// The server does not start without.
        case required
        case off
    }

    package static let keys: [ConfigKey] = [
        ConfigKey("listen.front", .text(default: "127.0.0.1:8080"), "Public traffic: http://ADDRESS/FUNCTION/."),
        ConfigKey("listen.api", .text(default: "127.0.0.1:9000"), "The Lambda API, metrics and Hearth's own calls."),
        ConfigKey("listen.cache", .text(default: "127.0.0.1:6380"), "The cache for Redis clients: redis://default:SECRET@ADDRESS/0."),
        ConfigKey("data", .text(default: ".hearth"), "The directory with the catalogue, code and credentials."),
        ConfigKey("functions", .text(default: "functions"), "Every directory in it is deployed at start."),
        ConfigKey("account_id", .text(default: "000000000000"), "The account in ARNs: 12 digits."),
        ConfigKey("region", .text(default: "us-east-1"), "The region in ARNs."),
        ConfigKey(
            "limits.concurrency", .number(1...100_000, default: 1000), unit: "invocations",
            "Invocations at a time on the whole node."),
        ConfigKey(
            "limits.workers", .number(1...4000, default: 256), unit: "processes", "Worker processes on the whole node."),
        ConfigKey(
            "limits.connections", .number(1...100_000, default: Limits.connectionsMax), unit: "connections",
            "Connections of one listener."),
        ConfigKey(
            "limits.head_timeout", .number(1...3600, default: 10), unit: "seconds",
            "From the first byte of a request's head to its last; later is answered 408."),
        ConfigKey(
            "limits.body_timeout", .number(1...3600, default: 30), unit: "seconds", "The longest pause inside a body."),
        ConfigKey("limits.keep_alive", .number(1...3600, default: 75), unit: "seconds", "Between requests."),
        ConfigKey(
            "logs.bytes_per_function", .number(4096...1 << 30, default: Limits.logBytesPerFunction), unit: "bytes",
            "Log output kept in memory for each function."),
        ConfigKey(
            "async.retry_delay", .number(1...3600, default: 60), unit: "seconds",
            "Before the first retry of an asynchronous invocation that failed; the second waits twice as long."),
        ConfigKey(
            "cache.memory", .number(1 << 20...1 << 40, default: Limits.cacheMemoryBytes), unit: "bytes",
            "What the shared cache may take: keys, values and their overhead."),
        ConfigKey(
            "objects.cold", .text(default: ""),
            "The directory for objects that are seldom read, maybe on another disk; empty: in the data directory."),
        ConfigKey(
            "objects.archive", .text(default: ""),
            "A bucket of any S3, http://HOST:PORT/BUCKET, for objects of GLACIER and DEEP_ARCHIVE; empty: they stay in the cold tier."),
        ConfigKey("objects.archive_access_key", .text(default: ""), "The key that the archive knows."),
        ConfigKey("objects.archive_secret_key", .text(default: ""), "Its secret."),
        ConfigKey("objects.archive_region", .text(default: "us-east-1"), "The region that the archive's signatures name."),
        ConfigKey(
            "lifecycle.day_seconds", .number(1...86_400, default: 86_400), unit: "seconds",
            "How long a day is to lifecycle rules and tiers; shorter only to try them out."),
        ConfigKey(
            "s3.alt_access_key", .text(default: ""), "The key of a second account of S3, for what one account shows the other."),
        ConfigKey("s3.alt_secret_key", .text(default: ""), "Its secret."),
        ConfigKey(
            "s3.websites", .list(default: []),
            "Hosts of the front listener that show a bucket's website, as HOST=BUCKET; BUCKET.website.localhost does so by itself."),
        ConfigKey(
            "cache.disk", .number(0...1 << 44, default: Limits.cacheDiskBytes), unit: "bytes",
            "What `cache.sqlite` in the data directory may take, where stored results survive a restart; 0: nothing, else 16 MiB at least."),
        ConfigKey(
            "cache.write", .text(default: "behind"),
            "behind: results go to disk in batches, within 0.1 s; through: an invocation is answered when its stored result is on disk."),
        ConfigKey(
            "cache.password", .text(default: "on"),
            "on: clients of `listen.cache` give the secret access key; off: whoever reaches the address may use the cache."),
        ConfigKey(
            "cache.data", .text(default: "volatile"),
            "volatile: what Redis clients store is gone at the next start; kept: that of database 0 is written to `cache.sqlite`, within 0.1 s."),
        ConfigKey(
            "cache.views", .number(1...14, default: 1),
            "The first of two databases of `listen.cache` that show, to be read only, memoized results and edge responses."),
        ConfigKey("edge.origin", .text(default: ""), "`hearth edge`: the S3 that it stands before, as in http://10.0.0.5:9000."),
        ConfigKey("edge.listen", .text(default: "127.0.0.1:9100"), "`hearth edge`: where it takes S3 requests."),
        ConfigKey(
            "edge.upload_memory", .number(16 << 20...1 << 40, default: Limits.edgeUploadMemoryBytes), unit: "bytes",
            "`hearth edge`: what bodies of uploads may take on their way to the origin; with less, clients wait."),
        ConfigKey(
            "edge.connections", .number(1...4096, default: Limits.edgeConnectionsMax), unit: "connections",
            "`hearth edge`: connections to the origin, at the most."),
        ConfigKey(
            "sandbox.isolation", .text(default: "on"),
            "on: as far as this machine can; required: refuse to start without; off."),
        ConfigKey(
            "sandbox.show", .text(default: ""), "Directories that functions may read beside the system's, with : between."),
    ]

    package init() {
        front = ListenAddress(host: "127.0.0.1", port: 8080)
        api = ListenAddress(host: "127.0.0.1", port: 9000)
        cache = ListenAddress(host: "127.0.0.1", port: 6380)
        data = ".hearth"
        functions = "functions"
        accountID = "000000000000"
        region = "us-east-1"
        concurrency = 1000
        workers = 256
        connections = Limits.connectionsMax
        headTimeout = 10
        bodyTimeout = 30
        keepAlive = 75
        logBytes = Limits.logBytesPerFunction
    }

    package init(_ text: String, name: String) throws(ConfigError) {
        self.init()
        let file = try ConfigFile(text, name: name, keys: Self.keys)
        front = try Self.address(file, "listen.front") ?? front
        api = try Self.address(file, "listen.api") ?? api
        cache = try Self.address(file, "listen.cache") ?? cache
        data = file.text("data") ?? data
        functions = file.text("functions") ?? functions
        if let id = file.text("account_id") {
            guard id.count == 12, id.allSatisfy({ $0.isASCII && $0.isNumber }) else {
                throw file.fail("account_id", "account_id = \"\(id)\" must be 12 digits")
            }
            accountID = id
        }
        if let name = file.text("region") {
            guard !name.isEmpty, name.allSatisfy({ $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "-") }) else {
                throw file.fail("region", "region = \"\(name)\" must be like us-east-1")
            }
            region = name
        }
        concurrency = file.number("limits.concurrency") ?? concurrency
        workers = file.number("limits.workers") ?? workers
        connections = file.number("limits.connections") ?? connections
        headTimeout = file.number("limits.head_timeout") ?? headTimeout
        bodyTimeout = file.number("limits.body_timeout") ?? bodyTimeout
        keepAlive = file.number("limits.keep_alive") ?? keepAlive
        logBytes = file.number("logs.bytes_per_function") ?? logBytes
        retryDelay = file.number("async.retry_delay") ?? retryDelay
        cacheMemory = file.number("cache.memory") ?? cacheMemory
        coldObjects = file.text("objects.cold") ?? coldObjects
        if let text = file.text("objects.archive"), !text.isEmpty {
            guard let match = text.wholeMatch(of: #/http://([^/:]+:\d+)/([a-z0-9][a-z0-9.-]+)/?/#) else {
                throw file.fail("objects.archive", "objects.archive: \(text) is not http://HOST:PORT/BUCKET")
            }
            archive = ArchiveAddress(endpoint: String(match.1), bucket: String(match.2))
        }
        archiveKey = file.text("objects.archive_access_key") ?? ""
        archiveSecret = file.text("objects.archive_secret_key") ?? ""
        archiveRegion = file.text("objects.archive_region") ?? archiveRegion
        guard (archive == nil) == archiveKey.isEmpty, archiveKey.isEmpty == archiveSecret.isEmpty else {
            throw file.fail(
                "objects.archive", "objects.archive, objects.archive_access_key and objects.archive_secret_key belong together: give all three")
        }
        daySeconds = file.number("lifecycle.day_seconds") ?? daySeconds
        altAccessKey = file.text("s3.alt_access_key") ?? ""
        altSecretKey = file.text("s3.alt_secret_key") ?? ""
        for pair in file.list("s3.websites") ?? [] {
            let halves = pair.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard halves.count == 2, !halves.contains(""), !halves[0].contains(where: { $0 == ":" || $0 == "/" }) else {
                throw file.fail("s3.websites", "s3.websites: \(pair) is not HOST=BUCKET, as in www.example.com=site")
            }
            websites[halves[0].lowercased()] = halves[1]
        }
        guard altAccessKey.isEmpty == altSecretKey.isEmpty else {
            throw file.fail("s3.alt_access_key", "s3.alt_access_key and s3.alt_secret_key belong together: give both")
        }
        cacheViews = file.number("cache.views") ?? cacheViews
        cacheAsksPassword = try file.choice("cache.password", ["on", "off"]) == "on"
        cacheDisk = file.number("cache.disk") ?? cacheDisk
        guard cacheDisk == 0 || cacheDisk >= Limits.cacheDiskBytesMin else {
            throw file.fail("cache.disk", "cache.disk = \(cacheDisk) must be 0 (off) or at least \(Limits.cacheDiskBytesMin)")
        }
        edgeOrigin = file.text("edge.origin") ?? ""
        edgeListen = try Self.address(file, "edge.listen") ?? edgeListen
        edgeUploadMemory = file.number("edge.upload_memory") ?? edgeUploadMemory
        edgeConnections = file.number("edge.connections") ?? edgeConnections
        cacheWriteThrough = try file.choice("cache.write", ["behind", "through"]) == "through"
        cacheKeepsData = try file.choice("cache.data", ["volatile", "kept"]) == "kept"
        isolation = Isolation(rawValue: try file.choice("sandbox.isolation", ["on", "required", "off"])) ?? .on
        sandboxShows = (file.text("sandbox.show") ?? "").split(separator: ":").map(String.init)
    }

    /// The keys that differ in `other` and are read at the start only.
    package func fixedKeys(unlike other: RuntimeConfig) -> [String] {
        let changes: [(key: String, isChanged: Bool)] = [
            ("listen.front", front != other.front), ("listen.api", api != other.api), ("listen.cache", cache != other.cache),
            ("cache.password", cacheAsksPassword != other.cacheAsksPassword),
            ("cache.views", cacheViews != other.cacheViews), ("data", data != other.data),
            ("functions", functions != other.functions), ("account_id", accountID != other.accountID),
            ("region", region != other.region), ("sandbox.isolation", isolation != other.isolation),
            ("objects.cold", coldObjects != other.coldObjects), ("lifecycle.day_seconds", daySeconds != other.daySeconds),
            ("s3.alt_access_key", altAccessKey != other.altAccessKey), ("s3.alt_secret_key", altSecretKey != other.altSecretKey),
            ("s3.websites", websites != other.websites),
            ("objects.archive", archive != other.archive),
            ("objects.archive_access_key", archiveKey != other.archiveKey), ("objects.archive_secret_key", archiveSecret != other.archiveSecret),
            ("objects.archive_region", archiveRegion != other.archiveRegion),
            ("async.retry_delay", retryDelay != other.retryDelay), ("sandbox.show", sandboxShows != other.sandboxShows),
            ("cache.disk", cacheDisk != other.cacheDisk), ("cache.data", cacheKeepsData != other.cacheKeepsData),
        ]
        return changes.filter(\.isChanged).map(\.key)
    }

    private static func address(_ file: ConfigFile, _ path: String) throws(ConfigError) -> ListenAddress? {
        guard let text = file.text(path) else { return nil }
        guard let address = ListenAddress(text) else {
            throw file.fail(path, "\(path) = \"\(text)\" is not an address: write for example \"127.0.0.1:8080\"")
        }
        return address
    }
}
