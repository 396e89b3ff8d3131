/// Any JSON, as policies are read from it.
package enum PolicyJSON: Decodable, Sendable {
    case object([String: PolicyJSON])
    case array([PolicyJSON])
    case string(String)
    case other(String)

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode([String: PolicyJSON].self) { self = .object(value) }
        else if let value = try? container.decode([PolicyJSON].self) { self = .array(value) }
        else if let value = try? container.decode(String.self) { self = .string(value) }
        else if let value = try? container.decode(Bool.self) { self = .other(value ? "true" : "false") }
        else if let value = try? container.decode(Int64.self) { self = .other(String(value)) }
        else if let value = try? container.decode(Double.self) { self = .other(String(value)) }
        else { self = .other("null") }
    }

    package var text: String? {
        switch self {
        case .string(let text), .other(let text): text
        default: nil
        }
    }

    /// One thing counts as a list of one.
    package var list: [PolicyJSON] {
        if case .array(let values) = self { return values }
        return [self]
    }

    /// nil when something in it is no text.
    package var texts: [String]? {
        let texts = list.compactMap(\.text)
        return texts.count == list.count ? texts : nil
    }
}
