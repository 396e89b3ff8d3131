import Base
import Cache
import RESP

/// Settings, memory, and what redis has for its operators.
enum ServerCommands {
    static var rows: [Command] {
        [
            Command("config", -2, [.admin, .noscript], .none, .server, since: "2.0.0", "Shows and sets settings.", config),
            Command("info", -1, [.dangerous], .none, .server, since: "1.0.0", "Tells of the server.", Info.info),
            Command("object", -2, [.readonly], .second, .generic, since: "2.2.3", "Tells of a key's value.", object),
            Command("memory", -2, [.readonly], .second, .server, since: "4.0.0", "Tells of memory.", memory),
            Command("slowlog", -2, [.admin], .none, .server, since: "2.2.12", "Shows the commands that took longest.", slowLog),
            Command("latency", -2, [.admin, .noscript], .none, .server, since: "2.8.13", "Tells of delays.", latency),
            Command("debug", -2, [.admin, .noscript], .none, .server, since: "1.0.0", "Is not offered.") { _, _ throws(Fault) in
                throw .message("ERR DEBUG command not allowed. It is for the development of redis itself.")
            },
            Command("function", -2, [.noscript], .none, .scripting, since: "7.0.0", "Has no functions: Hearth runs them elsewhere.", function),
        ]
    }

    // MARK: CONFIG

