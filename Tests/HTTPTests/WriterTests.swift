import Base
import Foundation
import Testing

@testable import HTTP

private func written(_ body: (ByteBuffer) -> Void) -> String {
    let buffer = ByteBuffer(capacity: 16)
    body(buffer)
    return buffer.string
}

@Suite struct WriterTests {
    @Test func headsAreWrittenAsTheParsersReadThem() {
        let id = RequestID(high: 0x0123_4567_89AB_4DEF, low: 0x8123_4567_89AB_CDEF)
        let value = Array("raw".utf8)
        let head = written { buffer in
            buffer.appendStatusLine(200)
            buffer.appendField("A", "literal")
            value.withUnsafeBytes { buffer.appendField("B", $0) }
            buffer.appendField("C", String(describing: value.count))
            buffer.appendField("D", value)
            buffer.appendField("Content-Length", UInt64.max)
            buffer.appendField("F", 0)
            buffer.appendField("G", id)
            buffer.appendField("H", HTTPDate(epochSeconds: 784_111_777))
            value.withUnsafeBytes { buffer.appendField(name: $0, value: $0) }
            buffer.appendHeadEnd()
        }
        #expect(
            head == """
                HTTP/1.1 200 OK\r
                A: literal\r
                B: raw\r
                C: 3\r
                D: raw\r
                Content-Length: 18446744073709551615\r
                F: 0\r
                G: 01234567-89ab-4def-8123-456789abcdef\r
                H: Sun, 06 Nov 1994 08:49:37 GMT\r
                raw: raw\r
                \r\n
                """)
        let line = written { $0.appendRequestLine("POST", "/a?b") }
        #expect(line == "POST /a?b HTTP/1.1\r\n")
    }

    @Test func everyStatusLineIsReadBackWithItsCodeAndReason() {
        var registered = 0
        var wrong: [Int] = []
        for status in 100...599 {
            let line = written { $0.appendStatusLine(status) }
            let reason = text(HTTPStatus.reason(status))
            registered += reason.isEmpty ? 0 : 1
            if line != "HTTP/1.1 \(status) \(reason)\r\n" { wrong.append(status) }
            if !response(line + "\r\n").description.hasPrefix("\(status) \(reason) 1.1 ") {
                wrong.append(status)
            }
        }
        // IANA registry: 5 + 10 + 8 + 29 + 11 codes, without 104 (temporary), 306 and 418 (unused)
        #expect(
            wrong == [] && registered == 4 + 10 + 8 + 28 + 11
                && text(HTTPStatus.reason(429)) == "Too Many Requests")
        #expect(HTTPError.allCases.allSatisfy { !HTTPStatus.reason($0.status).isEmpty })
    }

    @Test func chunksAreWrittenWithTheirSizeAndNoneForNothing() {
        let sizes = [1, 9, 10, 15, 16, 255, 256, 4096, 0]
        var expected = ""
        let chunks = written { buffer in
            for size in sizes {
                let bytes = [UInt8](repeating: 0x78, count: size)
                bytes.withUnsafeBytes { buffer.appendChunk($0) }
                if size > 0 { expected += String(size, radix: 16) + "\r\n" + text(bytes) + "\r\n" }
            }
            buffer.appendLastChunk()
        }
        #expect(chunks == expected + "0\r\n\r\n")
        let numbers: [UInt64] = [0, 1, 15, 16, 0xABC, .max]
        #expect(numbers.allSatisfy { n in written { $0.append(hexadecimal: n) } == String(n, radix: 16) })
    }

    @Test func datesAgreeWithTheCalendar() {
        var random = Random(seed: 7)
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        var times: [UInt64] = [
            0, 59, 86_399, 86_400, 951_782_399, 951_782_400, 951_868_800, 4_107_542_399, 4_107_542_400,
        ]
        for _ in 0..<300 { times.append(UInt64.random(in: 0...253_402_300_799, using: &random)) }
        let wrong = times.filter { time in
            written { $0.append(HTTPDate(epochSeconds: time)) }
                != formatter.string(from: Date(timeIntervalSince1970: Double(time)))
        }
        #expect(wrong == [])
        #expect(written { $0.append(HTTPDate(epochSeconds: .max)) } == "Fri, 31 Dec 9999 23:59:59 GMT")
    }

    @Test func namesAndValuesOfFunctionsAreHeldToTheRules() {
        func token(_ text: String) -> Bool { Array(text.utf8).withUnsafeBytes { isToken($0) } }
        func value(_ text: String) -> Bool { Array(text.utf8).withUnsafeBytes { isFieldValue($0) } }
        let tokens: [(String, Bool)] = [
            ("x-a", true), ("!#$%&'*+-.^_`|~09azAZ", true), ("", false), ("a b", false), ("a:", false),
            ("a\r\n", false),
            ("\u{E9}", false), ("a\0", false), ("(", false),
        ]
        let values: [(String, Bool)] = [
            ("", true), ("a b\t\u{E9}~", true), ("a\r\nSet-Cookie: x", false), ("a\n", false), ("\r", false),
            ("\0", false),
            ("\u{7F}", false), ("\u{1B}[0m", false),
        ]
        #expect(tokens.allSatisfy { token($0.0) == $0.1 && isToken($0.0) == $0.1 })
        #expect(values.allSatisfy { value($0.0) == $0.1 && isFieldValue($0.0) == $0.1 })
    }

    @Test func percentEncodingGoesBothWays() {
        func decoded(_ text: String, plus: Bool) -> String? {
            Array(text.utf8).withUnsafeBytes { percentDecode($0, plusIsSpace: plus) }.map {
                HTTPTests.text($0)
            }
        }
        func encoded(_ bytes: [UInt8], keepSlash: Bool = false) -> String {
            written { buffer in
                bytes.withUnsafeBytes { buffer.append(percentEncoding: $0, keepSlash: keepSlash) }
            }
        }
        #expect(
            decoded("a%20b+c%2f%C3%a9", plus: true) == "a b c/\u{E9}" && decoded("a+b", plus: false) == "a+b")
        #expect(["%", "%2", "a%zz", "%2g", "%%20", "%+1"].allSatisfy { decoded($0, plus: true) == nil })
        #expect(encoded(Array("/a b-._~*'+\u{E9}".utf8)) == "%2Fa%20b-._~%2A%27%2B%C3%A9")
        #expect(encoded(Array("/a/%".utf8), keepSlash: true) == "/a/%25")
        let every = Array(UInt8.min...UInt8.max)
        let back = Array(encoded(every).utf8).withUnsafeBytes { percentDecode($0, plusIsSpace: true) }
        #expect(back == every)
    }

    @Test func queriesAreSplitAtAmpersandsAndTheFirstEqualsSign() {
        func items(_ query: String) -> [String] {
            Array(query.utf8).withUnsafeBytes { bytes in
                QueryItems(bytes).map { "\($0.name.string(bytes))|\($0.value?.string(bytes) ?? "nil")" }
            }
        }
        #expect(items("") == [] && items("&&") == [] && items("=") == ["|"])
        #expect(items("a=1&b&c=&=d&a=2=3&&e%26=+") == ["a|1", "b|nil", "c|", "|d", "a|2=3", "e%26|+"])
    }
}
