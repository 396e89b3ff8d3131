internal import Base
internal import CArchive
internal import Glibc

/// Zip packages: unpacked as if they came from an enemy.
///
/// Only files, directories and links that stay inside are taken. Directories and files are made first, in a directory
/// that did not exist before, and links last; so nothing is ever written through a link.
package enum ZipArchive {
    /// Unpacks `zip` into `directory`, which must not exist yet. A failure leaves nothing behind.
    package static func unpack(_ zip: UnsafeRawBufferPointer, into directory: String) throws(ArchiveError) {
        guard mkdir(directory, 0o755) == 0 else {
            throw .cannotWrite("cannot make \(directory): \(String(cString: strerror(errno)))")
        }
        do throws(ArchiveError) { try walk(zip, into: directory) } catch {
            removeTree(directory)
            throw error
        }
    }

    /// Judges `zip` as `unpack` would, writing nothing; how many bytes its files have.
    @discardableResult
    package static func check(_ zip: UnsafeRawBufferPointer) throws(ArchiveError) -> Int { try walk(zip, into: nil) }

    @discardableResult
    private static func walk(_ zip: UnsafeRawBufferPointer, into directory: String?) throws(ArchiveError) -> Int {
        guard let reader = archive_read_new() else { throw .notAZip }
        defer { archive_read_free(reader) }
        archive_read_support_format_zip_seekable(reader)
        guard zip.count >= 22, archive_read_open_memory(reader, zip.baseAddress, zip.count) == ARCHIVE_OK else {
            throw .notAZip
        }
        var seen: Set<String> = []
        var total = 0
        var links: [(path: String, target: String)] = []
        var entry: OpaquePointer?
        while true {
            let status = archive_read_next_header(reader, &entry)
            if status == ARCHIVE_EOF { break }
            guard status == ARCHIVE_OK || status == ARCHIVE_WARN, let entry, let name = archive_entry_pathname(entry) else {
                throw .notAZip
            }
            guard seen.count < Limits.zipEntriesMax else { throw .tooManyEntries }
            let path = try checkedPath(String(cString: name))
            guard path.isEmpty || seen.insert(path).inserted else {
                throw .refused(entry: path, why: "is there twice")
            }
            if archive_entry_is_encrypted(entry) != 0 { throw .refused(entry: path, why: "is encrypted") }
            if archive_entry_hardlink(entry) != nil { throw .refused(entry: path, why: "is a hard link") }
            switch FileKind(archive_entry_filetype(entry)) {
            case .directory:
                if let directory, !path.isEmpty { try makeDirectories(directory, path) }
            case .file:
                guard !path.isEmpty else { throw .refused(entry: "an entry without a name", why: "is a file") }
                let isExecutable = archive_entry_perm(entry) & 0o111 != 0
                try copyFile(reader, to: directory, path, isExecutable: isExecutable, total: &total)
            case .link:
                let target = archive_entry_symlink(entry).map { String(cString: $0) } ?? ""
                try checkLink(path, target)
                links.append((path, target))
            case .other: throw .refused(entry: path, why: "is neither a file nor a directory nor a link")
            }
        }
        guard let directory else { return total }
        for link in links {
            try makeParents(directory, link.path)
            guard symlink(link.target, "\(directory)/\(link.path)") == 0 else {
                throw .refused(entry: link.path, why: "is a link where something else is already")
            }
        }
        return total
    }

    /// Is each file of `zip` in `directory`, a regular file of the right size? (It had been unpacked there; a power cut or
    /// a person may have been at it since.) More files than those of `zip` do no harm.
    package static func isIntact(_ zip: UnsafeRawBufferPointer, in directory: String) -> Bool {
        guard let reader = archive_read_new() else { return false }
        defer { archive_read_free(reader) }
        archive_read_support_format_zip_seekable(reader)
        guard archive_read_open_memory(reader, zip.baseAddress, zip.count) == ARCHIVE_OK else { return false }
        var entry: OpaquePointer?
        while archive_read_next_header(reader, &entry) != ARCHIVE_EOF {
            guard let entry, let name = archive_entry_pathname(entry), let path = try? checkedPath(String(cString: name)) else {
                return false
            }
            let kind = FileKind(archive_entry_filetype(entry))
            if path.isEmpty { continue }
            var info = stat()
            guard lstat("\(directory)/\(path)", &info) == 0, FileKind(info.st_mode) == kind else { return false }
            if kind == .file, archive_entry_size_is_set(entry) != 0, archive_entry_size(entry) != Int64(info.st_size) {
                return false
            }
        }
        return true
    }

    /// The path without a trailing slash; refused if it could lead anywhere else than into the package.
    private static func checkedPath(_ name: String) throws(ArchiveError) -> String {
        let shown = String(name.prefix(200).map { $0.isASCII && $0 < " " ? "?" : $0 })
        guard !name.isEmpty, name.utf8.count <= 1024 else { throw .refused(entry: shown, why: "has no usable name") }
        guard !name.hasPrefix("/") else { throw .refused(entry: shown, why: "has an absolute path") }
        guard !name.utf8.contains(UInt8(ascii: "\\")) else { throw .refused(entry: shown, why: "has a backslash in its name") }
        var parts: [Substring] = []
        for part in name.split(separator: "/", omittingEmptySubsequences: true) {
            if part == "." { continue }
            guard part != ".." else { throw .refused(entry: shown, why: "leads out of the package") }
            parts.append(part)
        }
        return parts.joined(separator: "/")
    }

    /// A target may go up only at its beginning, and not above the package: then it stays inside whatever other links
    /// it passes through, because they do too.
    private static func checkLink(_ path: String, _ target: String) throws(ArchiveError) {
        guard !path.isEmpty, !target.isEmpty, !target.hasPrefix("/") else {
            throw .refused(entry: path, why: "is a link out of the package")
        }
        let depth = path.split(separator: "/").count - 1
        var ups = 0
        var hasName = false
        for part in target.split(separator: "/") {
            if part == "." { continue }
            if part == ".." {
                ups += 1
                guard !hasName, ups <= depth else { throw .refused(entry: path, why: "is a link out of the package") }
            } else {
                hasName = true
            }
        }
    }

    private static func makeParents(_ directory: String, _ path: String) throws(ArchiveError) {
        guard let slash = path.lastIndex(of: "/") else { return }
        try makeDirectories(directory, String(path[..<slash]))
    }

    private static func makeDirectories(_ directory: String, _ path: String) throws(ArchiveError) {
        var at = directory
        for part in path.split(separator: "/") {
            at += "/\(part)"
            if mkdir(at, 0o755) == 0 { continue }
            var info = stat()
            guard errno == EEXIST, lstat(at, &info) == 0, FileKind(info.st_mode) == .directory else {
                throw .refused(entry: path, why: "has a file where a directory should be")
            }
        }
    }

    private static func copyFile(
        _ reader: OpaquePointer, to directory: String?, _ path: String, isExecutable: Bool, total: inout Int
    ) throws(ArchiveError) {
        var file: CInt = -1
        if let directory {
            try makeParents(directory, path)
            file = open("\(directory)/\(path)", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, isExecutable ? 0o755 : 0o644)
            guard file >= 0 else {
                throw .refused(entry: path, why: "cannot be written: \(String(cString: strerror(errno)))")
            }
        }
        defer { if file >= 0 { close(file) } }
        var block = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = archive_read_data(reader, &block, block.count)
            if count == 0 { return }
            guard count > 0 else { throw .notAZip }
            // Counted as it comes: what the headers say may be a lie.
            total += count
            guard total <= Limits.unzippedBytesMax else { throw .tooLarge }
            if file >= 0 { try writeAll(block[..<count], to: file, path) }
        }
    }

    private static func writeAll(_ bytes: ArraySlice<UInt8>, to file: CInt, _ path: String) throws(ArchiveError) {
        var bytes = bytes
        // A disk that fills up takes a part first and gives its reason the next time.
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else { throw .cannotWrite("cannot write \(path): \(String(cString: strerror(errno)))") }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Removes a directory and all in it, following no links.
    package static func removeTree(_ path: String) {
        for name in (try? names(in: path)) ?? [] {
            var info = stat()
            guard lstat("\(path)/\(name)", &info) == 0 else { continue }
            if FileKind(info.st_mode) == .directory { removeTree("\(path)/\(name)") } else { unlink("\(path)/\(name)") }
        }
        rmdir(path)
    }
}

/// What a mode says a thing is (`S_IFMT` bits, inode(7)).
enum FileKind: UInt32 {
    case directory = 0o040000
    case file = 0o100000
    case link = 0o120000
    case other = 0

    init(_ mode: UInt32) { self = FileKind(rawValue: mode & 0o170000) ?? .other }
}