    private static func config(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let service = session.service
        session.lastSubcommand = arguments[1].lowercased
        switch (arguments[1].lowercased, arguments.count) {
        case ("get", 3...):
            var found: [String: String] = [:]
            for name in service.settings.names {
                var text = name
                let isWanted = text.withUTF8 { name in
                    (2..<arguments.count).contains { Glob.matches(arguments[$0], UnsafeRawBufferPointer(name), ignoringCase: true) }
                }
                if isWanted, let value = service.settings.value(name) { found[name] = value }
            }
            for index in 2..<arguments.count {
                let name = arguments[index].lowercased
                if let value = service.settings.value(name) { found[name] = value }
            }
            session.reply.map(found.count)
            for (name, value) in found.sorted(by: { $0.key < $1.key }) {
                session.reply.bulk(name)
                session.reply.bulk(value)
            }
        case ("set", 4...):
            guard arguments.count % 2 == 0 else { throw .arity("config|set") }
            try set(service, arguments)
            session.reply.ok()
        case ("resetstat", 2):
            service.resetStatistics()
            session.reply.ok()
        case ("rewrite", 2): throw .message("ERR The server is running without a config file")
        case ("help", 2): session.help("CONFIG", ["GET <pattern>", "SET <directive> <value>", "RESETSTAT", "REWRITE", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "config", ["get", "set", "resetstat", "rewrite", "help"])
        }
    }

    /// All of them or none.
    private static func set(_ service: CacheService, _ arguments: Arguments) throws(Fault) {
        var settings = service.settings
        var seen: Set<String> = []
        for index in stride(from: 2, to: arguments.count, by: 2) {
            let name = arguments[index].lowercased
            guard seen.insert(name).inserted else { throw Settings.failure(name, "duplicate parameter") }
            try settings.set(name, arguments.string(index + 1))
        }
        service.settings = settings
        service.slowLog.threshold = settings.slowerThanMicroseconds
        service.slowLog.most = settings.slowLogMax
        for (_, namespace) in service.dataNamespaces {
            let name = service.cache.settings(of: namespace).name
            // no floor is set here, so no ceiling is below one
            try? service.cache.update(namespace, settings.namespace(named: name))
            service.cache.meetCeiling(of: namespace, budget: Limits.cacheEvictionsAtOnceMax)
        }
        service.tracking.shrink(to: settings.trackedKeysMax, service)
    }

    // MARK: Values

    /// What redis would say: it keeps numbers and short texts in forms of their own until a part of them is changed.
    private static func encoding(_ hit: Hit) -> StaticString {
        if hit.isEdited { return "raw" }
        return Numbers.integer(hit.value) != nil ? "int" : hit.value.count <= 44 ? "embstr" : "raw"
    }

    private static func object(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let name = arguments[1].lowercased
        if name == "help", arguments.count == 2 {
            return session.help("OBJECT", ["ENCODING <key>", "FREQ <key>", "IDLETIME <key>", "REFCOUNT <key>", "HELP"])
        }
        guard arguments.count == 3, ["encoding", "freq", "idletime", "refcount"].contains(name) else {
            throw session.wrongSubcommand(name, of: "object", ["encoding", "freq", "idletime", "refcount", "help"])
        }
        guard let hit = session.look(arguments[2]) else { return session.reply.null() }
        switch name {
        case "encoding": session.reply.bulk(encoding(hit))
        case "freq":
            guard session.service.settings.policy.hasSuffix("lfu") else {
                throw .message(
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
                )
            }
            session.reply.integer(Int64(session.explain(arguments[2]).frequency))
        case "idletime": session.reply.integer(Int64(hit.age(at: session.service.clock.now).seconds))
        default: session.reply.integer(1)
        }
    }

    private static func memory(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let service = session.service
        switch (arguments[1].lowercased, arguments.count) {
        case ("usage", 3), ("usage", 5):
            if arguments.count == 5 {
                guard arguments[3].isWord("samples") else { throw .syntax }
                guard try Numbers.need(arguments[4]) >= 0 else { throw .syntax }
            }
            guard session.look(arguments[2]) != nil else { return session.reply.null() }
            session.reply.integer(session.explain(arguments[2]).chargedBytes)
        case ("stats", 2):
            session.reply.map(4)
            let facts: [(StaticString, Int)] = [
                ("peak.allocated", service.cache.usedBytes), ("total.allocated", service.cache.usedBytes),
                ("keys.count", service.dataNamespaces.reduce(0) { $0 + service.cache.counters(of: $1.namespace).entries }),
                ("dataset.bytes", service.dataNamespaces.reduce(0) { $0 + service.cache.counters(of: $1.namespace).bytes }),
            ]
            for (name, value) in facts {
                session.reply.bulk(name)
                session.reply.integer(value)
            }
        case ("doctor", 2): session.reply.verbatim("Memory is held to cache.memory of runtime.toml, overhead included: there is nothing to do by hand.\n")
        case ("malloc-stats", 2): session.reply.verbatim("blocks are kept in slabs of the cache's own\n")
        case ("purge", 2): session.reply.ok()
        case ("help", 2): session.help("MEMORY", ["DOCTOR", "MALLOC-STATS", "PURGE", "STATS", "USAGE <key> [SAMPLES <count>]", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "memory", ["usage", "stats", "doctor", "malloc-stats", "purge", "help"])
        }
    }

    // MARK: What happened

    private static func slowLog(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let log = session.service.slowLog
        switch (arguments[1].lowercased, arguments.count) {
        case ("get", 2...3):
            var count = 10
            if arguments.count == 3 {
                guard let wanted = Numbers.integer(arguments[2]), wanted >= -1 else {
                    throw .message("ERR count should be greater than or equal to -1")
                }
                count = wanted == -1 ? log.entries.count : Int(min(wanted, Int64(log.entries.count)))
            }
            let entries = log.entries.prefix(count)
            session.reply.array(entries.count)
            for entry in entries { write(entry, session.reply) }
        case ("len", 2): session.reply.integer(log.entries.count)
        case ("reset", 2):
            log.reset()
            session.reply.ok()
        case ("help", 2): session.help("SLOWLOG", ["GET [<count>]", "LEN", "RESET", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "slowlog", ["get", "len", "reset", "help"])
        }
    }

    private static func write(_ entry: SlowLog.Entry, _ reply: ReplyWriter) {
        reply.array(6)
        reply.integer(entry.id)
        reply.integer(entry.epochSeconds)
        reply.integer(entry.microseconds)
        reply.array(entry.arguments.count)
        for argument in entry.arguments { reply.bulk(argument) }
        reply.bulk(entry.address)
        reply.bulk(entry.name)
    }

    private static func latency(_ session: Session, _ arguments: Arguments) throws(Fault) {
        switch (arguments[1].lowercased, arguments.count) {
        case ("latest", 2), ("history", 3): session.reply.array(0)
        case ("reset", _): session.reply.integer(0)
        case ("doctor", 2): session.reply.verbatim("Delays are in hearth's metrics: /_hearth/metrics.\n")
        case ("graph", 3): throw .message("ERR No samples available for event '\(arguments.string(2))'")
        case ("histogram", _): session.reply.map(0)
        case ("help", 2): session.help("LATENCY", ["DOCTOR", "GRAPH <event>", "HISTORY <event>", "LATEST", "RESET [<event> ...]", "HISTOGRAM [COMMAND ...]", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "latency", ["latest", "history", "doctor", "graph", "help"])
        }
    }

    private static func function(_ session: Session, _ arguments: Arguments) throws(Fault) {
        switch (arguments[1].lowercased, arguments.count) {
        case ("flush", 2...3): session.reply.ok()
        case ("list", 2...): session.reply.array(0)
        case ("stats", 2):
            session.reply.map(2)
            session.reply.bulk("running_script")
            session.reply.null()
            session.reply.bulk("engines")
            session.reply.map(0)
        case ("help", 2): session.help("FUNCTION", ["FLUSH [ASYNC|SYNC]", "LIST", "STATS", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "function", ["flush", "stats", "help"])
        }
    }
}
