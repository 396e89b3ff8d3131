import Base
import Glibc

@testable import Cache

enum Math {
    static func log(_ x: Double) -> Double { Glibc.log(x) }
    static func exp(_ x: Double) -> Double { Glibc.exp(x) }
    static func cos(_ x: Double) -> Double { Glibc.cos(x) }
}

/// A cache that holds only keys: says whether a request hits, and admits what it misses.
protocol PolicyOracle {
    mutating func hits(_ key: Int) -> Bool
}

/// Shares of requests, bytes and cost that miss.
struct Misses: CustomStringConvertible {
    var objects = 0.0, bytes = 0.0, cost = 0.0

    init(_ trace: Trace, _ policy: inout some PolicyOracle) {
        var all = (bytes: 0.0, cost: 0.0)
        for request in trace.requests {
            let key = Int(request)
            let size = Double(trace.sizes[key])
            let price = Double(trace.costs[key])
            all.bytes += size
            all.cost += price
            if policy.hits(key) { continue }
            objects += 1
            bytes += size
            cost += price
        }
        objects /= Double(trace.requests.count)
        bytes /= all.bytes
        cost /= all.cost
    }

    var description: String { "objects \(Self.short(objects)) bytes \(Self.short(bytes)) cost \(Self.short(cost))" }
    static func short(_ x: Double) -> String { String(Int((x * 10_000).rounded())).leftPadded }
}

extension String {
    fileprivate var leftPadded: String { "0." + String(repeating: "0", count: max(0, 4 - count)) + self }
}

/// A FIFO of keys with removal from anywhere; a key is in at most one queue of a `KeyQueues`. Arrays by key: no hashing.
final class KeyQueues {
    private let next, previous: UnsafeMutablePointer<Int32>
    private let first, last: UnsafeMutablePointer<Int32>
    let queueOf: UnsafeMutablePointer<Int8>
    let bytes: UnsafeMutablePointer<Int>
    private let sizes: [Int]

    init(_ queues: Int, sizes: [Int]) {
        func array<T>(_ count: Int, _ value: T) -> UnsafeMutablePointer<T> {
            let memory = UnsafeMutablePointer<T>.allocate(capacity: count)
            memory.initialize(repeating: value, count: count)
            return memory
        }
        self.sizes = sizes
        next = array(sizes.count, -1)
        previous = array(sizes.count, -1)
        first = array(queues, -1)
        last = array(queues, -1)
        queueOf = array(sizes.count, -1)
        bytes = array(queues, 0)
    }

    deinit {
        for memory in [next, previous, first, last] { memory.deallocate() }
        queueOf.deallocate()
        bytes.deallocate()
    }

    func append(_ key: Int, to queue: Int) {
        queueOf[key] = Int8(queue)
        bytes[queue] += sizes[key]
        previous[key] = last[queue]
        next[key] = -1
        if last[queue] >= 0 { next[Int(last[queue])] = Int32(key) } else { first[queue] = Int32(key) }
        last[queue] = Int32(key)
    }

    func remove(_ key: Int) {
        let queue = Int(queueOf[key])
        queueOf[key] = -1
        bytes[queue] -= sizes[key]
        if previous[key] >= 0 { next[Int(previous[key])] = next[key] } else { first[queue] = next[key] }
        if next[key] >= 0 { previous[Int(next[key])] = previous[key] } else { last[queue] = previous[key] }
    }

    func popFirst(_ queue: Int) -> Int? {
        guard first[queue] >= 0 else { return nil }
        let key = Int(first[queue])
        remove(key)
        return key
    }

    func head(_ queue: Int) -> Int? { first[queue] >= 0 ? Int(first[queue]) : nil }
    func after(_ key: Int) -> Int? { next[key] >= 0 ? Int(next[key]) : nil }
}

/// Least recently used.
struct LRU: PolicyOracle {
    private let queues: KeyQueues
    private let sizes: [Int]
    private let capacity: Int

    init(_ trace: Trace, capacity: Int) {
        queues = KeyQueues(1, sizes: trace.sizes)
        sizes = trace.sizes
        self.capacity = capacity
    }

    mutating func hits(_ key: Int) -> Bool {
        let isHit = queues.queueOf[key] >= 0
        if isHit { queues.remove(key) }
        guard isHit || sizes[key] <= capacity else { return false }
        while queues.bytes[0] + sizes[key] > capacity { _ = queues.popFirst(0) }
        queues.append(key, to: 0)
        return isHit
    }
}

/// SIEVE (Zhang et al., NSDI '24): a FIFO, a visited bit, and a hand that moves from old to new and never puts anything back.
struct Sieve: PolicyOracle {
    private let queues: KeyQueues
    private let sizes: [Int]
    private let capacity: Int
    private var visited: [Bool]
    private var hand: Int?

    init(_ trace: Trace, capacity: Int) {
        queues = KeyQueues(1, sizes: trace.sizes)
        sizes = trace.sizes
        visited = [Bool](repeating: false, count: trace.keys)
        self.capacity = capacity
    }

