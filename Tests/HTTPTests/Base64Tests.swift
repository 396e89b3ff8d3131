import Base
import Foundation
import Testing

@testable import HTTP

@Suite struct Base64Tests {
    private let memory = GuardedBytes()

    private func encoded(_ bytes: [UInt8]) -> String {
        let buffer = ByteBuffer()
        buffer.append(UInt8(ascii: "<"))
        Base64.encode(memory.holding(bytes), into: buffer)
        return String(buffer.string.dropFirst())
    }

    private func decoded(_ text: [UInt8]) -> [UInt8]? {
        let buffer = ByteBuffer()
        let fine = Base64.decode(memory.holding(text), into: buffer)
        if !fine, !buffer.isEmpty { return Array("left something behind".utf8) }
        return fine ? Array(buffer.bytes) : nil
    }

    @Test func everyLengthGoesBothWaysAsFoundationDoes() {
        var random = Random(seed: 3)
        var wrong: [Int] = []
        for count in Array(0...70) + [1_000, 4_095, 65_537] {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            let text = encoded(bytes)
            if text != Data(bytes).base64EncodedString() || decoded(Array(text.utf8)) != bytes {
                wrong.append(count)
            }
        }
        #expect(wrong == [])
    }

    @Test func otherFormsAreRefused() {
        let refused = [
            "A", "AA", "AAA", "AAAAA", "====", "A===", "AA=A", "=AAA", "AAA=AAAA", "AA==AAAA", "AB==", "AAB=",
            "AA-_", "AA \n",
            "AAAA\n", " AAA", "AA\0=", "\u{E9}AA", "AAAA====", "AAAA=", "A=AA", "Zm9=",
        ]
        #expect(refused.filter { decoded(Array($0.utf8)) != nil } == [])
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func mutatedTextsAreEitherRefusedOrTheOneTextOfTheirBytes(seed: UInt64) {
        var random = Random(seed: seed)
        let corpus = ["", "Zg==", "Zm8=", "Zm9v", "aGVsbG8gd29ybGQhIQ==", "//79+/o="].map { Array($0.utf8) }
        var accepted = 0
        for round in 0..<2_000 {
            let sample = mutated(
                corpus[Int.random(in: 0..<corpus.count, using: &random)], with: corpus, &random)
            guard let bytes = decoded(sample) else { continue }
            accepted += 1
            if encoded(bytes) != text(sample) { Issue.record("seed \(seed) round \(round): \(text(sample))") }
        }
        #expect(accepted > 20)
    }
}
