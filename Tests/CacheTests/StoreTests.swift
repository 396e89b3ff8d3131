import Base
import Testing

@testable import Cache

/// What is stored, for how long, in how much memory. Numbers are the semantics of reference/caching.md section 7.
@Suite struct StoreTests {
    /// 7.1.1: whole keys are compared, however few bits the hash has.
    @Test func keysWithTheSameHashDoNotMeet() throws {
        let rig = try Rig(limit: 8 << 20, hashMask: 0xFFFF << 32)
        let one = try Rig(limit: 1 << 20, hashMask: 0)
        for n in 0..<2000 { rig.set("key-\(n)", "value-\(n)") }
        for n in 0..<100 { one.set("key-\(n)", "value-\(n)") }
        for n in 0..<2000 where n % 3 == 0 { try #require(rig.remove("key-\(n)")) }
        for n in 0..<2000 { try #require(rig.get("key-\(n)") == (n % 3 == 0 ? nil : "value-\(n)"), "\(n)") }
        for n in 0..<100 { try #require(one.get("key-\(n)") == "value-\(n)" && one.get("key\(n)") == nil, "\(n)") }
        let flights = (0..<10).compactMap { try? one.lead("absent-\($0)") }
        #expect(Set(flights).count == 10, "fills of keys with the same hash are not shared")
        one.fill(flights[3], "three")
        #expect(one.get("absent-3") == "three" && one.get("absent-4") == nil)
        rig.cache.checkInvariants()
        one.cache.checkInvariants()
    }

    /// 7.1.2: each byte of a value, flipped, is found, counted and never served.
    @Test func aFlippedByteIsAMissAndCounted() throws {
        let rig = try Rig()
        let value = String(repeating: "0123456789", count: 30)
        for at in 0..<300 {
            rig.set("key", value)
            let hit = try #require(rig.peek("key"))
            UnsafeMutableRawBufferPointer(mutating: hit.value)[at] ^= 1 << UInt8(at % 8)
            if at % 2 == 0 {
                try #require(rig.get("key") == nil, "byte \(at) was served")
            } else {
                guard case .lead(_, nil) = rig.fetch("key") else { throw Unexpected(what: "byte \(at) was served") }
            }
        }
        #expect(rig.counters.corrupt == 300 && rig.counters.misses == 300 && rig.counters.hits == 0 && rig.counters.entries == 0)
        #expect(rig.removals.count == 300 && rig.removals.allSatisfy { $0.reason == .corrupt })
    }

    /// 7.1.6: unreadable at the tick of its expiry, without being asked for; the event comes in the same step.
    @Test func anEntryExpiresOnItsTickWithoutBeingAskedFor() throws {
        let rig = try Rig()
        rig.set("a", "1", .ttl(50))
        rig.set("b", "2", .ttl(50))
        rig.set("c", "3", .ttl(70_000))
        rig.set("d", "4")
        rig.now = at(1049)
        #expect(rig.get("a") == "1" && rig.cache.nextWake == at(1050))
        rig.now = at(1050)
        #expect(rig.get("a") == nil && rig.removals.map(\.key) == ["a"], "the lookup removes it, before the wheel has turned")
        rig.pass(0)
        #expect(rig.removals.map(\.key) == ["a", "b"] && rig.removals.allSatisfy { $0.reason == .expired })
        rig.pass(69_949)
        #expect(rig.get("c") == "3")
        rig.pass(1)
        #expect(rig.removals.map(\.key) == ["a", "b", "c"] && rig.get("d") == "4" && rig.cache.nextWake == nil)
        #expect(rig.counters.expired == 3 && rig.cache.expiryLag.count == 3 && rig.cache.expiryLag.quantile(1) <= .microseconds(1))
    }

    @Test func aLifetimeCanBeChangedKeptAndEnded() throws {
        let rig = try Rig()
        func left(_ key: String) -> UInt64? { rig.peek(key)?.freshness(at: rig.now)?.wholeMilliseconds }
        func expire(_ key: String, _ lifetime: Lifetime) -> Bool {
            bytes(key) { rig.cache.expire($0, in: rig.space, lifetime, at: rig.now) }
        }
        rig.set("k", "1", .ttl(100))
        rig.pass(40)
        rig.set("k", "22", StorePolicy(.unchanged))
        #expect(left("k") == 60 && rig.get("k") == "22", "KEEPTTL")
        #expect(
            expire("k", .ttl(.milliseconds(500))) && left("k") == 500 && expire("k", .forever) && left("k") == nil && rig.peek("k") != nil)
        rig.set("k", "33", .ttl(10))
        #expect(left("k") == 10 && !expire("none", .forever))
        rig.set("k", "333")
        #expect(left("k") == nil, "a plain set ends the lifetime")
        #expect(expire("k", .ttl(.zero)) && rig.get("k") == nil && rig.removals.map(\.reason) == [.purged])
        #expect(rig.set("k", "x", .ttl(0)) == .refused(.noLifetime) && rig.get("k") == nil)
        rig.cache.checkInvariants()
    }

    /// Reference D3: a fraction up or down, and never on a namespace that does not want it.
    @Test func jitterSpreadsLifetimesAroundTheirMiddle() throws {
        let rig = try Rig { $0.jitter = 0.1 }
        var sum = 0.0
        var spread: ClosedRange<UInt64> = 10_000...10_000
        for n in 0..<1000 {
            rig.set("k\(n)", "v", .ttl(10_000))
            let left = try #require(rig.peek("k\(n)")?.freshness(at: rig.now)).wholeMilliseconds
            sum += Double(left)
            spread = min(spread.lowerBound, left)...max(spread.upperBound, left)
        }
        #expect(
            spread.lowerBound >= 9000 && spread.lowerBound < 9100 && spread.upperBound <= 11_000 && spread.upperBound > 10_900, "\(spread)")
        #expect(abs(sum / 1000 - 10_000) < 100, "\(sum / 1000)")
    }

    @Test func negativeEntriesLiveTheirOwnTime() throws {
        let rig = try Rig { $0.negativeTTL = .milliseconds(100) }
        rig.set("long", "404", .negative(.ttl(.seconds(60))))
        rig.set("short", "404", .negative(.ttl(.milliseconds(20))))
        rig.set("plain", "404", .negative())
        let isMarked = rig.peek("long")?.isNegative == true && rig.explain("long").state == .negative
        #expect(isMarked && rig.peek("short")?.freshness(at: rig.now) == .milliseconds(20))
        rig.pass(99)
        #expect(rig.get("long") == "404" && rig.get("short") == nil && rig.get("plain") == "404")
        rig.pass(1)
        #expect(rig.get("long") == nil && rig.get("plain") == nil)
        let strict = try Rig()
        #expect(
            strict.set("k", "500", .negative(.ttl(.seconds(60)))) == .refused(.noLifetime), "7.4.38: errors are not stored unless asked for"
        )
    }

