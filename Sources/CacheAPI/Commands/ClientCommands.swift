import Base
import RESP

/// CLIENT: what is known of connections, and orders to them.
enum ClientCommands {
    static var rows: [Command] {
        [
            Command("client", -2, [.noscript, .unpausable], .none, .connection, since: "2.4.0", "Connections: who they are, and orders to them.", client)
        ]
    }

    private static let known = [
        "id", "info", "getname", "unpause", "getredir", "trackinginfo", "help", "setname", "reply", "no-evict", "caching", "unblock", "kill",
        "pause", "setinfo", "tracking", "no-touch",
    ]

    private static func client(_ session: Session, _ arguments: Arguments) throws(Fault) {
        session.lastSubcommand = arguments[1].lowercased
        switch (session.lastSubcommand, arguments.count) {
        case ("id", 2): session.reply.integer(Int64(session.id))
        case ("info", 2): session.reply.verbatim(line(session) + "\n")
        case ("list", _): try list(session, arguments)
        case ("kill", 3...): try kill(session, arguments)
        case ("setname", 3):
            session.name = try checkedName(arguments[2], "Client names")
            session.reply.ok()
        case ("getname", 2): if session.name.isEmpty { session.reply.null() } else { session.reply.bulk(session.name) }
        case ("setinfo", 4): try setInfo(session, arguments)
        case ("reply", 3): try reply(session, arguments[2])
        case ("pause", 3...4): try pause(session, arguments)
        case ("unpause", 2):
            session.service.pause = nil
            session.service.onResume()
            session.reply.ok()
        case ("no-evict", 3), ("no-touch", 3):
            guard arguments[2].isWord("on") || arguments[2].isWord("off") else { throw .syntax }
            session.reply.ok()
        case ("unblock", 3...4):
            _ = try Numbers.need(arguments[2])
            // nothing blocks here
            session.reply.integer(0)
        case ("tracking", 3...): try TrackingCommands.tracking(session, arguments)
        case ("caching", 3): try TrackingCommands.caching(session, arguments)
        case ("getredir", 2): session.reply.integer(session.track.map { Int64($0.redirect) } ?? -1)
        case ("trackinginfo", 2): TrackingCommands.info(session)
        case ("help", 2):
            session.help(
                "CLIENT",
                [
                    "CACHING (YES|NO)", "GETREDIR", "GETNAME", "ID", "INFO", "KILL <option>", "LIST [options ...]", "NO-EVICT (ON|OFF)",
                    "PAUSE <timeout> [WRITE|ALL]", "REPLY (ON|OFF|SKIP)", "SETINFO (LIB-NAME|LIB-VER) <text>", "SETNAME <name>", "TRACKING (ON|OFF) [options]",
                    "TRACKINGINFO", "UNBLOCK <clientid>", "UNPAUSE", "HELP",
                ])
        case let (name, _): throw session.wrongSubcommand(name, of: "client", known)
        }
    }

