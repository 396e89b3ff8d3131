internal import Base
internal import Crypto
internal import Foundation

/// Remembers the upload of a file that has not been completed, so that the next try goes on with it. One small file each below `directory`,
/// named by what is sent where; locked while its upload runs, so that two do not write parts of one upload.
///
/// Thread rule: one thread.
package final class UploadJournal {
    struct Entry: Codable, Equatable {
        var upload: String
        /// Of the file when the upload began: another file is another upload.
        var size: Int64
        var modifiedNanoseconds: Int64
        var partBytes: Int
    }

    private let path: String
    private let lock: FileLock
    private(set) var entry: Entry?

    init(directory: String, client: S3Client, place: S3Place, file: String) throws(ClientError) {
        let name = hex(Digest.sha256("\(client.endpoint)\n\(place)\n\(file)"))
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw .local("the directory of uploads under way \(directory) cannot be made: set XDG_STATE_HOME to one that can be written")
        }
        path = "\(directory)/\(name.prefix(32)).json"
        do throws(FileLock.Refusal) { lock = try FileLock(path: "\(directory)/\(name.prefix(32)).lock") } catch {
            switch error {
            case .held: throw .local("another hearth object put sends \(file) to \(place) already: wait for it")
            case .unwritable(let why):
                throw .local("the directory of uploads under way \(directory) cannot be written (\(why)): set XDG_STATE_HOME to one that can")
            }
        }
        entry = FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode(Entry.self, from: $0) }
    }

    func keep(_ entry: Entry) {
        self.entry = entry
        // Without it the upload succeeds all the same; only a later try would begin anew.
        try? JSONEncoder().encode(entry).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    func forget() {
        entry = nil
        unlink(path)
        unlink(path.replacingOccurrences(of: ".json", with: ".lock"))
    }
}