    /// 7.1.5: the accounted bytes never exceed the limit, whatever comes.
    @Test(arguments: Run.seeds(1..<4)) func theLimitHoldsAtEveryStep(_ seed: UInt64) throws {
        let limit = 300_000
        let rig = try Rig(limit: limit)
        var random = Random(seed: seed)
        var flights: [FlightID] = []
        for step in 0..<6000 {
            let size = Int(random.next() % (random.next() % 20 == 0 ? 45_000 : 1500))
            switch random.next() % 8 {
            case 0:
                if let flight = try? rig.lead("f\(random.next() % 100)") { flights.append(flight) }
            case 1:
                guard !flights.isEmpty else { break }
                let flight = flights.removeFirst()
                rig.fill(flight, String(repeating: "f", count: size), tags: ["t\(random.next() % 20)"])
            default:
                rig.set("k\(random.next() % 1000)", String(repeating: "x", count: size), .weighing(Float(random.next() % 1000)))
            }
            try #require(rig.cache.usedBytes <= limit, "seed \(seed) step \(step): \(rig.cache.usedBytes)")
            if step % 500 == 0 { rig.cache.checkInvariants() }
        }
        #expect(rig.counters.evicted > 500 && rig.cache.usedBytes > limit * 3 / 4, "\(rig.counters)")
    }

    @Test func whatIsTooLargeIsRefusedAndChangesNothing() throws {
        let rig = try Rig(limit: 80_000) { $0.ceilingBytes = 70_000 }
        rig.set("k", "old")
        let big = String(repeating: "x", count: 9_900)
        #expect(rig.set("k", big) == .refused(.tooLarge) && rig.get("k") == "old", "an eighth of the limit, with overhead, is the most")
        #expect(rig.set("k", String(repeating: "x", count: 9_300)) != .refused(.tooLarge))
        let key = String(repeating: "k", count: Limits.cacheKeyBytesMax + 1)
        let tags = (0...Limits.cacheTagsPerEntryMax).map { "t\($0)" }
        #expect(rig.set(key, "v") == .refused(.tooLarge) && rig.set("t", "v", tags: tags) == .refused(.tooManyTags))
        #expect(rig.set("t", "v", tags: [String(repeating: "t", count: 1025)]) == .refused(.tooManyTags) && rig.counters.refused == 4)
        rig.set("", "empty key")
        rig.set("empty", "")
        #expect(rig.get("") == "empty key" && rig.get("empty") == "")
        rig.cache.checkInvariants()
    }

