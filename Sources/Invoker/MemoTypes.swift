package import Base
internal import Cache

/// What memoization did with an invocation: `Cache-Status` (RFC 9211) and `X-Hearth-Memo` tell it.
package enum MemoStatus: Sendable {
    /// The function is not memoized.
    case none
    /// Answered from the store. `ttl` in seconds, below zero when stale; `saved`: what the run took that made it.
    case hit(age: Span, ttl: Int64, saved: Span, isStale: Bool)
    case miss(stored: Bool)
    /// Waited for an equal invocation that ran.
    case coalesced(stored: Bool)
    /// Memoization was left out: a word for `detail`.
    case bypass(StaticString)
}

/// A stored result. Its bytes are gone with the next call of the invoker.
package struct MemoHit {
    package let payload: UnsafeRawBufferPointer
    /// The handler's own error, kept because the manifest says so.
    package let isError: Bool
    /// In the form of the door that stored it.
    package let isRendered: Bool
    package let status: MemoStatus

    package var outcome: InvocationOutcome {
        var outcome = InvocationOutcome(kind: isError ? .functionError : .result, payload: payload)
        outcome.memo = status
        outcome.isRendered = isRendered
        return outcome
    }
}

/// What a lookup tells a door to do.
package enum MemoAnswer {
    /// Answer with it, now. With a ticket: then build the invocation too, for `NoClient`, and hand it in: a refresh or an audit.
    case hit(MemoHit, MemoTicket?)
    /// Build the invocation, give it the ticket and hand it to `Invoker.invoke`.
    case run(MemoTicket)
}

/// How a door stores results, when not as the function gave them: made ready for being sent.
package protocol ResultForm: AnyObject {
    /// Appends the stored form; false when the result must not be stored.
    func encode(_ payload: UnsafeRawBufferPointer, to out: ByteBuffer) -> Bool
}

/// What an invocation is to the store.
package final class MemoTicket {
    enum Role {
        /// It runs, and equal ones wait for it.
        case lead(FlightID)
        /// It waits for an equal one.
        case follow(FlightID)
        /// It runs in the background: its result replaces one that is being served.
        case refresh(FlightID)
        /// It runs in the background: its result is compared with this one.
        case audit(PinnedValue)
        /// It runs, and the store has nothing to do with it.
        case alone(MemoStatus)
    }

    let rule: MemoRule
    let waiter: WaiterID
    let key: [UInt8]
    let form: (any ResultForm)?
    var role: Role
    /// It leads, and what the second level has of its key is being read.
    var isReading = false
    /// Its client has gone meanwhile.
    var isForsaken = false
    unowned let memo: Memo

    init(_ rule: MemoRule, _ waiter: WaiterID, _ key: [UInt8], _ form: (any ResultForm)?, _ role: Role, _ memo: Memo) {
        self.form = form
        self.rule = rule
        self.waiter = waiter
        self.key = key
        self.role = role
        self.memo = memo
    }
}

/// The client of invocations that nobody waits for.
package final class NoClient: InvocationClient {
    package init() {}
    package func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) {}
}

/// A result as it is stored, on disk too (another form means another `CacheFile.format`): what the run was, then its payload.
///
///     u32 microseconds of the run │ u8 1 for an error │ u8 1 for the form of a door │ u16 zero │ payload
enum StoredResult {
    static let headBytes = 8

    /// False when the door's form has it not stored.
    static func write(
        _ payload: UnsafeRawBufferPointer, isError: Bool, run: Span, form: (any ResultForm)?, to out: ByteBuffer
    ) -> Bool {
        // A door answers all errors alike.
        let form = isError ? nil : form
        out.clear()
        out.append(littleEndian: UInt32(clamping: run.nanoseconds / 1000))
        out.append(UInt8(isError ? 1 : 0))
        out.append(UInt8(form == nil ? 0 : 1))
        out.append(littleEndian: UInt16(0))
        if let form { return form.encode(payload, to: out) }
        out.append(payload)
        return true
    }

    static func hit(_ value: UnsafeRawBufferPointer, _ status: MemoStatus) -> MemoHit {
        MemoHit(payload: payload(value), isError: value[4] == 1, isRendered: value[5] == 1, status: status)
    }

    static func payload(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: value[headBytes...]) }

    static func run(_ value: UnsafeRawBufferPointer) -> Span {
        .microseconds(UInt64(UInt32(littleEndian: value.loadUnaligned(as: UInt32.self))))
    }
}
