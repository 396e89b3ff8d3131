import Base
import Cache
import Foundation
import Synchronization
import Testing

@testable import DiskCache

@Suite struct DiskFaultTests {
    private func damaged(_ change: (Place) throws -> Void) throws -> Rig {
        let rig = try Rig()
        rig.set("k", "v")
        try rig.flush()
        rig.level.stop()
        let place = try rig.killed()
        try change(place)
        let next = try Rig(place, time: rig.time)
        try next.loop.run { !next.warnings.isEmpty }
        return next
    }

    private func overwrite(_ file: String, _ range: Range<UInt64>) throws {
        let handle = try #require(FileHandle(forWritingAtPath: file))
        try handle.seek(toOffset: range.lowerBound)
        try handle.write(contentsOf: Data(repeating: 0x5A, count: range.count))
        try handle.close()
    }

    @Test func aDamagedOrForeignFileIsSetAsideWithOneMessageAndTheCacheStartsCold() throws {
        let cases: [(String, (Place) throws -> Void)] = [
            ("no database", { try Data("not a database at all".utf8).write(to: URL(fileURLWithPath: $0.file)) }),
            ("a damaged head", { try self.overwrite($0.file, 0..<64) }),
            ("damaged tables", { try self.overwrite($0.file, 100..<16_384) }),
            ("damaged entries", { try self.overwrite($0.file, 16_384..<UInt64(FileManager.default.contents(atPath: $0.file)?.count ?? 0)) }),
            ("another program's", {
                CacheFile.remove($0.file)
                let file = try CacheFile(path: $0.file, limitBytes: 1 << 20, seed: 1)
                try file.within { try Statement.execute(file.connection, "PRAGMA application_id = 77") }
                file.close()
            }),
            ("another version's", {
                let file = try CacheFile(path: $0.file, limitBytes: 1 << 20, seed: 1)
                try file.within { try Statement.execute(file.connection, "PRAGMA user_version = 99") }
                file.close()
            }),
        ]
        for (name, change) in cases {
            let rig = try damaged(change)
            #expect(try rig.below("k") == nil, "\(name)")
            rig.set("new", "v")
            // it may be opening still
            try rig.loop.run { rig.level.isOpen }
            rig.spaces.forEach(rig.level.use)
            #expect(try rig.flush() && rig.below("new") == "v", "\(name)")
            let names = rig.place.names
            #expect(rig.warnings.count == 1 && names.filter { $0.hasPrefix("cache.sqlite.damaged-20") }.count == 1, "\(name): \(rig.warnings) \(names)")
            #expect(rig.warnings[0].contains("may be deleted"))
        }
    }

    @Test func aValueWhoseBytesHaveChangedIsNotFound() throws {
        let rig = try Rig()
        rig.set("k", "value one")
        rig.set("l", "value two")
        try rig.flush()
        let change = "UPDATE contents SET value = CAST('value 0ne' AS BLOB) WHERE key = CAST('k' AS BLOB)"
        let isChanged = Atomic(false)
        rig.level.threads.write { [loop = rig.loop] file in
            if let file { try? file.within { try Statement.execute(file.connection, change) } }
            loop.post { isChanged.store(true, ordering: .relaxed) }
        }
        try rig.loop.run { isChanged.load(ordering: .relaxed) }
        #expect(try rig.below("k") == nil)
        #expect(try rig.below("l") == "value two" && rig.level.counters.corrupt == 1)
        try rig.settle()
        #expect(!rig.mayHold("k"), "the corrupt row is removed")
    }

    /// SQLITE_FULL, as a full disk gives it.
    private func fill(_ rig: Rig, _ isFull: Bool) {
        rig.level.threads.write { file in
            if let file { try? file.within { try Statement.execute(file.connection, "PRAGMA max_page_count = \(isFull ? 1 : 1_000_000)") } }
        }
    }

    @Test func aFullDiskPausesWritingAndReadsGoOn() throws {
        let rig = try Rig()
        rig.set("before", "v")
        try rig.flush()
        try rig.settle()
        fill(rig, true)
        let big = String(repeating: "x", count: 100_000)
        for i in 0..<3 {
            rig.set("full \(i)", big)
            #expect(try !rig.flush())
        }
        #expect(rig.warnings.count == 1 && rig.warnings[0].contains("make room on the disk") && rig.level.counters.isPaused)
        #expect(try rig.below("before") == "v" && rig.below("full 0") == nil)
        rig.pass(29_000)
        fill(rig, false)
        rig.set("early", "v")
        #expect(try !rig.flush())
        rig.pass(1_000)
        rig.set("after", "v")
        #expect(try rig.flush() && rig.below("after") == "v" && !rig.level.counters.isPaused)
        #expect(rig.level.counters.lost == 4)
    }

    @Test func aReplacedValueDoesNotComeBackWhenTheDiskIsFull() throws {
        let rig = try Rig()
        rig.set("k", "old")
        rig.set("other", "v")
        try rig.flush()
        try rig.settle()
        fill(rig, true)
        rig.set("k", String(repeating: "new", count: 100_000))
        #expect(try !rig.flush())
        #expect(try rig.below("k") == nil)
        rig.set("full", String(repeating: "x", count: 100_000))
        try rig.flush()
        #expect(try rig.below("k") == nil)
        let next = try Rig(rig.killed(), time: rig.time)
        #expect(try next.below("k") == nil, "nor after a kill")
    }

    @Test func withoutADirectoryItGoesOnInMemoryUntilThereIsOne() throws {
        let place = try Place()
        try FileManager.default.removeItem(atPath: place.path)
        let rig = try Rig(place)
        #expect(rig.warnings.count == 1)
        rig.set("k", "v")
        #expect(try !rig.flush() && rig.below("k") == nil && !rig.mayHold("k"))
        try FileManager.default.createDirectory(atPath: place.path, withIntermediateDirectories: true)
        rig.pass(31_000)
        rig.set("l", "v")
        _ = try rig.flush()
        try rig.loop.run { rig.level.isOpen }
        rig.set("m", "v")
        #expect(try rig.flush() && rig.below("m") == "v" && rig.warnings.count == 1)
    }
}
