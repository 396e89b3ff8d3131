import Base
import Cache
import RESP

/// Keys as such: there or not, removed, renamed, copied, and for how long they live.
enum KeyCommands {
    static var rows: [Command] {
        [
            Command("del", -2, [.write], .all, .generic, since: "1.0.0", "Removes keys.", del),
            Command("unlink", -2, [.write, .fast], .all, .generic, since: "4.0.0", "Removes keys.", del),
            Command("exists", -2, [.readonly, .fast], .all, .generic, since: "1.0.0", "Counts the keys that are there.", exists),
            Command("touch", -2, [.readonly, .fast], .all, .generic, since: "3.2.1", "Counts the keys that are there, as a use of each.") {
                session, arguments in
                session.reply.integer((1..<arguments.count).count { session.read(arguments[$0]) != nil })
            },
            Command("type", 2, [.readonly, .fast], .one, .generic, since: "1.0.0", "Returns the type of a key's value.") { session, arguments in
                if session.look(arguments[1]) == nil { session.reply.simple("none") } else { session.reply.simple("string") }
            },
            Command("rename", 3, [.write], .two, .generic, since: "1.0.0", "Gives a value another key.") { session, arguments throws(Fault) in
                _ = try rename(session, arguments, onlyNew: false)
                session.reply.ok()
            },
            Command("renamenx", 3, [.write, .fast], .two, .generic, since: "1.0.0", "Gives a value another key that is not there yet.") {
                session, arguments throws(Fault) in
                session.reply.integer(try rename(session, arguments, onlyNew: true) ? 1 : 0)
            },
            Command("copy", -3, [.write, .denyoom], .two, .generic, since: "6.2.0", "Copies a value to another key.", copy),
            Command("move", 3, [.write, .fast], .one, .generic, since: "1.0.0", "Moves a key to another database.", move),
            Command("expire", -3, [.write, .fast], .one, .generic, since: "1.0.0", "Sets a lifetime in seconds.") { session, arguments throws(Fault) in
                try expire(session, arguments, .seconds, "expire")
            },
            Command("pexpire", -3, [.write, .fast], .one, .generic, since: "2.6.0", "Sets a lifetime in milliseconds.") { session, arguments throws(Fault) in
                try expire(session, arguments, .milliseconds, "pexpire")
            },
            Command("expireat", -3, [.write, .fast], .one, .generic, since: "1.2.0", "Sets when a key expires, in Unix seconds.") { session, arguments throws(Fault) in
                try expire(session, arguments, .atSeconds, "expireat")
            },
            Command("pexpireat", -3, [.write, .fast], .one, .generic, since: "2.6.0", "Sets when a key expires, in Unix milliseconds.") {
                session, arguments throws(Fault) in
                try expire(session, arguments, .atMilliseconds, "pexpireat")
            },
            Command("ttl", 2, [.readonly, .fast], .one, .generic, since: "1.0.0", "Returns the lifetime that is left, in seconds.") { session, arguments in
                answer(session, arguments[1]) { left, _ in (left + 500) / 1_000 }
            },
            Command("pttl", 2, [.readonly, .fast], .one, .generic, since: "2.6.0", "Returns the lifetime that is left, in milliseconds.") { session, arguments in
                answer(session, arguments[1]) { left, _ in left }
            },
            Command("expiretime", 2, [.readonly, .fast], .one, .generic, since: "7.0.0", "Returns when a key expires, in Unix seconds.") { session, arguments in
                answer(session, arguments[1]) { left, epoch in (left + epoch + 500) / 1_000 }
            },
            Command("pexpiretime", 2, [.readonly, .fast], .one, .generic, since: "7.0.0", "Returns when a key expires, in Unix milliseconds.") {
                session, arguments in
                answer(session, arguments[1]) { left, epoch in left + epoch }
            },
            Command("persist", 2, [.write, .fast], .one, .generic, since: "2.2.0", "Takes a key's lifetime away.") { session, arguments in
                session.reply.integer(persist(session, arguments[1]) ? 1 : 0)
            },
        ]
    }

    private static func del(_ session: Session, _ arguments: Arguments) {
        session.reply.integer((1..<arguments.count).count { session.remove(arguments[$0]) })
    }

    private static func exists(_ session: Session, _ arguments: Arguments) {
        session.reply.integer((1..<arguments.count).count { session.look(arguments[$0]) != nil })
    }

    // MARK: Other keys

    /// False: the new key is taken.
    private static func rename(_ session: Session, _ arguments: Arguments, onlyNew: Bool) throws(Fault) -> Bool {
        let (from, to) = (arguments[1], arguments[2])
        guard let hit = session.look(from) else { throw .noKey }
        if onlyNew, session.look(to) != nil { return false }
        if from.equals(to) { return true }
        let pinned = session.service.cache.pin(hit)
        let life = session.left(hit).map { session.lifetime($0) } ?? .forever
        try session.store(to, pinned.value, life, event: "rename_to", kind: .generic)
        session.remove(from, event: "rename_from")
        return true
    }

