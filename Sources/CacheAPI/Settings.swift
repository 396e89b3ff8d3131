import Base
import Cache
import RESP

/// Which changes are published as keyspace events: the letters of `notify-keyspace-events`.
struct EventKinds: OptionSet {
    let rawValue: UInt32

    static let keyspace = EventKinds(rawValue: 1)
    static let keyevent = EventKinds(rawValue: 2)
    static let generic = EventKinds(rawValue: 4)
    static let string = EventKinds(rawValue: 8)
    static let expired = EventKinds(rawValue: 16)
    static let evicted = EventKinds(rawValue: 32)
    static let keyMiss = EventKinds(rawValue: 64)
    static let newKey = EventKinds(rawValue: 128)
    /// Of types that are not here; kept so that what was set is what is shown.
    static let otherTypes = EventKinds(rawValue: 0xFFFF_0000)

    private static let letters: [(UInt8, EventKinds)] = [
        (UInt8(ascii: "g"), .generic), (UInt8(ascii: "$"), .string), (UInt8(ascii: "l"), EventKinds(rawValue: 1 << 16)),
        (UInt8(ascii: "s"), EventKinds(rawValue: 1 << 17)), (UInt8(ascii: "h"), EventKinds(rawValue: 1 << 18)),
        (UInt8(ascii: "z"), EventKinds(rawValue: 1 << 19)), (UInt8(ascii: "x"), .expired), (UInt8(ascii: "e"), .evicted),
        (UInt8(ascii: "t"), EventKinds(rawValue: 1 << 20)), (UInt8(ascii: "d"), EventKinds(rawValue: 1 << 21)),
    ]
    private static let others: [(UInt8, EventKinds)] = [
        (UInt8(ascii: "K"), .keyspace), (UInt8(ascii: "E"), .keyevent), (UInt8(ascii: "m"), .keyMiss), (UInt8(ascii: "n"), .newKey),
    ]
    private static let all: EventKinds = letters.reduce(into: []) { $0.formUnion($1.1) }

    init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Nil: a letter that is none.
    init?(_ text: String) {
        self = []
        for byte in text.utf8 {
            if byte == UInt8(ascii: "A") {
                formUnion(Self.all)
            } else if let kind = (Self.letters + Self.others).first(where: { $0.0 == byte }) {
                formUnion(kind.1)
            } else {
                return nil
            }
        }
    }

