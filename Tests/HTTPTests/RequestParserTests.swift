import Base
import Testing

@testable import HTTP

@Suite struct RequestParserTests {
    @Test func wellFormedRequestsAreReadInFull() {
        let read = goodRequests.map { request($0.0).description }
        #expect(read == goodRequests.map(\.1))
    }

    @Test func everyBrokenRuleIsRefusedByItsName() {
        let wrong = badRequests.filter { request($0.0) != .refused($0.1) }
        #expect(wrong.map { "\($0.0.debugDescription): \(request($0.0))" } == [])
    }

    @Test func divisionAmongReadsChangesNothing() {
        let memory = GuardedBytes()
        var wrong: [String] = []
        for sample in goodRequests.map(\.0) + badRequests.map(\.0)
            + goodRequests.map({ String($0.0.dropLast(3)) })
        {
            let bytes = Array(sample.utf8)
            let whole = request(bytes, ends: [bytes.count], memory: memory)
            if request(bytes, ends: 0...bytes.count, memory: memory) != whole {
                wrong.append("by byte: \(sample)")
            }
            for split in 0...bytes.count
            where request(bytes, ends: [split, bytes.count], memory: memory) != whole {
                wrong.append("at \(split): \(sample)")
            }
        }
        #expect(wrong == [])
    }

