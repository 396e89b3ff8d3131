import Base
import Foundation
import RESP
import Testing

/// What came of parsing: the requests that were complete, each as its arguments, and the error that ended it.
struct Parsed: Equatable {
    var requests: [[String]] = []
    var left = 0
    var error: RESPError?
}

/// Parses `bytes` as they grow to each of `ends`; each time they lie in memory of their own that ends with them.
func parse(_ bytes: [UInt8], ends: some Sequence<Int>, limits: RESPLimits = RESPLimits()) -> Parsed {
    let parser = RequestParser(limits: limits)
    var parsed = Parsed()
    var from = 0
    for end in ends {
        while parsed.error == nil {
            let room = UnsafeMutableRawBufferPointer.allocate(byteCount: end - from, alignment: 1)
            defer { room.deallocate() }
            room.copyBytes(from: bytes[from..<end])
            do {
                let taken = try parser.parse(UnsafeRawBufferPointer(room))
                if taken == 0 { break }
                let arguments = parser.arguments(UnsafeRawBufferPointer(room))
                parsed.requests.append((0..<arguments.count).map { String(decoding: arguments[$0], as: UTF8.self) })
                from += taken
            } catch {
                parsed.error = error
            }
        }
    }
    parsed.left = bytes.count - from
    return parsed
}

func parse(_ text: String, limits: RESPLimits = RESPLimits()) -> Parsed { parse(Array(text.utf8), ends: [text.utf8.count], limits: limits) }

