import Base
import Cache
import Foundation
import Testing

@testable import DiskCache

/// A node with clients, in small: lookups of which many are equal, fills that cost, a kill between two of them.
@Suite struct WarmStartTests {
    /// What a memoized call does: memory, then disk, then a run.
    private func isRun(_ rig: Rig, _ key: Int, _ writer: inout WriteBehind) throws -> Bool {
        let name = Array("key \(key)".utf8)
        var actions: [FlightAction] = []
        let answer = name.withUnsafeBytes { rig.cache.fetch($0, in: rig.spaces[0], waiter: WaiterID(1), at: rig.now) }
        guard case .lead(let flight, _) = answer else { return false }
        var found: SecondLevelValue?
        if name.withUnsafeBytes({ rig.level.mayHold($0, in: rig.spaces[0]) }) {
            found = try rig.found(["key \(key)"])[0]
        }
        let policy = found?.policy ?? .ttl(3_600_000, weight: Float(1 + key % 50))
        let value = found?.value ?? [UInt8](repeating: UInt8(key & 255), count: 200 + key % 1000)
        rig.cache.head(flight, policy: policy, at: rig.now, into: &actions)
        value.withUnsafeBytes { rig.cache.append(flight, $0, at: rig.now, into: &actions) }
        rig.cache.finish(flight, isFromSecondLevel: found != nil, at: rig.now, into: &actions)
        // a loop that is never idle
        if let due = writer.due(waiting: rig.cache.spillsWaiting, at: rig.now), due <= rig.now {
            rig.level.put(rig.cache.takeSpills(Limits.diskWriteCount, at: rig.now), done: nil)
            writer.sent()
        }
        return found == nil
    }

    private func hitRatio(_ rig: Rig, _ keys: ArraySlice<Int>) throws -> Double {
        var writer = WriteBehind()
        var runs = 0
        for key in keys {
            rig.pass(1)
            if try isRun(rig, key, &writer) { runs += 1 }
        }
        return 1 - Double(runs) / Double(keys.count)
    }

    private func zipf(_ count: Int, keys: Int, seed: UInt64) -> [Int] {
        var random = Random(seed: seed)
        let sum = log(Double(keys))
        return (0..<count).map { _ in min(keys - 1, Int(exp(Double.random(in: 0..<1, using: &random) * sum))) }
    }

    @Test(arguments: Run.seeds(1..<3)) func theHitRatioAfterAKillIsTheFormerOne(seed: UInt64) throws {
        // memory for a tenth of what is asked for
        let keys = zipf(24_000, keys: 8000, seed: seed)
        let rig = try Rig(memory: 600 << 10)
        _ = try hitRatio(rig, keys[0..<18_000])
        let before = try hitRatio(rig, keys[18_000..<20_000])
        let next = try Rig(rig.killed(), memory: 600 << 10, warm: 300 << 10, time: rig.time)
        let after = try hitRatio(next, keys[20_000..<21_000])
        let counters = next.level.counters
        print("seed \(seed): hit ratio \(before) before, \(after) in the first second after; the disk answered \(counters.hits), missed \(counters.misses)")
        #expect(before > 0.7 && after >= 0.95 * before, "seed \(seed)")
        #expect(counters.misses < 10, "seed \(seed): what is surely not on disk is not asked for there: \(counters)")
    }

    @Test func aWarmStartBringsTheMostWorthwhileWithoutBeingAsked() throws {
        let rig = try Rig()
        let value = String(repeating: "v", count: 500)
        for i in 0..<400 { rig.set("cheap \(i)", value, .ttl(60_000, weight: 1)) }
        for i in 0..<100 { rig.set("dear \(i)", value, .ttl(60_000, weight: 900), tags: ["t"]) }
        rig.set("dear gone", value, .ttl(60_000, weight: 900), tags: ["gone"])
        rig.set("dear and past", value, .ttl(100, weight: 900))
        try rig.flush()
        rig.pass(1000)
        let next = try Rig(rig.killed(), warm: 100 * 640 + 3 * 640, time: rig.time)
        var pages: [Int] = []
        next.level.warm { [unowned next] entries in
            pages.append(entries.count)
            for entry in entries { entry.key.withUnsafeBytes { _ = next.cache.takeUp($0, entry.value, in: entry.namespace, at: next.now) } }
            return true
        }
        next.purge(tag: "gone")
        // one of them is stored anew before its turn
        next.set("dear 7", "new")
        try next.loop.run { next.level.isComplete && next.level.best.isEmpty && !next.level.isWarming }
        func above(_ key: String) -> String? {
            bytes(key) { next.cache.get($0, in: next.spaces[0], at: next.now).map { String(decoding: $0.value, as: UTF8.self) } }
        }
        #expect((0..<100).allSatisfy { above("dear \($0)") == ($0 == 7 ? "new" : value) }, "\(pages)")
        #expect(above("dear gone") == nil && above("dear and past") == nil)
        #expect((0..<400).filter { above("cheap \($0)") != nil }.count <= 3 && pages.count >= 2 && pages.allSatisfy { $0 <= 64 })
        #expect(bytes("dear 1") { next.cache.explain($0, in: next.spaces[0], at: next.now) }.isFromSecondLevel)
        // what it takes up lives no longer, carries its tags, and is not written again
        next.pass(59_001)
        #expect(above("dear 1") == nil && next.cache.spillsWaiting == 1)
        next.cache.checkInvariants()
    }

    @Test func writingBehindWaitsForManyOrForATenthOfASecond() {
        var rule = WriteBehind()
        func at(_ milliseconds: UInt64) -> Moment { Moment(nanoseconds: milliseconds * 1_000_000) }
        #expect(rule.due(waiting: 0, at: at(5)) == nil)
        #expect(rule.due(waiting: 1, at: at(10)) == at(110) && rule.due(waiting: 5, at: at(60)) == at(110))
        #expect(rule.due(waiting: 128, at: at(61)) == at(61))
        rule.sent()
        #expect(rule.due(waiting: 3, at: at(62)) == at(162))
        #expect(rule.due(waiting: 0, at: at(70)) == nil && rule.due(waiting: 1, at: at(80)) == at(180))
    }

    @Test func savedIsToldWhenThePurgeIsOnDisk() throws {
        let rig = try Rig()
        rig.set("k", "v")
        try rig.flush()
        rig.purge("k")
        var isSaved: Bool?
        rig.level.saved { isSaved = $0 }
        try rig.loop.run { isSaved != nil }
        let next = try Rig(rig.killed(), time: rig.time)
        #expect(try isSaved == true && next.below("k") == nil)
        // with nothing to write it is told too
        rig.level.saved { isSaved = !$0 }
        try rig.loop.run { isSaved == false }
        rig.level.stop()
        rig.level.saved { isSaved = $0 }
        try rig.loop.run { isSaved == true }
    }
}
