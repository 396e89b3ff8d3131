import Base
import Cache
import Foundation
import Testing

@testable import DiskCache

@Suite struct SecondLevelTests {
    @Test func whatWasStoredIsThereAfterAKillWithWhatIsLeftOfItsLife() throws {
        let rig = try Rig()
        var policy = StorePolicy.ttl(60_000, weight: 25)
        policy.staleWhileRevalidate = .seconds(5)
        policy.staleIfError = .seconds(7)
        policy.keep = .seconds(9)
        policy.age = .seconds(2)
        rig.set("a", "one", policy, tags: ["red", "blue"])
        rig.set("a", "two", in: 1)
        rig.set("empty", "")
        rig.set("big", String(repeating: "x", count: 300_000))
        #expect(try rig.flush())
        // the other order of namespaces: they are found by their names
        let next = try Rig(rig.killed(), names: ["data", "memo"], time: rig.time)
        next.pass(10_000)
        let found = try #require(try next.found(["a"], in: 1)[0])
        #expect(String(decoding: found.value, as: UTF8.self) == "one" && found.tags == [Array("red".utf8), Array("blue".utf8)])
        #expect(found.policy.lifetime == .ttl(.seconds(50)) && found.policy.weight == 25 && found.policy.age == .seconds(12))
        #expect(found.policy.staleWhileRevalidate == .seconds(5) && found.policy.staleIfError == .seconds(7))
        #expect(try next.below("a", in: 0) == "two" && next.below("empty", in: 1) == "")
        #expect(try next.below("big", in: 1)?.count == 300_000 && next.below("none", in: 1) == nil)
        #expect(try next.found(["none", "a"], in: 1).map { $0 != nil } == [false, true])
        next.pass(50_000)
        #expect(try next.below("a", in: 1) == nil, "7.1.6: unreadable at its expiry")
        try next.settle()
        #expect(next.mayHold("big", in: 1) && !next.mayHold("none", in: 1) && next.warnings.isEmpty)
    }

    @Test func aBatchIsReadFromMemoryUntilItIsOnDisk() throws {
        let rig = try Rig()
        rig.set("k", "v")
        rig.level.put(rig.cache.takeSpills(10, at: rig.now), done: nil)
        #expect(rig.mayHold("k") && rig.level.waiting.count == 1)
        #expect(try rig.below("k") == "v")
        rig.purge("k")
        #expect(!rig.mayHold("k"))
        #expect(try rig.below("k") == nil)
        try rig.settle()
        #expect(rig.level.counters.entries == 0)
    }

