#if canImport(Glibc)
internal import Glibc
#endif

/// Keeps a second process out of a directory for as long as it lives.
package final class FileLock: Sendable {
    package enum Refusal: Error {
        /// The lock file cannot be made or opened; why, in the system's words.
        case unwritable(String)
        /// Another process, or another part of this one, holds it.
        case held
    }

    private let descriptor: CInt

    package init(path: String) throws(Refusal) {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .unwritable(String(cString: strerror(errno))) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            close(file)
            throw .held
        }
        descriptor = file
    }

    deinit { close(descriptor) }
}
