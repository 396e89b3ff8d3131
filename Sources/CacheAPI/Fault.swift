import Base

/// Why a command was refused. `message` is redis's own text, where redis has the rule: clients compare it.
enum Fault: Error, Equatable {
    case syntax
    case notInteger
    case notFloat
    case outOfRange
    case noKey
    case invalidExpire(StaticName)
    case arity(String)
    case unknownSubcommand(String, of: String)
    case noRoom
    case tooLarge
    case replyTooLarge
    case message(String)

    var message: String {
        switch self {
        case .syntax: "ERR syntax error"
        case .notInteger: "ERR value is not an integer or out of range"
        case .notFloat: "ERR value is not a valid float"
        case .outOfRange: "ERR value is out of range"
        case .noKey: "ERR no such key"
        case .invalidExpire(let command): "ERR invalid expire time in '\(command)' command"
        case .arity(let command): "ERR wrong number of arguments for '\(command)' command"
        case .unknownSubcommand(let name, let command): "ERR unknown subcommand '\(name)'. Try \(command.uppercased()) HELP."
        case .noRoom: "OOM command not allowed when used memory > 'maxmemory'."
        case .tooLarge:
            "ERR this key and value are more than one entry may take: an eighth of the cache's memory, and 64 KiB for a key (cache.memory in runtime.toml)"
        case .replyTooLarge: "ERR the reply would be above \(Limits.cacheReplyBytesMax) bytes: ask for less at a time"
        case .message(let text): text
        }
    }
}

/// A name out of the program's text, as a value that errors carry.
struct StaticName: Equatable, CustomStringConvertible, ExpressibleByStringLiteral {
    let text: StaticString
    init(stringLiteral text: StaticString) { self.text = text }
    var description: String { "\(text)" }
    static func == (a: StaticName, b: StaticName) -> Bool { a.description == b.description }
}
