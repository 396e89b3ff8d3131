import Base
import Testing

@testable import HTTP

private let good: [(String, String, [String])] = [
    ("0\r\n\r\n", "", []),
    ("5\r\nhello\r\n0\r\n\r\n", "hello", []),
    ("1\r\na\r\n0A\r\n0123456789\r\n000\r\n\r\n", "a0123456789", []),
    ("0000000000000003\r\n\r\n\r\r\n0\r\n\r\n", "\r\n\r", []),
    ("3;a=b;c=\"d;\u{E9}\t\"\r\nabc\r\n0;x\r\n\r\n", "abc", []),
    ("1\r\nx\r\n0\r\nX-Sum:  1 2 \r\nb:\r\n\r\n", "x", ["x-sum=1 2", "b="]),
    ("0\r\nConnection: close\r\nCONTENT-type: t\r\n\r\n", "", ["connection=close", "content-type=t"]),
]

private let bad: [(String, HTTPError)] = [
    ("\r\n", .chunkSize), (" 5\r\nhello\r\n", .chunkSize), ("5 \r\nhello\r\n", .chunkSize),
    ("5 ;a\r\nhello", .chunkSize),
    ("0x5\r\nhello\r\n", .chunkSize), ("+5\r\nhello\r\n", .chunkSize), ("-5\r\nhello\r\n", .chunkSize),
    ("5_0\r\n", .chunkSize), ("g\r\n", .chunkSize), (";a\r\n", .chunkSize), ("5\nhello\r\n", .chunkSize),
    ("5\rXhello\r\n", .chunkSize), ("5\r\r\nhello", .chunkSize), ("5;a\nhello", .chunkSize),
    ("5;a\0\r\n", .chunkSize),
    ("5;a\r\r\nhello", .chunkSize), ("00000000000000005\r\nhello\r\n", .chunkSize),
    ("10000000000000000\r\n", .chunkSize),
    ("FFFFFFFFFFFFFFFF\r\n", .bodyTooLarge), ("7FFFFFFFFFFFFFFF\r\n", .bodyTooLarge),
    ("100001\r\n", .bodyTooLarge),
    ("5\r\nhelloX\r\n", .chunkEnd), ("5\r\nhello\n0\r\n\r\n", .chunkEnd), ("5\r\nhello\rX", .chunkEnd),
    ("5\r\nhello0\r\n\r\n", .chunkEnd), ("3\r\nhello\r\n0\r\n\r\n", .chunkEnd),
    ("0\r\n\n", .lineEnd), ("0\r\nA: b\n\r\n", .lineEnd), ("0\r\nA : b\r\n\r\n", .spaceBeforeColon),
    ("0\r\nA: b\r\n c\r\n\r\n", .folded), ("0\r\nA\r\n\r\n", .fieldName), ("0\r\nA: \0\r\n\r\n", .fieldValue),
    ("0\r\nGET / HTTP/1.1\r\n\r\n", .fieldName), ("0\r\nContent-Length: 5\r\n\r\n", .trailerForbidden),
    ("0\r\ntransfer-encoding: chunked\r\n\r\n", .trailerForbidden),
    ("0\r\nHOST: a\r\n\r\n", .trailerForbidden),
]

@Suite struct ChunkedDecoderTests {
    private let memory = GuardedBytes(room: 256)

    private func whole(_ text: String, max: Int = 1 << 20, limits: HTTPLimits = .standard) -> Decoded {
        let bytes = Array(text.utf8)
        return decode(bytes, ends: [bytes.count], max: max, limits: limits, memory: memory)
    }

    @Test func wellFormedBodiesAreDecodedAndWhatFollowsIsLeft() {
        for (sample, body, trailers) in good {
            let expected = Decoded(
                body: Array(body.utf8), consumed: sample.utf8.count, done: true, trailers: trailers)
            #expect(whole(sample + "GET /") == expected, "\(sample.debugDescription)")
            let cut = whole(text(sample.utf8.dropLast()))
            #expect(!cut.done && cut.error == nil && cut.body == Array(body.utf8))
        }
    }

