import Foundation
import HTTP
import HearthFunction
import Testing

/// Any JSON value, read and written by the library.
private enum Value: Codable, Equatable {
    case null, flag(Bool), whole(Int), real(Double), text(String), list([Value]), members([String: Value])
    /// An object with a name twice: Foundation takes its first value, and we, as others do, its last.
    case repeated

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            self = .null
        } else if let flag = try? single.decode(Bool.self) {
            self = .flag(flag)
        } else if let whole = try? single.decode(Int.self) {
            self = .whole(whole)
        } else if let real = try? single.decode(Double.self) {
            self = .real(real)
        } else if let text = try? single.decode(String.self) {
            self = .text(text)
        } else if let list = try? single.decode([Value].self) {
            self = .list(list)
        } else {
            let members = try single.decode([String: Value].self)
            let isUnique = try decoder.container(keyedBy: Name.self).allKeys.count == members.count
            self = isUnique ? .members(members) : .repeated
        }
    }

    func encode(to encoder: any Encoder) throws {
        if case .members(let members) = self {
            // In order, so that a seed gives the same texts again.
            var container = encoder.container(keyedBy: Name.self)
            for (name, value) in members.sorted(by: { $0.key < $1.key }) { try container.encode(value, forKey: Name(stringValue: name)) }
            return
        }
        var single = encoder.singleValueContainer()
        switch self {
        case .null, .repeated, .members: try single.encodeNil()
        case .flag(let value): try single.encode(value)
        case .whole(let value): try single.encode(value)
        case .real(let value): try single.encode(value)
        case .text(let value): try single.encode(value)
        case .list(let value): try single.encode(value)
        }
    }

    /// A real without a fraction comes back as a whole number.
    static func == (a: Value, b: Value) -> Bool {
        switch (a, b) {
        case (.null, .null), (.repeated, .members), (.members, .repeated), (.repeated, .repeated): true
        case (.flag(let a), .flag(let b)): a == b
        case (.whole(let a), .whole(let b)): a == b
        case (.real(let a), .real(let b)): a == b
        // (Foundation reads 13726593856618117.5 as a whole number.)
        case (.whole(let a), .real(let b)), (.real(let b), .whole(let a)): abs(Double(a) - b) <= abs(b) * 1e-15
        case (.text(let a), .text(let b)): a.utf8.elementsEqual(b.utf8)
        case (.list(let a), .list(let b)): a == b
        case (.members(let a), .members(let b)): a == b
        default: false
        }
    }
}

/// SplitMix64: the same numbers for the same seed everywhere.
private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    mutating func text() -> String {
        let scalars: [Unicode.Scalar] = ["a", "\"", "\\", "/", "\n", "\u{0}", "\u{1F}", "é", "\u{7FF}", "€", "\u{FFFF}", "😀", "\u{10FFFF}", "\u{301}"]
        var text = String.UnicodeScalarView()
        for _ in 0..<below(12) { text.append(scalars[below(scalars.count)]) }
        return String(text)
    }

    mutating func value(_ depth: Int = 0) -> Value {
        switch below(depth > 5 ? 6 : 9) {
        case 0: return .null
        case 1: return .flag(below(2) == 0)
        case 2: return .whole(Int(truncatingIfNeeded: next()) >> below(64))
        case 3, 4:
            let real = Double(bitPattern: next())
            return .real(real.isFinite ? real : 0.5)
        case 5: return .text(text())
        case 6, 7: return .list((0..<below(6)).map { _ in value(depth + 1) })
        default: return .members(Dictionary((0..<below(24)).map { _ in (text(), value(depth + 1)) }) { $1 })
        }
    }
}

private let seed: UInt64 = ProcessInfo.processInfo.environment["HEARTH_TEST_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...UInt64.max)

@Suite struct OracleTests {
    /// (JSONDecoder, for JSONSerialization is a digit off with numbers of many digits.)
    private func foundation(_ bytes: [UInt8]) -> Value? { try? JSONDecoder().decode(Value.self, from: Data(bytes)) }

    @Test func foundationReadsWhatWeWriteAndWeReadWhatItWrites() throws {
        var random = Random(state: seed)
        for round in 0..<500 {
            let value = random.value()
            let ours = try JSON.encode(value)
            let theirs = Array(try JSONEncoder().encode(value))
            let (a, b, c) = (foundation(ours), try JSON.decode(Value.self, from: ours), try JSON.decode(Value.self, from: theirs))
            #expect(
                a == value && b == value && c == value,
                "HEARTH_TEST_SEED=\(seed), round \(round): \(String(decoding: ours, as: UTF8.self)) \(String(decoding: theirs, as: UTF8.self))")
        }
    }

    /// Texts with a few bytes changed are accepted by both or by neither, and mean the same.
    @Test func damagedTextsAreJudgedAsFoundationJudgesThem() throws {
        var random = Random(state: seed ^ 1)
        let bytes = Array(#"{}[]":,\tnu0123456789eE+-. abcdefrlsD"#.utf8) + [0x0A, 0x1F, 0x80, 0xC3, 0xED, 0xF0, 0xFF]
        var accepted = 0
        for round in 0..<20_000 {
            var text = try JSON.encode(random.value(4))
            for _ in 0...random.below(2) where !text.isEmpty {
                let at = random.below(text.count)
                switch random.below(3) {
                case 0: text[at] = bytes[random.below(bytes.count)]
                case 1: text.insert(bytes[random.below(bytes.count)], at: at)
                default: text.remove(at: at)
                }
            }
            let ours = try? JSON.decode(Value.self, from: text)
            // Foundation takes [1,] for [1]; the server's own check does not.
            let isStrict = text.withUnsafeBytes { JSONCheck.validate($0) } == nil
            let theirs = isStrict ? foundation(text) : nil
            accepted += ours == nil ? 0 : 1
            #expect(ours == theirs, "HEARTH_TEST_SEED=\(seed), round \(round): \(String(decoding: text, as: UTF8.self)) \(text)")
        }
        #expect(accepted > 1000 && accepted < 19_000)
    }
}
