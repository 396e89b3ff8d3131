import Base
import Cache
import Crypto
import RESP

/// The scripts that lock libraries send, known by the SHA-1 of their text and done here in Swift: there is no interpreter (and no sandbox
/// to escape from). Any other script is refused.
enum KnownScript: Sendable {
    /// Removes the key when it holds the first argument: 1, else 0.
    case release
    /// As `release`, but -1 when there is no key.
    case releaseOrTell
    /// Gives the key another lifetime (second argument, ms) when it holds the first argument: 1, else 0.
    case renew
    /// As `renew`, or sets the key when nobody holds it.
    case renewOrTake
    /// redis-py's `extend`: adds the second argument to the lifetime, or replaces it when the third is not "0"; 0 when it has none.
    case extend
    /// Laravel's `add`: sets the first argument for the second one's seconds when the key is not there: OK, else nothing.
    case add
    /// redlock-rb: sets the first argument for the second one's ms when it is held already, or is free and the third is "yes".
    case lock
    /// redlock-rb: the value and what is left of its lifetime, in ms.
    case inspect
    /// Redlock for Node: all keys or none, the number of keys.
    case acquireAll
    case extendAll
    /// The number of keys that held the first argument and are removed.
    case releaseAll

    /// By SHA-1; each line names its source.
    static let table: [String: KnownScript] = [
        // redis-py (and dogpile.cache, which uses its lock)
        "c3f8721cbb97f72bc19e972846bd7aaf91901658": .release,
        "a4e8783852e6b949f9ef3a97212805108459a890": .extend,
        "1cac51482acf5858da00f6d685d68f886cd6b6b2": .renew,
        // Laravel: RedisStore.add, and RedisLock.release, whose text is that of the manual of SET
        "a08c9c69b7c07ae2485190873b90d128a23e502d": .add,
        "647c65a442733a1aa440f99908d249d13b4d6c4a": .release,
        // the same text of the manual in one line, with single quotes, with a line end
        "b70c2384248f88e6b75b9f89241a180f856ad852": .release,
        "ae3671744a5dbb24ea37ef607b8b10ac7856d43e": .release,
        "e9f69f2beb755be68b5e456ee2ce9aadfbc4ebf4": .release,
        "194f3902b2dd08557818d09fc2e7682d91480e53": .release,
        // redlock-py
        "4e92fdc63815b3a0a2dd1c1df3694de73607c88d": .release,
        // redlock-rb 2
        "8e4905cee18e7c3188d10f2b8b170e403baed34f": .release,
        "ceb2b2062e40c51a2b3963fd078bc71f11bdc65c": .lock,
        "78d2ca48a6dc9ef6892059792a3a0c5237733d64": .inspect,
        // redsync (Go)
        "e950836ed1e694540c503ef9972b8de518044d3b": .releaseOrTell,
        "00583931c4e4d483f6233879c133c71ed5393f9d": .release,
        "d75bb8b5bd13532ddedd17762e772346e39b321e": .renew,
        "53692746b44cae854b8dfa32b177218bbe40baee": .renew,
        "b6b55c439e02c6f52ffb8be7ec8c0d0ac816ea79": .renewOrTake,
        // Redlock for Node 4 and 5
        "e5a322e2634ef59a516e8ea150cb085afafee684": .acquireAll,
        "ce46f80993d5dac20dd066eb301a4e37994bdbed": .extendAll,
        "0f0f23b9048b36752b5be114f357ba083449f908": .releaseAll,
        "96da70f7716f27d278a5218544df37fd8b0a5e4c": .acquireAll,
        "aed6f382e410db8ba7926d4e5e9aab410bf2a78a": .extendAll,
        "e4612211c9f8f51c257e26e056b0a654b3187242": .releaseAll,
    ]

    /// How many keys and arguments the script reads; more may be given, fewer may not.
    private var needs: (keys: Int, arguments: Int) {
        switch self {
        case .release, .releaseOrTell: (1, 1)
        case .renew, .renewOrTake, .add: (1, 2)
        case .extend, .lock: (1, 3)
        case .inspect: (1, 0)
        case .acquireAll, .extendAll: (0, 2)
        case .releaseAll: (0, 1)
        }
    }

