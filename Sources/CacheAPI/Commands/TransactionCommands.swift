import Base
import RESP

/// MULTI and EXEC: several commands as one; WATCH: only if nothing has changed.
enum TransactionCommands {
    static var rows: [Command] {
        [
            Command("multi", 1, [.noscript, .fast, .immediate], .none, .transactions, since: "1.2.0", "Begins a transaction.") { session, _ throws(Fault) in
                guard !session.transaction.isOpen else { throw .message("ERR MULTI calls can not be nested") }
                session.transaction.open()
                session.reply.ok()
            },
            Command("exec", 1, [.noscript, .immediate], .none, .transactions, since: "1.2.0", "Carries a transaction out.", exec),
            Command("discard", 1, [.noscript, .fast, .immediate], .none, .transactions, since: "2.0.0", "Gives a transaction up.") { session, _ throws(Fault) in
                guard session.transaction.isOpen else { throw .message("ERR DISCARD without MULTI") }
                forget(session)
                session.reply.ok()
            },
            Command("watch", -2, [.noscript, .fast, .immediate], .all, .transactions, since: "2.2.0", "Makes the next EXEC depend on keys.") {
                session, arguments throws(Fault) in
                guard !session.transaction.isOpen else { throw .message("ERR WATCH inside MULTI is not allowed") }
                for index in 1..<arguments.count {
                    // what has expired or was flushed leaves now and not later, when it would look like a change
                    _ = session.look(arguments[index])
                    try session.service.watches.watch(arguments[index], session)
                }
                session.service.countObservers()
                session.reply.ok()
            },
            Command("unwatch", 1, [.noscript, .fast], .none, .transactions, since: "2.2.0", "Forgets what WATCH has asked for.") { session, _ in
                session.service.watches.forget(session)
                session.service.countObservers()
                session.transaction.isTouched = false
                session.reply.ok()
            },
        ]
    }

    private static func forget(_ session: Session) {
        session.service.watches.forget(session)
        session.service.countObservers()
        session.transaction = Transaction()
    }

    private static func exec(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let transaction = session.transaction
        guard transaction.isOpen else { throw .message("ERR EXEC without MULTI") }
        forget(session)
        if transaction.isSpoilt { throw .message("EXECABORT Transaction discarded because of previous errors.") }
        if session.service.settings.isTight, transaction.requests.contains(where: { $0.command.pointee.flags.contains(.denyoom) }),
            session.service.isFull()
        {
            throw .message("EXECABORT Transaction discarded because of: \(Fault.noRoom.message)")
        }
        if transaction.isTouched { return session.reply.nullArray() }
        session.reply.array(transaction.requests.count)
        for (command, request) in transaction.requests {
            session.run(command, request.arguments)
            if session.reply.buffer.count > Limits.cacheReplyBytesMax { return session.closeWhenSent() }
        }
    }
}