    @Test func purgesHoldAtOnceAndAfterAKillAndOnlyForWhatWasBefore() throws {
        let rig = try Rig()
        for key in ["key", "tagged", "/a/1", "/b/1", "kept"] { rig.set(key, "old", tags: key == "tagged" ? ["t"] : ["other"]) }
        rig.set("space", "old", in: 1)
        try rig.flush()
        rig.purge("key")
        rig.purge(tag: "t")
        rig.purge(prefix: "/a")
        rig.cache.purge(namespace: rig.spaces[1], soft: true, at: rig.now)
        for key in ["key", "tagged", "/a/1"] { #expect(try rig.below(key) == nil, "\(key)") }
        #expect(try rig.below("space", in: 1) == nil && rig.below("/b/1") == "old" && rig.below("kept") == "old")
        // what comes after the purge is not meant by it
        rig.set("/a/2", "new", tags: ["t"])
        rig.set("space", "new", in: 1)
        try rig.flush()
        #expect(try rig.below("/a/2") == "new" && rig.below("space", in: 1) == "new")
        let next = try Rig(rig.killed(), time: rig.time)
        for key in ["key", "tagged", "/a/1"] { #expect(try next.below(key) == nil, "\(key) after a kill") }
        #expect(try next.below("/a/2") == "new" && next.below("space", in: 1) == "new" && next.below("/b/1") == "old")
        try next.settle()
        #expect(next.level.ledger.isEmpty && next.level.counters.entries == 4, "the sweep has removed what was purged")
        // a purge of everything that the tables hold
        try rig.settle()
        #expect(rig.level.counters.purged == 3 && rig.level.ledger.isEmpty)
    }

    @Test func aPurgeWhileTheDiskIsBeingReadHoldsForTheAnswer() throws {
        let rig = try Rig()
        rig.set("k", "old")
        rig.set("l", "old", tags: ["t"])
        try rig.flush()
        var answers: [SecondLevelValue?]?
        rig.level.get(["k", "l"].map { Array($0.utf8) }, in: rig.spaces[0]) { answers = $0 }
        try rig.loop.run { rig.level.reading != nil }
        rig.purge("k")
        rig.purge(tag: "t")
        try rig.loop.run { answers != nil }
        #expect(answers?.allSatisfy { $0 == nil } == true)
    }

    @Test func aNamespaceThatARunDidNotUseIsEmpty() throws {
        let first = try Rig(names: ["memo", "data"])
        first.set("m", "1")
        first.set("d", "1", in: 1)
        try first.flush()
        let second = try Rig(first.killed(), names: ["memo"], time: first.time)
        try second.settle()
        let third = try Rig(second.killed(), names: ["memo", "data"], time: first.time)
        #expect(try third.below("m") == "1" && third.below("d", in: 1) == nil)
    }

    @Test func noLifeIsLengthenedByASetClock() throws {
        let rig = try Rig()
        rig.set("minute", "v", .ttl(60_000))
        rig.set("forever", "v")
        try rig.flush()
        // the same run of the machine: the wall clock goes back an hour, half a minute passes
        var time = rig.time
        time.wall -= 3_600_000
        time.uptime += 30_000
        let back = try Rig(rig.killed(), time: time)
        #expect(try back.found(["minute"])[0]?.policy.lifetime == .ttl(.seconds(30)))
        back.time.uptime += 30_000
        #expect(try back.below("minute") == nil)
        // the machine was restarted with a clock before the last write: nobody knows how long it was down
        time.uptime = 100
        time.machineRun = "b"
        let restarted = try Rig(rig.killed(), time: time)
        #expect(try restarted.below("minute") == nil && restarted.below("forever") == nil)
        restarted.set("new", "v")
        try restarted.flush()
        #expect(try restarted.below("new") == "v")
    }

    @Test func lifeClockNeverGoesBackOrStandsStill() {
        typealias Stamp = LifeClock.Stamp
        func time(_ wall: UInt64, _ uptime: UInt64, _ run: String = "a") -> DiskTime {
            DiskTime(wall: wall, uptime: uptime, machineRun: run)
        }
        let saved = Stamp(life: 10_000, uptime: 500, machineRun: "a")
        for (now, life, lost) in [
            (time(10_300, 800), 10_300, false), (time(4_000, 800), 10_300, false), (time(99_000, 800), 99_000, false),
            (time(20_000, 5, "b"), 20_000, false), (time(9_500, 5, "b"), 9_500, false), (time(8_000, 5, "b"), 8_000, true),
            (time(8_000, 400), 8_000, true),
        ] as [(DiskTime, UInt64, Bool)] {
            let clock = LifeClock(saved: saved, at: now)
            #expect(clock.stamp.life == life && clock.hasLostTime == lost, "\(now)")
        }
        var clock = LifeClock(saved: nil, at: time(1000, 1))
        #expect(clock.now(time(900, 11)) == 1010 && clock.now(time(5000, 12)) == 5000 && clock.now(time(1000, 13)) == 5001)
    }

    @Test func theFileKeepsItsLimitAndWhatIsDear() throws {
        let limit = 6 << 20
        let rig = try Rig(memory: 64 << 20, disk: limit)
        let value = String(repeating: "v", count: 1000)
        for i in 0..<16_000 {
            rig.set("\(i)", value, .ttl(3_600_000, weight: i % 4 == 0 ? 200 : 1))
            if i % 500 == 499 { try rig.flush() }
        }
        try rig.settle()
        let counters = rig.level.counters
        let size = try #require(try FileManager.default.attributesOfItem(atPath: rig.place.file)[.size] as? Int)
        let dear = (0..<4000).filter { rig.mayHold("\($0 * 4)") }.count
        let cheap = (0..<12_000).filter { rig.mayHold("\($0 / 3 * 4 + 1 + $0 % 3)") }.count
        print("limit \(limit), file \(size), rows \(counters.bytes) bytes, \(counters.entries) entries: \(dear) dear, \(cheap) cheap")
        #expect(size <= limit && counters.fileBytes <= limit, "the file keeps its limit")
        #expect(counters.bytes > limit / 2, "and is not mostly air")
        #expect(Double(dear) > 0.8 * 4000 && cheap < dear / 4, "the dear stay: they are a quarter of what came, and fill the file")
        #expect(counters.evicted == 16_000 - UInt64(counters.entries) && rig.warnings.isEmpty)
        // with a lower limit it shrinks when it is next opened
        let smaller = try Rig(rig.killed(), disk: 2 << 20, time: rig.time)
        for i in 0..<40 {
            smaller.set("s\(i)", value)
            try smaller.flush()
        }
        #expect(smaller.level.counters.fileBytes <= 2 << 20, "\(smaller.level.counters)")
    }

    @Test(arguments: Run.seeds(1..<7)) func itIsAMapThatForgetsWhatIsPurged(seed: UInt64) throws {
        var random = Random(seed: seed)
        func number(_ n: Int) -> Int { Int.random(in: 0..<n, using: &random) }
        var rig = try Rig()
        var model: [String: (value: String, tag: String, until: UInt64?)] = [:]
        for step in 0..<600 {
            let key = "\(["x", "y"][number(2)])\(number(40))"
            switch number(20) {
            case 0..<8:
                let life: UInt64? = number(3) == 0 ? UInt64(1 + number(50)) * 100 : nil
                let tag = "t\(number(4))"
                rig.set(key, "\(step)", life.map { .ttl($0) } ?? StorePolicy(), tags: [tag])
                model[key] = ("\(step)", tag, life.map { rig.time.uptime + $0 })
                rig.level.put(rig.cache.takeSpills(.max, at: rig.now), done: nil)
            case 8..<10:
                rig.purge(key)
                model[key] = nil
            case 10:
                let tag = "t\(number(4))"
                rig.purge(tag: tag)
                model = model.filter { $0.value.tag != tag }
            case 11:
                let prefix = "\(["x", "y"][number(2)])\(number(4))"
                rig.purge(prefix: prefix)
                model = model.filter { !$0.key.hasPrefix(prefix) }
            case 12 where number(10) == 0:
                rig.cache.purge(namespace: rig.spaces[0], soft: false, at: rig.now)
                model = [:]
            case 13: rig.pass(UInt64(number(2000)))
            case 14 where number(6) == 0:
                // all that is ordered lands, then it is killed
                try rig.settle()
                rig = try Rig(rig.killed(), time: rig.time)
            default:
                let value = model[key].flatMap { entry in entry.until.map { $0 > rig.time.uptime } ?? true ? entry.value : nil }
                #expect(try rig.below(key) == value, "step \(step), key \(key), seed \(seed)")
                if value != nil { #expect(rig.mayHold(key), "step \(step), seed \(seed)") }
            }
        }
    }

    @Test(arguments: Run.seeds(1..<4)) func membershipIsAMultiset(seed: UInt64) {
        var random = Random(seed: seed)
        var members = Membership()
        var model: [UInt64: Int] = [:]
        for _ in 0..<20_000 {
            // half of them share homes
            let hash = UInt64.random(in: 0..<500, using: &random) &* (Bool.random(using: &random) ? 1 : 0x0800_0001)
            if Int.random(in: 0..<5, using: &random) < 3 {
                members.insert(hash)
                model[hash, default: 0] += 1
            } else if let count = model[hash] {
                members.remove(hash)
                model[hash] = count == 1 ? nil : count - 1
            }
        }
        #expect(members.count == model.values.reduce(0, +))
        #expect(model.keys.allSatisfy { members.mayContain($0) })
        for (hash, count) in model { for _ in 0..<count { members.remove(hash) } }
        #expect(members.count == 0 && (0..<1000).allSatisfy { !members.mayContain($0) }, "seed \(seed)")
    }
}