    /// Carries the script out: `keys` and `arguments` as EVAL gives them.
    func run(_ session: Session, _ keys: Arguments, _ arguments: Arguments) throws(Fault) {
        guard keys.count >= needs.keys, arguments.count >= needs.arguments else {
            throw .message("ERR this script takes \(needs.keys) keys and \(needs.arguments) arguments")
        }
        switch self {
        case .release: session.reply.integer(Self.holds(session, keys[0], arguments[0]) && session.remove(keys[0]) ? 1 : 0)
        case .releaseOrTell where session.look(keys[0]) == nil: session.reply.integer(-1)
        case .releaseOrTell: try KnownScript.release.run(session, keys, arguments)
        case .renew: try renew(session, keys[0], arguments, takes: false)
        case .renewOrTake: try renew(session, keys[0], arguments, takes: true)
        case .extend: try extend(session, keys[0], arguments)
        case .add: try add(session, keys[0], arguments)
        case .lock: try lock(session, keys[0], arguments)
        case .inspect: inspect(session, keys[0])
        case .acquireAll: try setAll(session, keys, arguments) { session.look($0) == nil }
        case .extendAll: try setAll(session, keys, arguments) { Self.holds(session, $0, arguments[0]) }
        case .releaseAll:
            session.reply.integer((0..<keys.count).count { Self.holds(session, keys[$0], arguments[0]) && session.remove(keys[$0]) })
        }
    }

    private static func holds(_ session: Session, _ key: UnsafeRawBufferPointer, _ token: UnsafeRawBufferPointer) -> Bool {
        session.look(key)?.value.equals(token) ?? false
    }

    private func renew(_ session: Session, _ key: UnsafeRawBufferPointer, _ arguments: Arguments, takes: Bool) throws(Fault) {
        let milliseconds = try Numbers.need(arguments[1])
        if Self.holds(session, key, arguments[0]) {
            session.expire(key, milliseconds: milliseconds)
            return session.reply.integer(1)
        }
        guard takes, session.look(key) == nil else { return session.reply.integer(0) }
        guard milliseconds > 0 else { throw .invalidExpire("set") }
        try session.store(key, arguments[0], session.lifetime(milliseconds))
        session.reply.integer(1)
    }

    private func extend(_ session: Session, _ key: UnsafeRawBufferPointer, _ arguments: Arguments) throws(Fault) {
        let number = Numbers.integer(arguments[1]) ?? Numbers.long(arguments[1]).flatMap { Int64(exactly: $0.rounded(.towardZero)) }
        guard let change = number else { throw .notInteger }
        guard Self.holds(session, key, arguments[0]), let left = session.look(key).flatMap({ session.left($0) }) else {
            return session.reply.integer(0)
        }
        let isReplaced = !arguments[2].isWord("0")
        let (sum, over) = left.addingReportingOverflow(change)
        guard !over else { throw .notInteger }
        session.expire(key, milliseconds: isReplaced ? change : sum)
        session.reply.integer(1)
    }

    private func add(_ session: Session, _ key: UnsafeRawBufferPointer, _ arguments: Arguments) throws(Fault) {
        guard session.look(key) == nil else { return session.reply.null() }
        let milliseconds = try LifetimeUnit.seconds.positive(arguments[1], at: session.service.clock, "setex")
        try session.store(key, arguments[0], session.lifetime(milliseconds))
        session.reply.ok()
    }

    private func lock(_ session: Session, _ key: UnsafeRawBufferPointer, _ arguments: Arguments) throws(Fault) {
        let isFree = session.look(key) == nil && arguments[2].equals(UnsafeRawBufferPointer(start: Self.yes.utf8Start, count: 3))
        guard isFree || Self.holds(session, key, arguments[0]) else { return session.reply.null() }
        let milliseconds = try LifetimeUnit.milliseconds.positive(arguments[1], at: session.service.clock, "set")
        try session.store(key, arguments[0], session.lifetime(milliseconds))
        session.reply.ok()
    }

    private static let yes: StaticString = "yes"

    private func inspect(_ session: Session, _ key: UnsafeRawBufferPointer) {
        session.reply.array(2)
        guard let hit = session.look(key) else {
            session.reply.null()
            return session.reply.integer(-2)
        }
        session.reply.bulk(hit.value)
        session.reply.integer(session.left(hit) ?? -1)
    }

