internal import Base
internal import Glibc

extension ZipArchive {
    /// Makes `target` of directories that were unpacked, later ones over earlier ones: files are shared (hard links), so nothing may ever
    /// write to them. Every directory on the way is made here and is no link, so nothing is written through one.
    package static func overlay(_ sources: [String], in target: String) throws(ArchiveError) {
        for source in sources { try overlay(source, over: target) }
    }

    private static func overlay(_ source: String, over target: String) throws(ArchiveError) {
        if kind(of: target) != .directory {
            unlink(target)
            guard mkdir(target, 0o755) == 0 else { throw failure("make", target) }
        }
        for name in try names(in: source) {
            let (from, to) = ("\(source)/\(name)", "\(target)/\(name)")
            if kind(of: from) == .directory {
                try overlay(from, over: to)
                continue
            }
            if kind(of: to) == .directory { removeTree(to) } else { unlink(to) }
            // A link is linked as such, not what it points to.
            guard linkat(AT_FDCWD, from, AT_FDCWD, to, 0) == 0 else { throw failure("link", to) }
        }
    }

    /// nil: nothing is there.
    private static func kind(of path: String) -> FileKind? {
        var info = stat()
        return lstat(path, &info) == 0 ? FileKind(info.st_mode) : nil
    }

    private static func failure(_ what: String, _ path: String) -> ArchiveError {
        .cannotWrite("cannot \(what) \(path): \(String(cString: strerror(errno)))")
    }
}
