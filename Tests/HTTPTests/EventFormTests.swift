import Base
import Foundation
import HTTP
import Testing

/// What makes events equal (reference 7.4.36): RFC 8785 and the selecting part of JMESPath.
@Suite struct EventFormTests {
    private func canonical(_ text: String) -> String? {
        let out = ByteBuffer()
        out.append("before ")
        let isWritten = Array(text.utf8).withUnsafeBytes { JCS.write($0, to: out) }
        #expect(out.string.hasPrefix("before ") && (isWritten || out.count == 7), "what was there stays, and nothing is added to no avail")
        return isWritten ? String(out.string.dropFirst(7)) : nil
    }

    /// RFC 8785, appendix B.
    @Test func numbersAreWrittenAsECMAScriptWritesThem() {
        let samples: [(UInt64, String)] = [
            (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"), (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"), (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"), (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"), (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"), (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"), (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"), (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"), (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"), (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"), (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ]
        for (bits, wanted) in samples {
            let out = ByteBuffer()
            JCS.write(Double(bitPattern: bits), to: out)
            #expect(out.string == wanted)
            // By way of a text that no canonical writer would write.
            #expect(canonical(" \(Double(bitPattern: bits)) ") == wanted)
        }
        let spelled = [
            ("-0", "0"), ("-0.0", "0"), ("1.0", "1"), ("1e0", "1"), ("100e-2", "1"), ("0.1e1", "1"), ("10", "10"), ("1E21", "1e+21"),
            ("123456789012345", "123456789012345"), ("9007199254740993", "9007199254740992"), ("0.0000001", "1e-7"), ("-0.5e-0", "-0.5"),
            ("100000000000000000000", "100000000000000000000"), ("1000000000000000000000", "1e+21"), ("1e-400", "0"), ("1.5E300", "1.5e+300"),
        ]
        for (text, wanted) in spelled { #expect(canonical(text) == wanted, "\(text)") }
        #expect(canonical("1e400") == nil && canonical("[-1e999]") == nil, "no double holds it")
    }

    /// RFC 8785 §3.2.2 and §3.2.3.
    @Test func textsOfTheSameMeaningHaveTheSameBytes() {
        let sample = #"""
            {
              "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
              "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
              "literals": [null, true, false]
            }
            """#
        #expect(
            canonical(sample)
                == #"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#)
        let names = #"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#
        #expect(canonical(names) == "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}")
        let same = [
            (#" { } "#, "{}"), ("[ ]", "[]"), (#"{"b":{"d":1,"c":[{"z":0,"y":0}]},"a":"\u0061"}"#, #"{"a":"a","b":{"c":[{"y":0,"z":0}],"d":1}}"#),
            (#"{"aa":1,"a":2,"":3}"#, #"{"":3,"a":2,"aa":1}"#), ("\"\u{7f}\"", "\"\u{7f}\""), (#""\b\f\t\u001F\/""#, #""\b\f\t\u001f/""#),
            // By what names are, not by how they are escaped: a line feed is before a space.
            (##"{" ":1,"\n":2,"#":3}"##, ##"{"\n":2," ":1,"#":3}"##),
        ]
        for (text, wanted) in same { #expect(canonical(text) == wanted, "\(text)") }
        let none = [
            #"{"a":1,"a":2}"#, #"{"a":1,"b":0,"\u0061":1}"#, #"["\ud800"]"#, #""\udc00\ud800""#, #"{"\ud83d":1}"#, #""\ud83d\\ude00""#,
            #"[{"x":[{"k":0,"k":0}]}]"#,
        ]
        for text in none { #expect(canonical(text) == nil, "\(text)") }
    }

    // MARK: Seeded

    /// A value, and a way to write it that differs each time.
    private indirect enum Value {
        case atom(String)
        case list([Value])
        case object([(String, Value)])
    }

    private func value(_ random: inout Random, depth: Int) -> Value {
        switch Int.random(in: 0..<(depth > 4 ? 4 : 6), using: &random) {
        case 0: return .atom(["null", "true", "false", "0", "-1"].randomElement(using: &random) ?? "0")
        case 1: return .atom("\(Int64.random(in: -(1 << 53)...1 << 53, using: &random))")
        case 2:
            let number = Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &random))
            return .atom(number.isFinite ? "\(number)" : "1.5")
        case 3: return .atom("\"\(name(&random))\"")
        case 4: return .list((0..<Int.random(in: 0...4, using: &random)).map { _ in value(&random, depth: depth + 1) })
        default:
            var members: [String: Value] = [:]
            for _ in 0..<Int.random(in: 0...5, using: &random) { members[name(&random)] = value(&random, depth: depth + 1) }
            return .object(members.map { ($0.key, $0.value) })
        }
    }

    /// Characters that need no escape; those that may get one are escaped when they are written.
    private func name(_ random: inout Random) -> String {
        let characters: [Character] = ["a", "b", "z", "A", "0", " ", "/", "\u{7f}", "é", "€", "\u{e000}", "\u{ffff}", "😀", "𐀀"]
        return String((0..<Int.random(in: 0...5, using: &random)).map { _ in characters.randomElement(using: &random) ?? "x" })
    }

    private func text(_ value: Value, _ random: inout Random) -> String {
        func space() -> String { ["", "", "", " ", "\n", "\t ", "\r\n"].randomElement(using: &random) ?? "" }
        func escaped(_ text: String) -> String {
            text.unicodeScalars.map { scalar in
                guard scalar != "\"", Bool.random(using: &random) else { return String(scalar) }
                return String(scalar).utf16.map { String(format: Bool.random(using: &random) ? "\\u%04x" : "\\u%04X", $0) }.joined()
            }.joined()
        }
        switch value {
        case .atom(let text) where text.hasPrefix("\""): return space() + "\"" + escaped(String(text.dropFirst().dropLast())) + "\"" + space()
        case .atom(let text): return space() + text + space()
        case .list(let members): return "\(space())[\(members.map { text($0, &random) }.joined(separator: ","))\(space())]"
        case .object(let members):
            let all = members.shuffled(using: &random).map { "\(space())\"\(escaped($0.0))\"\(space()):\(text($0.1, &random))" }
            return "\(space()){\(all.joined(separator: ","))\(space())}\(space())"
        }
    }

    /// As Foundation reads them; it reads some numbers by way of decimals, an ulp beside the double.
    private func isSame(_ a: Any, _ b: Any) -> Bool {
        switch (a, b) {
        case (let a as [Any], let b as [Any]): a.count == b.count && zip(a, b).allSatisfy { isSame($0, $1) }
        case (let a as [String: Any], let b as [String: Any]):
            a.count == b.count && a.allSatisfy { name, value in b[name].map { isSame(value, $0) } == true }
        case (let a as String, let b as String): a.unicodeScalars.elementsEqual(b.unicodeScalars)
        case (let a as NSNumber, let b as NSNumber): abs(a.doubleValue - b.doubleValue) <= abs(a.doubleValue) * 1e-15
        default: a is NSNull && b is NSNull
        }
    }

    @Test(arguments: [UInt64(1), 2, 8785]) func howATextIsWrittenChangesNothing(seed: UInt64) throws {
        var random = Random(seed: seed)
        for round in 0..<300 {
            let value = Value.list([value(&random, depth: 0), self.value(&random, depth: 1)])
            let (one, other) = (text(value, &random), text(value, &random))
            let form = try #require(canonical(one), "seed \(seed), round \(round): \(one)")
            #expect(canonical(other) == form && canonical(form) == form, "seed \(seed), round \(round): \(one) and \(other)")
            let meant = try JSONSerialization.jsonObject(with: Data(one.utf8))
            let told = try JSONSerialization.jsonObject(with: Data(form.utf8))
            #expect(isSame(meant, told), "seed \(seed), round \(round): \(one) became \(form)")
            // Damaged, it is still bytes: in one form or as it came, and the reader stays inside of them.
            var damaged = Array(one.utf8)
            damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            let out = ByteBuffer()
            #expect(damaged.withUnsafeBytes { EventForm.jcs.write($0, to: out) } && out.count > 0, "seed \(seed), round \(round)")
        }
    }

    // MARK: Selections

    private func select(_ expression: String, _ text: String) throws -> String {
        let path = try JMESPath(expression)
        let out = ByteBuffer()
        switch Array(text.utf8).withUnsafeBytes({ path.write($0, to: out) }) {
        case nil: return "no form"
        case false?: return "nothing"
        case true?: return out.string
        }
    }

    /// jmespath.org, "Specification"; the expected values are those of its Python library 1.1.0.
    @Test func selectionsPickWhatJMESPathPicks() throws {
        let text = #"""
            {"a": {"b": {"c": [1, {"d": "x"}, null, [7.0, 8]]}, "e\u0066": "quoted"}, "foo": "1", "with space": {"\"": 2},
             "n": null, "list": ["0", "1", "2"], "twice": 1, "empty": {}}
            """#
        let cases = [
            ("foo", #""1""#), ("a.b.c[0]", "1"), ("a.b.c[1].d", #""x""#), ("a.b.c[-1][0]", "7"), ("a.b.c[-1][-2]", "7"), ("list[3]", "nothing"),
            ("list[-4]", "nothing"), ("list[-3]", #""0""#), ("n", "nothing"), ("n.x", "nothing"), ("foo.x", "nothing"), ("list.x", "nothing"),
            ("a[0]", "nothing"), (#""with space"."\"""#, "2"), ("a.ef", #""quoted""#), ("[foo, list[1]]", #"["1","1"]"#), ("[n, foo]", #"[null,"1"]"#),
            ("[n, missing]", "nothing"), ("{x: n, y: missing}", "nothing"), ("{y: foo, x: a.b.c[0]}", #"{"x":1,"y":"1"}"#),
            ("a.b.c[1].[d, e]", #"["x",null]"#), ("a.{z: ef, \"y y\": b.c[0]}", #"{"y y":1,"z":"quoted"}"#), ("missing.[a, b]", "nothing"),
            ("missing.{a: b}", "nothing"), ("[a, foo][1]", #""1""#), ("{x: foo}.x", #""1""#), ("@.foo", #""1""#), ("empty", "{}"), (" list [ 2 ] ", #""2""#),
            ("[[foo], [n]]", #"[["1"],[null]]"#), ("_x", "nothing"), ("a . b . c [ 0 ]", "1"),
        ]
        for (expression, wanted) in cases { #expect(try select(expression, text) == wanted, "\(expression)") }
        #expect(try select("@", " [1.0 ,2] ") == "[1,2]" && select("[0]", "[3]") == "3" && select("a", "7") == "nothing")
        #expect(try select("[a, a.x]", #"{"a":{"x":2},"a":1}"#) == "no form" && select("a", #"{"a":{"k":1,"k":2}}"#) == "no form" && select("[a,b]", #"{"a":1,"b":"\ud800"}"#) == "no form")
    }

    @Test func whatSelectsNothingOrMoreThanSelectsIsRefusedWithItsPlace() {
        let refused = [
            ("", "it ends where a name is due"), ("a.", "it ends where a name is due"), ("a..b", "a name is due"), ("a b", "b at byte 2"), ("1a", "1a at byte 0"),
            ("a[", "it ends where a number is due"), ("a[1", "it ends where ] is due"), ("a[1x]", "x] at byte 3"), ("[a", ", or ] is due"), ("{a:b", ", or } is due"),
            ("{a}", "} at byte 2"), ("{a:b,a:c}", "is there twice"), ("a[99999999999999999999]", "no number that an array"), ("\"a", "does not end"),
            ("\"\"", "no JSON string"), ("\"\\x\"", "no JSON string"), ("*", "wildcards"), ("a[*]", "wildcards"), ("a.*", "wildcards"), ("a[?b]", "filters"),
            ("a[]", "a number is due"), ("[]", "flattening"), ("a[0:1]", "slices"), ("a | b", "pipes"), ("length(a)", "functions"), ("(a)", "functions"),
            ("`1`", "literals"), ("'a'", "literals"), ("a || b", "pipes"), ("a && b", "and"), ("!a", "not"), ("a == b", "comparisons"), ("a[b]", "a number is due"),
            ("\u{e9}", "at byte 0"), (String(repeating: "a.", count: 600) + "a", "longer than"), (String(repeating: "a.", count: 64) + "a", "more than 64 steps"),
        ]
        for (expression, why) in refused {
            do {
                _ = try JMESPath(expression)
                Issue.record("\(expression) was taken")
            } catch {
                #expect("\(error)".contains(why), "\(expression): \(error)")
            }
        }
        var random = Random(seed: 77)
        for _ in 0..<3000 {
            let characters = Array("ab.[]{}:,\"\\0-1@* é")
            let length = Int.random(in: 0...12, using: &random)
            _ = try? JMESPath(String((0..<length).map { _ in characters.randomElement(using: &random) ?? "a" }))
        }
    }

    private func form(_ key: String, _ event: String) throws -> String? {
        let out = ByteBuffer()
        let form = try EventForm(key)
        return Array(event.utf8).withUnsafeBytes { form.write($0, to: out) } ? out.string : nil
    }

    /// Semantic 7.4.36: duplicate names and lone surrogates make an event equal only to itself.
    @Test func aFormSaysWhenEventsAreEqual() throws {
        #expect(try form("raw", #"{"a":1}"#) != form("raw", #"{ "a":1}"#))
        #expect(try form("jcs", #"{"b":1.0,"a":2}"#) == form("jcs", #"{ "a":2, "b":1}"#))
        let deep = String(repeating: "[", count: 65) + String(repeating: "]", count: 65)
        for text in [#"{"a":1,"a":2}"#, #"{"a":"\ud800"}"#, deep, "not JSON"] {
            #expect(try form("jcs", text) == text + "r" && form("jmespath:a", text) == text + "r", "\(text)")
        }
        #expect(try form("jmespath:user.id", #"{"user":{"id":7,"name":"x"}}"#) == form("jmespath:user.id", #"{"at":1,"user":{"name":"y","id":7.0}}"#))
        #expect(try form("jmespath:user.id", #"{"user":{}}"#) == nil && form("jmespath:[a]", "[1]") == nil)
        for (key, why) in [("RAW", "use raw, jcs or"), ("", "use raw, jcs or"), ("jmespath:", "where a name is due"), ("jmespath:a[*]", "wildcards")] {
            #expect(performing: { try EventForm(key) }, throws: { "\($0)".contains(why) })
        }
    }
}
