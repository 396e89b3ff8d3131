internal import Base
internal import CSandbox
internal import Glibc
internal import Synchronization
internal import UV

/// A process that Hearth started or was given: who it is, how to end it, how it ended.
///
/// One that hearth-init started is two: `pid` is hearth-init, which tells over the status socket how its program ended;
/// a zygote's hearth-init then stays until the workers that were forked have gone too.
///
/// Invariants:
///  1. The pidfd names the process for as long as this object lives, whatever becomes of the number.
///  2. `onExit` calls back once, when the program has ended; a child of this server is collected whether or not anybody
///     still holds the handle.
///
/// Thread rule: the loop's thread.
final class ProcessHandle {
    /// Who sees to it that nothing of the program is left.
    enum Keeper {
        /// It is the process itself.
        case nobody
        /// hearth-init without namespaces: it ends everything when it is told to.
        case supervisor
        /// hearth-init as the first process of a namespace: the kernel ends everything with it.
        case sandbox
    }

    let pid: pid_t
    private let keeper: Keeper
    private let pidfd: CInt
    /// Our end of hearth-init's socket, or -1.
    private let status: CInt
    private var exitWatch: Poll?
    private var statusWatch: Poll?
    /// Of somebody else's child.
    private var endWatch: Poll?
    private var told: WorkerExit?
    /// Given the socket that hearth-init listens with in the sandbox's own network.
    var onListener: ((CInt) -> Void)?
    /// Why hearth-init could not start the program.
    private(set) var failure: String?
    private var body: ((WorkerExit) -> Void)?
    /// The process's control group; removed when this object goes.
    var group: Cgroups.Group? {
        get { joined.withLock { $0 } }
        set { joined.withLock { $0 = newValue } }
    }
    private let joined = Joined()

    /// Set from the queue on which a running process is moved.
    private final class Joined: Sendable {
        private let group = Mutex<Cgroups.Group?>(nil)
        func withLock<R>(_ body: (inout sending Cgroups.Group?) -> sending R) -> R { group.withLock(body) }
    }

    /// Takes over what was started.
    init(_ spawned: Spawned) {
        pid = spawned.pid
        keeper = spawned.keeper
        pidfd = spawned.pidfd
        status = spawned.status
        group = spawned.group
    }

    /// Takes over the pidfd of somebody else's child; nil when the process cannot be seen from here.
    init?(pidfd: CInt) {
        let pid = hearth_pid_of(pidfd)
        guard pid > 0 else {
            Glibc.close(pidfd)
            return nil
        }
        self.pid = pid
        self.pidfd = pidfd
        status = -1
        keeper = .nobody
    }

    /// Is the process a child of this one (hearth-init), or a child of one of its children? Nobody else's pidfd is taken for
    /// a worker's: a zygote could send that of the server itself.
    func isOwn(_ candidate: ProcessHandle) -> Bool {
        let parent = hearth_parent(candidate.pid)
        return parent > 0 && (parent == pid || hearth_parent(parent) == pid)
    }

    deinit {
        Glibc.close(pidfd)
        if status >= 0 { Glibc.close(status) }
    }

    /// The program's own process: hearth-init's first child, or the process itself.
    var program: pid_t {
        if status < 0 { return pid }
        if knownProgram <= 1 { knownProgram = children.first ?? -1 }
        return knownProgram
    }
    private var knownProgram: pid_t = -1

    /// Children of the process now.
    var children: [pid_t] { Self.children(of: pid) }

    private static func children(of pid: pid_t) -> [pid_t] {
        withUnsafeTemporaryAllocation(of: pid_t.self, capacity: 512) { room in
            Array(room.prefix(Int(hearth_children(pid, room.baseAddress, Int32(room.count)))))
        }
    }

    func onExit(_ loop: Loop, _ body: @escaping (WorkerExit) -> Void) throws(UVError) {
        self.body = body
        stopWatchingEnd()
        let watch = try Poll(loop: loop, descriptor: pidfd)
        exitWatch = watch
        // Kept by the watch until the process has been collected.
        try watch.start { [self] _ in
            guard let exit = collect() else { return }
            readStatus()
            report(told ?? exit)
            stopWatching()
        }
        guard status >= 0 else { return }
        let telling = try Poll(loop: loop, descriptor: status)
        statusWatch = telling
        try telling.start { [unowned self] _ in
            readStatus()
            if let told { report(told) }
        }
    }

    /// Calls back once when somebody else's child has ended; how it ended only its parent knows.
    func onEnd(_ loop: Loop, _ body: @escaping () -> Void) throws(UVError) {
        let watch = try Poll(loop: loop, descriptor: pidfd)
        endWatch = watch
        try watch.start { [unowned self] _ in
            stopWatchingEnd()
            body()
        }
    }

    private func stopWatchingEnd() {
        endWatch?.close()
        endWatch = nil
    }

    private func report(_ exit: WorkerExit) {
        let body = self.body
        self.body = nil
        body?(exit)
    }

    private func stopWatching() {
        exitWatch?.close()
        exitWatch = nil
        stopWatchingStatus()
    }

