internal import TOMLKit

/// A configuration file that cannot be used: where, what is wrong and what would be right.
package struct ConfigError: Error, Equatable, CustomStringConvertible {
    package let file: String
    package let line: Int?
    package let sentence: String

    package var description: String { line.map { "\(file):\($0): \(sentence)" } ?? "\(file): \(sentence)" }
}

/// One key of a configuration file: type, bounds, default and a paragraph for people. Reading, checking and explaining
/// all follow this row.
package struct ConfigKey: Sendable {
    package enum Value: Sendable {
        case text(default: String?)
        case number(ClosedRange<Int>, default: Int?)
        /// From 0 to 1.
        case share(default: Double)
        /// An array of texts; an empty one says nothing.
        case list(default: [String])
        /// `[table]` of texts with names of the user's choice.
        case texts
    }

    /// With dots: `concurrency.provisioned`.
    package let path: String
    package let value: Value
    package let unit: String
    package let help: String

    init(_ path: String, _ value: Value, unit: String = "", _ help: String) {
        self.path = path
        self.value = value
        self.unit = unit
        self.help = help
    }
}

/// A file read by a table of keys.
struct ConfigFile {
    private let name: String
    private let lines: [Substring]
    /// Lines before the first of `lines`, of a table in an array.
    private var linesBefore = 0
    /// The array that this is a table of.
    private var prefix = ""
    private var texts: [String: String] = [:]
    private var numbers: [String: Int] = [:]
    private var shares: [String: Double] = [:]
    private var lists: [String: [String]] = [:]
    private var tables: [String: [String: String]] = [:]
    private var elements: [String: [ConfigFile]] = [:]

    init(_ text: String, name: String, keys: [ConfigKey]) throws(ConfigError) {
        self.name = name
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let table: TOMLTable
        do { table = try TOMLTable(string: text) } catch let error as TOMLParseError {
            throw ConfigError(file: name, line: error.source.begin.line, sentence: error.description)
        } catch {
            throw ConfigError(file: name, line: nil, sentence: "\(error)")
        }
        try read(table, prefix: "", keys: keys)
    }

    private init(lines: [Substring], name: String) {
        self.lines = lines
        self.name = name
    }

    /// The table number `index` of the array `path`: `[[path]]`.
    private init(_ table: TOMLTable, _ index: Int, of path: String, in file: ConfigFile, keys: [ConfigKey]) throws(ConfigError) {
        name = file.name
        prefix = path
        var seen = -1
        let start = file.lines.firstIndex { line in
            let bare = line.filter { $0 != " " && $0 != "\t" }
            if bare.hasPrefix("[[\(path)]]") { seen += 1 }
            return seen == index
        }
        linesBefore = start ?? 0
        let own = file.lines.dropFirst(linesBefore)
        let end = own.dropFirst().firstIndex { $0.drop { $0 == " " || $0 == "\t" }.hasPrefix("[") } ?? own.endIndex
        lines = Array(own[..<end])
        try read(table, prefix: path, keys: keys)
    }

    func text(_ path: String) -> String? { texts[path] }
    func number(_ path: String) -> Int? { numbers[path] }
    func share(_ path: String) -> Double? { shares[path] }
    func list(_ path: String) -> [String]? { lists[path] }
    /// The tables of an array, each with all keys below `path`.
    func elements(_ path: String) -> [ConfigFile] { elements[path] ?? [] }

    func has(_ path: String) -> Bool {
        texts[path] != nil || numbers[path] != nil || shares[path] != nil || lists[path] != nil || tables[path] != nil
    }

    /// One of `choices`, the first of which is the default.
    func choice(_ path: String, _ choices: [String]) throws(ConfigError) -> String {
        guard let text = texts[path] else { return choices[0] }
        guard choices.contains(text) else {
            throw fail(path, "\(path) = \"\(text)\" is not known: use \(choices.joined(separator: " or "))")
        }
        return text
    }

    func table(_ path: String) -> [String: String] { tables[path] ?? [:] }

    func fail(_ path: String, _ sentence: String) -> ConfigError {
        ConfigError(file: name, line: line(of: path), sentence: sentence)
    }

    private mutating func read(_ table: TOMLTable, prefix: String, keys: [ConfigKey]) throws(ConfigError) {
        for (name, value) in table {
            let path = prefix.isEmpty ? name : "\(prefix).\(name)"
            if let key = keys.first(where: { $0.path == path }) {
                try take(value, key)
            } else if let array = value.array, keys.contains(where: { $0.path.hasPrefix(path + ".") }) {
                var all: [ConfigFile] = []
                for (index, element) in array.enumerated() {
                    guard let inner = element.table else { throw fail(path, "\(path) must be tables: [[\(path)]]") }
                    all.append(try ConfigFile(inner, index, of: path, in: self, keys: keys))
                }
                elements[path] = all
            } else if let inner = value.table, keys.contains(where: { $0.path.hasPrefix(path + ".") }) {
                try read(inner, prefix: path, keys: keys)
            } else {
                throw fail(path, unknown(path, keys))
            }
        }
    }

