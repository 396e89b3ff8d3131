import Base
import Foundation
import Objects
import Testing
import XML

@testable import S3API

/// The pure parts of the door: documents, dates, ranges, policies.
@Suite struct DocumentTests {
    private func read(_ text: String) -> XMLElement? { try? XMLReader.read(Array(text.utf8)) }

    @Test func documentsAreReadStrictly() {
        let whole = read(
            "\u{FEFF}<?xml version='1.0'?><!-- a --><s3:A xmlns:s3=\"u\" b='<'/>".replacingOccurrences(of: "'<'", with: "'&lt;'"))
        #expect(whole?.name == "A" && whole?.children.isEmpty == true)
        let nested = read("<A><B> x &amp; &#65;&#x42;<![CDATA[<raw>]]></B>\r\n<C/><B>2</B></A>\n<!-- end -->")
        #expect(nested?.first("B")?.text == " x & AB<raw>" && nested?.all("B").count == 2 && nested?.text("B") == "x & AB<raw>")
        for bad in [
            "", "text", "<A>", "<A></B>", "<A", "<A/><B/>", "<A b></A>", "<A b=c/>", "<A b='1'c='2'/>", "<A>&nope;</A>", "<A>&#0;</A>", "<A>&#xD800;</A>",
            "<A>&#+5;</A>", "<A>&amp</A>", "<1/>", "<A>\u{0}</A>", "<!DOCTYPE A><A/>", "<A><!DOCTYPE B></A>", "<A><![CDATA[x</A>", "<A><!-- </A>",
            String(repeating: "<A>", count: 17) + String(repeating: "</A>", count: 17), "<A>" + String(repeating: "<B/>", count: 60_000) + "</A>",
        ] { #expect(read(bad) == nil, "\(bad.prefix(60))") }
        #expect((try? XMLReader.read([0x3C, 0x41, 0x3E, 0xFF, 0x3C, 0x2F, 0x41, 0x3E])) == nil)
    }

    /// Whatever is damaged is refused or read, never a crash; what was written is read as it was meant.
    @Test func damagedDocumentsNeverCrashAndWrittenOnesAreReadBack() {
        let seed = UInt64.random(in: 1...UInt64.max)
        var random = Random(seed: seed)
        let sample = Array(
            "<?xml version=\"1.0\"?><Delete xmlns='u'><Quiet>true</Quiet><Object><Key>a&amp;b&#x20;<![CDATA[c]]></Key></Object><!-- x --></Delete>".utf8)
        for _ in 0..<20_000 {
            var damaged = sample
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let at = Int.random(in: 0..<damaged.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: damaged[at] = UInt8.random(in: 0...255, using: &random)
                case 1: damaged.remove(at: at)
                default: damaged.insert(sample[Int.random(in: 0..<sample.count, using: &random)], at: at)
                }
            }
            _ = try? XMLReader.read(damaged)
        }
        for _ in 0..<2_000 {
            let scalars = (0..<Int.random(in: 0...20, using: &random)).map { _ in
                Unicode.Scalar(UInt32.random(in: 1..<0xD800, using: &random)).map(Character.init) ?? "x"
            }
            let text = String(scalars)
            let document = XMLWriter.document("A") { $0.element("B") { $0.element("C", text) } }
            #expect((try? XMLReader.read(document))?.first("B")?.first("C")?.text == text, "seed \(seed): \(text.debugDescription)")
        }
    }

    @Test func datesAndRangesAreReadAsTheirRulesHaveThem() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("1994-11-06T08:49:37Z", 784_111_777), ("19941106T084937Z", 784_111_777),
            ("1994-11-06T08:49:37.999+00:00", 784_111_777), ("1994-11-06", 784_080_000), ("2024-02-29", 1_709_164_800),
        ] as [(String, Int64)] { #expect(Dates.seconds(text) == seconds, "\(text)") }
        for bad in ["", "1994", "1994-13-01", "2023-02-29", "1994-11-06T25:00:00Z", "1994-11-06Tx", "06 Nov 1994", "1994-11-06T08:49:37.Z", "-994-11-06"] {
            #expect(Dates.seconds(bad) == nil, "\(bad)")
        }
        #expect(Dates.iso(milliseconds: 784_111_777_005) == "1994-11-06T08:49:37.005Z")
        #expect(RangeField.parse("bytes=0-9") == .from(0, through: 9) && RangeField.parse("bytes=5-") == .from(5, through: nil))
        #expect(RangeField.parse("bytes=-5") == .suffix(5))
        for ignored in ["bytes=9-0", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=", "bytes=-", "bytes=99999999999999999999-"] {
            #expect(RangeField.parse(ignored) == nil, "\(ignored)")
        }
    }

    @Test func addressesNameTheirBucketByPathOrByHost() {
        func parts(_ path: String, _ host: String) -> String {
            let (bucket, key) = S3Request.split(Array(path.utf8), host: host)
            return "\(bucket ?? "-") \(key.map { String(decoding: $0, as: UTF8.self) } ?? "-")"
        }
        #expect(parts("/", "localhost:9000") == "- -" && parts("/b", "127.0.0.1") == "b -" && parts("/b/", "x") == "b -")
        #expect(parts("/b//k/", "127.0.0.1:1") == "b /k/" && parts("/k/x", "b.localhost:9000") == "b k/x")
        #expect(parts("/", "my.b.s3.localhost") == "my.b -" && parts("/b/k", "s3.localhost") == "b k")
    }

    @Test func lifecycleDocumentsBecomeRulesOrAreRefused() throws {
        func rules(_ text: String) -> [LifecycleRule]? {
            read("<LifecycleConfiguration>\(text)</LifecycleConfiguration>").flatMap { try? LifecycleDocument.rules($0).map(\.rule) }
        }
        let days = "<Expiration><Days>3</Days></Expiration>"
        let rule = try #require(
            rules("<Rule><ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>p/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></And></Filter>\(days)</Rule>")?.first)
        #expect(rule.id == "a" && rule.prefix == Array("p/".utf8) && rule.tags == [Field("k", "v")])
        #expect(rule.sizeAbove == 5 && rule.expiration == .days(3))
        for bad in [
            "", "<Rule><Status>enabled</Status>\(days)</Rule>", "<Rule><Status>Enabled</Status></Rule>", "<Rule><Status>Enabled</Status><Expiration><Days>0</Days></Expiration></Rule>",
            "<Rule><Status>Enabled</Status><Expiration><Date>2020-01-01T05:00:00Z</Date></Expiration></Rule>",
            "<Rule><ID>x</ID><Status>Enabled</Status>\(days)</Rule><Rule><ID>x</ID><Status>Enabled</Status>\(days)</Rule>",
            "<Rule><ID>\(String(repeating: "i", count: 256))</ID><Status>Enabled</Status>\(days)</Rule>",
            "<Rule><Status>Enabled</Status><Transition><Days>1</Days><StorageClass>NONE</StorageClass></Transition></Rule>",
        ] { #expect(rules(bad) == nil, "\(bad)") }
        let past = LifecycleDocument.graced([LifecycleRule(id: "d", expiration: .date(5))], now: 1_000_000, day: 2_000)
        #expect(past.first?.expiration == .date(1_001_000))
    }
}