    @Test func aFloorProtectsAndACeilingConfines() throws {
        let cache = Cache(limitBytes: 200_000, seed: 1, at: at(0))
        var memo = NamespaceSettings(name: "memo")
        memo.floorBytes = 50_000
        var data = NamespaceSettings(name: "data")
        data.ceilingBytes = 160_000
        let first = try cache.addNamespace(memo)
        let second = try cache.addNamespace(data)
        func put(_ key: String, _ space: NamespaceID, _ weight: Float) -> StoreResult {
            bytes(key) { key in
                bytes(String(repeating: "v", count: 1000)) { cache.set(key, $0, in: space, policy: .weighing(weight), at: at(0)) }
            }
        }
        for n in 0..<100 { _ = put("m\(n)", first, 1) }
        for n in 0..<1000 { _ = put("d\(n)", second, 1_000_000) }
        let ends = (cache.counters(of: first).bytes, cache.counters(of: second).bytes)
        #expect(ends.0 > 48_000 && ends.0 <= 51_200, "the floor, to within one object: \(ends.0)")
        #expect(ends.1 <= 160_000 && ends.1 > 145_000 && cache.counters(of: second).evicted > 800, "\(ends.1)")
        for n in 0..<1000 { _ = put("m\(n)", first, 1000) }
        #expect(cache.counters(of: first).bytes > 50_000, "above its floor it competes by worth")
        cache.checkInvariants()
        memo.floorBytes = 300_000
        #expect(throws: CacheError.floorsExceedLimit(floors: 300_000, limit: 200_000)) { try cache.update(first, memo) }
        #expect(throws: CacheError.floorsExceedLimit(floors: 50_000, limit: 40_000)) { try cache.resize(limitBytes: 40_000) }
        data.floorBytes = 170_000
        #expect(throws: CacheError.ceilingBelowFloor("data")) { try cache.update(second, data) }
        #expect("\(CacheError.ceilingBelowFloor("data"))".contains("raise the ceiling"))
    }

    /// 7.5.45: noeviction refuses; others may not take from it either.
    @Test func aNamespaceWithoutEvictionRefusesWhenItIsFull() throws {
        let rig = try Rig(limit: 100_000) { $0.evicts = false }
        let other = try rig.cache.addNamespace(NamespaceSettings(name: "other"))
        let value = String(repeating: "v", count: 1000)
        var stored = 0
        while case .stored = rig.set("k\(stored)", value) { stored += 1 }
        #expect(stored > 80 && rig.set("more", value) == .refused(.noRoom) && rig.set("o", value, in: other) == .refused(.noRoom))
        let isKept =
            rig.set("k0", value) != .refused(.noRoom) && rig.set("k1", value + value) == .refused(.noRoom) && rig.get("k1") == value
        #expect(isKept && rig.counters.evicted == 0, "what replaces an equal value fits; what does not fit leaves the old value")
        #expect(rig.remove("k3") && rig.set("more", value) != .refused(.noRoom))
        rig.cache.checkInvariants()
    }

    /// 7.3.33: online, and only what does not fit is lost.
    @Test func aResizeKeepsWhatFits() throws {
        let rig = try Rig(limit: 1_000_000)
        for n in 0..<800 { rig.set("k\(n)", String(repeating: "v", count: 1000), .weighing(n % 2 == 0 ? 1 : 1000)) }
        let before = rig.cache.usedBytes
        try rig.cache.resize(limitBytes: 500_000)
        #expect(rig.cache.usedBytes == before, "no stall: the eviction is left to advance")
        var steps = 0
        while rig.cache.advance(to: rig.now, budget: 50) {
            steps += 1
            rig.cache.checkInvariants()
        }
        let kept = (0..<800).filter { rig.get("k\($0)") != nil }
        #expect(steps > 5 && rig.cache.usedBytes <= 500_000 && rig.cache.usedBytes > 490_000)
        #expect(kept.count > 400 && kept.filter { $0 % 2 == 1 }.count >= 398, "the dear ones stay: \(kept.count)")
        try rig.cache.resize(limitBytes: 2_000_000)
        for n in 0..<1200 { rig.set("more\(n)", String(repeating: "v", count: 1000)) }
        #expect(rig.cache.usedBytes > 1_500_000 && kept.allSatisfy { rig.get("k\($0)") != nil })
    }