    private func unknown(_ path: String, _ keys: [ConfigKey]) -> String {
        let leaf = path.split(separator: ".").last
        if let same = keys.first(where: { $0.path.split(separator: ".").last == leaf }) {
            return "unknown key \(path): did you mean \(same.path)?"
        }
        let near = keys.map(\.path).min { distance($0, path) < distance($1, path) }
        if let near, distance(near, path) <= max(2, path.count / 3) {
            return "unknown key \(path): did you mean \(near)?"
        }
        return "unknown key \(path): the keys are \(keys.map(\.path).joined(separator: ", "))"
    }

    private mutating func take(_ value: any TOMLValueConvertible, _ key: ConfigKey) throws(ConfigError) {
        switch key.value {
        case .text:
            guard let text = value.string else { throw fail(key.path, "\(key.path) must be a text in quotes") }
            texts[key.path] = text
        case .number(let bounds, _):
            guard let number = value.int else { throw fail(key.path, "\(key.path) must be a whole number\(key.unit.isEmpty ? "" : " of \(key.unit)")") }
            guard bounds.contains(number) else {
                throw fail(
                    key.path,
                    "\(key.path) = \(number) is impossible: it must be from \(bounds.lowerBound) to \(bounds.upperBound)\(unit(key))")
            }
            numbers[key.path] = number
        case .share:
            guard let number = value.double ?? value.int.map(Double.init) else { throw fail(key.path, "\(key.path) must be a number from 0 to 1") }
            guard (0...1).contains(number) else { throw fail(key.path, "\(key.path) = \(number) is impossible: it must be from 0 to 1") }
            shares[key.path] = number
        case .list:
            let texts = value.array?.map(\.string)
            guard let texts, texts.allSatisfy({ $0 != nil }) else { throw fail(key.path, "\(key.path) must be a list of texts: [\"a\", \"b\"]") }
            lists[key.path] = texts.compactMap { $0 }
        case .texts:
            guard let table = value.table else { throw fail(key.path, "\(key.path) must be a table: [\(key.path)]") }
            var texts: [String: String] = [:]
            for (name, value) in table {
                guard let text = value.string else {
                    throw fail("\(key.path).\(name)", "\(key.path).\(name) must be a text in quotes")
                }
                texts[name] = text
            }
            tables[key.path] = texts
        }
    }

    private func unit(_ key: ConfigKey) -> String { key.unit.isEmpty ? "" : " \(key.unit)" }

    /// The line on which a key stands. (The library tells positions of syntax errors only.)
    private func line(of path: String) -> Int? {
        let inside = prefix.isEmpty || !path.hasPrefix(prefix + ".") ? path : String(path.dropFirst(prefix.count + 1))
        if !prefix.isEmpty, inside != path {
            let own = ConfigFile(lines: Array(lines.dropFirst()), name: name)
            return own.line(of: inside).map { $0 + linesBefore + 1 } ?? linesBefore + 1
        }
        let parts = path.split(separator: ".").map(String.init)
        var section: [String] = []
        for (index, line) in lines.enumerated() {
            let trimmed = line.drop { $0 == " " || $0 == "\t" }
            if trimmed.hasPrefix("[") {
                let name = trimmed.drop { $0 == "[" }.prefix { $0 != "]" }
                section = name.split(separator: ".").map(unquoted)
                if section == parts { return index + 1 }
                continue
            }
            guard let equals = trimmed.firstIndex(of: "=") else { continue }
            let names = section + trimmed[..<equals].split(separator: ".").map(unquoted)
            if names == parts || (names.count < parts.count && !names.isEmpty && Array(parts.prefix(names.count)) == names) {
                return index + 1
            }
        }
        return nil
    }

    private func unquoted(_ name: Substring) -> String {
        name.trimming { $0 == " " || $0 == "\t" || $0 == "\"" || $0 == "'" }
    }
}

extension Substring {
    fileprivate func trimming(_ isSpace: (Character) -> Bool) -> String {
        var rest = self
        while let first = rest.first, isSpace(first) { rest.removeFirst() }
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return String(rest)
    }
}

/// Levenshtein's distance.
private func distance(_ a: String, _ b: String) -> Int {
    let b = Array(b)
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let cost = x == y ? diagonal : diagonal + 1
            diagonal = row[j + 1]
            row[j + 1] = min(cost, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[b.count]
}
