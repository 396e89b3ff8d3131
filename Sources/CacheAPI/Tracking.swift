import Base
import RESP

/// How a client wants to hear of changes to keys that it may have kept (client-side caching).
struct TrackingMode {
    /// Another client's connection gets the messages.
    var redirect: UInt64 = 0
    var isBroadcast = false
    var isOptIn = false
    var isOptOut = false
    /// Not of its own changes.
    var noLoop = false
    /// What CLIENT CACHING said for the next command.
    var caching: Bool?
    var isRedirectBroken = false
    var prefixes: [[UInt8]] = []
}

/// Which client may have kept which key; tells it when the key changes.
///
///     GET by a tracking client ──▶ remember: key → clients        write, expiry, eviction ──▶ message to each, key forgotten
///     BCAST: prefix → clients                                     write ──▶ collected; `broadcast` sends one message a prefix
///
/// Invariants:
///  1. A client that tracks is told of a change after which it may have read the old value, or has the key forgotten by `forget`.
///  2. At most `cacheTrackedKeysMax` keys: beyond, one is taken for changed.
///
/// Thread rule: the loop's thread.
final class Tracking {
    private struct Prefix {
        var clients: [UInt64: Session] = [:]
        /// Changed keys and who changed them, since the last `broadcast`; in order of their coming.
        var changed: [(key: [UInt8], by: UInt64)] = []
        var known: Set<[UInt8]> = []
    }

    private var clients: [UInt64: Session] = [:]
    private var keys: [[UInt8]: Set<UInt64>] = [:]
    private var prefixes: [[UInt8]: Prefix] = [:]
    private var hasChanges = false

    var isEmpty: Bool { clients.isEmpty }
    var clientCount: Int { clients.count }
    var keyCount: Int { keys.count }
    var itemCount: Int { keys.values.reduce(0) { $0 + $1.count } }
    var prefixCount: Int { prefixes.count }

    // MARK: Clients

    func begin(_ session: Session, _ mode: TrackingMode) {
        clients[session.id] = session
        session.track = mode
        for prefix in mode.prefixes { prefixes[prefix, default: Prefix()].clients[session.id] = session }
    }

    /// What was remembered for it stays until its keys change, and then reaches nobody.
    func forget(_ session: Session) {
        guard let mode = session.track else { return }
        for prefix in mode.prefixes {
            prefixes[prefix]?.clients[session.id] = nil
            if prefixes[prefix]?.clients.isEmpty == true { prefixes[prefix] = nil }
        }
        clients[session.id] = nil
        session.track = nil
        if clients.isEmpty { keys = [:] }
    }

    // MARK: Reading

    /// The keys that a client has just read.
    func remember(_ indices: [Int], _ arguments: Arguments, _ session: Session) {
        guard let mode = session.track, !mode.isBroadcast else { return }
        if mode.isOptIn, mode.caching != true { return }
        if mode.isOptOut, mode.caching == false { return }
        for index in indices {
            keys[Array(arguments[index]), default: []].insert(session.id)
            shrink(to: session.service.settings.trackedKeysMax, session.service)
        }
    }

    /// Forgets keys above the limit, as if they had changed.
    func shrink(to most: Int, _ service: CacheService) {
        while keys.count > most, most > 0, let key = keys.keys.first {
            key.withUnsafeBytes { tell($0, service, by: nil) }
        }
    }

    // MARK: Changes

    func keyChanged(_ key: UnsafeRawBufferPointer, _ service: CacheService, by author: Session?) {
        guard !clients.isEmpty else { return }
        if !prefixes.isEmpty { collect(key, service, by: author) }
        if !keys.isEmpty { tell(key, service, by: author) }
    }

    private func tell(_ key: UnsafeRawBufferPointer, _ service: CacheService, by author: Session?) {
        guard let ids = keys.removeValue(forKey: Array(key)) else { return }
        for id in ids {
            guard let session = clients[id], let mode = session.track, !mode.isBroadcast else { continue }
            if mode.noLoop, session === author { continue }
            // its own reply comes first
            if session === author { session.deferred.append(Array(key)) } else { send(Array(key), to: session, service) }
        }
    }

    /// All keys of a database have gone: a client may not keep any. (Nothing else is sent for it than one null.)
    func allChanged(_ service: CacheService) {
        for session in clients.values {
            if session === service.current { session.deferred.append(nil) } else { send(nil, to: session, service) }
        }
        keys = [:]
    }

    func sendDeferred(_ session: Session) {
        let waiting = session.deferred
        session.deferred = []
        for key in waiting { send(key, to: session, session.service) }
    }

    private func send(_ key: [UInt8]?, to session: Session, _ service: CacheService) {
        message(to: session, service) { reply in
            guard let key else { return reply.null() }
            reply.array(1)
            reply.bulk(key)
        }
    }

    /// Writes an invalidation to the client or to whom it is redirected.
    private func message(to session: Session, _ service: CacheService, _ keys: (ReplyWriter) -> Void) {
        var receiver = session
        let redirect = session.track?.redirect ?? 0
        if redirect != 0 {
            guard let other = service.sessions[redirect] else {
                session.track?.isRedirectBroken = true
                guard session.reply.isRESP3 else { return }
                return session.push(service) { reply in
                    reply.push(2)
                    reply.bulk("tracking-redir-broken")
                    reply.integer(Int64(redirect))
                }
            }
            receiver = other
        }
        if receiver.reply.isRESP3 {
            receiver.push(service) { reply in
                reply.push(2)
                reply.bulk("invalidate")
                keys(reply)
            }
        } else if redirect != 0, !receiver.subscriptions.isEmpty {
            receiver.push(service) { reply in
                reply.array(3)
                reply.bulk("message")
                reply.bulk("__redis__:invalidate")
                keys(reply)
            }
        }
    }

    // MARK: Broadcasting

    private func collect(_ key: UnsafeRawBufferPointer, _ service: CacheService, by author: Session?) {
        for prefix in prefixes.keys where key.begins(with: prefix) {
            let bytes = Array(key)
            guard prefixes[prefix]?.known.insert(bytes).inserted == true else { continue }
            prefixes[prefix]?.changed.append((bytes, author?.id ?? 0))
            if !hasChanges {
                hasChanges = true
                service.wantTurn()
            }
        }
    }

    /// Sends what has changed since the last time, one message a client and prefix.
    func broadcast(_ service: CacheService) {
        guard hasChanges else { return }
        hasChanges = false
        for (name, prefix) in prefixes where !prefix.changed.isEmpty {
            prefixes[name]?.changed = []
            prefixes[name]?.known = []
            for session in prefix.clients.values {
                let isNoLoop = session.track?.noLoop ?? false
                let news = prefix.changed.filter { !isNoLoop || $0.by != session.id }
                guard !news.isEmpty else { continue }
                message(to: session, service) { reply in
                    reply.array(news.count)
                    for change in news { reply.bulk(change.key) }
                }
            }
        }
    }
}
