/// The tables of Specification.md: what is promised and the test or benchmark that holds it.
struct Promises {
    static let path = "Sources/hearth/hearth.docc/Specification.md"

    /// Names in backticks from the columns headed "held by", with the line of each.
    let holders: [(name: String, line: Int)]

    init(_ markdown: String) {
        var holders: [(name: String, line: Int)] = []
        var column: Int?
        for (index, line) in markdown.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.drop { $0 == " " }
            guard line.hasPrefix("|") else {
                column = nil
                continue
            }
            let cells = line.dropFirst().split(separator: "|", omittingEmptySubsequences: false)
            if let column {
                guard column < cells.count else { continue }
                for match in cells[column].matches(of: #/`([^`]+)`/#) { holders.append((String(match.output.1), index + 1)) }
            } else {
                column = cells.firstIndex { $0.lowercased().contains("held by") }
                // A table without that column makes no promise: its rows are not looked at.
                if column == nil { column = .max }
            }
        }
        self.holders = holders
    }

    /// Holders that are neither the name of a test or suite nor a word of `Sources/dev`.
    func problems(in files: [SourceFile]) -> [String] {
        var known: Set<Substring> = []
        for file in files where file.isSwift {
            let isDev = file.module == "dev"
            guard isDev || file.path.hasPrefix("Tests/") else { continue }
            for line in file.lines where isDev || line.contains(#/\b(func|struct|class|enum|actor) \w/#) {
                for word in line.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "-" }) { known.insert(word) }
            }
        }
        return holders.compactMap { name, line in
            // `PoolTests/drainServesWhatWaits()`, `dev bench warm-python`: the last part is the name.
            let last = name.split { "/. ".contains($0) }.last.map { $0.prefix { $0 != "(" } } ?? ""
            if known.contains(last) { return nil }
            return "\(Self.path):\(line): `\(name)` holds a promise, but no test has that name and Sources/dev does not know it"
        }
    }
}
