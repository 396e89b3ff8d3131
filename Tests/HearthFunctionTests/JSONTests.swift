import Foundation
import HearthFunction
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func decode<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    try JSON.decode(type, from: bytes(text))
}

private func encode(_ value: some Encodable) throws -> String { String(decoding: try JSON.encode(value), as: UTF8.self) }

/// What went wrong: path and sentence.
private func failure<Value: Decodable>(_ type: Value.Type, _ text: String) -> String {
    do { return "decoded: \(try decode(type, text))" } catch {
        let context: DecodingError.Context
        switch error {
        case DecodingError.typeMismatch(_, let c), DecodingError.valueNotFound(_, let c), DecodingError.keyNotFound(_, let c),
            DecodingError.dataCorrupted(let c):
            context = c
        default: return "another error: \(error)"
        }
        return "\(context.codingPath.map { $0.intValue.map { "\($0)" } ?? $0.stringValue }.joined(separator: "."))|\(context.debugDescription)"
    }
}

private enum Colour: String, Codable, CaseIterable { case red, green }
private enum Level: Int, Codable { case low = 1, high }

private struct Inner: Codable, Equatable {
    var list: [[Int]] = []
    var byName: [String: [Double]] = [:]
    var byNumber: [Int: String] = [:]
}

private enum Shape: Codable, Equatable { case circle(radius: Double), point }

private struct Everything: Codable, Equatable {
    var text = ""
    var whole = 0
    var small: Int8 = 0
    var large: UInt64 = 0
    var real = 0.0
    var single: Float = 0
    var flag = false
    var maybe: Int?
    var deepMaybe: [String?] = []
    var colour = Colour.red
    var level: Level? = .high
    var shape = Shape.point
    var inner = Inner()
    var others: [Inner] = []
}

private class Animal: Codable {
    var name: String
    init(name: String) { self.name = name }
}

private final class Dog: Animal {
    var tricks: [String]
    private enum Keys: CodingKey { case tricks }

    init(name: String, tricks: [String]) {
        self.tricks = tricks
        super.init(name: name)
    }

    required init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Keys.self)
        tricks = try members.decode([String].self, forKey: .tricks)
        try super.init(from: members.superDecoder())
    }

    override func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(tricks, forKey: .tricks)
        try super.encode(to: members.superEncoder())
    }
}

/// Containers inside containers, an element read in two ways, and a type that encodes nothing.
private struct ByHand: Codable, Equatable {
    var parts: [String]
    private enum Keys: CodingKey { case outer, inner, empty }
    private struct Nothing: Encodable { func encode(to encoder: any Encoder) {} }

    init(parts: [String]) { self.parts = parts }

    init(from decoder: any Decoder) throws {
        var list = try decoder.container(keyedBy: Keys.self).nestedContainer(keyedBy: Keys.self, forKey: .outer)
            .nestedUnkeyedContainer(forKey: .inner)
        parts = []
        while !list.isAtEnd {
            if try list.decodeNil() { parts.append("null") } else if let number = try? list.decode(Int.self) {
                parts.append("\(number)")
            } else {
                parts.append(try list.decode(String.self))
            }
        }
        #expect(list.count == list.currentIndex && (try? list.decode(Int.self)) == nil)
    }

    func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: Keys.self)
        try members.encode(Nothing(), forKey: .empty)
        var outer = members.nestedContainer(keyedBy: Keys.self, forKey: .outer)
        var list = outer.nestedUnkeyedContainer(forKey: .inner)
        for part in parts {
            if part == "null" { try list.encodeNil() } else if let number = Int(part) { try list.encode(number) } else {
                try list.encode(part)
            }
        }
        // The same name again: the last value stays, in the first one's place.
        try members.encode("first", forKey: .empty)
        try members.encode(["last"], forKey: .empty)
    }
}

