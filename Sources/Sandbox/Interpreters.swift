internal import Glibc
internal import Synchronization

/// A client that comes with Hearth.
package enum BundledClient: Sendable {
    case python, node

    /// Interpreter arguments before the script.
    package var arguments: [String] {
        switch self {
        // The user directory of whoever runs Hearth is none of a function's business.
        case .python: ["-s"]
        case .node: []
        }
    }

    /// Can the client become a zygote?
    package var canFork: Bool { self == .python }

    package var howToInstall: String {
        switch self {
        case .python: "install it with: apt-get install python3"
        case .node: "install it with: apt-get install nodejs"
        }
    }

    private var files: [(name: String, bytes: [UInt8])] {
        switch self {
        case .python:
            [
                ("hearth_worker.py", PackageResources.hearth_worker_py),
                ("hearth_imports.py", PackageResources.hearth_imports_py),
                ("hearth_zygote.py", PackageResources.hearth_zygote_py),
                ("hearth_base.py", PackageResources.hearth_base_py),
                ("snapstart/sitecustomize.py", PackageResources.sitecustomize_py),
                ("snapstart/hearth_imports.py", PackageResources.hearth_imports_py),
                ("snapstart/hearth_zygote.py", PackageResources.hearth_zygote_py),
            ]
        case .node: [("worker.cjs", PackageResources.worker_cjs)]
        }
    }

    /// Writes the client into `directory` unless it is there, byte for byte; returns its script's name.
    package func install(in directory: String) throws -> String {
        mkdir(directory, 0o755)
        mkdir(directory + "/snapstart", 0o755)
        for file in files { try write(file.bytes, to: "\(directory)/\(file.name)") }
        return files[0].name
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        if read(path) == bytes { return }
        let partial = "\(path).\(getpid())"
        let file = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw SpawnFailure(program: path, step: "write the client", code: errno) }
        defer { close(file) }
        guard Glibc.write(file, bytes, bytes.count) == bytes.count, rename(partial, path) == 0 else {
            throw SpawnFailure(program: path, step: "write the client", code: errno)
        }
    }

    private func read(_ path: String) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var info = stat()
        guard fstat(file, &info) == 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(info.st_size))
        return Glibc.read(file, &bytes, bytes.count) == bytes.count ? bytes : nil
    }
}

/// A language's interpreter as it is installed here.
package struct Interpreter: Sendable {
    /// The real binary.
    package let path: String
    /// The directories that it needs beside the system's.
    package let directories: [String]
}

/// Finds the real binaries behind `python3` and `node`.
///
/// What PATH names may be a shim (pyenv's costs 90 ms a start), so the interpreter itself is asked where it lives, once.
package final class Interpreters: Sendable {
    private let known = Mutex<[String: Interpreter]>([:])

    package init() {}

    /// The interpreter for a Lambda runtime identifier: the exact minor version when it is installed, else whatever
    /// version of the language is. nil when there is none. Blocks for as long as the interpreter takes to start.
    package func find(for runtime: String) -> Interpreter? {
        if let interpreter = known.withLock({ $0[runtime] }) { return interpreter }
        let isPython = runtime.hasPrefix("python")
        let candidates = isPython ? [runtime, "python3"] : ["node", "nodejs"]
        let question =
            isPython
            ? #"-c 'import sys; print(sys.executable, sys.base_prefix, sys.prefix, sep="\n")'"#
            : #"-p 'process.execPath + "\n" + path.dirname(path.dirname(process.execPath))'"#
        for name in candidates where name.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "." }) {
            let answer = ask("\(name) \(question) 2>/dev/null </dev/null")
            guard let path = answer.first, path.hasPrefix("/"), access(path, X_OK) == 0 else { continue }
            let directories = Set(answer.dropFirst()).filter { directory in
                !Isolation.systemDirectories.contains { directory == $0 || directory.hasPrefix($0 + "/") }
                    && directory.hasPrefix("/") && directory != "/"
            }
            let interpreter = Interpreter(path: path, directories: directories.sorted())
            known.withLock { $0[runtime] = interpreter }
            return interpreter
        }
        return nil
    }

    /// The lines that a shell command prints.
    private func ask(_ command: String) -> [String] {
        guard let stream = popen(command, "re") else { return [] }
        defer { pclose(stream) }
        var text = [UInt8](repeating: 0, count: 8192)
        let count = fread(&text, 1, text.count, stream)
        return text.prefix(count).split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
    }
}
