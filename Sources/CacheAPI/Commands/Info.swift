import Base
import Cache
import Glibc
import RESP

/// INFO: the fields that redis's clients and exporters read, and how late expired events were (semantic 7.5.44).
enum Info {
    private static var sections: [(name: String, write: (CacheService) -> [(String, String)])] {
        [
            ("server", server), ("clients", clients), ("memory", memory), ("stats", stats), ("replication", replication),
            ("cpu", processor), ("cluster", { _ in [("cluster_enabled", "0")] }), ("keyspace", keyspace),
        ]
    }

    static func info(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var wanted = Set((1..<max(1, arguments.count)).map { arguments[$0].lowercased })
        if wanted.isEmpty || wanted.contains("default") { wanted.formUnion(sections.map(\.name)) }
        if wanted.contains("all") || wanted.contains("everything") { wanted.formUnion(sections.map(\.name) + ["commandstats"]) }
        var text = ""
        func add(_ name: String, _ fields: [(String, String)]) {
            guard wanted.contains(name) else { return }
            if !text.isEmpty { text += "\r\n" }
            text += "# \(name == "cpu" ? "CPU" : name.prefix(1).uppercased() + name.dropFirst())\r\n"
            for (key, value) in fields { text += "\(key):\(value)\r\n" }
        }
        for section in sections { add(section.name, section.write(session.service)) }
        add("commandstats", commands(session.service))
        session.reply.verbatim(text)
    }

    private static func server(_ service: CacheService) -> [(String, String)] {
        let up = Int(service.clock.now.since(service.started.now).seconds)
        return [
            ("redis_version", service.options.version), ("server_name", "hearth"), ("redis_mode", "standalone"), ("os", "Linux"),
            ("arch_bits", "64"), ("process_id", "\(service.options.processID)"), ("run_id", Self.runID(service)), ("tcp_port", "\(service.options.port)"),
            ("server_time_usec", "\(service.clock.epochMicroseconds)"), ("uptime_in_seconds", "\(up)"), ("uptime_in_days", "\(up / 86_400)"),
            ("executable", "hearth"), ("config_file", ""),
        ]
    }

    /// 40 hexadecimal digits, the same as long as the server runs.
    private static func runID(_ service: CacheService) -> String {
        var random = Random(seed: service.options.seed)
        return (0..<5).map { _ in
            let word = String(UInt32(truncatingIfNeeded: random.next()), radix: 16)
            return String(repeating: "0", count: 8 - word.count) + word
        }.joined()
    }

    private static func clients(_ service: CacheService) -> [(String, String)] {
        [
            ("connected_clients", "\(service.sessions.count)"), ("maxclients", service.settings.value("maxclients") ?? ""), ("blocked_clients", "0"),
            ("tracking_clients", "\(service.tracking.clientCount)"), ("clients_in_timeout_table", "0"),
        ]
    }

    private static func memory(_ service: CacheService) -> [(String, String)] {
        let used = service.cache.usedBytes
        return [
            ("used_memory", "\(used)"), ("used_memory_human", "\(used >> 20)M"), ("used_memory_dataset", "\(sum(service).bytes)"),
            ("used_memory_peak", "\(used)"), ("maxmemory", "\(service.settings.memoryMax == 0 ? service.cache.limitBytes : service.settings.memoryMax)"), ("maxmemory_policy", service.settings.policy),
            ("mem_not_counted_for_evict", "0"), ("lazyfree_pending_objects", "0"), ("lazyfreed_objects", "0"), ("mem_fragmentation_ratio", "1.00"), ("mem_allocator", "hearth-slabs"),
        ]
    }

    private static func sum(_ service: CacheService) -> CacheCounters {
        var sum = CacheCounters()
        for (_, namespace) in service.dataNamespaces {
            let one = service.cache.counters(of: namespace)
            sum.hits += one.hits
            sum.misses += one.misses
            sum.expired += one.expired
            sum.evicted += one.evicted
            sum.bytes += one.bytes
        }
        return sum
    }

