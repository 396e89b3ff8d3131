import Base
import Testing

@testable import Cache

/// Single flight, streaming, hand-over, stale answers and refresh-ahead: reference D3 and semantics 7.1.3, 7, 8, 9.
@Suite struct FlightTests {
    @Test func fiftyLookupsRunOnceAndFollowersGetTheBytesAsTheyCome() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        for n in 1..<50 as Range<UInt64> {
            let joined = try rig.follow("k", n)
            #expect(joined == flight)
        }
        #expect(rig.counters.misses == 1 && rig.counters.coalesced == 49)
        rig.head(flight)
        rig.append(flight, "one ")
        #expect(rig.take() == (1..<50).map { .data(waiter($0), flight) } && rig.drain(flight, 1) == "one " && rig.drain(flight, 1) == "")
        rig.append(flight, "two ")
        #expect(rig.take() == [.data(waiter(1), flight)], "who has not read is not told twice")
        #expect(rig.drain(flight, 2) == "one two ")
        let late = try rig.follow("k", 99)
        #expect(late == flight && rig.drain(flight, 99) == "one two ", "a later follower gets all from the start")
        rig.append(flight, "three")
        let result = rig.finish(flight, weight: 200)
        let done = rig.take().filter { if case .done = $0 { true } else { false } }
        #expect(result != .refused(.noRoom) && done.count == 50 && rig.get("k") == "one two three" && rig.explain("k").weight == 200)
        #expect(rig.remove("k"), "the purge does not take the bytes from those who still read")
        #expect(rig.drain(flight, 1) == "two three" && rig.drain(flight, 2) == "three" && rig.drain(flight, 3) == "one two three")
        rig.cache.checkInvariants()
        for n in Array(1..<50) + [99] as [UInt64] { rig.cache.leave(flight, waiter(n)) }
        #expect(rig.cache.usedBytes == 0 && rig.cache.read(flight, waiter(1)).isEmpty)
    }

    /// D3, 7.1.7: what cannot be shared releases all at once, and the key is remembered: then nobody waits.
    @Test func anUnshareableAnswerReleasesItsFollowersAndTheKeyIsRemembered() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        _ = try rig.follow("k", 1)
        _ = try rig.follow("k", 2)
        rig.cache.release(flight, rememberFor: Limits.cacheBypassTime, at: rig.now, into: &rig.actions)
        #expect(rig.take() == [.release(waiter(1)), .release(waiter(2))] && rig.get("k") == nil)
        let solo = try rig.lead("k", 3)
        let other = try rig.lead("k", 4)
        #expect(solo != other && rig.counters.bypassed == 2 && rig.counters.coalesced == 2)
        rig.fill(other, "shareable after all", .ttl(1000))
        #expect(rig.get("k") == "shareable after all")
        rig.cache.release(solo, rememberFor: nil, at: rig.now, into: &rig.actions)
        #expect(rig.get("k") == "shareable after all" && rig.finish(solo) == .refused(.noFlight))
        rig.cache.release(try rig.lead("m", 5), rememberFor: .seconds(120), at: rig.now, into: &rig.actions)
        rig.pass(119_999)
        _ = try rig.lead("m", 6)
        _ = try rig.lead("m", 7)
        rig.pass(1)
        let again = try rig.lead("m", 8)
        let joined = try rig.follow("m", 9)
        #expect(joined == again, "forgotten after 120 s")
        // an answer without a lifetime is not shared either, and not remembered
        rig.head(again, .ttl(0))
        #expect(rig.take() == [.release(waiter(9))] && rig.explain("m").state == .absent)
        rig.cache.checkInvariants()
    }

    /// 7.1.8: the leader's end hands over in the same call; 7.1.3: who has got bytes is cut off, not spliced.
    @Test func aFollowerLeadsWhenTheLeaderGoesAndNoneGetsBytesOfTwoLeaders() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        for n in 1..<4 as Range<UInt64> { _ = try rig.follow("k", n) }
        rig.abort(flight, .leaderGone)
        #expect(rig.take() == [.lead(waiter(1), flight)])
        rig.head(flight, tags: ["t"])
        rig.append(flight, "half")
        #expect(rig.take() == [.data(waiter(2), flight), .data(waiter(3), flight)])
        let late = try rig.follow("k", 4)
        rig.abort(flight, .leaderGone)
        #expect(late == flight && rig.take() == [.abort(waiter(2)), .abort(waiter(3)), .lead(waiter(4), flight)])
        let joined = try rig.follow("k", 5)
        #expect(joined == flight && rig.get("k") == nil, "the truncated answer is not stored")
        rig.fill(flight, "whole")
        #expect(
            rig.take() == [.data(waiter(5), flight), .done(waiter(5), flight)] && rig.drain(flight, 5) == "whole" && rig.get("k") == "whole"
        )
        rig.cache.leave(flight, waiter(5))
        rig.pass(0)
        rig.cache.checkInvariants()
        #expect(rig.cache.purges.tags.count == 0)
    }

    @Test func handOversAreBoundedAndThenFollowersAreTold() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        for n in 1..<8 as Range<UInt64> { _ = try rig.follow("k", n) }
        rig.cache.leave(flight, waiter(2))
        for n in [1, 3, 4] as [UInt64] {
            rig.abort(flight, .originFailed)
            #expect(rig.take() == [.lead(waiter(n), flight)])
        }
        rig.abort(flight, .originFailed)
        #expect(rig.take() == [.fail(waiter(5)), .fail(waiter(6)), .fail(waiter(7))])
        rig.abort(flight, .originFailed)
        let next = try rig.lead("k", 9)
        rig.abort(next, .leaderGone)
        #expect(rig.take() == [] && rig.cache.flights.inFlight == 0 && rig.cache.usedBytes == 0)
        rig.cache.checkInvariants()
    }

    /// A hand-over is a new fetch: purges before it no longer count, later ones do.
    @Test func aHandOverBeginsAnew() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        _ = try rig.follow("k", 1)
        _ = rig.purge("k", soft: false)
        rig.abort(flight, .leaderGone)
        let joined = try rig.follow("k", 2)
        #expect(rig.take() == [.lead(waiter(1), flight)] && joined == flight)
        #expect(rig.fill(flight, "new") != .refused(.purged) && rig.get("k") == "new")
        rig.cache.leave(flight, waiter(2))
        rig.cache.checkInvariants()
    }

    /// RFC 5861 §3 and 7.1.9: the one who triggers the refresh does not wait, and there is one refresh.
    @Test func staleWhileRevalidateServesEverybodyAndRefreshesOnce() throws {
        let rig = try Rig()
        rig.set("k", "old", .ttl(100, swr: 1000))
        rig.pass(100)
        guard case .hit(let first, let refresh?) = rig.fetch("k", 1), first.state == .stale else { throw Unexpected(what: "no refresh") }
        for n in 2..<20 as Range<UInt64> {
            guard case .hit(let hit, nil) = rig.fetch("k", n), hit.state == .stale else {
                throw Unexpected(what: "a second refresh, or a wait")
            }
        }
        #expect(rig.counters.stale == 19 && rig.counters.refreshes == 1 && rig.counters.misses == 0 && rig.get("k") == nil)
        rig.fill(refresh, "new", .ttl(100, swr: 1000))
        #expect(rig.take() == [] && rig.get("k") == "new" && rig.removals.isEmpty)
        rig.pass(1099)
        guard case .hit(let last, let late?) = rig.fetch("k", 1), last.state == .stale else {
            throw Unexpected(what: "the window is shorter")
        }
        rig.pass(1)
        let joined = try rig.follow("k", 2)
        #expect(rig.removals.map(\.reason) == [.expired] && joined == late, "after the window lookups join the refresh")
        rig.abort(late, .originFailed)
        #expect(rig.take() == [.lead(waiter(2), late)], "a background fill that fails is handed to who waits for it")
    }

    /// RFC 5861 §4 and D3: a failing origin is probed after 1, 2, 4 … seconds per key, and everybody gets the stale answer.
    @Test func aFailingOriginIsProbedLessAndLessWhileTheStaleAnswerIsServed() throws {
        let rig = try Rig()
        rig.set("k", "old", .ttl(100, sie: 100_000))
        rig.pass(100)
        guard case .lead(let flight, let stale?) = rig.fetch("k", 1) else { throw Unexpected(what: "without SWR somebody must ask") }
        let joined = try rig.follow("k", 2)
        #expect(String(decoding: stale.value, as: UTF8.self) == "old" && joined == flight)
        rig.abort(flight, .originFailed)
        #expect(rig.take() == [.stale(waiter(2))])
        let served = bytes("k") { rig.cache.staleOnError($0, in: rig.space, at: rig.now) }
        #expect(served?.state == .stale && rig.explain("k").isOriginFailing)
        var probes: [UInt64] = []
        for second in 0..<60 as Range<UInt64> {
            for n in 0..<20 as Range<UInt64> {
                switch rig.fetch("k", n) {
                case .hit(let hit, nil): #expect(hit.state == .stale)
                case .lead(let probe, _):
                    probes.append(second)
                    rig.abort(probe, .originFailed)
                default: throw Unexpected(what: "second \(second)")
                }
            }
            rig.pass(1000)
        }
        #expect(probes == [1, 3, 7, 15, 31], "nginx sends every request on: nginx#1000. \(probes)")
        rig.pass(10_000)
        rig.fill(try rig.lead("k", 1), "new", .ttl(100, sie: 100_000))
        rig.pass(100)
        _ = try rig.lead("k", 1)
        #expect(!rig.explain("k").isOriginFailing && rig.get("k") == nil, "after a success the pauses begin anew")
        rig.pass(100_000)
        #expect(bytes("k") { rig.cache.staleOnError($0, in: rig.space, at: rig.now) } == nil)
    }

    @Test func whatIsKeptForRevalidationIsNeverServedAsItIs() throws {
        let rig = try Rig()
        rig.set("k", "old", .ttl(100, keep: 1000))
        rig.pass(500)
        guard case .lead(let flight, let kept?) = rig.fetch("k", 1) else {
            throw Unexpected(what: "no stale body for a conditional request")
        }
        #expect(String(decoding: kept.value, as: UTF8.self) == "old")
        rig.abort(flight, .originFailed)
        #expect(bytes("k") { rig.cache.staleOnError($0, in: rig.space, at: rig.now) } == nil && rig.get("k") == nil)
    }

    /// XFetch: P(nobody has refreshed by the expiry) = exp(−λβΔ), here with λ = 20/s, Δ = 100 ms, β = 1: e⁻² = 0.135.
    @Test(arguments: Run.seeds(1..<3)) func refreshAheadHappensWithTheProbabilityOfThePaper(_ seed: UInt64) throws {
        let rig = try Rig(seed: seed) { $0.refreshAhead = 1 }
        let plain = try Rig(seed: seed)
        var missed = 0
        var lead = 0.0
        for n in 0..<2000 {
            rig.set("k\(n)", "v", .ttl(2000, weight: 100))
            plain.set("k\(n)", "v", .ttl(2000, weight: 100))
            var isRefreshed = false
            // one lookup each 50 ms, the last 50 ms before the end
            for step in 0..<40 as Range<UInt64> {
                let now = rig.now + .milliseconds(step * 50)
                guard case .hit(_, let refresh) = bytes("k\(n)", { rig.cache.fetch($0, in: rig.space, waiter: waiter(0), at: now) }),
                    case .hit(_, nil) = bytes("k\(n)", { plain.cache.fetch($0, in: plain.space, waiter: waiter(0), at: now) })
                else { throw Unexpected(what: "not a hit") }
                guard let refresh else { continue }
                isRefreshed = true
                lead += Double(2000 - step * 50)
                rig.cache.abort(refresh, .leaderGone, at: now, into: &rig.actions)
                break
            }
            if !isRefreshed { missed += 1 }
            rig.now = rig.now + .milliseconds(2001)
            plain.now = rig.now
        }
        // lookups at 50, 100, 150 … ms before the end miss with probability Π (1 − e^(−x/100)) = 0.118
        #expect(missed > 2000 * 9 / 100 && missed < 2000 * 15 / 100, "seed \(seed): \(missed) of 2000 reached their end")
        #expect(lead / Double(2000 - missed) < 250, "seed \(seed): on average \(lead / Double(2000 - missed)) ms ahead")
    }

    /// 7.1.9: at most so many fills; beyond it stale if that is allowed, else refuse.
    @Test func fillsInFlightAreBounded() throws {
        let rig = try Rig(limit: 16 << 20)
        rig.set("stale", "old", .ttl(10, sie: 10_000))
        rig.set("gone", "old", .ttl(10, keep: 10_000))
        rig.pass(100)
        let flights = try (0..<Limits.cacheFlightsMax).map { try rig.lead("k\($0)") }
        guard case .refuse = rig.fetch("more", 1), case .refuse = rig.fetch("gone", 1), case .hit(let hit, nil) = rig.fetch("stale", 1),
            case .follow = rig.fetch("k0", 1)
        else { throw Unexpected(what: "the bound does not hold") }
        rig.fill(flights[7], "v")
        let joined = try rig.lead("more")
        #expect(hit.state == .stale && joined != flights[7])
        for flight in flights { rig.abort(flight, .leaderGone) }
        #expect(rig.cache.flights.inFlight == 2, "the one handed over and the last one")
        rig.cache.checkInvariants()
    }

    /// A stream that outgrows its object goes on to those who follow it, in bounded memory.
    @Test func anAnswerThatIsTooLargeStreamsThroughWithoutBeingStored() throws {
        let rig = try Rig(limit: 20 << 20)
        let flight = try rig.lead("k", 0)
        _ = try rig.follow("k", 1)
        _ = try rig.follow("k", 2)
        rig.head(flight, .ttl(1000))
        let chunk = String(repeating: "x", count: 256 * 1024)
        var read = 0
        for step in 0..<64 {
            rig.append(flight, chunk)
            read += rig.drain(flight, 1).utf8.count
            #expect(rig.cache.usedBytes <= 20 << 20 && (step < 30 || rig.cache.usedBytes < 4 << 20), "step \(step): \(rig.cache.usedBytes)")
        }
        let actions = rig.take()
        #expect(read == 64 * chunk.utf8.count && actions.contains(.abort(waiter(2))) && !actions.contains(.abort(waiter(1))))
        _ = try rig.lead("k", 5)
        #expect(rig.finish(flight) == .refused(.tooLarge) && rig.take() == [.done(waiter(1), flight)])
        rig.cache.leave(flight, waiter(1))
        // known from the head on: the same
        let second = try rig.lead("m", 0)
        _ = try rig.follow("m", 1)
        rig.head(second, .ttl(1000), expected: 100 << 20)
        rig.append(second, chunk)
        let joined = try rig.lead("m", 2)
        #expect(rig.drain(second, 1) == chunk && rig.cache.usedBytes < 1 << 20 && joined != second)
        // a key that is too long is not stored either
        let key = String(repeating: "k", count: Limits.cacheKeyBytesMax + 1)
        #expect(rig.fill(try rig.lead(key, 0), "v") == .refused(.tooLarge) && rig.get(key) == nil)
        rig.cache.checkInvariants()
    }

    @Test func aKnownLengthIsReservedOnce() throws {
        let rig = try Rig()
        let flight = try rig.lead("k", 0)
        rig.head(flight, expected: 10_000)
        let used = rig.cache.usedBytes
        for _ in 0..<10 { rig.append(flight, String(repeating: "y", count: 1000)) }
        #expect(rig.cache.usedBytes == used && rig.finish(flight) != .refused(.tooLarge) && rig.get("k")?.utf8.count == 10_000)
        #expect(rig.cache.usedBytes == rig.counters.bytes && rig.counters.bytes - 10_000 < 200, "\(rig.counters.bytes)")
    }
}
