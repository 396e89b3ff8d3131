import Base
import Cache
package import RESP

/// Who carries a session's bytes.
package protocol SessionTransport: AnyObject {
    /// Sends what is in the session's reply buffer.
    func flush()
    /// Ends the connection now.
    func close()
}

/// One client of the face: what it has said about itself, and its state between commands.
///
///     stranger ──AUTH, HELLO──▶ plain ⇄ MULTI (queues) ⇄ …         any ──QUIT, error of the protocol──▶ closing
///                                 │  ⇄ subscribed (RESP2: few commands)  ⇄ tracking
///
/// `execute` is one command, from its name to its reply. `isPlain` says that nothing out of the ordinary is going on, so that the usual
/// command passes by one test.
///
/// Thread rule: the loop's thread.
package final class Session {
    let service: CacheService
    package let id: UInt64
    package let reply = ReplyWriter()
    let door: Door
    let address: String
    let localAddress: String
    let descriptor: Int32
    let created: Clock
    /// The cycle ends with the connection. (Strong: a weak reference would slow every other one down.)
    package var transport: (any SessionTransport)?
    private(set) var database = 0
    private(set) var namespace: NamespaceID
    var user: String
    var name: [UInt8] = []
    var library = (name: [UInt8](), version: [UInt8]())
    var isAuthenticated: Bool { didSet { refreshPlain() } }
    var transaction = Transaction() { didSet { refreshPlain() } }
    var subscriptions = Subscriptions() { didSet { refreshPlain() } }
    var track: TrackingMode? { didSet { refreshPlain() } }
    var replies = Replies.on { didSet { refreshPlain() } }
    /// Nothing out of the ordinary is going on: see `refreshPlain`.
    private var isPlain = false
    var isPending = false
    /// What is pushed to it while its replies are off, and so would be lost with them.
    private var aside: ReplyWriter?
    /// What is to be written to it after the reply of the command that it is waiting for.
    var deferred: [[UInt8]?] = []
    /// The connection ends when what is written has been sent.
    package private(set) var isClosing = false
    var lastCommand: StaticString = "NULL"
    var lastSubcommand = ""
    /// What the request that is being carried out took on the wire.
    package var requestBytes = 0
    var lastActive: Clock
    var isExemptFromEviction = false

    enum Replies { case on, off, skip }

    init(service: CacheService, id: UInt64, door: Door, address: String, localAddress: String, descriptor: Int32) {
        self.service = service
        self.id = id
        self.door = door
        self.address = address
        self.localAddress = localAddress
        self.descriptor = descriptor
        created = service.clock
        lastActive = service.clock
        user = "default"
        isAuthenticated = door != .password
        // database 0 is made with the service
        namespace = service.databases[0].unsafelyUnwrapped
        refreshPlain()
    }

    private func refreshPlain() {
        isPlain = isAuthenticated && !transaction.isOpen && subscriptions.isEmpty && track == nil && replies == .on && !isView
            && door != .function
    }

    // MARK: State

    var isView: Bool { service.isView(database) }

    func select(_ database: Int) throws(Fault) {
        guard (0..<Limits.cacheDatabases).contains(database) else { throw .message("ERR DB index is out of range") }
        if door == .function, service.isView(database) { throw .message("NOPERM functions may not see the node's other caches") }
        guard let namespace = service.namespace(of: database) else { throw .message("ERR the cache has no room for another database") }
        self.database = database
        self.namespace = namespace
        refreshPlain()
    }

    func refreshNamespace() { if let namespace = service.databases[database] { self.namespace = namespace } }

    /// What is allowed to a subscriber depends on the version of the protocol.
    func refreshProtocol() { refreshPlain() }

    package func closeWhenSent() { isClosing = true }

    /// The connection is gone.
    package func end() {
        isClosing = true
        transport = nil
        service.forget(self)
    }

    /// As it was after connecting, but for its id.
    func reset() throws(Fault) {
        service.watches.forget(self)
        service.pubsub.forget(self)
        service.tracking.forget(self)
        service.countObservers()
        transaction = Transaction()
        track = nil
        replies = .on
        reply.isRESP3 = false
        name = []
        user = "default"
        isAuthenticated = door != .password
        try select(0)
    }

    // MARK: Commands

    /// Carries out one command. What it answers is appended to `reply`.
    package func execute(_ arguments: Arguments) {
        guard let command = service.table.find(arguments[0]) else { return refuse(unknown(arguments)) }
        guard command.pointee.accepts(arguments.count) else {
            command.pointee.rejected &+= 1
            return refuse(.arity(lowercase(command.pointee.name)))
        }
        service.current = self
        if isPlain, !service.settings.isTight {
            run(command, arguments)
        } else {
            executeSpecial(command, arguments)
        }
        service.current = nil
        if !deferred.isEmpty { service.tracking.sendDeferred(self) }
    }

    private func executeSpecial(_ command: UnsafeMutablePointer<Command>, _ arguments: Arguments) {
        let mark = reply.buffer.count
        let before = replies
        let flags = command.pointee.flags
        do throws(Fault) {
            try permit(flags, command.pointee.name)
            if transaction.isOpen, !flags.contains(.immediate) {
                if flags.contains(.noMulti) { throw .message("ERR Command not allowed inside a transaction") }
                try transaction.queue(command, arguments)
                reply.simple("QUEUED")
            } else {
                run(command, arguments)
            }
        } catch {
            command.pointee.rejected &+= 1
            refuse(error)
        }
        settle(command.pointee.name, from: mark, before)
    }

    /// What may not be carried out now, or by this client at all.
    private func permit(_ flags: CommandFlags, _ name: StaticString) throws(Fault) {
        if !isAuthenticated, !flags.contains(.noAuth) { throw .message("NOAUTH Authentication required.") }
        if door == .function, flags.contains(.admin) {
            throw .message("NOPERM this command is for the node's owner, not for functions")
        }
        if !subscriptions.isEmpty, !reply.isRESP3, !flags.contains(.subscribed) {
            throw .message(
                "ERR Can't execute '\(lowercase(name))': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
        }
        if service.settings.isTight, flags.contains(.denyoom), service.isFull() { throw .noRoom }
        if isView, flags.contains(.write) {
            throw .message("READONLY database \(database) shows the node's \(service.options.views[database] ?? "") cache and can only be read")
        }
    }

    /// What CLIENT REPLY and CLIENT CACHING mean for the next command only.
    private func settle(_ name: StaticString, from mark: Int, _ before: Replies) {
        // the command that switches them on is answered
        if before != .on, replies != .on {
            reply.buffer.truncate(to: mark)
            if replies == .skip { replies = .on }
        }
        if let aside {
            reply.buffer.append(aside.buffer.bytes)
            self.aside = nil
        }
        if track?.caching != nil, !transaction.isOpen, !isClient(name) { track?.caching = nil }
    }

    /// Where what it did not ask for is written.
    var pushed: ReplyWriter {
        guard service.current === self, replies != .on else { return reply }
        if let aside { return aside }
        let writer = ReplyWriter()
        writer.isRESP3 = reply.isRESP3
        aside = writer
        return writer
    }

    private func isClient(_ name: StaticString) -> Bool { name.utf8CodeUnitCount == 6 && lowercase(name) == "client" }

    /// Carries a permitted command out, and counts it.
    @inline(__always)
    func run(_ command: UnsafeMutablePointer<Command>, _ arguments: Arguments) {
        let mark = reply.buffer.count
        lastCommand = command.pointee.name
        command.pointee.calls &+= 1
        let watch = service.slowLog.isTiming(command.pointee.flags) ? SlowLog.Watch() : nil
        do throws(Fault) {
            try command.pointee.handler(self, arguments)
        } catch {
            reply.buffer.truncate(to: mark)
            command.pointee.failed &+= 1
            refuse(error, inTransaction: false)
        }
        if let watch { service.slowLog.note(watch, command, arguments, self) }
        if track != nil, command.pointee.flags.contains(.readonly) {
            service.tracking.remember(command.pointee.keyIndices(arguments), arguments, self)
        }
    }

    /// Writes an error. One before a command is queued spoils the transaction.
    func refuse(_ fault: Fault, inTransaction: Bool = true) {
        if inTransaction { transaction.spoil() }
        service.statistics.errors &+= 1
        reply.error(fault.message)
    }

    package func refuseProtocol(_ error: RESPError) {
        reply.error("ERR Protocol error: \(error.message)")
        service.statistics.errors &+= 1
        closeWhenSent()
    }

    private func unknown(_ arguments: Arguments) -> Fault {
        // a browser that was made to speak to this port (redis does the same)
        if arguments[0].isWord("post") || arguments[0].isWord("host:") { closeWhenSent() }
        let name = String(decoding: arguments[0].prefix(128), as: UTF8.self)
        var shown = ""
        for index in 1..<max(1, arguments.count) where shown.utf8.count < 128 {
            shown += "'\(String(decoding: arguments[index].prefix(128 - shown.utf8.count), as: UTF8.self))' "
        }
        return .message(
            "ERR unknown command '\(name)', with args beginning with: \(shown)(this is a cache of strings: lists, hashes, sets, streams and scripts of your own need a real Valkey)")
    }
}

func lowercase(_ name: StaticString) -> String { "\(name)".lowercased() }
