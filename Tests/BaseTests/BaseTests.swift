import Base
import Testing

@Suite struct BaseTests {
    @Test func requestIDsAreVersion4UUIDsAndReadBackAsWritten() throws {
        var random = Random(seed: 7)
        for _ in 0..<1000 {
            let id = RequestID(from: &random)
            let text = id.description
            let parts = text.split(separator: "-").map(\.count)
            try #require(parts == [8, 4, 4, 4, 12] && RequestID(text.utf8) == id, "\(text)")
            let marks = Array(text.utf8)
            try #require(marks[14] == UInt8(ascii: "4") && "89ab".utf8.contains(marks[19]), "\(text)")
        }
        for bad in ["", "x", "0000000-0000-4000-8000-0000000000000", "g0000000-0000-4000-8000-000000000000"] {
            #expect(RequestID(bad.utf8) == nil, "\(bad)")
        }
    }

    @Test func aSeedGivesTheSameNumbersAndAnotherSeedGivesOthers() {
        func draw(_ seed: UInt64) -> [UInt64] {
            var random = Random(seed: seed)
            return (0..<8).map { _ in random.next() }
        }
        #expect(draw(1) == draw(1) && draw(1) != draw(2) && Set(draw(3)).count == 8)
    }

    /// Against a plain array through thousands of seeded appends and consumes.
    @Test func aByteBufferHoldsWhatWasAppendedAndNotConsumed() throws {
        var random = Random(seed: 42)
        let buffer = ByteBuffer(capacity: 16)
        var model: [UInt8] = []
        for step in 0..<20_000 {
            switch random.next() % 4 {
            case 0, 1:
                let bytes = (0..<Int(random.next() % 100)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                buffer.append(bytes)
                model += bytes
            case 2:
                let count = Int(random.next() % UInt64(model.count + 1))
                buffer.consume(count)
                model.removeFirst(count)
            default:
                let value = random.next() >> (random.next() % 64)
                buffer.append(decimal: value)
                model += Array(String(value).utf8)
            }
            if step % 97 == 0 { try #require(Array(buffer.bytes) == model, "step \(step)") }
        }
        #expect(Array(buffer.bytes) == model)
    }

    @Test func numbersAndTimesAreWrittenAsPeopleExpect() {
        let out = ByteBuffer()
        out.append(decimal: 0)
        out.append(" ")
        out.append(decimal: -12)
        out.append(" ")
        out.append(decimal: 7, width: 3)
        out.append(" ")
        out.append(milliseconds: .microseconds(26_730))
        out.append(" ")
        out.append(milliseconds: .microseconds(999_996))
        #expect(out.string == "0 -12 007 26.73 1000.00")
        let time = UTCTime(epochSeconds: 1_582_934_399)
        #expect(time.date == "2020-02-28" && time.time == "23:59:59" && time.weekday == 5)
        #expect(UTCTime(epochSeconds: 1_582_934_400).date == "2020-02-29" && UTCTime(epochSeconds: 0).date == "1970-01-01")
    }

    /// The promise in the type's documentation: within an eighth, from microseconds to an hour.
    @Test func quantilesAreWithinAnEighthOfTheTruth() throws {
        for seed in 1...20 as ClosedRange<UInt64> {
            var random = Random(seed: seed)
            var histogram = Histogram()
            var times: [UInt64] = []
            for _ in 0..<2000 {
                let span = (random.next() >> (24 + random.next() % 30)) + 10_000
                guard span < 3_600_000_000_000 else { continue }
                times.append(span)
                histogram.record(Span(nanoseconds: span))
            }
            times.sort()
            for fraction in [0.01, 0.5, 0.9, 0.99] {
                let truth = Double(times[max(0, Int((Double(times.count) * fraction).rounded(.up)) - 1)])
                let told = Double(histogram.quantile(fraction).nanoseconds)
                try #require(told >= truth && told <= truth * 1.126 + 1000, "seed \(seed), \(fraction): \(told) for \(truth)")
            }
            #expect(histogram.count == UInt64(times.count) && histogram.countAtMost(.seconds(4000)) == histogram.count)
        }
    }
}
