import Base
@testable import Invoker
import Testing

@Suite struct FunctionLogTests {
    private static func output(_ text: String, at time: UInt64 = 0) -> LogRecord {
        LogRecord(epochMilliseconds: time, id: nil, version: "1", kind: .output(Array(text.utf8)))
    }

    private static func text(_ records: [LogRecord]) -> String {
        let out = ByteBuffer()
        for record in records { record.render(to: out) }
        return out.string
    }

    @Test func onlyTheLastRecordsAreHeldAndAReaderGoesOnWhereItStopped() {
        let log = FunctionLog(recordsMax: 3, outputBytesMax: 1000)
        #expect(log.records(from: 0).records.isEmpty && log.records(from: 7).records.isEmpty)
        for number in 0..<8 { log.append(Self.output("\(number)")) }
        let all = log.records(from: 0)
        #expect(Self.text(all.records) == "5\n6\n7\n" && all.next == 8 && log.nextSequence == 8)
        #expect(Self.text(log.records(from: 6).records) == "6\n7\n" && log.records(from: 8).records.isEmpty)
        log.append(Self.output("8"))
        #expect(Self.text(log.records(from: all.next).records) == "8\n" && log.records(from: .max).records.isEmpty)
    }

    /// Against the list of all records: what is held is its end, within both bounds, and never nothing.
    @Test(arguments: 1...20 as ClosedRange<UInt64>) func theLogHoldsTheNewestRecordsWithinItsBounds(seed: UInt64) throws {
        var random = Random(seed: seed)
        let recordsMax = Int.random(in: 1...40, using: &random)
        let bytesMax = Int.random(in: 20...400, using: &random)
        let log = FunctionLog(recordsMax: recordsMax, outputBytesMax: bytesMax)
        for number in 0..<500 as Range<UInt64> {
            let bytes = [UInt8](repeating: 120, count: Int.random(in: 0...60, using: &random))
            let isOutput = Bool.random(using: &random)
            log.append(LogRecord(epochMilliseconds: number, id: nil, version: "1", kind: isOutput ? .output(bytes) : .note("n")))
            let held = log.records(from: 0)
            let sizes = held.records.map { if case .output(let bytes) = $0.kind { bytes.count } else { 0 } }
            try #require(held.records.map(\.epochMilliseconds) == Array(number + 1 - UInt64(held.records.count)...number), "seed \(seed)")
            try #require(held.records.count <= recordsMax && (sizes.reduce(0, +) <= bytesMax || sizes.count == 1), "seed \(seed)")
            let after = UInt64.random(in: 0...number + 2, using: &random)
            try #require(
                log.records(from: after).records.map(\.epochMilliseconds) == held.records.map(\.epochMilliseconds).filter { $0 >= after },
                "seed \(seed), from \(after)")
        }
    }

    /// The log is full only when its bytes are, and then half of it stays.
    @Test func aLogThatOverflowsKeepsItsNewerHalf() {
        let log = FunctionLog(recordsMax: 100, outputBytesMax: 80)
        for number in 10..<18 { log.append(Self.output("\(number)-345678\n")) }
        #expect(log.records(from: 0).records.count == 8)
        log.append(Self.output("18\n"))
        #expect(Self.text(log.records(from: 0).records) == "15-345678\n16-345678\n17-345678\n18\n")
        log.append(Self.output(String(repeating: "long", count: 100)))
        #expect(Self.text(log.records(from: 0).records) == String(repeating: "long", count: 100) + "\n" && log.nextSequence == 10)
    }

    @Test func followersHearOfEachRecordUntilTheyLeave() {
        let log = FunctionLog(recordsMax: 2, outputBytesMax: 10)
        var heard: [UInt64] = []
        let first = log.follow { heard.append(log.nextSequence) }
        let second = log.follow { heard.append(100 + log.nextSequence) }
        log.append(Self.output("a"))
        log.unfollow(first)
        log.append(Self.output("b"))
        log.unfollow(second)
        log.append(Self.output("c"))
        #expect(Set(heard.prefix(2)) == [1, 101] && heard.dropFirst(2) == [102])
    }

    /// Byte for byte what CloudWatch shows (tabs, the one at the end included).
    @Test func recordsReadAsLambdasLines() {
        let id = RequestID(high: 0x0123_4567_89AB_4CDE, low: 0x8F01_2345_6789_ABCD)
        let name = "01234567-89ab-4cde-8f01-23456789abcd"
        func line(_ kind: LogRecord.Kind, id: RequestID? = id, version: String = "$LATEST") -> String {
            Self.text([LogRecord(epochMilliseconds: 0, id: id, version: version, kind: kind)])
        }
        func report(
            _ duration: Span, peakKiB: UInt32, initDuration: Span? = nil, status: LogReport.Status = .success
        ) -> String {
            line(
                .end(
                    LogReport(
                        duration: duration, memoryMegabytes: 128, peakKiB: peakKiB, initDuration: initDuration, coldReason: "first",
                        status: status)))
        }
        let end = "END RequestId: \(name)\nREPORT RequestId: \(name)\t"
        #expect(line(.start) == "START RequestId: \(name) Version: $LATEST\n")
        #expect(line(.start, version: "7") == "START RequestId: \(name) Version: 7\n")
        #expect(
            report(.microseconds(1_520), peakKiB: 37 * 1024)
                == end + "Duration: 1.52 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 37 MB\t\n")
        #expect(
            report(.milliseconds(3), peakKiB: 37 * 1024 + 1, initDuration: .microseconds(105_120), status: .error)
                == end + "Duration: 3.00 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 38 MB\t"
                + "Init Duration: 105.12 ms\tStatus: error\t\n")
        // A worker may claim any peak.
        #expect(
            report(.seconds(3) + .microseconds(1), peakKiB: .max, status: .timeout)
                == end + "Duration: 3000.00 ms\tBilled Duration: 3001 ms\tMemory Size: 128 MB\tMax Memory Used: 4194304 MB\t"
                + "Status: timeout\t\n")
        #expect(line(.output(Array("no end".utf8))) == "no end\n" && line(.output(Array("two\nlines\n".utf8))) == "two\nlines\n")
        #expect(line(.output([])) == "\n" && line(.note("a worker left")) == "HEARTH a worker left\n" && line(.start, id: nil) == "")
    }
}
