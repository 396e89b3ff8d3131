import Base
import RESP

/// Channels: who listens, and what is said.
enum PubSubCommands {
    static var rows: [Command] {
        [
            Command("subscribe", -2, [.pubsub, .noscript, .subscribed], .none, .pubsub, since: "2.0.0", "Listens to channels.") { session, arguments throws(Fault) in
                for index in 1..<arguments.count {
                    try checkCount(session)
                    session.service.pubsub.subscribe(Array(arguments[index]), session)
                    confirm(session, "subscribe", Array(arguments[index]))
                }
            },
            Command("psubscribe", -2, [.pubsub, .noscript, .subscribed], .none, .pubsub, since: "2.0.0", "Listens to channels that match patterns.") {
                session, arguments throws(Fault) in
                for index in 1..<arguments.count {
                    try checkCount(session)
                    session.service.pubsub.subscribe(pattern: Array(arguments[index]), session)
                    confirm(session, "psubscribe", Array(arguments[index]))
                }
            },
            Command("unsubscribe", -1, [.pubsub, .noscript, .subscribed], .none, .pubsub, since: "2.0.0", "Listens to channels no more.") { session, arguments in
                leave(session, arguments, "unsubscribe", session.subscriptions.channels) { session.service.pubsub.unsubscribe($0, session) }
            },
            Command("punsubscribe", -1, [.pubsub, .noscript, .subscribed], .none, .pubsub, since: "2.0.0", "Listens to patterns no more.") { session, arguments in
                leave(session, arguments, "punsubscribe", session.subscriptions.patterns) { session.service.pubsub.unsubscribe(pattern: $0, session) }
            },
            Command("publish", 3, [.pubsub, .fast], .none, .pubsub, since: "2.0.0", "Says something in a channel.") { session, arguments in
                session.reply.integer(session.service.pubsub.publish(arguments[1], arguments[2], session.service))
            },
            Command("pubsub", -2, [.pubsub], .none, .pubsub, since: "2.8.0", "Tells of channels and their listeners.", tell),
        ]
    }

    private static func checkCount(_ session: Session) throws(Fault) {
        guard session.subscriptions.count < Limits.cacheSubscriptionsMax else {
            throw .message("ERR a client has at most \(Limits.cacheSubscriptionsMax) subscriptions")
        }
    }

    private static func confirm(_ session: Session, _ kind: StaticString, _ name: [UInt8]?) {
        let count = session.subscriptions.count
        session.push(session.service) { reply in
            reply.push(3)
            reply.bulk(kind)
            if let name { reply.bulk(name) } else { reply.null() }
            reply.integer(count)
        }
    }

    private static func leave(
        _ session: Session, _ arguments: Arguments, _ kind: StaticString, _ current: Set<[UInt8]>, _ leave: ([UInt8]) -> Void
    ) {
        let names = arguments.count > 1 ? (1..<arguments.count).map { Array(arguments[$0]) } : Array(current)
        if names.isEmpty { confirm(session, kind, nil) }
        for name in names {
            leave(name)
            confirm(session, kind, name)
        }
    }

    private static func tell(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let pubsub = session.service.pubsub
        switch (arguments[1].lowercased, arguments.count) {
        case ("channels", 2...3):
            let names = pubsub.channels.keys.filter { name in
                arguments.count == 2 || name.withUnsafeBytes { Glob.matches(arguments[2], $0) }
            }
            session.reply.array(names.count)
            for name in names { session.reply.bulk(name) }
        case ("numsub", _):
            session.reply.array((arguments.count - 2) * 2)
            for index in 2..<max(2, arguments.count) {
                session.reply.bulk(arguments[index])
                session.reply.integer(pubsub.channels[Array(arguments[index])]?.count ?? 0)
            }
        case ("numpat", 2): session.reply.integer(pubsub.patterns.count)
        case ("shardchannels", 2...3): session.reply.array(0)
        case ("shardnumsub", _):
            session.reply.array((arguments.count - 2) * 2)
            for index in 2..<max(2, arguments.count) {
                session.reply.bulk(arguments[index])
                session.reply.integer(0)
            }
        case ("help", 2):
            session.help("PUBSUB", ["CHANNELS [<pattern>]", "NUMPAT", "NUMSUB [<channel> ...]", "SHARDCHANNELS [<pattern>]", "SHARDNUMSUB [<channel> ...]", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "pubsub", ["channels", "numpat", "shardchannels", "help"])
        }
    }
}

extension Session {
    func help(_ command: String, _ lines: [String]) {
        reply.array(lines.count + 1)
        reply.simple("\(command) <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
        for line in lines { reply.simple(line) }
    }

    /// Of a sub-command that is not there, or that has the wrong number of arguments.
    func wrongSubcommand(_ name: String, of command: String, _ known: [String]) -> Fault {
        known.contains(name) ? .arity("\(command)|\(name)") : .unknownSubcommand(name, of: command)
    }
}
