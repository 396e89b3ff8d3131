import Base
import Testing

@testable import Cache

/// The engine against a dictionary: thousands of random calls, each answer predicted. Only evictions are learnt from the engine.
@Suite struct ModelTests {
    /// What a naive cache would know of an entry.
    struct Entry {
        var value: String
        var tags: Set<String>
        var freshUntil: Tick
        var expiresAt: Tick
        var swr: Tick = 0
        var isBypass = false
    }

    /// A fill as the model sees it: doomed by every purge that means it.
    struct Fill {
        let id: FlightID
        let key: String
        var value: String
        var tags: Set<String>
        var policy: StorePolicy
        /// Sets that purged it since its begin, hard and soft.
        var purged: [(Purge, soft: Bool, at: Tick)] = []
        var isJoinable = true
    }

    enum Purge {
        case key(String)
        case tag(String)
        case prefix(String)
        case all

        func means(_ key: String, _ tags: Set<String>) -> Bool {
            switch self {
            case .key(let other): key == other
            case .tag(let tag): tags.contains(tag)
            case .prefix(let prefix): key.hasPrefix(prefix)
            case .all: true
            }
        }
    }

    final class Model {
        var entries: [String: Entry] = [:]
        var fills: [Fill] = []
        var expired: Set<String> = []

        func expire(_ tick: Tick) {
            for (key, entry) in entries where entry.expiresAt <= tick {
                entries[key] = nil
                expired.insert(key)
            }
        }

        func purge(_ purge: Purge, soft: Bool, at tick: Tick) {
            for (key, entry) in entries where purge.means(key, entry.tags) {
                if soft { entries[key]?.freshUntil = min(entry.freshUntil, tick) } else { entries[key] = nil }
            }
            for at in fills.indices { fills[at].purged.append((purge, soft, tick)) }
        }
    }

    @Test(arguments: Run.seeds(1..<9)) func everyAnswerIsTheModels(_ seed: UInt64) throws {
        print("ModelTests: HEARTH_SEED=\(seed)")
        var random = Random(seed: seed)
        // every other seed with room for everything, so that nothing is excused by eviction; every third with colliding hashes
        let rig = try Rig(
            limit: seed % 2 == 0 ? 1 << 24 : 24_000, seed: seed, hashMask: seed % 3 == 0 ? 0x1F << 40 : .max, { _ in })
        let model = Model()
        for step in 0..<6000 {
            rig.removals = []
            try turn(rig, model, &random, "seed \(seed) step \(step)")
            for removal in rig.removals where removal.reason == .evicted { model.entries[removal.key] = nil }
            if step % 100 == 0 {
                rig.cache.checkInvariants()
                try #require(rig.cache.usedBytes <= rig.cache.limitBytes)
            }
        }
        try finish(rig, model, "seed \(seed)")
    }

