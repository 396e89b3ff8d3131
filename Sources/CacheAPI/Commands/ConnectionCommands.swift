import Base
import Crypto
import RESP

/// Who a client is and how it speaks.
enum ConnectionCommands {
    static var rows: [Command] {
        [
            Command("ping", -1, [.fast, .subscribed], .none, .connection, since: "1.0.0", "Answers PONG, or what was given.", ping),
            Command("echo", 2, [.fast], .none, .connection, since: "1.0.0", "Answers what was given.") { session, arguments in
                session.reply.bulk(arguments[1])
            },
            Command("hello", -1, [.noscript, .fast, .noAuth], .none, .connection, since: "6.0.0", "Chooses the protocol's version.", hello),
            Command("auth", -2, [.noscript, .fast, .noAuth], .none, .connection, since: "1.0.0", "Says who the client is.", auth),
            Command("quit", -1, [.noscript, .fast, .noAuth, .immediate, .subscribed], .none, .connection, since: "1.0.0", "Ends the connection.") {
                session, _ in
                session.reply.ok()
                session.closeWhenSent()
            },
            Command("reset", 1, [.noscript, .fast, .noAuth, .immediate, .subscribed], .none, .connection, since: "6.2.0", "Begins anew.") {
                session, _ throws(Fault) in
                try session.reset()
                session.reply.simple("RESET")
            },
            Command("time", 1, [.fast], .none, .server, since: "2.6.0", "Returns the time: seconds since 1970, microseconds.") { session, _ in
                let time = session.service.clock.epochMicroseconds
                session.reply.array(2)
                session.reply.bulk("\(time / 1_000_000)")
                session.reply.bulk("\(time % 1_000_000)")
            },
            Command("lolwut", -1, [.readonly, .fast], .none, .server, since: "5.0.0", "Says what this is.") { session, _ in
                session.reply.verbatim("Hearth keeps functions warm, and their cache with them. Redis ver. \(session.service.options.version)\n")
            },
        ]
    }

    private static func ping(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard arguments.count <= 2 else { throw .arity("ping") }
        if !session.subscriptions.isEmpty, !session.reply.isRESP3 {
            session.reply.array(2)
            session.reply.bulk("pong")
            if arguments.count > 1 { session.reply.bulk(arguments[1]) } else { session.reply.bulk("") }
        } else if arguments.count > 1 {
            session.reply.bulk(arguments[1])
        } else {
            session.reply.simple("PONG")
        }
    }

    private static func auth(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard arguments.count <= 3 else { throw .syntax }
        let user = arguments.count == 3 ? arguments.string(1) : "default"
        try authenticate(session, user, arguments[arguments.count - 1])
        session.reply.ok()
    }

    /// The node's access key id or `default`, with the node's secret.
    private static func authenticate(_ session: Session, _ user: String, _ password: UnsafeRawBufferPointer) throws(Fault) {
        let options = session.service.options
        let isKnown = user == "default" || user == options.user
        // compared in any case, so that the time does not tell which of the two was wrong
        let isRight = equalsInConstantTime(Array(password), Array(options.password.utf8))
        guard isKnown, isRight else { throw .message("WRONGPASS invalid username-password pair or user is disabled.") }
        session.user = user
        session.isAuthenticated = true
    }

    private static func hello(_ session: Session, _ arguments: Arguments) throws(Fault) {
        var version = session.reply.isRESP3 ? 3 : 2
        var name: [UInt8]?
        if arguments.count > 1 {
            guard let wanted = Numbers.integer(arguments[1]) else { throw .message("ERR Protocol version is not an integer or out of range") }
            guard wanted == 2 || wanted == 3 else { throw .message("NOPROTO unsupported protocol version") }
            version = Int(wanted)
        }
        var at = 2
        while at < arguments.count {
            if arguments[at].isWord("auth"), at + 2 < arguments.count {
                try authenticate(session, arguments.string(at + 1), arguments[at + 2])
                at += 3
            } else if arguments[at].isWord("setname"), at + 1 < arguments.count {
                name = try ClientCommands.checkedName(arguments[at + 1], "Client names")
                at += 2
            } else {
                throw .message("ERR Syntax error in HELLO option '\(arguments.string(at))'")
            }
        }
        guard session.isAuthenticated else {
            throw .message(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
            )
        }
        if let name { session.name = name }
        session.reply.isRESP3 = version == 3
        session.refreshProtocol()
        session.reply.map(7)
        let facts: [(StaticString, String)] = [("server", "redis"), ("version", session.service.options.version)]
        for (key, value) in facts {
            session.reply.bulk(key)
            session.reply.bulk(value)
        }
        session.reply.bulk("proto")
        session.reply.integer(version)
        session.reply.bulk("id")
        session.reply.integer(Int64(session.id))
        session.reply.bulk("mode")
        session.reply.bulk("standalone")
        session.reply.bulk("role")
        session.reply.bulk("master")
        session.reply.bulk("modules")
        session.reply.array(0)
    }
}