@Suite struct JSONTests {
    @Test func codableShapesGoThereAndBack() throws {
        var all = Everything(text: "tab\t \"q\" \\ / \u{1} \u{7F} é 😀", whole: .min, small: -128, large: .max)
        #expect(try decode(Everything.self, encode(all)) == all)
        all.real = -1.5e-300
        all.single = 0.1
        all.flag = true
        all.maybe = 7
        all.deepMaybe = ["a", nil, ""]
        all.colour = .green
        all.level = nil
        all.shape = .circle(radius: 2)
        all.inner = Inner(list: [[], [1, -2]], byName: ["ü": [0.1], "": []], byNumber: [3: "x", -4: ""])
        all.others = [all.inner, Inner()]
        #expect(try decode(Everything.self, encode(all)) == all)
        let dog = try decode(Dog.self, encode(Dog(name: "Rex", tricks: ["sit"])))
        #expect(dog.name == "Rex" && dog.tricks == ["sit"])
        let parts = ByHand(parts: ["a", "null", "3"])
        #expect(try encode(parts) == #"{"empty":["last"],"outer":{"inner":["a",null,3]}}"#)
        #expect(try decode(ByHand.self, encode(parts)) == parts)
    }

    @Test func textsAreWrittenAsTheyShould() throws {
        #expect(try encode("\u{0}\u{8}\t\n\u{B}\u{C}\r\u{1F}\"\\/é😀\u{2028}") == #""\u0000\b\t\n\u000b\f\r\u001f\"\\/é😀"# + "\u{2028}\"")
        #expect(try encode([1.0, -0.0, 0.1, 1e20, .leastNonzeroMagnitude, 1.7976931348623157e308]) == "[1,-0,0.1,1e+20,5e-324,1.7976931348623157e+308]")
        #expect(try encode([nil, Float(0.1), 3]) == "[null,0.1,3]" && encode(Optional<Int>.none) == "null" && encode([String]()) == "[]")
        #expect(try encode([Colour.red: 1]).first == "[", "a dictionary whose keys are neither texts nor numbers is a list")
        for number in [Double.nan, .infinity, -.infinity] {
            #expect(throws: EncodingError.self) { try JSON.encode([number]) }
        }
        indirect enum Deep: Codable { case end, more(Deep) }
        var deep = Deep.end
        for _ in 0..<2000 { deep = .more(deep) }
        #expect(throws: EncodingError.self) { try JSON.encode(deep) }
    }

