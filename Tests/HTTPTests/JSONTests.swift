import Base
import Foundation
import Testing

@testable import HTTP

private let good = [
    "{}", "[]", "null", " true\n", "\t\"\"\r", "0", "-0", "-1.5e+10", "1E5", "10.01", "[1,2 , 3]",
    "[[],{},[{}]]",
    #"{"a":1,"b":{"c":[true,false,null]}}"#, #"{"":""}"#, #"{"a":1,"a":2}"#,
    #"["\"\\\/\b\f\n\r\t\u0041\uD83D\uDE00"]"#,
    "\"\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}\"",
    #"{ "k" : "0123456789abcdef\"0123456789" , "l":[ ] }"#,
    "[\"\u{E9}12345678\", \"1234567\u{20AC}90123456\"]", "123456789012345678901234567890", "1e999",
]

/// Texts that are not JSON, and where they stop being it.
private let bad: [(String, Int)] = [
    ("", 0), (" ", 1), ("{", 1), ("[", 1), ("}", 0), ("]", 0), ("[1,]", 3), ("{\"a\":1,}", 7), ("[1 2]", 3),
    ("[1}", 2), ("{]", 1),
    ("{\"a\"}", 4), ("{\"a\":}", 5), ("{a:1}", 1), ("{1:1}", 1), ("{\"a\":1]", 6), ("{,}", 1), ("[,]", 1),
    ("1 2", 2), ("{}x", 2),
    ("nul", 3), ("nulL", 3), ("tru e", 3), ("True", 0), ("NaN", 0), ("01", 1), ("-", 1), ("+1", 0), (".5", 0),
    ("5.", 2), ("1.e5", 2),
    ("1e", 2), ("1e+", 3), ("-a", 1), ("0x10", 1), ("'a'", 0), ("\"a", 2), ("\"\\", 2), ("\"\\x\"", 2),
    ("\"\\u12\"", 5),
    ("\"\\u12G4\"", 5), ("\"\n\"", 1), ("\"12345678\u{1F}\"", 9), ("\"\0\"", 1), ("\u{FEFF}1", 0),
    ("/**/1", 0), ("[1", 2), ("{\"a\":1", 6),
    ("\u{A0}1", 0), ("\u{B}1", 0), ("[\"a\" \"b\"]", 5), ("\"a\"\"b\"", 3), ("{\"a\" 1}", 5),
    ("{\"a\":1 \"b\":2}", 7), ("-01", 2),
]

private let brokenUTF8: [[UInt8]] = [
    [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF], [0xED, 0xA0, 0x80],
    [0xED, 0xBF, 0xBF],
    [0xE2, 0x82], [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80],
    [0xF5, 0x80, 0x80, 0x80], [0xFF],
    [0xF0, 0x9F, 0x98], [0xE2, 0x28, 0xA1],
]

@Suite struct JSONTests {
    private let memory = GuardedBytes()

    private func fault(_ bytes: some Collection<UInt8>, depthMax: Int = 512) -> Int? {
        JSONCheck.validate(memory.holding(bytes), depthMax: depthMax)?.offset
    }

    @Test func textsAreAcceptedOrRefusedAtTheByteThatIsWrong() {
        #expect(good.filter { fault($0.utf8) != nil } == [])
        let wrong = bad.filter { fault($0.0.utf8) != $0.1 }
        #expect(wrong.map { "\($0.0.debugDescription): \(fault($0.0.utf8) ?? -1) not \($0.1)" } == [])
        // wherever it stands towards the words of eight bytes
        for bytes in brokenUTF8 {
            for before in 0..<10 {
                let text = [0x22] + [UInt8](repeating: 0x61, count: before) + bytes + Array("90123456\"".utf8)
                if fault(text) != before + 1 {
                    Issue.record("\(bytes) after \(before): \(String(describing: fault(text)))")
                }
            }
        }
        for lone in [#""\uD800""#, #""\uDC00\uD800""#, #""\uD800\u0041""#] {
            #expect(fault(lone.utf8) == nil)
        }
    }

    @Test func everyPrefixOfADocumentIsRefusedAtItsEnd() {
        for document in good
        where document.utf8.first == UInt8(ascii: "{") || document.utf8.first == UInt8(ascii: "[") {
            let bytes = Array(document.utf8)
            for end in 0..<bytes.count where fault(bytes[0..<end]) == nil {
                Issue.record("\(document) cut at \(end)")
            }
        }
    }