    var text: String {
        var bytes: [UInt8] = []
        if isSuperset(of: Self.all) { bytes.append(UInt8(ascii: "A")) } else { bytes = Self.letters.filter { contains($0.1) }.map(\.0) }
        bytes += Self.others.filter { contains($0.1) }.map(\.0)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What CONFIG shows and sets. What a setting of redis means for a cache in memory is carried out; what does not apply (files, replicas,
/// encodings) is remembered and shown again, so that clients and harnesses that set it go on.
struct Settings {
    private(set) var events: EventKinds = []
    private(set) var trackedKeysMax = Limits.cacheTrackedKeysMax
    private(set) var slowerThanMicroseconds: Int64 = 10_000
    private(set) var slowLogMax = Limits.cacheSlowLogMax
    private(set) var bulkBytesMax = Limits.respBulkBytesMax
    /// Idle seconds after which a client is cut; 0: never.
    private(set) var timeout = 0
    private(set) var policy = "allkeys-lru"
    /// `CacheOptions.keepsData`
    var keepsData = false
    /// 0: what the cache has.
    private(set) var memoryMax = 0
    private(set) var values: [String: String] = [:]

    static let policies = [
        "noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
    ]

    /// What does not apply, with redis's defaults.
    private static let remembered: [String: String] = [
        "save": "", "appendonly": "no", "appendfsync": "everysec", "dir": "/", "dbfilename": "", "databases": "\(Limits.cacheDatabases)",
        "hz": "10", "dynamic-hz": "yes", "activerehashing": "yes", "activedefrag": "no", "lazyfree-lazy-eviction": "no",
        "lazyfree-lazy-expire": "no", "lazyfree-lazy-server-del": "no", "lazyfree-lazy-user-del": "no", "lazyfree-lazy-user-flush": "no",
        "latency-monitor-threshold": "0", "latency-tracking": "yes", "maxmemory-samples": "5", "maxmemory-eviction-tenacity": "10",
        "maxclients": "10000", "tcp-keepalive": "300", "tcp-backlog": "511", "loglevel": "notice", "logfile": "", "bind": "127.0.0.1",
        "requirepass": "", "masterauth": "", "masteruser": "", "replica-announce-ip": "", "replica-announce-port": "0", "repl-diskless-sync": "yes", "repl-diskless-sync-delay": "5",
        "repl-backlog-size": "1048576", "repl-timeout": "60", "repl-ping-replica-period": "10", "min-replicas-to-write": "0",
        "client-query-buffer-limit": "\(Limits.respRequestBytesMax)", "list-max-listpack-size": "-2", "list-max-ziplist-size": "-2",
        "list-compress-depth": "0", "set-max-intset-entries": "512", "hash-max-listpack-entries": "512", "hash-max-listpack-value": "64",
        "hash-max-ziplist-entries": "512", "hash-max-ziplist-value": "64", "zset-max-listpack-entries": "128",
        "zset-max-listpack-value": "64", "zset-max-ziplist-entries": "128", "zset-max-ziplist-value": "64", "stream-node-max-entries": "100",
        "stream-node-max-bytes": "4096", "hll-sparse-max-bytes": "3000", "lfu-log-factor": "10", "lfu-decay-time": "1",
        "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub \(Limits.cachePushBytesMax) 8388608 60",
        "maxmemory-clients": "0", "io-threads": "1", "lua-time-limit": "5000", "busy-reply-threshold": "5000", "stop-writes-on-bgsave-error": "yes",
        "rdbcompression": "yes", "rdbchecksum": "yes", "oom-score-adj": "no", "cluster-enabled": "no", "port": "0", "unixsocket": "", "proto-max-bulk-len": "", "daemonize": "no", "supervised": "no",
        "pidfile": "", "crash-log-enabled": "yes", "jemalloc-bg-thread": "yes", "socket-mark-id": "0", "slave-read-only": "yes", "replica-read-only": "yes",
        "replica-serve-stale-data": "yes", "replicaof": "", "slaveof": "", "enable-debug-command": "no",
    ]
    /// They say how the process was started and cannot be changed.
    private static let fixed: Set = [
        "databases", "unixsocket", "daemonize", "supervised", "pidfile", "io-threads", "cluster-enabled", "logfile", "tcp-backlog",
        "enable-debug-command", "requirepass",
    ]

    /// Memory may be short: asked before each command that needs some, so that the usual case is one look.
    private(set) var isTight = false

    func namespace(named name: String) -> NamespaceSettings {
        var settings = NamespaceSettings(name: name)
        settings.evicts = policy != "noeviction"
        settings.ceilingBytes = memoryMax == 0 ? Int.max : memoryMax
        if keepsData, name == "data" { settings.spillWeightMin = 0 }
        return settings
    }

    /// With a volatile-… policy, entries that do not expire are evicted after those that do.
    func weight(_ lifetime: Lifetime) -> Float { lifetime == .forever && policy.hasPrefix("volatile") ? 1_000_000 : 1 }

    /// Shown only to who asks for them by name.
    private static let hidden: [String: String] = ["rdb-key-save-delay": "0", "key-load-delay": "0"]

    // MARK: CONFIG

    var names: [String] { Array(Self.remembered.keys) + Self.active }

    private static let active = [
        "notify-keyspace-events", "tracking-table-max-keys", "slowlog-log-slower-than", "slowlog-max-len", "timeout", "maxmemory",
        "maxmemory-policy",
    ]

    func value(_ name: String) -> String? {
        switch name {
        case "notify-keyspace-events": events.text
        case "tracking-table-max-keys": "\(trackedKeysMax)"
        case "slowlog-log-slower-than": "\(slowerThanMicroseconds)"
        case "slowlog-max-len": "\(slowLogMax)"
        case "proto-max-bulk-len": "\(bulkBytesMax)"
        case "timeout": "\(timeout)"
        case "maxmemory": "\(memoryMax)"
        case "maxmemory-policy": policy
        default: values[name] ?? Self.remembered[name] ?? Self.hidden[name]
        }
    }

    /// Takes a setting on; what redis would say of a wrong one is thrown.
    mutating func set(_ name: String, _ value: String) throws(Fault) {
        func number(_ range: ClosedRange<Int64>) throws(Fault) -> Int64 {
            guard let number = Int64(value), range.contains(number) else {
                throw Self.failure(name, "argument must be between \(range.lowerBound) and \(range.upperBound) inclusive")
            }
            return number
        }
        switch name {
        case "notify-keyspace-events":
            guard let kinds = EventKinds(value) else { throw Self.failure(name, "Invalid event class character. Use 'g$lshzxeKEtmdn'.") }
            events = kinds
        case "tracking-table-max-keys": trackedKeysMax = Int(try number(0...Int64(Limits.cacheTrackedKeysMax)))
        case "slowlog-log-slower-than": slowerThanMicroseconds = try number(-1...Int64.max)
        case "slowlog-max-len": slowLogMax = Int(try number(0...100_000))
        case "proto-max-bulk-len": bulkBytesMax = Int(try Self.bytes(name, value))
        case "timeout": timeout = Int(try number(0...Int64(Int32.max)))
        case "maxmemory":
            memoryMax = Int(try Self.bytes(name, value))
            isTight = policy == "noeviction" || memoryMax > 0 && memoryMax < Limits.cacheMemoryMaxLeast
        case "maxmemory-policy":
            guard Self.policies.contains(value.lowercased()) else {
                throw Self.failure(name, "argument(s) must be one of the following: \(Self.policies.joined(separator: ", "))")
            }
            policy = value.lowercased()
            isTight = policy == "noeviction" || memoryMax > 0 && memoryMax < Limits.cacheMemoryMaxLeast
        default:
            guard let old = self.value(name) else {
                throw .message("ERR Unknown option or number of arguments for CONFIG SET - '\(name)'")
            }
            if Self.fixed.contains(name) { throw Self.failure(name, "can't set immutable config") }
            if name == "port", value != old {
                throw Self.failure(name, "Unable to listen on this port: set listen.cache in runtime.toml")
            }
            if name == "maxmemory-clients", value.hasSuffix("%") {
                guard let share = Int(value.dropLast()), share <= 100 else {
                    throw Self.failure(name, "percentage argument must be less or equal to 100")
                }
            }
            if old == "yes" || old == "no", value != "yes", value != "no" { throw Self.failure(name, "argument must be 'yes' or 'no'") }
            values[name] = value
        }
    }

    static func failure(_ name: String, _ why: String) -> Fault { .message("ERR CONFIG SET failed (possibly related to argument '\(name)') - \(why)") }

    /// A number of bytes, with `k`, `kb`, `m`, `mb`, `g` or `gb` behind it.
    private static func bytes(_ name: String, _ text: String) throws(Fault) -> Int64 {
        let lower = text.lowercased()
        let units: [(String, Int64)] = [
            ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30), ("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000), ("b", 1), ("", 1),
        ]
        for (suffix, unit) in units where lower.hasSuffix(suffix) {
            guard let number = Int64(lower.dropLast(suffix.count)), number >= 0, number < Int64.max / unit else { break }
            return number * unit
        }
        throw failure(name, "argument must be a memory value")
    }
}

/// What INFO counts beside what the cache does.
struct Statistics {
    var connections: UInt64 = 0
    var errors: UInt64 = 0
    var changes: UInt64 = 0
    var inputBytes: UInt64 = 0
    var outputBytes: UInt64 = 0
    /// The cache's own counters at the last CONFIG RESETSTAT: they only grow.
    var base = CacheCounters()
}