    private static func copy(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var database = session.database
        var replaces = false
        var at = 3
        while at < arguments.count {
            if arguments[at].isWord("replace") {
                replaces = true
            } else if arguments[at].isWord("db"), at + 1 < arguments.count {
                at += 1
                database = try databaseIndex(arguments[at])
            } else {
                throw .syntax
            }
            at += 1
        }
        guard database != session.database || !arguments[1].equals(arguments[2]) else {
            throw .message("ERR source and destination objects are the same")
        }
        session.reply.integer(try transfer(session, arguments[1], to: arguments[2], in: database, replacing: replaces, event: "copy_to") ? 1 : 0)
    }

    private static func move(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let database = try databaseIndex(arguments[2])
        guard database != session.database else { throw .message("ERR source and destination objects are the same") }
        guard try transfer(session, arguments[1], to: arguments[1], in: database, replacing: false, event: "move_to") else {
            return session.reply.integer(0)
        }
        session.remove(arguments[1], event: "move_from")
        session.reply.integer(1)
    }

    private static func databaseIndex(_ word: UnsafeRawBufferPointer) throws(Fault) -> Int {
        guard let database = Numbers.integer(word) else { throw .notInteger }
        guard (0..<Int64(Limits.cacheDatabases)).contains(database) else { throw .message("ERR DB index is out of range") }
        return Int(database)
    }

    /// Copies a value and its lifetime to a key of another database (or of this one); false: it is not there, or the other is.
    private static func transfer(
        _ session: Session, _ from: UnsafeRawBufferPointer, to: UnsafeRawBufferPointer, in database: Int, replacing: Bool,
        event: StaticString
    ) throws(Fault) -> Bool {
        let own = session.database
        guard !session.service.isView(database) else { throw .message("READONLY database \(database) is a view and can only be read") }
        guard let hit = session.look(from) else { return false }
        let pinned = session.service.cache.pin(hit)
        let life = session.left(hit).map { session.lifetime($0) } ?? .forever
        try session.select(database)
        var fault: Fault?
        var isDone = false
        do throws(Fault) {
            if replacing || session.look(to) == nil {
                try session.store(to, pinned.value, life, event: event, kind: .generic)
                isDone = true
            }
        } catch { fault = error }
        try session.select(own)
        if let fault { throw fault }
        return isDone
    }

    // MARK: Lifetimes

    @discardableResult
    static func persist(_ session: Session, _ key: UnsafeRawBufferPointer) -> Bool {
        guard let hit = session.look(key), session.left(hit) != nil else { return false }
        _ = session.service.cache.expire(key, in: session.namespace, .forever, at: session.service.clock.now)
        session.service.modified(key, in: session.database)
        session.service.notify(.generic, "persist", key, in: session.database)
        return true
    }

    private static func answer(_ session: Session, _ key: UnsafeRawBufferPointer, _ of: (_ left: Int64, _ epoch: Int64) -> Int64) {
        guard let hit = session.look(key) else { return session.reply.integer(-2) }
        guard let left = session.left(hit) else { return session.reply.integer(-1) }
        session.reply.integer(of(left, session.service.clock.epoch))
    }

    /// The conditions of EXPIRE: NX without a lifetime so far, XX with one, GT and LT against it (none counts as endless).
    private struct Conditions {
        var nx = false
        var xx = false
        var gt = false
        var lt = false

        init(_ arguments: Arguments) throws(Fault) {
            for index in 3..<max(3, arguments.count) {
                let word = arguments[index]
                switch true {
                case word.isWord("nx"): nx = true
                case word.isWord("xx"): xx = true
                case word.isWord("gt"): gt = true
                case word.isWord("lt"): lt = true
                default: throw .message("ERR Unsupported option \(arguments.string(index))")
                }
            }
            if nx, xx || gt || lt { throw .message("ERR NX and XX, GT or LT options at the same time are not compatible") }
            if gt, lt { throw .message("ERR GT and LT options at the same time are not compatible") }
        }

        func allow(_ new: Int64, _ old: Int64?) -> Bool {
            if nx, old != nil { return false }
            if xx, old == nil { return false }
            if gt { return old.map { new > $0 } ?? false }
            if lt { return old.map { new < $0 } ?? true }
            return true
        }
    }

    private static func expire(_ session: Session, _ arguments: Arguments, _ unit: LifetimeUnit, _ name: StaticName) throws(Fault) {
        let value = try Numbers.need(arguments[2])
        guard let milliseconds = unit.milliseconds(value, at: session.service.clock) else { throw .invalidExpire(name) }
        let conditions = try Conditions(arguments)
        guard let hit = session.look(arguments[1]), conditions.allow(milliseconds, session.left(hit)) else {
            return session.reply.integer(0)
        }
        session.expire(arguments[1], milliseconds: milliseconds)
        session.reply.integer(1)
    }
}
