import Base
import RESP

/// The channels and patterns of one client.
struct Subscriptions {
    var channels: Set<[UInt8]> = []
    var patterns: Set<[UInt8]> = []

    var isEmpty: Bool { channels.isEmpty && patterns.isEmpty }
    var count: Int { channels.count + patterns.count }
}

/// Who listens to what.
///
/// Invariant: a session is listed under a channel or pattern exactly if its own `subscriptions` have it.
///
/// Thread rule: the loop's thread.
final class PubSub {
    private(set) var channels: [[UInt8]: [UInt64: Session]] = [:]
    private(set) var patterns: [[UInt8]: [UInt64: Session]] = [:]

    func subscribe(_ channel: [UInt8], _ session: Session) {
        channels[channel, default: [:]][session.id] = session
        session.subscriptions.channels.insert(channel)
    }

    func subscribe(pattern: [UInt8], _ session: Session) {
        patterns[pattern, default: [:]][session.id] = session
        session.subscriptions.patterns.insert(pattern)
    }

    func unsubscribe(_ channel: [UInt8], _ session: Session) {
        session.subscriptions.channels.remove(channel)
        Self.take(session, from: &channels, channel)
    }

    func unsubscribe(pattern: [UInt8], _ session: Session) {
        session.subscriptions.patterns.remove(pattern)
        Self.take(session, from: &patterns, pattern)
    }

    private static func take(_ session: Session, from lists: inout [[UInt8]: [UInt64: Session]], _ name: [UInt8]) {
        lists[name]?[session.id] = nil
        if lists[name]?.isEmpty == true { lists[name] = nil }
    }

    func forget(_ session: Session) {
        for channel in session.subscriptions.channels { Self.take(session, from: &channels, channel) }
        for pattern in session.subscriptions.patterns { Self.take(session, from: &patterns, pattern) }
        session.subscriptions = Subscriptions()
    }

    /// Sends to all that listen; how many messages there were.
    func publish(_ channel: UnsafeRawBufferPointer, _ message: UnsafeRawBufferPointer, _ service: CacheService) -> Int {
        var count = 0
        if !channels.isEmpty, let sessions = channels[Array(channel)] {
            for session in sessions.values {
                session.push(service) { reply in
                    reply.push(3)
                    reply.bulk("message")
                    reply.bulk(channel)
                    reply.bulk(message)
                }
                count += 1
            }
        }
        for (pattern, sessions) in patterns where Glob.matches(pattern, channel) {
            for session in sessions.values {
                session.push(service) { reply in
                    reply.push(4)
                    reply.bulk("pmessage")
                    reply.bulk(pattern)
                    reply.bulk(channel)
                    reply.bulk(message)
                }
                count += 1
            }
        }
        return count
    }
}

extension Session {
    /// Writes what the client did not ask for just now, and cuts it when it takes too little of it.
    func push(_ service: CacheService, _ write: (ReplyWriter) -> Void) {
        guard !isClosing else { return }
        write(pushed)
        if reply.buffer.count > Limits.cachePushBytesMax { closeWhenSent() }
        service.wake(self)
    }
}
