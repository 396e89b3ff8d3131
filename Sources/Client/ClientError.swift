/// Why a call brought no answer that could be used.
package enum ClientError: Error, CustomStringConvertible {
    /// Nobody answers at the address; why, in the system's words.
    case unreachable(endpoint: String, why: String)
    /// The connection ended, or stood still, before the answer was complete.
    case broken(endpoint: String)
    case notHTTP(endpoint: String, reason: String)
    /// S3's error, in the server's own words.
    case refused(status: Int, code: String, message: String)
    /// A file of this machine; one sentence.
    case local(String)

    package var description: String {
        switch self {
        case .unreachable(let endpoint, let why): "nobody answers at \(endpoint) (\(why)): start a Hearth with hearth serve"
        case .broken(let endpoint): "the connection to \(endpoint) broke before the answer was complete"
        case .notHTTP(let endpoint, let reason): "\(endpoint) answered something that is not HTTP: \(reason)"
        case .refused(let status, let code, let message):
            message.isEmpty ? "refused with \(status) \(code)" : "\(code): \(message.hasSuffix(".") ? String(message.dropLast()) : message)"
        case .local(let sentence): sentence
        }
    }

    /// The same call may succeed a moment later.
    package var isTransient: Bool {
        switch self {
        case .unreachable, .broken: true
        case .refused(let status, let code, _): [408, 429, 500, 502, 503, 504].contains(status) || code == "RequestTimeout"
        case .notHTTP, .local: false
        }
    }

    package var code: String? {
        if case .refused(_, let code, _) = self { code } else { nil }
    }
}

/// How often and after which pauses a call is made again.
package struct Persistence: Sendable {
    package var attempts = 8
    package var firstPauseMilliseconds = 100
    package var pauseMillisecondsMax = 5_000

    package init() {}

    /// Before attempt number `attempt` (1: the first repetition).
    package func pauseMilliseconds(before attempt: Int) -> Int {
        min(pauseMillisecondsMax, firstPauseMilliseconds << min(max(0, attempt - 1), 16))
    }
}
