internal import Base
internal import CSandbox
internal import Glibc
internal import UV

extension WorkerRecipe {
    /// Starts the recipe's program, in its sandbox if it has one, and waits until it is executed; or has its zygote forked
    /// by `base`, if there is one that can. The descriptors stay the caller's.
    func spawn(_ order: Spawner.Order, from base: BaseInterpreter? = nil) throws(SpawnFailure) -> Spawned {
        let descriptors = order.descriptors
        // Without namespaces too hearth-init sees to it that nothing of the program outlives it, or the server.
        guard let isolation else { return try spawnProgram(program, arguments, order.environment, descriptors, in: directory) }
        var ours: CInt = -1
        var theirs: CInt = -1
        guard hearth_packet_pair(&ours, &theirs) == 0 else {
            throw SpawnFailure(program: program, step: "make a status socket", code: errno)
        }
        defer { Glibc.close(theirs) }
        var line = [isolation.initPath, "--status", String(descriptors.count), "--files", String(Limits.openFilesMax)]
        if order.isZygote { line.append("--zygote") }
        if isolation.hasNamespaces { line += isolation.options(for: self) }
        let group = cgroups?.make(limits)
        for entrance in group?.entrances ?? [] { line += ["--cgroup", entrance] }
        var environment = order.environment
        if order.isZygote { environment.append("HEARTH_TMP=mode=1777,size=\(tmpBytes),nr_inodes=\(tmpBytes / 4096 + 16)") }
        line += ["--", program] + arguments.dropFirst()
        let namespaces = isolation.hasNamespaces ? hearth_namespaces(isolation.isRoot ? 0 : 1, ownsNetwork ? 1 : 0) : 0
        if let base, order.isZygote, let forked = base.fork(
            line: line, environment: environment, namespaces: namespaces, descriptors: Array(descriptors.dropFirst(2)) + [theirs])
        {
            return Spawned(pid: forked.pid, pidfd: forked.pidfd, status: ours, keeper: .sandbox, group: group, at: Loop.now)
        }
        do throws(SpawnFailure) {
            var process = try spawnProgram(
                isolation.initPath, line, environment, descriptors + [theirs],
                in: isolation.hasNamespaces ? "/" : directory, namespaces: namespaces, status: ours)
            process.group = group
            return process
        } catch {
            Glibc.close(ours)
            throw error
        }
    }

}

/// Executes a program and waits until it is. Descriptor `i` of it is a copy of `descriptors[i]` (-1: /dev/null).
func spawnProgram(
    _ program: String, _ arguments: [String], _ environment: [String], _ descriptors: [CInt], in directory: String,
    namespaces: Int32 = 0, status ours: CInt = -1
) throws(SpawnFailure) -> Spawned {
    var spawned = hearth_spawned()
    let status = withCStrings(arguments) { arguments in
        withCStrings(environment) { environment in
            program.withCString { program in
                directory.withCString { directory in
                    descriptors.withUnsafeBufferPointer { descriptors in
                        var what = hearth_spawn(
                            path: program, arguments: arguments, environment: environment, directory: directory,
                            descriptors: descriptors.baseAddress, descriptor_count: Int32(descriptors.count),
                            open_files_max: UInt64(Limits.openFilesMax), namespaces: namespaces)
                        return hearth_spawn(&what, &spawned)
                    }
                }
            }
        }
    }
    guard status == 0 else {
        let step = spawned.step.map { String(cString: $0) } ?? "start"
        throw SpawnFailure(program: program, step: step, code: spawned.error)
    }
    return Spawned(
        pid: spawned.pid, pidfd: spawned.pidfd, status: ours,
        keeper: ours < 0 ? .nobody : namespaces == 0 ? .supervisor : .sandbox, at: Loop.now)
}

/// Calls `body` with a NULL-ended array of C strings.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
}
