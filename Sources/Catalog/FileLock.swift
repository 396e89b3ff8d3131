internal import Glibc

/// Keeps a second Hearth out of a data directory, for as long as it lives.
final class FileLock: Sendable {
    private let descriptor: CInt

    init(path: String) throws(CatalogError) {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw .storage("the data directory cannot be written (\(path): \(String(cString: strerror(errno))))")
        }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw .storage("another Hearth uses this data directory (\(path) is locked): stop it, or choose another with --data")
        }
        descriptor = file
    }

    deinit { close(descriptor) }
}
