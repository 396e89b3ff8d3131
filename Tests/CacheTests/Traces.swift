import Base

/// The seeded generators of reference C2 and C3: the same seed gives the same requests on every machine.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 0 ..< 1.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    mutating func below(_ bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }

    /// Standard normal, by Box and Muller.
    mutating func normal() -> Double {
        let radius = (-2 * Math.log(1 - unit())).squareRoot()
        return radius * Math.cos(2 * .pi * unit())
    }
}

/// Requests by dense key numbers, with the size and the cost of each key.
struct Trace {
    var requests: [Int32]
    var keys: Int
    var sizes: [Int]
    var costs: [Float]

    static let zipfKeys = 100_000
    static let length = 600_000

    /// Objects of size 1 and cost 1.
    init(_ requests: [Int32], keys: Int) {
        self.requests = requests
        self.keys = keys
        sizes = [Int](repeating: 1, count: keys)
        costs = [Float](repeating: 1, count: keys)
    }

    /// What the distinct keys that are asked for take together.
    var footprint: Int {
        var seen = [Bool](repeating: false, count: keys)
        for key in requests { seen[Int(key)] = true }
        return zip(seen, sizes).reduce(0) { $0 + ($1.0 ? $1.1 : 0) }
    }

    // MARK: C2

    static func zipf(_ alpha: Double, keys count: Int = zipfKeys, count length: Int = length, seed: UInt64) -> Trace {
        var ranks = Ranks(alpha, count, seed: seed)
        let keys = permutation(count, &ranks.random)
        return Trace((0..<length).map { _ in keys[ranks.next()] }, keys: count)
    }

    /// Every 60,000 requests: 45,000 from Zipf and 15,000 never repeated.
    static func scans(seed: UInt64) -> Trace {
        var trace = zipf(1, seed: seed)
        for i in trace.requests.indices where i % 60_000 >= 45_000 { trace.replace(i) }
        return trace.sized(1)
    }

    /// Each request is replaced by a never-repeated key with probability 0.3.
    static func oneHit(seed: UInt64) -> Trace {
        var trace = zipf(1, seed: seed)
        var random = SplitMix64(state: seed ^ 0xABCD)
        for i in trace.requests.indices where random.unit() < 0.3 { trace.replace(i) }
        return trace.sized(1)
    }

    /// The hot set moves by 2 % every 20,000 requests: key = rank + 2,000 · ⌊i / 20,000⌋ mod K.
    static func drift(seed: UInt64) -> Trace {
        var ranks = Ranks(1, zipfKeys, seed: seed)
        return Trace((0..<length).map { Int32((ranks.next() + 2000 * ($0 / 20_000)) % zipfKeys) }, keys: zipfKeys)
    }

    /// Each request is replaced by the next of 20,000 keys in a cycle with probability 0.5.
    static func loop(seed: UInt64) -> Trace {
        var trace = zipf(1, seed: seed)
        var random = SplitMix64(state: seed ^ 0xDCBA)
        var next = 0
        for i in trace.requests.indices where random.unit() < 0.5 {
            trace.requests[i] = Int32(zipfKeys + next % 20_000)
            next += 1
        }
        trace.keys = zipfKeys + 20_000
        return trace.sized(1)
    }

    /// Zipf 0.9 with log-normal sizes: median 8 KiB, σ 1.5, 64 B … 8 MiB.
    static func sizedZipf(seed: UInt64) -> Trace {
        var trace = zipf(0.9, seed: seed)
        var random = SplitMix64(state: seed ^ 0x517E)
        trace.sizes = trace.sizes.map { _ in Int(min(max(8192 * Math.exp(1.5 * random.normal()), 64), 8 * 1024 * 1024)) }
        return trace
    }

    // MARK: C3

    /// 300,000 invocations of 60,000 functions × payloads, Zipf 0.9. `varied`: sizes median 4 KiB, costs median 20 ms, σ 1.5 each,
    /// independent; otherwise size 1 and cost 1. `drift`: 1,000 keys every 15,000 requests.
    static func invocations(varied: Bool, drift: Bool, seed: UInt64) -> Trace {
        let keys = 60_000
        var ranks = Ranks(0.9, keys, seed: seed)
        let order = drift ? (0..<Int32(keys)).map { $0 } : permutation(keys, &ranks.random)
        var trace = Trace(
            (0..<300_000).map { order[(ranks.next() + (drift ? 1000 * ($0 / 15_000) : 0)) % keys] }, keys: keys)
        guard varied else { return trace }
        var random = SplitMix64(state: seed ^ 0xC057)
        trace.sizes = trace.sizes.map { _ in Int(min(max(4096 * Math.exp(1.5 * random.normal()), 64), 4 * 1024 * 1024)) }
        trace.costs = trace.costs.map { _ in Float(min(max(20 * Math.exp(1.5 * random.normal()), 1), 60_000)) }
        return trace
    }

    // MARK: Parts

    private mutating func replace(_ i: Int) {
        requests[i] = Int32(keys)
        keys += 1
    }

    private func sized(_ size: Int) -> Trace { Trace(requests, keys: keys) }

    private static func permutation(_ count: Int, _ random: inout SplitMix64) -> [Int32] {
        var keys = (0..<Int32(count)).map { $0 }
        for i in stride(from: count - 1, to: 0, by: -1) { keys.swapAt(i, random.below(i + 1)) }
        return keys
    }

    /// Ranks 0 ..< K with probability proportional to 1 / (rank + 1)^α, by Walker's alias method.
    private struct Ranks {
        var random: SplitMix64
        private var threshold: [Double]
        private var alias: [Int]

        init(_ alpha: Double, _ count: Int, seed: UInt64) {
            random = SplitMix64(state: seed)
            let weights = (1...count).map { Math.exp(-alpha * Math.log(Double($0))) }
            let sum = weights.reduce(0, +)
            threshold = weights.map { $0 / sum * Double(count) }
            alias = [Int](repeating: 0, count: count)
            var small = threshold.indices.filter { threshold[$0] < 1 }
            var large = threshold.indices.filter { threshold[$0] >= 1 }
            while let low = small.popLast(), let high = large.last {
                alias[low] = high
                threshold[high] -= 1 - threshold[low]
                if threshold[high] < 1 {
                    large.removeLast()
                    small.append(high)
                }
            }
        }

        mutating func next() -> Int {
            let slot = random.below(threshold.count)
            return random.unit() < threshold[slot] ? slot : alias[slot]
        }
    }
}
