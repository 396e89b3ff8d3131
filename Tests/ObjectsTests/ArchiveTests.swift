import Base
import Foundation
import Objects
import Synchronization
import Testing

/// An archive that is a directory, and that can be out of reach.
private final class Shelf: ArchivePlace {
    let path: String
    let isClosed = Mutex(false)

    init(_ path: String) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    private func reach() throws(ObjectsError) { if isClosed.withLock({ $0 }) { throw ObjectsError.storage("the archive is closed") } }

    private func copy(_ from: String, _ to: String) throws(ObjectsError) {
        try reach()
        do { try FileManager.default.copyItem(atPath: from, toPath: to) } catch { throw ObjectsError.storage("\(error)") }
    }

    func put(_ path: String, as name: String) throws(ObjectsError) { try copy(path, "\(self.path)/\(name)") }
    func get(_ name: String, into path: String) throws(ObjectsError) { try copy("\(self.path)/\(name)", path) }

    func remove(_ name: String) throws(ObjectsError) {
        try reach()
        try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
    }

    func size(of name: String) throws(ObjectsError) -> Int64? {
        try reach()
        return ((try? FileManager.default.attributesOfItem(atPath: "\(path)/\(name)"))?[.size] as? NSNumber)?.int64Value
    }

    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
}

/// The archive tier: files go away, bodies come back when a restore asks for them.
@Suite final class ArchiveTests {
    private let directory: Directory
    private let shelf: Shelf
    private let clock = Clock()
    private let day: Int64 = 100_000

    init() throws {
        directory = try Directory()
        shelf = try Shelf(directory.path + "/shelf")
    }

    private func open() throws -> Opened {
        try Opened(directory.path + "/store", clock: clock) { [day, shelf] options in
            options.day = day
            options.archive = shelf
        }
    }

    private func upkeep(_ opened: Opened) throws {
        while try !wait({ opened.store.upkeep(rowsMax: 100, done: $0) }).isRoundComplete {}
    }

    private func head(_ opened: Opened, _ bucket: BucketName, _ key: String) throws -> ObjectVersion {
        try wait { opened.store.head(GetRequest(bucket: bucket, key: ObjectKey(unchecked: key)), done: $0) }.version
    }

    @Test func archivedBodiesGoAwayAndComeBackForAsLongAsARestoreSays() throws {
        var opened = try open()
        let bucket = try opened.bucket("first")
        var dice = Random(seed: 21)
        let (one, two) = (random(600_000, &dice), random(300_000, &dice))
        for (key, body) in [("one", one), ("two", two), ("small", [1, 2, 3])] {
            try opened.put(bucket, key, body) { $0.storageClass = StorageClass("GLACIER") }
        }
        // Shared with a copy that can be read at any time: it stays.
        try opened.put(bucket, "standard", two)
        clock.advance(day)
        shelf.isClosed.withLock { $0 = true }
        for _ in 0..<3 {
            try upkeep(opened)
            clock.advance(day)
        }
        #expect(try head(opened, bucket, "one").tier == .archive && head(opened, bucket, "small").tier == .hot && shelf.names.isEmpty)
        #expect(try wait { opened.store.check(done: $0) }.faults == [], "still here, as the archive cannot be reached")
        shelf.isClosed.withLock { $0 = false }
        try upkeep(opened)
        let away = try wait { opened.store.statistics(done: $0) }
        #expect(shelf.names.count == 1 && away.archive.bytes == 900_000 && away.archive.fileBytes < 300_000 && away.hot.bytes == 300_000)
        #expect(refusal { try opened.get(bucket, "one") } == .invalidObjectState)
        #expect(try opened.get(bucket, "standard") == two)

        // Across a restart, and again and again.
        for turn in 0..<2 {
            opened.store.close()
            opened = try open()
            #expect(try wait { opened.store.check(done: $0) }.faults == [])
            let asked = try wait { opened.store.change(ObjectKey(unchecked: "one"), in: bucket, .restore(days: 2), done: $0) }
            #expect(asked.restoredUntil < 0)
            try upkeep(opened)
            let back = try head(opened, bucket, "one")
            #expect(back.restoredUntil == clock.now + 2 * day && back.tier == .hot, "\(turn): \(back)")
            #expect(try opened.get(bucket, "one") == one && refusal { try opened.get(bucket, "two") } == .invalidObjectState)
            #expect(!FileManager.default.fileExists(atPath: opened.path + "/" + shelf.names[0]), "the file that was fetched is gone again")
            clock.advance(2 * day)
            #expect(refusal { try opened.get(bucket, "one") } == .invalidObjectState)
            for _ in 0..<3 {
                try upkeep(opened)
                clock.advance(day)
            }
            #expect(try head(opened, bucket, "one").tier == .archive)
        }
        // Nothing needs them any more: they go from the archive too.
        for key in ["one", "two"] { try opened.delete(bucket, key) }
        clock.advance(day)
        try upkeep(opened)
        #expect(shelf.names.isEmpty)
        #expect(try wait { opened.store.check(done: $0) }.faults == [])
        opened.store.close()
    }

    @Test func whatIsMissingInTheArchiveIsFoundByCheck() throws {
        let opened = try open()
        let bucket = try opened.bucket("first")
        var dice = Random(seed: 22)
        try opened.put(bucket, "k", random(200_000, &dice)) { $0.storageClass = StorageClass("DEEP_ARCHIVE") }
        for _ in 0..<3 {
            clock.advance(day)
            try upkeep(opened)
        }
        try FileManager.default.removeItem(atPath: shelf.path + "/" + #require(shelf.names.first))
        #expect(try wait { opened.store.check(done: $0) }.faults.first?.contains("is missing in the archive") == true)
        _ = try wait { opened.store.change(ObjectKey(unchecked: "k"), in: bucket, .restore(days: 1), done: $0) }
        clock.advance(day)
        try upkeep(opened)
        #expect(try head(opened, bucket, "k").restoredUntil < 0, "still asked for")
        opened.store.close()
    }
}
