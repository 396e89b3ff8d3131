internal import CSandbox
internal import Glibc

/// What walls this machine lets a worker have: tried once at the start, then the same for all.
///
/// This is process isolation for code that its owner deploys; it is not a wall for hostile tenants, who share a kernel.
package struct Isolation: Sendable {
    /// hearth-init, beside the server's own executable.
    package let initPath: String
    /// hearth-base, in the same place.
    package var basePath: String { initPath.dropLast("init".count) + "base" }
    /// An empty directory on which each sandbox mounts its own root.
    package let mountPoint: String
    /// Does the server run as root? Then each function gets a user of its own; else all is mapped to the server's.
    package let isRoot: Bool
    /// False: hearth-init only sees to it that nothing outlives the server.
    package let hasNamespaces: Bool
    /// Does each forked worker get its own /tmp? Needs user namespaces inside the sandbox.
    package let hasPrivateTmp: Bool
    /// Are users beyond 65,535 mapped, so that each function can have its own?
    let hasUsers: Bool
    /// Directories of the machine that are shown inside, read-only, where they are outside.
    let shown: [String]
    /// Real paths that are not to be seen although they may lie in a directory that is shown.
    let hidden: [String]
    /// What is missing, and how to get it; nil when nothing is.
    package let problem: String?

    static let systemDirectories = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"]

    /// Where the sandbox shows a version's code and the clients, as Lambda does.
    package static let codeDirectory = "/var/task"
    package static let runtimeDirectory = "/var/runtime"
    package static let cacheDirectory = "/var/cache/hearth"
    package static let layersDirectory = "/opt"

    /// Tries a sandbox, and a smaller one if that fails. Blocks for some milliseconds.
    ///
    /// - Parameters:
    ///   - wanted: false: no namespaces are tried.
    ///   - dataDirectory: hidden from all; `sandbox/` is made in it.
    ///   - shown: directories beside the system's.
    ///   - hidden: further paths that no function may see: where the functions' sources and settings lie.
    /// - Returns: nil when not even hearth-init is there.
    package static func probe(wanted: Bool, dataDirectory: String, shown: [String], hidden: [String] = []) -> Isolation? {
        guard let initPath = findInit() else { return nil }
        let mountPoint = dataDirectory + "/sandbox"
        mkdir(mountPoint, 0o755)
        let isRoot = geteuid() == 0
        func make(_ hasNamespaces: Bool, _ hasPrivateTmp: Bool, _ problem: String?) -> Isolation {
            Isolation(
                initPath: initPath, mountPoint: mountPoint, isRoot: isRoot, hasNamespaces: hasNamespaces,
                hasPrivateTmp: hasPrivateTmp, hasUsers: isRoot && mapsManyUsers, shown: systemDirectories + resolver + shown,
                hidden: ([dataDirectory] + hidden).compactMap(realPath), problem: problem)
        }
        guard wanted else { return make(false, false, "isolation is off in runtime.toml") }
        let full = make(true, true, nil)
        // unshare(1) is not needed on the machine: a shell builtin tells whether a second user namespace can be made.
        if let failure = full.tryProgram("/bin/true") {
            return make(false, false, "no sandbox can be made here (\(failure)): run as root, or allow user namespaces with sysctl user.max_user_namespaces=15000")
        }
        guard nestedNamespacesAllowed else {
            return make(true, false, "user namespaces are forbidden to functions: the workers of one version share /tmp; allow them with sysctl kernel.unprivileged_userns_clone=1")
        }
        return full
    }

    private static func findInit() -> String? {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else { return nil }
        let own = String(decoding: path.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard let slash = own.lastIndex(of: "/") else { return nil }
        let beside = String(own[..<slash]) + "/hearth-init"
        return access(beside, X_OK) == 0 ? beside : nil
    }

    /// The resolver's file is often a link out of /etc.
    private static var resolver: [String] {
        guard let path = realPath("/etc/resolv.conf") else { return [] }
        return path.hasPrefix("/etc/") ? [] : [path]
    }

    private static func realPath(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(cString: real)
    }

    private static func number(in file: String) -> Int? {
        guard let stream = fopen(file, "re") else { return nil }
        defer { fclose(stream) }
        var line = [CChar](repeating: 0, count: 64)
        guard fgets(&line, CInt(line.count), stream) != nil else { return nil }
        return Int(strtol(line, nil, 10))
    }

    private static var nestedNamespacesAllowed: Bool {
        number(in: "/proc/sys/user/max_user_namespaces") != 0
            && number(in: "/proc/sys/kernel/unprivileged_userns_clone") != 0
            && number(in: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != 1
    }

    /// In a container of its own, root may have only the first users mapped (user_namespaces(7): uid_map).
    private static var mapsManyUsers: Bool {
        guard let stream = fopen("/proc/self/uid_map", "re") else { return false }
        defer { fclose(stream) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, CInt(line.count), stream) != nil else { return false }
        let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        let parts = text.split(whereSeparator: { $0 == " " || $0 == "\n" }).compactMap { UInt64($0) }
        return parts.count == 3 && parts[2] >= 0xFFFF_FFFF
    }

    /// What each wall is here, for `hearth doctor`: a name, whether it stands, and what it means or how to get it.
    package var walls: [(name: String, stands: Bool, sentence: String)] {
        [
            (
                "namespaces", hasNamespaces,
                hasNamespaces
                    ? "each function sees its own files, processes and System V objects"
                    : problem ?? "functions see the machine as the server does"
            ),
            (
                "users", hasUsers || (hasNamespaces && !isRoot),
                hasUsers
                    ? "each function is a user of its own"
                    : "functions run as the server's user: run the server as root for a user each"
            ),
            (
                "private /tmp", hasPrivateTmp,
                hasPrivateTmp ? "each worker has a /tmp of its own, with a size limit" : problem ?? "workers share /tmp"
            ),
            (
                "system calls", hasNamespaces,
                hasNamespaces
                    ? "calls that change the machine or reach into other processes are refused (seccomp)"
                    : "not filtered: they are filtered in sandboxes only"
            ),
            (
                "Landlock", false,
                "not used: the sandbox's own root shows no more than Landlock would leave"
            ),
        ]
    }

    /// Runs a program in a sandbox to its end; nil when it went well, else what did not.
    private func tryProgram(_ path: String) -> String? {
        let recipe = WorkerRecipe(
            workerProtocol: .frames, program: path, arguments: [path], directory: "/", environment: [], isolation: self)
        do throws(SpawnFailure) {
            let order = Spawner.Order(recipe: recipe, environment: [], descriptors: [-1, -1, -1])
            return ProcessHandle(try recipe.spawn(order)).waitForSuccess()
        } catch {
            return error.description
        }
    }

    /// hearth-init's options for a recipe.
    func options(for recipe: WorkerRecipe) -> [String] {
        var options = [
            "--root", mountPoint, "--tmp", String(recipe.tmpBytes), "--directory", recipe.directory,
            "--processes", String(4096),
        ]
        if hasUsers { options += ["--user", String(user(of: recipe.owner))] }
        if recipe.ownsNetwork { options.append("--owns-network") }
        if recipe.listensInside { options += ["--listen", String(WorkerRecipe.insidePort)] }
        let shown = shown + recipe.shown
        for path in shown { options += ["--bind", path, path] }
        for (from, to) in recipe.placed { options += ["--bind", from, to] }
        for path in hidden where shown.contains(where: { (path + "/").hasPrefix($0 + "/") }) { options += ["--hide", path] }
        return options
    }

    /// The user of a function on a server that runs as root: the same at each start, and nobody else's.
    ///
    /// 28 bits of FNV-1a of its name above 2^28: a thousand functions share one with a probability of 0.002, and then
    /// they are still in namespaces of their own.
    package func user(of function: String) -> UInt32 {
        var hash: UInt32 = 0x811C_9DC5
        for byte in function.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return 0x1000_0000 | (hash & 0x0FFF_FFFF)
    }
}
