/// Tells code from comments and from the text of literals, line by line.
///
/// Knows strings of every form (raw, multi-line, with interpolations), extended regular expressions `#/…/#` and nested
/// comments. What stands between the quotation marks is left out, line ends are kept.
struct SwiftText {
    /// The lines without the text of literals.
    let lines: [String]
    /// The same without comments.
    let code: [String]

    init(_ text: String) {
        var scanner = Scanner(bytes: Array(text.utf8))
        scanner.run()
        lines = Self.split(scanner.lines)
        code = Self.split(scanner.code)
    }

    private static func split(_ bytes: [UInt8]) -> [String] {
        bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }
}

private struct Scanner {
    let bytes: [UInt8]
    var at = 0
    var lines: [UInt8] = []
    var code: [UInt8] = []

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func run() {
        while at < bytes.count {
            if isAt("//") {
                comment { $0.at == $0.bytes.count || $0.isAt("\n") }
            } else if isAt("/*") {
                var depth = 0
                comment { scanner in
                    if scanner.isAt("/*") { depth += 1 }
                    if scanner.isAt("*/", before: true) { depth -= 1 }
                    return depth == 0 || scanner.at == scanner.bytes.count
                }
            } else if let (mark, hashes) = opening {
                literal(mark, hashes)
            } else {
                keep()
            }
        }
    }

    private func isAt(_ text: String, before: Bool = false) -> Bool {
        let start = before ? at - text.utf8.count : at
        return start >= 0 && bytes[start...].starts(with: text.utf8)
    }

    private mutating func keep() {
        lines.append(bytes[at])
        code.append(bytes[at])
        at += 1
    }

    private mutating func comment(until ends: (Scanner) -> Bool) {
        while !ends(self) {
            lines.append(bytes[at])
            if bytes[at] == UInt8(ascii: "\n") { code.append(bytes[at]) }
            at += 1
        }
    }

    /// The mark and the number of hashes, when a literal begins here.
    private var opening: (mark: String, hashes: Int)? {
        guard isAt("\"") || isAt("#") else { return nil }
        let hashes = bytes[at...].prefix { $0 == UInt8(ascii: "#") }.count
        for mark in ["\"\"\"", "\"", "/"] where bytes[(at + hashes)...].starts(with: mark.utf8) {
            return mark == "/" && hashes == 0 ? nil : (mark, hashes)
        }
        return nil
    }

    private mutating func literal(_ mark: String, _ hashes: Int) {
        for _ in 0..<hashes + mark.utf8.count { keep() }
        let closing = mark + String(repeating: "#", count: hashes)
        let escape = mark == "/" ? "\\" : "\\" + String(repeating: "#", count: hashes)
        while at < bytes.count, !isAt(closing) {
            if isAt(escape) {
                at += escape.utf8.count
                if mark != "/", isAt("(") { interpolation() } else { skip() }
            } else {
                skip()
            }
        }
        for _ in 0..<min(closing.utf8.count, bytes.count - at) { keep() }
    }

    /// Leaves a byte out.
    private mutating func skip() {
        guard at < bytes.count else { return }
        if bytes[at] == UInt8(ascii: "\n") { keep() } else { at += 1 }
    }

    /// Leaves out an expression in parentheses, literals within it included.
    private mutating func interpolation() {
        var depth = 0
        repeat {
            if isAt("(") { depth += 1 }
            if isAt(")") { depth -= 1 }
            if let (mark, hashes) = opening {
                var inner = Scanner(bytes: bytes)
                inner.at = at
                inner.literal(mark, hashes)
                at = inner.at
            } else {
                skip()
            }
        } while depth > 0 && at < bytes.count
    }
}
