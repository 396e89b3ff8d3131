/// Where an argument is in the bytes of its request.
package struct ArgumentSpan {
    package var offset: Int
    package var count: Int
}

/// The arguments of one request, the command's name first: views of bytes that another owns, valid as long as those.
package struct Arguments {
    private let base: UnsafeRawPointer
    private let spans: UnsafePointer<ArgumentSpan>
    package let count: Int

    package init(base: UnsafeRawPointer, spans: UnsafePointer<ArgumentSpan>, count: Int) {
        self.base = base
        self.spans = spans
        self.count = count
    }

    @inline(__always) package subscript(index: Int) -> UnsafeRawBufferPointer {
        assert(index < count)
        return UnsafeRawBufferPointer(start: base + spans[index].offset, count: spans[index].count)
    }

    package func string(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }

    /// A run of another's arguments.
    package init(of other: Arguments, from first: Int, count: Int) {
        self.init(base: other.base, spans: other.spans + first, count: count)
    }

    /// Without the first `n`.
    package func dropFirst(_ n: Int) -> Arguments { Arguments(base: base, spans: spans + n, count: count - n) }

    package var byteCount: Int { (0..<count).reduce(0) { $0 + spans[$1].count } }
}

/// A request that outlives its connection's buffer: what MULTI queues.
package final class StoredRequest {
    private let bytes: UnsafeMutableRawPointer
    private let spans: UnsafeMutablePointer<ArgumentSpan>
    private let count: Int
    package let byteCount: Int

    package init(_ arguments: Arguments) {
        count = arguments.count
        byteCount = arguments.byteCount
        bytes = .allocate(byteCount: max(1, byteCount), alignment: 1)
        spans = .allocate(capacity: max(1, count))
        var at = 0
        for index in 0..<count {
            let argument = arguments[index]
            if let from = argument.baseAddress { (bytes + at).copyMemory(from: from, byteCount: argument.count) }
            (spans + index).initialize(to: ArgumentSpan(offset: at, count: argument.count))
            at += argument.count
        }
    }

    deinit {
        bytes.deallocate()
        spans.deallocate()
    }

    package var arguments: Arguments { Arguments(base: bytes, spans: spans, count: count) }
}