    private func turn(_ rig: Rig, _ model: Model, _ random: inout Random, _ name: String) throws {
        let key = "\(random.next() % 4)/\(random.next() % 40)"
        let tick = rig.now.tick
        switch random.next() % 16 {
        case 0...2: try set(rig, model, &random, key, name)
        case 3...6:
            let expected = model.entries[key].flatMap { $0.freshUntil > tick && !$0.isBypass ? $0.value : nil }
            let got = rig.get(key)
            let isEvicted = rig.removals.contains { $0.reason == .evicted }
            try #require(got == expected && !isEvicted, "\(name): get \(key) gives \(got ?? "nil"), the model \(expected ?? "nil")")
        case 7, 8: try fetch(rig, model, &random, key, name)
        case 9, 10: try endFill(rig, model, &random, name)
        case 11:
            let isThere = rig.remove(key)
            try #require(isThere == (model.entries[key] != nil), "\(name): remove \(key)")
            model.purge(.key(key), soft: false, at: tick)
        case 12: purge(rig, model, &random, key)
        case 13...15:
            let step = random.next() % (random.next() % 8 == 0 ? 3000 : 30)
            let before = Set(model.entries.keys)
            model.expired = []
            model.expire(tick + step)
            rig.pass(step)
            let told = Set(rig.removals.filter { $0.reason == .expired }.map(\.key))
            try #require(told == model.expired, "\(name): expired \(told), the model \(model.expired)")
            try #require(
                rig.removals.allSatisfy { $0.reason != .purged || !before.contains($0.key) }, "\(name): the sweep took a valid entry")
            try #require(
                rig.counters.entries == model.entries.count, "\(name): \(rig.counters.entries) entries, the model \(model.entries.count)")
        default: break
        }
    }

    private func policy(_ random: inout Random) -> StorePolicy {
        let ttl = 1 + random.next() % (random.next() % 4 == 0 ? 5000 : 100)
        var policy = StorePolicy.ttl(ttl, swr: random.next() % 2 * (random.next() % 200), weight: Float(random.next() % 100))
        if random.next() % 4 == 0 { policy.lifetime = .forever }
        return policy
    }

    private func tags(_ random: inout Random) -> Set<String> { Set((0..<Int(random.next() % 4)).map { _ in "t\(random.next() % 6)" }) }

    private func value(_ random: inout Random) -> String {
        String(repeating: "\(random.next() % 10)", count: Int(random.next() % (random.next() % 4 == 0 ? 3200 : 60)))
    }

    private func entry(_ value: String, _ tags: Set<String>, _ policy: StorePolicy, at tick: Tick) -> Entry {
        guard case .ttl(let ttl) = policy.lifetime else { return Entry(value: value, tags: tags, freshUntil: .max, expiresAt: .max) }
        let swr = policy.staleWhileRevalidate.wholeMilliseconds
        let fresh = tick + ttl.wholeMilliseconds
        return Entry(value: value, tags: tags, freshUntil: fresh, expiresAt: fresh + swr, swr: swr)
    }

    private func set(_ rig: Rig, _ model: Model, _ random: inout Random, _ key: String, _ name: String) throws {
        let (value, tags, policy) = (value(&random), tags(&random), policy(&random))
        let result = rig.set(key, value, policy, tags: Array(tags))
        for at in model.fills.indices { model.fills[at].purged.append((.key(key), false, rig.now.tick)) }
        switch result {
        case .stored: model.entries[key] = entry(value, tags, policy, at: rig.now.tick)
        case .refused(let refusal):
            try #require(
                refusal == .tooLarge && value.utf8.count > 2500 && rig.cache.limitBytes < 1 << 20, "\(name): set \(key) \(refusal)")
        }
    }

    private func fetch(_ rig: Rig, _ model: Model, _ random: inout Random, _ key: String, _ name: String) throws {
        let tick = rig.now.tick
        let entry = model.entries[key]
        let joinable = model.fills.firstIndex { fill in
            fill.key == key && fill.isJoinable && !fill.purged.contains { $0.0.means(key, []) }
        }
        let answer = rig.fetch(key, random.next())
        switch answer {
        case .hit(let hit, let refresh):
            let entry = try #require(entry, "\(name): fetch \(key) hits, the model has nothing")
            let isFresh = entry.freshUntil > tick
            let text = String(decoding: hit.value, as: UTF8.self)
            try #require(!entry.isBypass && text == entry.value && (hit.state == .fresh) == isFresh, "\(name): fetch \(key)")
            try #require(isFresh || tick - entry.freshUntil < entry.swr, "\(name): \(key) is served after its stale window")
            try #require((refresh != nil) == (!isFresh && joinable == nil), "\(name): the refresh of \(key)")
            if let refresh { begin(refresh, key, model) }
        case .lead(let flight, let stale):
            let mustLead = entry == nil || entry?.isBypass == true || tick >= entry!.freshUntil + entry!.swr
            try #require(mustLead && (entry?.isBypass == true || joinable == nil), "\(name): \(key) leads")
            try #require((stale != nil) == (entry != nil && entry?.isBypass == false), "\(name): the stale value of \(key)")
            begin(flight, key, model, solo: entry?.isBypass == true)
        case .follow(let flight):
            try #require(joinable.map { model.fills[$0].id } == flight, "\(name): \(key) follows")
        case .refuse: throw Unexpected(what: "\(name): refused")
        }
    }

    private func begin(_ flight: FlightID, _ key: String, _ model: Model, solo: Bool = false) {
        for at in model.fills.indices where model.fills[at].key == key && !solo { model.fills[at].isJoinable = false }
        model.fills.append(Fill(id: flight, key: key, value: "", tags: [], policy: StorePolicy(), isJoinable: !solo))
    }

    private func endFill(_ rig: Rig, _ model: Model, _ random: inout Random, _ name: String) throws {
        guard !model.fills.isEmpty else { return }
        let fill = model.fills.remove(at: Int(random.next() % UInt64(model.fills.count)))
        let tick = rig.now.tick
        rig.actions = []
        switch random.next() % 8 {
        case 0:
            rig.abort(fill.id, .leaderGone)
            if case .lead(_, let flight)? = rig.actions.first(where: { if case .lead = $0 { true } else { false } }) {
                let isTaken = model.fills.contains { $0.key == fill.key && $0.isJoinable }
                model.fills.append(
                    Fill(id: flight, key: fill.key, value: "", tags: [], policy: StorePolicy(), isJoinable: fill.isJoinable || !isTaken))
            }
        case 1:
            let isPurged = fill.purged.contains { $0.0.means(fill.key, []) }
            rig.cache.release(fill.id, rememberFor: .milliseconds(200), at: rig.now, into: &rig.actions)
            if !isPurged {
                model.entries[fill.key] = Entry(value: "", tags: [], freshUntil: tick + 200, expiresAt: tick + 200, isBypass: true)
            }
        default:
            let (value, tags, policy) = (value(&random), tags(&random), policy(&random))
            let result = rig.fill(fill.id, value, policy, tags: Array(tags))
            let hard = fill.purged.contains { !$0.soft && $0.0.means(fill.key, tags) }
            let soft = fill.purged.last { $0.soft && $0.0.means(fill.key, tags) }
            switch result {
            case .stored:
                try #require(!hard, "\(name): \(fill.key) is stored although it was purged")
                var stored = entry(value, tags, policy, at: tick)
                if let soft { stored.freshUntil = min(stored.freshUntil, soft.at) }
                model.entries[fill.key] = stored
            case .refused(.purged): try #require(hard, "\(name): \(fill.key) is refused, but nobody purged it")
            case .refused(let refusal):
                try #require(!hard && value.utf8.count > 2500 && refusal == .tooLarge, "\(name): fill of \(fill.key): \(refusal)")
                model.entries[fill.key] = nil
            }
            for action in rig.actions { if case .done(let waiter, let flight) = action { rig.cache.leave(flight, waiter) } }
        }
    }

    private func purge(_ rig: Rig, _ model: Model, _ random: inout Random, _ key: String) {
        let soft = random.next() % 2 == 0
        let tick = rig.now.tick
        switch random.next() % 6 {
        case 0:
            _ = rig.purge(key, soft: soft)
            model.purge(.key(key), soft: soft, at: tick)
        case 1...3:
            let tag = "t\(random.next() % 8)"
            rig.purge(tag: tag, soft: soft)
            model.purge(.tag(tag), soft: soft, at: tick)
        case 4:
            rig.purge(prefix: "\(key.prefix(3))", soft: soft)
            model.purge(.prefix("\(key.prefix(3))"), soft: soft, at: tick)
        default:
            guard random.next() % 8 == 0 else { return }
            rig.cache.purge(namespace: rig.space, soft: soft, at: rig.now)
            model.purge(.all, soft: soft, at: tick)
        }
    }

    private func finish(_ rig: Rig, _ model: Model, _ name: String) throws {
        var seen: Set<String> = []
        var cursor: UInt32 = 0
        repeat {
            cursor = rig.cache.scan(rig.space, from: cursor, count: 7, at: rig.now) { key, _ in
                seen.insert(String(decoding: key, as: UTF8.self))
            }
        } while cursor != 0
        let expected = Set(model.entries.filter { !$0.value.isBypass }.keys)
        try #require(seen == expected, "\(name): a scan sees \(seen), the model has \(expected)")
        for fill in model.fills { rig.cache.release(fill.id, rememberFor: nil, at: rig.now, into: &rig.actions) }
        rig.cache.purge(namespace: rig.space, soft: false, at: rig.now)
        rig.pass(0)
        rig.cache.checkInvariants()
        #expect(rig.cache.usedBytes == 0 && rig.counters.entries == 0, "\(name): \(rig.cache.usedBytes) bytes are left")
    }
}
