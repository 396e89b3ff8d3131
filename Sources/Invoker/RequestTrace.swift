internal import Base

/// What the store would do with a request to a function URL, and what made its key: for `hearth cache explain URL`.
package struct RequestTrace {
    package enum End {
        /// There is no such function: 404.
        case unknown
        /// It runs, and the store has nothing to do with it: why.
        case runs(String)
        /// It is answered with 403: `route.unauthorized`.
        case refused
        /// It is looked up under this key. `isRefresh`: what is there is made anew.
        case lookup(key: [UInt8], isRefresh: Bool)
    }

    package var end = End.unknown
    package var function = ""
    package var version = ""
    /// The rule that means it, of `[memoize]` or of a route.
    package var rule: MemoRule?
    package var route: String?
    /// What makes requests equal, as names and values of this one.
    package var parts: [(name: String, value: String)] = []

    package init() {}

    package mutating func add(_ name: String, _ value: UnsafeRawBufferPointer) {
        parts.append((name, String(decoding: value.prefix(Limits.tracePartBytesMax), as: UTF8.self)))
    }
}

extension Limits {
    /// What is shown of one part of a key.
    package static let tracePartBytesMax = 256
}
