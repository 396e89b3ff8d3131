import Base
import RESP
import UV

/// The commands that took longest, newest first.
///
/// Thread rule: the loop's thread.
final class SlowLog {
    struct Entry {
        let id: Int
        let epochSeconds: Int64
        let microseconds: Int64
        let arguments: [[UInt8]]
        let address: String
        let name: [UInt8]
    }

    /// When a command began. The one thing here that reads a clock: what a command takes is no argument of it.
    struct Watch {
        private let start = Loop.now

        var microseconds: Int64 { Int64(Loop.now.since(start).nanoseconds / 1_000) }
    }

    /// Commands in constant time are timed only when less than this is asked for, so that the usual ones read no clock.
    private static let fastMicroseconds: Int64 = 1_000

    private(set) var entries: [Entry] = []
    private var nextID = 0
    var threshold: Int64 = 10_000
    var most = Limits.cacheSlowLogMax { didSet { trim() } }

    @inline(__always) func isTiming(_ flags: CommandFlags) -> Bool {
        threshold >= 0 && (threshold < Self.fastMicroseconds || !flags.contains(.fast))
    }

    func note(_ watch: Watch, _ command: UnsafeMutablePointer<Command>, _ arguments: Arguments, _ session: Session) {
        let took = watch.microseconds
        command.pointee.microseconds &+= UInt64(took)
        // EXEC is there by its parts; a password is not for others to read
        guard took >= threshold, !command.pointee.flags.contains(.noAuth), command.pointee.group != .transactions else { return }
        entries.insert(
            Entry(
                id: nextID, epochSeconds: session.service.clock.epoch / 1_000, microseconds: took, arguments: Self.shortened(arguments),
                address: session.address, name: session.name), at: 0)
        nextID += 1
        trim()
    }

    private func trim() { if entries.count > most { entries.removeLast(entries.count - most) } }

    func reset() { entries = [] }

    private static func shortened(_ arguments: Arguments) -> [[UInt8]] {
        let most = Limits.cacheSlowLogArgumentsMax
        var words: [[UInt8]] = []
        for index in 0..<min(arguments.count, most) {
            if index == most - 1, arguments.count > most {
                words.append(Array("... (\(arguments.count - most + 1) more arguments)".utf8))
            } else if arguments[index].count > Limits.cacheSlowLogArgumentBytesMax {
                let rest = arguments[index].count - Limits.cacheSlowLogArgumentBytesMax
                words.append(Array(arguments[index].prefix(Limits.cacheSlowLogArgumentBytesMax)) + Array("... (\(rest) more bytes)".utf8))
            } else {
                words.append(Array(arguments[index]))
            }
        }
        return words
    }
}
