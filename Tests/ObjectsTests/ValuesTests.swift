import Objects
import Testing

/// Names, conditions and lifecycle rules: pure values.
@Suite struct ValuesTests {
    private func refusal<T>(_ body: () throws -> T) -> ObjectsError? {
        do { _ = try body() } catch { return error as? ObjectsError }
        return nil
    }

    @Test func namesFollowTheRulesOfS3() throws {
        for name in ["abc", "a.b-c.9", "0ab", String(repeating: "a", count: 63)] {
            #expect(refusal { try BucketName(name) } == nil, "\(name)")
        }
        for name in [
            "ab", "Abc", "a_b", "-ab", "ab-", ".ab", "a..b", "1.2.3.4", "xn--a", "a-s3alias", String(repeating: "a", count: 64),
        ] {
            #expect(refusal { try BucketName(name) } == .invalidBucketName(name), "\(name)")
        }
        #expect(refusal { try ObjectKey([]) } == .invalidKey && refusal { try ObjectKey([0xC3, 0x28]) } == .invalidKey)
        #expect(refusal { try ObjectKey([UInt8](repeating: 97, count: 1025)) } == .keyTooLong(1025))
        #expect(try ObjectKey("../a//\u{1}").description == "../a//\u{1}")
        let id = VersionID.numbered(sequence: 7, nonce: .max)
        #expect(try VersionID(id.description) == id && VersionID("null") == .null)
        for text in ["", "x", "NULL", String(repeating: "g", count: 32), String(repeating: "A", count: 32)] {
            #expect(refusal { try VersionID(text) } == .invalidVersionID(text))
        }
        let etag = ETag(digest: [UInt8](0..<16), parts: 3)
        #expect(ETag("\"\(etag)\"") == etag && ETag(etag.description) == etag && ETag("\"abc\"") == nil && ETag("W/\"\(etag)\"") == nil)
    }

    @Test func lifecycleRoundsUpToTheNextDay() {
        let rule = LifecycleRule(
            id: "r", prefix: Array("logs/".utf8), sizeAbove: 10, expiration: .days(2), noncurrentDays: 1, noncurrentKept: 2,
            abortUploadsDays: 3, transitions: [.init(.days(0), to: .init("GLACIER")), .init(.days(1), to: .init("DEEP_ARCHIVE"))])
        let lifecycle = Lifecycle(rules: [rule, LifecycleRule(id: "date", expiration: .date(450))], day: 100)
        let key = Array("logs/a".utf8)
        #expect(lifecycle.due(1, days: 1) == 200 && lifecycle.due(100, days: 1) == 200 && lifecycle.due(0, days: .max) == .max)
        #expect(lifecycle.expiry(key: key, size: 11, tags: [], made: 101)?.time == 400)
        #expect(lifecycle.expiry(key: key, size: 10, tags: [], made: 101)?.rule == "date", "too small for the first rule")
        for (replaced, newer, now, gone) in [(50, 2, 200, true), (50, 2, 199, false), (50, 1, 900, false)]
            as [(Int64, Int, Int64, Bool)]
        {
            #expect(lifecycle.expiresNoncurrent(key: key, size: 11, tags: [], replaced: replaced, newer: newer, now: now) == gone)
        }
        #expect(lifecycle.abort(key: key, initiated: 1)?.time == 400 && lifecycle.abort(key: [1], initiated: 1) == nil)
        for (now, expected) in [(99, nil), (100, "GLACIER"), (199, "GLACIER"), (200, "DEEP_ARCHIVE")] as [(Int64, String?)] {
            #expect(lifecycle.transition(key: key, size: 11, tags: [], made: 1, replaced: nil, newer: 0, now: now)?.name == expected)
        }
    }
}
