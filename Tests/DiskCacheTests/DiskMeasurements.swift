import Base
import Cache
import Foundation
import Testing

@testable import DiskCache

/// What the second level costs; with HEARTH_BENCH=1, in a release build:
/// `HEARTH_BENCH=1 swift test -c release -Xswiftc -enable-testing --no-parallel --filter DiskMeasurements`
@Suite(.enabled(if: Run.isBench), .serialized) struct DiskMeasurements {
    /// CPU time of the whole process: all threads.
    private func cpu(_ body: () throws -> Void) rethrows -> Double {
        func now() -> Double {
            var usage = rusage()
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
            return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        }
        let before = now()
        try body()
        return now() - before
    }

    @Test func putsGetsAndTheFilter() throws {
        let count = 20_000
        let rig = try Rig(memory: 64 << 20)
        let value = String(repeating: "v", count: 1024)
        for i in 0..<count { rig.set("key \(i)", value, .ttl(3_600_000)) }
        let put = try cpu {
            while rig.cache.spillsWaiting > 0 {
                rig.level.put(rig.cache.takeSpills(Limits.diskWriteCount, at: rig.now), done: nil)
                try rig.loop.run { !rig.level.isBehind }
            }
            try rig.settle()
        }
        for batch in [1, 16, 256] {
            let get = try cpu {
                for start in stride(from: 0, to: 4096, by: batch) {
                    let found = try rig.found((start..<start + batch).map { "key \($0 * 4)" })
                    #expect(found.allSatisfy { $0 != nil })
                }
            }
            print("get of 1 KiB, \(batch) at a time: \(get / 4096 * 1e6) µs CPU")
        }
        let absent = (0..<100_000).map { Array("absent \($0)".utf8) }
        let filter = cpu { for key in absent { _ = key.withUnsafeBytes { rig.level.mayHold($0, in: rig.spaces[0]) } } }
        let inventory = try cpu {
            let next = try Rig(rig.killed(), time: rig.time)
            try next.settle()
        }
        print("put of 1 KiB, \(Limits.diskWriteCount) at a time: \(put / Double(count) * 1e6) µs CPU")
        print("surely not there: \(filter / 100_000 * 1e9) ns, \(rig.level.members.bytes / count) bytes an entry")
        print("opening with \(count) entries: \(inventory * 1e3) ms CPU, copy of the file included")
    }
}
