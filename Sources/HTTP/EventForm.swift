package import Base

/// What of an event makes two invocations equal: `memoize.key` of function.toml.
package enum EventForm: Sendable {
    /// The event's bytes as they came.
    case raw

    package struct Unknown: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    package init(_ text: String) throws(Unknown) {
        switch text {
        case "raw": self = .raw
        default: throw Unknown(description: "\"\(text)\" is not known: use raw, jcs or jmespath:EXPRESSION")
        }
    }

    /// Does it look into the whole event? (The others can do with a request's parts.)
    package var needsEvent: Bool { false }

    /// Appends the event in this form; false when nothing of it is selected. `event` is JSON.
    package func write(_ event: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool {
        switch self {
        case .raw:
            out.append(event)
            return true
        }
    }
}
