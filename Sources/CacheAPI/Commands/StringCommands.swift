import Base
import Cache
import RESP

/// GET, SET and their relatives (semantic 7.5.43).
enum StringCommands {
    static var rows: [Command] {
        [
            Command("get", 2, [.readonly, .fast], .one, .string, since: "1.0.0", "Returns the string value of a key.", get),
            Command("set", -3, [.write, .denyoom], .one, .string, since: "1.0.0", "Sets the string value of a key, and its lifetime.", set),
            Command("setex", 4, [.write, .denyoom], .one, .string, since: "2.0.0", "Sets a value with a lifetime in seconds.") {
                session, arguments throws(Fault) in
                try setFor(session, arguments, .seconds, "setex")
            },
            Command("psetex", 4, [.write, .denyoom], .one, .string, since: "2.6.0", "Sets a value with a lifetime in milliseconds.") {
                session, arguments throws(Fault) in
                try setFor(session, arguments, .milliseconds, "psetex")
            },
            Command("setnx", 3, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Sets a value only when the key is not there.", setNX),
            Command("getset", 3, [.write, .denyoom, .fast], .one, .string, since: "1.0.0", "Sets a value and returns the one before.", getSet),
            Command("getdel", 2, [.write, .fast], .one, .string, since: "6.2.0", "Returns a value and removes its key.", getDel),
            Command("getex", -2, [.write, .fast], .one, .string, since: "6.2.0", "Returns a value and sets its lifetime.", getEx),
            Command("mget", -2, [.readonly, .fast], .all, .string, since: "1.0.0", "Returns the values of several keys.", mget),
            Command("mset", -3, [.write, .denyoom], .pairs, .string, since: "1.0.1", "Sets several values.") { session, arguments throws(Fault) in
                try mset(session, arguments)
                session.reply.ok()
            },
            Command("msetnx", -3, [.write, .denyoom], .pairs, .string, since: "1.0.1", "Sets several values only when none is there.", msetNX),
            Command("append", 3, [.write, .denyoom, .fast], .one, .string, since: "2.0.0", "Appends to a value.", append),
            Command("strlen", 2, [.readonly, .fast], .one, .string, since: "2.2.0", "Returns the length of a value.") { session, arguments in
                session.reply.integer(session.read(arguments[1])?.count ?? 0)
            },
            Command("getrange", 4, [.readonly], .one, .string, since: "2.4.0", "Returns a part of a value.", getRange),
            Command("substr", 4, [.readonly], .one, .string, since: "1.0.0", "Returns a part of a value.", getRange),
            Command("setrange", 4, [.write, .denyoom], .one, .string, since: "2.2.0", "Overwrites a part of a value.", setRange),
        ]
    }

    private static func get(_ session: Session, _ arguments: Arguments) {
        guard let value = session.read(arguments[1]) else { return session.reply.null() }
        session.reply.bulk(value)
    }

    private static func set(_ session: Session, _ arguments: Arguments) throws(Fault) {
        if arguments.count == 3 {
            try session.store(arguments[1], arguments[2])
            return session.reply.ok()
        }
        try setWithOptions(session, arguments)
    }

    private struct SetOptions {
        var lifetime = Lifetime.forever
        var hasLifetime = false
        var isOver = false
        var onlyNew = false
        var onlyOld = false
        var returnsOld = false

        init(_ arguments: Arguments, _ clock: Clock, _ session: Session) throws(Fault) {
            var at = 3
            while at < arguments.count {
                let word = arguments[at]
                if word.isWord("nx"), !onlyOld {
                    onlyNew = true
                } else if word.isWord("xx"), !onlyNew {
                    onlyOld = true
                } else if word.isWord("get") {
                    returnsOld = true
                } else if word.isWord("keepttl"), !hasLifetime {
                    hasLifetime = true
                    lifetime = .unchanged
                } else if let unit = LifetimeUnit(word), !hasLifetime, at + 1 < arguments.count {
                    hasLifetime = true
                    at += 1
                    let milliseconds = try unit.positive(arguments[at], at: clock, "set")
                    isOver = milliseconds <= 0
                    lifetime = session.lifetime(milliseconds)
                } else {
                    throw .syntax
                }
                at += 1
            }
        }
    }

    private static func setWithOptions(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let options = try SetOptions(arguments, session.service.clock, session)
        let key = arguments[1]
        let old = options.returnsOld ? session.read(key) : nil
        let isThere = options.returnsOld ? old != nil : options.onlyNew || options.onlyOld ? session.look(key) != nil : false
        // the old value first: it is gone when the new one is there
        if options.returnsOld { if let old { session.reply.bulk(old) } else { session.reply.null() } }
        if options.onlyNew && isThere || options.onlyOld && !isThere {
            if !options.returnsOld { session.reply.null() }
            return
        }
        if options.isOver {
            session.remove(key)
        } else {
            try session.store(key, arguments[2], options.lifetime)
            if options.hasLifetime, options.lifetime != .unchanged { session.service.notify(.generic, "expire", key, in: session.database) }
        }
        if !options.returnsOld { session.reply.ok() }
    }

    private static func setFor(_ session: Session, _ arguments: Arguments, _ unit: LifetimeUnit, _ name: StaticName) throws(Fault) {
        let milliseconds = try unit.positive(arguments[2], at: session.service.clock, name)
        try session.store(arguments[1], arguments[3], session.lifetime(milliseconds))
        session.service.notify(.generic, "expire", arguments[1], in: session.database)
        session.reply.ok()
    }

    private static func setNX(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard session.look(arguments[1]) == nil else { return session.reply.integer(0) }
        try session.store(arguments[1], arguments[2])
        session.reply.integer(1)
    }

    private static func getSet(_ session: Session, _ arguments: Arguments) throws(Fault) {
        if let old = session.read(arguments[1]) { session.reply.bulk(old) } else { session.reply.null() }
        try session.store(arguments[1], arguments[2])
    }

    private static func getDel(_ session: Session, _ arguments: Arguments) {
        guard let value = session.read(arguments[1]) else { return session.reply.null() }
        session.reply.bulk(value)
        session.remove(arguments[1])
    }

    private static func getEx(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let key = arguments[1]
        var milliseconds: Int64?
        var persists = false
        if arguments.count == 3, arguments[2].isWord("persist") {
            persists = true
        } else if arguments.count == 4, let unit = LifetimeUnit(arguments[2]) {
            milliseconds = try unit.positive(arguments[3], at: session.service.clock, "getex")
        } else if arguments.count > 2 {
            throw .syntax
        }
        guard let value = session.read(key) else { return session.reply.null() }
        session.reply.bulk(value)
        if let milliseconds { session.expire(key, milliseconds: milliseconds) }
        if persists { KeyCommands.persist(session, key) }
    }

    private static func mget(_ session: Session, _ arguments: Arguments) throws(Fault) {
        session.reply.array(arguments.count - 1)
        for index in 1..<arguments.count {
            if let value = session.read(arguments[index]) { session.reply.bulk(value) } else { session.reply.null() }
            guard session.reply.buffer.count <= Limits.cacheReplyBytesMax else { throw .replyTooLarge }
        }
    }

    private static func mset(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard arguments.count % 2 == 1 else { throw .arity("mset") }
        for index in stride(from: 1, to: arguments.count, by: 2) { try session.store(arguments[index], arguments[index + 1]) }
    }

    private static func msetNX(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard arguments.count % 2 == 1 else { throw .arity("msetnx") }
        for index in stride(from: 1, to: arguments.count, by: 2) where session.look(arguments[index]) != nil {
            return session.reply.integer(0)
        }
        try mset(session, arguments)
        session.reply.integer(1)
    }

    // MARK: Parts

    private static func append(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard let old = session.look(arguments[1])?.value else {
            try session.store(arguments[1], arguments[2], event: "append")
            return session.reply.integer(arguments[2].count)
        }
        let count = old.count + arguments[2].count
        try checkLength(session, count)
        let joined = ByteBuffer(capacity: count)
        joined.append(old)
        joined.append(arguments[2])
        try session.store(arguments[1], joined.bytes, .unchanged, event: "append", isEdited: true)
        session.reply.integer(count)
    }

    private static func checkLength(_ session: Session, _ count: Int) throws(Fault) {
        guard count <= session.service.settings.bulkBytesMax else {
            throw .message("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        }
    }

    private static func getRange(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let first = try Numbers.needInt(arguments[2])
        let last = try Numbers.needInt(arguments[3])
        guard let value = session.read(arguments[1]), !(first < 0 && last < 0 && first > last) else { return session.reply.bulk("") }
        let from = first < 0 ? max(0, value.count &+ first) : first
        let to = min(last < 0 ? max(0, value.count &+ last) : last, value.count - 1)
        guard from <= to, value.count > 0 else { return session.reply.bulk("") }
        session.reply.bulk(UnsafeRawBufferPointer(rebasing: value[from...to]))
    }

    private static func setRange(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let offset = try Numbers.needInt(arguments[2])
        guard offset >= 0 else { throw .message("ERR offset is out of range") }
        let part = arguments[3]
        let old = session.look(arguments[1])?.value
        guard part.count > 0 else { return session.reply.integer(old?.count ?? 0) }
        let (end, over) = offset.addingReportingOverflow(part.count)
        try checkLength(session, over ? .max : end)
        let count = max(end, old?.count ?? 0)
        // refused before the memory for it is taken
        guard count <= session.service.cache.limitBytes / Limits.cacheObjectShare else { throw .tooLarge }
        let joined = ByteBuffer(capacity: count)
        let room = joined.reserve(count)
        room.initialize(repeating: 0, count: count)
        let bytes = UnsafeMutableRawBufferPointer(start: room, count: count)
        if let old { bytes.copyMemory(from: old) }
        UnsafeMutableRawBufferPointer(rebasing: bytes[offset...]).copyMemory(from: part)
        joined.commit(count)
        try session.store(arguments[1], joined.bytes, old == nil ? .forever : .unchanged, event: "setrange", isEdited: true)
        session.reply.integer(count)
    }
}