    @Test func numbersAreReadExactlyOrNotAtAll() throws {
        #expect(try decode([Int].self, "[0,-0,1.0,1e3,-9223372036854775808,9223372036854775807,120E-1,12.50e1]") == [0, 0, 1, 1000, .min, .max, 12, 125])
        #expect(try decode([Int].self, "[0e99999999999999999999,0.00e-5,6.798657668541582e+18,-0e1]") == [0, 0, 6_798_657_668_541_582_000, 0])
        #expect(try decode([UInt64].self, "[18446744073709551615]") == [.max])
        #expect(try decode([Double].self, "[1,-0.0,5e-324,0.30000000000000004]") == [1, 0, .leastNonzeroMagnitude, 0.30000000000000004])
        for (type, text) in [
            ("Int", "1.5"), ("Int", "1e-1"), ("Int", "1e99999999999999999999"), ("Int", "1e-99999999999999999999"), ("Int", "1e1000000000"),
            ("Int", "9223372036854775808"), ("Int", "1e19"), ("Int", "170141183460469231731687303715884105728"),
        ] { #expect(failure(Int.self, text) == "|the number \(text) does not fit in \(type)") }
        #expect(failure(UInt8.self, "256") == "|the number 256 does not fit in UInt8")
        #expect(failure(UInt.self, "-1") == "|the number -1 does not fit in UInt")
        #expect(failure(Double.self, "1e999") == "|the number 1e999 does not fit in Double")
        #expect(failure(Float.self, "1e39") == "|the number 1e39 does not fit in Float")
    }

    @Test func errorsNameThePlace() {
        struct Person: Decodable { var name: String, tags: [String], home: [String: [Int]]? }
        #expect(failure(Person.self, #"{"tags":[]}"#) == "|name is missing")
        #expect(failure([Person].self, #"[{"name":"A","tags":["x",1]}]"#) == "0.tags.1|expected String, found a number")
        #expect(failure(Person.self, #"{"name":null,"tags":[]}"#) == "name|expected String, found null")
        #expect(failure(Person.self, #"{"name":"A","tags":{}}"#) == "tags|expected an array, found an object")
        #expect(failure(Person.self, #"{"name":"A","tags":[],"home":{"x":[true]}}"#) == "home.x.0|expected Int, found a boolean")
        #expect(failure(Person.self, "[]") == "|expected an object, found an array")
        #expect(failure([Colour].self, #"["red","blue"]"#).hasPrefix("1|"))
        #expect(failure((Int).self, #""1""#) == "|expected Int, found a string")
    }

    @Test func theLastOfSeveralMembersWithOneNameCounts() throws {
        #expect(try decode([String: Int].self, #"{"a":1,"b":2,"\u0061":3}"#) == ["a": 3, "b": 2])
        let many = "{" + (0..<40).map { "\"k\($0 % 20)\":\($0)" }.joined(separator: ",") + "}"
        #expect(try decode([String: Int].self, many) == Dictionary(uniqueKeysWithValues: (20..<40).map { ("k\($0 - 20)", $0) }))
    }

    /// What RFC 8259 forbids, and where it is noticed.
    @Test(arguments: [
        ("", "at byte 0"), (" ", "at byte 1"), ("{", "at byte 1"), ("[1,]", "at byte 3"), ("{\"a\":1,}", "at byte 7"), ("[1 2]", "at byte 3"),
        ("[1}", "at byte 2"), ("{\"a\"}", "at byte 4"), ("{a:1}", "at byte 1"), ("{}x", "at byte 2"), ("nul", "at byte 3"), ("NaN", "at byte 0"),
        ("01", "at byte 1"), ("-", "at byte 1"), ("+1", "at byte 0"), (".5", "at byte 0"), ("5.", "at byte 2"), ("1e+", "at byte 3"), ("0x10", "at byte 1"),
        ("'a'", "at byte 0"), ("\"a", "at byte 2"), ("\"\\x\"", "at byte 2"), ("\"\\u12G4\"", "at byte 5"), ("\"\n\"", "at byte 1"), ("\"\0\"", "at byte 1"),
        ("\u{FEFF}1", "at byte 0"), ("/**/1", "at byte 0"), ("[\"a\" \"b\"]", "at byte 5"), ("\u{A0}1", "at byte 0"), ("[,]", "at byte 1"),
        (#""\uD83D""#, "lone surrogate"), (#""\uDE00""#, "lone surrogate"), (#""\uD83D\uD83D\uDE00""#, "lone surrogate"), (#""\uD83Dx""#, "lone surrogate"),
        (#""\uD83D\n""#, "lone surrogate"),
    ]) func badTextsAreRefused(text: String, reason: String) {
        let what = failure([String: Int].self, text)
        #expect(what.hasPrefix("|not a JSON text: ") && what.contains(reason), "\(text.debugDescription): \(what)")
    }

    @Test func bytesThatAreNotUTF8AndDeepNestsAreRefused() throws {
        for broken in [[0x80], [0xC0, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF]] as [[UInt8]] {
            #expect(throws: DecodingError.self, "\(broken)") { try JSON.decode(String.self, from: [0x22] + broken + [0x22]) }
        }
        func nest(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        #expect(failure([String: Int].self, nest(512)) == "|expected an object, found an array")
        #expect(failure([String: Int].self, nest(513)).contains("deeper than 512 levels"))
        #expect(failure([String: Int].self, String(repeating: "[{\"a\":", count: 1 << 20)).contains("deeper than 512 levels"))
    }

    @Test func aLargeObjectIsNotSearchedNameByName() throws {
        let count = 100_000
        let text = "{" + (0..<count).map { "\"key-\($0)\":\($0)" }.joined(separator: ",") + "}"
        let began = Date()
        #expect(try decode([String: Int].self, text).count == count)
        // A search for each would be 5,000,000,000 comparisons.
        #expect(Date().timeIntervalSince(began) < 60)
    }
}
