package import Base

/// What of an event makes two invocations equal: `memoize.key` of function.toml.
package enum EventForm: Sendable {
    /// The event's bytes as they came.
    case raw
    /// What it means: RFC 8785.
    case jcs
    /// A part of it, with the expression as it was written.
    case selection(JMESPath)

    package struct Unknown: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// Deeper texts are taken as they came: a canonical form takes a stack, and copies once a level.
    private static let depthMax = 64

    package init(_ text: String) throws(Unknown) {
        let selector = "jmespath:"
        switch text {
        case "raw": self = .raw
        case "jcs": self = .jcs
        case _ where text.hasPrefix(selector):
            do throws(JMESPath.Fault) { self = .selection(try JMESPath(String(text.dropFirst(selector.count)))) } catch {
                throw Unknown(description: "\"\(text)\" is no expression that selects: \(error)")
            }
        default: throw Unknown(description: "\"\(text)\" is not known: use raw, jcs or jmespath:EXPRESSION")
        }
    }

    /// Does it look into the whole event? (The others can do with a request's parts.)
    package var needsEvent: Bool {
        if case .selection = self { return true }
        return false
    }

    /// Appends the event in this form; false when nothing of it is selected. What has no canonical form is taken as it came (reference
    /// 7.4.36), with a mark, so that it equals nothing canonical.
    package func write(_ event: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool {
        let isCanonical: Bool?
        switch self {
        case .raw: isCanonical = nil
        case .jcs: isCanonical = JSONCheck.validate(event, depthMax: Self.depthMax) == nil && JCS.write(event, to: out) ? true : nil
        case .selection(let path):
            isCanonical = JSONCheck.validate(event, depthMax: Self.depthMax) == nil ? path.write(event, to: out) : nil
        }
        if isCanonical == false { return false }
        if isCanonical == nil { out.append(event) }
        out.append(isCanonical == nil ? UInt8(ascii: "r") : UInt8(ascii: "c"))
        return true
    }
}
