internal import Base
internal import Catalog
internal import Crypto
internal import Glibc
internal import IAM
internal import Pool
internal import Sandbox
internal import UV

/// A worker that the pool has ordered.
struct StartOrder {
    let id: WorkerID
    let isProvisioned: Bool
    let reason: StartReason
    let ordered: Moment
    /// Given once more, because its zygote ended before it had forked.
    var isRepeated = false
}

/// Who ordered workers and is told what became of the orders. Never called from inside `start`.
protocol WorkerSourceOwner: WorkerOwner {
    func sourceStarted(_ worker: Worker, _ order: StartOrder)
    /// - Parameter isStopped: the order was taken back; else the init error and the sentence say why.
    func sourceFailed(_ order: StartOrder, isStopped: Bool)
    func sourceWrote(_ bytes: UnsafeRawBufferPointer)
    func sourceNotes(_ text: String)
}

/// Where the workers of one version come from: its recipe, its zygote, or an exec.
///
///     none ──prepare──▶ preparing ──▶ ready ──(can fork)──▶ zygote starting ──▶ forking
///                           └─▶ failed        └─(cannot, or the zygote refuses)──▶ executing
///
/// Invariants:
///  1. Every order is answered once: by `sourceStarted`, or by `sourceFailed`.
///  2. Orders wait in `waiting`, in their order, for the recipe, for the zygote or for room on the node.
///  3. There is at most one zygote; one that has ended is replaced at once if it had lived for a second or an order waits,
///     else at the next order. Two in vain fail the orders that wait, so a zygote is never remade without pause.
///
/// Thread rule: the loop's thread.
final class WorkerSource {
    private enum Recipe { case none, preparing, ready(WorkerRecipe), failed }

    private let version: VersionEntry
    private let function: String
    private let invoker: Invoker
    /// The pool; both live until the pool has drained, and `close` cuts the tie.
    private var owner: (any WorkerSourceOwner)?
    private var recipe = Recipe.none
    private var zygote: Zygote?
    private var zygoteTimer: Timer?
    private var waiting: [StartOrder] = []
    /// What the version's processes sign with; made when the first of them is needed.
    private var key: Keyring.FunctionKey?
    private var isClosed = false
    /// The last failed init.
    var initFault: InitFault?
    /// Why no worker can be started, for people.
    private(set) var cannotStart: String?
    /// Why workers are started by exec though the runtime could fork, for people.
    private var forkRefusal: String?
    /// Zygotes in a row that ended before a worker of theirs was ready.
    private var endedInVain = 0

    init(_ version: VersionEntry, of function: String, invoker: Invoker, owner: any WorkerSourceOwner) {
        self.version = version
        self.function = function
        self.invoker = invoker
        self.owner = owner
    }

    /// How workers are started, for people.
    var startsBy: String {
        if let forkRefusal { return "exec: \(forkRefusal)" }
        guard case .ready(let recipe) = recipe else { return "not started yet" }
        guard recipe.canFork else { return "exec: the runtime cannot fork" }
        return zygote?.isReady == true ? "fork of process \(zygote?.pid ?? 0)" : "fork of a process that is not up yet"
    }

    var isEmpty: Bool { zygote == nil && waiting.isEmpty }

    /// A new attempt is made: what failed before says nothing of it.
    func forgetFailures() {
        initFault = nil
        cannotStart = nil
        if case .failed = recipe { recipe = .none }
    }

    /// Takes an order; the answer comes later.
    func start(_ order: StartOrder) {
        waiting.append(order)
        pump()
    }

