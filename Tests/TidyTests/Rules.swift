/// What no file may hold, and what would be right.
enum Rules {
    static let linesMax = 600
    /// Without the text of literals: a message stays in one piece, so that it can be searched for.
    static let columnsMax = 140

    /// Words that have another name here (DESIGN.md, "Words"): looked for in names and comments.
    static let words: [String: String] = [
        "backend": "target or origin", "upstream": "target or origin", "frontend": "listener", "backlog": "queue",
        "boot": "init", "fleet": "pool", "graceful": "draining", "gracefully": "draining", "jail": "sandbox",
        "shed": "throttle", "invalidate": "expire, evict or purge", "sla": "promise",
        "todo": "an issue", "fixme": "the mended code", "xxx": "an issue",
    ]

    /// Code that has a better form, and the modules that may use it all the same.
    static let code: [(text: String, instead: String, except: Set<String>)] = [
        ("try!", "a thrown error", []),
        ("fatalError(", "a thrown error, or precondition with the reason", []),
        ("Task {", "loop.task, which stays on the loop", ["hearth", "dev"]),
        ("Task.detached", "loop.task, which stays on the loop", ["hearth", "dev"]),
        ("Date()", "a moment as an argument; clocks are read in UV", clocks),
        ("Date.now", "a moment as an argument; clocks are read in UV", clocks),
        ("ContinuousClock", "a moment as an argument; clocks are read in UV", clocks),
        ("SuspendingClock", "a moment as an argument; clocks are read in UV", clocks),
        ("DispatchTime.now", "a moment as an argument; clocks are read in UV", clocks),
        ("clock_gettime", "a moment as an argument; clocks are read in UV", clocks),
        (".random(in", "a Random as an argument", ["hearth", "dev"]),
        ("SystemRandomNumberGenerator", "a Random as an argument", ["hearth", "dev"]),
    ]

    // A function in Swift lives in a process of its own, without a loop.
    private static let clocks: Set<String> = ["UV", "HearthFunction", "hearth", "dev"]

    static func problems(in file: SourceFile) -> [String] {
        var problems: [String] = []
        if file.lines.count - 1 > linesMax {
            problems.append("\(file.path): \(file.lines.count - 1) lines; at most \(linesMax), so split it")
        }
        let text = file.isSwift ? SwiftText(file.text) : nil
        for (index, line) in (text?.lines ?? file.lines.map(withoutLiterals)).enumerated() {
            if line.count > columnsMax {
                problems.append("\(file.path):\(index + 1): \(line.count) columns; at most \(columnsMax)")
            }
            guard file.module != nil, text != nil else { continue }
            for word in Set(segments(of: line)) {
                guard let right = words[word] else { continue }
                problems.append("\(file.path):\(index + 1): \"\(word)\"; the word here is: \(right)")
            }
        }
        guard let module = file.module, let text else { return problems }
        for (index, line) in text.code.enumerated() {
            // `.random(in: …, using: &random)` is a Random as an argument.
            for rule in code where line.contains(rule.text) && !rule.except.contains(module) && !line.contains("using: &") {
                problems.append("\(file.path):\(index + 1): \(rule.text) instead of \(rule.instead)")
            }
        }
        return problems
    }

    /// For Python, JavaScript and C: an apostrophe in a comment may hide a little more, which does no harm.
    private static func withoutLiterals(_ line: String) -> String {
        line.count > columnsMax ? line.replacing(#/"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/#, with: "''") : line
    }

    /// The words of a line in lower case; `keepAliveHTTPMax` has four.
    static func segments(of line: String) -> [String] {
        var all: [String] = []
        var word = ""
        var last: Character = " "
        func isUpper(_ character: Character) -> Bool { character.isUppercase }
        for character in line {
            if !character.isLetter {
                if !word.isEmpty { all.append(word.lowercased()) }
                word = ""
            } else if isUpper(character), !isUpper(last), !word.isEmpty {
                all.append(word.lowercased())
                word = String(character)
            } else if !isUpper(character), isUpper(last), word.count > 1 {
                all.append(String(word.dropLast()).lowercased())
                word = String(last) + String(character)
            } else {
                word.append(character)
            }
            last = character
        }
        if !word.isEmpty { all.append(word.lowercased()) }
        return all
    }
}