    @Test func everyBrokenRuleIsRefusedByItsName() {
        let wrong = bad.filter { whole($0.0).error != $0.1 }
        #expect(wrong.map { "\($0.0.debugDescription): \(whole($0.0))" } == [])
    }

    @Test func divisionAmongReadsChangesNothing() {
        for sample in good.map({ $0.0 + "rest" }) + bad.map(\.0) {
            let bytes = Array(sample.utf8)
            let expected = whole(sample)
            var same = decode(bytes, ends: 0...bytes.count, memory: memory) == expected
            for split in 0...bytes.count {
                same = same && decode(bytes, ends: [split, bytes.count], memory: memory) == expected
            }
            if !same { Issue.record("\(sample.debugDescription)") }
        }
    }

    @Test func limitsHoldAtTheirEdge() {
        let limits = HTTPLimits(headerCountMax: 2, headBytesMax: 40, chunkLineBytesMax: 10)
        let many = String(repeating: "1;abcdefg\r\nx\r\n", count: 20_000)
        let padded = String(repeating: "1;abcdefghijklmnopqrstuvwxyz\r\nx\r\n", count: 20_000)
        let x28 = String(repeating: "x", count: 28)
        let cases: [(String, Int, HTTPLimits, HTTPError?)] = [
            ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5, limits, nil),
            ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 4, limits, .bodyTooLarge),
            ("0\r\n\r\n", 0, limits, nil), ("1\r\n", 0, limits, .bodyTooLarge),
            ("1;34567890\r\nx\r\n0\r\n\r\n", 9, limits, nil),
            ("1;345678901\r\nx\r\n", 9, limits, .chunkLineTooLong),
            ("0\r\na:\r\nb:\r\n\r\n", 0, limits, nil),
            ("0\r\na:\r\nb:\r\nc:\r\n\r\n", 0, limits, .tooManyFields),
            ("0\r\na: 1234567\(x28)\r\n\r\n", 0, limits, .headTooLarge),
            ("0\r\na: 12345\(x28)\r\n\r\n", 0, limits, nil),
            (many + "0\r\n\r\n", 1 << 20, .standard, nil), (padded, 1 << 20, .standard, .chunkOverhead),
        ]
        for (sample, max, limits, error) in cases {
            let result = whole(sample, max: max, limits: limits)
            #expect(
                result.error == error && (error != nil || result.done),
                "\(sample.prefix(60).debugDescription)")
        }
    }

    @Test func aFailedBodyStaysFailed() {
        var decoder = ChunkedDecoder()
        let buffer = ByteBuffer()
        let (broken, fine) = (Array("x".utf8), Array("0\r\n\r\n".utf8))
        for bytes in [broken, fine] {
            var error: HTTPError?
            bytes.withUnsafeBytes {
                do throws(HTTPError) {
                    _ = try decoder.decode($0, into: buffer, max: 10)
                } catch let why {
                    error = why
                }
            }
            #expect(error == .chunkSize)
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func mutatedBodiesNeverCrashAndDecodeTheSameWhenWrittenAgain(seed: UInt64) {
        var random = Random(seed: seed)
        let corpus = (good.map(\.0) + bad.map(\.0)).map { Array($0.utf8) }
        for round in 0..<2_000 {
            let bytes = mutated(
                corpus[Int.random(in: 0..<corpus.count, using: &random)], with: corpus, &random)
            let expected = decode(bytes, ends: [bytes.count], memory: memory)
            let split = Int.random(in: 0...bytes.count, using: &random)
            var same = decode(bytes, ends: [split, bytes.count], memory: memory) == expected
            if expected.done {
                let copy = ByteBuffer()
                expected.body.withUnsafeBytes { copy.appendChunk($0) }
                copy.appendLastChunk()
                let again = decode(Array(copy.bytes), ends: [copy.count], memory: memory)
                same = same && again.done && again.body == expected.body && again.consumed == copy.count
            }
            if !same {
                Issue.record("seed \(seed) round \(round) split \(split): \(text(bytes).debugDescription)")
            }
        }
    }
}