    @Test func evictionKeepsWhatIsDearSmallAndAskedFor() throws {
        let rig = try Rig(limit: 200_000)
        rig.set("dear", String(repeating: "v", count: 1000), .weighing(500))
        rig.set("asked", String(repeating: "v", count: 1000))
        rig.set("small", "v")
        rig.set("cheap", String(repeating: "v", count: 1000))
        rig.set("large", String(repeating: "v", count: 20_000), .weighing(5))
        for n in 0..<500 {
            rig.set("k\(n)", String(repeating: "v", count: 1000))
            _ = rig.get("asked")
        }
        #expect(rig.get("dear") != nil && rig.get("asked") != nil && rig.get("small") != nil)
        #expect(rig.get("cheap") == nil && rig.get("large") == nil && rig.removals.contains { $0.key == "cheap" && $0.reason == .evicted })
    }

    /// 7.1.5: when sizes change, blocks are moved together and memory is given back; what is being read does not move.
    @Test func memoryFollowsWhatIsStoredWhenSizesChange() throws {
        let rig = try Rig(limit: 64 << 20)
        var random = Random(seed: 4)
        var model: [Int: String] = [:]
        for n in 0..<20_000 {
            model[n] = String(repeating: "\(n % 10)", count: 1000 + n % 7)
            rig.set("k\(n)", model[n] ?? "", tags: n % 50 == 0 ? ["t"] : [])
        }
        let pinned = rig.cache.pin(try #require(rig.peek("k777")))
        let address = pinned.value.baseAddress
        for n in 0..<20_000 where random.next() % 10 > 0 && n != 777 {
            _ = rig.remove("k\(n)")
            model[n] = nil
        }
        let slabs = rig.cache.heap.slabs
        let before = slabs.slabBytes
        var turns = 0
        while rig.cache.advance(to: rig.now, budget: 100) {
            turns += 1
            if turns % 10 == 0 { rig.cache.checkInvariants() }
        }
        #expect(
            before > 19 << 20 && slabs.slabBytes < 12 << 20 && turns > 5,
            "\(before) → \(slabs.slabBytes), live \(slabs.liveBytes), \(turns) turns")
        #expect(pinned.value.baseAddress == address && pinned.value.elementsEqual((model[777] ?? "").utf8))
        for (n, value) in model { try #require(rig.get("k\(n)") == value, "\(n)") }
        rig.purge(tag: "t")
        for n in 0..<6000 { rig.set("k\(n)", String(repeating: "z", count: 3000)) }
        #expect((0..<6000).allSatisfy { rig.get("k\($0)")?.utf8.count == 3000 })
        rig.set("large", String(repeating: "l", count: 1 << 20))
        #expect(rig.get("large")?.utf8.count == 1 << 20 && rig.explain("large").chargedBytes - 1 << 20 < 8192)
        rig.cache.checkInvariants()
    }

    @Test func aPinnedValueOutlivesItsEntryAndCountsUntilItIsLetGo() throws {
        let rig = try Rig(limit: 100_000)
        rig.set("k", String(repeating: "a", count: 5000), tags: ["t"])
        var pinned: PinnedValue? = rig.cache.pin(try #require(rig.peek("k")))
        let used = rig.cache.usedBytes
        rig.set("k", String(repeating: "b", count: 5000))
        #expect(
            pinned?.value.allSatisfy { $0 == UInt8(ascii: "a") } == true && rig.cache.usedBytes > used + 4000,
            "the write did not go over it")
        #expect(
            rig.remove("k") && rig.counters.entries == 0 && rig.cache.usedBytes > 5000 && rig.cache.usedBytes < 5400,
            "\(rig.cache.usedBytes)")
        for n in 0..<200 { rig.set("k\(n)", String(repeating: "c", count: 1000)) }
        #expect(rig.cache.usedBytes <= 100_000 && pinned?.key.elementsEqual("k".utf8) == true)
        let withPin = rig.cache.usedBytes
        pinned = nil
        #expect(rig.cache.usedBytes < withPin - 5000 && rig.cache.heap.heldBytes == 0)
        rig.cache.checkInvariants()
    }

