package import Base

extension Limits {
    /// An inline request, and any line that gives a length (redis's PROTO_INLINE_MAX_SIZE).
    package static let respLineBytesMax = 64 * 1024
    package static let respArgumentsMax = 1024 * 1024
    /// One argument (redis's proto-max-bulk-len; its default is the same).
    package static let respBulkBytesMax = 512 << 20
    /// All arguments of one request together.
    package static let respRequestBytesMax = 512 << 20
    /// What a client that has not said who it is may send (redis's limits for the same).
    package static let respStrangerArgumentsMax = 10
    package static let respStrangerBulkBytesMax = 16 * 1024
}

/// The limits of one parser; smaller for strangers.
package struct RESPLimits: Equatable, Sendable {
    package var lineBytesMax = Limits.respLineBytesMax
    package var argumentsMax = Limits.respArgumentsMax
    package var bulkBytesMax = Limits.respBulkBytesMax
    package var requestBytesMax = Limits.respRequestBytesMax

    package init() {}

    package static let stranger: RESPLimits = {
        var limits = RESPLimits()
        limits.argumentsMax = Limits.respStrangerArgumentsMax
        limits.bulkBytesMax = Limits.respStrangerBulkBytesMax
        return limits
    }()
}

/// Why a request was refused; the connection ends with it. `message` is what redis says, where redis has the rule.
package enum RESPError: Error, Equatable {
    case inlineTooLong
    case unbalancedQuotes
    case countTooLong
    case badCount
    case tooManyArguments
    case bulkLengthTooLong
    case notABulk(UInt8)
    case badBulkLength
    case bulkTooLarge
    case requestTooLarge
    case noLineEnd

    package var message: String {
        switch self {
        case .inlineTooLong: "too big inline request"
        case .unbalancedQuotes: "unbalanced quotes in request"
        case .countTooLong: "too big mbulk count string"
        case .badCount: "invalid multibulk length"
        case .tooManyArguments: "too many arguments in one request"
        case .bulkLengthTooLong: "too big bulk count string"
        case .notABulk(let byte): "expected '$', got '\(printable(byte))'"
        case .badBulkLength: "invalid bulk length"
        case .bulkTooLarge: "invalid bulk length: above what one argument may take"
        case .requestTooLarge: "the arguments of one request are too large together"
        case .noLineEnd: "expected CRLF after an argument"
        }
    }

    private func printable(_ byte: UInt8) -> Character {
        (0x20..<0x7F).contains(byte) ? Character(Unicode.Scalar(byte)) : "?"
    }
}
