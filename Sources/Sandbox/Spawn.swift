internal import CSandbox
internal import Glibc

extension WorkerRecipe {
    /// Starts the recipe's program. Descriptor `i` of the child is a copy of `descriptors[i]` (-1: /dev/null).
    func spawn(environment: [String], descriptors: [CInt]) throws(SpawnFailure) -> ProcessHandle {
        var spawned = hearth_spawned()
        let status = withCStrings(arguments) { arguments in
            withCStrings(environment) { environment in
                program.withCString { program in
                    directory.withCString { directory in
                        descriptors.withUnsafeBufferPointer { descriptors in
                            var what = hearth_spawn(
                                path: program, arguments: arguments, environment: environment, directory: directory,
                                descriptors: descriptors.baseAddress, descriptor_count: Int32(descriptors.count),
                                open_files_max: 1024)
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
        return ProcessHandle(pid: spawned.pid, pidfd: spawned.pidfd)
    }
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
