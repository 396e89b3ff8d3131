import Base
import RESP

/// CLIENT TRACKING, CACHING and TRACKINGINFO: a client that keeps values itself asks to hear of changes.
enum TrackingCommands {
    static func tracking(_ session: Session, _ arguments: Arguments) throws(Fault) {
        let service = session.service
        if arguments[2].isWord("off") {
            service.tracking.forget(session)
            service.countObservers()
            return session.reply.ok()
        }
        guard arguments[2].isWord("on") else { throw .syntax }
        var mode = try options(session, arguments)
        try check(mode, session)
        if let old = session.track {
            mode.prefixes = old.prefixes + mode.prefixes
            mode.caching = old.caching
        }
        if mode.isBroadcast, mode.prefixes.isEmpty { mode.prefixes = [[]] }
        service.tracking.begin(session, mode)
        service.countObservers()
        session.reply.ok()
    }

    private static func options(_ session: Session, _ arguments: Arguments) throws(Fault) -> TrackingMode {
        var mode = TrackingMode()
        var at = 3
        while at < arguments.count {
            let word = arguments[at]
            if word.isWord("redirect"), at + 1 < arguments.count {
                at += 1
                guard mode.redirect == 0 else { throw .message("ERR A client can only redirect to a single other client") }
                guard let id = Numbers.integer(arguments[at]), id >= 0 else { throw .message("ERR Invalid client ID") }
                mode.redirect = UInt64(id)
                guard session.service.sessions[mode.redirect] != nil else {
                    throw .message("ERR The client ID you want redirect to does not exist")
                }
            } else if word.isWord("bcast") {
                mode.isBroadcast = true
            } else if word.isWord("optin") {
                mode.isOptIn = true
            } else if word.isWord("optout") {
                mode.isOptOut = true
            } else if word.isWord("noloop") {
                mode.noLoop = true
            } else if word.isWord("prefix"), at + 1 < arguments.count {
                at += 1
                guard mode.prefixes.count < Limits.cacheTrackedPrefixesMax else { throw .message("ERR too many prefixes") }
                mode.prefixes.append(Array(arguments[at]))
            } else {
                throw .syntax
            }
            at += 1
        }
        return mode
    }

    private static func check(_ mode: TrackingMode, _ session: Session) throws(Fault) {
        if !mode.isBroadcast, !mode.prefixes.isEmpty { throw .message("ERR PREFIX option requires BCAST mode to be enabled") }
        if let old = session.track, old.isBroadcast != mode.isBroadcast {
            throw .message(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.")
        }
        if mode.isBroadcast, mode.isOptIn || mode.isOptOut { throw .message("ERR OPTIN and OPTOUT are not compatible with BCAST") }
        if mode.isOptIn, mode.isOptOut { throw .message("ERR You can't use both OPTIN and OPTOUT") }
        if let old = session.track, mode.isOptIn && old.isOptOut || mode.isOptOut && old.isOptIn {
            throw .message(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.")
        }
        for (index, prefix) in mode.prefixes.enumerated() {
            if let other = session.track?.prefixes.first(where: { overlap($0, prefix) }) {
                throw overlapping(prefix, "an existing", other)
            }
            if let other = mode.prefixes[(index + 1)...].first(where: { overlap($0, prefix) }) {
                throw overlapping(prefix, "another provided", other)
            }
        }
    }

    private static func overlap(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.starts(with: b) || b.starts(with: a) }

    private static func overlapping(_ prefix: [UInt8], _ which: String, _ other: [UInt8]) -> Fault {
        .message(
            "ERR Prefix '\(String(decoding: prefix, as: UTF8.self))' overlaps with \(which) prefix '\(String(decoding: other, as: UTF8.self))'. Prefixes for a single client must not overlap."
        )
    }

    static func caching(_ session: Session, _ arguments: Arguments) throws(Fault) {
        guard let mode = session.track, mode.isOptIn || mode.isOptOut else {
            throw .message("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
        }
        if arguments[2].isWord("yes") {
            guard mode.isOptIn else { throw .message("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.") }
            session.track?.caching = true
        } else if arguments[2].isWord("no") {
            guard mode.isOptOut else { throw .message("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.") }
            session.track?.caching = false
        } else {
            throw .syntax
        }
        session.reply.ok()
    }

    static func info(_ session: Session) {
        var flags: [String] = []
        let mode = session.track
        flags.append(mode == nil ? "off" : "on")
        if let mode {
            if mode.isBroadcast { flags.append("bcast") }
            if mode.isOptIn { flags.append("optin") }
            if mode.isOptIn, mode.caching == true { flags.append("caching-yes") }
            if mode.isOptOut { flags.append("optout") }
            if mode.isOptOut, mode.caching == false { flags.append("caching-no") }
            if mode.noLoop { flags.append("noloop") }
            if mode.redirect != 0, session.service.sessions[mode.redirect] == nil { flags.append("broken_redirect") }
        }
        session.reply.map(3)
        session.reply.bulk("flags")
        session.reply.set(flags.count)
        for flag in flags { session.reply.bulk(flag) }
        session.reply.bulk("redirect")
        session.reply.integer(mode.map { Int64($0.redirect) } ?? -1)
        session.reply.bulk("prefixes")
        let prefixes = mode?.isBroadcast == true ? mode?.prefixes ?? [] : []
        session.reply.array(prefixes.count)
        for prefix in prefixes { session.reply.bulk(prefix) }
    }
}
