internal import CArchive
internal import Glibc

extension ZipArchive {
    /// Packs a directory; the same files give the same bytes, whatever their dates and the order on the disk.
    ///
    /// - Parameter ignoring: which paths stay out. `.git`, `__pycache__`, `.hearthignore` and the manifest
    ///   `function.toml` always do.
    package static func pack(directory: String, ignoring rules: IgnoreRules = IgnoreRules("")) throws(ArchiveError) -> [UInt8] {
        let sink = Sink()
        guard let writer = archive_write_new() else { throw .cannotWrite("cannot make a zip") }
        defer { archive_write_free(writer) }
        archive_write_set_format_zip(writer)
        archive_write_set_options(writer, "zip:!experimental")
        archive_write_set_bytes_in_last_block(writer, 1)
        let opened = archive_write_open(
            writer, Unmanaged.passUnretained(sink).toOpaque(), nil,
            { _, data, bytes, count in
                guard let data, let bytes else { return -1 }
                Unmanaged<Sink>.fromOpaque(data).takeUnretainedValue().bytes.append(
                    contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
                return count
            }, nil)
        guard opened == ARCHIVE_OK else { throw .cannotWrite("cannot make a zip") }
        try add("", in: directory, rules, to: writer)
        archive_write_close(writer)
        return sink.bytes
    }

    private final class Sink { var bytes: [UInt8] = [] }

    private static let neverPacked: Set<String> = [".git", "__pycache__", ".hearthignore", "function.toml"]

    private static func add(
        _ prefix: String, in directory: String, _ rules: IgnoreRules, to writer: OpaquePointer
    ) throws(ArchiveError) {
        let here = prefix.isEmpty ? directory : "\(directory)/\(prefix)"
        for name in try names(in: here) where !neverPacked.contains(name) {
            let path = prefix.isEmpty ? name : "\(prefix)/\(name)"
            var info = stat()
            guard lstat("\(directory)/\(path)", &info) == 0 else { continue }
            let kind = FileKind(info.st_mode)
            guard !rules.ignores(path, isDirectory: kind == .directory) else { continue }
            switch kind {
            case .directory: try add(path, in: directory, rules, to: writer)
            case .file: try addFile(path, in: directory, info, to: writer)
            case .link: try addLink(path, in: directory, to: writer)
            case .other: continue
            }
        }
    }

    static func names(in directory: String) throws(ArchiveError) -> [String] {
        guard let listing = opendir(directory) else {
            throw .cannotRead("cannot read \(directory): \(String(cString: strerror(errno)))")
        }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func begin(_ path: String, _ kind: FileKind, _ mode: mode_t, _ size: Int) -> OpaquePointer? {
        let entry = archive_entry_new()
        archive_entry_set_pathname(entry, path)
        archive_entry_set_filetype(entry, kind.rawValue)
        archive_entry_set_perm(entry, mode)
        archive_entry_set_size(entry, Int64(size))
        // 1980-01-01, the first day that a zip knows.
        archive_entry_set_mtime(entry, 315_532_800, 0)
        return entry
    }

    private static func addFile(
        _ path: String, in directory: String, _ info: stat, to writer: OpaquePointer
    ) throws(ArchiveError) {
        let file = open("\(directory)/\(path)", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .cannotRead("cannot read \(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        let entry = begin(path, .file, info.st_mode & 0o111 != 0 ? 0o755 : 0o644, Int(info.st_size))
        defer { archive_entry_free(entry) }
        guard archive_write_header(writer, entry) == ARCHIVE_OK else { throw .cannotWrite("cannot pack \(path)") }
        var block = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = read(file, &block, block.count)
            guard count > 0 else { return }
            guard archive_write_data(writer, block, count) >= 0 else { throw .cannotWrite("cannot pack \(path)") }
        }
    }

    private static func addLink(_ path: String, in directory: String, to writer: OpaquePointer) throws(ArchiveError) {
        var target = [CChar](repeating: 0, count: 4096)
        let count = readlink("\(directory)/\(path)", &target, target.count - 1)
        guard count > 0 else { throw .cannotRead("cannot read the link \(path)") }
        let entry = begin(path, .link, 0o777, 0)
        defer { archive_entry_free(entry) }
        archive_entry_set_symlink(entry, target)
        guard archive_write_header(writer, entry) == ARCHIVE_OK else { throw .cannotWrite("cannot pack \(path)") }
    }
}
