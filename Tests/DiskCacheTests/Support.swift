import Base
import Cache
import Foundation
import Synchronization
import Testing

@testable import DiskCache

/// HEARTH_SEED replays a seeded test; HEARTH_BENCH=1 turns the measurements on.
enum Run {
    static let isBench = ProcessInfo.processInfo.environment["HEARTH_BENCH"] == "1"

    static func seeds(_ standard: Range<UInt64>) -> [UInt64] {
        ProcessInfo.processInfo.environment["HEARTH_SEED"].flatMap { UInt64($0) }.map { [$0] } ?? Array(standard)
    }
}

struct Unexpected: Error { let what: String }

/// Stands for the loop: runs what is posted to it while a test waits for something.
final class TestLoop: @unchecked Sendable {
    private let posted = Mutex<[@Sendable () -> Void]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func post(_ body: @escaping @Sendable () -> Void) {
        posted.withLock { $0.append(body) }
        arrived.signal()
    }

    func run(until isTrue: () -> Bool) throws {
        while !isTrue() {
            guard arrived.wait(timeout: .now() + 60) == .success else { throw Unexpected(what: "nothing comes back from the disk") }
            let body = posted.withLock { $0.removeFirst() }
            body()
        }
    }
}

/// A directory that goes with the test.
final class Place: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "hearth-disk-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var file: String { path + "/cache.sqlite" }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }

    func copy() throws -> Place {
        let copy = try Place()
        for name in names where name != "cache.sqlite-shm" {
            try FileManager.default.copyItem(atPath: path + "/" + name, toPath: copy.path + "/" + name)
        }
        return copy
    }
}

/// Outlives its rig: a level reads it when it stops.
final class Clock {
    var time: DiskTime

    init(_ time: DiskTime) { self.time = time }
}

/// A cache with its second level, its clocks, and what was warned of.
final class Rig {
    let place: Place
    let loop = TestLoop()
    let cache: Cache
    let spaces: [NamespaceID]
    var level: SQLiteSecondLevel!
    private let clock: Clock
    var time: DiskTime {
        get { clock.time }
        set { clock.time = newValue }
    }
    var now = Moment(nanoseconds: 1_000_000_000_000)
    var warnings: [String] = []

    init(
        _ place: Place? = nil, memory: Int = 8 << 20, disk: Int = 64 << 20, warm: Int = 0, names: [String] = ["memo", "data"],
        time: DiskTime = DiskTime(wall: 1_800_000_000_000, uptime: 5_000_000, machineRun: "a")
    ) throws {
        let place = try place ?? Place()
        self.place = place
        let clock = Clock(time)
        self.clock = clock
        let cache = Cache(limitBytes: memory, seed: 7, at: now)
        self.cache = cache
        spaces = try names.map { name in
            var settings = NamespaceSettings(name: name)
            settings.spillWeightMin = 0
            return try cache.addNamespace(settings)
        }
        level = SQLiteSecondLevel(
            path: place.file, limitBytes: disk, warmBytes: warm, seed: 42, nameOf: { cache.settings(of: $0).name },
            clock: { clock.time }, post: { [loop] in loop.post($0) }, warn: { [unowned self] in warnings.append($0) })
        cache.secondLevel = level
        spaces.forEach(level.use)
    }

    deinit { level.stop() }

    func pass(_ milliseconds: UInt64) {
        now = now + .milliseconds(milliseconds)
        time.wall += milliseconds
        time.uptime += milliseconds
        while cache.advance(to: now) {}
    }

    func set(_ key: String, _ value: String, _ policy: StorePolicy = StorePolicy(), tags: [String] = [], in space: Int = 0) {
        let copies = tags.map { Array($0.utf8) }
        let views = copies.map { tag in
            let view = UnsafeMutableRawBufferPointer.allocate(byteCount: tag.count, alignment: 1)
            view.copyBytes(from: tag)
            return view
        }
        defer { views.forEach { $0.deallocate() } }
        let value = Array(value.utf8)
        bytes(key) { key in
            value.withUnsafeBytes {
                _ = cache.set(key, $0, in: spaces[space], policy: policy, tags: views.map { UnsafeRawBufferPointer($0) }, at: now)
            }
        }
    }

    /// Writes what the cache offers, and waits until it is on disk; false when it is not.
    @discardableResult
    func flush() throws -> Bool {
        var result: Bool?
        level.put(cache.takeSpills(.max, at: now)) { result = $0 }
        try loop.run { result != nil }
        return result == true
    }

    /// Waits until all orders have landed and nothing is left to sweep.
    func settle() throws {
        try loop.run {
            level.isComplete && level.sent == nil && level.waiting.isEmpty && level.unsentPurges.isEmpty && level.unsentNamespaces.isEmpty
                && !level.isSweepOwed
        }
    }

    /// What it would leave if it were killed between two transactions: the writer copies the files itself, as they change under any other.
    func killed() throws -> Place {
        let copies = Mutex<[Result<Place, any Error>]>([])
        level.threads.write { [place, loop] _ in
            copies.withLock { $0.append(Result { try place.copy() }) }
            loop.post {}
        }
        try loop.run { copies.withLock { !$0.isEmpty } }
        return try copies.withLock { try $0[0].get() }
    }

    func found(_ keys: [String], in space: Int = 0) throws -> [SecondLevelValue?] {
        var result: [SecondLevelValue?]?
        level.get(keys.map { Array($0.utf8) }, in: spaces[space]) { result = $0 }
        try loop.run { result != nil }
        return result ?? []
    }

    /// The value in the second level.
    func below(_ key: String, in space: Int = 0) throws -> String? {
        try found([key], in: space)[0].map { String(decoding: $0.value, as: UTF8.self) }
    }

    func mayHold(_ key: String, in space: Int = 0) -> Bool { bytes(key) { level.mayHold($0, in: spaces[space]) } }

    func purge(_ key: String) { bytes(key) { _ = cache.purge(key: $0, in: spaces[0], soft: false, at: now) } }
    func purge(tag: String) { bytes(tag) { cache.purge(tag: $0, soft: false, at: now) } }
    func purge(prefix: String) { bytes(prefix) { cache.purge(prefix: $0, in: spaces[0], soft: false, at: now) } }
}

func bytes<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    var text = text
    return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
}

extension StorePolicy {
    static func ttl(_ milliseconds: UInt64, weight: Float = 1) -> StorePolicy {
        var policy = StorePolicy(.ttl(.milliseconds(milliseconds)))
        policy.weight = weight
        return policy
    }
}
