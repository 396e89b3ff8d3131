import Base
import RESP

/// COMMAND: the table of commands, told to clients.
enum IntrospectionCommands {
    static var rows: [Command] {
        [
            Command("command", -1, [.dangerous], .none, .server, since: "2.8.13", "Tells of the commands.", command)
        ]
    }

    private static func command(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let table = session.service.table
        guard arguments.count > 1 else {
            session.reply.array(table.count)
            for row in 0..<table.count { describe(table.rows + row, session.reply) }
            return
        }
        switch (arguments[1].lowercased, arguments.count) {
        case ("count", 2): session.reply.integer(table.count)
        case ("info", 2):
            session.reply.array(table.count)
            for row in 0..<table.count { describe(table.rows + row, session.reply) }
        case ("info", _):
            session.reply.array(arguments.count - 2)
            for index in 2..<arguments.count {
                if let found = table.find(arguments[index]) { describe(found, session.reply) } else { session.reply.nullArray() }
            }
        case ("docs", _): docs(session, arguments)
        case ("list", _): try list(session, arguments)
        case ("getkeys", 3...): try keys(session, arguments, withFlags: false)
        case ("getkeysandflags", 3...): try keys(session, arguments, withFlags: true)
        case ("help", 2):
            session.help("COMMAND", ["(no subcommand)", "COUNT", "DOCS [<command-name> ...]", "GETKEYS <full-command>", "GETKEYSANDFLAGS <full-command>", "INFO [<command-name> ...]", "LIST [FILTERBY <filter>]", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "command", ["count", "getkeys", "getkeysandflags", "help"])
        }
    }

    /// Ten things, as redis 7 tells them.
    private static func describe(_ command: UnsafeMutablePointer<Command>, _ reply: ReplyWriter) {
        reply.array(10)
        reply.bulk(command.pointee.name)
        reply.integer(command.pointee.arity)
        let flags = CommandFlags.names.filter { command.pointee.flags.contains($0.0) }
        reply.set(flags.count)
        for (_, name) in flags { reply.simple(name) }
        reply.integer(command.pointee.keys.first)
        reply.integer(command.pointee.keys.last)
        reply.integer(command.pointee.keys.step)
        reply.set(command.pointee.categories.count)
        for category in command.pointee.categories { reply.simple(category) }
        // tips, key specifications, sub-commands
        for _ in 0..<3 { reply.array(0) }
    }

    private static func docs(_ session: Session, _ arguments: Arguments) {
        let table = session.service.table
        let found =
            arguments.count == 2
            ? (0..<table.count).map { table.rows + $0 } : (2..<arguments.count).compactMap { table.find(arguments[$0]) }
        session.reply.map(found.count)
        for command in found {
            session.reply.bulk(command.pointee.name)
            session.reply.map(3)
            session.reply.bulk("summary")
            session.reply.bulk(command.pointee.summary)
            session.reply.bulk("since")
            session.reply.bulk(command.pointee.since)
            session.reply.bulk("group")
            session.reply.bulk(command.pointee.group.rawValue)
        }
    }

    private static func list(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let table = session.service.table
        var rows = (0..<table.count).map { table.rows + $0 }
        if arguments.count == 5, arguments[2].isWord("filterby") {
            switch arguments[3].lowercased {
            case "module": rows = []
            case "aclcat": rows = rows.filter { $0.pointee.categories.contains("@" + arguments[4].lowercased) }
            case "pattern":
                rows = rows.filter { row in
                    let name = row.pointee.name
                    let bytes = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
                    return Glob.matches(arguments[4], bytes, ignoringCase: true)
                }
            default: throw .syntax
            }
        } else if arguments.count > 2 {
            throw .syntax
        }
        session.reply.array(rows.count)
        for row in rows { session.reply.bulk(row.pointee.name) }
    }

    private static func keys(_ session: Session, _ arguments: Arguments, withFlags: Bool) throws(Fault) {
        guard let command = session.service.table.find(arguments[2]) else { throw .message("ERR Invalid command specified") }
        let request = arguments.dropFirst(2)
        guard command.pointee.keys != .none || command.pointee.flags.contains(.movableKeys) else {
            throw .message("ERR The command has no key arguments")
        }
        guard command.pointee.accepts(request.count) else { throw .message("ERR Invalid number of arguments specified for command") }
        let indices = command.pointee.keyIndices(request)
        guard !indices.isEmpty || command.pointee.flags.contains(.movableKeys) else {
            throw .message("ERR Invalid arguments specified for command")
        }
        session.reply.array(indices.count)
        for index in indices {
            guard withFlags else {
                session.reply.bulk(request[index])
                continue
            }
            session.reply.array(2)
            session.reply.bulk(request[index])
            let flags: [StaticString] = command.pointee.flags.contains(.write) ? ["RW", "UPDATE"] : ["RO", "ACCESS"]
            session.reply.set(flags.count)
            for flag in flags { session.reply.simple(flag) }
        }
    }
}

extension Command {
    /// Every command of the face: tier A of the plan, and the scripts of lock libraries.
    static var all: [Command] {
        ConnectionCommands.rows + ClientCommands.rows + StringCommands.rows + CounterCommands.rows + KeyCommands.rows
            + DatabaseCommands.rows + TransactionCommands.rows + PubSubCommands.rows + ServerCommands.rows + IntrospectionCommands.rows
            + DumpCommands.rows + ScriptCommands.rows
    }
}
