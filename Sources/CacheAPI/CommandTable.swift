import Base
import RESP

/// What a command is and may; the names are those of COMMAND INFO.
struct CommandFlags: OptionSet {
    let rawValue: UInt32

    static let write = CommandFlags(rawValue: 1)
    static let readonly = CommandFlags(rawValue: 1 << 1)
    /// May take more memory: refused when the cache has none.
    static let denyoom = CommandFlags(rawValue: 1 << 2)
    /// For the node's owner, not for functions.
    static let admin = CommandFlags(rawValue: 1 << 3)
    static let pubsub = CommandFlags(rawValue: 1 << 4)
    static let noscript = CommandFlags(rawValue: 1 << 5)
    static let fast = CommandFlags(rawValue: 1 << 6)
    /// Allowed before the client has said who it is.
    static let noAuth = CommandFlags(rawValue: 1 << 7)
    /// Its keys are found by a count among its arguments.
    static let movableKeys = CommandFlags(rawValue: 1 << 8)
    /// Carried out between MULTI and EXEC, not queued.
    static let immediate = CommandFlags(rawValue: 1 << 9)
    static let noMulti = CommandFlags(rawValue: 1 << 10)
    /// Allowed to a client of RESP2 that has subscriptions.
    static let subscribed = CommandFlags(rawValue: 1 << 11)
    static let dangerous = CommandFlags(rawValue: 1 << 12)
    /// Dispatches to sub-commands, and is carried out even while clients are paused.
    static let unpausable = CommandFlags(rawValue: 1 << 13)

    /// The names that clients see.
    static let names: [(CommandFlags, StaticString)] = [
        (.write, "write"), (.readonly, "readonly"), (.denyoom, "denyoom"), (.admin, "admin"), (.pubsub, "pubsub"),
        (.noscript, "noscript"), (.fast, "fast"), (.noAuth, "no_auth"), (.movableKeys, "movablekeys"), (.noMulti, "no_multi"),
    ]
}

/// Which arguments are keys: from `first` to `last` (below 0: from the end) by `step`; all 0: none.
struct KeyPositions: Equatable {
    var first = 0
    var last = 0
    var step = 0

    static let none = KeyPositions()
    static let one = KeyPositions(first: 1, last: 1, step: 1)
    static let two = KeyPositions(first: 1, last: 2, step: 1)
    static let all = KeyPositions(first: 1, last: -1, step: 1)
    static let pairs = KeyPositions(first: 1, last: -1, step: 2)
    static let second = KeyPositions(first: 2, last: 2, step: 1)

    /// The indices of the keys among `count` arguments.
    func indices(_ count: Int) -> StrideTo<Int> {
        let end = last < 0 ? count + last : min(last, count - 1)
        return stride(from: first, to: first > 0 ? end + 1 : first, by: max(1, step))
    }
}

enum CommandGroup: String { case generic, string, connection, server, pubsub, transactions, scripting }

/// One row of the table: what COMMAND tells about it, and what carries it out.
struct Command {
    typealias Handler = (Session, Arguments) throws(Fault) -> Void

    let name: StaticString
    /// With its name; below 0: at least as many.
    let arity: Int
    let flags: CommandFlags
    let keys: KeyPositions
    let group: CommandGroup
    let since: StaticString
    let summary: StaticString
    let handler: Handler
    var calls: UInt64 = 0
    var microseconds: UInt64 = 0
    var failed: UInt64 = 0
    var rejected: UInt64 = 0

    init(
        _ name: StaticString, _ arity: Int, _ flags: CommandFlags, _ keys: KeyPositions, _ group: CommandGroup, since: StaticString,
        _ summary: StaticString, _ handler: @escaping Handler
    ) {
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
        self.group = group
        self.since = since
        self.summary = summary
        self.handler = handler
    }

    @inline(__always) func accepts(_ count: Int) -> Bool { arity >= 0 ? count == arity : count >= -arity }

    /// The keys of a request, by index. EVAL and its like say how many there are.
    func keyIndices(_ arguments: Arguments) -> [Int] {
        guard flags.contains(.movableKeys) else { return Array(keys.indices(arguments.count)) }
        guard arguments.count > 2, let count = Numbers.integer(arguments[2]), count > 0, count <= arguments.count - 3 else { return [] }
        return Array(3..<3 + Int(count))
    }

    /// The categories of redis's access lists that it falls into.
    var categories: [String] {
        var names: [String] = []
        if flags.contains(.write) { names.append("@write") }
        if flags.contains(.readonly), group != .scripting { names.append("@read") }
        switch group {
        case .generic: names.append("@keyspace")
        case .string: names.append("@string")
        case .connection: names.append("@connection")
        case .pubsub: names.append("@pubsub")
        case .transactions: names.append("@transaction")
        case .scripting: names.append("@scripting")
        case .server: break
        }
        if flags.contains(.admin) { names.append("@admin") }
        if flags.contains(.admin) || flags.contains(.dangerous) { names.append("@dangerous") }
        names.append(flags.contains(.fast) ? "@fast" : "@slow")
        return names
    }
}

/// All commands, found by name in any case of letters without a string being made: the name's bytes, up to 16 of them, are two words.
///
/// Thread rule: the loop's thread.
final class CommandTable {
    let rows: UnsafeMutablePointer<Command>
    let count: Int
    private let slots: UnsafeMutablePointer<(low: UInt64, high: UInt64, row: Int)>
    private static let slotCount = 512

    init(_ commands: [Command]) {
        count = commands.count
        rows = .allocate(capacity: count)
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: (0, 0, -1), count: Self.slotCount)
        for (row, command) in commands.enumerated() {
            (rows + row).initialize(to: command)
            let name = UnsafeRawBufferPointer(start: command.name.utf8Start, count: command.name.utf8CodeUnitCount)
            precondition(name.count <= 16, "a command's name that is too long for the table")
            let (low, high) = Self.words(name)
            var at = Self.slot(low, high)
            while slots[at].row >= 0 { at = (at + 1) % Self.slotCount }
            slots[at] = (low, high, row)
        }
    }

    deinit {
        rows.deinitialize(count: count)
        rows.deallocate()
        slots.deallocate()
    }

    @inline(__always) func find(_ name: UnsafeRawBufferPointer) -> UnsafeMutablePointer<Command>? {
        guard name.count <= 16, name.count > 0 else { return nil }
        let (low, high) = Self.words(name)
        var at = Self.slot(low, high)
        while slots[at].row >= 0 {
            if slots[at].low == low, slots[at].high == high { return rows + slots[at].row }
            at = (at + 1) % Self.slotCount
        }
        return nil
    }

    func find(_ name: String) -> UnsafeMutablePointer<Command>? {
        var name = name
        return name.withUTF8 { find(UnsafeRawBufferPointer($0)) }
    }

    /// The bytes, with bit 5 set: that folds the case of letters, and maps nothing else onto a letter.
    @inline(__always) private static func words(_ name: UnsafeRawBufferPointer) -> (low: UInt64, high: UInt64) {
        var low: UInt64 = 0
        var high: UInt64 = 0
        for at in 0..<min(8, name.count) { low = low << 8 | UInt64(name[at] | 0x20) }
        if name.count > 8 { for at in 8..<name.count { high = high << 8 | UInt64(name[at] | 0x20) } }
        return (low, high)
    }

    @inline(__always) private static func slot(_ low: UInt64, _ high: UInt64) -> Int {
        Int(((low ^ high &* 31) &* 0x9E37_79B9_7F4A_7C15) >> 55)
    }
}
