internal import Dispatch
internal import Glibc
internal import Synchronization

/// What the kernel holds a worker to, beside its sandbox.
package struct WorkerLimits: Sendable {
    /// Megabytes of the function's memory; its own resident pages are watched (`WorkerCare`).
    package var memoryMegabytes: Int
    /// Bytes of /tmp, which the kernel counts as memory.
    package var tmpBytes: Int

    package init(memoryMegabytes: Int, tmpBytes: Int) {
        self.memoryMegabytes = memoryMegabytes
        self.tmpBytes = tmpBytes
    }

    /// The bound for everything that the kernel counts: what is beyond it cannot be the function's memory alone. It stops
    /// in an instant what watching would see a tenth of a second later.
    var memoryMaxBytes: Int { (memoryMegabytes + 64) << 20 + tmpBytes }
    static let processesMax = 1024
    /// Lambda gives a function one core for 1,769 MB (developer guide, "Memory and computing power"): so weights follow
    /// memory, and only count when the machine is full.
    var cpuWeight: Int { max(1, min(10_000, memoryMegabytes * 100 / 1769)) }
}

/// The control groups of workers, where this server may make some: version 2 where it is delegated, else version 1.
///
/// A group is made and removed beside the walk; moving a process into one can take ten milliseconds (the kernel waits for a
/// grace period). So forked workers are moved on a queue of this class, and executed ones join by themselves in hearth-init:
/// in version 1 as a thread, for a thread that moves itself waits for nobody.
///
/// Thread rule: any thread.
package final class Cgroups: Sendable {
    private enum Version { case v1, v2 }

    /// A worker's group: a directory in each hierarchy.
    final class Group: Sendable {
        fileprivate let directories: [String]
        private let owner: Cgroups

        fileprivate init(_ directories: [String], _ owner: Cgroups) {
            self.directories = directories
            self.owner = owner
        }

        /// Files through which a process with one thread joins by writing `0`.
        var entrances: [String] { directories.map { $0 + (owner.version == .v1 ? "/tasks" : "/cgroup.procs") } }
        /// The processes in it now.
        var members: [pid_t] {
            let text = directories.first.flatMap { Cgroups.read($0 + "/cgroup.procs") } ?? ""
            // 0 stands for one that has no number here (cgroups(7)), and would mean everybody to kill(2).
            return text.split(separator: "\n").compactMap { pid_t($0) }.filter { $0 > 1 }
        }
        /// Files through which others are moved by writing their number.
        fileprivate var admissions: [String] { directories.map { $0 + "/cgroup.procs" } }

        deinit { owner.remove(directories) }
    }

    private let version: Version
    /// The directory of this server in each hierarchy, by controller.
    private let bases: [(controller: String, directory: String)]
    private let queue = DispatchQueue(label: "hearth.cgroups")
    private let count = Atomic<UInt64>(0)

    private init(_ version: Version, _ bases: [(controller: String, directory: String)]) {
        self.version = version
        self.bases = bases
        // The processes of a server that was killed a moment ago may still be ending.
        for seconds in [0, 1, 10, 60] {
            queue.asyncAfter(deadline: .now() + .seconds(seconds)) {
                for (_, directory) in bases { Self.clear(beside: directory) }
            }
        }
    }

    /// For `hearth doctor`.
    package var sentence: String {
        "cgroup \(version == .v2 ? "v2" : "v1") holds each worker's \(bases.map(\.controller).joined(separator: ", "))"
    }

    /// The groups that this process may make, or why it may make none.
    package static func find() -> (Cgroups?, String?) {
        let lines = (read("/proc/self/cgroup") ?? "").split(separator: "\n").map { $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false) }
        if let own = lines.first(where: { $0.count == 3 && $0[0] == "0" }), let base = takeV2("/sys/fs/cgroup" + own[2]) {
            return (Cgroups(.v2, [("memory, processes and CPU weight", base)]), nil)
        }
        var bases: [(controller: String, directory: String)] = []
        // Not cpu, whatever the shares: measured beside other programs, group scheduling costs a warm invocation 40 % more
        // CPU time (43 µs instead of 31) and half of the throughput.
        for controller in ["memory", "pids"] {
            guard let own = lines.first(where: { $0.count == 3 && $0[1].split(separator: ",").contains(Substring(controller)) })
            else { continue }
            let parent = "/sys/fs/cgroup/\(controller)\(own[2] == "/" ? "" : own[2])"
            let base = "\(parent)/hearth-\(getpid())"
            if mkdir(base, 0o755) == 0 || errno == EEXIST { bases.append((controller, base)) }
        }
        if !bases.isEmpty { return (Cgroups(.v1, bases), nil) }
        return (nil, "no cgroup can be made here: run as root, or as a systemd service with Delegate=yes")
    }

    /// Prepares a delegated group of version 2: with processes in it, it cannot have groups with limits (cgroups(7), "no
    /// internal processes"), so the server moves to a leaf. Left alone when other processes live in it.
    private static func takeV2(_ own: String) -> String? {
        let own = own.hasSuffix("/") ? String(own.dropLast()) : own
        guard let controllers = read(own + "/cgroup.controllers")?.split(whereSeparator: { $0 == " " || $0 == "\n" }),
            controllers.contains("memory"), controllers.contains("pids"), access(own + "/cgroup.procs", W_OK) == 0,
            let members = read(own + "/cgroup.procs")?.split(separator: "\n").compactMap({ Int32($0) })
        else { return nil }
        let base = "\(own)/hearth-\(getpid())"
        guard members.allSatisfy({ $0 == getpid() }), mkdir(base, 0o755) == 0, mkdir(base + "/server", 0o755) == 0,
            write("\(getpid())", to: base + "/server/cgroup.procs")
        else { return nil }
        let wanted = controllers.contains("cpu") ? "+memory +pids +cpu" : "+memory +pids"
        guard write(wanted, to: own + "/cgroup.subtree_control"), write(wanted, to: base + "/cgroup.subtree_control") else {
            _ = write("\(getpid())", to: own + "/cgroup.procs")
            return nil
        }
        return base
    }

    /// Removes what servers left behind that are gone.
    private static func clear(beside own: String) {
        let parent = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        guard let directory = opendir(String(parent)) else { return }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = name(of: entry)
            guard name.hasPrefix("hearth-"), let pid = Int32(name.dropFirst(7)), pid != getpid(), kill(pid, 0) != 0, errno == ESRCH
            else { continue }
            removeTree("\(parent)/\(name)")
        }
    }

    private static func name(of entry: UnsafeMutablePointer<dirent>) -> String {
        withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
    }

    private static func removeTree(_ path: String) {
        if let directory = opendir(path) {
            while let entry = readdir(directory) {
                guard entry.pointee.d_type == DT_DIR else { continue }
                let name = name(of: entry)
                if name != ".", name != ".." { removeTree("\(path)/\(name)") }
            }
            closedir(directory)
        }
        rmdir(path)
    }

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { Glibc.close(file) }
        var bytes = [UInt8](repeating: 0, count: 16 * 1024)
        let count = Glibc.read(file, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    @discardableResult
    private static func write(_ text: String, to path: String) -> Bool {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { Glibc.close(file) }
        return Glibc.write(file, text, text.utf8.count) == text.utf8.count
    }

    // MARK: Groups

    /// Makes a group with limits (about 100 µs); nil when the kernel refuses.
    func make(_ limits: WorkerLimits) -> Group? {
        let name = "w\(count.add(1, ordering: .relaxed).newValue)"
        var directories: [String] = []
        for (controller, base) in bases {
            let directory = "\(base)/\(name)"
            guard mkdir(directory, 0o755) == 0 else { continue }
            directories.append(directory)
            for (file, value) in settings(controller, limits) { Self.write(value, to: "\(directory)/\(file)") }
        }
        return directories.isEmpty ? nil : Group(directories, self)
    }

    private func settings(_ controller: String, _ limits: WorkerLimits) -> [(String, String)] {
        let memory = String(limits.memoryMaxBytes)
        let processes = String(WorkerLimits.processesMax)
        switch (version, controller) {
        case (.v2, _):
            return [
                ("memory.max", memory), ("memory.swap.max", "0"), ("memory.oom.group", "1"), ("pids.max", processes),
                ("cpu.weight", String(limits.cpuWeight)),
            ]
        case (.v1, "memory"): return [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
        default: return [("pids.max", processes)]
        }
    }

    /// Removes all of this server's groups whose processes are gone; what is left goes at the next start.
    package func end() {
        queue.sync { for base in bases { Self.removeTree(base.directory) } }
    }

    /// Moves a process that is running already into a group of its own, later; it is let go with `keep`.
    func admit(_ pid: Int32, _ limits: WorkerLimits, keep: @escaping @Sendable (Group) -> Void) {
        queue.async { [self] in
            guard let group = make(limits) else { return }
            for file in group.admissions { Self.write(String(pid), to: file) }
            keep(group)
        }
    }

    /// A group can be removed once its last process has been collected, which may take a moment.
    private func remove(_ directories: [String], attempt: Int = 0) {
        queue.asyncAfter(deadline: .now() + .milliseconds(attempt == 0 ? 0 : 50 << min(attempt, 6))) { [self] in
            let left = directories.filter { rmdir($0) != 0 && errno == EBUSY }
            if !left.isEmpty, attempt < 10 { remove(left, attempt: attempt + 1) }
        }
    }
}
