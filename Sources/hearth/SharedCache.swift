import Base
import Cache
import DiskCache
import Foundation
import UV

/// The node's one cache with its second level, and the clock that moves them.
///
/// Who stores something need not think of the timer: before the loop sleeps, it is set to when the cache has something to do next.
///
/// Thread rule: the loop's thread.
final class SharedCache {
    /// Where the second level lives, and what it may take.
    struct Disk {
        let path: String
        let bytes: Int
    }

    let cache: Cache
    private let disk: SQLiteSecondLevel?
    private var writeBehind = WriteBehind()
    private let timer: UV.Timer
    private let turn: Prepare
    /// For when the timer is set; nil: it is not.
    private var wake: Moment?
    private var hasMore = false

    /// - Parameter disk: nil: nothing survives a restart.
    init(loop: Loop, limitBytes: Int, disk: Disk?, seed: UInt64) throws {
        let cache = Cache(limitBytes: limitBytes, seed: seed, at: loop.now)
        self.cache = cache
        self.disk = disk.map { disk in
            let machineRun = Self.machineRun()
            return SQLiteSecondLevel(
                path: disk.path, limitBytes: disk.bytes, warmBytes: limitBytes / Limits.diskWarmShare, seed: seed,
                nameOf: { cache.settings(of: $0).name }, clock: { Self.time(machineRun) },
                post: { [remote = loop.remote] in remote.post($0) },
                warn: { FileHandle.standardError.write(Data("hearth: \($0)\n".utf8)) })
        }
        cache.secondLevel = self.disk
        timer = try UV.Timer(loop: loop)
        turn = try Prepare(loop: loop)
        timer.unreference()
        turn.unreference()
        turn.onTurn = { [unowned self] in plan() }
        turn.start()
    }

    /// All namespaces are there: what the second level has of them may come back, the most worthwhile at once.
    func warm() {
        guard let disk else { return }
        for namespace in cache.namespaces where cache.settings(of: namespace).spillWeightMin != nil { disk.use(namespace) }
        disk.warm { [unowned self] entries in
            let now = Loop.now
            for entry in entries { entry.key.withUnsafeBytes { _ = cache.takeUp($0, entry.value, in: entry.namespace, at: now) } }
            return cache.usedBytes < cache.limitBytes / Limits.diskWarmShare
        }
    }

    /// Another limit; when it is lower, what is worth least leaves a little at a time.
    func resize(limitBytes: Int) throws {
        try cache.resize(limitBytes: limitBytes)
        hasMore = true
    }

    /// Writes what waits to disk. For the end of the server: waits.
    func stop() {
        guard let disk else { return }
        disk.put(cache.takeSpills(.max, at: Loop.now), done: nil)
        disk.stop()
    }

    private func plan() {
        // each turn of the loop comes by here: nothing is allocated
        var due = hasMore ? .zero : cache.nextWake
        if let write = writeDue() { due = min(due ?? write, write) }
        guard due != wake else { return }
        wake = due
        guard let due else { return timer.stop() }
        timer.start(after: due.since(Loop.now)) { [unowned self] in
            wake = nil
            let now = Loop.now
            hasMore = cache.advance(to: now)
            writeSome(at: now)
        }
    }

    // MARK: The second level

    private func writeDue() -> Moment? {
        guard let disk, !disk.isBehind, cache.spillsWaiting > 0 else { return nil }
        return writeBehind.due(waiting: cache.spillsWaiting, at: Loop.now)
    }

    private func writeSome(at now: Moment) {
        guard let disk, let due = writeDue(), due <= now else { return }
        disk.put(cache.takeSpills(Limits.diskWriteCount, at: now), done: nil)
        writeBehind.sent()
    }

    private static func time(_ machineRun: String) -> DiskTime {
        var sinceStart = timespec()
        clock_gettime(CLOCK_BOOTTIME, &sinceStart)
        return DiskTime(
            wall: Loop.epochMilliseconds, uptime: UInt64(sinceStart.tv_sec) * 1000 + UInt64(sinceStart.tv_nsec) / 1_000_000,
            machineRun: machineRun)
    }

    /// The kernel's name for this run of the machine; a container without it is taken for a new one at each start.
    private static func machineRun() -> String {
        (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
            ?? UUID().uuidString
    }
}
