/// Which paths a route means: segments that are literal, `{name}` for any one segment, and at the end `*` for any rest.
///
///     /items            /items/{id}            /items/*            /*
///
/// Paths are compared as they came: `%2F` is no slash and `%41` no `A`.
package struct RoutePattern: Equatable, Sendable {
    package struct Fault: Error, Equatable, CustomStringConvertible {
        /// What is wrong and what would be right: a sentence's end.
        package let description: String
    }

    private enum Segment: Equatable, Sendable {
        case literal([UInt8])
        case parameter([UInt8])
        /// Only as the last: everything from here on.
        case rest
    }

    package let text: String
    private let segments: [Segment]

    package init(_ text: String) throws(Fault) {
        guard text.hasPrefix("/") else { throw Fault(description: "begins without a slash: write for example \"/items/*\"") }
        var segments: [Segment] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard segments.last != .rest else { throw Fault(description: "goes on behind *, which stands for all that follows") }
            let bytes = Array(part.utf8)
            if part == "*" {
                segments.append(.rest)
            } else if part.hasPrefix("{"), part.hasSuffix("}"), part.count > 2 {
                let name = Array(bytes.dropFirst().dropLast())
                guard isToken(String(decoding: name, as: UTF8.self)), !segments.contains(.parameter(name)) else {
                    throw Fault(description: "has the parameter \(part), which is no name or is there twice")
                }
                segments.append(.parameter(name))
            } else {
                guard !bytes.contains(where: { "*{}?#".utf8.contains($0) || $0 <= 0x20 || $0 >= 0x7F }) else {
                    throw Fault(description: "has the segment \"\(part)\": * and {name} stand alone, and other characters are percent-encoded")
                }
                segments.append(.literal(bytes))
            }
        }
        self.text = text
        self.segments = segments
    }

    package func matches(_ path: UnsafeRawBufferPointer) -> Bool { walk(path) { _, _ in } }

    /// The segment that `{name}` stands for; nil when the path does not match.
    package func parameter(_ name: [UInt8], in path: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var found: UnsafeRawBufferPointer?
        guard walk(path, { if $0 == name { found = $1 } }) else { return nil }
        return found
    }

    package var parameters: [[UInt8]] {
        segments.compactMap { if case .parameter(let name) = $0 { name } else { nil } }
    }

    private func walk(_ path: UnsafeRawBufferPointer, _ visit: ([UInt8], UnsafeRawBufferPointer) -> Void) -> Bool {
        guard path.first == UInt8(ascii: "/") else { return false }
        var at = 1
        for (index, segment) in segments.enumerated() {
            if segment == .rest { return true }
            var end = at
            while end < path.count, path[end] != UInt8(ascii: "/") { end += 1 }
            let part = UnsafeRawBufferPointer(rebasing: path[at..<end])
            switch segment {
            case .literal(let bytes): guard part.elementsEqual(bytes) else { return false }
            case .parameter(let name):
                guard !part.isEmpty else { return false }
                visit(name, part)
            case .rest: return true
            }
            guard index < segments.count - 1 else { return end == path.count }
            guard end < path.count else { return false }
            at = end + 1
        }
        return false
    }
}

/// One of the things that make two requests of a route equal: an entry of `key`.
package enum RouteKeyPart: Equatable, Sendable {
    /// The whole path behind the function's name, or the segment of one `{name}`.
    case path
    case parameter([UInt8])
    /// The whole query as it came, or all values of one name.
    case query
    case queryValue([UInt8])
    /// A header, by its name in lower case.
    case header([UInt8])

    package init(_ text: String, of pattern: RoutePattern) throws(RoutePattern.Fault) {
        let dot = text.firstIndex(of: ".") ?? text.endIndex
        let kind = text[..<dot]
        let name = Array(text[dot...].dropFirst().utf8)
        switch (kind, name.isEmpty) {
        case ("path", true) where dot == text.endIndex: self = .path
        case ("query", true) where dot == text.endIndex: self = .query
        case ("path", false):
            guard pattern.parameters.contains(name) else {
                throw .init(description: "names path.\(String(decoding: name, as: UTF8.self)), but \"\(pattern.text)\" has no such {parameter}")
            }
            self = .parameter(name)
        case ("query", false): self = .queryValue(name)
        case ("header", false):
            guard isToken(String(decoding: name, as: UTF8.self)) else { throw .init(description: "names \"\(text)\", which is no header") }
            self = .header(name.map { (65...90).contains($0) ? $0 | 0x20 : $0 })
        default: throw .init(description: "has \"\(text)\": use path, path.NAME, query, query.NAME or header.NAME")
        }
    }
}