    mutating func hits(_ key: Int) -> Bool {
        if queues.queueOf[key] >= 0 {
            visited[key] = true
            return true
        }
        guard sizes[key] <= capacity else { return false }
        while queues.bytes[0] + sizes[key] > capacity { evict() }
        queues.append(key, to: 0)
        visited[key] = false
        return false
    }

    private mutating func evict() {
        var at = hand ?? queues.head(0)
        while let key = at, visited[key] {
            visited[key] = false
            at = queues.after(key) ?? queues.head(0)
        }
        guard let key = at else { return }
        hand = queues.after(key)
        queues.remove(key)
    }
}

/// S3-FIFO (Yang et al., SOSP '23): a small queue of 10 %, a main queue of 90 %, and the memory of what left the small one.
struct S3FIFO: PolicyOracle {
    private static let small = 0, main = 1, ghost = 2
    private let queues: KeyQueues
    private let sizes: [Int]
    private let smallSize, mainSize, ghostSize: Int
    private var frequency: [UInt8]
    private var hasEvicted = false

    init(_ trace: Trace, capacity: Int) {
        queues = KeyQueues(3, sizes: trace.sizes)
        sizes = trace.sizes
        frequency = [UInt8](repeating: 0, count: trace.keys)
        smallSize = capacity / 10
        mainSize = capacity - smallSize
        ghostSize = capacity * 9 / 10
    }

    mutating func hits(_ key: Int) -> Bool {
        let queue = Int(queues.queueOf[key])
        if queue == Self.small || queue == Self.main {
            frequency[key] = min(3, frequency[key] + 1)
            return true
        }
        let isKnown = queue == Self.ghost
        if isKnown { queues.remove(key) }
        guard sizes[key] <= (isKnown ? mainSize : smallSize) else { return false }
        while queues.bytes[Self.small] + queues.bytes[Self.main] + sizes[key] > smallSize + mainSize { evict() }
        let fillsMain = !hasEvicted && queues.bytes[Self.small] >= smallSize
        queues.append(key, to: isKnown || fillsMain ? Self.main : Self.small)
        frequency[key] = 0
        return false
    }

    private mutating func evict() {
        hasEvicted = true
        if queues.bytes[Self.main] > mainSize || queues.bytes[Self.small] == 0 { return evictMain() }
        while let key = queues.popFirst(Self.small) {
            if frequency[key] >= 2 {
                queues.append(key, to: Self.main)
                frequency[key] = 0
                continue
            }
            while queues.bytes[Self.ghost] + sizes[key] > ghostSize, queues.popFirst(Self.ghost) != nil {}
            return queues.append(key, to: Self.ghost)
        }
    }

    private mutating func evictMain() {
        while let key = queues.popFirst(Self.main), frequency[key] > 0 {
            frequency[key] -= 1
            queues.append(key, to: Self.main)
        }
    }
}

/// The engine's own policy on bare records: what `Cache` does when it makes room, without bytes to hold.
final class LGD: PolicyOracle {
    private let arena: Arena
    private var eviction: Eviction
    private let costs: [Float]
    /// In units of 16 bytes, as records have it.
    private let units: [UInt32]
    private let capacity: Int
    private var used = 0
    private var indexOf: [UInt32]
    private var keyOf: [UInt32: Int] = [:]

    /// `weighs` false: every miss costs the same (w = 1).
    init(_ trace: Trace, capacity: Int, weighs: Bool = true) {
        arena = Arena()
        eviction = Eviction(arena: arena, namespacesMax: 1)
        eviction.namespaces = 1
        costs = trace.costs.map { weighs ? $0 : 1 }
        let isUniform = trace.sizes.allSatisfy { $0 == 1 }
        units = trace.sizes.map { UInt32(isUniform ? 1 : ($0 + 15) / 16) }
        self.capacity = isUniform ? capacity : capacity / 16
        indexOf = [UInt32](repeating: Lists.none, count: trace.keys)
    }

    deinit { arena.destroy() }

    func hits(_ key: Int) -> Bool {
        if indexOf[key] != Lists.none {
            arena[indexOf[key]].pointee.touch()
            return true
        }
        let size = Int(units[key])
        guard size <= capacity / 8 else { return false }
        while used + size > capacity, let victim = eviction.victim(chances: 32, where: { _ in true }) { evict(victim) }
        guard let index = arena.take() else { return false }
        arena[index].pointee.hash = ByteHash.hash(withKey: key)
        arena[index].pointee.weight = costs[key]
        arena[index].pointee.chargeUnits = units[key]
        eviction.admit(index)
        indexOf[key] = index
        keyOf[index] = key
        used += size
        return false
    }

    private func evict(_ index: UInt32) {
        eviction.remember(index)
        eviction.remove(index)
        used -= Int(arena[index].pointee.chargeUnits)
        if let key = keyOf.removeValue(forKey: index) { indexOf[key] = Lists.none }
        arena.give(index)
    }

    func checkInvariants() { eviction.checkInvariants() }
}

extension ByteHash {
    static func hash(withKey key: Int) -> UInt64 { withUnsafeBytes(of: UInt64(key)) { hash($0, seed: 7) } }
}
