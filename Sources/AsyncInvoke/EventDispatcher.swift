package import Base
internal import Catalog
package import EventQueue
package import Invoker
internal import Sandbox
package import UV

/// Takes events from the durable queue to workers, and what became of them back.
///
///     accept ──commit──▶ lines ──due, room──▶ payload read ──▶ invoked ──RetryRule──▶ settled ──commit──▶ gone, or lines again
///                          ▲ refill: more are on disk than in memory
///
/// Invariants:
///  1. An event is acknowledged when it is on disk, and leaves the disk in the transaction that holds what follows from it.
///  2. An event is in one place: on disk only, in `lines`, or in flight (being read, run or settled). What is in flight when the server
///     dies is tried again: at least once.
///  3. At most `inFlightMax` are in flight, at most `inFlightPerFunctionMax` of one function; at most `knownMax` are in memory.
///  4. While `isPartial`, everything behind `cursor` is on disk only.
///
/// Thread rule: the loop's thread.
package final class EventDispatcher {
    private let invoker: Invoker
    private let store: EventStore
    private let arnPrefix: String
    private let timer: Timer
    private var lines: EventLines
    private var inFlight = 0
    private var cursor: Int64 = 0
    private var isPartial = true
    private var isRefilling = false
    private var isStopping = false
    private let retryDelaySeconds: Int
    private let buckets: any DestinationBuckets
    package private(set) var counters = EventCounters()
    private let scratch = ByteBuffer(capacity: 256)

    static let inFlightMax = 512
    static let inFlightPerFunctionMax = 128
    static let knownMax = 20_000
    /// After a write that failed, and after a refusal, so much later again.
    static let pauseMilliseconds: Int64 = 1000

    /// - Parameters:
    ///   - arnPrefix: `arn:aws:lambda:REGION:ACCOUNT:function:`
    ///   - retryDelaySeconds: before the first retry; the second waits twice as long.
    package init(
        invoker: Invoker, store: EventStore, buckets: any DestinationBuckets, arnPrefix: String, retryDelaySeconds: Int
    ) throws(UVError) {
        self.buckets = buckets
        self.retryDelaySeconds = retryDelaySeconds
        self.invoker = invoker
        self.store = store
        self.arnPrefix = arnPrefix
        lines = EventLines(inFlightMax: Self.inFlightPerFunctionMax)
        timer = try Timer(loop: invoker.loop)
        timer.unreference()
        onLoop(store.counts) { [self] counts in
            counters.waiting = counts.waiting
            counters.failed = counts.failed
        }
        refill()
    }

    private var now: Int64 { Int64(Loop.epochMilliseconds) }

    /// Asks the store and goes on, on the loop, with what it found; what cannot be read is left for later.
    private func onLoop<T: Sendable>(
        _ ask: (@escaping @Sendable (Result<T, EventQueueError>) -> Void) -> Void, _ then: @escaping (T) -> Void,
        _ failed: @escaping (EventQueueError) -> Void = { _ in }
    ) {
        let box = LoopBound((then, failed), on: invoker.loop)
        ask { [remote = invoker.loop.remote] result in
            remote.post {
                switch result {
                case .success(let value): box.wrapped.0(value)
                case .failure(let error): box.wrapped.1(error)
                }
            }
        }
    }

    // MARK: Accepting

    /// Takes an event; `done` hears nil when it is on disk.
    package func accept(_ event: NewEvent, _ done: @escaping (EventQueueError?) -> Void) { accept(.add(event), done) }

    /// Takes a change that brings events, or may.
    func accept(_ change: EventStore.Change, _ done: @escaping (EventQueueError?) -> Void) {
        guard counters.waiting < Limits.queuedEventsMax else { return done(.full(Limits.queuedEventsMax)) }
        onLoop({ store.apply(change, done: $0) }) { [self] applied in
            counters.received += UInt64(applied.added.count)
            take(applied)
            done(nil)
        } _: { error in
            done(error)
        }
    }

    /// What is new on disk.
    private func take(_ applied: EventStore.Applied) {
        counters.waiting += applied.waiting
        counters.failed += applied.failed
        for event in applied.added {
            if isPartial { continue }
            if lines.count >= Self.knownMax {
                // From here on they wait on disk.
                isPartial = true
                cursor = event.sequence - 1
            } else {
                lines.add(event, at: now)
            }
        }
        pump()
    }

    private func refill() {
        guard isPartial, !isRefilling, lines.count < Self.knownMax / 2 else { return }
        isRefilling = true
        let wanted = Self.knownMax / 2
        onLoop({ store.waiting(.init(after: cursor, limit: wanted), done: $0) }) { [self] events in
            isRefilling = false
            isPartial = events.count == wanted
            cursor = events.last?.sequence ?? cursor
            for event in events { lines.add(event, at: now) }
            pump()
        } _: { [self] _ in
            isRefilling = false
            plan(at: now + Self.pauseMilliseconds)
        }
    }

    // MARK: Trying

    private func pump() {
        if isStopping { return timer.stop() }
        while inFlight < Self.inFlightMax, let event = lines.next(at: now) {
            inFlight += 1
            begin(event)
        }
        refill()
        plan(at: lines.nextTime(at: now))
    }

    private func plan(at time: Int64?) {
        guard let time else { return timer.stop() }
        timer.start(after: .milliseconds(UInt64(max(0, time - now)))) { [unowned self] in pump() }
    }

    private func rule(_ function: FunctionEntry, _ qualifier: String?) -> (RetryRule, EventInvokeSettings?) {
        let settings = function.eventInvoke[qualifier ?? "$LATEST"]
        let rule = RetryRule(
            retriesMax: settings?.retries ?? 2, ageMaxSeconds: settings?.ageMax ?? 21_600, delaySeconds: retryDelaySeconds)
        return (rule, settings)
    }

    private func begin(_ event: QueuedEvent) {
        onLoop({ store.payload(of: event.sequence, done: $0) }) { [self] payload in
            // Dropped meanwhile.
            guard let payload else { return landed(event) }
            run(event, payload)
        } _: { [self] _ in
            again(event)
        }
    }

    private func run(_ event: QueuedEvent, _ payload: [UInt8]) {
        guard let function = invoker.snapshot.function(named: event.function),
            let resolution = function.resolve(qualifier: event.qualifier, draw: invoker.randomBits())
        else { return giveUp(event, payload, .functionNotFound, nil, nil, nil) }
        let (rule, _) = rule(function, event.qualifier)
        if rule.isTooOld(event, at: now) { return giveUp(event, payload, .eventAgeExceeded, function, nil, nil) }
        counters.age.record(.milliseconds(UInt64(max(0, now - event.accepted))))
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        let message = beginMessage(
            event.id, function, resolution, arnPrefix: arnPrefix, trace: none, clientContext: none, eventBytes: payload.count,
            scratch: scratch)
        message.frame.append(payload)
        invoker.invoke(
            Invocation(
                function: function, resolution: resolution, message: message, arrived: invoker.loop.now,
                client: EventClient(self, event, payload)))
    }

    fileprivate func finished(_ event: QueuedEvent, _ payload: [UInt8], _ invocation: Invocation, _ outcome: InvocationOutcome) {
        let attempt: RetryRule.Attempt
        var message = ""
        switch outcome.kind {
        case .result: attempt = .succeeded
        case .functionError:
            attempt = .failed
            message = String(decoding: outcome.payload.prefix(1024), as: UTF8.self)
        case .refused(.stopping):
            // It stays on disk for the next start, and so do all others.
            isStopping = true
            return landed(event)
        case .refused(let refusal):
            attempt = invocation.function.reserved == 0 ? .reservedIsZero : .refused
            message = refusal.sentence
        }
        let version = invocation.resolution.executedVersion
        let response = (executedVersion: version, isError: attempt == .failed, payload: Array(outcome.payload))
        let (rule, settings) = rule(invocation.function, event.qualifier)
        switch rule.judge(attempt, event, at: now) {
        case .done:
            counters.succeeded += 1
            conclude(event, payload, invocation.function, "Success", event.progress.attempts + 1, response, [settings?.onSuccess]) {
                .finish(event.sequence, then: $0)
            }
        case .again(let progress):
            counters.retried += 1
            settle(event, .postpone(event.sequence, progress), blockedFor: attempt == .refused ? Self.pauseMilliseconds : 0) { [self] in
                var later = event
                later.progress = progress
                lines.add(later, at: now)
            }
        case .giveUp(let condition):
            giveUp(event, payload, condition, invocation.function, attempt == .failed ? response : nil, message)
        }
    }

    // MARK: Ending

    private typealias Response = (executedVersion: String, isError: Bool, payload: [UInt8])

    private func giveUp(
        _ event: QueuedEvent, _ payload: [UInt8], _ condition: FailureCondition, _ function: FunctionEntry?, _ response: Response?,
        _ message: String?
    ) {
        counters.dropped[condition, default: 0] += 1
        let attempts = event.progress.attempts + (response == nil ? 0 : 1)
        var progress = event.progress
        progress.attempts = attempts
        let settings = function.flatMap { $0.eventInvoke[event.qualifier ?? "$LATEST"] }
        if let function {
            let words = "asynchronous event \(event.id) was given up after \(attempts) attempts (\(condition.rawValue)): see hearth async list --failed"
            invoker.state(of: function).log.note(
                words, event.id, version: event.qualifier ?? "$LATEST", epochMilliseconds: Loop.epochMilliseconds)
        }
        conclude(event, payload, function, condition.rawValue, attempts, response, [settings?.onFailure]) { [self] then in
            let letters = deadLetter(event, payload, function)
            return .fail(
                event.sequence, progress, condition, message: message ?? condition.rawValue, at: now, then: then + letters)
        }
    }

    /// A dead letter is the event alone.
    private func deadLetter(_ event: QueuedEvent, _ payload: [UInt8], _ function: FunctionEntry?) -> [NewEvent] {
        guard let arn = function?.resolve(qualifier: event.qualifier)?.version.settings.deadLetter,
            case .function(let name, let qualifier)? = Destination(arn: arn)
        else { return [] }
        return [next(name, qualifier, payload)]
    }

    private func next(_ name: String, _ qualifier: String?, _ payload: [UInt8]) -> NewEvent {
        NewEvent(
            id: invoker.makeRequestID(), function: name, qualifier: qualifier, payload: payload, accepted: now, source: "destination")
    }

    /// Tells the destinations, then takes the event out of the queue.
    private func conclude(
        _ event: QueuedEvent, _ payload: [UInt8], _ function: FunctionEntry?, _ condition: String, _ attempts: Int, _ response: Response?,
        _ arns: [String?], _ change: @escaping ([NewEvent]) -> EventStore.Change
    ) {
        let arn = arnPrefix + event.function + ":" + (event.qualifier ?? "$LATEST")
        var record = InvocationRecord(event: event, payload: payload, functionARN: arn, condition: condition, attempts: attempts)
        record.response = response
        var then: [NewEvent] = []
        for destination in arns.compactMap({ $0 }) {
            switch Destination(arn: destination) {
            case .function(let name, let qualifier): then.append(next(name, qualifier, record.json(at: now)))
            case .log:
                guard let function else { continue }
                invoker.state(of: function).log.note(
                    String(decoding: record.json(at: now), as: UTF8.self), event.id, version: event.qualifier ?? "$LATEST",
                    epochMilliseconds: Loop.epochMilliseconds)
            case .bucket(let bucket):
                // The object first: if the server dies between the two, it is written again.
                return buckets.put(record.json(at: now), as: objectKey(event), in: bucket) { [self] isThere in
                    if !isThere { counters.deliveryFailures += 1 }
                    settle(event, change(then)) {}
                }
            case nil: counters.deliveryFailures += 1
            }
        }
        settle(event, change(then)) {}
    }

    /// As Lambda names the objects of a destination: by function, day and time.
    private func objectKey(_ event: QueuedEvent) -> String {
        let time = UTCTime(epochSeconds: UInt64(now / 1000))
        let day = time.date.replacing("-", with: "/")
        return "aws/lambda/async/\(event.function)/\(day)/\(time.date)T\(time.time.replacing(":", with: "."))-\(event.id)"
    }

    /// Writes what became of an event; if that fails, the event is tried again, as after a crash.
    private func settle(_ event: QueuedEvent, _ change: EventStore.Change, blockedFor: Int64 = 0, _ then: @escaping () -> Void) {
        onLoop({ store.apply(change, done: $0) }) { [self] applied in
            then()
            landed(event, blockedFor: blockedFor, takes: applied)
        } _: { [self] _ in
            counters.writeFailures += 1
            again(event)
        }
    }

    private func again(_ event: QueuedEvent) {
        var later = event
        later.progress.due = now + Self.pauseMilliseconds
        lines.add(later, at: now)
        landed(event, blockedFor: Self.pauseMilliseconds)
    }

    private func landed(_ event: QueuedEvent, blockedFor: Int64 = 0, takes applied: EventStore.Applied = .init()) {
        inFlight -= 1
        lines.landed(event, blockedFor: blockedFor, at: now)
        take(applied)
    }

    // MARK: The owner's orders

    /// Tries a failed event again from its beginning; false: there is no such one.
    package func redrive(_ sequence: Int64, _ done: @escaping (Result<Bool, EventQueueError>) -> Void) {
        onLoop({ store.apply(.redrive(sequence, at: now), done: $0) }) { [self] applied in
            take(applied)
            done(.success(!applied.added.isEmpty))
        } _: { error in
            done(.failure(error))
        }
    }

    /// Forgets an event, waiting or failed; false: there is no such one. One that is being run now ends, but is not tried again.
    package func drop(_ sequence: Int64, _ done: @escaping (Result<Bool, EventQueueError>) -> Void) {
        _ = lines.remove(sequence)
        onLoop({ store.apply(.drop(sequence), done: $0) }) { [self] applied in
            take(applied)
            done(.success(applied.waiting + applied.failed < 0))
        } _: { error in
            done(.failure(error))
        }
    }

    package func waiting(_ filter: EventStore.Filter, _ done: @escaping (Result<[QueuedEvent], EventQueueError>) -> Void) {
        onLoop({ store.waiting(filter, done: $0) }) { done(.success($0)) } _: { done(.failure($0)) }
    }

    package func failed(_ filter: EventStore.Filter, _ done: @escaping (Result<[FailedEvent], EventQueueError>) -> Void) {
        onLoop({ store.failed(filter, done: $0) }) { done(.success($0)) } _: { done(.failure($0)) }
    }

    func schedules(_ done: @escaping (Result<[ScheduleRow], EventQueueError>) -> Void) {
        onLoop({ store.schedules(done: $0) }) { done(.success($0)) } _: { done(.failure($0)) }
    }

    package func payload(of sequence: Int64, _ done: @escaping (Result<[UInt8]?, EventQueueError>) -> Void) {
        onLoop({ store.payload(of: sequence, done: $0) }) { done(.success($0)) } _: { done(.failure($0)) }
    }
}

/// What the node counts of its asynchronous events.
package struct EventCounters {
    package var received: UInt64 = 0
    package var succeeded: UInt64 = 0
    package var retried: UInt64 = 0
    package var dropped: [FailureCondition: UInt64] = [:]
    package var deliveryFailures: UInt64 = 0
    package var writeFailures: UInt64 = 0
    /// On disk now.
    package var waiting = 0
    package var failed = 0
    /// From acceptance to each attempt.
    package var age = Histogram()
}

/// Waits for one attempt.
private final class EventClient: InvocationClient {
    private let dispatcher: EventDispatcher
    private let event: QueuedEvent
    private let payload: [UInt8]

    init(_ dispatcher: EventDispatcher, _ event: QueuedEvent, _ payload: [UInt8]) {
        self.dispatcher = dispatcher
        self.event = event
        self.payload = payload
    }

    func finished(_ invocation: Invocation, _ outcome: InvocationOutcome) { dispatcher.finished(event, payload, invocation, outcome) }
}

extension Refusal {
    var sentence: String {
        switch self {
        case .cannotStart(let sentence): sentence
        case .stopping: "Hearth is stopping"
        default: throttleReason ?? "refused"
        }
    }
}