    private func setAll(
        _ session: Session, _ keys: Arguments, _ arguments: Arguments, _ may: (UnsafeRawBufferPointer) -> Bool
    ) throws(Fault) {
        guard (0..<keys.count).allSatisfy({ may(keys[$0]) }) else { return session.reply.integer(0) }
        let milliseconds = try LifetimeUnit.milliseconds.positive(arguments[1], at: session.service.clock, "set")
        for index in 0..<keys.count { try session.store(keys[index], arguments[0], session.lifetime(milliseconds)) }
        session.reply.integer(keys.count)
    }
}

/// EVAL and its relatives, for the scripts that are known.
enum ScriptCommands {
    static var rows: [Command] {
        [
            Command("eval", -3, [.noscript, .movableKeys, .write], .none, .scripting, since: "2.6.0", "Carries out a known script, by its text.") {
                session, arguments throws(Fault) in
                try evaluate(session, hex(Digest.sha1(arguments[1])), arguments, isDigest: false)
            },
            Command("evalsha", -3, [.noscript, .movableKeys, .write], .none, .scripting, since: "2.6.0", "Carries out a known script, by its SHA-1.") {
                session, arguments throws(Fault) in
                try evaluate(session, arguments[1].lowercased, arguments, isDigest: true)
            },
            Command("eval_ro", -3, [.noscript, .movableKeys, .readonly], .none, .scripting, since: "7.0.0", "As EVAL, for scripts that only read.") {
                session, arguments throws(Fault) in
                try evaluate(session, hex(Digest.sha1(arguments[1])), arguments, isDigest: false, readOnly: true)
            },
            Command("evalsha_ro", -3, [.noscript, .movableKeys, .readonly], .none, .scripting, since: "7.0.0", "As EVALSHA, for scripts that only read.") {
                session, arguments throws(Fault) in
                try evaluate(session, arguments[1].lowercased, arguments, isDigest: true, readOnly: true)
            },
            Command("script", -2, [.noscript], .none, .scripting, since: "2.6.0", "Tells which scripts are known.", script),
        ]
    }

    private static func refusal() -> Fault {
        .message("ERR this cache runs no scripts but those of known lock libraries: scripts of your own need a real Valkey")
    }

    private static func evaluate(
        _ session: Session, _ digest: String, _ arguments: Arguments, isDigest: Bool, readOnly: Bool = false
    ) throws(Fault) {
        guard let count = Numbers.integer(arguments[2]) else { throw .notInteger }
        guard count <= arguments.count - 3 else { throw .message("ERR Number of keys can't be greater than number of args") }
        guard count >= 0 else { throw .message("ERR Number of keys can't be negative") }
        guard let script = KnownScript.table[digest] else {
            throw isDigest ? .message("NOSCRIPT No matching script. Please use EVAL.") : refusal()
        }
        if readOnly, script != .inspect { throw .message("ERR Write commands are not allowed from read-only scripts.") }
        let keys = Arguments(of: arguments, from: 3, count: Int(count))
        try script.run(session, keys, arguments.dropFirst(3 + Int(count)))
    }

    private static func script(_ session: Session, _ arguments: Arguments) throws(Fault) {
        switch (arguments[1].lowercased, arguments.count) {
        case ("load", 3):
            let digest = hex(Digest.sha1(arguments[2]))
            guard KnownScript.table[digest] != nil else { throw refusal() }
            session.reply.bulk(digest)
        case ("exists", 3...):
            session.reply.array(arguments.count - 2)
            for index in 2..<arguments.count { session.reply.integer(KnownScript.table[arguments[index].lowercased] != nil ? 1 : 0) }
        // the table is fixed: there is nothing to forget, and what was known is known still
        case ("flush", 2...3): session.reply.ok()
        case ("kill", 2): throw .message("NOTBUSY No scripts in execution right now.")
        case ("help", 2): session.help("SCRIPT", ["EXISTS <sha1> [<sha1> ...]", "FLUSH [ASYNC|SYNC]", "KILL", "LOAD <script>", "HELP"])
        case let (name, _): throw session.wrongSubcommand(name, of: "script", ["load", "exists", "flush", "kill", "help"])
        }
    }
}
