import AsyncInvoke
import Base
import Catalog
import EventQueue
import Invoker
import Objects
import S3API
import UV

/// Takes what happens to objects from their outbox to the queue of asynchronous invocations.
///
///     a change commits, with its events ──▶ a group is read ──▶ each is accepted (on disk) ──▶ the group is forgotten ──▶ the next group
///
/// Invariants:
///  1. An event leaves the outbox after it is in the queue: a crash between the two makes it come twice, none makes it go.
///  2. One group at a time.
///  3. While the queue takes nothing, events wait in the outbox, and are tried once a second.
///
/// Thread rule: the loop's thread.
final class ObjectEvents {
    private let store: ObjectStore
    private let dispatcher: EventDispatcher
    private let invoker: Invoker
    private let region: String
    private let timer: Timer
    private var isBusy = false
    private var isAsked = false
    private var whenIdle: (() -> Void)?

    private static let groupMax = 256
    private static let pause = Span.seconds(1)

    init(_ store: ObjectStore, _ dispatcher: EventDispatcher, _ invoker: Invoker, region: String) throws(UVError) {
        self.store = store
        self.dispatcher = dispatcher
        self.invoker = invoker
        self.region = region
        timer = try Timer(loop: invoker.loop)
        timer.unreference()
    }

    /// What the last run has left goes first.
    func start() {
        let box = LoopBound(self, on: invoker.loop)
        store.onEvents { [remote = invoker.loop.remote] in remote.post { box.wrapped.move() } }
        move()
    }

    /// Takes no more; `idle` is called when the group that is on its way has left the outbox. The rest waits for the next start.
    func stop(_ idle: @escaping () -> Void) {
        timer.stop()
        whenIdle = idle
        if !isBusy { idle() }
    }

    private func move() {
        guard whenIdle == nil else { return }
        guard !isBusy else {
            isAsked = true
            return
        }
        isBusy = true
        isAsked = false
        let box = LoopBound(self, on: invoker.loop)
        store.events(after: 0, limit: Self.groupMax) { [remote = invoker.loop.remote] result in
            remote.post { box.wrapped.accept((try? result.get()) ?? nil) }
        }
    }

    /// nil: the outbox cannot be read.
    private func accept(_ events: [ObjectEvent]?) {
        guard let events else { return end(isDone: false) }
        guard !events.isEmpty else { return end(isDone: true) }
        var left = events.count
        var isIn = [Bool](repeating: false, count: events.count)
        for (index, event) in events.enumerated() {
            dispatcher.accept(self.event(of: event)) { [self] error in
                left -= 1
                isIn[index] = error == nil
                guard left == 0 else { return }
                // What is behind one that was not taken stays with it.
                let count = isIn.firstIndex(of: false) ?? isIn.count
                if count == 0 { end(isDone: false) } else { forget(through: events[count - 1].number) }
            }
        }
    }

    private func event(of event: ObjectEvent) -> NewEvent {
        var target = event.target
        var qualifier: String?
        if case .function(let name, let version)? = Destination(arn: event.target) { (target, qualifier) = (name, version) }
        return NewEvent(
            id: invoker.makeRequestID(), function: target, qualifier: qualifier, payload: S3Event.json(event, region: region),
            accepted: Int64(Loop.epochMilliseconds), source: "s3")
    }

    private func forget(through number: Int64) {
        let box = LoopBound(self, on: invoker.loop)
        store.forgetEvents(through: number) { [remote = invoker.loop.remote] result in
            let isDone = (try? result.get()) != nil
            remote.post {
                box.wrapped.isAsked = true
                box.wrapped.end(isDone: isDone)
            }
        }
    }

    private func end(isDone: Bool) {
        isBusy = false
        if let whenIdle { return whenIdle() }
        if !isDone { return timer.start(after: Self.pause) { [unowned self] in move() } }
        if isAsked { move() }
    }
}

/// The functions of the catalogue, as targets of notifications: their policies must let S3 invoke them. (What `[[on.object]]` of a manifest
/// asks for is its owner's wish, and needs no more.)
struct FunctionTargets: NotificationTargets {
    let catalog: Catalog
    let account: String

    func refusal(of arn: String, toldBy bucket: String) -> String? {
        guard case .function(let name, let qualifier)? = Destination(arn: arn) else { return "The ARN is not well formed" }
        guard let function = catalog.snapshot.function(named: name), function.resolve(qualifier: qualifier) != nil else {
            return "The destination Lambda does not exist"
        }
        let question = AccessQuestion(
            .service("s3.amazonaws.com"), "lambda:InvokeFunction", sourceARN: "arn:aws:s3:::\(bucket)", sourceAccount: account)
        guard function.permits(question, qualifier: qualifier) else {
            return "Not authorized to invoke function [\(arn)]: give s3.amazonaws.com the permission with aws lambda add-permission"
        }
        return nil
    }
}