    /// Takes an order back if it still waits.
    func cancel(_ id: WorkerID) -> Bool {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return false }
        fail(waiting.remove(at: index), isStopped: true)
        return true
    }

    /// Starts what can be started now.
    func pump() {
        guard !waiting.isEmpty, let recipe = usableRecipe() else { return }
        if recipe.canFork, forkRefusal == nil {
            guard let zygote else { return makeZygote(recipe) }
            guard zygote.isReady else { return }
        }
        while let order = waiting.first {
            // Nobody else's worker makes room for one that no call needs yet.
            if order.reason == .spare, invoker.isFull {
                fail(waiting.removeFirst(), isStopped: true)
                continue
            }
            guard invoker.hasRoomForWorker(asking: version) else { return }
            do {
                guard let worker = try make(order, recipe) else { return }
                waiting.removeFirst()
                initFault = nil
                owner?.sourceStarted(worker, order)
            } catch {
                waiting.removeFirst()
                give(up: "\(error)", order)
            }
        }
    }

    private func make(_ order: StartOrder, _ recipe: WorkerRecipe) throws -> Worker? {
        guard let owner else { return nil }
        let stream = invoker.logStream(version: version.number.map(String.init) ?? "$LATEST")
        if let zygote, zygote.isReady {
            return try zygote.fork(
                tag: order.id.rawValue, ordered: order.ordered, provisioned: order.isProvisioned, logStream: stream,
                owner: owner)
        }
        return try Worker.execute(
            recipe, tag: order.id.rawValue, ordered: order.ordered, provisioned: order.isProvisioned,
            logStream: stream, loop: invoker.loop, owner: owner
        ) { [self] failure in
            note(failure.description)
            self.owner?.sourceFailed(order, isStopped: false)
        }
    }

    private func usableRecipe() -> WorkerRecipe? {
        switch recipe {
        case .ready(let recipe): return recipe
        case .preparing: return nil
        case .none, .failed:
            prepare()
            return nil
        }
    }

    private func prepare() {
        recipe = .preparing
        invoker.codeStore.prepare(version, of: function, key: key ?? makeKey(), on: invoker.loop) { [self] result in
            switch result {
            case .success(let ready):
                recipe = .ready(ready)
                cannotStart = nil
                pump()
            case .failure(let failure):
                recipe = .failed
                failAll(failure.description)
            }
        }
    }

    private func makeKey() -> Keyring.FunctionKey {
        let settings = version.settings
        let made = invoker.keyring.grant(
            function, role: settings.role, policies: settings.access?.policies ?? [], random: randomBytes(Keyring.grantBytes))
        key = made
        return made
    }

    func revokeKey() {
        if let key { invoker.keyring.revoke(key) }
        key = nil
    }

    private func makeZygote(_ recipe: WorkerRecipe) {
        do {
            let zygote = try Zygote(recipe, loop: invoker.loop, owner: self)
            self.zygote = zygote
            let timer = try Timer(loop: invoker.loop)
            timer.unreference()
            zygoteTimer = timer
            timer.start(after: invoker.settings.initTimeout) { [unowned self] in
                initFault = .timeout(invoker.settings.initTimeout)
                zygote.kill()
            }
        } catch {
            failAll("\(error)")
        }
    }

    private func disarmZygoteTimer() {
        zygoteTimer?.close()
        zygoteTimer = nil
    }

    private func failAll(_ sentence: String) {
        let orders = waiting
        waiting = []
        for order in orders { give(up: sentence, order) }
    }

    private func give(up sentence: String, _ order: StartOrder) {
        note(sentence)
        fail(order, isStopped: false)
    }

    private func note(_ sentence: String) {
        cannotStart = sentence
        owner?.sourceNotes(sentence)
    }

    /// Reported later, so that the pool never hears an answer from inside its own order.
    private func fail(_ order: StartOrder, isStopped: Bool) {
        let box = LoopBound(self, on: invoker.loop)
        invoker.loop.remote.post { box.wrapped.owner?.sourceFailed(order, isStopped: isStopped) }
    }

    /// A worker has become ready: what failed before is over.
    func succeeded() {
        initFault = nil
        cannotStart = nil
        endedInVain = 0
        // Orders that the zygote could not take for the number of those before them.
        pump()
    }

    /// No more workers will be ordered: ends the zygote, whose workers live on.
    func close() {
        isClosed = true
        disarmZygoteTimer()
        zygote?.stop()
        zygote = nil
        owner = nil
    }

    func kill() { zygote?.kill() }
}

extension WorkerSource: ZygoteOwner {
    func zygoteReady(_ zygote: Zygote) {
        disarmZygoteTimer()
        pump()
    }

    func zygoteNotStarted(_ zygote: Zygote, _ failure: SpawnFailure) {
        guard self.zygote === zygote else { return }
        self.zygote = nil
        disarmZygoteTimer()
        failAll(failure.description)
    }

    func zygoteInitFailed(_ zygote: Zygote, error: UnsafeRawBufferPointer) {
        initFault = .reported(Array(error.prefix(64 * 1024)))
    }

    func zygoteRefuses(_ zygote: Zygote, reason: String) {
        forkRefusal = reason
        owner?.sourceNotes("workers are started by exec, which is slower: \(reason)")
        self.zygote = nil
        disarmZygoteTimer()
        pump()
    }

    func zygoteCouldNotFork(_ zygote: Zygote, tag: UInt32, code: Int32) {
        owner?.sourceNotes("a worker could not be forked: \(String(cString: strerror(code)))")
        owner?.sourceFailed(
            StartOrder(
                id: WorkerID(rawValue: tag), isProvisioned: false, reason: .scaleUp, ordered: invoker.loop.now),
            isStopped: false)
    }

    func zygoteWrote(_ zygote: Zygote, _ bytes: UnsafeRawBufferPointer) { owner?.sourceWrote(bytes) }

    func zygoteExited(_ zygote: Zygote, _ exit: WorkerExit) {
        guard self.zygote === zygote else { return }
        self.zygote = nil
        disarmZygoteTimer()
        owner?.sourceNotes("the zygote ended: \(exit.lambdaReason)")
        let ready = zygote.times.ready
        endedInVain += 1
        // Orders wait for the next one, but not for ever: two in vain are the init's failure, and the pool pauses then.
        if ready != .zero, endedInVain < 2 || waiting.isEmpty {
            // One that ends again and again is made anew only when somebody needs it.
            guard !isClosed, endedInVain < 3, case .ready(let recipe) = recipe else { return }
            if !waiting.isEmpty || invoker.loop.now.since(ready) > .seconds(1) { makeZygote(recipe) }
            return
        }
        if initFault == nil { initFault = .exit(exit) }
        let orders = waiting
        waiting = []
        for order in orders { fail(order, isStopped: false) }
    }
}
