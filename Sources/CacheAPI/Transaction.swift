import Base
import RESP

/// What a client has queued since MULTI, and whether EXEC may carry it out.
///
///     closed ──MULTI──▶ open ──EXEC──▶ closed: carried out, or nothing when `isSpoilt` (an error while queueing) or `isTouched` (WATCH)
struct Transaction {
    private(set) var isOpen = false
    private(set) var isSpoilt = false
    /// A watched key has changed. (Set while closed, too: between WATCH and MULTI.)
    var isTouched = false
    private(set) var requests: [(command: UnsafeMutablePointer<Command>, request: StoredRequest)] = []
    private var bytes = 0

    mutating func open() { isOpen = true }

    mutating func spoil() { if isOpen { isSpoilt = true } }

    mutating func queue(_ command: UnsafeMutablePointer<Command>, _ arguments: Arguments) throws(Fault) {
        bytes += arguments.byteCount + 64 + arguments.count * 16
        guard requests.count < Limits.cacheQueuedRequestsMax, bytes <= Limits.cacheQueuedBytesMax else {
            throw .message(
                "ERR a transaction takes at most \(Limits.cacheQueuedRequestsMax) commands and \(Limits.cacheQueuedBytesMax >> 20) MiB")
        }
        requests.append((command, StoredRequest(arguments)))
    }
}

/// A key of one database, as WATCH and TRACKING remember it.
struct WatchedKey: Hashable {
    let database: Int
    let bytes: [UInt8]

    init(_ key: UnsafeRawBufferPointer, _ database: Int) {
        bytes = Array(key)
        self.database = database
    }
}

/// Who watches which keys.
///
/// Thread rule: the loop's thread.
final class Watches {
    private var watchers: [WatchedKey: [ObjectIdentifier: Session]] = [:]
    private var keys: [ObjectIdentifier: Set<WatchedKey>] = [:]

    var isEmpty: Bool { watchers.isEmpty }

    func watch(_ key: UnsafeRawBufferPointer, _ session: Session) throws(Fault) {
        let watched = WatchedKey(key, session.database)
        let who = ObjectIdentifier(session)
        guard keys[who, default: []].count < Limits.cacheWatchedKeysMax else {
            throw .message("ERR a client watches at most \(Limits.cacheWatchedKeysMax) keys")
        }
        watchers[watched, default: [:]][who] = session
        keys[who, default: []].insert(watched)
    }

    func forget(_ session: Session) {
        let who = ObjectIdentifier(session)
        for key in keys.removeValue(forKey: who) ?? [] {
            watchers[key]?[who] = nil
            if watchers[key]?.isEmpty == true { watchers[key] = nil }
        }
    }

    func touch(_ key: UnsafeRawBufferPointer, _ database: Int) {
        guard !watchers.isEmpty, let sessions = watchers[WatchedKey(key, database)] else { return }
        for session in sessions.values { session.transaction.isTouched = true }
    }

    /// Keys of a database for which `exists` changes, because all of it is removed or another takes its place.
    func touch(database: Int, where changes: (WatchedKey) -> Bool) {
        for (key, sessions) in watchers where key.database == database && changes(key) {
            for session in sessions.values { session.transaction.isTouched = true }
        }
    }
}
