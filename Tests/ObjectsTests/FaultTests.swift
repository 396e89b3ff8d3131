import Base
import Dispatch
import Foundation
import Objects
import Testing

/// Full disks, damaged files, ends at every instant, copies of a running store.
@Suite final class FaultTests {
    private let directory: Directory
    private var path: String { directory.path + "/store" }

    init() throws { directory = try Directory() }

    /// The files are copied right after each acknowledged call, with the store still open, and the copy must hold all of them and be whole.
    @Test func acknowledgedCallsAreInACopyOfTheFilesAtAnyMoment() throws {
        let opened = try Opened(path) { $0.segmentBytes = 1 << 20 }
        defer { opened.store.close() }
        // A copy tells of the kernel's memory, this of the disk.
        #expect(opened.store.isSynced)
        let bucket = try opened.bucket("first")
        var dice = Random(seed: 11)
        var held: [String: [UInt8]] = [:]
        for step in 0..<24 {
            let key = "k\(step % 7)"
            switch step % 6 {
            case 0, 1: held[key] = random(step % 2 == 0 ? 3000 : 500_000, &dice)
            case 2: held[key] = nil
            case 3:
                let name = UploadName(
                    bucket: bucket, key: ObjectKey(unchecked: key),
                    id: try wait { opened.store.createUpload(UploadRequest(bucket: bucket, key: ObjectKey(unchecked: key)), done: $0) }
                        .id)
                let body = random(300_000, &dice)
                let etag = try opened.fill(opened.store.putPart(name, number: 1, body: BodyChecks()), body).etag
                let copy = try Opened(directory.copy(to: "part-\(step)"))
                #expect(try wait { copy.store.parts(ofUpload: name, done: $0) }.1.parts.map(\.etag) == [etag], "step \(step)")
                copy.store.close()
                _ = try wait {
                    opened.store.complete(CompleteRequest(upload: name, parts: [CompletedPart(number: 1, etag: etag)]), done: $0)
                }
                held[key] = body
            case 4: _ = try wait { opened.store.compact(liveFraction: 1, done: $0) }
            default:
                // Rows are on disk, and nothing names them.
                let writer = opened.store.put(PutRequest(bucket: bucket, key: ObjectKey(unchecked: "broken")))
                let room = DispatchSemaphore(value: 0)
                let body = random(9 << 20, &dice)
                if body.withUnsafeBytes({ !writer.write($0) { room.signal() } }) { room.wait() }
                writer.abort()
            }
            if step % 6 < 2, let body = held[key] { try opened.put(bucket, key, body) }
            if step % 6 == 2 { try opened.delete(bucket, key) }
            let copy = try Opened(directory.copy(to: "copy-\(step)"))
            #expect(try copy.list(ListRequest(bucket: bucket)).objects.map(\.key.description) == held.keys.sorted(), "step \(step)")
            for (key, body) in held { #expect(try copy.get(bucket, key) == body, "step \(step), \(key)") }
            #expect(try wait { copy.store.check(done: $0) }.faults == [], "step \(step)")
            copy.store.close()
            try FileManager.default.removeItem(atPath: copy.path)
        }
    }

    @Test func aFullDiskRefusesAndHarmsNothing() throws {
        let opened = try Opened(path) { $0.fileBytesMax = 2 << 20 }
        defer { opened.store.close() }
        let bucket = try opened.bucket("first")
        var dice = Random(seed: 12)
        var held: [String: [UInt8]] = [:]
        for (size, prefix) in [(400_000, "large"), (9_000, "small")] {
            var refused: ObjectsError?
            for n in 0..<400 where refused == nil {
                let body = random(size, &dice)
                refused = refusal { try opened.put(bucket, "\(prefix) \(n)", body) }
                if refused == nil { held["\(prefix) \(n)"] = body }
            }
            #expect(refused == .insufficientStorage, "\(prefix)")
        }
        #expect(held.count > 50)
        for (key, body) in held { #expect(try opened.get(bucket, key) == body) }
        #expect(try wait { opened.store.check(done: $0) }.faults == [])
        // What is deleted makes room for other small ones.
        for n in 0..<20 { try opened.delete(bucket, "small \(n)") }
        try opened.put(bucket, "small 0", [1])
        #expect(try opened.list(ListRequest(bucket: bucket)).objects.count == held.count - 19)
    }

    @Test func damageIsNamedAndTheRestServes() throws {
        var opened = try Opened(path)
        let bucket = try opened.bucket("first")
        var dice = Random(seed: 13)
        let (inline, damaged, whole) = (random(100, &dice), random(300_000, &dice), random(300_000, &dice))
        try opened.put(bucket, "inline", inline)
        try opened.put(bucket, "damaged", damaged)
        try opened.put(bucket, "whole", whole)
        opened.store.close()
        // One byte in the middle of the first chunk.
        let file = try #require(
            try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix("hot-") && $0.hasSuffix(".sqlite") }.first {
                name in
                try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")).range(of: Data(damaged[100_000..<100_100])) != nil
            })
        var bytes = try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(file)"))
        let at = try #require(bytes.range(of: Data(damaged[100_000..<100_100]))).lowerBound
        bytes[at] ^= 1
        try bytes.write(to: URL(fileURLWithPath: "\(path)/\(file)"))
        opened = try Opened(path)
        if case .damaged(let sentence)? = refusal({ try opened.get(bucket, "damaged") }) {
            #expect(sentence.contains(file), "\(sentence)")
        } else {
            Issue.record("damage was not seen")
        }
        #expect(
            try opened.get(bucket, "damaged") { $0.range = .from(262_144, through: nil) } == Array(damaged[262_144...]),
            "whole chunks serve")
        #expect(try opened.get(bucket, "whole") == whole && opened.get(bucket, "inline") == inline)
        let report = try wait { opened.store.check(done: $0) }
        #expect(report.faultCount == 1 && report.faults.first?.contains(file) ?? false, "\(report.faults)")
        opened.store.close()
        // A file that is none any more.
        try Data(repeating: 7, count: 300_000).write(to: URL(fileURLWithPath: "\(path)/\(file)"))
        opened = try Opened(path)
        if case .damaged(let sentence)? = refusal({ try opened.get(bucket, "damaged") }) {
            #expect(sentence.contains(file))
        } else {
            Issue.record("a ruined file was read")
        }
        try opened.put(bucket, "new", whole)
        #expect(try opened.get(bucket, "inline") == inline && opened.get(bucket, "new") == whole)
        opened.store.close()
        try Data(repeating: 7, count: 9000).write(to: URL(fileURLWithPath: path + "/meta.sqlite"))
        if case .damaged(let sentence)? = refusal({ try Opened(path) }) {
            #expect(sentence.contains("meta.sqlite"))
        } else {
            Issue.record("a ruined meta.sqlite was opened")
        }
        #expect(refusal { try ObjectStore(.init(directory: "/nowhere/at/all", seed: 1) { 0 }) }?.code == "InternalError")
    }

    @Test func aBackupOfARunningStoreIsWhole() throws {
        let opened = try Opened(path) { $0.segmentBytes = 1 << 20 }
        defer { opened.store.close() }
        let bucket = try opened.bucket("first")
        if case .storage(let sentence)? = refusal({ try Opened(path) }) {
            #expect(sentence.contains("another Hearth"))
        } else {
            Issue.record("a second store opened the same directory")
        }
        var dice = Random(seed: 14)
        let before = random(700_000, &dice)
        for n in 0..<8 { try opened.put(bucket, "before \(n)", before) }
        for n in 0..<4 { try opened.delete(bucket, "before \(n)") }
        let backup = try wait { opened.store.backup(done: $0) }
        for n in 0..<10 { try opened.put(bucket, "during \(n)", before) }
        // Files that the archive has yet to give are rewritten and removed meanwhile.
        for n in 4..<8 { try opened.put(bucket, "before \(n)", [1]) }
        #expect(try wait { opened.store.compact(liveFraction: 1, done: $0) }.filesRemoved > 0)
        var archive: [UInt8] = []
        while case let piece = try wait({ backup.next(done: $0) }), !piece.isEmpty { archive += piece }
        #expect(Int64(archive.count) == backup.byteCount && archive.count % 512 == 0)
        let target = directory.path + "/backup"
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        try Data(archive).write(to: URL(filePath: directory.path + "/backup.tar"))
        let tar = try Process.run(URL(filePath: "/bin/tar"), arguments: ["-xf", directory.path + "/backup.tar", "-C", target])
        tar.waitUntilExit()
        #expect(tar.terminationStatus == 0)
        let copy = try Opened(target)
        defer { copy.store.close() }
        for n in 4..<8 { #expect(try copy.get(bucket, "before \(n)") == before) }
        for object in try copy.list(ListRequest(bucket: bucket)).objects {
            #expect(try copy.get(bucket, object.key.description) == before)
        }
        #expect(try copy.list(ListRequest(bucket: bucket)).objects.count == 4)
        #expect(try wait { copy.store.check(done: $0) }.faults == [])
        for n in 0..<8 { try opened.delete(bucket, "during \(n)") }
        let report = try wait { opened.store.compact(liveFraction: 0.99, done: $0) }
        #expect(report.filesRemoved > 0 && report.bytesFreed > 4 * 700_000)
        for n in 8..<10 { #expect(try opened.get(bucket, "during \(n)") == before) }
    }
}
