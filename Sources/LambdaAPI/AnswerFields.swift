internal import Base
internal import Catalog
internal import Invoker

/// Whose answer it is: what every response of a function tells, whichever door it leaves by.
struct AnsweredBy {
    let id: RequestID
    let function: FunctionEntry
    /// `$LATEST` or a number.
    let version: String
    /// The value of a `Warning` field, when there is something to warn of.
    let warning: StaticString?
    /// Lines for pages of other origins, each with its end; nil: none.
    let cors: [UInt8]?
    /// Does the URL speak for the function in that?
    let hasCORS: Bool

    init(_ invocation: Invocation) { self.init(invocation.id, invocation.function, invocation.resolution) }

    init(
        _ id: RequestID, _ function: FunctionEntry, _ resolution: Resolution, warning: StaticString? = nil, cors: [UInt8]? = nil,
        hasCORS: Bool = false
    ) {
        self.warning = warning
        self.cors = cors
        self.hasCORS = hasCORS
        self.id = id
        self.function = function
        version = resolution.executedVersion
    }
}

/// The fields that every response of a function carries.
func appendAnswerFields(_ by: AnsweredBy, _ outcome: InvocationOutcome, to out: ByteBuffer) {
    out.append("x-amzn-RequestId: ")
    out.append(by.id)
    out.append("\r\nX-Amz-Executed-Version: ")
    out.append(by.version)
    if let warning = by.warning {
        out.append("\r\nWarning: ")
        out.append(warning)
    }
    if let cors = by.cors {
        out.append("\r\n")
        cors.withUnsafeBytes { out.append(UnsafeRawBufferPointer(rebasing: $0.dropLast(2))) }
    }
    if case .hit(let age, let ttl, let saved, let isStale) = outcome.memo {
        out.append("\r\nServer-Timing: queue;dur=0.00, init;dur=0.00, run;dur=0.00\r\n")
        return appendHit(age, ttl, saved, isStale, to: out)
    }
    out.append("\r\nX-Hearth-Start: ")
    out.append(outcome.start.bytes)
    out.append("\r\nServer-Timing: queue;dur=")
    out.append(milliseconds: outcome.queue)
    out.append(", init;dur=")
    out.append(milliseconds: outcome.initTime)
    if !outcome.isUnderWay {
        out.append(", run;dur=")
        out.append(milliseconds: outcome.run)
    }
    out.append("\r\n")
    switch outcome.memo {
    case .none, .hit: break
    case .miss(let stored):
        out.append(stored ? "Cache-Status: hearth; fwd=miss; stored" : "Cache-Status: hearth; fwd=miss")
        out.append("\r\nX-Hearth-Memo: miss\r\n")
    case .coalesced(let stored):
        out.append(stored ? "Cache-Status: hearth; fwd=miss; collapsed; stored" : "Cache-Status: hearth; fwd=miss; collapsed")
        out.append("\r\nX-Hearth-Memo: coalesced\r\n")
    case .bypass(let why):
        out.append("Cache-Status: hearth; fwd=bypass; detail=")
        out.append(why)
        out.append("\r\nX-Hearth-Memo: bypass\r\n")
    }
}

/// RFC 9211 §2.1, §2.4: `ttl` counts on below zero in a stale answer. Semantic 7.4.40: age and what was saved.
private func appendHit(_ age: Span, _ ttl: Int64, _ saved: Span, _ isStale: Bool, to out: ByteBuffer) {
    out.append("Cache-Status: hearth; hit; ttl=")
    out.append(decimal: Int(ttl))
    out.append(isStale ? "\r\nX-Hearth-Memo: stale; age=" : "\r\nX-Hearth-Memo: hit; age=")
    out.append(decimal: age.nanoseconds / 1_000_000_000)
    out.append("; saved-ms=")
    out.append(milliseconds: saved)
    out.append("\r\n")
}