    static func checkedName(_ name: UnsafeRawBufferPointer, _ what: String) throws(Fault) -> [UInt8] {
        guard name.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .message("ERR \(what) cannot contain spaces, newlines or special characters.")
        }
        return Array(name)
    }

    private static func setInfo(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let name = arguments[2].lowercased
        guard name == "lib-name" || name == "lib-ver" else { throw .message("ERR Unrecognized option '\(arguments.string(2))'") }
        let value = try checkedName(arguments[3], name)
        if name == "lib-name" { session.library.name = value } else { session.library.version = value }
        session.reply.ok()
    }

    private static func reply(_ session: Session, _ word: UnsafeRawBufferPointer) throws(Fault) {
        if word.isWord("on") {
            session.replies = .on
            session.reply.ok()
        } else if word.isWord("off") {
            session.replies = .off
        } else if word.isWord("skip") {
            if session.replies == .on { session.replies = .skip }
        } else {
            throw .syntax
        }
    }

    private static func pause(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard let milliseconds = Numbers.integer(arguments[2]) else { throw .message("ERR timeout is not an integer or out of range") }
        guard milliseconds >= 0 else { throw .message("ERR timeout is negative") }
        var onlyWrites = false
        if arguments.count == 4 {
            guard arguments[3].isWord("write") || arguments[3].isWord("all") else { throw .message("ERR CLIENT PAUSE mode must be WRITE or ALL") }
            onlyWrites = arguments[3].isWord("write")
        }
        let service = session.service
        let until = service.clock.now + .milliseconds(UInt64(min(milliseconds, Limits.cacheLifetimeMillisecondsMax)))
        // a pause that is longer or stricter stays
        service.pause = (max(until, service.pause?.until ?? .zero), onlyWrites && (service.pause?.onlyWrites ?? true))
        service.onPause((service.pause?.until ?? until).since(service.clock.now))
        session.reply.ok()
    }

    // MARK: Lists

    private static func list(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var chosen = session.service.sessions.values.sorted { $0.id < $1.id }
        if arguments.count == 4, arguments[2].isWord("type") {
            let type = arguments[3].lowercased
            guard ["normal", "master", "replica", "slave", "pubsub"].contains(type) else { throw .message("ERR Unknown client type '\(arguments.string(3))'") }
            chosen = chosen.filter { $0.type == type }
        } else if arguments.count > 3, arguments[2].isWord("id") {
            var ids: Set<UInt64> = []
            for index in 3..<arguments.count {
                guard let id = Numbers.integer(arguments[index]), id > 0 else { throw .message("ERR Invalid client ID") }
                ids.insert(UInt64(id))
            }
            chosen = chosen.filter { ids.contains($0.id) }
        } else if arguments.count > 2 {
            throw .syntax
        }
        if session.door == .function { chosen = chosen.filter { $0 === session } }
        session.reply.verbatim(chosen.map { line($0) + "\n" }.joined())
    }

    static func line(_ session: Session) -> String {
        let now = session.service.clock.now
        let track = session.track
        var flags = ""
        if !session.subscriptions.isEmpty { flags += "P" }
        if session.transaction.isOpen { flags += "x" }
        if session.transaction.isTouched { flags += "d" }
        if track != nil { flags += "t" }
        if track?.isBroadcast == true { flags += "B" }
        if track?.isRedirectBroken == true { flags += "R" }
        if flags.isEmpty { flags = "N" }
        let multi = session.transaction.isOpen ? session.transaction.requests.count : -1
        return "id=\(session.id) addr=\(session.address) laddr=\(session.localAddress) fd=\(session.descriptor)"
            + " name=\(String(decoding: session.name, as: UTF8.self)) age=\(Int(now.since(session.created.now).seconds))"
            + " idle=\(Int(now.since(session.lastActive.now).seconds)) flags=\(flags) db=\(session.database)"
            + " sub=\(session.subscriptions.channels.count) psub=\(session.subscriptions.patterns.count) ssub=0 multi=\(multi)"
            + " qbuf=\(session.requestBytes) qbuf-free=0 argv-mem=0 multi-mem=0 rbs=\(session.reply.buffer.count) rbp=0 obl=\(session.reply.buffer.count) oll=0 omem=0 tot-mem=0 events=r"
            + " cmd=\(session.shownCommand) user=\(session.user) redir=\(track.map { Int64($0.redirect) } ?? -1) resp=\(session.reply.isRESP3 ? 3 : 2)"
            + " lib-name=\(String(decoding: session.library.name, as: UTF8.self)) lib-ver=\(String(decoding: session.library.version, as: UTF8.self))"
    }

    /// KILL addr, or KILL with filters that must all hold.
    private static func kill(_ session: Session, _ arguments: Arguments) throws(Fault) {
        if session.door == .function { throw .message("NOPERM this command is for the node's owner, not for functions") }
        if arguments.count == 3 {
            let address = arguments.string(2)
            guard let victim = session.service.sessions.values.first(where: { $0.address == address }) else { throw .message("ERR No such client") }
            end(victim, by: session)
            return session.reply.ok()
        }
        guard arguments.count % 2 == 0 else { throw .syntax }
        var skipsSelf = true
        var filters: [(Session) -> Bool] = []
        for index in stride(from: 2, to: arguments.count, by: 2) {
            let value = arguments.string(index + 1)
            switch arguments[index].lowercased {
            case "id":
                guard let id = Numbers.integer(arguments[index + 1]), id > 0 else { throw .message("ERR client-id should be greater than 0") }
                filters.append { $0.id == UInt64(id) }
            case "addr": filters.append { $0.address == value }
            case "laddr": filters.append { $0.localAddress == value }
            case "user":
                guard value == "default" || value == session.service.options.user else { throw .message("ERR No such user '\(value)'") }
                filters.append { $0.user == value }
            case "type":
                let type = value.lowercased()
                guard ["normal", "master", "replica", "slave", "pubsub"].contains(type) else { throw .message("ERR Unknown client type '\(value)'") }
                filters.append { $0.type == type }
            case "skipme":
                guard ["yes", "no"].contains(value.lowercased()) else { throw .syntax }
                skipsSelf = value.lowercased() == "yes"
            default: throw .syntax
            }
        }
        let victims = session.service.sessions.values.filter { victim in
            !(skipsSelf && victim === session) && filters.allSatisfy { $0(victim) }
        }
        for victim in victims { end(victim, by: session) }
        session.reply.integer(victims.count)
    }

    private static func end(_ victim: Session, by session: Session) {
        // who kills itself is still told so
        if victim === session { return session.closeWhenSent() }
        victim.transport?.close()
    }
}

extension Session {
    var type: String { subscriptions.isEmpty ? "normal" : "pubsub" }

    /// As CLIENT LIST tells it: `client|list`.
    var shownCommand: String {
        switch lowercase(lastCommand) {
        case "null": "NULL"
        case "client", "config": "\(lowercase(lastCommand))|\(lastSubcommand)"
        case let name: name
        }
    }
}
