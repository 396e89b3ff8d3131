import Foundation

/// One file of the tree.
struct SourceFile {
    /// From the top of the repository.
    let path: String
    let text: String
    let lines: [String]

    init(path: String, text: String) {
        self.path = path
        self.text = text
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    var isSwift: Bool { path.hasSuffix(".swift") }

    /// `Sources/MODULE/…`; nil elsewhere.
    var module: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }

    /// Modules that the file imports, with the line of each.
    var imports: [(name: String, line: Int)] {
        SwiftText(text).code.enumerated().compactMap { index, line in
            let words = line.split(whereSeparator: \.isWhitespace).drop { $0.hasPrefix("@") || Self.accesses.contains(String($0)) }
            guard words.first == "import", let last = words.dropFirst().last else { return nil }
            return (String(last.prefix { $0 != "." && $0 != ";" }), index + 1)
        }
    }

    private static let accesses: Set<String> = ["public", "package", "internal", "fileprivate", "private"]
}

/// The tree that these tests were compiled from.
struct Repository {
    let root: URL
    /// Everything that people write and a compiler reads, by path.
    let files: [SourceFile]

    static let codeExtensions: Set<String> = ["swift", "c", "h", "py", "js", "cjs", "mjs"]

    init(root: URL) throws {
        self.root = root
        var found: [SourceFile] = []
        for name in ["Package.swift", "Sources", "Tests"] {
            for path in Self.paths(under: name, root) where Self.codeExtensions.contains((path as NSString).pathExtension) {
                found.append(SourceFile(path: path, text: try String(contentsOf: root.appending(path: path), encoding: .utf8)))
            }
        }
        files = found.sorted { $0.path < $1.path }
    }

    static let here = Result {
        try Repository(root: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent())
    }

    private static func paths(under name: String, _ root: URL) -> [String] {
        guard let inside = FileManager.default.subpaths(atPath: root.appending(path: name).path) else { return [name] }
        return inside.isEmpty ? [name] : inside.filter { !$0.contains("__pycache__") }.map { "\(name)/\($0)" }
    }

    /// nil when there is no such file.
    func text(_ path: String) -> String? { try? String(contentsOf: root.appending(path: path), encoding: .utf8) }

    func names(in directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root.appending(path: directory).path).sorted()
    }
}
