import Base
import Cache
import Testing

@testable import Catalog
@testable import Invoker

/// Keys and verdicts of memoized functions, without a server: what makes two invocations equal (7.4.36), and what is kept (7.4.38).
@Suite struct MemoKeyTests {
    private let namespace: NamespaceID

    init() throws {
        namespace = try Cache(limitBytes: 1 << 20, seed: 1, at: .zero).addNamespace(NamespaceSettings(name: "memo"))
    }

    private func rule(
        _ function: String = "f", code: String = "c", row: Int64 = 1, memoize: FunctionSettings.Memoize = .init(ttl: 60),
        _ change: (inout FunctionSettings) -> Void = { _ in }
    ) -> MemoRule {
        var settings = FunctionSettings(runtime: "python3", handler: "app.handler")
        change(&settings)
        let version = VersionEntry(
            rowID: row, number: Int(row), codeDigest: code, codeSize: 1, settings: settings, revisionID: "r", lastModifiedMilliseconds: 0,
            publishedDescription: nil)
        return MemoRule(function: function, version: version, memoize, in: namespace)
    }

    private func key(_ rule: MemoRule, _ event: String, context: String = "", with maker: MemoKey = MemoKey()) -> String? {
        let isMade = Array(event.utf8).withUnsafeBytes { event in
            Array(context.utf8).withUnsafeBytes { maker.make(rule, event: event, context: $0) }
        }
        return isMade ? String(decoding: maker.bytes, as: UTF8.self) : nil
    }

    @Test func aScopeIsFunctionCodeAndWhatCanChangeAResult() {
        let base = key(rule(), "{}")
        #expect(base?.wholeMatch(of: /f\/[0-9a-f]{16}\/[0-9a-f]{64}/) != nil, "\(base ?? "none")")
        var memoize = FunctionSettings.Memoize(ttl: 5)
        memoize.staleWhileRevalidate = 7
        memoize.errors = 1
        memoize.audit = 0.5
        // Another version of the same, with other concurrency and another lifetime, finds what this one has stored.
        let other = rule(row: 9, memoize: memoize) {
            $0.concurrency.queue = 7
            $0.description = "x"
            $0.snapStart = true
        }
        #expect(key(other, "{}") == base)
        var form = FunctionSettings.Memoize(ttl: 60)
        form.key = "jcs"
        var shared = FunctionSettings.Memoize(ttl: 60)
        shared.identity = "none"
        let others = [
            rule("g"), rule(code: "d"), rule(memoize: form), rule(memoize: shared), rule { $0.runtime = "python3.11" },
            rule { $0.handler = "app.other" },
            rule { $0.memorySize = 256 }, rule { $0.timeout = 4 }, rule { $0.ephemeralStorage = 1024 },
            rule { $0.concurrency.isOffline = true },
            rule { $0.environment = ["A": "1"] }, rule { $0.environment = ["A1": ""] },
            rule { $0.environment = ["A": "1", "B": ""] },
            rule { $0.environment = ["": "A1"] },
        ]
        let keys = others.map { key($0, "{}") }
        #expect(Set(keys).count == others.count && !keys.contains(base) && !keys.contains(nil))
        let tags = rule().tags.map { String(decoding: $0, as: UTF8.self) }
        #expect(tags.count == 2 && tags[0] == "function:f" && tags[1].wholeMatch(of: /version:f\/[0-9a-f]{16}/) != nil, "\(tags)")
    }

    /// No bytes of one part can be taken for those of another.
    @Test(arguments: [UInt64(3), 36]) func equalKeysComeOfEqualParts(seed: UInt64) {
        var random = Random(seed: seed)
        let (rule, maker) = (rule(), MemoKey())
        var known: [String: [[UInt8]]] = [:]
        for _ in 0..<4000 {
            // Few bytes, so that the same are put together from other parts.
            let parts = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                (0..<Int.random(in: 0...5, using: &random)).map { _ in UInt8([0, 1, 255].randomElement(using: &random) ?? 0) }
            }
            maker.begin(rule, .functionURL)
            for part in parts { part.withUnsafeBytes { maker.add($0) } }
            maker.end(rule)
            let key = String(decoding: maker.bytes, as: UTF8.self)
            #expect(known.updateValue(parts, forKey: key) ?? parts == parts, "seed \(seed): \(parts)")
        }
        #expect(known.count > 1000)
        #expect(key(rule, "{}", with: maker) != key(rule, "{}", context: "{}", with: maker))
        #expect(key(rule, "1", context: "2") != key(rule, "2", context: "1"))
        #expect(key(rule, "{}", with: maker) == key(rule, "{}"), "what was made before leaves nothing behind")
        // The doors store in other forms.
        maker.begin(rule, .invoke)
        maker.end(rule)
        let invoke = Array(maker.bytes)
        maker.begin(rule, .route)
        maker.end(rule)
        #expect(!maker.bytes.elementsEqual(invoke))
    }

    @Test func whatIsKeptFollowsFromTheEndAndTheRule() {
        func verdict(
            _ rule: MemoRule, _ payload: String, _ kind: InvocationOutcome.Kind = .result, _ end: MemoVerdict.End = .answered,
            refresh: Bool = false
        ) -> MemoVerdict {
            Array(payload.utf8).withUnsafeBytes {
                MemoVerdict.of(InvocationOutcome(kind: kind, payload: $0), end, isRefresh: refresh, rule)
            }
        }
        func stored(_ seconds: UInt64) -> MemoVerdict { .store(StorePolicy(.ttl(.seconds(seconds))), tags: []) }
        let remembered = MemoVerdict.keepToItself(rememberFor: Limits.cacheBypassTime)
        let passing = MemoVerdict.keepToItself(rememberFor: nil)
        var memoize = FunctionSettings.Memoize(ttl: 60)
        memoize.errors = 5
        memoize.maxBytes = 10
        memoize.staleWhileRevalidate = 9
        let (plain, strict, asked) = (rule(), rule(memoize: memoize), rule(memoize: .init(ttl: 0)))
        #expect(verdict(plain, "{}") == stored(60) && verdict(plain, "not JSON") == stored(60) && verdict(asked, "{}") == remembered)
        #expect(verdict(strict, #"{"a":"0123456789"}"#) == remembered, "larger than max_bytes")
        var stale = StorePolicy(.ttl(.seconds(60)))
        stale.staleWhileRevalidate = .seconds(9)
        #expect(verdict(strict, "{}") == .store(stale, tags: []))
        var negative = StorePolicy(.ttl(.seconds(5)))
        negative.isNegative = true
        #expect(verdict(plain, "{}", .functionError) == passing && verdict(strict, "{}", .functionError) == .store(negative, tags: []))
        #expect(verdict(strict, "{}", .functionError, .other) == passing && verdict(strict, "{}", .functionError, .lost) == .handOver)
        #expect(verdict(strict, "", .refused(.queueFull), .other) == passing)
        #expect(verdict(plain, "", .refused(.stopping), .other, refresh: true) == .leaveStale)
        for end in [MemoVerdict.End.answered, .lost, .other] {
            #expect(verdict(plain, "{}", .functionError, end, refresh: true) == .leaveStale)
        }
        memoize.maxBytes = nil
        let failing = #"{"statusCode":404}"#
        #expect(verdict(plain, failing) == passing && verdict(rule(memoize: memoize), failing) == .store(negative, tags: []))
        for part in [#"{"statusCode":206}"#, #"{"statusCode":304}"#] { #expect(verdict(plain, part) == passing) }
    }
}
