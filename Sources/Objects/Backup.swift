internal import Dispatch
internal import Foundation
internal import Glibc
internal import Synchronization

/// A copy of a running store on its way out: one tar archive (POSIX.1-1988 "ustar") of `meta.sqlite` and the files of bodies, as they were
/// together at one moment.
///
///     open ─▶ next … next ─▶ empty: the end
///
/// Sealed files are read where they lie, pinned; they never change. The rest was copied aside when the backup was opened.
///
/// Thread rule: one call at a time, any thread.
package final class Backup: Sendable {
    fileprivate struct File: Sendable {
        let name: String
        let path: String
        let size: Int64
        let pin: SegmentPin?
    }

    private struct Place {
        var file = 0
        /// In the file's header, content and padding together.
        var at: Int64 = 0
        var descriptor: CInt = -1
    }

    private static let block: Int64 = 512
    private static let pieceBytes = 256 * 1024

    private let files: [File]
    /// Goes with the backup.
    private let scratch: String
    private let time: Int64
    private let queue = DispatchQueue(label: "hearth.objects.backup")
    private let place = Mutex(Place())

    fileprivate init(files: [File], scratch: String, time: Int64) {
        self.files = files
        self.scratch = scratch
        self.time = time
    }

    deinit {
        place.withLock { if $0.descriptor >= 0 { close($0.descriptor) } }
        try? FileManager.default.removeItem(atPath: scratch)
    }

    /// Of the whole archive.
    package var byteCount: Int64 { files.reduce(2 * Self.block) { $0 + Self.block + Self.padded($1.size) } }
    package var fileCount: Int { files.count }

    /// The next bytes; empty at the end. `storage`: the archive must break off.
    package func next(done: @escaping ObjectStore.Done<[UInt8]>) {
        queue.async { [self] in
            done(Result { try place.withLock { try piece(&$0) } }.mapError { $0 as? ObjectsError ?? .storage("\($0)") })
        }
    }

    private func piece(_ place: inout Place) throws -> [UInt8] {
        guard place.file < files.count else {
            defer { place.at = 1 }
            return place.at == 0 ? [UInt8](repeating: 0, count: Int(2 * Self.block)) : []
        }
        let file = files[place.file]
        if place.at == 0 {
            place.descriptor = Glibc.open(file.path, O_RDONLY | O_CLOEXEC)
            guard place.descriptor >= 0 else { throw ObjectsError.storage("\(file.path) cannot be read: \(String(cString: strerror(errno)))") }
            place.at = Self.block
            return Self.header(file.name, file.size, time)
        }
        let done = place.at - Self.block
        var bytes = [UInt8](repeating: 0, count: Int(min(Int64(Self.pieceBytes), file.size - done)))
        guard bytes.isEmpty || pread(place.descriptor, &bytes, bytes.count, off_t(done)) == bytes.count else {
            throw ObjectsError.storage("\(file.path) cannot be read to its end")
        }
        place.at += Int64(bytes.count)
        if done + Int64(bytes.count) == file.size {
            bytes += [UInt8](repeating: 0, count: Int(Self.padded(file.size) - file.size))
            close(place.descriptor)
            (place.file, place.at, place.descriptor) = (place.file + 1, 0, -1)
            // An empty file has nothing behind its header, and empty is the end.
            if bytes.isEmpty { return try piece(&place) }
        }
        return bytes
    }

    private static func padded(_ size: Int64) -> Int64 { (size + block - 1) / block * block }

    /// IEEE Std 1003.1-1988, 10.1.1; sizes from 8 GiB on in base 256, as GNU tar, BSD tar and Python write and read them.
    static func header(_ name: String, _ size: Int64, _ milliseconds: Int64) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: Int(Self.block))
        func put(_ text: String, at offset: Int) { for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte } }
        func octal(_ value: Int64, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        put(String(name.prefix(99)), at: 0)
        put(octal(0o600, 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        if size < 1 << 33 {
            put(octal(size, 11), at: 124)
        } else {
            block[124] = 0x80
            for index in 0..<8 { block[128 + index] = UInt8(truncatingIfNeeded: size >> Int64(8 * (7 - index))) }
        }
        put(octal(milliseconds / 1000, 11), at: 136)
        put("        0", at: 148)
        put("ustar", at: 257)
        put("00", at: 263)
        put(octal(block.reduce(0) { $0 + Int64($1) }, 6), at: 148)
        block[154] = 0
        return block
    }
}

extension ObjectStore {
    private static let scratchPrefix = "backup-"
    private static let copiedBytesMax: Int64 = 64 << 20

    /// Opens a backup of how the store is now. Writers are held back only while what is still being written to is copied aside.
    package func backup(done: @escaping Done<Backup>) {
        inBackground(done) { [self] in
            // Sealed files need no copy; a small one is copied sooner than a new file is begun.
            for writer in writers {
                if let id = writer.activeID, (segments[id]?.numbers.stored ?? 0) >= Self.copiedBytesMax { try writer.rollNow() }
            }
            meta.queue.sync {}
            let now = options.clock()
            let scratch = "\(options.directory)/\(Self.scratchPrefix)\(backups.add(1, ordering: .relaxed).newValue)"
            do {
                try FileManager.default.createDirectory(
                    atPath: scratch, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            } catch { throw ObjectsError.storage("\(scratch) cannot be made: \(error.localizedDescription)") }
            do {
                return Backup(files: try gather(in: scratch), scratch: scratch, time: now)
            } catch {
                try? FileManager.default.removeItem(atPath: scratch)
                throw error
            }
        }
    }

    /// Metadata first: every row that it names is on disk already, and rows never change. Nothing is compacted meanwhile, for that is the
    /// care queue's work too; what is compacted later stays as long as it is pinned.
    private func gather(in scratch: String) throws -> [Backup.File] {
        let meta = scratch + "/meta.sqlite"
        let source = try Connection(path: options.directory + "/meta.sqlite", readonly: true)
        do {
            defer { source.close() }
            try source.copy(to: meta)
        }
        let copy = try Connection(path: meta, readonly: true)
        defer { copy.close() }
        let ids = try copy.rows("SELECT id FROM segments") { $0.int(0) }
        return try [Backup.File(name: "meta.sqlite", path: meta, size: fileSize(meta), pin: nil)]
            + ids.compactMap { id -> Backup.File? in
                guard let segment = segments[id] else { throw ObjectsError.damaged("\(segments.path(id, .hot)) is missing") }
                // What lies in the archive stays there.
                if segment.numbers.isAway { return nil }
                let pin = SegmentPin(segment, .reading)
                let name = (segment.path as NSString).lastPathComponent
                if segment.numbers.isSealed { return Backup.File(name: name, path: segment.path, size: fileSize(segment.path), pin: pin) }
                let aside = "\(scratch)/\(name)"
                try segment.copy(to: aside)
                return Backup.File(name: name, path: aside, size: fileSize(aside), pin: nil)
            }
    }

    /// What a backup left behind that a kill ended.
    static func removeScratch(_ directory: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where name.hasPrefix(scratchPrefix) {
            try? FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
    }
}
