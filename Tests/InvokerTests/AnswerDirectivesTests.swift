import Base
import Testing

@testable import Invoker

/// What an answer says of its own storing: pure, and never a crash on what a function answers.
@Suite struct AnswerDirectivesTests {
    private func read(_ payload: String) -> AnswerDirectives { Array(payload.utf8).withUnsafeBytes { AnswerDirectives($0) } }

    private func control(_ value: String) -> AnswerDirectives {
        read(#"{"statusCode":200,"headers":{"Cache-Control":"\#(value)"}}"#)
    }

    /// RFC 9111 §5.2.2, reference 7.2.13: the first of a doubled directive counts; what is no number is no lifetime.
    @Test func directivesAreReadAsRFC9111Says() {
        let lifetimes: [(String, Span?)] = [
            ("max-age=60", .seconds(60)), ("MAX-AGE=60", .seconds(60)), (" public ,\\tmax-age=60 ", .seconds(60)), (#"max-age=\"60\""#, .seconds(60)),
            ("max-age=60, max-age=5", .seconds(60)), ("max-age=60, s-maxage=5", .seconds(5)), ("s-maxage=5, max-age=60", .seconds(5)),
            ("max-age=", .zero), ("max-age=-1", .zero), ("max-age=1.5", .zero), ("max-age=x", .zero), ("max-age", .zero), ("public", nil), ("", nil), (",,", nil),
            ("max-age=99999999999999999999999", .seconds(31_536_000)),
        ]
        for (value, ttl) in lifetimes { #expect(control(value).ttl == ttl && !control(value).forbids, "\(value)") }
        for value in ["no-store", "no-cache", "private", "PRIVATE, max-age=5", "no-cache=\\\"x\\\"", "max-age=5,no-store"] { #expect(control(value).forbids, "\(value)") }
        #expect(control("stale-while-revalidate=7").staleWhileRevalidate == .seconds(7) && control("public").isPublic)
        let targeted = read(#"{"headers":{"cache-control":"no-store","HEARTH-cache-Control":"max-age=9"},"statusCode":201}"#)
        #expect(targeted.ttl == .seconds(9) && !targeted.forbids && targeted.status == 201, "RFC 9213 §2.2")
    }

    @Test func onlyWhatHasAStatusCodeIsAResponse() {
        for payload in [#"{"headers":{"Cache-Control":"no-store"}}"#, "[]", "7", "\"x\"", "", "{", #"{"cookies":["a"]}"#, #"{"statusCode":"x","headers":{"Cache-Control":"no-store"}}"#] {
            let wish = read(payload)
            #expect(wish.status == nil && !wish.forbids && wish.ttl == nil && !wish.setsCookies, "\(payload)")
        }
        let rich = read(#"{"statusCode":200,"cookies":["a=1"],"headers":{"Vary":"Accept, X-\u0059","Cache-Tag":"a, b ,, c","x":7,"y":null}}"#)
        #expect(rich.setsCookies && rich.varies.map { String(decoding: $0, as: UTF8.self) } == ["accept", "x-y"])
        #expect(rich.tags.map { String(decoding: $0, as: UTF8.self) } == ["a", "b", "c"])
        #expect(!read(#"{"statusCode":200,"cookies":[]}"#).setsCookies && read(#"{"statusCode":200,"headers":{"SET-COOKIE":"a"}}"#).setsCookies)
        let many = "[" + (0..<500).map { "t\($0)" }.joined(separator: ",")
        #expect(read(#"{"statusCode":200,"headers":{"Cache-Tag":"\#(many)"}}"#).tags.count == 60)
    }

    @Test(arguments: [UInt64(1), 2, 3]) func noAnswerBreaksTheReader(seed: UInt64) {
        var random = Random(seed: seed)
        let text = Array(#"{"statusCode":200,"headers":{"Cache-Control":"public, max-age=\u0036","Vary":"a,b","Cache-Tag":"x"},"cookies":["a"]}"#.utf8)
        for _ in 0..<5000 {
            var damaged = text
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 0..<damaged.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let wish = damaged.prefix(Int.random(in: 0...damaged.count, using: &random)).withUnsafeBytes { AnswerDirectives($0) }
            #expect(wish.ttl.map { $0 <= .seconds(31_536_000) } != false && wish.tags.count <= 60, "seed \(seed): \(damaged)")
        }
    }

    @Test func aStoredResultIsReadAsItWasWritten() {
        let out = ByteBuffer()
        let long = String(repeating: "x", count: 1000)
        for (text, isError, run) in [("", false, Span.zero), ("{}", true, .milliseconds(200)), (long, false, .seconds(900))] {
            #expect(Array(text.utf8).withUnsafeBytes { StoredResult.write($0, isError: isError, run: run, form: nil, to: out) })
            let hit = StoredResult.hit(out.bytes, .none)
            #expect(hit.payload.elementsEqual(text.utf8) && hit.isError == isError && !hit.isRendered && StoredResult.run(out.bytes) == run)
            #expect(hit.outcome.payload.elementsEqual(text.utf8))
        }
    }
}