    @Test func limitsHoldAtTheirEdge() {
        let limits = HTTPLimits(lineBytesMax: 20, headerCountMax: 3, headBytesMax: 100)
        func line(_ count: Int) -> String {
            "GET /" + String(repeating: "a", count: count - 14) + " HTTP/1.1"
        }
        func head(_ count: Int) -> String {
            let start = "GET / HTTP/1.1\r\nHost: a\r\nB: "
            return start + String(repeating: "b", count: count - start.utf8.count - 4) + "\r\n\r\n"
        }
        let rest = "\r\nHost: a\r\n\r\n"
        let cases: [(String, HTTPError?)] = [
            (line(20) + rest, nil), (line(21) + rest, .lineTooLong), (line(21), nil),
            (line(22), .lineTooLong),
            (line(90) + rest, .lineTooLong), ("\r\n" + line(20) + rest, nil),
            ("\r\n" + line(21) + rest, .lineTooLong),
            (line(20) + "\r\nHost: a\r\nB: c\r\nD: e\r\n\r\n", nil),
            (line(20) + "\r\nHost: a\r\nB: c\r\nD: e\r\nF: g\r\n\r\n", .tooManyFields),
            (head(100), nil), (head(101), .headTooLarge), (head(200), .headTooLarge),
            (text(head(100).utf8.dropLast()), nil), (text(head(101).utf8.dropLast()), .headTooLarge),
            (text(head(99).utf8.dropLast()), nil),
        ]
        let memory = GuardedBytes()
        for (sample, error) in cases {
            let bytes = Array(sample.utf8)
            let whole = request(bytes, ends: [bytes.count], limits: limits, memory: memory)
            let byByte = request(bytes, ends: 0...bytes.count, limits: limits, memory: memory)
            var refusal: HTTPError?
            if case .refused(let why) = whole { refusal = why }
            #expect(
                refusal == error && byByte == whole, "\(sample.debugDescription): \(whole), by byte \(byByte)"
            )
        }
    }

    @Test func aParserReadsOneRequestAfterAnotherAndStaysFailed() throws {
        let parser = HTTPRequestParser()
        let first = "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: t\r\n\r\n"
        let memory = GuardedBytes()
        let bytes = memory.holding(Array("\(first)okGET /b HTTP/1.1\r\nHost: y\r\n\r\n".utf8))
        #expect(try parser.parse(bytes))
        #expect(parser.header("content-type").map { $0.string(bytes) } == "t" && parser.framing == .length(2))
        let rest = UnsafeRawBufferPointer(rebasing: bytes[(parser.headBytes + 2)...])
        #expect(try parser.parse(rest))
        #expect(summary(parser, rest) == #"get(GET) /b@y 1.1 none keep 28 ["Host=y"]"#)
        #expect(parser.header("content-type") == nil && parser.header(.contentLength) == nil)

        let bad = memory.holding(Array("GET / HTTP/1.1\r\nHost : x\r\n\r\n".utf8))
        for _ in 0..<2 {
            #expect(throws: HTTPError.spaceBeforeColon) { try parser.parse(bad) }
        }
        parser.reset()
        #expect(try parser.parse(memory.holding(Array(goodRequests[0].0.utf8))))
    }

    @Test func everyKnownNameIsFoundInAnyCaseAndItsNeighboursAreNot() throws {
        var wrong: [String] = []
        let memory = GuardedBytes()
        for field in HTTPField.allCases where field.rawValue > HTTPField.expect.rawValue {
            let name = "\(field.name)"
            var near = Array(name.utf8)
            near[near.count / 2 - 1] = near[near.count / 2 - 1] == UInt8(ascii: "q") ? 0x70 : 0x71
            let fields = "\(text(near)): no\r\n\(name)x: no\r\n\(name.uppercased()): 1\r\n\(name): 2\r\n"
            let bytes = memory.holding(Array("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8))
            let parser = HTTPRequestParser()
            _ = try parser.parse(bytes)
            let found = [
                parser.header(field), parser.header(field.name), parser.header(field.name, in: bytes),
            ]
            if found.map({ $0?.string(bytes) }) != ["1", "1", "1"] { wrong.append(name) }
            if parser.header("x-unknown", in: bytes) != nil { wrong.append(name) }
        }
        #expect(wrong == [])
    }

    @Test func noPartOfAKnownNameIsTakenForIt() {
        let names = HTTPField.allCases.map { "\($0.name)" }
        var wrong: [String] = []
        for name in names {
            for count in 1..<name.utf8.count {
                for part in [name.prefix(count), name.suffix(count)] where !names.contains(String(part)) {
                    let bytes = Array(part.utf8)
                    let found = bytes.withUnsafeBufferPointer { buffer in
                        buffer.baseAddress.flatMap { FieldNames.shared.field($0, count) }
                    }
                    if found != nil { wrong.append(String(part)) }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func mutatedRequestsNeverCrashAndReadTheSameWhenWrittenAgain(seed: UInt64) throws {
        var random = Random(seed: seed)
        let memory = GuardedBytes()
        let corpus = (goodRequests.map(\.0) + badRequests.map(\.0)).map { Array($0.utf8) }
        var accepted = 0
        for round in 0..<2_000 {
            let bytes = mutated(
                corpus[Int.random(in: 0..<corpus.count, using: &random)], with: corpus, &random)
            let whole = request(bytes, ends: [bytes.count], memory: memory)
            let split = Int.random(in: 0...bytes.count, using: &random)
            let divided = request(bytes, ends: [split, bytes.count], memory: memory)
            guard whole == divided else {
                Issue.record("seed \(seed) round \(round) split \(split): \(text(bytes).debugDescription)")
                return
            }
            guard case .head = whole else { continue }
            accepted += 1
            let parser = HTTPRequestParser()
            let held = memory.holding(bytes)
            _ = try parser.parse(held)
            let copy = written(parser, held)
            let again = HTTPRequestParser()
            guard try again.parse(copy.bytes), again.headBytes == copy.count,
                written(again, copy.bytes).string == copy.string, again.framing == parser.framing
            else {
                Issue.record(
                    "seed \(seed) round \(round): \(text(bytes).debugDescription) became \(copy.string)")
                return
            }
        }
        #expect(accepted > 50, "the mutations must leave some requests whole")
    }

    /// The request that `parser` read, written by the serialiser.
    private func written(_ parser: HTTPRequestParser, _ bytes: UnsafeRawBufferPointer) -> ByteBuffer {
        let buffer = ByteBuffer()
        buffer.append(parser.methodRange.slice(bytes))
        buffer.append(UInt8(ascii: " "))
        buffer.append(parser.target.slice(bytes))
        buffer.append(parser.minorVersion == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
        for index in 0..<parser.headerCount {
            let (name, value) = (
                parser.headerName(index).slice(bytes), parser.headerValue(index).slice(bytes)
            )
            #expect(isToken(name) && isFieldValue(value))
            buffer.appendField(name: name, value: value)
        }
        buffer.appendHeadEnd()
        return buffer
    }
}