    @Test func depthIsBoundedWithoutRecursion() {
        func nested(_ depth: Int) -> [UInt8] {
            [UInt8](repeating: 0x5B, count: depth) + [UInt8](repeating: 0x5D, count: depth)
        }
        #expect(fault(nested(512)) == nil && fault(nested(513)) == 512 && fault(nested(60_000)) == 512)
        #expect(fault(nested(50_000), depthMax: 50_000) == nil && fault("1".utf8, depthMax: 0) == nil)
        #expect(fault(nested(1), depthMax: 0) == 0 && fault("[[],[]]".utf8, depthMax: 2) == nil)
    }

    @Test func membersAndElementsAreFoundAndNothingElse() {
        func members(_ text: String) -> [String]? {
            let bytes = memory.holding(text.utf8)
            return JSONMembers(bytes)?.map {
                "\($0.name.string(bytes))|\($0.value.range.string(bytes))|\($0.value.kind)"
            }
        }
        func elements(_ text: String) -> [String]? {
            let bytes = memory.holding(text.utf8)
            return JSONElements(bytes)?.map { "\($0.range.string(bytes))|\($0.kind)" }
        }
        #expect(
            members(" {} ") == [] && elements("[ ]") == [] && members("[]") == nil && elements("{}") == nil
                && members("") == nil)
        #expect(
            members(
                #" { "statusCode" : 200, "b\"":"x\\" , "c":{"d":["}",1]} ,"#
                    + #""e":[] ,"f":true,"g":false, "h":null}"#
            ) == [
                "statusCode|200|number", #"b\"|x\\|string"#, #"c|{"d":["}",1]}|object"#, "e|[]|array",
                "f|true|bool(true)",
                "g|false|bool(false)", "h|null|null",
            ])
        #expect(
            elements(#"["a", -1.5 ,[ ],{"b":"]"}, null]"#) == [
                "a|string", "-1.5|number", "[ ]|array", #"{"b":"]"}|object"#, "null|null",
            ])
        let answer = memory.holding(#"{"headers":{"a":"b"},"cookies":["x=1","y"]}"#.utf8)
        var inner: [String] = []
        for member in JSONMembers(answer).map(Array.init) ?? [] {
            for header in JSONMembers(answer, of: member.value).map(Array.init) ?? [] {
                inner.append(header.name.string(answer))
            }
            for cookie in JSONElements(answer, of: member.value).map(Array.init) ?? [] {
                inner.append(cookie.range.string(answer))
            }
        }
        #expect(inner == ["a", "x=1", "y"])
    }

    @Test func stringsAreDecodedAndCompared() {
        func decoded(_ raw: String) -> String? { JSONText.decode(memory.holding(raw.utf8)).map { text($0) } }
        let cases: [(String, String?)] = [
            ("", ""), ("plain", "plain"), (#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{C}\n\r\t"),
            (#"a\u00e9\u20AC\u0000z"#, "a\u{E9}\u{20AC}\0z"),
            (#"\uD83D\uDE00"#, "\u{1F600}"), (#"\uD83D"#, "\u{FFFD}"),
            (#"\uDE00\uD83Dx"#, "\u{FFFD}\u{FFFD}x"),
            (#"\uD83D\u0041"#, "\u{FFFD}A"), (#"\uD83D\n"#, "\u{FFFD}\n"), (#"\x"#, nil), (#"\"#, nil),
            (#"\u12"#, nil), (#"\u12G4"#, nil),
        ]
        for (raw, expected) in cases { #expect(decoded(raw) == expected, "\(raw)") }
        func equals(_ raw: String, _ name: StaticString) -> Bool {
            JSONText.equals(memory.holding(raw.utf8), name)
        }
        #expect(equals("body", "body") && equals(#"b\u006fdy"#, "body") && equals("", ""))
        #expect(
            !equals("bodyx", "body") && !equals("bod", "body") && !equals("Body", "body")
                && !equals(#"bod\x"#, "body"))
        func integer(_ raw: String) -> Int? { JSONText.integer(memory.holding(raw.utf8)) }
        #expect(integer("200") == 200 && integer("-9223372036854775808") == .min && integer("0") == 0)
        #expect(
            ["1.0", "1e2", "9223372036854775808", "", "-", "+1", " 1", "x"].allSatisfy { integer($0) == nil })
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func anyBytesBecomeAJSONStringThatReadsBackRepaired(seed: UInt64) throws {
        var random = Random(seed: seed)
        let pieces =
            brokenUTF8
            + ["\u{E9}", "\u{20AC}", "\u{1F600}", "abcdefgh", "\"", "\\", "\n", "\u{1F}", "\0", "\u{7F}"].map
        { Array($0.utf8) }
        for round in 0..<500 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                bytes += pieces[Int.random(in: 0..<pieces.count, using: &random)]
            }
            let buffer = ByteBuffer()
            buffer.append(jsonString: memory.holding(bytes))
            let repaired = String(decoding: bytes, as: UTF8.self)
            let raw = UnsafeRawBufferPointer(rebasing: buffer.bytes[1..<buffer.count - 1])
            let back = JSONText.decode(raw).map { text($0) }
            let oracle =
                try JSONSerialization.jsonObject(with: Data(buffer.bytes), options: .fragmentsAllowed)
                as? String
            if JSONCheck.validate(buffer.bytes) != nil || back != repaired
                || oracle.map({ Array($0.utf8) }) != Array(repaired.utf8)
            {
                Issue.record("seed \(seed) round \(round): \(bytes)")
            }
        }
    }

    /// A random document, as Foundation writes it.
    private func document(_ random: inout Random, depth: Int = 0) -> Any {
        let words = ["", "a", "k\u{E9}y", "\"q\"\\", "line\nend", "\u{1F600}", "0123456789abcdefg", "/"]
        switch Int.random(in: 0..<(depth < 4 ? 8 : 6), using: &random) {
        case 0: return NSNull()
        case 1: return Bool.random(using: &random)
        case 2: return Int.random(in: -1_000_000...1_000_000, using: &random)
        case 3: return Double.random(in: -1e6...1e6, using: &random)
        case 4, 5: return words[Int.random(in: 0..<words.count, using: &random)]
        case 6:
            return (0..<Int.random(in: 0...4, using: &random)).map { _ in document(&random, depth: depth + 1)
            }
        default:
            var object: [String: Any] = [:]
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                object[words[Int.random(in: 0..<words.count, using: &random)]] = document(
                    &random, depth: depth + 1)
            }
            return object
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func mutatedDocumentsAreJudgedAsFoundationDoes(seed: UInt64) throws {
        var random = Random(seed: seed)
        var corpus = (good + bad.map(\.0)).map { Array($0.utf8) }
        for _ in 0..<60 {
            corpus.append(
                Array(
                    try JSONSerialization.data(withJSONObject: document(&random), options: .fragmentsAllowed))
            )
        }
        var accepted = 0
        for round in 0..<1_500 {
            let bytes = mutated(
                corpus[Int.random(in: 0..<corpus.count, using: &random)], with: corpus, &random)
            let parsed = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            let mine = fault(bytes) == nil
            if mine { accepted += 1 }
            if mine != (parsed != nil), !differs(bytes, mine) {
                Issue.record("seed \(seed) round \(round): \(mine) for \(text(bytes).debugDescription)")
            }
            let held = memory.holding(bytes)
            let members = JSONMembers(held).map {
                Set($0.compactMap { JSONText.decode($0.name.slice(held)).map { text($0) } })
            }
            let elements = JSONElements(held).map { Array($0).count }
            guard mine else { continue }
            if let object = parsed as? [String: Any], members != Set(object.keys) {
                Issue.record("seed \(seed) round \(round): members")
            }
            if let array = parsed as? [Any], elements != array.count {
                Issue.record("seed \(seed) round \(round): elements")
            }
        }
        #expect(accepted > 50)
    }

    /// Where Foundation is known to judge otherwise: numbers that a Double does not hold, lone surrogates; a
    /// comma before a closing bracket, a byte order mark, UTF-16 and UTF-32 (guessed from zero bytes).
    private func differs(_ bytes: [UInt8], _ mine: Bool) -> Bool {
        let text = text(bytes)
        if mine { return text.contains("\\u") || text.contains(/[0-9][eE]/) || text.contains(/[0-9]{18}/) }
        return text.contains(/,[ \t\r\n]*[\]}]/) || bytes.starts(with: [0xEF, 0xBB, 0xBF])
            || bytes.contains(0) || bytes.starts(with: [0xFE, 0xFF])
            || bytes.starts(with: [0xFF, 0xFE])
    }
}