    private static func stats(_ service: CacheService) -> [(String, String)] {
        let now = sum(service)
        let base = service.statistics.base
        let lag = service.cache.expiryLag
        return [
            ("total_connections_received", "\(service.statistics.connections)"), ("total_commands_processed", "\(service.commandsProcessed)"),
            ("instantaneous_ops_per_sec", "0"), ("total_net_input_bytes", "\(service.statistics.inputBytes)"),
            ("total_net_output_bytes", "\(service.statistics.outputBytes)"), ("rejected_connections", "0"),
            ("expired_keys", "\(now.expired - base.expired)"), ("expired_stale_perc", "0.00"), ("evicted_keys", "\(now.evicted - base.evicted)"),
            ("keyspace_hits", "\(now.hits - base.hits)"), ("keyspace_misses", "\(now.misses - base.misses)"),
            ("pubsub_channels", "\(service.pubsub.channels.count)"), ("pubsub_patterns", "\(service.pubsub.patterns.count)"),
            ("tracking_total_keys", "\(service.tracking.keyCount)"), ("tracking_total_items", "\(service.tracking.itemCount)"),
            ("tracking_total_prefixes", "\(service.tracking.prefixCount)"), ("total_error_replies", "\(service.statistics.errors)"),
            ("expired_lag_usec_p50", "\(lag.quantile(0.5).nanoseconds / 1_000)"), ("expired_lag_usec_p99", "\(lag.quantile(0.99).nanoseconds / 1_000)"),
        ]
    }

    private static func replication(_ service: CacheService) -> [(String, String)] {
        [("role", "master"), ("connected_slaves", "0"), ("master_repl_offset", "0")]
    }

    private static func processor(_ service: CacheService) -> [(String, String)] {
        func seconds(_ time: timeval) -> String { "\(Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000)" }
        var own = rusage()
        var children = rusage()
        // RUSAGE_SELF and RUSAGE_CHILDREN, whose type Swift imports wrongly
        getrusage(0, &own)
        getrusage(-1, &children)
        return [
            ("used_cpu_sys", seconds(own.ru_stime)), ("used_cpu_user", seconds(own.ru_utime)),
            ("used_cpu_sys_children", seconds(children.ru_stime)), ("used_cpu_user_children", seconds(children.ru_utime)),
        ]
    }

    private static func keyspace(_ service: CacheService) -> [(String, String)] {
        service.dataNamespaces.compactMap { database, namespace in
            let counters = service.cache.counters(of: namespace)
            guard counters.entries > 0 else { return nil }
            return ("db\(database)", "keys=\(counters.entries),expires=\(min(counters.expiring, counters.entries)),avg_ttl=0")
        }
    }

    private static func commands(_ service: CacheService) -> [(String, String)] {
        (0..<service.table.count).compactMap { row in
            let command = service.table.rows[row]
            guard command.calls > 0 || command.rejected > 0 else { return nil }
            let each = command.calls == 0 ? 0 : Double(command.microseconds) / Double(command.calls)
            return (
                "cmdstat_\(command.name)",
                "calls=\(command.calls),usec=\(command.microseconds),usec_per_call=\((each * 100).rounded() / 100),rejected_calls=\(command.rejected),failed_calls=\(command.failed)"
            )
        }
    }
}

extension CacheService {
    var commandsProcessed: UInt64 { (0..<table.count).reduce(0) { $0 &+ table.rows[$1].calls } }

    /// The cache's own counters only grow; what they are now is taken as nothing.
    func resetStatistics() {
        var base = CacheCounters()
        for (_, namespace) in dataNamespaces {
            let one = cache.counters(of: namespace)
            base.hits += one.hits
            base.misses += one.misses
            base.expired += one.expired
            base.evicted += one.evicted
        }
        statistics = Statistics()
        statistics.base = base
        for row in 0..<table.count {
            table.rows[row].calls = 0
            table.rows[row].microseconds = 0
            table.rows[row].failed = 0
            table.rows[row].rejected = 0
        }
    }
}