    /// Forgets who wanted to know of the exit. A child goes on being watched, so that it is collected.
    func forget() {
        body = nil
        onListener = nil
        stopWatchingEnd()
    }

    private func readStatus() {
        withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { room in
            while status >= 0, told == nil {
                var descriptor: CInt = -1
                let count = hearth_receive_packet(status, room.baseAddress, room.count, &descriptor)
                if descriptor >= 0 {
                    if count > 0, room[0] == UInt8(ascii: "L"), let onListener { onListener(descriptor) } else { Glibc.close(descriptor) }
                }
                guard count > 0 else {
                    if count == 0 { stopWatchingStatus() }
                    return
                }
                let rest = UnsafeRawBufferPointer(rebasing: room[1..<count])
                switch room[0] {
                case UInt8(ascii: "E") where rest.count >= 4:
                    told = WorkerExit(waitStatus: rest.loadUnaligned(as: Int32.self))
                case UInt8(ascii: "F"): failure = String(decoding: rest, as: UTF8.self)
                default: break
                }
            }
            if told != nil { stopWatchingStatus() }
        }
    }

    /// Nothing more will be read, and the socket's end would be readable for ever: until the kernel has taken the sandbox apart.
    private func stopWatchingStatus() {
        statusWatch?.close()
        statusWatch = nil
    }

    private func collect() -> WorkerExit? {
        var status: Int32 = -1
        var signal: Int32 = -1
        guard hearth_collect(pidfd, &status, &signal) == 1 else { return nil }
        return signal >= 0 ? .signal(signal) : .status(status)
    }

    /// Waits for the end, five seconds at the most; nil when the program ended well, else what did not go well.
    func waitForSuccess() -> String? {
        var waiting = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 5000) == 1, let exit = collect() else {
            kill()
            return "it did not end"
        }
        readStatus()
        if let failure { return failure }
        return (told ?? exit) == .status(0) ? nil : (told ?? exit).lambdaReason
    }

    /// Kills the process and everything that belongs to it.
    func kill() {
        switch keeper {
        case .nobody:
            hearth_kill_group(pid, SIGKILL)
            hearth_signal(pidfd, SIGKILL)
        case .supervisor:
            hearth_signal(pidfd, SIGHUP)
            hearth_signal(pidfd, SIGCONT)
        case .sandbox: hearth_signal(pidfd, SIGKILL)
        }
    }

    /// Kills the program alone; what it has forked lives on. Where the kernel does not tell which process it is, all end.
    func killProgram() {
        guard told == nil else { return }
        guard status >= 0, program > 1 else { return kill() }
        Glibc.kill(program, SIGKILL)
    }

    /// Has hearth-init end what ended workers left behind: what lost its parent became hearth-init's child, while living
    /// workers are children of the zygote.
    func sweep() { if status >= 0 { hearth_signal(pidfd, SIGUSR1) } }

    /// The same once the zygote has gone, and `living` workers are hearth-init's children too.
    func sweep(but living: [pid_t]) {
        for child in children where !living.contains(child) { Glibc.kill(child, SIGKILL) }
    }

    /// Kills what an ended process left behind in its group.
    func killGroup() { hearth_kill_group(pid, SIGKILL) }

    /// Moves the running process into a control group of its own, soon.
    func join(_ cgroups: Cgroups?, _ limits: WorkerLimits) {
        cgroups?.admit(pid, limits) { [joined] group in joined.withLock { $0 = group } }
    }

    /// Stops the program, its group and what it has started in other groups, or lets them run on.
    func freeze() {
        guard program > 1 else { return }
        Glibc.kill(-program, SIGSTOP)
        frozen = others
        for pid in frozen { Glibc.kill(pid, SIGSTOP) }
    }

    func thaw() {
        guard program > 1 else { return }
        for pid in frozen { Glibc.kill(pid, SIGCONT) }
        frozen = []
        Glibc.kill(-program, SIGCONT)
    }

    /// What the program has started: its descendants and, where it has a control group, what has left its parents. (Not
    /// hearth-init, which must see the end of all.)
    var others: Set<pid_t> {
        Set(Self.descendants(of: program) + (group?.members ?? [])).subtracting([program, pid])
    }

    private var frozen: Set<pid_t> = []
    private static let frozenMax = 256

    private static func descendants(of pid: pid_t) -> [pid_t] {
        var found = children(of: pid)
        var next = 0
        while next < found.count, found.count < frozenMax {
            found += children(of: found[next])
            next += 1
        }
        return found
    }

    /// Asks the program to end; hearth-init passes the signal on.
    func terminate() { if status >= 0 { hearth_signal(pidfd, SIGTERM) } else if pid > 1 { Glibc.kill(-pid, SIGTERM) } }
}

extension WorkerExit {
    /// From the status that `waitpid` gives (wait(2)).
    init(waitStatus status: Int32) {
        let signal = status & 0x7F
        self = signal == 0 ? .status((status >> 8) & 0xFF) : .signal(signal)
    }
}