    @Test func aScanVisitsEveryEntryOnceWhileOthersComeAndGo() throws {
        let rig = try Rig(limit: 8 << 20)
        let other = try rig.cache.addNamespace(NamespaceSettings(name: "other"))
        for n in 0..<3000 { rig.set("stay\(n)", "v", in: n % 2 == 0 ? rig.space : other) }
        var seen: [String: Int] = [:]
        var cursor: UInt32 = 0
        var turn = 0
        repeat {
            cursor = rig.cache.scan(rig.space, from: cursor, count: 10, at: rig.now) { key, hit in
                seen[String(decoding: key, as: UTF8.self), default: 0] += hit.value.count
            }
            turn += 1
            rig.set("pass\(turn)", "v")
            _ = rig.remove("pass\(turn - 5)")
        } while cursor != 0
        #expect((0..<3000).allSatisfy { seen["stay\($0)"] == ($0 % 2 == 0 ? 1 : nil) } && turn > 100, "\(turn)")
    }

    @Test func theSecondLevelIsOfferedWhatWasDearWithWhatIsLeftOfItsLife() throws {
        let rig = try Rig { $0.spillWeightMin = 10 }
        rig.set("cheap", "1", .ttl(1000, weight: 9))
        rig.set("dear", "22", .ttl(1000, swr: 500, weight: 20), tags: ["fn:x"])
        rig.set("gone", "333", .ttl(50, weight: 20))
        rig.set("purged", "4", .ttl(1000, weight: 20))
        rig.set("forever", "5", .weighing(20))
        _ = rig.remove("purged")
        // once, whatever happens to it before it is taken; with the lifetime that it has then
        rig.set("forever", "5", .weighing(20))
        #expect(bytes("forever") { rig.cache.expire($0, in: rig.space, .ttl(.seconds(9)), at: rig.now) })
        #expect(bytes("forever") { rig.cache.expire($0, in: rig.space, .forever, at: rig.now) })
        rig.pass(100)
        let records = rig.cache.takeSpills(10, at: rig.now)
        #expect(records.map { String(decoding: $0.key, as: UTF8.self) } == ["dear", "forever"] && rig.cache.spillsWaiting == 0)
        let dear = try #require(records.first)
        #expect(dear.policy.lifetime == .ttl(.milliseconds(900)) && dear.policy.staleWhileRevalidate == .milliseconds(500))
        #expect(dear.policy.age == .milliseconds(100) && dear.tags == [Array("fn:x".utf8)] && dear.value.elementsEqual("22".utf8))
        #expect(records.last?.policy.lifetime == .forever)
        // back from below: older, as often asked for, not offered again
        let flight = try rig.lead("back")
        var policy = dear.policy
        policy.frequency = 9
        rig.head(flight, policy, tags: ["fn:x"])
        rig.append(flight, "22")
        rig.cache.finish(flight, isFromSecondLevel: true, at: rig.now, into: &rig.actions)
        let explained = rig.explain("back")
        #expect(
            explained.isFromSecondLevel && explained.frequency == 10 && explained.age == .milliseconds(100) && rig.cache.spillsWaiting == 0)
    }

    @Test func explainTellsWhyAKeyIsThereOrNot() throws {
        let rig = try Rig()
        rig.set("k", "value", .ttl(1000, swr: 500, weight: 7), tags: ["a", "b"])
        _ = rig.get("k")
        rig.pass(100)
        var told = rig.explain("k")
        #expect(told.state == .fresh && told.namespace == "memo" && told.age == .milliseconds(100) && told.freshness == .milliseconds(900))
        #expect(told.life == .milliseconds(1400) && told.valueBytes == 5 && told.chargedBytes == rig.counters.bytes && told.weight == 7)
        #expect(
            told.frequency == 1 && told.hits == 1 && told.isIntact && told.tags == ["a", "b"] && told.departure == nil && told.flights == 0)
        _ = rig.purge("k", soft: true)
        told = rig.explain("k")
        #expect(told.state == .stale && told.isSoftPurged && told.freshness == .zero)
        let flight = try rig.lead("m", 1)
        _ = try rig.follow("m", 2)
        #expect(rig.explain("m").state == .absent && rig.explain("m").flights == 1 && rig.explain("m").followers == 1)
        rig.cache.release(flight, rememberFor: .seconds(1), at: rig.now, into: &rig.actions)
        #expect(rig.explain("m").state == .bypass)
        rig.pass(1400)
        told = rig.explain("k")
        #expect(told.state == .absent && told.departure == .expired && told.age == .zero && rig.explain("never").departure == nil)
    }
}
