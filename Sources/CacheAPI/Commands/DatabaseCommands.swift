import Base
import Cache
import RESP

/// Databases as wholes: walking through them, emptying them, taking the place of another.
enum DatabaseCommands {
    static var rows: [Command] {
        [
            Command("select", 2, [.fast], .none, .connection, since: "1.0.0", "Changes the database.") { session, arguments throws(Fault) in
                guard let index = Numbers.integer(arguments[1]), index >= 0, index < Int64(Int32.max) else {
                    throw .message(Numbers.integer(arguments[1]) == nil ? "ERR invalid DB index" : "ERR DB index is out of range")
                }
                try session.select(Int(index))
                session.reply.ok()
            },
            Command("dbsize", 1, [.readonly, .fast], .none, .server, since: "1.0.0", "Counts the keys of the database.") { session, _ in
                session.reply.integer(session.service.cache.counters(of: session.namespace).entries)
            },
            Command("flushdb", -1, [.write], .none, .server, since: "1.0.0", "Removes all keys of the database.") { session, arguments throws(Fault) in
                try checkFlush(arguments)
                flush([session.database], session)
                session.reply.ok()
            },
            Command("flushall", -1, [.write], .none, .server, since: "1.0.0", "Removes all keys of all databases.") { session, arguments throws(Fault) in
                try checkFlush(arguments)
                flush(session.service.dataNamespaces.map(\.database), session)
                session.reply.ok()
            },
            Command("swapdb", 3, [.write, .fast, .dangerous], .none, .server, since: "4.0.0", "Exchanges two databases.", swap),
            Command("keys", 2, [.readonly, .dangerous], .none, .generic, since: "1.0.0", "Returns all keys that match a pattern.", keys),
            Command("scan", -2, [.readonly], .none, .generic, since: "2.8.0", "Walks through the keys of the database.", scan),
            Command("randomkey", 1, [.readonly], .none, .generic, since: "1.0.0", "Returns a key.", randomKey),
        ]
    }

    private static func checkFlush(_ arguments: Arguments) throws(Fault) {
        if arguments.count > 2 || arguments.count == 2 && !arguments[1].isWord("sync") && !arguments[1].isWord("async") { throw .syntax }
    }

    /// In constant time, however many keys there are.
    private static func flush(_ databases: [Int], _ session: Session) {
        let service = session.service
        for database in databases {
            guard let namespace = service.databases[database] else { continue }
            if !service.watches.isEmpty {
                // only who watches a key that is there sees a change
                service.watches.touch(database: database) { watched in
                    watched.bytes.withUnsafeBytes { service.cache.peek($0, in: namespace, at: service.clock.now) != nil }
                }
            }
            service.cache.purge(namespace: namespace, soft: false, at: service.clock.now)
        }
        service.tracking.allChanged(service)
        service.statistics.changes &+= 1
    }

    private static func swap(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard let first = Numbers.integer(arguments[1]) else { throw .message("ERR invalid first DB index") }
        guard let second = Numbers.integer(arguments[2]) else { throw .message("ERR invalid second DB index") }
        let service = session.service
        let range = 0..<Int64(Limits.cacheDatabases)
        guard range.contains(first), range.contains(second) else { throw .message("ERR DB index is out of range") }
        let (a, b) = (Int(first), Int(second))
        guard !service.isView(a), !service.isView(b) else { throw .message("READONLY a view cannot be exchanged for a database") }
        guard let namespaceA = service.namespace(of: a), let namespaceB = service.namespace(of: b) else { throw .noRoom }
        for (database, namespace, other) in [(a, namespaceA, namespaceB), (b, namespaceB, namespaceA)] {
            service.watches.touch(database: database) { watched in
                watched.bytes.withUnsafeBytes { key in
                    service.cache.peek(key, in: namespace, at: service.clock.now) != nil
                        || service.cache.peek(key, in: other, at: service.clock.now) != nil
                }
            }
        }
        service.swapDatabases(a, b)
        service.tracking.allChanged(service)
        session.reply.ok()
    }

    // MARK: Walking

    private static func keys(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let found = ByteBuffer()
        let writer = ReplyWriter()
        var count = 0
        var cursor: UInt32 = 0
        repeat {
            cursor = session.service.cache.scan(session.namespace, from: cursor, count: 1_000, at: session.service.clock.now) { key, _ in
                guard Glob.matches(arguments[1], key) else { return }
                count += 1
                writer.bulk(key)
            }
            found.append(writer.buffer.bytes)
            writer.buffer.clear()
            guard found.count <= Limits.cacheReplyBytesMax else { throw .replyTooLarge }
        } while cursor != 0
        session.reply.array(count)
        session.reply.buffer.append(found.bytes)
    }

    private static func scan(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard let cursor = UInt64(arguments.string(1)) else { throw .message("ERR invalid cursor") }
        var pattern: UnsafeRawBufferPointer?
        var count = 10
        var isOther = false
        var at = 2
        while at < arguments.count {
            guard at + 1 < arguments.count else { throw .syntax }
            if arguments[at].isWord("match") {
                pattern = arguments[at + 1]
            } else if arguments[at].isWord("count") {
                count = try Numbers.needInt(arguments[at + 1])
                guard count > 0 else { throw .syntax }
            } else if arguments[at].isWord("type") {
                isOther = !arguments[at + 1].isWord("string")
            } else {
                throw .syntax
            }
            at += 2
        }
        let writer = ReplyWriter()
        var matches = 0
        let from = UInt32(clamping: cursor)
        let next = session.service.cache.scan(session.namespace, from: from, count: count, at: session.service.clock.now) { key, _ in
            guard !isOther, pattern.map({ Glob.matches($0, key) }) ?? true else { return }
            matches += 1
            writer.bulk(key)
        }
        session.reply.array(2)
        session.reply.bulk("\(next)")
        session.reply.array(matches)
        session.reply.buffer.append(writer.buffer.bytes)
    }

    private static func randomKey(_ session: Session, _ arguments: Arguments) {
        let service = session.service
        guard service.cache.counters(of: session.namespace).entries > 0 else { return session.reply.null() }
        // one of the next few from somewhere on, around the end once: the first alone would be the one behind the widest gap
        var found: [[UInt8]] = []
        var cursor = UInt32.random(in: 0..<max(1, service.cache.scanEnd), using: &service.random)
        var rounds = 0
        while found.count < 16, rounds < 2 {
            cursor = service.cache.scan(session.namespace, from: cursor, count: 16, at: service.clock.now) { key, _ in
                found.append(Array(key))
            }
            if cursor == 0 { rounds += 1 }
        }
        guard let key = found.randomElement(using: &service.random) else { return session.reply.null() }
        session.reply.bulk(key)
    }
}