private let good: [(String, [[String]])] = [
    ("*1\r\n$4\r\nPING\r\n", [["PING"]]),
    ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", [["SET", "k", ""]]),
    ("*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n*1\r\n$1\r\nx\r\n", [["GET", "\r\n"], ["x"]]),
    ("*0\r\n*-1\r\n\r\nPING\r\n", [[], [], [], ["PING"]]),
    ("GET k\nSET  k\t v \r\n", [["GET", "k"], ["SET", "k", "v"]]),
    (#"SET "a b\n\x41\"" 'it\'s\n'"# + "\r\n", [["SET", "a b\nA\"", #"it's\n"#]]),
    (#"a"b c"#  + "\"\r\n", [["ab c"]]),
    (#"x "" ''"# + "\r\n", [["x", "", ""]]),
]

private let bad: [(String, RESPError)] = [
    ("*x\r\n", .badCount), ("*1x\r\n", .badCount), ("*\r\n", .badCount), ("*1\rx", .badCount), ("*3000000000\r\n", .badCount),
    ("*99999999999999999999\r\n", .countTooLong), ("*1\r\n+x\r\n", .notABulk(0x2B)), ("*1\r\n*1\r\n", .notABulk(0x2A)),
    ("*1\r\n$-1\r\n", .badBulkLength), ("*1\r\n$9999999999\r\n", .badBulkLength), ("*1\r\n$x\r\n", .badBulkLength),
    ("*1\r\n$99999999999999999999\r\n", .bulkLengthTooLong), ("*1\r\n$1\r\nabc", .noLineEnd), ("*1\r\n$1\r\na\r\r", .noLineEnd),
    ("SET \"a\r\n", .unbalancedQuotes), ("SET 'a'b\r\n", .unbalancedQuotes), ("SET \"a\"b\r\n", .unbalancedQuotes),
]

@Suite struct RequestParserTests {
    @Test func requestsAreReadInFullHoweverTheyAreDivided() {
        var wrong: [String] = []
        for (text, requests) in good {
            let bytes = Array(text.utf8)
            let whole = parse(text)
            if whole != Parsed(requests: requests, left: 0) { wrong.append("\(text.debugDescription): \(whole)") }
            if parse(bytes, ends: 0...bytes.count) != whole { wrong.append("by byte: \(text.debugDescription)") }
        }
        for (text, error) in bad {
            let bytes = Array(text.utf8)
            let whole = parse(text)
            if whole.error != error { wrong.append("\(text.debugDescription): \(whole)") }
            if parse(bytes, ends: 0...bytes.count).error != error { wrong.append("by byte: \(text.debugDescription)") }
        }
        #expect(wrong == [])
    }

    @Test func limitsHoldAtTheirEdge() {
        var limits = RESPLimits()
        limits.lineBytesMax = 10
        limits.argumentsMax = 3
        limits.bulkBytesMax = 5
        limits.requestBytesMax = 8
        let cases: [(String, RESPError?)] = [
            ("GET abcdef\n", nil), ("GET abcdefg\n", .inlineTooLong), ("GET abcdefg", .inlineTooLong), ("a b c\n", nil),
            ("a b c d\n", .tooManyArguments), ("*3\r\n$1\r\na\r\n$1\r\nb\r\n$5\r\nabcde\r\n", nil), ("*4\r\n", .tooManyArguments),
            ("*1\r\n$6\r\n", .bulkTooLarge), ("*2\r\n$5\r\nabcde\r\n$4\r\n", .requestTooLarge), ("*2\r\n$5\r\nabcde\r\n$3\r\nabc\r\n", nil),
        ]
        let wrong = cases.filter { parse($0.0, limits: limits).error != $0.1 }
        #expect(wrong.map { "\($0.0.debugDescription): \(parse($0.0, limits: limits))" } == [])
        // what was announced is not taken memory for: a million arguments that never come, of 512 MiB each
        #expect(parse("*1048576\r\n$536870912\r\n").left == 22)
    }

    @Test func aParserStaysFailedAndStoredRequestsAreTheSame() {
        let failed = RequestParser()
        for _ in 0..<2 {
            let error = Array("*x\r\n".utf8).withUnsafeBytes { bytes -> RESPError? in
                do throws(RESPError) {
                    _ = try failed.parse(bytes)
                    return nil
                } catch { return error }
            }
            #expect(error == .badCount)
        }
        let right = Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\nvv\r\n".utf8)
        let stored = right.withUnsafeBytes { bytes in
            let parser = RequestParser()
            #expect((try? parser.parse(bytes)) == right.count)
            return StoredRequest(parser.arguments(bytes))
        }
        #expect((0..<stored.arguments.count).map { stored.arguments.string($0) } == ["SET", "", "vv"] && stored.byteCount == 5)
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func mutatedRequestsNeverCrashAndAreReadTheSameWhenDivided(seed: UInt64) {
        var random = Random(seed: seed)
        let corpus = (good.map(\.0) + bad.map(\.0)).map { Array($0.utf8) }
        let tricks = Array("*$\r\n -019\"'\\x\0".utf8) + [0x7F, 0xFF]
        var complete = 0
        for round in 0..<3_000 {
            var bytes = (0..<Int.random(in: 1...4, using: &random)).flatMap { _ in
                corpus[Int.random(in: 0..<corpus.count, using: &random)]
            }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = tricks[Int.random(in: 0..<tricks.count, using: &random)]
                case 1: bytes.insert(tricks[Int.random(in: 0..<tricks.count, using: &random)], at: at)
                default: if bytes.count > 1 { bytes.remove(at: at) }
                }
            }
            let whole = parse(bytes, ends: [bytes.count])
            let split = Int.random(in: 0...bytes.count, using: &random)
            let divided = parse(bytes, ends: [split, bytes.count])
            complete += whole.requests.count
            guard whole == divided || whole.error != nil && divided.error == whole.error && divided.requests == whole.requests else {
                Issue.record("seed \(seed) round \(round) split \(split): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
                return
            }
        }
        #expect(complete > 1_000, "the mutations leave nothing to read")
    }
}

@Suite struct ReplyWriterTests {
    @Test func everyTypeIsWrittenInBothVersions() {
        func written(_ isRESP3: Bool) -> String {
            let reply = ReplyWriter()
            reply.isRESP3 = isRESP3
            reply.ok()
            reply.error("ERR a\r\nb")
            reply.integer(-5 as Int64)
            reply.integer(Int64.min)
            reply.bulk("x\r\n" as String)
            reply.null()
            reply.nullArray()
            reply.array(2)
            reply.map(2)
            reply.set(2)
            reply.push(2)
            reply.bool(true)
            reply.verbatim("hi")
            return reply.buffer.string
        }
        #expect(
            written(false) == "+OK\r\n-ERR a  b\r\n:-5\r\n:-9223372036854775808\r\n$3\r\nx\r\n\r\n$-1\r\n*-1\r\n*2\r\n*4\r\n*2\r\n*2\r\n:1\r\n$2\r\nhi\r\n")
        #expect(
            written(true)
                == "+OK\r\n-ERR a  b\r\n:-5\r\n:-9223372036854775808\r\n$3\r\nx\r\n\r\n_\r\n_\r\n*2\r\n%2\r\n~2\r\n>2\r\n#t\r\n=6\r\ntxt:hi\r\n")
    }
}
