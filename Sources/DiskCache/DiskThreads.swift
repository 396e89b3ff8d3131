internal import Dispatch

/// The two threads behind the second level, and the files that each of them has open.
///
/// Thread rule: `write` runs on the writer's queue, `read` on the reader's; both may be called from anywhere. The file is opened and
/// closed on the writer's queue only; a reader that is closed opens the file that is there at its next turn.
final class DiskThreads: @unchecked Sendable {
    private let path: String
    private let limitBytes: Int
    private let writer = DispatchQueue(label: "hearth.cache.writer", qos: .utility)
    private let reader = DispatchQueue(label: "hearth.cache.reader")
    private var file: CacheFile?
    private var open: CacheReader?

    init(path: String, limitBytes: Int) {
        self.path = path
        self.limitBytes = limitBytes
    }

    // MARK: The writer's

    /// Opens the file, or makes one.
    func start(seed: UInt64) throws(DiskError) -> FileContents {
        try onWriter { () throws(DiskError) in
            let file = try CacheFile(path: self.path, limitBytes: self.limitBytes, seed: seed)
            self.file = file
            return try file.contents()
        }
    }

    private func onWriter<T>(_ body: @escaping () throws(DiskError) -> T) throws(DiskError) -> T {
        var result: Result<T, DiskError>?
        writer.sync { result = Result(catching: body) }
        guard let result else { preconditionFailure("a queue that returns without having run its block") }
        return try result.get()
    }

    func write(_ body: @escaping @Sendable (CacheFile?) -> Void) { writer.async { body(self.file) } }

    /// Closes the file and takes it away, or puts it aside; then opens a new one.
    func replace(aside wall: UInt64?, seed: UInt64, then: @escaping @Sendable (String?, Result<FileContents, DiskError>) -> Void) {
        writer.async {
            let aside = self.takeAway(aside: wall)
            then(aside, Result { () throws(DiskError) in try self.reopen(seed) })
        }
    }

    /// As `replace`, and leaves it at that.
    func remove() { writer.async { _ = self.takeAway(aside: nil) } }

    private func takeAway(aside wall: UInt64?) -> String? {
        reader.sync {
            self.open?.close()
            self.open = nil
        }
        file?.close()
        file = nil
        if let wall { return CacheFile.setAside(path, at: wall) }
        CacheFile.remove(path)
        return nil
    }

    private func reopen(_ seed: UInt64) throws(DiskError) -> FileContents {
        let file = try CacheFile(path: path, limitBytes: limitBytes, seed: seed)
        self.file = file
        return try file.contents()
    }

    /// Waits for what was ordered, then closes.
    func stop(last: Batch?) {
        writer.sync {
            if let last { _ = try? file?.commit(last) }
            reader.sync {
                self.open?.close()
                self.open = nil
            }
            file?.close()
            file = nil
        }
    }

    // MARK: The reader's

    func read(_ body: @escaping @Sendable (Result<CacheReader, DiskError>) -> Void) {
        reader.async {
            body(Result { () throws(DiskError) in
                if let open = self.open { return open }
                let opened = try CacheReader(path: self.path)
                self.open = opened
                return opened
            })
        }
    }
}
