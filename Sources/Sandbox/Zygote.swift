package import Base
internal import CSandbox
internal import Glibc
internal import HTTP
internal import Net
package import UV

/// What a zygote tells the pool that it belongs to. Called on the loop's thread.
package protocol ZygoteOwner: AnyObject {
    /// Initialised: workers can be forked from it.
    func zygoteReady(_ zygote: Zygote)
    /// No process came about. Last call.
    func zygoteNotStarted(_ zygote: Zygote, _ failure: SpawnFailure)
    /// Its init failed with this JSON error; its exit follows.
    func zygoteInitFailed(_ zygote: Zygote, error: UnsafeRawBufferPointer)
    /// A fork of it would not be a whole worker, for this reason; its exit follows.
    func zygoteRefuses(_ zygote: Zygote, reason: String)
    /// A fork that was ordered did not come about.
    func zygoteCouldNotFork(_ zygote: Zygote, tag: UInt32, code: Int32)
    func zygoteWrote(_ zygote: Zygote, _ bytes: UnsafeRawBufferPointer)
    /// The process is gone; the workers that it has forked live on. Last call.
    func zygoteExited(_ zygote: Zygote, _ exit: WorkerExit)
}

/// The initialised process of one version, from which its workers are forked.
///
///     ordered ──▶ starting ──ready──▶ ready ──exit──▶ gone
///        │           └─ failed, refuses ──────exit────▲
///        └─ no process ───────────────────────────────┘
///
/// Invariants:
///  1. Every worker in `children` has been ordered here and has not exited; its end is told by the zygote while that
///     lives, and by the worker's own pidfd after that.
///  2. A fork whose pidfd had not come when the zygote ended never came about.
///  3. Nothing that the process sends is read before the process is known. One that was to end before that ends when it comes.
///  4. When the zygote and all that it has forked have ended, hearth-init is ended too, with whatever is left.
///
/// The process runs its user's code: what it sends is checked, and what makes no sense kills it. So does silence: a worker's
/// end that it does not report within a second.
///
/// Thread rule: the loop's thread.
package final class Zygote {
    private enum Phase { case starting, ready, gone }
    private static let reportGrace = Span.seconds(1)

    /// Kinds of datagrams, described in Runtimes/python/hearth_zygote.py.
    private enum Kind: UInt8 { case ready = 1, failed, refuses, forked, exited, unforked }

    private let loop: Loop
    /// Is hearth-init the parent of the process?
    private let isSandboxed: Bool
    private var owner: (any ZygoteOwner)?
    private var phase = Phase.starting
    package private(set) var times = StartTimes()
    private var process: ProcessHandle?
    private var control: CInt = -1
    private var controlWatch: Poll?
    private var killTimer: Timer?
    private var log: Pipe?
    private var children: [UInt32: Worker] = [:]
    /// Workers that outlive the zygote.
    private var orphans: [UInt32: ProcessHandle] = [:]
    private var stopTimer: Timer?
    private let workerProtocol: WorkerProtocol
    private let cgroups: Cgroups?
    private let limits: WorkerLimits
    /// What a client of the Runtime API says before it is forked goes here.
    private var initAPI: HTTPListener?

    /// It is being killed.
    private var isDoomed = false

    package var isReady: Bool { phase == .ready && !isDoomed }
    package var pid: Int32 { process?.program ?? -1 }

    /// Orders the process; its owner hears `zygoteReady`, or why not.
    package init(_ recipe: WorkerRecipe, loop: Loop, owner: any ZygoteOwner) throws {
        self.loop = loop
        self.owner = owner
        isSandboxed = recipe.isolation != nil
        workerProtocol = recipe.workerProtocol
        cgroups = recipe.cgroups
        limits = recipe.limits
        times.ordered = loop.now
        var theirs: CInt = -1
        guard hearth_packet_pair(&control, &theirs) == 0 else {
            throw SpawnFailure(program: recipe.program, step: "make a socket", code: errno)
        }
        do {
            let (readEnd, writeEnd) = try makePipe(for: recipe.program)
            do {
                let log = try Pipe(loop: loop, descriptor: readEnd)
                self.log = log
                log.delegate = ZygoteLog(zygote: self)
                let environment = try recipe.environment + ["HEARTH_ZYGOTE=1"] + openInitAPI()
                let order = Spawner.Order(
                    recipe: recipe, environment: environment, descriptors: [-1, writeEnd, writeEnd, theirs], isZygote: true)
                // Held until it has been answered.
                Spawner.shared.start(order, on: loop) { [self] in arrived($0) }
            } catch {
                Glibc.close(writeEnd)
                throw error
            }
        } catch {
            Glibc.close(theirs)
            closeHandles()
            throw error
        }
    }

    deinit { if control >= 0 { Glibc.close(control) } }

    /// The listener of a client of the Runtime API, and what the client is to know of it.
    private func openInitAPI() throws -> [String] {
        guard workerProtocol == .runtimeAPI else { return [] }
        let api = try HTTPListener(
            loop: loop, host: "127.0.0.1", port: 0, service: InitAPI(zygote: self),
            admits: { [weak self] in self?.isOwn($0) ?? false })
        initAPI = api
        api.hold()
        return ["AWS_LAMBDA_INITIALIZATION_TYPE=snap-start", "AWS_LAMBDA_RUNTIME_API=\(api.address.host):\(api.address.port)"]
    }

    private func arrived(_ result: Result<Spawned, SpawnFailure>) {
        switch result {
        case .failure(let failure):
            phase = .gone
            closeHandles()
            owner?.zygoteNotStarted(self, failure)
            owner = nil
        case .success(let spawned):
            let process = ProcessHandle(spawned)
            self.process = process
            times.spawned = spawned.at
            do { try watch(process) } catch {
                // Nothing of it could ever be heard.
                process.kill()
                return exited(.signal(SIGKILL))
            }
            if isDoomed { kill() }
            initAPI?.release()
        }
    }

    private func watch(_ process: ProcessHandle) throws {
        log?.startReading()
        // Given up meanwhile, it has no more to say.
        if owner != nil {
            let watch = try Poll(loop: loop, descriptor: control)
            controlWatch = watch
            try watch.start { [unowned self] _ in receive() }
        }
        try process.onExit(loop) { [self] in exited($0) }
    }

    private func closeHandles() {
        closeInitAPI()
        log?.close()
        log = nil
        controlWatch?.close()
        controlWatch = nil
    }

    /// Orders a worker; it reports to `owner` like one that was executed. nil: the zygote takes no more orders now.
    package func fork(
        tag: UInt32, ordered: Moment, provisioned: Bool, logStream: String, owner: any WorkerOwner
    ) throws -> Worker? {
        guard isReady else { return nil }
        var order: [UInt8] = []
        withUnsafeBytes(of: tag.littleEndian) { order.append(contentsOf: $0) }
        order.append(provisioned ? 1 : 0)
        withUnsafeBytes(of: UInt16(logStream.utf8.count).littleEndian) { order.append(contentsOf: $0) }
        order.append(contentsOf: logStream.utf8)
        let worker: Worker
        switch workerProtocol {
        case .frames: worker = FrameWorker(tag: tag, loop: loop, owner: owner)
        case .runtimeAPI:
            let api = RuntimeAPIWorker(tag: tag, loop: loop, owner: owner)
            api.ancestor = process?.pid ?? -1
            try api.listen()
            order.append(contentsOf: api.address.utf8)
            worker = api
        }
        worker.times.ordered = ordered
        worker.zygoteTimes = times
        let (log, ends) = try worker.openPipes()
        let given = ends + [log]
        defer { for descriptor in given { Glibc.close(descriptor) } }
        guard hearth_send_packet(control, order, order.count, given, Int32(given.count)) == 0 else {
            let code = errno
            worker.abandon()
            // Too many orders, or it has just ended: the order waits.
            if [EAGAIN, EPIPE, ECONNRESET].contains(code) { return nil }
            throw SpawnFailure(program: "worker", step: "order a fork", code: code)
        }
        children[tag] = worker
        return worker
    }

    /// Ends the process; the workers that it has forked live on.
    package func stop() {
        // The end of the socket is the order to end.
        controlWatch?.close()
        controlWatch = nil
        if control >= 0 { shutdown(control, CInt(SHUT_RDWR)) }
        owner = nil
        guard process != nil, let timer = try? Timer(loop: loop) else { return kill() }
        stopTimer = timer
        timer.unreference()
        timer.start(after: Limits.killGrace) { [unowned self] in kill() }
    }

    /// Kills the process; the workers that it has forked live on.
    package func kill() {
        isDoomed = true
        process?.killProgram()
    }

    /// It has said what makes no sense, or has said nothing.
    private func distrust(_ what: String) {
        if isDoomed { return kill() }
        var line = "hearth: the zygote \(what) and was killed\n"
        line.withUTF8 { wrote(UnsafeRawBufferPointer($0)) }
        kill()
    }

    private func killSoon() {
        isDoomed = true
        guard killTimer == nil, process != nil else { return }
        guard let timer = try? Timer(loop: loop) else { return kill() }
        killTimer = timer
        timer.unreference()
        timer.start(after: Limits.killGrace) { [weak self] in self?.kill() }
    }

    // MARK: Datagrams

    private func receive(_ datagramsMax: Int = 256) {
        withUnsafeTemporaryAllocation(byteCount: 65_537, alignment: 8) { room in
            // No more at a time: the process may be sending as fast as this reads. The rest makes the socket readable again.
            var left = datagramsMax
            while controlWatch != nil, left > 0 {
                left -= 1
                var descriptor: CInt = -1
                let count = hearth_receive_packet(control, room.baseAddress, room.count, &descriptor)
                guard count > 0 else {
                    if descriptor >= 0 { Glibc.close(descriptor) }
                    guard count == 0 else { return }
                    // Its end, or an empty datagram: either way it is of no use any more. If it is ending by itself, the
                    // exit tells how, so it is given a moment.
                    controlWatch?.close()
                    controlWatch = nil
                    return killSoon()
                }
                take(UnsafeRawBufferPointer(rebasing: room[..<count]), descriptor)
            }
        }
    }

    private func take(_ datagram: UnsafeRawBufferPointer, _ descriptor: CInt) {
        let body = UnsafeRawBufferPointer(rebasing: datagram[1...])
        let kind = Kind(rawValue: datagram[0])
        if kind != .forked, descriptor >= 0 { Glibc.close(descriptor) }
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: body.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        switch (kind, phase) {
        case (.ready, .starting) where body.count >= 28: becomeReady(body)
        case (.failed, .starting):
            drainLog()
            owner?.zygoteInitFailed(self, error: body)
        case (.refuses, .starting):
            owner?.zygoteRefuses(self, reason: String(decoding: body.prefix(500), as: UTF8.self))
            process?.kill()
        case (.forked, .ready) where body.count >= 4 && descriptor >= 0: forked(word(0), descriptor)
        case (.exited, .ready) where body.count >= 8:
            guard let worker = children.removeValue(forKey: word(0)) else { return distrust("told the end of no worker of its") }
            worker.exited(WorkerExit(waitStatus: Int32(bitPattern: word(4))))
            process?.sweep()
        case (.unforked, .ready) where body.count >= 8:
            let tag = word(0)
            guard let worker = children[tag], worker.process == nil else { return distrust("took a fork back") }
            children[tag] = nil
            worker.abandon()
            owner?.zygoteCouldNotFork(self, tag: tag, code: Int32(bitPattern: word(4)))
        default:
            if kind == .forked, descriptor >= 0 { Glibc.close(descriptor) }
            distrust("sent a datagram that makes no sense")
        }
    }

    private func becomeReady(_ body: UnsafeRawBufferPointer) {
        func moment(_ offset: Int) -> Moment {
            Moment(nanoseconds: UInt64(littleEndian: body.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        }
        let now = loop.now
        // The process's own times are believed only in their order.
        times.runtimeUp = min(max(moment(0), times.spawned), now)
        times.importBegan = min(max(moment(8), times.runtimeUp), now)
        times.importEnded = min(max(moment(16), times.importBegan), now)
        times.ready = now
        phase = .ready
        // Looked up while it is the only child.
        _ = process?.program
        closeInitAPI()
        owner?.zygoteReady(self)
    }

    private func forked(_ tag: UInt32, _ pidfd: CInt) {
        guard let worker = children[tag], worker.process == nil else {
            Glibc.close(pidfd)
            return
        }
        // nil when the child has ended already: then `exited` follows.
        guard let handle = ProcessHandle(pidfd: pidfd) else { return }
        guard process?.isOwn(handle) == true else { return distrust("gave a process for a worker that it has not forked") }
        handle.join(cgroups, limits)
        try? worker.adopt(handle, watches: false)
        try? handle.onEnd(loop) { [weak self] in self?.awaitReport(tag, of: worker) }
    }

    /// The worker has ended, and the zygote is to say how.
    private func awaitReport(_ tag: UInt32, of worker: Worker) {
        guard children[tag] === worker, let timer = try? Timer(loop: loop) else { return }
        timer.unreference()
        timer.start(after: Self.reportGrace) { [self] in
            timer.close()
            guard children[tag] === worker else { return }
            children[tag] = nil
            worker.exited(.signal(SIGKILL))
            distrust("did not say that a worker had ended")
        }
    }

    private func closeInitAPI() {
        initAPI?.close()
        initAPI = nil
    }

    /// The client reported that the function's init failed.
    fileprivate func initFailed(_ error: UnsafeRawBufferPointer) {
        guard phase == .starting else { return }
        drainLog()
        owner?.zygoteInitFailed(self, error: error)
    }

    /// The client went on to what only a worker does: it is none that can be forked.
    fileprivate func cannotFork(_ reason: String) {
        guard phase == .starting else { return }
        owner?.zygoteRefuses(self, reason: reason)
        process?.kill()
    }

    private func isOwn(_ connection: TCP) -> Bool {
        guard let pid = process?.pid else { return false }
        return connection.withDescriptor { hearth_peer_is_of_group($0, pid) } != 0
    }

    private func drainLog() { log?.drainNow() }

    fileprivate func wrote(_ bytes: UnsafeRawBufferPointer) { owner?.zygoteWrote(self, bytes) }

    private func exited(_ exit: WorkerExit) {
        receive(.max)
        phase = .gone
        killTimer?.close()
        killTimer = nil
        drainLog()
        closeHandles()
        if let failure = process?.failure {
            var line = "hearth: the sandbox could not be made: \(failure)\n"
            line.withUTF8 { wrote(UnsafeRawBufferPointer($0)) }
        }
        stopTimer?.close()
        stopTimer = nil
        if !isSandboxed { process?.killGroup() }
        let forked = children
        children = [:]
        for (tag, worker) in forked { follow(worker, tag) }
        if orphans.isEmpty { endKeeper() }
        owner?.zygoteExited(self, exit)
        owner = nil
    }

    /// The worker lives on as a child of hearth-init: its end is seen from here.
    private func follow(_ worker: Worker, _ tag: UInt32) {
        guard let handle = worker.process else { return worker.exited(.signal(SIGKILL)) }
        orphans[tag] = handle
        do {
            try handle.onExit(loop) { [self] exit in
                worker.exited(exit)
                orphans[tag] = nil
                if orphans.isEmpty { endKeeper() } else { process?.sweep(but: orphans.values.map(\.pid)) }
            }
        } catch {
            orphans[tag] = nil
            worker.exited(.signal(SIGKILL))
        }
    }

    private func endKeeper() {
        process?.kill()
        process = nil
    }
}

/// Passes a zygote's log on.
private final class ZygoteLog: StreamDelegate {
    /// The cycle ends when the pipe is closed.
    private let zygote: Zygote

    init(zygote: Zygote) { self.zygote = zygote }

    func received(_ bytes: UnsafeRawBufferPointer) { zygote.wrote(bytes) }
    func ended(error: CInt) {}
    func drained() {}
}

/// The Runtime API of a zygote: it takes the error of an init, and tells by all else that the client does not fork.
private final class InitAPI: HTTPService {
    private weak var zygote: Zygote?

    init(zygote: Zygote) { self.zygote = zygote }

    func bodyBytesMax(_ request: HTTPRequest) -> Int { 64 * 1024 }

    func handle(_ request: HTTPRequest) {
        let path = request.text(request.head.path)
        let body: StaticString = #"{"status":"OK"}"#
        if path.hasSuffix("/runtime/init/error") {
            request.connection.respond(
                202, type: "application/json", UnsafeRawBufferPointer(start: body.utf8Start, count: body.utf8CodeUnitCount))
            zygote?.initFailed(request.body)
        } else {
            request.connection.respond(404, text: "there is no such call before the fork\n")
            zygote?.cannotFork("its client is not awslambdaric for Python, and no other is known to fork")
        }
    }
}
