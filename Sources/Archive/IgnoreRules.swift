/// The patterns of a `.hearthignore`: the part of gitignore's language that people use.
///
/// One pattern a line; `#` begins a comment; `*` and `?` stay within a name, `**` crosses names; a slash at the end means
/// directories only; a slash elsewhere ties the pattern to the top; `!` takes back. The last pattern that fits decides.
package struct IgnoreRules: Sendable {
    private struct Rule {
        let pattern: [Character]
        let isNegated: Bool
        let isDirectoryOnly: Bool
        let isAnchored: Bool
    }

    private let rules: [Rule]

    package init(_ text: String) {
        rules = text.split(whereSeparator: \.isNewline).compactMap { line in
            var line = String(line)
            while line.last == " " || line.last == "\t" { line.removeLast() }
            guard !line.isEmpty, !line.hasPrefix("#") else { return nil }
            let isNegated = line.hasPrefix("!")
            if isNegated { line.removeFirst() }
            let isDirectoryOnly = line.hasSuffix("/")
            if isDirectoryOnly { line.removeLast() }
            let isAnchored = line.contains("/")
            if line.hasPrefix("/") { line.removeFirst() }
            guard !line.isEmpty else { return nil }
            return Rule(
                pattern: Array(line), isNegated: isNegated, isDirectoryOnly: isDirectoryOnly, isAnchored: isAnchored)
        }
    }

    /// - Parameter path: relative to the package's top. Those who walk do not enter an ignored directory.
    package func ignores(_ path: String, isDirectory: Bool) -> Bool {
        var ignored = false
        for rule in rules where !rule.isDirectoryOnly || isDirectory {
            let subject = rule.isAnchored ? Array(path) : Array(path.split(separator: "/").last ?? "")
            if Self.fits(rule.pattern[...], subject[...]) { ignored = !rule.isNegated }
        }
        return ignored
    }

    private static func fits(_ pattern: ArraySlice<Character>, _ text: ArraySlice<Character>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        if first == "*" {
            let crosses = pattern.dropFirst().first == "*"
            var rest = pattern.dropFirst(crosses ? 2 : 1)
            // `**/` also stands for nothing.
            if crosses, rest.first == "/", fits(rest.dropFirst(), text) { return true }
            while rest.first == "*" { rest = rest.dropFirst() }
            var at = text
            while true {
                if fits(rest, at) { return true }
                guard let next = at.first, crosses || next != "/" else { return false }
                at = at.dropFirst()
            }
        }
        guard let character = text.first else { return false }
        guard first == character || (first == "?" && character != "/") else { return false }
        return fits(pattern.dropFirst(), text.dropFirst())
    }
}
