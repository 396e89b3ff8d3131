import Base
import Testing

@testable import HTTP

private let ok = "HTTP/1.1 200 OK\r\n"

/// Responses that are read, with what is read: the last number counts the bytes of the head.
private let good: [(String, String)] = [
    (ok + "\r\n", "200 OK 1.1 untilClose close 19 []"),
    (ok + "Content-Length: 3\r\n\r\nabc", #"200 OK 1.1 length(3) keep 38 ["Content-Length=3"]"#),
    (
        ok + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        #"200 OK 1.1 chunked close 66 ["Transfer-Encoding=chunked", "Connection=close"]"#
    ),
    ("HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found 1.0 untilClose close 26 []"),
    (
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        #"200 OK 1.0 length(0) keep 62 ["Connection=keep-alive", "Content-Length=0"]"#
    ),
    ("HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n", #"204  1.1 none keep 36 ["Content-Length=0"]"#),
    (
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        #"304 Not Modified 1.1 none keep 48 ["Content-Length=9"]"#
    ),
    ("HTTP/1.1 100 Continue\r\n\r\n" + ok, "100 Continue 1.1 none keep 25 []"),
    ("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", #"200  1.1 length(1) keep 35 ["Content-Length=1"]"#),
    (
        "HTTP/1.1 599 \tx\u{E9}\r\nContent-Length: 1\r\n\r\n",
        "599 \tx\u{E9} 1.1 length(1) keep 40 [\"Content-Length=1\"]"
    ),
]

private let bad: [(String, HTTPError)] = [
    ("\r\n" + ok, .notHTTP), ("ICY 200 OK\r\n\r\n", .notHTTP), ("HTTP/1.1 200 OK\n\r\n", .lineEnd),
    ("HTTP/2.0 200 OK\r\n\r\n", .version), ("HTTP/1.1  200 OK\r\n\r\n", .statusLine),
    ("HTTP/1.1 20 OK\r\n\r\n", .statusLine), ("HTTP/1.1 2000 OK\r\n\r\n", .statusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", .statusLine), ("HTTP/1.1 600 OK\r\n\r\n", .statusLine),
    ("HTTP/1.1 +20 OK\r\n\r\n", .statusLine), ("HTTP/1.1\r\n\r\n", .statusLine), ("H\r\n", .statusLine),
    ("HTTP/1.1 200 O\0K\r\n\r\n", .statusLine), ("HTTP/1.1 200 OK\r\r\n\r\n", .statusLine),
    (ok + "A: b\r\n c\r\n\r\n", .folded), (ok + "A : b\r\n\r\n", .spaceBeforeColon),
    (ok + "A: \0\r\n\r\n", .fieldValue),
    (ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", .contentLengthRepeated),
    (ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .contentLengthWithTransferEncoding),
    (
        "HTTP/1.1 304 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        .contentLengthWithTransferEncoding
    ),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
    (ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", .transferCodingUnknown),
    (ok + "Transfer-Encoding: gzip\r\n\r\n", .transferEncoding),
    (ok + "Content-Length: x\r\n\r\n", .contentLength),
]

@Suite struct ResponseParserTests {
    @Test func wellFormedResponsesAreReadAndOthersRefusedByName() {
        #expect(good.map { response($0.0).description } == good.map(\.1))
        let wrong = bad.filter { response($0.0) != .refused($0.1) }
        #expect(wrong.map { "\($0.0.debugDescription): \(response($0.0))" } == [])
    }

    @Test func theAnswerToAHeadRequestHasNoBody() {
        let heads = [ok + "Content-Length: 3\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n\r\n", ok + "\r\n"]
        #expect(heads.allSatisfy { response($0, toHead: true).description.contains(" 1.1 none keep ") })
    }

    @Test func divisionAmongReadsChangesNothing() {
        let memory = GuardedBytes()
        for sample in good.map(\.0) + bad.map(\.0) {
            let bytes = Array(sample.utf8)
            let whole = response(bytes, ends: [bytes.count], memory: memory)
            var same = response(bytes, ends: 0...bytes.count, memory: memory) == whole
            for split in 0...bytes.count {
                same = same && response(bytes, ends: [split, bytes.count], memory: memory) == whole
            }
            if !same { Issue.record("\(sample.debugDescription)") }
        }
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func mutatedResponsesNeverCrash(seed: UInt64) {
        var random = Random(seed: seed)
        let memory = GuardedBytes()
        let corpus = (good.map(\.0) + bad.map(\.0)).map { Array($0.utf8) }
        for round in 0..<2_000 {
            let bytes = mutated(
                corpus[Int.random(in: 0..<corpus.count, using: &random)], with: corpus, &random)
            let whole = response(bytes, ends: [bytes.count], memory: memory)
            let split = Int.random(in: 0...bytes.count, using: &random)
            if response(bytes, ends: [split, bytes.count], memory: memory) != whole {
                Issue.record("seed \(seed) round \(round) split \(split): \(text(bytes).debugDescription)")
            }
        }
    }
}
