import Base
import Glibc

@testable import HTTP

/// Two pages of memory with forbidden pages before and behind: a read one byte outside the input ends the
/// test run.
///
/// Used by one thread at a time.
final class GuardedBytes {
    private let region: UnsafeMutableRawPointer
    private let page = 4096
    private let room: Int

    init(room pages: Int = 32) {
        room = pages * page
        // MAP_FAILED only when the machine is out of memory: then the copy below traps, which is what a test
        // may do
        region = mmap(nil, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        precondition(mprotect(region + page, room, PROT_READ | PROT_WRITE) == 0)
    }

    deinit { munmap(region, room + 2 * page) }

    /// The bytes with the forbidden page right behind them, or right before them.
    func holding(_ bytes: some Collection<UInt8>, atStart: Bool = false) -> UnsafeRawBufferPointer {
        precondition(bytes.count <= room)
        let place = UnsafeMutableRawBufferPointer(
            start: atStart ? region + page : region + page + room - bytes.count, count: bytes.count)
        place.copyBytes(from: bytes)
        return UnsafeRawBufferPointer(place)
    }
}

func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }

/// What came of a parse, as one value that tests compare.
enum Outcome: Equatable, CustomStringConvertible {
    case head(String)
    case more
    case refused(HTTPError)

    var description: String {
        switch self {
        case .head(let summary): summary
        case .more: "more"
        case .refused(let error): "refused \(error)"
        }
    }
}

func summary(_ p: HTTPRequestParser, _ bytes: UnsafeRawBufferPointer) -> String {
    let fields = (0..<p.headerCount).map {
        "\(p.headerName($0).string(bytes))=\(p.headerValue($0).string(bytes))"
    }
    let method = "\(p.method)(\(p.methodRange.string(bytes)))"
    let query = p.query.map { "?\($0.string(bytes))" } ?? ""
    let authority = p.authority.map { "@\($0.string(bytes))" } ?? ""
    let keep = (p.keepAlive ? "keep" : "close") + (p.expectContinue ? " expect" : "")
    return "\(method) \(p.path.string(bytes))\(query)\(authority) 1.\(p.minorVersion) \(p.framing) \(keep) "
        + "\(p.headBytes) \(fields)"
}

func summary(_ p: HTTPResponseParser, _ bytes: UnsafeRawBufferPointer) -> String {
    let fields = (0..<p.headerCount).map {
        "\(p.headerName($0).string(bytes))=\(p.headerValue($0).string(bytes))"
    }
    return "\(p.status) \(p.reason.string(bytes)) 1.\(p.minorVersion) \(p.framing) "
        + "\(p.keepAlive ? "keep" : "close") \(p.headBytes) \(fields)"
}

/// Parses `bytes` as they grow to each of `ends`, always from a place of its own.
func request(
    _ bytes: [UInt8], ends: some Sequence<Int>, limits: HTTPLimits = .standard, memory: GuardedBytes
) -> Outcome {
    let parser = HTTPRequestParser(limits: limits)
    var atStart = false
    do {
        for end in ends {
            let held = memory.holding(bytes[0..<end], atStart: atStart)
            atStart.toggle()
            if try parser.parse(held) { return .head(summary(parser, held)) }
        }
        return .more
    } catch {
        return .refused(error)
    }
}

func request(_ text: String, limits: HTTPLimits = .standard) -> Outcome {
    let bytes = Array(text.utf8)
    return request(bytes, ends: [bytes.count], limits: limits, memory: GuardedBytes())
}

func response(
    _ bytes: [UInt8], ends: some Sequence<Int>, toHead: Bool = false, memory: GuardedBytes
) -> Outcome {
    let parser = HTTPResponseParser()
    do {
        for end in ends {
            let held = memory.holding(bytes[0..<end])
            if try parser.parse(held, toHead: toHead) { return .head(summary(parser, held)) }
        }
        return .more
    } catch {
        return .refused(error)
    }
}

func response(_ text: String, toHead: Bool = false) -> Outcome {
    let bytes = Array(text.utf8)
    return response(bytes, ends: [bytes.count], toHead: toHead, memory: GuardedBytes())
}

/// What came of decoding a chunked body.
struct Decoded: Equatable {
    var body: [UInt8] = []
    var consumed = 0
    var done = false
    var trailers: [String] = []
    var error: HTTPError?
}

/// Decodes `bytes` in the pieces that end at `ends`.
func decode(
    _ bytes: [UInt8], ends: some Sequence<Int>, max: Int = 1 << 20, limits: HTTPLimits = .standard,
    memory: GuardedBytes
) -> Decoded {
    var decoder = ChunkedDecoder(limits: limits)
    let buffer = ByteBuffer()
    var result = Decoded()
    do {
        for end in ends where !result.done {
            let step = try decoder.decode(
                memory.holding(bytes[result.consumed..<end]), into: buffer, max: max)
            result.consumed += step.consumed
            result.done = step.done
        }
        result.trailers = decoder.trailers.map { "\($0.name)=\(text($0.value))" }
    } catch {
        result.error = error
        result.consumed = 0
    }
    result.body = Array(buffer.bytes)
    return result
}

/// Changes a few bytes of a sample: flips, insertions, deletions, repeats, pieces of other samples.
func mutated(_ sample: [UInt8], with others: [[UInt8]], _ random: inout Random) -> [UInt8] {
    let tricks: [UInt8] = [0, 9, 10, 13, 32, 34, 44, 48, 58, 59, 63, 92, 123, 125, 127, 128, 0xC2, 0xED, 255]
    var bytes = sample
    for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0...bytes.count, using: &random)
        let trick = tricks[Int.random(in: 0..<tricks.count, using: &random)]
        switch Int.random(in: 0..<7, using: &random) {
        case 0 where at < bytes.count: bytes[at] = trick
        case 1 where at < bytes.count: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 2 where at < bytes.count: bytes.remove(at: at)
        case 3: bytes.insert(trick, at: at)
        case 4:
            let end = min(bytes.count, at + Int.random(in: 1...24, using: &random))
            bytes.insert(contentsOf: bytes[at..<end], at: at)
        case 5:
            let other = others[Int.random(in: 0..<others.count, using: &random)]
            let from = Int.random(in: 0...other.count, using: &random)
            let to = min(other.count, from + Int.random(in: 1...24, using: &random))
            bytes.insert(contentsOf: other[from..<to], at: at)
        default: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 0...8, using: &random)))
        }
    }
    return bytes
}
