import Base
import Glibc
import Testing

@testable import Cache

/// What the engine costs on this machine. Runs with HEARTH_BENCH=1 in a release build:
/// `HEARTH_BENCH=1 swift test -c release -Xswiftc -enable-testing --filter CacheMeasurements`
@Suite(.serialized, .enabled(if: Run.isBench)) struct CacheMeasurements {
    private static func clock(_ id: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(id, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static var wall: Moment { Moment(nanoseconds: clock(CLOCK_MONOTONIC)) }

    /// CPU nanoseconds of one of `count` calls: the least of 40 short runs, as other programs share the machine and its caches.
    private static func cost(_ count: Int, _ body: (Int) -> Void) -> Double {
        (0..<40).map { _ in
            let start = clock(CLOCK_THREAD_CPUTIME_ID)
            for n in 0..<count { body(n) }
            return Double(clock(CLOCK_THREAD_CPUTIME_ID) - start) / Double(count)
        }.min() ?? 0
    }

    private static var residentBytes: Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return 0 }
        let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        return (Int(fields[1]) ?? 0) * 4096
    }

    /// Keys of 16 bytes, as redis-benchmark has them, in an order that no prefetcher knows.
    private struct Keys {
        let bytes: UnsafeMutableRawBufferPointer
        let order: [Int]

        init(_ count: Int) {
            bytes = .allocate(byteCount: count * 16, alignment: 16)
            for n in 0..<count {
                let digits = Array(String(n).utf8)
                let key = Array("key:".utf8) + [UInt8](repeating: UInt8(ascii: "0"), count: 12 - digits.count) + digits
                UnsafeMutableRawBufferPointer(rebasing: bytes[n * 16..<n * 16 + 16]).copyBytes(from: key)
            }
            var random = Random(seed: 1)
            order = (0..<count).shuffled(using: &random)
        }

        @inline(__always) subscript(n: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[n * 16..<n * 16 + 16])
        }
    }

    private static func cache(_ limit: Int) throws -> (Cache, NamespaceID) {
        let cache = Cache(limitBytes: limit, seed: 0x1234, at: wall)
        return (cache, try cache.addNamespace(NamespaceSettings(name: "data")))
    }

    @Test func gettingAndSettingOneKiB() throws {
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        for count in [100, 10_000, 1_000_000] {
            let keys = Keys(count)
            let (cache, space) = try Self.cache(4 << 30)
            // what reading the values costs without a cache around them
            let bare = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 1024, alignment: 4096)
            bare.initializeMemory(as: UInt8.self, repeating: 7)
            defer { bare.deallocate() }
            let now = Self.wall
            let calls = min(max(count, 10_000), 50_000)
            let fill = Self.clock(CLOCK_THREAD_CPUTIME_ID)
            for n in 0..<count { cache.set(keys[n], UnsafeRawBufferPointer(value), in: space, at: now) }
            let fresh = Double(Self.clock(CLOCK_THREAD_CPUTIME_ID) - fill) / Double(count)
            var sum = 0
            let get = Self.cost(calls) { sum &+= cache.get(keys[keys.order[$0 % count]], in: space, at: now)?.value.count ?? 0 }
            let miss = Self.cost(calls) { n in
                withUnsafeBytes(of: n) { sum &+= cache.get($0, in: space, at: now) == nil ? 0 : 1 }
            }
            let set = Self.cost(calls) { cache.set(keys[keys.order[$0 % count]], UnsafeRawBufferPointer(value), in: space, at: now) }
            let read = Self.cost(calls) { n in
                let at = keys.order[n % count] * 1024
                sum &+= Int(truncatingIfNeeded: Checksum.of(UnsafeRawBufferPointer(rebasing: bare[at..<at + 1024]), seed: 1)) & 0
            }
            var ttl = StorePolicy(.ttl(.seconds(60)))
            ttl.weight = 2
            let other = Self.cost(calls) {
                let part = UnsafeRawBufferPointer(rebasing: value[..<(1023 - $0 & 7)])
                cache.set(keys[keys.order[$0 % count]], part, in: space, policy: ttl, at: now)
            }
            print(
                "\(count) keys: bare read \(read) ns, get \(get) ns, miss \(miss) ns, set new \(fresh) ns, "
                    + "set same length \(set) ns, set other length and TTL \(other) ns"
            )
            #expect(sum == 1024 * calls * 40)
            // beyond the processor's caches the memory decides
            if count == 100 { #expect(get <= 60 && set <= 250 && other <= 250) }
        }
    }

    /// A full cache: every set evicts.
    @Test func settingWhileEvicting() throws {
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        let keys = Keys(1_000_000)
        let (cache, space) = try Self.cache(100 << 20)
        let now = Self.wall
        var policy = StorePolicy(.ttl(.seconds(600)))
        let start = Self.clock(CLOCK_THREAD_CPUTIME_ID)
        for n in 0..<1_000_000 {
            policy.weight = Float(1 + n % 1000)
            cache.set(keys[n], UnsafeRawBufferPointer(value), in: space, policy: policy, at: now)
            _ = cache.get(keys[n / 2], in: space, at: now)
        }
        let counters = cache.counters(of: space)
        print("set with eviction and a get: \(Double(Self.clock(CLOCK_THREAD_CPUTIME_ID) - start) / 1e6) ns, \(counters)")
        #expect(counters.evicted > 800_000)
    }

    /// Moonshot 9 and issue C through the whole engine, with real values and all overhead: what LGD executes of what LRU executes.
    @Test(arguments: [false, true]) func theWholeEngineExecutesHalfOfWhatLRUExecutes(_ drift: Bool) throws {
        var trace = Trace.invocations(varied: true, drift: drift, seed: 1)
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        let lengths = trace.sizes
        trace.sizes = lengths.map { Cache.entryCharge(Block.charge(key: 8, value: $0, tags: 0)) }
        let limit = trace.footprint / 10
        var lru = LRU(trace, capacity: limit)
        let theirs = Misses(trace, &lru)
        let (cache, space) = try Self.cache(limit)
        var (executed, all) = (0.0, 0.0)
        for (n, request) in trace.requests.enumerated() {
            let now = at(UInt64(n))
            let cost = trace.costs[Int(request)]
            all += Double(cost)
            withUnsafeBytes(of: UInt64(request)) { key in
                if cache.get(key, in: space, at: now) != nil { return }
                executed += Double(cost)
                let part = UnsafeRawBufferPointer(rebasing: value[..<lengths[Int(request)]])
                cache.set(key, part, in: space, policy: .weighing(cost), at: now)
            }
        }
        print("drift \(drift): compute executed \(executed / all), LRU \(theirs.cost)")
        #expect(executed / all <= 0.6 * theirs.cost && cache.usedBytes <= limit)
        cache.checkInvariants()
    }

    @Test func memoryOfAMillionEntries() throws {
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        let keys = Keys(1_000_000)
        let before = Self.residentBytes
        let (cache, space) = try Self.cache(4 << 30)
        for n in 0..<1_000_000 { cache.set(keys[n], UnsafeRawBufferPointer(value), in: space, policy: .ttl(3_600_000), at: Self.wall) }
        let resident = Self.residentBytes - before
        print("1 KiB entries: accounted \(cache.usedBytes / 1_000_000) bytes, resident \(resident / 1_000_000) bytes each")
        #expect(cache.usedBytes <= 1280 * 1_000_000 && Double(resident) < Double(cache.usedBytes) * 1.02)
    }

    /// Semantic 7.1.5: resident memory within 15 % of what is accounted, after sizes have changed for a long time.
    @Test func memoryAfterChurn() throws {
        let value = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
        value.initializeMemory(as: UInt8.self, repeating: 7)
        var random = SplitMix64(state: 5)
        let before = Self.residentBytes
        let (cache, space) = try Self.cache(256 << 20)
        var most = 0.0
        for n in 0..<1_000_000 {
            let scale = n / 250_000 % 2 == 0 ? 512.0 : 6000.0
            let size = Int(min(max(scale * Math.exp(1.2 * random.normal()), 16), 1_048_576))
            let key = UInt64(random.below(2_000_000))
            _ = withUnsafeBytes(of: key) {
                cache.set(
                    $0, UnsafeRawBufferPointer(rebasing: value[..<size]), in: space, policy: .weighing(Float(1 + key % 100)), at: Self.wall)
            }
            if n % 100 == 0 { while cache.advance(to: Self.wall) {} }
            if n % 10_000 == 0, cache.usedBytes > 250 << 20 {
                most = max(most, Double(Self.residentBytes - before) / Double(cache.usedBytes))
            }
        }
        print("after churn: accounted \(cache.usedBytes >> 20) MiB, resident at most \(most) of it")
        #expect(most < 1.15)
    }

    /// Moonshot 11, in real time at ticks of 1 ms: 1,000,000 volatile keys that end within ten seconds.
    @Test func aMillionKeysExpireOnTime() throws {
        let keys = Keys(1_000_000)
        let (cache, space) = try Self.cache(4 << 30)
        var random = Random(seed: 2)
        let start = Self.wall
        for n in 0..<1_000_000 { cache.set(keys[n], keys[n], in: space, policy: .ttl(2000 + random.next() % 10_000), at: start) }
        let filled = Self.wall.since(start)
        let before = Self.clock(CLOCK_THREAD_CPUTIME_ID)
        var events = 0
        cache.onRemoval = { if $0.reason == .expired { events += 1 } }
        var (longest, late) = (0 as UInt64, 0 as UInt64)
        var last = Self.clock(CLOCK_MONOTONIC)
        while events < 1_000_000 {
            let turn = Self.clock(CLOCK_THREAD_CPUTIME_ID)
            let more = cache.advance(to: Self.wall)
            longest = max(longest, Self.clock(CLOCK_THREAD_CPUTIME_ID) - turn)
            if !more { usleep(1000) }
            let now = Self.clock(CLOCK_MONOTONIC)
            late = max(late, now - last)
            last = now
        }
        let cpu = Double(Self.clock(CLOCK_THREAD_CPUTIME_ID) - before) / 1e6
        print(
            "1,000,000 keys set in \(filled.milliseconds) ms; lag p50 \(cache.expiryLag.quantile(0.5).milliseconds) ms, "
                + "p99 \(cache.expiryLag.quantile(0.99).milliseconds) ms, p100 \(cache.expiryLag.quantile(1).milliseconds) ms; "
                + "\(cpu) ns of CPU an event; "
                + "longest turn \(Double(longest) / 1e6) ms of CPU, \(Double(late) / 1e6) ms from turn to turn")
        #expect(filled < .seconds(2) && cache.expiryLag.quantile(0.99) <= .milliseconds(10))
    }

    /// Moonshot 7.
    @Test func aTagOfAMillionEntriesIsPurged() throws {
        let keys = Keys(1_000_000)
        let (cache, space) = try Self.cache(4 << 30)
        let tags: [UnsafeRawBufferPointer] = [keys[0]]
        for n in 0..<1_000_000 { cache.set(keys[n], keys[n], in: space, tags: tags, at: Self.wall) }
        let start = Self.clock(CLOCK_THREAD_CPUTIME_ID)
        cache.purge(tag: keys[0], soft: false, at: Self.wall)
        let gone = cache.get(keys[77], in: space, at: Self.wall) == nil
        let took = Self.clock(CLOCK_THREAD_CPUTIME_ID) - start
        let sweep = Self.clock(CLOCK_THREAD_CPUTIME_ID)
        var longest: UInt64 = 0
        var isWorking = true
        while isWorking {
            let turn = Self.clock(CLOCK_THREAD_CPUTIME_ID)
            isWorking = cache.advance(to: Self.wall)
            longest = max(longest, Self.clock(CLOCK_THREAD_CPUTIME_ID) - turn)
        }
        print(
            "purge and next lookup: \(Double(took) / 1000) µs; sweep \(Double(Self.clock(CLOCK_THREAD_CPUTIME_ID) - sweep) / 1e6) ms, "
                + "longest turn \(Double(longest) / 1000) µs")
        #expect(gone && took < 1_000_000 && cache.counters(of: space).entries == 0)
    }
}
