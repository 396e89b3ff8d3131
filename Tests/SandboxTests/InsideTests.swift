import Foundation
import TestSupport
import Testing

/// The walls, tried from inside by the code that they are around.
@Suite(.enabled(if: Runner.missing == nil, Comment(rawValue: Runner.missing ?? "")))
struct InsideTests {
    /// What every attempt needs; `attempt` gives an error's name or what was reached.
    private static let tools = #"""
        import ctypes, errno, os, platform, signal, socket, stat, subprocess
        libc = ctypes.CDLL(None, use_errno=True)

        def attempt(action, *arguments):
            try: return repr(action(*arguments))
            except OSError as error: return errno.errorcode.get(error.errno, str(error))

        def call(number, *arguments):
            ctypes.set_errno(0)
            return "done" if libc.syscall(number, *arguments) >= 0 else errno.errorcode[ctypes.get_errno()]

        """#

    /// System calls by name: their numbers on x86_64 and aarch64, and harmless arguments.
    private static let calls = tools + #"""
        table = {
            "ptrace": (101, 117, 0, 0, 0, 0), "process_vm_readv": (310, 270, 1, 0, 0, 0, 0, 0), "mount": (165, 40, b"none", b"/tmp", b"tmpfs", 0, 0),
            "umount2": (166, 39, b"/tmp", 2), "unshare": (272, 97, 0x10000000), "setns": (308, 268, 0, 0), "clone": (56, 220, 0x10000011, 0, 0, 0, 0),
            "chroot": (161, 51, b"/tmp"), "pivot_root": (155, 41, b".", b"."), "bpf": (321, 280, 0, 0, 0), "keyctl": (250, 219, 0, -3, 0),
            "add_key": (248, 217, b"user", b"x", b"x", 1, -3), "perf_event_open": (298, 241, 0, 0, -1, -1, 0), "userfaultfd": (323, 282, 1),
            "pidfd_getfd": (438, 438, 0, 0, 0), "open_by_handle_at": (304, 265, 0, 0, 0), "fsopen": (430, 430, b"tmpfs", 0),
            "move_mount": (429, 429, -1, b"", -1, b"", 0), "mount_setattr": (442, 442, -100, b"/", 0, 0, 0), "init_module": (175, 105, 0, 0, b""),
            "kexec_load": (246, 104, 0, 0, 0, 0), "reboot": (169, 142, 0, 0, 0, 0), "swapon": (167, 224, b"/tmp", 0), "sethostname": (170, 161, b"x", 1),
            "fanotify_init": (300, 262, 0, 0), "quotactl_fd": (443, 443, 0, 0, 0, 0), "io_uring_setup": (425, 425, 1, 0), "clone3": (435, 435, 0, 0),
        }
        column = 0 if platform.machine() == "x86_64" else 1
        result = {name: call(row[column], *row[2:]) for name, row in table.items()}
        """#

    private static let sockets = tools + #"""
        kinds = {"raw": (socket.AF_INET, socket.SOCK_RAW, 1), "raw6": (socket.AF_INET6, socket.SOCK_RAW, 58), "packet": (17, socket.SOCK_RAW, 768),
                 "vsock": (40, socket.SOCK_STREAM, 0), "alg": (38, socket.SOCK_SEQPACKET, 0), "tcp": (2, 1, 0), "udp6": (10, 2, 0), "unix": (1, 1, 0)}
        result = {name: attempt(lambda: socket.socket(*kind).close()) for name, kind in kinds.items()}
        """#

    private static let rights = tools + #"""
        status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
        result = {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")}
        result["groups"] = len([group for group in os.getgroups() if group != 65534])
        result["setuid"] = subprocess.run([event["setuid"], "-u"], capture_output=True, text=True).stdout.strip() == str(os.getuid())
        result["processes"] = __import__("resource").getrlimit(7 if platform.machine() == "mips" else 6)[1]
        """#

    /// Everything that can be opened below the places where something could be, looked through for a secret.
    private static let search = tools + #"""
        secret = "".join(event["halves"]).encode()
        found, looked = [], 0
        for top in event["tops"]:
            for path, directories, files in os.walk(top):
                if path.count("/") > 12 or "/python3" in path: directories.clear()
                directories[:] = [name for name in directories if name not in ("task", "sys", "map_files")]
                for name in files:
                    file = os.path.join(path, name)
                    if name in ("kmsg", "pagemap", "kpagecount", "kpageflags", "kpagecgroup", "kcore", "mem", "trace_pipe"): continue
                    try:
                        if not stat.S_ISREG(os.stat(file).st_mode): continue
                        with open(file, "rb") as opened: content = opened.read(1 << 20)
                    except OSError: continue
                    looked += 1
                    if secret in content: found.append(file)
        result = {"found": found, "looked": looked, "environment": secret.decode() in str(os.environ)}
        """#

    private static let neighbours = tools + #"""
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        result = {
            "seen": sorted({open(f"/proc/{number}/comm").read().strip() for number in numbers}),
            "foreign": [attempt(os.kill, pid, 0) for pid in event["pids"]] + [attempt(os.listdir, f"/proc/{pid}") for pid in event["pids"]],
            "memory": [attempt(open, f"/proc/{number}/mem", "rb") for number in (1, 2) if number != os.getpid()],
            "paths": {path: attempt(os.listdir, path) for path in event["paths"]},
            "descriptors": sorted({os.readlink(f"/proc/self/fd/{name}").split(":")[0] for name in os.listdir("/proc/self/fd")
                                   if os.path.exists(f"/proc/self/fd/{name}")}),
        }
        # The first process and everybody at once: only the function's own can be hit.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGSTOP, signal.SIGKILL):
            if number != signal.SIGTERM: attempt(os.kill, 1, number)
        """#

    private static let writing = tools + #"""
        def create(path):
            with open(path, "w") as file: file.write("x")
            os.unlink(path)

        result = {path: attempt(create, path + "/attack") for path in ("", "/var", "/var/task", "/var/runtime", "/etc", "/usr", "/opt", "/dev", "/proc", "/tmp")}
        def overwrite(path):
            with open(path, "r+") as file: file.write("x")
        for path in ("/var/task/app.py", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches"):
            result[path] = attempt(overwrite, path)
        result["chmod"] = attempt(os.chmod, "/var/task/app.py", 0o777)
        """#

    @Test(arguments: Runner.allCases) func nothingBeyondTheFunctionIsReachedSeenOrChanged(runner: Runner) throws {
        let halves = ["secret-\(UUID())", "-\(UUID())"]
        let secret = halves.joined()
        // In a directory that functions are shown, with all its neighbours in it: only what is hidden protects them there.
        let place = try TemporaryDirectory(in: "/opt")
        chmod(place.path, 0o755)
        _ = try run(["cp", "/usr/bin/id", "\(place.path)/id"])
        chmod("\(place.path)/id", 0o4755)
        let victim = TestFunction.python(
            "victim", "SECRET = '\(secret)'\nopen('/tmp/file', 'w').write(SECRET)\ndef handler(event, context): return SECRET\n",
            manifest: "[environment]\nSECRET = \"\(secret)\"\n")
        let server = try HearthProcess(
            functions: [victim, Inside.function("forked"), Inside.function("executed", executed: true)],
            config: "[sandbox]\nisolation = \"required\"\n", environment: ["HEARTH_TEST_SECRET": secret], directory: place, user: runner.uid)
        try place.write("data/plain", secret)
        chmod("\(place.path)/data", 0o755)
        #expect(try server.invoke("victim").text.contains(secret), "the victim is there")
        let pids = processes(with: secret) + [server.child.pid]
        #expect(pids.count >= 3, "the victim's processes and the server are found from outside")

        for name in ["forked", "executed"] {
            let start = try server.command(["describe", name]).out
            #expect(start.contains(name == "forked" ? "fork of process" : "exec: its init left 2 threads"), "\(start)")
            let calls = try server.inside(name, Self.calls) as? [String: String] ?? [:]
            let open = calls.filter { $0.value != (["io_uring_setup", "clone3"].contains($0.key) ? "ENOSYS" : "EPERM") }
            #expect(calls.count == 28 && open.isEmpty, "\(name): \(open)")
            let sockets = try server.inside(name, Self.sockets) as? [String: String] ?? [:]
            #expect(
                sockets == [
                    "raw": "EPERM", "raw6": "EPERM", "packet": "EAFNOSUPPORT", "vsock": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT", "tcp": "None",
                    "udp6": "None", "unix": "None",
                ], "\(name): \(sockets)")
            let rights = try server.inside(name, Self.rights, ["setuid": "\(place.path)/id"]) as? [String: Any] ?? [:]
            for kind in ["CapEff", "CapPrm", "CapInh", "CapAmb"] { #expect(rights[kind] as? String == "0000000000000000", "\(name): \(rights)") }
            #expect(rights["NoNewPrivs"] as? String == "1" && rights["Seccomp"] as? String == "2" && rights["groups"] as? Int == 0, "\(name): \(rights)")
            #expect(rights["setuid"] as? Bool == true, "\(name): a setuid program gave rights")
            let search = try server.inside(
                name, Self.search, ["halves": halves, "tops": ["/opt", "/var", "/proc", "/tmp", "/dev", "/run", "/home", "/root", "/srv", "/mnt", "/work"]])
            let found = search as? [String: Any] ?? [:]
            #expect(found["found"] as? [String] == [] && found["environment"] as? Bool == false, "\(name): \(found)")
            #expect(found["looked"] as? Int ?? 0 > 20, "\(name): \(found)")
            let paths = ["data", "functions", "data/code", "data/sandbox"].map { "\(place.path)/\($0)" } + ["/home", "/sys", "/boot", "/run/systemd"]
            let neighbours = try server.inside(name, Self.neighbours, ["pids": pids.map(Int.init), "paths": paths]) as? [String: Any] ?? [:]
            #expect((neighbours["seen"] as? [String] ?? []).allSatisfy { $0.hasPrefix("python") }, "\(name): \(neighbours)")
            #expect((neighbours["foreign"] as? [String] ?? []).allSatisfy { ["ESRCH", "ENOENT"].contains($0) }, "\(name): \(neighbours)")
            #expect((neighbours["memory"] as? [String] ?? []).allSatisfy { ["EACCES", "EPERM", "ENOENT"].contains($0) }, "\(name): \(neighbours)")
            for (path, reached) in neighbours["paths"] as? [String: String] ?? [:] {
                #expect(["ENOENT", "EACCES", "[]"].contains(reached) && (reached != "[]" || !path.hasPrefix(place.path)), "\(name): \(path): \(reached)")
            }
            let descriptors = neighbours["descriptors"] as? [String] ?? ["none"]
            #expect(descriptors.allSatisfy { $0.hasSuffix("/null") || $0 == "pipe" || $0.hasPrefix("/proc/") }, "\(name): \(descriptors)")
            let written = try server.inside(name, Self.writing) as? [String: String] ?? [:]
            for (path, outcome) in written {
                if path == "/tmp" { #expect(outcome == "None") } else {
                    #expect(["EROFS", "EACCES", "EPERM", "ENOENT"].contains(outcome), "\(name): \(path): \(outcome)")
                }
            }
            #expect(try server.inside(name, "result = 1") as? Int == 1, "signals to the first process changed nothing")
        }
        #expect(server.child.status == nil)
        #expect(try server.invoke("victim").text.contains(secret))
    }

    /// Executes its arguments as on a kernel before 5.12: mount_setattr(2) is answered with ENOSYS.
    private static let olderKernel = #"""
        import ctypes, os, struct, sys
        libc = ctypes.CDLL(None, use_errno=True)
        rows = ((0x20, 0, 0, 0), (0x15, 0, 1, 442), (0x06, 0, 0, 0x50026), (0x06, 0, 0, 0x7FFF0000))
        code = b"".join(struct.pack("HBBI", *row) for row in rows)
        room = ctypes.create_string_buffer(code, len(code))
        class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
        if libc.prctl(22, 2, ctypes.byref(Program(len(rows), ctypes.addressof(room))), 0, 0) != 0: sys.exit("no seccomp")
        os.execvp(sys.argv[1], sys.argv[1:])
        """#

    @Test func olderKernelsKeepWhatIsMountedBelowAShownDirectoryReadOnlyToo() throws {
        let place = try TemporaryDirectory(in: "/opt")
        chmod(place.path, 0o755)
        try place.write("older.py", Self.olderKernel)
        try place.write("below/with space/file", "")
        let mounted = "mount -t tmpfs -o mode=777,noexec tmpfs '\(place.path)/below/with space' && exec \"$@\""
        let server = try HearthProcess(
            functions: [Inside.function("f")], config: "[sandbox]\nisolation = \"required\"\n", directory: place,
            wrapper: ["unshare", "--mount", "sh", "-c", mounted, "sh", "python3", "\(place.path)/older.py"])
        let code = Self.writing + "\nresult['below'] = attempt(create, event['below'] + '/attack')"
        let below = "\(place.path)/below/with space"
        let written = try server.inside("f", code, ["below": below]) as? [String: String] ?? [:]
        #expect(written["below"] == "EROFS" && written["/usr"] == "EROFS" && written["/etc"] == "EROFS", "\(written)")
        #expect(written.filter { $0.value == "None" }.keys.sorted() == ["/tmp"], "\(written)")
    }

    @Test(arguments: Runner.allCases) func eachWorkerHasItsOwnTmpWithALimit(runner: Runner) throws {
        let server = try HearthProcess(
            functions: [Inside.function("f", "timeout = 30\nmemory_size = 1024\n[concurrency]\nprovisioned = 2\nmax = 2\n")], user: runner.uid)
        let name = "mine-\(UUID())"
        // Two at once, so that each is another worker; each writes before it looks.
        let looks = try concurrently(2) { index in
            try server.inside(
                "f", #"""
                import os, time
                for directory in ("/tmp", "/var/tmp", "/dev/shm"): open(f"{directory}/{event['name']}", "w").close()
                time.sleep(0.5)
                result = [str(os.getpid())] + os.listdir("/tmp") + os.listdir("/dev/shm")
                """#, ["name": "\(name)-\(index)"]) as? [String] ?? []
        }
        #expect(Set(looks.map(\.first)).count == 2, "\(looks)")
        for (index, look) in looks.enumerated() { #expect(look.dropFirst() == ["\(name)-\(index)", "\(name)-\(index)"], "\(look)") }
        let filled = try server.inside(
            "f", #"""
            import errno, os
            block, size, failure = b"x" * (1 << 20), 0, None
            with open("/tmp/full", "wb", buffering=0) as file:
                try:
                    while size < 2 << 30: size += file.write(block)
                except OSError as error: failure = errno.errorcode[error.errno]
            os.unlink("/tmp/full")
            names = 0
            try:
                while names < 1 << 20:
                    os.close(os.open(f"/tmp/{names}", os.O_CREAT | os.O_WRONLY))
                    names += 1
            except OSError as error: failure += " " + errno.errorcode[error.errno]
            result = [size >> 20, failure, names]
            """#) as? [Any] ?? []
        #expect(filled.count == 3 && (500...512).contains(filled[0] as? Int ?? 0) && filled[1] as? String == "ENOSPC ENOSPC", "\(filled)")
        #expect((100_000...140_000).contains(filled.last as? Int ?? 0), "\(filled)")
        #expect(!FileManager.default.fileExists(atPath: "/tmp/\(name)-0"))
    }

    @Test(arguments: Runner.allCases) func aNetworkOfNobodyReachesNobodyAndTheHostsDoes(runner: Runner) throws {
        let server = try HearthProcess(
            functions: [Inside.function("alone", "network = \"none\"\n"), Inside.function("apart", "network = \"none\"\n", executed: true), Inside.function("open")],
            user: runner.uid)
        let code = #"""
            import errno, socket
            def reach(address):
                try:
                    socket.create_connection(address, 3).close()
                    return "connected"
                except OSError as error: return errno.errorcode.get(error.errno, str(error))
            own = socket.create_server(("127.0.0.1", 0))
            result = {"own": reach(own.getsockname()), "server": reach(("127.0.0.1", event["port"])), "far": reach(("192.0.2.1", 9)) if event["far"] else "",
                      "interfaces": [name for _, name in socket.if_nameindex()]}
            """#
        let port = Int(server.api.split(separator: ":").last ?? "") ?? 0
        for name in ["alone", "apart"] {
            let reached = try server.inside(name, code, ["port": port, "far": true]) as? [String: Any] ?? [:]
            #expect(reached["own"] as? String == "connected" && reached["server"] as? String == "ECONNREFUSED", "\(reached)")
            #expect(reached["far"] as? String == "ENETUNREACH" && reached["interfaces"] as? [String] == ["lo"], "\(reached)")
        }
        let reached = try server.inside("open", code, ["port": port, "far": false]) as? [String: Any] ?? [:]
        #expect(reached["own"] as? String == "connected" && reached["server"] as? String == "connected", "\(reached)")
    }
}
